"""Covariance kernels equal their plain twins, and parsed ones scikit-learn's kernel objects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import covariance as naive
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)

from fastvi.base.tree import read_only
from fastvi.kernels import covariance as kernels
from fastvi.kernels import covariance_reverse as reverse
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.reverse import Reverse

EPS = np.finfo(np.float64).eps
LEAVES = range(kernels.CONSTANT, kernels.PERIODIC + 1)
D = 3
ARD = [0.7, 1.9, 1.2]
KERNELS = {
    "rbf": RBF(1.3),
    "rbf ard": ConstantKernel(2.0) * RBF(ARD),
    "matern 1/2": Matern(ARD, nu=0.5),
    "matern 3/2": Matern(0.8, nu=1.5) * ConstantKernel(0.3),
    "matern 5/2": ConstantKernel(2.0) * Matern(ARD, nu=2.5),
    "matern inf": Matern(ARD, nu=np.inf),
    "rational": RationalQuadratic(1.4, alpha=0.7),
    "periodic": ExpSineSquared(0.9, periodicity=2.3),
    "linear": ConstantKernel(0.4) * DotProduct(0.5),
    "constant": ConstantKernel(0.4) + ConstantKernel(0.2) * ConstantKernel(3.0),
    "square": DotProduct(1.5) ** 2,
    "all": (
        ConstantKernel(0.5) * (RBF(ARD) + RationalQuadratic(1.4, alpha=3.0)) * ExpSineSquared()
        + Matern(1.2, nu=0.5) * DotProduct(0.5)
        + ConstantKernel(0.1, "fixed") * Matern(ARD, (0.1, 10), nu=2.5)
        + ConstantKernel(1.5)
    ),
    "fixed": ConstantKernel(2.0, "fixed") * RBF(ARD, "fixed") + RBF(2.0),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def random_program(rng, n_leaves, n_columns):
    """Random leaves, joined by random sums and products."""
    kinds = [int(rng.choice(list(LEAVES))) for _ in range(n_leaves)]
    left, right, loose = [0] * n_leaves, [0] * n_leaves, list(range(n_leaves))
    while len(loose) > 1:
        rng.shuffle(loose)
        left.append(loose.pop())
        right.append(loose.pop())
        kinds.append(int(rng.integers(2)))
        loose.append(len(kinds) - 1)
    kinds = np.array(kinds)
    slots = np.where(kinds > kernels.CONSTANT, np.cumsum(kinds > kernels.CONSTANT) - 1, -1)
    n = len(kinds)
    numbers = (rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n), rng.uniform(0.3, 1, (n, n_columns)))
    return kernels.Program(kinds, np.array(left), np.array(right), slots, *numbers)


def scaled_columns(program, z, width):
    zt = np.zeros((len(program.kinds), z.shape[1], width))
    zt[:, :, : len(z)] = z.T * program.scales[:, :, None]
    return zt


def as_filled(program, x, zt):
    """Arguments as `Covariance.fill` gives them."""
    return kernels.Program(*map(read_only, program)), read_only(x), read_only(zt)


shapes = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(0, 9),
    "m": st.integers(0, 21),
    "n_columns": st.integers(0, 13),
    "n_leaves": st.integers(1, 4),
}


@given(**shapes)
def test_covariances_and_their_reverse_pass(seed, n, m, n_columns, n_leaves):
    rng = np.random.default_rng(seed)
    program = random_program(rng, n_leaves, n_columns)
    x = rng.normal(size=(n, n_columns))
    z = rng.normal(size=(m, n_columns))
    shared = min(n // 2, m)
    z[:shared] = x[:shared]
    n_nodes, n_slots = len(program.kinds), int(program.slots.max(initial=-1)) + 1
    width = -(-m // kernels.WIDTH) * kernels.WIDTH
    zt, out = scaled_columns(program, z, width), np.full((n, m), np.nan)
    room = width + int(rng.integers(0, 3 * m + 1))
    scratch = np.empty((n_nodes + 1, room))
    kernels.covariance(*as_filled(program, x, zt), scratch, out)
    want = naive.covariance(program, x, z)
    size = max(1.0, np.abs(want).max(initial=0.0))
    tolerance = 300 * EPS
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance * size)

    adjoint = rng.normal(size=(n, m))
    weights = np.full((n_slots, n, m), np.nan)
    slopes, scratch = np.ones((n_nodes, 2)), np.empty((3, n_nodes, width))
    given = as_filled(program, x, zt)
    reverse.covariance_reverse(*given, adjoint, scratch, weights, slopes)
    want_weights, want_slopes = naive.reverse(program, x, z, adjoint)
    size = max(1.0, np.abs(want_weights).max(initial=0.0))
    np.testing.assert_allclose(weights, want_weights, rtol=tolerance, atol=tolerance * size)
    size *= max(1, n * m) * max(1.0, np.abs(want_slopes).max(initial=0.0))
    np.testing.assert_allclose(slopes - 1, want_slopes, rtol=1e-3, atol=tolerance * size)


@pytest.mark.parametrize(("m", "n_columns"), [(64, 40), (65, 40), (131, 33), (300, 8), (257, 0)])
def test_tiles_of_columns(m, n_columns, rng):
    """Rows run on into the next, whose beginning is in another tile."""
    program = random_program(rng, 1, n_columns)._replace(
        kinds=np.array([kernels.RBF]), slots=np.array([0])
    )
    x, z = rng.normal(size=(7, n_columns)), rng.normal(size=(m, n_columns))
    width = -(-m // kernels.WIDTH) * kernels.WIDTH
    zt, out = scaled_columns(program, z, width), np.empty((7, m))
    square = np.square((x[:, None] - z) * program.scales[0]).sum(axis=2)
    want = program.amplitudes[0] * np.exp(-0.5 * square)
    for room in (width, 3 * width):
        for function, factor in ((kernels.covariance, 1.0), (kernels.gaussian, kernels.BINARY)):
            function(*as_filled(program, x, factor * zt), np.empty((2, room)), out)
            np.testing.assert_allclose(out, want, rtol=1e-12)


@given(**{name: shapes[name] for name in ("seed", "n", "m", "n_columns")})
def test_one_gaussian(seed, n, m, n_columns):
    rng = np.random.default_rng(seed)
    program = random_program(rng, 1, n_columns)._replace(
        kinds=np.array([kernels.RBF]), slots=np.array([0])
    )
    x = rng.normal(size=(n, n_columns))
    width = -(-m // kernels.WIDTH) * kernels.WIDTH
    z = rng.normal(size=(m, n_columns))
    zt = scaled_columns(program, z, width) * kernels.BINARY
    scratch = np.empty((2, width + int(rng.integers(0, 3 * m + 1))))
    out = np.full((n, m), np.nan)
    kernels.gaussian(*as_filled(program, x, zt), scratch, out)
    want = naive.covariance(program, x, z)
    np.testing.assert_allclose(out, want, rtol=100 * EPS)


@every_kernel
@pytest.mark.parametrize("n", [0, 1, 9])
def test_diagonals(kernel, n, rng):
    """Their derivatives against those of the whole matrix."""
    x, adjoint = rng.normal(size=(n, D)), rng.normal(size=n)
    covariance = Covariance(kernel, D)
    program = covariance.program(covariance.theta)
    want = np.diag(naive.covariance(program, x, x)) if n else np.zeros(0)
    np.testing.assert_allclose(covariance.diagonal(program, x), want, rtol=1e-12)
    sums = Reverse(covariance, program, x, np.zeros(D))
    sums.add_diagonal(x, adjoint)
    sums.add_diagonal(x, adjoint)
    want = 2 * naive.reverse(program, x, x, np.diag(adjoint))[1]
    np.testing.assert_allclose(sums.slopes, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("m", [0, 1, 37])
@pytest.mark.parametrize("n_targets", [0, 2])
def test_the_short_reverse_pass_of_gaussians(m, n_targets, rng):
    program = random_program(rng, 1, D)._replace(kinds=np.array([kernels.RBF]), slots=np.array([0]))
    x, z = rng.normal(size=(5, D)), rng.normal(size=(m, D))
    values = naive.covariance(program, x, z)
    adjoint = rng.normal(size=(5, m))
    left, right = rng.normal(size=(5, n_targets)), np.zeros((n_targets, m))
    right += rng.normal(size=right.shape)
    weights, slopes = naive.reverse(program, x, z, adjoint + left @ right)
    by_amplitude = reverse.gaussian_reverse(adjoint, left, right, values)
    tolerance = 100 * EPS
    np.testing.assert_allclose(adjoint, weights[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(by_amplitude, slopes[0, 0], atol=5 * m * tolerance)


@given(
    n=st.integers(0, 9), m=st.integers(0, 21), n_columns=st.integers(0, 5),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_moments(n, m, n_columns, seed):
    rng = np.random.default_rng(seed)
    weights, x = rng.normal(size=(n, m)), rng.normal(size=(n, n_columns))
    centre = np.full(n_columns, 0.3)
    moments, squares = np.ones((n_columns + 1, m)), np.ones(n_columns)
    reverse.add_moments(weights, read_only(x), centre, moments, squares)
    want, want_squares = naive.moments(weights, x, centre)
    tolerance = 100 * EPS
    np.testing.assert_allclose(moments, 1 + want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(squares, 1 + want_squares, rtol=tolerance, atol=(1 + m) * tolerance)


@every_kernel
def test_scikit_learn_gives_the_same(kernel, rng):
    x, z = rng.normal(size=(7, D)), rng.normal(size=(5, D))
    covariance = Covariance(kernel, D)
    program = covariance.program(covariance.theta)
    np.testing.assert_allclose(covariance.theta, kernel.theta)
    np.testing.assert_allclose(covariance.matrix(program, x, z), kernel(x, z), rtol=1e-12)
    np.testing.assert_allclose(covariance.diagonal(program, x), kernel.diag(x), rtol=1e-12)
    if kernel.n_dims:
        other = kernel.clone_with_theta(kernel.theta + 0.1)
        program = covariance.program(other.theta)
        np.testing.assert_allclose(covariance.matrix(program, x, z), other(x, z), rtol=1e-12)


@every_kernel
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_gradients(kernel, shift, rng):
    """By theta against scikit-learn's; by z against central differences, to 1e-6."""
    x, z = shift + rng.normal(size=(9, D)), shift + rng.normal(size=(6, D))
    covariance = Covariance(kernel, D)
    theta = covariance.theta
    program = covariance.program(theta)

    def reversed_sums(x, z, adjoint):
        result = Reverse(covariance, program, z, x.mean(axis=0))
        values = covariance.matrix(program, x, z)
        result.add(x, covariance.scaled(program, z), adjoint.copy(), values)
        return result

    adjoint = rng.normal(size=(9, 6))
    by_theta, by_z = reversed_sums(x, z, adjoint).gradient(theta)
    size = max(1.0, np.abs(by_z).max(), np.abs(by_theta).max(initial=0.0))
    step = 1e-5
    for index in np.ndindex(z.shape):
        change = np.zeros_like(z)
        change[index] = step
        up, down = (covariance.matrix(program, x, z + s * change) for s in (1, -1))
        want = np.sum(adjoint * (up - down)) / (2 * step)
        assert abs(by_z[index] - want) < 1e-6 * size
    for index in range(len(theta)):
        change = np.zeros_like(theta)
        change[index] = step
        up, down = (
            covariance.matrix(covariance.program(theta + s * change), x, z) for s in (1, -1)
        )
        want = np.sum(adjoint * (up - down)) / (2 * step)
        assert abs(by_theta[index] - want) < 1e-6 * size
    square = rng.normal(size=(9, 9))
    _, derivatives = kernel(x, eval_gradient=True)
    by_theta, _ = reversed_sums(x, x, square).gradient(theta)
    want = np.einsum("ij,ijk->k", square, derivatives)
    np.testing.assert_allclose(by_theta, want, rtol=1e-7, atol=1e-9 * size)
    diagonal = Reverse(covariance, program, z, x.mean(axis=0))
    diagonal.add_diagonal(x, square[0])
    want = np.einsum("i,iik->k", square[0], derivatives)
    np.testing.assert_allclose(diagonal.gradient(theta)[0], want, rtol=1e-7, atol=1e-9 * size)


def test_sums_over_parts_of_rows_merge(rng):
    x, z, adjoint = rng.normal(size=(9, D)), rng.normal(size=(6, D)), rng.normal(size=(9, 6))
    covariance = Covariance(KERNELS["all"], D)
    program = covariance.program(covariance.theta)
    zt = covariance.scaled(program, z)

    def part(rows):
        sums = Reverse(covariance, program, z, np.zeros(D))
        values = covariance.matrix(program, x[rows], z)
        sums.add(x[rows], zt, adjoint[rows].copy(), values)
        return sums

    whole, merged = part(slice(0, 9)), part(slice(0, 4))
    merged.merge(part(slice(4, 9)))
    for a, b in zip(whole.gradient(covariance.theta), merged.gradient(covariance.theta)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "noise"),
    [
        (RBF() + WhiteKernel(0.3), 0.3),
        (WhiteKernel(0.3) + (WhiteKernel(0.1) + RBF()), 0.4),
        (ConstantKernel(2.0) * (RBF() + WhiteKernel(0.3)), 0.6),
        ((ConstantKernel(2.0) + ConstantKernel(3.0)) * WhiteKernel(0.3) + RBF(), 1.5),
        ((WhiteKernel(0.5) + ConstantKernel(2.0)) * (WhiteKernel(0.3) + ConstantKernel(1.0)), 1.25),
    ],
)
def test_white_noise_is_set_apart(kernel, noise, rng):
    x = rng.normal(size=(4, D))
    covariance = Covariance(kernel, D, alpha=0.01)
    theta = covariance.theta
    assert covariance.noise(theta) == pytest.approx(noise + 0.01)
    assert covariance.white_noise(theta) == pytest.approx(noise)
    matrix = covariance.matrix(covariance.program(theta), x, x)
    np.testing.assert_allclose(matrix + noise * np.eye(4), kernel(x), rtol=1e-12)
    for i, got in enumerate(covariance.noise_gradient(theta)):
        change = np.zeros_like(theta)
        change[i] = 1e-6
        want = (covariance.noise(theta + change) - covariance.noise(theta - change)) / 2e-6
        assert got == pytest.approx(want, abs=1e-8)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (WhiteKernel(), "noise only"),
        (RBF() * (WhiteKernel() + RBF()), "multiplies white noise"),
        (Matern(nu=2.0), r"nu of .* is 2.0; wanted 0.5"),
        (RBF([1.0, 2.0]), "length_scale of .* has 2 entries; wanted 1 or one a column of X, 3"),
        (RBF() ** 0.5, "is 0.5; wanted a whole number"),
        (PairwiseKernel(), "is not known here; wanted ConstantKernel"),
        ("rbf", "is not scikit-learn's"),
    ],
)
def test_what_is_not_known_is_refused(kernel, message):
    with pytest.raises(ValueError, match=message):
        Covariance(kernel, D)


def test_columns_of_a_product_with_a_constant_share_one_node():
    """The short reverse pass is for these."""
    assert Covariance(KERNELS["rbf ard"] + WhiteKernel(), D).is_gaussian
    assert Covariance(RBF() * ConstantKernel(2.0) * ConstantKernel(3.0), D).is_gaussian
    assert not Covariance(KERNELS["all"], D).is_gaussian
