"""Operator variational inference: reverse passes by finite differences, known optima, and fits."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import operator as naive

import fastvi
from fastvi.base import archive
from fastvi.fitting.operator import Settings, _fresh, _network, _player, _scratch
from fastvi.kernels import operator as kernels
from fastvi.kernels import shallow
from fastvi.targets import TargetError
from fastvi.transforms import positive

# Each alone compiles what a fit compiles as one kernel.
apart = pytest.mark.thorough
FEW = settings(max_examples=min(25, settings().max_examples))
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def mixture(z, grad):
    """0.4 N(-1.5, 0.7^2) + 0.6 N(1.5, 0.7^2), but for constants."""
    a = np.log(0.6) - 0.5 * ((z[0] - 1.5) / 0.7) ** 2
    b = np.log(0.4) - 0.5 * ((z[0] + 1.5) / 0.7) ** 2
    top = max(a, b)
    right, left = np.exp(a - top), np.exp(b - top)
    share = right / (left + right)
    grad[0] = (-share * (z[0] - 1.5) - (1 - share) * (z[0] + 1.5)) / 0.49
    return top + np.log(left + right)


def banana(z, grad):
    """z_0 ~ N(0, 1), z_1 ~ N(z_0^2 / 2, 1/2)."""
    bend = z[1] - 0.5 * z[0] ** 2
    grad[0] = 2.0 * bend * z[0] - z[0]
    grad[1] = -2.0 * bend
    return -(bend**2) - 0.5 * z[0] ** 2


def normal(z, grad):
    for j in range(z.size):
        grad[j] = -z[j]
    return 0.0 * z[0]


def half(z, grad):
    """Standard normal for z_0 < 1, and nothing beyond."""
    grad[0] = -z[0] if z[0] < 1.0 else np.nan
    return -0.5 * z[0] ** 2 if z[0] < 1.0 else -np.inf


@st.composite
def nets(draw, square=False):
    """(generator, network, inputs (E, N))."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d, hidden, n = draw(st.integers(1, 3)), draw(st.integers(0, 5)), draw(st.integers(0, 9))
    inputs = d if square else draw(st.integers(1, 4))
    net = _player(_fresh(d, inputs, hidden, rng), d, inputs, hidden).network
    for part in net:
        part[:] = rng.normal(size=part.shape)
    return rng, net, rng.normal(size=(inputs, n))


def through(net, x):
    hidden, y = (
        np.full((len(net.bias), x.shape[1]), np.nan),
        np.full((len(net.shift), x.shape[1]), 9.0),
    )
    shallow.forward(net, x, hidden, y)
    return hidden, y


def divergence(net, x):
    out = np.full(x.shape[1], np.nan)
    shallow.divergence(net, through(net, x)[0], out)
    return out


def flat(net):
    return np.concatenate([part.ravel() for part in net])


def like(net, values):
    return _network(np.array(values), len(net.shift), net.linear.shape[1], len(net.bias))


def by_parameters(function, net, step=1e-5):
    """Central differences of a scalar function of a network, (P,)."""
    at = flat(net)
    eye = step * np.eye(len(at))
    return np.array(
        [(function(like(net, at + e)) - function(like(net, at - e))) / (2 * step) for e in eye]
    )


def by_inputs(function, x, step=1e-5):
    """Central differences of a function (E, N) -> (N,), each by its own column: (E, N)."""
    out = np.empty_like(x)
    for e in range(len(x)):
        up, down = x.copy(), x.copy()
        up[e] += step
        down[e] -= step
        out[e] = (function(up) - function(down)) / (2 * step)
    return out


# Networks


@apart
@FEW
@given(nets())
def test_forward(case):
    _, net, x = case
    want = [naive.network(net, column) for column in x.T]
    np.testing.assert_allclose(
        through(net, x)[1].T, np.reshape(want, (-1, len(net.shift))), rtol=1e-9, atol=1e-12
    )


@apart
@FEW
@given(nets(square=True))
def test_divergence(case):
    _, net, x = case
    found = divergence(net, x)
    np.testing.assert_allclose(
        found, [naive.divergence(net, c) for c in x.T], rtol=1e-9, atol=1e-12
    )
    by_definition = np.zeros(x.shape[1])
    for j in range(len(x)):
        by_definition += by_inputs(lambda p, j=j: through(net, p)[1][j], x)[j]
    np.testing.assert_allclose(found, by_definition, **CLOSE)


@apart
@FEW
@given(nets())
def test_reverse(case):
    rng, net, x = case
    hidden, y = through(net, x)
    adjoint, row = rng.normal(size=y.shape), np.empty(x.shape[1])
    slopes = like(net, rng.normal(size=len(flat(net))))
    before = flat(slopes)
    shallow.reverse(net, x, hidden, adjoint, row, slopes)
    want = by_parameters(lambda w: np.sum(adjoint * through(w, x)[1]), net)
    np.testing.assert_allclose(flat(slopes) - before, want, **CLOSE)
    out = rng.normal(size=x.shape)
    want = out + by_inputs(lambda p: np.sum(adjoint * through(net, p)[1], axis=0), x)
    shallow.pull_back(net, hidden, adjoint, row, out)
    np.testing.assert_allclose(out, want, **CLOSE)


@apart
@FEW
@given(nets(square=True))
def test_reverse_of_divergences(case):
    rng, net, x = case
    hidden, _ = through(net, x)
    weights, rows = rng.normal(size=x.shape[1]), np.empty((2, x.shape[1]))
    slopes = like(net, rng.normal(size=len(flat(net))))
    before = flat(slopes)
    shallow.divergence_reverse(net, x, hidden, weights, rows, slopes)
    want = by_parameters(lambda w: weights @ divergence(w, x), net)
    np.testing.assert_allclose(flat(slopes) - before, want, **CLOSE)
    out = rng.normal(size=x.shape)
    want = out + weights * by_inputs(lambda p: divergence(net, p), x)
    shallow.divergence_slope(net, hidden, weights, rows[0], out)
    np.testing.assert_allclose(out, want, **CLOSE)


# The objective


def game(target, seed, n_draws=7, power=0.8):
    """Random networks, and a scratch that holds draws of the program and their scores."""
    rng = np.random.default_rng(seed)
    d = target.dim
    sizes = Settings(4, 5, 3, n_draws, 1, 1, 0.0, 0.01, 0.01)
    program, test = _player(_fresh(d, 3, 4, rng), d, 3, 4), _player(_fresh(d, d, 5, rng), d, d, 5)
    for player in (program, test):
        player.flat[:] = 0.7 * rng.normal(size=len(player.flat))
    density = kernels.Density(
        target.address, target.data_table, rng.normal(size=d), rng.uniform(0.5, 2.0, d)
    )
    work = _scratch(target, sizes)
    assert kernels.draw(density, power, program.network, work, rng) == n_draws
    return density, power, program, test, work


def score(density, target, power, x):
    """By the target itself, (d, N)."""
    Z = density.centre + density.scale * x.T
    return power * density.scale[:, None] * target.log_prob_and_grad(Z)[1].T


@apart
@pytest.mark.parametrize("function", [mixture, banana, normal])
@pytest.mark.parametrize("seed", [0, 1])
def test_objective_and_its_gradients(function, seed):
    target = fastvi.target(function, dim=1 if function is mixture else 2)
    density, power, program, test, work = game(target, seed)
    np.testing.assert_allclose(work.scores, score(density, target, power, work.x), rtol=1e-12)
    weights, noise = work.weights.copy(), work.noise.copy()
    np.testing.assert_allclose(weights, 1 / 7)

    def value(net, x):
        return naive.objective(net, x, score(density, target, power, x), weights)

    np.testing.assert_allclose(kernels.objective(test.network, work), value(test.network, work.x))
    kernels.test_slopes(test.network, work, test.slopes)
    want = by_parameters(lambda w: value(w, work.x), test.network)
    np.testing.assert_allclose(test.gradient, want, **CLOSE)
    kernels.draw_slopes(density, power, test.network, work)
    kernels.reverse(
        program.network, work.noise, work.hidden, work.adjoint, work.row[0], program.slopes
    )
    want = by_parameters(lambda w: value(test.network, through(w, noise)[1]), program.network)
    np.testing.assert_allclose(program.gradient, want, rtol=1e-5, atol=1e-6)


@apart
def test_draws_without_a_score_are_left_out():
    target = fastvi.target(half, dim=1)
    density, _, program, test, work = game(fastvi.target(normal, dim=1), 0, n_draws=50)
    density = kernels.Density(target.address, target.data_table, np.zeros(1), np.ones(1))
    rng = np.random.default_rng(0)
    good = kernels.draw(density, 1.0, program.network, work, rng)
    assert good == np.count_nonzero(work.x < 1.0)
    assert 0 < good < 50
    np.testing.assert_allclose(work.weights, np.where(work.x[0] < 1.0, 1 / good, 0.0))
    kept = work.x[:, work.x[0] < 1.0]
    want = naive.objective(test.network, kept, -kept, np.full(good, 1 / good))
    np.testing.assert_allclose(kernels.objective(test.network, work), want)
    kernels.draw_slopes(density, 1.0, test.network, work)
    assert np.isfinite(work.adjoint).all()


def fragile(z, grad):
    if z[0] > 1.0:
        raise ValueError("too large")
    grad[0] = -z[0]
    return -0.5 * z[0] ** 2


@apart
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_target_that_fails_at_some_draws(capfd):
    target = fastvi.target(fragile, dim=1)
    _, _, program, _, work = game(fastvi.target(normal, dim=1), 0, n_draws=20)
    density = kernels.Density(target.address, target.data_table, np.zeros(1), np.ones(1))
    good = kernels.draw(density, 1.0, program.network, work, np.random.default_rng(0))
    assert good == np.count_nonzero(work.x <= 1.0)
    capfd.readouterr()  # where nothing is compiled, what is raised is printed


# Fits


@pytest.mark.jit
def test_best_linear_test_function_gives_half_the_fisher_divergence():
    """A still program N(1, 2^2) against N(0, 1): half of E|s - grad log q|^2, 1/2 (9/4 + 1).

    The score's difference, -z + (z - 1) / 4, is linear. In units of 2 it is 2^2 times as large.
    Mean of the last 500 steps of 1000 draws; 2 %, as single steps scatter by 5 %.
    """
    target = fastvi.target(normal, dim=1)
    p = fastvi.operator_vi(
        target, n_hidden=0, n_test=0, n_noise=1, n_draws=1000, max_iter=1500, learning_rate=1e-12,
        start=[1.0], scale=2.0, warm_up=0.0, n_inner=2, test_learning_rate=0.02, random_state=0,
    )  # fmt: skip
    np.testing.assert_allclose(p.history["objective"][-5:].mean(), 2.0 * (9 / 4 + 1), rtol=0.02)
    np.testing.assert_allclose([p.mean[0], p.sd[0]], [1.0, 2.0], atol=0.05)


@pytest.mark.thorough
@pytest.mark.jit
def test_two_modes():
    """Variance 0.49 + 1.5^2 0.96 = 2.65 to 8 %, shares of modes to 0.1, as scores hardly see them
    (other seeds gave 0.54 to 0.57 for 0.6), and so the mean, 0.3, to 0.3; a squared discrepancy of
    4000 draws within three standard errors of 0, or 0.005.
    """
    target = fastvi.target(mixture, dim=1)
    p = fastvi.operator_vi(target, scale=2.0, random_state=0)
    assert abs(p.mean[0] - 0.3) < 0.3
    np.testing.assert_allclose(p.cov[0, 0], 2.65, rtol=0.08)
    x = p.sample(20_000, np.random.default_rng(0))[:, 0]
    assert abs((x > 0).mean() - 0.6) < 0.1
    found = p.ksd(n_draws=4000, bandwidth=1.0, random_state=0)
    assert found.value < max(3 * found.error, 0.005)
    one = fastvi.fit(target, random_state=0).ksd(n_draws=4000, bandwidth=1.0, random_state=0)
    assert one.value > 10 * found.value  # no Gaussian comes near
    assert np.all(p.history["objective"][-5:] < 0.1)


@pytest.mark.thorough
@pytest.mark.jit
def test_banana():
    """Means 0 and 1/2, variances 1 and 1, no correlation: within 0.1 and 0.2 (tails come last)."""
    target = fastvi.target(banana, dim=2)
    p = fastvi.operator_vi(target, scale=2.0, random_state=0)
    np.testing.assert_allclose(p.mean, [0.0, 0.5], atol=0.1)
    np.testing.assert_allclose(p.cov, np.eye(2), atol=0.2)
    x = p.sample(20_000, np.random.default_rng(0))
    bend = np.cov(x[:, 0] ** 2, x[:, 1])
    assert abs(bend[0, 1] - 1.0) < 0.3  # cov(z_0^2, z_0^2 / 2) = 1
    found = p.ksd(n_draws=4000, bandwidth=1.0, random_state=0)
    assert found.value < max(3 * found.error, 0.005)


def quick(target, **options):
    return fastvi.operator_vi(target, **{"max_iter": 120, "n_draws": 20, "n_hidden": 4, "n_test": 4,
                                         "random_state": 0, **options})  # fmt: skip


@pytest.mark.jit
def test_same_seed_same_bits():
    target = fastvi.target(banana, dim=2)
    draws = [quick(target).sample(5, np.random.default_rng(0)) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
    other = quick(target, random_state=1).sample(5, np.random.default_rng(0))
    assert not np.array_equal(other, draws[0])


def gamma(z, grad):
    grad[0] = 2.0 / z[0] - 1.0
    return 2.0 * np.log(z[0]) - z[0]


@pytest.mark.jit
def test_what_a_fit_has():
    target = fastvi.target(gamma, names={"sigma": positive()})
    p = quick(target, start={"sigma": 3.0}, scale=[0.5])
    assert p.names == ("sigma",)
    assert "sigma" in repr(p)
    assert p.n_iter == 120
    assert {"seconds", "objective", "rejected"} <= set(p.history)
    assert len(p.history["objective"]) == 2
    assert np.all(p.sample_parameters(10, np.random.default_rng(0))["sigma"] > 0)
    x = p.sample(100_000, np.random.default_rng(0))
    np.testing.assert_allclose(p.mean, x.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(p.cov, np.cov(x, rowvar=False).reshape(1, 1), rtol=0.1)
    np.testing.assert_allclose(p.sd**2, np.diag(p.cov))
    assert p.sample(0, np.random.default_rng(0)).shape == (0, 1)
    assert "After 120 steps." in p.summary()
    assert p.ksd(random_state=0).n == 1000
    # pickled with its target where that is a function of a module
    again = pickle.loads(pickle.dumps(p))
    np.testing.assert_array_equal(again.mean, p.mean)


@pytest.mark.jit
@pytest.mark.parametrize("n_hidden", [0, 5])
def test_files_bring_it_back(tmp_path, n_hidden):
    target = fastvi.target(banana, dim=2)
    p = quick(target, n_hidden=n_hidden, scale=[1.0, 2.0], start=[0.1, 0.2])
    p.save(tmp_path / "p.npz")
    np.testing.assert_array_equal(fastvi.load(tmp_path / "p.npz").mean, p.mean)
    q = fastvi.ProgramPosterior.load(tmp_path / "p.npz", target)
    np.testing.assert_array_equal(q.mean, p.mean)
    np.testing.assert_array_equal(q.history["objective"], p.history["objective"])
    assert (q.names, q.n_iter, q.summary()) == (p.names, p.n_iter, p.summary())
    alone = fastvi.ProgramPosterior.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(alone.mean, p.mean)
    assert "Load it with its target" in alone.summary()
    with pytest.raises(ValueError, match="loaded without its target"):
        alone.ksd()
    with pytest.raises(ValueError, match="target has other names"):
        fastvi.ProgramPosterior.load(tmp_path / "p.npz", fastvi.target(mixture, dim=1))


@pytest.mark.jit
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("scale", np.ones(3)),
        ("centre", np.full(2, np.nan)),
        ("program.inner", np.ones(5)),
        ("program.bias", np.ones(4)),
        ("program.linear", np.ones((2, 3), np.float32)),
        ("program.outer", None),
    ],
)
def test_damaged_files(tmp_path, name, wrong):
    quick(fastvi.target(banana, dim=2), n_hidden=5).save(tmp_path / "p.npz")
    header, arrays = archive.load(tmp_path / "p.npz", "program-posterior")
    arrays[name] = wrong
    arrays = {name: array for name, array in arrays.items() if array is not None}
    archive.save(tmp_path / "p.npz", "program-posterior", header, arrays)
    with pytest.raises(ValueError, match=r"p\.npz: "):
        fastvi.ProgramPosterior.load(tmp_path / "p.npz")


@pytest.mark.jit
def test_other_sizes_compile_nothing():
    quick(fastvi.target(mixture, dim=1))
    before = len(kernels.train.signatures)
    quick(fastvi.target(banana, dim=2), n_hidden=7, n_noise=5, n_draws=33)
    assert len(kernels.train.signatures) == before == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_hidden": -1}, "n_hidden is -1"),
        ({"n_test": 1.5}, "n_test is 1.5"),
        ({"n_noise": 0}, "n_noise is 0"),
        ({"n_draws": 1}, "n_draws is 1"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"n_inner": 0}, "n_inner is 0"),
        ({"warm_up": 1.1}, "warm_up is 1.1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"test_learning_rate": np.inf}, "test_learning_rate is inf"),
        ({"scale": 0.0}, "scale is 0.0; wanted a number > 0, or 2 of them"),
        ({"scale": [1.0, np.nan]}, "scale is"),
        ({"scale": [1.0] * 3}, "scale is"),
        ({"scale": "wide"}, "scale is 'wide'"),
        ({"start": [0.0]}, r"start has shape \(1,\)"),
        ({"random_state": -1}, "random_state is -1"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        quick(fastvi.target(banana, dim=2), **options)


def test_targets_that_cannot_be_fitted():
    with pytest.raises(ValueError, match="needs the gradient of the target"):
        quick(fastvi.target(lambda z: -0.5 * z[0] ** 2, dim=1))
    with pytest.raises(TargetError):
        quick(fastvi.target(half, dim=1), start=[50.0])
    with pytest.raises(TargetError, match="cannot be evaluated at"):
        quick(fastvi.target(normal, dim=2), start=[1e308, 0.0])
