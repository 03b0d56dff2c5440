"""The score-function gradient written plainly: in C, in NumPy and in pure Python."""

import math
import random

import evaluation as ev
import numpy as np
import regression
import twins

DECLARATION = (
    "void score_gradient(int n, int D, int K, const double *X, const double *y,"
    " const double *mean, const double *log_sd, const double *eps, double *gradient);"
)


def c_gradient(module, X, y, mean, sd, eps):
    """(2 D,): of mean and log sd of each coordinate in turn."""
    out, log_sd = np.empty(2 * len(mean)), np.log(sd)
    pointers = [
        module.ffi.from_buffer("double[]", np.ascontiguousarray(a))
        for a in (X, y, mean, log_sd, eps, out)
    ]
    module.lib.score_gradient(*X.shape, len(eps), *pointers)
    return out


def numpy_gradient(X, y, mean, sd, eps):
    """The same with whole arrays."""
    Z = mean + sd * eps
    logits = Z @ X.T
    log_p = logits @ y - np.logaddexp(0.0, logits).sum(axis=1) - 0.5 * (Z**2).sum(axis=1)
    log_q = -(0.5 * eps**2 + np.log(sd) + 0.5 * np.log(2 * np.pi)).sum(axis=1)
    f = (log_p - log_q)[:, None]
    h = np.stack((eps / sd, eps**2 - 1.0), axis=2).reshape(len(eps), -1)
    own = h * h
    a = ((own * f).sum(axis=0) - own * f) / (own.sum(axis=0) - own)
    return (h * (f - a)).mean(axis=0)


def python_gradient(X, y, mean, sd, eps):
    """The same on lists and floats."""
    K, D = len(eps), len(mean)
    f = []
    for e in eps:
        z = [m + s * x for m, s, x in zip(mean, sd, e)]
        value = 0.0
        for row, label in zip(X, y):
            a = sum(x * b for x, b in zip(row, z))
            value += label * a - max(a, 0.0) - math.log1p(math.exp(-abs(a)))
        for x, s, b in zip(e, sd, z):
            value += -0.5 * b * b + 0.5 * x * x + math.log(s) + 0.5 * math.log(2 * math.pi)
        f.append(value)
    out = []
    for j in range(D):
        for h in ([e[j] / sd[j] for e in eps], [e[j] ** 2 - 1.0 for e in eps]):
            product = sum(x * x * v for x, v in zip(h, f))
            square = sum(x * x for x in h)
            total = 0.0
            for x, v in zip(h, f):
                total += x * (v - (product - x * x * v) / (square - x * x))
            out.append(total / K)
    return out


def module():
    return twins.compiled("score.c", DECLARATION)


def c(n=10_000, d=50, n_draws=100):
    X, y, mean, sd = regression.problem(n, d)
    built, rng = module(), np.random.default_rng(0)
    run = lambda: c_gradient(built, X, y, mean, sd, rng.standard_normal((n_draws, d)))  # noqa: E731
    return regression.milliseconds(run) | {"flags": " ".join(twins.FLAGS)}


def numpy(n=10_000, d=50, n_draws=100):
    problem, rng = regression.problem(n, d), np.random.default_rng(0)
    return regression.milliseconds(
        lambda: numpy_gradient(*problem, rng.standard_normal((n_draws, d)))
    )


def python(n=10_000, d=50, n_draws=100, rows=1000):
    """On the first `rows` rows, which take nearly all of the time, and as many times longer."""
    X, y, mean, sd = (a.tolist() for a in regression.problem(n, d))
    X, y = X[:rows], y[:rows]
    draw = random.Random(0).gauss

    def run():
        eps = [[draw(0.0, 1.0) for _ in range(d)] for _ in range(n_draws)]
        return python_gradient(X, y, mean, sd, eps)

    with ev.Stopwatch() as watch:
        run()
    return {"ms": 1e3 * watch.cpu * n / rows, "rows": rows}


def check(n=200, d=7, n_draws=20):
    """Largest relative differences between the twins, and to fastvi, at the same draws."""
    from ours_score import logistic

    from fastvi.families import blocks, gaussian
    from fastvi.gradients.score import Draws

    X, y, mean, sd = regression.problem(n, d)
    eps = np.random.default_rng(0).standard_normal((n_draws, d))
    want = numpy_gradient(X, y, mean, sd, eps)
    q, Z = blocks(gaussian(mean, sd)), mean + sd * eps
    log_p = logistic.bind({"X": X, "moment": X.T @ y}, dim=d).log_prob(Z)
    signals = (log_p - q.log_prob(Z))[:, None]
    found = {
        "c": c_gradient(module(), X, y, mean, sd, eps),
        "python": python_gradient(*(a.tolist() for a in (X, y, mean, sd, eps))),
        "fastvi": Draws(q, Z, np.ones((n_draws, 1)), signals, controlled=True).gradient(),
    }
    return {k: float(np.max(np.abs(v - want)) / np.max(np.abs(want))) for k, v in found.items()}


if __name__ == "__main__":
    ev.main(c, numpy, python, check)
