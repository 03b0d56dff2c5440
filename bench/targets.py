"""Overhead of a target over the function itself: `python bench/targets.py`.

Also the example of a driver: `climb` and `repeat` are kernels that take a target's address and
table; they are compiled once for all targets, and cached for the next process.
"""

import sys
import time
from pathlib import Path

import numpy as np

import fastvi
from fastvi.kernels._jit import UNORDERED, kernel
from fastvi.kernels._pointers import call_target
from fastvi.kernels.targets import SUCCESS, address_of
from fastvi.transforms import positive

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import posteriors
from toy_targets import bowl


@kernel
def climb(address, data, z, rate, n_steps):
    """Plain gradient ascent from z (n,), in place: the log density at the last step.

    data is the address of the target's table; NaN if the target fails.
    """
    values, grad = np.empty((1, 1)), np.empty((1, z.size))
    for _ in range(n_steps):
        status = call_target(
            address, 1, z.size, address_of(z), data, address_of(values), address_of(grad)
        )
        if status != SUCCESS:
            return np.nan
        for j in range(z.size):
            z[j] += rate * grad[0, j]
    return values[0, 0]


@kernel
def repeat(address, data, Z, values, grads, n_calls):
    """Call a target repeatedly, with all vectors Z (k, n) at once."""
    k, n = Z.shape
    status = np.int64(SUCCESS)
    for _ in range(n_calls):
        status = min(
            status,
            call_target(address, k, n, address_of(Z), data, address_of(values), address_of(grads)),
        )
    return status


@kernel
def each(address, data, Z, values, grads, n_passes):
    """Call a target for one vector after the other."""
    k, n = Z.shape
    status = np.int64(SUCCESS)
    for _ in range(n_passes):
        for s in range(k):
            done = call_target(
                address, 1, n, address_of(Z[s]), data, address_of(values[s]), address_of(grads[s])
            )
            status = min(status, done)
    return status


direct = kernel(bowl, fastmath=UNORDERED)


@kernel(fastmath=UNORDERED)
def each_direct(Z, values, grads, n_passes):
    """The same by a call that may be inlined; gradients are zeroed as in a target."""
    for _ in range(n_passes):
        for s in range(Z.shape[0]):
            for j in range(Z.shape[1]):
                grads[s, j] = 0.0
            values[s, 0] = direct(Z[s], grads[s])


def all_logistic(Z, data, values, grads):
    logits = Z @ data.X.T
    errors = np.empty_like(logits)
    for s in range(Z.shape[0]):
        value = 0.0
        for j in range(Z.shape[1]):
            value -= 0.5 * Z[s, j] * Z[s, j]
        for i in range(data.y.size):
            logit = logits[s, i]
            decay = np.exp(-abs(logit))
            value += data.y[i] * logit - max(logit, 0.0) - np.log1p(decay)
            errors[s, i] = data.y[i] - (1.0 if logit >= 0 else decay) / (1.0 + decay)
        values[s, 0] = value
    grads[:] = errors @ data.X - Z


def seconds(function, repeats=7):
    """The fastest of some runs, in CPU time."""
    function()
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        function()
        best = min(best, time.process_time() - began)
    return best


def overhead(k=1000, n_passes=2000):
    for dim in (2, 10):
        target = fastvi.target(bowl, dim=dim)
        words, calls = target.data_table.ctypes.data, k * n_passes
        Z, values, grads = np.ones((k, dim)), np.empty((k, 1)), np.empty((k, dim))
        run = target.address, words, Z, values, grads
        by_address = seconds(lambda: each(*run, n_passes)) / calls  # noqa: B023
        inlined = seconds(lambda: each_direct(Z, values, grads, n_passes)) / calls  # noqa: B023
        print(f"dim {dim}: by address {by_address * 1e9:.1f} ns, inlined {inlined * 1e9:.1f} ns")
        bent = fastvi.target(bowl, names={"x": positive(dim)})
        run = bent.address, bent.data_table.ctypes.data, Z, values, grads
        alone = seconds(lambda: each(*run, n_passes // 10)) / calls * 10  # noqa: B023
        together = seconds(lambda: repeat(*run, n_passes // 10)) / calls * 10  # noqa: B023
        print(f"  constrained {alone * 1e9:.0f} ns, {k} at once {together * 1e9:.0f} ns each")
    run = target.address, words, Z[:1], values, grads
    once = seconds(lambda: [repeat(*run, 1) for _ in range(1000)]) / 1000
    print(f"a call of a driver from Python {once * 1e6:.1f} us")
    z = np.ones(10)
    print(f"climbed to {climb(target.address, words, z, 0.1, 1000):.0e}")


def batched(k=100, n=10_000, dim=50):
    rng = np.random.default_rng(0)
    data = {"X": rng.normal(size=(n, dim)), "y": (rng.random(n) < 0.5).astype(float)}
    Z, values, grads = rng.normal(0, 0.1, (k, dim)), np.empty((k, 1)), np.empty((k, dim))
    times = {}
    for function in (posteriors.logistic, all_logistic):
        for fastmath in (False, True):
            target = fastvi.target(function, data=data, dim=dim, fastmath=fastmath)
            words = target.data_table.ctypes.data
            name = f"{function.__name__}{', fastmath' if fastmath else ''}"
            times[name] = seconds(lambda: repeat(target.address, words, Z, values, grads, 1))  # noqa: B023
    for name, took in times.items():
        print(f"logistic regression, {k} vectors, {n} x {dim}: {name} {took * 1e3:.1f} ms")


def compiling():
    for name in ("bowl", "all_logistic"):
        began = time.perf_counter()
        data = {"X": np.ones((2, 2)), "y": np.ones(2)} if name == "all_logistic" else None
        hit = fastvi.target(globals()[name], data=data, dim=2).compiled.hit
        took = time.perf_counter() - began
        print(f"{name} made in {took * 1e3:.1f} ms, {'from the cache' if hit else 'compiled'}")


if __name__ == "__main__":
    fastvi.target(lambda z: z[0], dim=1)  # Numba wakes up
    compiling()
    overhead()
    batched()
