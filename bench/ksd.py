"""Stein discrepancies, tests, thinning and operator VI: `python bench/ksd.py`.

Prints the tables of docs/ksd.md, or some with `--only time test modes thinning operator`. CPU
seconds, best of paired, interleaved runs; BLAS on one thread.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import fastvi

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
SIZES = ((1000, 50), (5000, 20), (10_000, 20))


def block(X, S, Y, T, width):
    """u_p of all pairs of two sets of draws, in place, as a careful NumPy user would write it."""
    r2 = X @ Y.T
    r2 *= -2.0
    r2 += np.einsum("ij,ij->i", X, X)[:, None]
    r2 += np.einsum("ij,ij->i", Y, Y)
    np.maximum(r2, 0.0, out=r2)
    r2 /= width**2
    cross = X @ T.T
    cross += S @ Y.T
    np.subtract(np.einsum("ij,ij->i", X, S)[:, None], cross, out=cross)
    cross += np.einsum("ij,ij->i", Y, T)
    cross += X.shape[1]
    cross /= width**2
    inverse = 1.0 / (1.0 + r2)
    r2 *= -3.0 / width**2
    r2 *= inverse
    r2 += cross
    r2 *= inverse
    r2 += S @ T.T
    r2 *= np.sqrt(inverse)
    return r2


def plain(X, S, width):
    """The U-statistic by whole matrices."""
    n = len(X)
    U = block(X, S, X, S, width)
    return float((U.sum(dtype=np.float64) - np.trace(U, dtype=np.float64)) / (n * (n - 1)))


def tiled(X, S, width, size=256):
    """The same by tiles on and above the diagonal that fit into a cache."""
    n, total = len(X), 0.0
    parts = [slice(i, i + size) for i in range(0, n, size)]
    for k, i in enumerate(parts):
        for j in parts[k:]:
            U = block(X[i], S[i], X[j], S[j], width)
            total += (1 if i == j else 2) * float(U.sum(dtype=np.float64))
            total -= float(np.trace(U, dtype=np.float64)) if i == j else 0.0
    return total / (n * (n - 1))


def paired(functions, repeats):
    """Best CPU seconds of each, run in turn."""
    best = [np.inf] * len(functions)
    for turn in range(repeats + 1):
        for k, function in enumerate(functions):
            began = time.process_time()
            function()
            if turn:
                best[k] = min(best[k], time.process_time() - began)
    return best


def large(rng):
    """Measure memory, before anything else takes some."""
    warm = rng.standard_normal((1000, 20)).astype(np.float32)
    fastvi.ksd(None, warm, scores=-warm)
    X = rng.standard_normal((100_000, 20)).astype(np.float32)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    fastvi.ksd(None, X, scores=-X)
    seconds = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"100,000 draws of 20 numbers, float32: {seconds:.1f} s, {grown:.0f} MiB more\n")


def times(repeats):
    rng = np.random.default_rng(0)
    large(rng)
    head = "| n, d, type | fastvi, ms | NumPy in tiles, ms | ratio | NumPy, ms | ratio |"
    print(f"{head}\n|---|---|---|---|---|---|")
    for n, d in SIZES:
        for dtype in (np.float32, np.float64):
            X = rng.standard_normal((n, d)).astype(dtype)
            S, width = -X, float(np.sqrt(d))
            forms = (
                lambda: fastvi.ksd(None, X, scores=S, bandwidth=width),  # noqa: B023
                lambda: tiled(X, S, width),  # noqa: B023
                lambda: plain(X, S, width),  # noqa: B023
            )
            assert max(abs(forms[0]().value - form()) for form in forms[1:]) < 1e-4
            ours, *others = paired(forms, repeats)
            cells = " | ".join(f"{1e3 * other:.1f} | {other / ours:.1f}" for other in others)
            head = f"| {n}, {d}, {np.dtype(dtype).name} | {1e3 * ours:.1f} "
            print(f"{head}| {cells} |", flush=True)


def rejected(repeats, n, draw, seed=0, **options):
    rng, count = np.random.default_rng(seed), 0
    for i in range(repeats):
        X = draw(rng, n)
        test = fastvi.ksd_test(None, X, scores=-X, random_state=i, n_bootstrap=500, **options)
        count += test.rejected
    return 100 * count / repeats


def shifted(shift):
    def draw(rng, n):
        X = rng.standard_normal((n, 2))
        X[:, 0] += shift
        return X

    return draw


def chain(rho):
    def draw(rng, n):
        noise, x = rng.standard_normal((n, 2)), np.empty((n, 2))
        x[0] = noise[0]
        for i in range(1, n):
            x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * noise[i]
        return x

    return draw


TESTS = {
    "imq": {},
    "rbf": {"kernel": "rbf"},
    "imq, linear time": {"statistic": "linear"},
}


def tests(repeats):
    shifts = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
    for n in (100, 400):
        head = " | ".join(f"{shift:g}" for shift in shifts)
        print(f"\n{n} draws of N((shift, 0), I) against N(0, I):\n\n| test, shift | {head} |")
        print("|---" * (1 + len(shifts)) + "|")
        for name, options in TESTS.items():
            cells = [f"{rejected(repeats, n, shifted(s), **options):.1f}" for s in shifts]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    correlations = (0.0, 0.5, 0.8, 0.9, 0.95)
    head = " | ".join(f"{c:g}" for c in correlations)
    print(f"\n400 draws of chains with N(0, I) as their law:\n\n| chain, signs | {head} |")
    print("|---" * (1 + len(correlations)) + "|")
    for rho in (0.0, 0.3, 0.5, 0.8):
        cells = [rejected(repeats, 400, chain(rho), correlation=c) for c in correlations]
        print(f"| {rho:g} | " + " | ".join(f"{c:.1f}" for c in cells) + " |", flush=True)


def modes(repeats):
    """Draws of one of two normal modes of unit variance and the same mass."""
    rng = np.random.default_rng(0)
    print("| standard deviations between modes | rejected, % |\n|---|---|")
    for gap in (3, 4, 5, 6, 8):
        a, count = gap / 2, 0
        for i in range(repeats):
            x = rng.standard_normal((500, 1)) + a
            share = 1.0 / (1.0 + np.exp(-2.0 * a * x))
            scores = -share * (x - a) - (1.0 - share) * (x + a)
            count += fastvi.ksd_test(None, x, scores=scores, random_state=i).rejected
        print(f"| {gap} | {100 * count / repeats:.0f} |", flush=True)


def thinning(repeats):
    """A chain of 5000 for N(0, I) in two dimensions, autocorrelation 0.95, starting 6 away."""
    rng = np.random.default_rng(1)
    x = np.empty((5000, 2))
    x[0] = 6.0
    for i in range(1, len(x)):
        x[i] = 0.95 * x[i - 1] + np.sqrt(1 - 0.95**2) * rng.standard_normal(2)
    print("| points | Stein thinning | every k-th | every k-th after 500 |\n|---|---|---|---|")
    for m in (10, 50, 200):
        choices = (
            fastvi.stein_thinning(None, x, m, scores=-x),
            np.linspace(0, len(x) - 1, m).astype(int),
            np.linspace(500, len(x) - 1, m).astype(int),
        )
        options = {"statistic": "v", "bandwidth": 1.0}
        found = [fastvi.ksd(None, x[c], scores=-x[c], **options).root for c in choices]
        print(f"| {m} | " + " | ".join(f"{value:.3f}" for value in found) + " |")
    try:
        from stein_thinning.thinning import thin
    except ImportError:
        print("\nstein-thinning is not installed: no comparison of times")
        return
    X = rng.standard_normal((20_000, 10))
    ours, theirs = paired(
        [
            lambda: fastvi.stein_thinning(None, X, 100, scores=-X, preconditioner="med"),
            lambda: thin(X, -X, 100, standardize=False, preconditioner="med"),
        ],
        repeats,
    )
    print(
        f"\n100 of 20,000 x 10: {ours:.3f} s, stein-thinning {theirs:.3f} s ({theirs / ours:.1f})"
    )


def operator(repeats):
    import test_operator as problems

    names = {"two modes": (problems.mixture, 1), "banana": (problems.banana, 2)}
    print("| target, seed | CPU s | mean | variances | share of z_0 > 0 | squared KSD |")
    print("|---" * 6 + "|")
    for name, (function, dim) in names.items():
        target = fastvi.target(function, dim=dim)
        fastvi.operator_vi(target, n_iter=1, random_state=0)
        for seed in range(3):
            began = time.process_time()
            p = fastvi.operator_vi(target, scale=2.0, random_state=seed)
            seconds = time.process_time() - began
            x = p.sample(20_000, np.random.default_rng(0))
            found = p.ksd(n_draws=4000, bandwidth=1.0, random_state=0)
            mean, spread = (", ".join(f"{v:.2f}" for v in row) for row in (p.mean, np.diag(p.cov)))
            share = (x[:, 0] > 0).mean()
            print(
                f"| {name}, {seed} | {seconds:.1f} | {mean} | {spread} | {share:.2f} "
                f"| {found.value:.4f} +- {found.error:.4f} |"
            )
        q = fastvi.fit(target, random_state=0)
        found = q.ksd(n_draws=4000, bandwidth=1.0, random_state=0)
        mean, spread = (", ".join(f"{v:.2f}" for v in row) for row in (q.mean, np.diag(q.cov)))
        print(
            f"| {name}, Gaussian fit | | {mean} | {spread} | | {found.value:.4f} +- "
            f"{found.error:.4f} |"
        )


PARTS = {
    "time": (times, 5),
    "test": (tests, 500),
    "modes": (modes, 200),
    "thinning": (thinning, 5),
    "operator": (operator, 1),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, help="runs, or draws of a test")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        for part in arguments.only:
            function, repeats = PARTS[part]
            print(f"\n## {part}\n", flush=True)
            function(arguments.repeats or repeats)
