"""The collapsed bound: against dense algebra, the exact Gaussian process and finite differences."""

import numpy as np
import pytest
from naive import sgpr as naive
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)

from fastvi.base.blas import add_crossed, add_square, multiply_rows, solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter
from fastvi.models.gp import sgpr
from fastvi.models.gp.collapsed import Collapse
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.sgpr import SparseRegression
from fastvi.models.gp.start import distinct_rows, greedy, subset

KERNELS = {
    "rbf": ConstantKernel(1.5) * RBF([0.7, 1.3]) + WhiteKernel(0.1),
    "matern": ConstantKernel(0.5) * Matern(0.9, nu=2.5) + WhiteKernel(0.2),
    "linear": DotProduct(0.3) + RBF(1.1) + WhiteKernel(0.2),
    "product": RationalQuadratic(1.2) * ExpSineSquared(1.5, 3.0) + WhiteKernel(0.3),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


@pytest.fixture(params=["fast", "many rows", "careful"])
def form(request, monkeypatch):
    """Those that form K(z, x) K(x, z) first, with and without K(x, z), and by solved rows."""
    monkeypatch.setattr(sgpr, "ROUNDING", 0.0 if request.param == "careful" else np.inf)
    if request.param == "many rows":
        monkeypatch.setattr(sgpr, "KEPT", 0)
    return request.param


@pytest.fixture
def small_chunks(monkeypatch):
    """Several tasks of several chunks, as with many rows."""
    monkeypatch.setattr(sgpr, "TASK_FLOPS", 1e4)
    monkeypatch.setattr(sgpr, "chunk_rows", lambda m: 7)


def problem(rng, n=60, m=9, n_targets=2):
    x = rng.normal(size=(n, 2))
    y = np.column_stack([np.sin(2 * x[:, 0]), x[:, 1] ** 2 - 1, x.sum(axis=1)])[:, :n_targets]
    return x, y + 0.1 * rng.normal(size=y.shape), x[:m] + 0.01


def model_of(kernel, x, y, **options):
    covariance = Covariance(kernel, x.shape[1])
    return SparseRegression(covariance, x, y, **options), covariance.theta


@every_kernel
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.usefixtures("form", "small_chunks")
def test_bound_and_predictions(kernel, n_targets, rng):
    x, y, z = problem(rng, n_targets=n_targets)
    model, theta = model_of(kernel, x, y)
    result = model.bound(theta, z, gradient=False)
    assert result.value == pytest.approx(naive.bound(kernel, x, y, z), rel=1e-7)
    assert result.by_theta is None
    new = rng.normal(size=(23, 2))
    mean, covariance = naive.predict(kernel, x, y, z, new)
    got, variance = result.posterior.predict(new)
    np.testing.assert_allclose(got, mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-5, atol=1e-7)
    assert result.posterior.predict(new, variance=False)[1] is None
    got, joint = result.posterior.joint(new)
    np.testing.assert_allclose(got, mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(joint, covariance, rtol=1e-5, atol=1e-7)


@every_kernel
@pytest.mark.usefixtures("form", "small_chunks")
def test_gradient(kernel, rng):
    """Against differences of fourth order, whose error is below 1e-6 of the largest entry."""
    x, y, z = problem(rng)
    model, theta = model_of(kernel, x, y)
    result = model.bound(theta, z)

    def value(theta_step=0.0, z_step=0.0):
        return model.bound(theta + theta_step, z + z_step, gradient=False).value

    def slope(f, h=1e-3):
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    for i in range(len(theta)):
        unit = np.eye(len(theta))[i]
        want = slope(lambda h, unit=unit: value(theta_step=h * unit))
        assert abs(result.by_theta[i] - want) < 1e-6 * np.abs(result.by_theta).max()
    for index in np.ndindex(z.shape):
        unit = np.zeros_like(z)
        unit[index] = 1.0
        want = slope(lambda h, unit=unit: value(z_step=h * unit))
        assert abs(result.by_z[index] - want) < 1e-6 * max(1.0, np.abs(result.by_z).max())


@pytest.mark.parametrize("name", ["rbf", "matern"])
@pytest.mark.usefixtures("form")
def test_all_inputs_as_inducing_inputs_are_the_exact_process(name, rng):
    kernel = KERNELS[name]
    x, y, _ = problem(rng)
    model, theta = model_of(kernel, x, y)
    result = model.bound(theta, x.copy())
    new = rng.normal(size=(9, 2))
    value, mean, covariance = naive.exact(kernel, x, y, new)
    assert result.value == pytest.approx(value, abs=1e-6)
    got, joint = result.posterior.joint(new)
    np.testing.assert_allclose(got, mean, atol=1e-6)
    np.testing.assert_allclose(joint, covariance, atol=1e-6)


@every_kernel
def test_the_bound_does_not_fall_over_nested_inducing_inputs(kernel, rng):
    """And stays below the exact one; FITC with as many inputs does not (Bauer et al. 2016)."""
    x, y, _ = problem(rng)
    model, theta = model_of(kernel, x, y)
    exact = naive.exact(kernel, x, y, x[:1])[0]
    values = [model.bound(theta, x[:m], gradient=False).value for m in range(1, 61, 3)]
    assert np.all(np.diff(values) > -1e-6)
    assert values[-1] < exact + 1e-6


def test_fitc_is_another_bound(rng):
    """FITC drops the trace term: it lies above the collapsed bound at the same inputs."""
    x, y, z = problem(rng)
    model, theta = model_of(KERNELS["rbf"], x, y)
    bound = model.bound(theta, z, gradient=False).value
    assert bound < naive.fitc(KERNELS["rbf"], x, y, z)
    near = naive.fitc(KERNELS["rbf"], x, y, x)
    assert model.bound(theta, x.copy()).value == pytest.approx(near, abs=1e-5)


@pytest.mark.usefixtures("form")
def test_the_same_bits_for_any_number_of_threads(rng, monkeypatch):
    monkeypatch.setattr(sgpr, "TASK_FLOPS", 1e4)
    monkeypatch.setattr(sgpr, "chunk_rows", lambda m: 16)
    x, y, z = problem(rng, 500)
    results = set()
    for n_threads in (1, 2, 8):
        model, theta = model_of(KERNELS["linear"], x, y, n_threads=n_threads)
        result = model.bound(theta, z)
        results.add((result.value, result.by_theta.tobytes(), result.by_z.tobytes()))
    assert len(results) == 1


def test_evaluations_at_once_share_no_covariances(rng, monkeypatch):
    """As of two threads: one begins where another is between its two passes over the rows."""
    x, y, z = problem(rng)
    model, theta = model_of(KERNELS["rbf"], x, y)
    want = [model.bound(at, z) for at in (theta, theta + 0.3)]
    second_pass, inner = sgpr.Evaluation._gradient, []

    def interleaved(self, *args):
        if not inner:
            inner.append(None)
            inner[0] = model.bound(theta + 0.3, z)
        return second_pass(self, *args)

    monkeypatch.setattr(sgpr.Evaluation, "_gradient", interleaved)
    for got, one in zip((model.bound(theta, z), *inner), want):
        np.testing.assert_array_equal(got.by_theta, one.by_theta)
        np.testing.assert_array_equal(got.by_z, one.by_z)


def test_the_form_is_chosen_by_the_condition(rng, monkeypatch):
    """Long length scales: in the short form rounding leaves nothing to factor."""
    x = rng.uniform(size=(2000, 2))
    y = np.sin(3 * x[:, :1])
    z = x[:40]
    kernel = RBF(1.0) + WhiteKernel(1e-4)
    model, theta = model_of(kernel, x, y)
    chosen = model.bound(theta, z)
    monkeypatch.setattr(sgpr, "ROUNDING", 0.0)
    careful = model.bound(theta, z)
    monkeypatch.setattr(sgpr, "ROUNDING", np.inf)
    with pytest.raises(np.linalg.LinAlgError, match=r"whitened \(40 x 40.*try a larger noise"):
        model.bound(theta, z)
    assert chosen.value == careful.value
    assert chosen.condition > 1e9


def test_the_jitter_is_the_least_that_works(rng):
    x = rng.normal(size=(30, 2))
    matrix = RBF(1.0)(x[:, :1])
    factor = cholesky_with_jitter(matrix, "matrix")
    assert factor.jitter == pytest.approx(1e-12 * np.abs(matrix).sum(axis=1).max())
    shifted = matrix + factor.jitter * np.eye(30)
    np.testing.assert_allclose(factor.lower @ factor.lower.T, shifted, atol=1e-13)
    assert 1 / factor.rcond == pytest.approx(np.linalg.cond(shifted, 1), rel=2)
    indefinite = matrix - 1e-7 * np.eye(30)
    assert cholesky_with_jitter(indefinite, "matrix").jitter > 1e-8
    with pytest.raises(
        np.linalg.LinAlgError, match=r"the matrix \(30 x 30\) has the eigenvalue -2"
    ):
        cholesky_with_jitter(matrix - 2 * np.eye(30), "matrix")
    with pytest.raises(
        np.linalg.LinAlgError, match=r"the matrix \(2 x 2\) is singular to rounding"
    ):
        cholesky_with_jitter(np.zeros((2, 2)), "matrix")
    with pytest.raises(np.linalg.LinAlgError, match=r"the matrix \(2 x 2\) holds numbers that are"):
        cholesky_with_jitter(np.full((2, 2), np.nan), "matrix")


@pytest.mark.usefixtures("form")
def test_duplicated_inputs(rng):
    x, y, z = problem(rng)
    x, z = np.repeat(x, 2, axis=0), np.repeat(z, 3, axis=0)
    y = np.repeat(y, 2, axis=0)
    model, theta = model_of(KERNELS["rbf"], x, y)
    result = model.bound(theta, z)
    once = model.bound(theta, z[::3])
    assert result.value == pytest.approx(once.value, abs=1e-4)
    assert np.all(np.isfinite(result.by_z))
    assert np.all(result.posterior.predict(x)[1] >= 0)


def test_variances_are_never_negative(rng):
    x = np.linspace(0, 1, 50)[:, None]
    model, theta = model_of(RBF(10.0) + WhiteKernel(1e-9), x, np.sin(x))
    posterior = model.bound(theta, x[::2], gradient=False).posterior
    assert posterior.predict(x)[1].min() >= 0
    assert posterior.joint(x)[1].diagonal().min() >= 0


@pytest.mark.parametrize("learned", [{}, {"inducing": False}, {"kernel": False}])
@pytest.mark.parametrize("prior", [None, 0.7])
def test_objective(learned, prior, rng):
    """Its gradient, with priors and scaled inducing inputs, against central differences."""
    x, y, z = problem(rng)
    model, theta = model_of(KERNELS["rbf"], x * [1.0, 50.0], y)
    objective = Collapse(model, theta, z * [1.0, 50.0], prior, **learned)
    point = objective.start + 0.1 * rng.normal(size=len(objective.start))
    assert len(point) == {"inducing": 4, "kernel": 18}.get(next(iter(learned), ""), 22)
    value, gradient = objective(point)
    assert value == objective(point, eval_gradient=False)
    for i in range(len(point)):
        step = 1e-5 * np.eye(len(point))[i]
        want = (objective(point + step)[0] - objective(point - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(want, abs=1e-5 * np.abs(gradient).max())
    far = np.full_like(point, 1e3)
    assert objective(far)[0] > value
    assert np.all(objective(far)[1] == 0)


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("m", [1, 4])
def test_products_in_place(n, m, rng):
    rows, total = rng.normal(size=(n, m)), rng.normal(size=(m, m))
    got = total.copy()
    add_square(rows, got)
    np.testing.assert_allclose(np.tril(got), np.tril(total + rows.T @ rows))
    a, got = rng.normal(size=(n, 3)), np.ones((3, m))
    add_crossed(a, rows, got)
    np.testing.assert_allclose(got, 1.0 + a.T @ rows, atol=1e-12)
    lower = np.tril(total) + 3 * np.eye(m)
    for transposed, matrix in ((False, lower), (True, lower.T)):
        solved = solve_rows(lower, rows.copy(), transposed=transposed)
        np.testing.assert_allclose(solved @ matrix.T, rows, atol=1e-12)
        product = multiply_rows(lower, rows.copy(), transposed=transposed)
        np.testing.assert_allclose(product, rows @ matrix, atol=1e-12)


def test_greedy_inducing_inputs(rng):
    """Each is where the variance given those before is largest, worked out anew every time."""
    x = rng.normal(size=(40, 2))
    kernel = KERNELS["linear"]
    covariance = Covariance(kernel, 2)
    program = covariance.program(covariance.theta)
    got = greedy(covariance, program, x, 8, rng)
    chosen = []
    for point in got:
        left = kernel.diag(x) - 0.2
        if chosen:
            k = kernel(x, x[chosen])
            left -= np.einsum("ij,ji->i", k, np.linalg.solve(kernel(x[chosen], x[chosen]), k.T))
        chosen.append(int(left.argmax()))
        np.testing.assert_array_equal(point, x[chosen[-1]])
    assert len(greedy(covariance, program, np.repeat(x[:3], 4, axis=0), 8, rng)) == 3


def test_distinct_rows_and_subsets(rng):
    x = np.array([[1.0, 2], [0, 1], [1, 2], [3, 3], [0, 1]])
    assert distinct_rows(x).tolist() == [0, 1, 3]
    drawn = subset(x[:4], 3, rng)
    assert len(drawn) == 3
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in x}
