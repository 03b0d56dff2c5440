"""Sparse Gaussian processes hold nothing of size N x M."""

import subprocess
import sys
import tracemalloc

import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from fastvi import SparseGPRegressor

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
FIXED = {"learn_kernel": False, "learn_inducing_points": False}


@pytest.mark.thorough
@pytest.mark.parametrize("length", [0.5, 2.0], ids=["sums", "solves"])
def test_no_array_of_rows_times_inducing_inputs(length, rng):
    """What is held beside X and y is copies of X for the start, and chunks: 0.05 of N x M.

    With long length scales K(z, z) is near to singular, and rows are solved with.
    """
    n, m = 100_000, 200
    X, y = rng.normal(size=(n, 4)), rng.normal(size=n)
    z = X[:m].copy()
    kernel = ConstantKernel(1.0) * RBF(length) + WhiteKernel(0.1)
    model = SparseGPRegressor(kernel, inducing_points=z, **FIXED)
    model.fit(X[:1000], y[:1000]).log_marginal_likelihood(kernel.theta, eval_gradient=True)
    tracemalloc.start()  # after compilation
    try:
        model.fit(X, y).log_marginal_likelihood(kernel.theta, eval_gradient=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * n * m * X.itemsize


MILLION = """
import resource, sys
import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from fastvi import SparseGPRegressor

rng = np.random.default_rng(0)
X, y = rng.normal(size=(1_000_000, 8)), rng.normal(size=1_000_000)
kernel = ConstantKernel(1.0) * RBF(2.0) + WhiteKernel(0.1)
options = {"inducing_points": 200, "learn_kernel": False, "learn_inducing_points": False}
model = SparseGPRegressor(kernel, **options, random_state=0).fit(X, y)
value, gradient = model.log_marginal_likelihood(kernel.theta, eval_gradient=True)
assert np.isfinite(value) and np.all(np.isfinite(gradient)) and len(gradient) == 3
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else 1024 * peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no resource.getrusage")
def test_a_million_rows_take_less_than_two_gigabytes(record_property):
    """The whole process, 64 MB of rows and compiled kernels included; N x M would be 1.6 GB."""
    done = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record_property("peak, bytes", peak := int(done.stdout))
    assert peak < 2e9
