"""fastvi's side of the Gaussian process benchmarks.

    PYTHONPATH=bench python bench/ours_gp.py sgpr '{"n": 10000, "m": 100}'
    PYTHONPATH=bench PEERS_PYTHON bench/peers/gpflow_gp.py sgpr '{"n": 10000, "m": 100}'

and so on with `svgp`, `matrix`, `fit`, `large`, `point`, `split`, `stochastic`, `deep_step` and
`deep`; one thread each
(OMP_NUM_THREADS=1 and the like), peers from `requirements-gp.txt`. The last line is JSON, with
times in CPU milliseconds or seconds. `gp.py` runs them all.
"""

import resource
import sys
import time
import warnings

import evaluation as ev
import gp_problems as gp
import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from fastvi import SVGP, DeepGPRegressor, SparseGPRegressor, optimizers
from fastvi.base.parallel import single_threaded_blas
from fastvi.core import Batch
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.learner import HyperMoves, LearnSettings, learn
from fastvi.models.gp.likelihoods import Gaussian
from fastvi.models.gp.model import SparseVariational
from fastvi.models.gp.rows import Points
from fastvi.models.gp.sgpr import SparseRegression


def kernel_of():
    rbf = ConstantKernel(gp.VARIANCE) * RBF(np.full(gp.D, gp.LENGTH))
    return rbf + WhiteKernel(gp.NOISE)


def sgpr(n, m):
    """Collapsed bound and its gradient by hyperparameters and inducing inputs."""
    x, y, z = gp.rows(n, m)
    covariance = Covariance(kernel_of(), gp.D)
    model = SparseRegression(covariance, x, y[:, None])
    value = model.bound(covariance.theta, z).value
    times = gp.repeat(lambda: model.bound(covariance.theta, z))
    square = np.random.default_rng(0).random((2000, 2000))
    peak = 2 * 2000**3 / gp.repeat(lambda: square @ square)["ms"]
    return {**times, "bound": value, "share_of_dgemm": 3 * n * m * m / times["ms"] / peak}


def svgp(n, m, natural=True):
    """A step on n rows: natural gradient for q(u) and Adam for the rest, together."""
    x, y, z = gp.rows(n, m)
    covariance = Covariance(kernel_of(), gp.D)
    model = SparseVariational(covariance, Gaussian(), np.zeros(gp.D))
    bounds = np.tile([-20.0, 20.0], (len(covariance.theta), 1))
    settings = LearnSettings(optimizers.constant(0.1), optimizers.adam(0.01))
    algorithm = learn(model, settings, HyperMoves(np.ones(gp.D), bounds))
    state = [algorithm.init(model.start(z))]
    batch, rng = Batch(Points(x, y, np.ones(n)), np.full(n, 10.0)), np.random.default_rng(0)

    def step():
        state[0], _ = algorithm.step(state[0], batch, rng)

    return gp.repeat(step)


def matrix(n=10_000, m=500):
    """RBF with a length scale per column, into a given array and into a new one."""
    x, _, z = gp.rows(n, m)
    covariance = Covariance(ConstantKernel(1.3) * RBF(np.full(gp.D, gp.LENGTH)), gp.D)
    program = covariance.program(covariance.theta)
    out = np.empty((n, m))
    work = np.empty((n, m))

    def ours():
        covariance.fill(program, x, covariance.scaled(program, z), out)

    def numpy():
        a, b = x / gp.LENGTH, z / gp.LENGTH
        np.matmul(a, b.T, out=work)
        np.multiply(work, -2, out=work)
        np.add(work, np.square(a).sum(axis=1)[:, None], out=work)
        np.add(work, np.square(b).sum(axis=1), out=work)
        np.maximum(work, 0, out=work)
        np.multiply(work, -0.5, out=work)
        np.exp(work, out=work)
        np.multiply(work, 1.3, out=work)

    def fresh():
        a, b = x / gp.LENGTH, z / gp.LENGTH
        square = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * (a @ b.T)
        return 1.3 * np.exp(-0.5 * np.maximum(square, 0))

    times = {"ours": [], "numpy": [], "fresh": []}
    for _ in range(5):
        for name, function in (("ours", ours), ("numpy", numpy), ("fresh", fresh)):
            times[name].append(gp.repeat(function, 0.2)["ms"])
    return {name: float(np.median(values)) for name, values in times.items()}


def fit(name="kin8nm", m=100, iterations=1000, seed=0):
    """L-BFGS on the collapsed bound; the bound after each iteration and CPU seconds."""
    x, y, x_test, y_test = gp.regression(name)
    kernel = ConstantKernel(1.0) * RBF(np.full(x.shape[1], np.sqrt(x.shape[1])))
    model = SparseGPRegressor(
        kernel + WhiteKernel(0.01, (1e-8, 10.0)),
        inducing_points=m, max_iter=iterations, tol=0.0, random_state=seed,
    )  # fmt: skip
    with ev.Stopwatch() as watch:
        model.fit(x, y)
    mean, std = model.predict(x_test, return_std=True)
    return {
        "cpu": watch.cpu, "wall": watch.wall, "bound": model.log_marginal_likelihood_value_,
        "bounds": model.history_["elbo"].tolist(), "seconds": model.history_["seconds"].tolist(),
        **gp.scores(mean, std, y_test),
    }  # fmt: skip


def large(n=1_000_000, m=200):
    """Collapsed bound and gradient of many rows: CPU seconds, and peak memory in bytes."""
    x, y, z = gp.rows(n, m)
    covariance = Covariance(kernel_of(), gp.D)
    model = SparseRegression(covariance, x, y[:, None])
    with ev.Stopwatch() as watch:
        model.bound(covariance.theta, z)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": watch.cpu, "bytes": peak * (1 if sys.platform == "darwin" else 1024)}


def point(n=10_000, m=100):
    """Mean and standard deviation of one point through `compiled()`."""
    x, y, z = gp.rows(n, m)
    fixed = {"learn_kernel": False, "learn_inducing_points": False}
    model = SparseGPRegressor(kernel_of(), inducing_points=z, **fixed).fit(x, y)
    predict, row = model.compiled(), x[:1].copy()
    predict(row)
    times = []
    for _ in range(2000):
        start = time.perf_counter()
        predict(row)
        times.append(time.perf_counter() - start)
    return {"us": 1e6 * float(np.median(times))}


def split(name, ard, number, iterations=1000):
    """A split of a data set of the published table, with its start: test scores and CPU seconds."""
    x, y, x_test, y_test = gp.regression(name, number)
    length = np.sqrt(x.shape[1])
    lengths = np.full(x.shape[1], length) if ard else length
    kernel = ConstantKernel(1.0, (1e-5, 1e7)) * RBF(lengths, (1e-3, 1e4))
    model = SparseGPRegressor(
        kernel + WhiteKernel(0.01, (1e-8, 10.0)),
        inducing_points=100, max_iter=iterations, random_state=number,
    )  # fmt: skip
    with ev.Stopwatch() as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that iterations ran out, which `n_iter` says
        model.fit(x, y)
    mean, std = model.predict(x_test, return_std=True)
    bound = model.log_marginal_likelihood_value_
    return {
        "cpu": watch.cpu,
        "bound": bound,
        "n_iter": model.n_iter_,
        **gp.scores(mean, std, y_test),
    }


def stochastic(name, m=100, batch=256, steps=2000, split=0, **options):
    """SVGP on mini-batches for at most so many steps: test scores, steps taken, CPU seconds."""
    x, y, x_test, y_test = gp.regression(name, split)
    d = x.shape[1]
    kernel = ConstantKernel(gp.VARIANCE, (1e-5, 1e5)) * RBF(np.full(d, np.sqrt(d)), (1e-3, 1e4))
    model = SVGP(
        kernel + WhiteKernel(gp.NOISE, (1e-7, 10.0)), inducing_points=gp.centres(x, m, split),
        batch_size=batch, max_iter=steps, random_state=split, **options,
    )  # fmt: skip
    with ev.Stopwatch() as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that steps ran out
        model.fit(x, y)
    mean, std = model.predict(x_test, return_std=True)
    return {
        "cpu": watch.cpu,
        "steps": model.n_iter_,
        "bound": model.elbo_,
        "noise": model.kernel_.k2.noise_level,
        **gp.scores(mean, std, y_test),
    }


def deep_step(n, m, layers):
    """A step of a deep process on n rows: a natural gradient of the last layer, and Adam."""
    x, y, _ = gp.rows(8 * n, m)
    model = _deep(layers, inducing_points=m, batch_size=n, max_iter=1).fit(x, y)
    step, state = model._learner.algorithm().step, [model._state]
    batches = [
        Batch(Points(x[i : i + n], y[i : i + n], np.ones(n)), np.full(n, 8.0))
        for i in range(0, 8 * n, n)
    ]
    rng, number = np.random.default_rng(0), [0]

    def one():
        number[0] += 1
        state[0], _ = step(state[0], batches[number[0] % 8], rng)

    return gp.repeat(one)


def deep(layers, steps, name="kin8nm", m=100, batch=1000, seed=0):
    """Test scores after so many steps, in the units of the data set."""
    data = np.load(ev.data_folder().parent / "regression" / f"{name}.npz")
    rows = np.random.default_rng(seed).permutation(len(data["X"]))
    n = len(rows) * 9 // 10
    x, y = data["X"][rows], data["y"][rows]
    model = _deep(layers, inducing_points=m, batch_size=batch, max_iter=steps, random_state=seed)
    with ev.Stopwatch() as watch:
        model.fit(x[:n], y[:n])
    return {
        "cpu": watch.cpu,
        "log_likelihood": float(model.log_predictive_density(x[n:], y[n:]).mean()),
        "rmse": float(np.sqrt(np.mean(np.square(model.predict(x[n:]) - y[n:])))),
    }


def _deep(layers, **options):
    return DeepGPRegressor((8,) * (layers - 1), tol=0, **options)


def limited(function):
    def run(**arguments):
        with single_threaded_blas():
            return function(**arguments)

    return run


if __name__ == "__main__":
    functions = (sgpr, svgp, matrix, fit, large, point, split, stochastic, deep_step, deep)
    ev.main(**{function.__name__: limited(function) for function in functions})
