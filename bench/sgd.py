"""Constant SGD as approximate inference on real data: `python bench/sgd.py [NAME ...]`.

Prints the table of docs/sgd.md: standard deviations of iterates relative to those of the posterior,
and of averages over a pass relative to those of the sandwich. FASTVI_TEST_DATA names the folder of
the data.
"""

import math
import sys
import time

import evaluation as ev
import numpy as np

import fastvi

SETS = ("wine", "concrete", "protein")
TOL, BATCH = 0.05, 20


def linear(z, data, rows, weights, grad):
    """y ~ N(X z, sd^2), z ~ N(0, 100)."""
    value, precision = 0.0, 1.0 / (data.sd * data.sd)
    for j in range(z.size):
        value -= 0.005 * z[j] * z[j]
        grad[j] -= 0.01 * z[j]
    for m in range(rows.size):
        error = data.y[rows[m]]
        for j in range(z.size):
            error -= data.X[rows[m], j] * z[j]
        value -= 0.5 * weights[m] * precision * error * error
        for j in range(z.size):
            grad[j] += weights[m] * precision * error * data.X[rows[m], j]
    return value


def logistic(z, data, rows, weights, grad):
    """y ~ Bernoulli(1 / (1 + exp(-X z))), z ~ N(0, 100)."""
    value = 0.0
    for j in range(z.size):
        value -= 0.005 * z[j] * z[j]
        grad[j] -= 0.01 * z[j]
    for m in range(rows.size):
        at = 0.0
        for j in range(z.size):
            at += data.X[rows[m], j] * z[j]
        y = data.y[rows[m]]
        value -= weights[m] * (max(at, 0.0) - y * at + math.log1p(math.exp(-abs(at))))
        error = y - 1.0 / (1.0 + math.exp(-at))
        for j in range(z.size):
            grad[j] += weights[m] * error * data.X[rows[m], j]
    return value


def problems(names):
    """(name, target) of each data set, standardised, with an intercept."""
    for name in names:
        with np.load(ev.data_folder().parent / "regression" / f"{name}.npz") as stored:
            X, y = stored["X"], stored["y"]
        X = np.column_stack(((X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(y))))
        y = (y - y.mean()) / y.std()
        error = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        data = {"X": X, "y": y, "sd": float(error.std())}
        yield f"{name}, linear", fastvi.target(linear, dim=X.shape[1], data=data, rows="X")
        data = {"X": X, "y": (y > 0).astype(float)}
        yield f"{name}, logistic", fastvi.target(logistic, dim=X.shape[1], data=data, rows="X")


def main():
    print("| data | rows | method | preconditioner | CPU s | passes | sd ratio | verdict |")
    print("|---|---:|---|---|---:|---:|---|---|")
    for name, target in problems(sys.argv[1:] or SETS):
        for method in ("natural", "sgd"):  # compiles
            fastvi.fit(target, method=method, tol=0.5, random_state=1)
        laplace = fastvi.fit(target, method="laplace", random_state=0)
        began = time.process_time()
        exact = fastvi.fit(target, random_state=0)
        seconds = time.process_time() - began
        sandwich = laplace.sandwich()
        print(
            f"| {name} | {target.n_rows} | natural | | {seconds:.2f} | | 1 | {exact.verdict.word} |"
        )
        for method, wanted in (("sgd", exact.sd), ("averaged-sgd", sandwich.sd)):
            for preconditioner in ("full", "diagonal", "scalar"):
                options = {"method": method, "preconditioner": preconditioner, "batch_size": BATCH}
                began = time.process_time()
                found = fastvi.fit(target, tol=TOL, random_state=0, **options)
                seconds = time.process_time() - began
                ratios = found.sd / wanted
                passes = f"{found.n_iter}{'' if found.settled else ' (not settled)'}"
                print(
                    f"| | | {method} | {preconditioner} | {seconds:.2f} | {passes} "
                    f"| {ratios.min():.2f} to {ratios.max():.2f} | {found.verdict.word} |",
                    flush=True,
                )
        low, high = sandwich.ratio.min(), sandwich.ratio.max()
        print(f"| | | sandwich / posterior | | | | {low:.2f} to {high:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
