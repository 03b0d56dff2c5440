"""Linear systems: the joint Gaussian, closed forms, bounds that never fall, published fits."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from naive import kalman as naive
from scipy.special import gammaln
from scipy.stats import t as student
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough
from tolerances import rounding

import fastvi
from fastvi.core import Batch
from fastvi.models.statespace.model import Kept, LinearModel
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import Linear, filtered, passed, smoothed
from fastvi.models.statespace.variational import Priors, VariationalLinear

pytestmark = pytest.mark.jit
SSM = fastvi.LinearGaussianSSM
LENGTHS = [25, 1, 14]
NILE = np.array([  # flow at Aswan, 1871 to 1970, 1e8 m^3: Durbin and Koopman (2012), section 2.2.5
    1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180,
    799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833,
    701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845,
    864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649,
    846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815,
    1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
], float)[:, None]  # fmt: skip


def assert_never_falls(bounds):
    slack = rounding(np.float64, 1000, np.abs(bounds).max())
    assert np.diff(bounds).min() >= -slack


@cache
def simulated(n=40):
    """Three sequences of two states that turn and four features; one input."""
    rng = np.random.RandomState(3)
    inputs, states = rng.normal(size=(n, 1)), np.zeros((n, 2))
    for t in range(1, n):
        states[t] = [[0.9, 0.3], [-0.3, 0.9]] @ states[t - 1] + 0.5 * rng.normal(size=2)
        states[t, 0] += 0.7 * inputs[t, 0]
    X = states @ rng.normal(size=(2, 4)) + 2.0 + 0.4 * rng.normal(size=(n, 4))
    return X, inputs


def with_gaps(kind):
    rng, X = np.random.RandomState(0), simulated()[0].copy()
    if kind != "none":
        X[[0, 7, 8, 25]] = np.nan
    if kind == "numbers":
        X[rng.rand(*X.shape) < 0.2] = np.nan
    return X


def system(k, d, *, full=False, singular=False):
    rng = np.random.RandomState(k)
    transition, root = rng.normal(size=(k, k)) / k, rng.normal(size=(k, k))
    noise = np.eye(d) + 0.3 if full else rng.rand(d) + 0.1
    if singular:  # an autoregression: only the first state has noise
        transition = np.eye(k, k=-1)
        transition[0] = 0.5 / k
        root = np.zeros((k, k))
        root[0, 0] = 1.0
    return Linear(
        rng.normal(size=k), np.eye(k) + 0.5, transition, rng.normal(size=(k, 1)), root @ root.T,
        rng.normal(size=(d, k)), rng.normal(size=(d, 2)), noise,
    )  # fmt: skip


# --- filter and smoother --------------------------------------------------------------------------


@pytest.mark.parametrize("gaps", ["none", "rows", "numbers"])
@pytest.mark.parametrize(
    ("k", "options"),
    [(2, {}), (6, {}), (2, {"full": True}), (3, {"singular": True})],
    ids=["two states", "more states than features", "full noise", "singular noise"],
)
def test_passes_are_those_of_the_joint_gaussian(k, options, gaps):
    X, (_, inputs), params = with_gaps(gaps), simulated(), system(k, 4, **options)
    rows = SequenceRows(X, np.array(LENGTHS), inputs)
    found, densities = smoothed(params, rows)
    ends = np.cumsum(LENGTHS)
    for begin, end in zip(ends - LENGTHS, ends):
        some = slice(begin, end)
        log_density, means, covariances, cross = naive.smoothed(params, X[some], inputs[some])
        np.testing.assert_allclose(densities[some].sum(), log_density, rtol=1e-10)
        np.testing.assert_allclose(found.means[some], means, atol=1e-10)
        np.testing.assert_allclose(found.covariances()[some], covariances, atol=1e-10)
        np.testing.assert_allclose(found.cross[found.own[begin : end - 1]], cross, atol=1e-10)
        for last in (begin + 1, end):  # the last filtered state is the smoothed one of a prefix
            _, means, covariances, _ = naive.smoothed(params, X[begin:last], inputs[begin:last])
            at = last - 1
            np.testing.assert_allclose(found.filtered.means[at], means[-1], atol=1e-10)
            own = found.filtered.covariances(np.array([at]))[0]
            np.testing.assert_allclose(own, covariances[-1], atol=1e-10)


def test_steps_share_covariances():
    """Those of long sequences settle, those of equal form are the same, and gaps come again."""
    rng = np.random.RandomState(0)
    params, X = system(2, 3), rng.normal(size=(6000, 3))
    X[np.arange(100, 6000, 300)] = np.nan
    for lengths, most in (([6000], 100), ([300] * 20, 100), ([5] * 1200, 300)):
        rows = SequenceRows(X, np.array(lengths), np.zeros((6000, 0)))
        plain = params._replace(inputs=np.zeros((2, 0)), offsets=params.offsets[:, :1])
        found, densities = smoothed(plain, rows)
        assert found.filtered.which.max() < most
        assert len(found.covariance) < most
        begin = 6000 - min(lengths[-1], 40)
        if lengths[-1] < 50:
            alone = naive.smoothed(plain, X[begin:], np.zeros((6000 - begin, 0)))
            np.testing.assert_allclose(densities[begin:].sum(), alone[0], rtol=1e-12)
            np.testing.assert_allclose(found.means[begin:], alone[1], atol=1e-12)


def test_tables_grow():
    """Each row has another pattern of missing numbers or another distance from one."""
    rng = np.random.RandomState(0)
    params, X = system(2, 3), rng.normal(size=(2000, 3))
    X[rng.rand(2000, 3) < 0.3] = np.nan
    plain = params._replace(inputs=np.zeros((2, 0)), offsets=params.offsets[:, :1])
    rows = SequenceRows(X, np.array([2000]), np.zeros((2000, 0)))
    found, densities = smoothed(plain, rows)
    assert len(found.covariance) > 1000
    alone, own = passed(plain, rows)  # in tables that are forgotten when they are full
    np.testing.assert_allclose(own, densities, rtol=1e-11)
    np.testing.assert_allclose(alone.covariance, found.covariances()[-1], rtol=1e-11)
    tail = naive.smoothed(plain, X[-60:], np.zeros((60, 0)))  # which has forgotten its beginning
    np.testing.assert_allclose(found.means[-20:], tail[1][-20:], atol=1e-9)
    np.testing.assert_allclose(found.covariances()[-20:], tail[2][-20:], atol=1e-9)


def level(q, r, n=300):
    """A local level whose first state is known."""
    one = np.ones((1, 1))
    params = Linear(
        np.zeros(1), one, one, np.zeros((1, 0)), q * one, one, np.zeros((1, 1)), np.array([r])
    )
    X = np.random.RandomState(1).normal(size=(n, 1)).cumsum(axis=0)
    return params, SequenceRows(X, np.array([n]), np.zeros((n, 0)))


@pytest.mark.parametrize(("q", "r"), [(1.0, 2.0), (1e-6, 1.0), (1.0, 1e-12)])
def test_a_local_level_has_its_closed_form(q, r):
    """The predicted variance p solves p^2 = q p + q r, and the gain is p / (p + r)."""
    params, rows = level(q, r, 20_000 if q < 1e-3 else 300)
    found, _ = filtered(params, rows)
    p = 0.5 * (q + np.sqrt(q * q + 4 * q * r))
    np.testing.assert_allclose(
        found.covariances(slice(-1, None)).item(), p * r / (p + r), rtol=1e-9
    )
    x, m = rows.X.ravel(), found.means.ravel()
    np.testing.assert_allclose(m[-1], m[-2] + p / (p + r) * (x[-1] - m[-2]), rtol=1e-9)


def test_the_nile():
    """Durbin and Koopman (2012), section 2.10: variances 15099 and 1469.1.

    The log likelihood is the one under a flat density of the first level, -632.5456, as KFAS and
    statsmodels with an exact diffuse start have it.
    """
    one = [[1.0]]
    model = SSM(
        1, solver="em", transition_matrix=one, observation_matrix=one, observation_offset=[0.0],
        initial="diffuse", tol=1e-9,
    ).fit(NILE)  # fmt: skip
    assert model.n_iter_ <= 15  # more than 200 without extrapolation
    assert_never_falls(model.history_["elbo"])
    np.testing.assert_allclose(model.observation_covariance_, [15098.5], rtol=1e-4)
    np.testing.assert_allclose(model.transition_covariance_, [[1469.1]], rtol=3e-4)
    np.testing.assert_allclose(model.score(NILE), -632.54563, atol=1e-4)
    assert model.initial_covariance_.item() > 1e10


# --- fits -----------------------------------------------------------------------------------------


def options_of(solver, gaps):
    noise = "full" if solver == "em" else "diag"
    return {"solver": solver, "observation_noise": noise, "random_state": 0}


@pytest.mark.parametrize("solver", ["em", "vb"])
@pytest.mark.parametrize(
    ("gaps", "with_inputs"),
    mostly_thorough(
        [("numbers", True), ("none", False), *product(("rows",), (False, True)), ("none", True),
         ("numbers", False)], 2,
    ),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bounds_never_fall(solver, gaps, with_inputs):
    X, inputs = with_gaps(gaps), simulated()[1] if with_inputs else None
    model = SSM(3, max_iter=60, **options_of(solver, gaps)).fit(X, LENGTHS, inputs=inputs)
    assert_never_falls(model.history_["elbo"])
    assert model.history_["elbo"][-1] > model.history_["elbo"][0] + 1


def test_the_likelihood_of_em_is_that_of_the_model():
    """The bound of a pass is that of its start; the first pass is not extrapolated."""
    X = with_gaps("numbers")
    model = SSM(2, solver="em", max_iter=1, tol=0.0).fit(X, LENGTHS)
    more = SSM(2, solver="em", max_iter=2, tol=0.0).fit(X, LENGTHS)
    np.testing.assert_allclose(model.score(X, LENGTHS), more.elbo_, rtol=1e-12)
    np.testing.assert_allclose(model.score_samples(X, LENGTHS).sum(), more.elbo_, rtol=1e-12)
    assert more.score(X, LENGTHS) >= more.elbo_


def test_published_fits_take_few_passes():
    """A local linear trend of the Nile ends at a smooth level, whose slope does not vary."""
    model = SSM(
        2, solver="em", transition_matrix=[[1.0, 1.0], [0.0, 1.0]], observation_matrix=[[1.0, 0.0]],
        observation_offset=[0.0], state_noise="diag", initial="diffuse", tol=1e-8,
    ).fit(NILE)  # fmt: skip
    assert model.n_iter_ < 60  # without extrapolation, 5000 do not suffice
    assert_never_falls(model.history_["elbo"])
    variances = np.diag(model.transition_covariance_)
    assert variances[1] < 1e-5 * variances[0]
    np.testing.assert_allclose(model.score(NILE), -629.8729, atol=1e-3)


@pytest.mark.parametrize("with_inputs", [False, True])
def test_rows_partly_missing_with_full_noise_are_completed(with_inputs):
    """A step is that of the joint Gaussian of states and rows; noise features depend on others."""
    X, inputs, params = with_gaps("numbers"), simulated()[1], system(2, 4, full=True)
    if not with_inputs:
        inputs = np.zeros((40, 0))
        params = params._replace(inputs=np.zeros((2, 0)), offsets=params.offsets[:, :1])
    rows = SequenceRows(X, np.array([40]), inputs)
    model = LinearModel(params, Kept())
    found = model.local(params, Batch(rows, None), None, np.random.default_rng(0)).statistics
    loadings, offsets, noise = naive.observations(params, X, inputs)
    np.testing.assert_allclose(found.loadings, loadings, atol=1e-9)
    np.testing.assert_allclose(found.offsets, offsets, atol=1e-9)
    np.testing.assert_allclose(found.rows_noise, noise, atol=1e-9)


def test_parameters_that_are_given_stay():
    X, known = simulated()[0], system(2, 4)
    model = SSM(
        2, solver="em", state_noise="diag", transition_matrix=known.transition,
        initial_mean=known.mean, observation_offset=np.full(4, 2.0), max_iter=20, tol=0.0,
    ).fit(X)  # fmt: skip
    np.testing.assert_array_equal(model.transition_matrix_, known.transition)
    np.testing.assert_array_equal(model.initial_mean_, known.mean)
    np.testing.assert_allclose(model.observation_offset_, 2.0, rtol=1e-14)
    assert_never_falls(model.history_["elbo"])
    assert model.transition_covariance_[0, 1] == 0


def evidence(x, priors):
    """Log evidence of one state and one feature whose first state is N(0, 1), by quadrature.

    Given the transition a and c, the loading in units of the noise, rows are a multivariate t.
    """
    n, shape, rate = len(x), priors.noise_shape, priors.noise_rate
    nodes, weights = np.polynomial.legendre.leggauss(200)
    grid, weights = np.tan(nodes * np.pi / 2), weights * np.pi / 2 / np.cos(nodes * np.pi / 2) ** 2
    scale = np.sqrt(priors.column_rate / priors.column_shape)
    density = student(2 * priors.column_shape, scale=scale).pdf(grid) * weights
    grid, density, total = grid[density > 1e-10], density[density > 1e-10], 0.0
    one = np.ones((1, 1))
    for a, p in zip(grid, density):
        whole = naive.joint(np.zeros(1), one, a * one, one, np.zeros((n, 1)))[1]
        spread = np.square(grid)[:, None, None] * whole + np.eye(n) + 1.0 / priors.inputs
        away = np.einsum("i,gij,j->g", x, np.linalg.inv(spread), x)
        logs = -0.5 * np.linalg.slogdet(spread)[1] - 0.5 * n * np.log(2 * np.pi)
        logs += shape * np.log(rate) + gammaln(shape + n / 2) - gammaln(shape)
        total += p * density @ np.exp(logs - (shape + n / 2) * np.log(rate + away / 2))
    return np.log(total)


def test_the_bound_is_below_the_evidence_and_near():
    priors = Priors(2.0, 1.0, 2.0, 1.0, 1.0)
    x = np.array([0.3, 1.1, 0.9, -0.2])
    rows = SequenceRows(x[:, None], np.array([4]), np.zeros((4, 0)))
    model = VariationalLinear(priors, (True, True))
    params = model.begin(level(1.0, 0.5)[0]._replace(transition=np.full((1, 1), 0.5)), rows)
    bounds = []
    for _ in range(200):
        local = model.local(params, Batch(rows, None), None, np.random.default_rng(0))
        bounds.append(local.bound + model.global_bound(params))
        params = local.statistics
    assert_never_falls(bounds)
    gap = evidence(x, priors) - bounds[-1]
    assert 0 < gap - np.log(2) < 0.3, gap  # the posterior has two modes, of either sign


def test_the_bound_is_the_expectation_that_it_stands_for():
    """E_q[log p(x, states, parameters) - log q], by draws, with two states, gaps and an input."""
    rng, draws = np.random.default_rng(0), 40_000
    X = with_gaps("numbers")[:6, :2]
    rows = SequenceRows(X, np.array([4, 2]), simulated()[1][:6])
    priors = Priors(2.0, 1.0, 3.0, 1.0, 0.5)
    model = VariationalLinear(priors, (True, True))
    start = system(2, 2)._replace(noise=np.eye(2))
    params = model.begin(start, rows)
    for _ in range(3):
        params = model.local(params, Batch(rows, None), None, rng).statistics
    found = model.local(params, Batch(rows, None), None, rng).bound + model.global_bound(params)
    values = log_ratios(model, params, rows, rng, draws)
    error = values.std() / np.sqrt(draws)
    assert abs(values.mean() - found) < 4 * error + 1e-9
    assert error < 0.1


def gammas(shape, rates, rng, n):
    """Draws of Gamma distributions (n, ...), and their log densities."""
    rates = np.asarray(rates)
    x = rng.gamma(shape, 1.0, size=(n, *rates.shape)) / rates
    return x, log_gamma(x, shape, rates).sum(axis=-1)


def log_gamma(x, shape, rates):
    return shape * np.log(rates) - gammaln(shape) + (shape - 1) * np.log(x) - rates * x


def log_normal(x, precision):
    return 0.5 * (np.log(precision) - np.log(2 * np.pi) - precision * np.square(x))


def log_ratios(model, q, rows, rng, n):
    """log p - log q of draws of parameters, averaged exactly over states."""
    priors, k, d = model.priors, len(q.mean), len(q.rows)
    alpha, log_q = gammas(priors.column_shape + k / 2, q.steps_rates, rng, n)
    gamma, more = gammas(priors.column_shape + d / 2, q.rows_rates, rng, n)
    rho, noise = gammas(q.noise_shapes, q.noise_rates, rng, n)
    log_q += more + noise
    log_p = log_gamma(alpha, priors.column_shape, priors.column_rate).sum(axis=-1)
    log_p += log_gamma(gamma, priors.column_shape, priors.column_rate).sum(axis=-1)
    log_p += log_gamma(rho, priors.noise_shape, priors.noise_rate).sum(axis=-1)
    root = np.linalg.cholesky(q.steps_covariance)
    eps = rng.normal(size=(n, *q.steps.shape))
    steps = q.steps + eps @ root.T
    log_q += log_normal(eps, 1.0).sum(axis=(1, 2)) - k * np.log(np.diag(root)).sum()
    log_p += log_normal(steps[:, :, :k], alpha[:, None, :]).sum(axis=(1, 2))
    log_p += log_normal(steps[:, :, k:], priors.inputs).sum(axis=(1, 2))
    roots = np.broadcast_to(
        np.linalg.cholesky(q.rows_covariance), (d, *q.rows_covariance.shape[1:])
    )
    eps = rng.normal(size=(n, *q.rows.shape))
    of_rows = q.rows + np.einsum("nd,dij,ndj->ndi", rho**-0.5, roots, eps)
    log_q += log_normal(eps, 1.0).sum(axis=(1, 2))
    log_q -= np.log(np.diagonal(roots, axis1=1, axis2=2)).sum()
    log_q += 0.5 * eps.shape[2] * np.log(rho).sum(axis=1)
    log_p += log_normal(of_rows[:, :, :k], rho[:, :, None] * gamma[:, None, :]).sum(axis=(1, 2))
    log_p += log_normal(of_rows[:, :, k:], rho[:, :, None] * priors.inputs).sum(axis=(1, 2))
    states = model.smoothed(q, rows)[0]
    return log_p - log_q + expected(states, steps, of_rows, rho, rows, q)


def expected(states, steps, of_rows, rho, rows, q):
    """E[log p(rows, states | parameters)] + entropy of the states' posterior, for each draw."""
    k, total = len(q.mean), 0.0
    V, cross = states.covariances(), states.cross[states.own]
    for t, (x, m) in enumerate(zip(rows.X, states.means)):
        seen = rows.patterns[rows.pattern[t]]
        C = of_rows[:, :, :k]
        rest = np.square(x - C @ m - of_rows[:, :, k:] @ rows.constant[t])
        rest += np.einsum("ndi,ij,ndj->nd", C, V[t], C)
        total += (0.5 * (np.log(rho) - np.log(2 * np.pi) - rho * rest))[:, seen].sum(axis=1)
        if rows.begins[t]:
            away = m - q.mean
            inverse = np.linalg.inv(q.covariance)
            spread = np.trace(inverse @ V[t]) + away @ inverse @ away
            total -= 0.5 * (spread + np.linalg.slogdet(2 * np.pi * q.covariance)[1])
            total += 0.5 * np.linalg.slogdet(2 * np.pi * np.e * V[t])[1]
        else:
            A, before = steps[:, :, :k], states.means[t - 1]
            rest = m - A @ before - steps[:, :, k:] @ rows.inputs[t]
            spread = np.trace(V[t]) + np.einsum("nij,jl,nil->n", A, V[t - 1], A)
            spread -= 2 * np.einsum("nij,ij->n", A, cross[t - 1])
            total -= 0.5 * (np.square(rest).sum(axis=1) + spread + k * np.log(2 * np.pi))
            both = np.block([[V[t - 1], cross[t - 1].T], [cross[t - 1], V[t]]])
            total += 0.5 * np.linalg.slogdet(2 * np.pi * np.e * both)[1]
            total -= 0.5 * np.linalg.slogdet(2 * np.pi * np.e * V[t - 1])[1]
    return total


@pytest.mark.parametrize("solver", ["em", "vb"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_simulated_systems_are_found(solver):
    """The transition's eigenvalues, which do not depend on the basis, and rows without noise."""
    rng, n = np.random.RandomState(0), 1500
    A = np.array([[0.95, 0.25], [-0.25, 0.95]]) * 0.99
    states, C = np.zeros((n, 2)), rng.normal(size=(5, 2))
    for t in range(1, n):
        states[t] = A @ states[t - 1] + 0.3 * rng.normal(size=2)
    X = states @ C.T + 1.0 + rng.normal(size=(n, 5))
    k = {"em": 2, "vb": 3}[solver]
    model = SSM(k, solver=solver, max_iter=400, tol=1e-6, random_state=0).fit(X)
    assert model.n_relevant_ == 2
    found = np.linalg.eigvals(model.transition_matrix_)
    found = found[np.argsort(-np.abs(found))[:2]]
    np.testing.assert_allclose(
        sorted(found, key=np.imag), sorted(np.linalg.eigvals(A), key=np.imag), atol=0.01
    )
    np.testing.assert_allclose(model.observation_covariance_, 1.0, atol=0.15)
    error = np.square(model.predict(X) - states @ C.T - 1.0).mean()
    assert error < 0.2


# --- predictions ----------------------------------------------------------------------------------


@cache
def fitted(solver="vb", **options):
    X, inputs = with_gaps("numbers"), simulated()[1]
    options = {"max_iter": 20, "tol": 0.0, "random_state": 0} | options
    return SSM(2, solver=solver, **options).fit(X, LENGTHS, inputs=inputs)


def without_noise(params, states, inputs):
    known = np.hstack((np.ones((len(states), 1)), inputs))
    return states @ params.loadings.T + known @ params.offsets.T


def test_missing_numbers_are_integrated_out():
    X, inputs, model = simulated()[0].copy(), simulated()[1], fitted("em")
    X[5, 1], X[9] = np.nan, np.nan
    params = model._system
    found = naive.smoothed(params, X, inputs)
    np.testing.assert_allclose(model.score(X, inputs=inputs), found[0], rtol=1e-10)
    np.testing.assert_allclose(model.transform(X, inputs=inputs), found[1], atol=1e-9)
    expected = (
        found[1] @ params.loadings.T + params.offsets[:, :1].T + inputs @ params.offsets[:, 1:].T
    )
    np.testing.assert_allclose(model.predict(X, inputs=inputs), expected, atol=1e-9)
    np.testing.assert_allclose(model.smooth(X, inputs=inputs).covariances, found[2], atol=1e-9)


def test_forecasts_are_conditional_distributions():
    (X, inputs), model = simulated(), fitted("em")
    longer = np.vstack((X[:36], np.full((4, 4), np.nan)))
    params = model._system
    means, covariances = naive.smoothed(params, longer, inputs)[1:3]
    found = model.forecast(4, X[:36], inputs=inputs[36:], past_inputs=inputs[:36], level=0.5)
    expected = (
        means[36:] @ params.loadings.T
        + params.offsets[:, 0]
        + inputs[36:] @ params.offsets[:, 1:].T
    )
    np.testing.assert_allclose(found.mean, expected, atol=1e-9)
    own = params.loadings @ covariances[-1] @ params.loadings.T + np.diag(params.rows_noise)
    np.testing.assert_allclose(found.covariances[-1], own, atol=1e-9)
    half = 0.6744897501960817 * np.sqrt(np.diag(own))
    np.testing.assert_allclose(found.upper[-1] - found.mean[-1], half, rtol=1e-9)
    own = with_gaps("numbers")[-14:]
    more = model.forecast(3, own, inputs=inputs[:3], past_inputs=inputs[-14:])
    last = model.forecast(3, inputs=inputs[:3])  # from the last sequence of the fit
    np.testing.assert_allclose(last.mean, more.mean, atol=1e-10)


@pytest.mark.parametrize("noise", ["diag", "full"])
def test_row_by_row_is_the_filter(noise):
    X, inputs = with_gaps("rows"), simulated()[1]
    model = fitted("em")
    if noise == "full":
        model = SSM(2, solver="em", observation_noise="full", max_iter=5, tol=0.0).fit(
            X, inputs=inputs
        )
    gaps = with_gaps("numbers")
    states, densities = model.filter(gaps, inputs=inputs), model.score_samples(gaps, inputs=inputs)
    online, state = model.compiled(), None
    for t, row in enumerate(gaps):
        state, log_density = online.filter_step(row, state, inputs[t])
        np.testing.assert_allclose(state.mean, states.means[t], atol=1e-10)
        np.testing.assert_allclose(state.covariance, states.covariances[t], atol=1e-10)
        np.testing.assert_allclose(log_density, densities[t], atol=1e-9)


def test_draws_have_the_model_s_moments():
    model = fitted("em")
    rows, states = model.sample(20_000, 0, inputs=np.zeros((20_000, 1)))
    steps = states[1:] - states[:-1] @ model.transition_matrix_.T
    np.testing.assert_allclose(np.cov(steps.T), model.transition_covariance_, atol=0.02)
    rest = rows - states @ model.observation_matrix_.T - model.observation_offset_
    np.testing.assert_allclose(rest.var(axis=0), model.observation_covariance_, rtol=0.05)
    again = model.sample(20_000, 0, inputs=np.zeros((20_000, 1)))[0]
    np.testing.assert_array_equal(rows, again)


# --- an estimator like others ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["em", "vb"])
def test_files_hold_all_of_it(solver, tmp_path):
    model, (X, inputs) = fitted(solver), simulated()
    model.save(tmp_path / "model")
    again = fastvi.load(tmp_path / "model")
    assert again.score(X, inputs=inputs) == model.score(X, inputs=inputs)
    assert again.elbo_ == model.elbo_
    assert again.n_relevant_ == model.n_relevant_
    np.testing.assert_array_equal(
        again.forecast(3, inputs=inputs[:3]).upper, model.forecast(3, inputs=inputs[:3]).upper
    )


@pytest.mark.parametrize("solver", ["em", "vb"])
def test_a_fit_goes_on_from_its_checkpoint_with_the_same_bits(solver, tmp_path):
    X, path = simulated()[0], tmp_path / "fit"
    options = {"solver": solver, "tol": 0.0, "random_state": 0}
    whole = SSM(2, max_iter=9, **options).fit(X, LENGTHS)
    SSM(2, max_iter=4, **options).fit(X, LENGTHS, checkpoint=path)
    rest = SSM(2, max_iter=9, **options).fit(X, LENGTHS, checkpoint=path, resume=True)
    assert rest.transition_matrix_.tobytes() == whole.transition_matrix_.tobytes()
    assert rest.elbo_ == whole.elbo_
    assert rest.n_iter_ == 9


def test_warm_starts_go_on():
    X = simulated()[0]
    once = SSM(2, solver="em", max_iter=3, tol=0.0).fit(X)
    twice = SSM(2, solver="em", max_iter=1, tol=0.0, warm_start=True).fit(X).fit(X).fit(X)
    np.testing.assert_allclose(twice.elbo_, once.elbo_, rtol=1e-12)
    with pytest.raises(ValueError, match="warm_start continues from a model of other"):
        twice.set_params(n_components=3).fit(X)


def test_warm_starts_keep_what_is_given_now():
    X, known = simulated()[0], 0.5 * np.eye(2)
    model = SSM(2, solver="em", max_iter=2, tol=0.0, warm_start=True).fit(X)
    model.set_params(transition_matrix=known, observation_offset=np.arange(4.0)).fit(X)
    np.testing.assert_array_equal(model.transition_matrix_, known)
    np.testing.assert_allclose(model.observation_offset_, np.arange(4.0), atol=1e-12)


def test_warm_starts_of_diffuse_models_have_the_bound_of_their_rows():
    X = simulated()[0]
    model = SSM(2, solver="em", initial="diffuse", max_iter=3, tol=0.0, warm_start=True)
    model.fit(X).set_params(max_iter=1).fit(10 * X)
    once = model.set_params(max_iter=1).fit(10 * X)
    before = once.score(10 * X)
    np.testing.assert_allclose(model.fit(10 * X).elbo_, before, rtol=1e-9)


@pytest.mark.parametrize("solver", ["vb", "em"])
def test_parameters_set_for_the_next_fit_change_nothing_before(solver, tmp_path):
    X = simulated()[0]
    model = SSM(2, solver=solver, max_iter=2, tol=0.0).fit(X)
    score, names = model.score(X), list(model.get_feature_names_out())
    model.set_params(initial="diffuse", n_components=5, observation_noise="full")
    model.set_params(solver="em" if solver == "vb" else "vb").save(tmp_path / "m")
    for one in (model, fastvi.load(tmp_path / "m")):
        assert one.score(X) == score
        assert list(one.get_feature_names_out()) == names


def test_results_follow_the_units_of_inputs():
    X, inputs = simulated()
    one, *others = (
        SSM(2, max_iter=10, tol=0.0).fit(X, inputs=size * inputs) for size in (1.0, 1e-9, 1e9)
    )
    for other, size in zip(others, (1e-9, 1e9)):
        np.testing.assert_allclose(other.elbo_, one.elbo_, rtol=1e-9)
        np.testing.assert_allclose(
            other.transition_inputs_ * size, one.transition_inputs_, rtol=1e-6
        )


@pytest.mark.parametrize("noise", ["diag", "full"])
def test_columns_without_noise_have_a_likelihood(noise):
    X = simulated()[0]
    X = np.column_stack((X, np.ones(len(X)), X[:, 0]))
    model = SSM(2, solver="em", observation_noise=noise, max_iter=40, tol=0.0).fit(X)
    assert_never_falls(model.history_["elbo"])
    assert np.isfinite(model.score(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_best_of_several_starts_is_kept():
    X = simulated()[0]
    one, several = (SSM(3, n_init=n, max_iter=30, random_state=0).fit(X, LENGTHS) for n in (1, 4))
    assert several.elbo_ >= one.elbo_
    with pytest.raises(ValueError, match="checkpoint is given with n_init=2; wanted n_init=1"):
        SSM(n_init=2).fit(X, checkpoint="unused")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_results_follow_the_units_of_features():
    X, scale = with_gaps("numbers"), np.array([1e8, 1.0, 1e-8, 30.0])
    one, other = (SSM(2, max_iter=20).fit(rows, LENGTHS) for rows in (X, X * scale + scale))
    np.testing.assert_allclose(
        other.predict(X * scale + scale) / scale - 1, one.predict(X), rtol=1e-6
    )
    counts = (~np.isnan(X)).sum(axis=0)
    np.testing.assert_allclose(other.elbo_, one.elbo_ - counts @ np.log(scale), rtol=1e-9)


REFUSED = {
    "lengths do not add up": (lambda X: SSM().fit(X, [5]), "lengths add up to 5 rows; X has 40"),
    "infinity": (lambda X: SSM().fit(np.where(X > 3, np.inf, X)), "X contains infinity"),
    "a column without numbers": (
        lambda X: SSM().fit(X * [1, np.nan, 1, 1]), "column 1 of X has no"),
    "no states": (lambda X: SSM(0).fit(X), "n_components is 0; wanted"),
    "one row": (lambda X: SSM().fit(X[:1]), "minimum of 2 is required"),
    "an unknown solver": (lambda X: SSM(solver="x").fit(X), "solver is 'x'; wanted"),
    "a known transition under vb": (
        lambda X: SSM(transition_matrix=np.eye(2)).fit(X), "transition_matrix is given with"),
    "a shape": (
        lambda X: SSM(solver="em", transition_matrix=np.eye(3)).fit(X),
        r"transition_matrix has shape \(3, 3\); wanted \(2, 2\)"),
    "a covariance": (
        lambda X: SSM(initial_covariance=-np.eye(2)).fit(X), "must be positive semidefinite"),
    "noise of 0": (
        lambda X: SSM(solver="em", observation_covariance=np.zeros(4)).fit(X),
        "variances above 0"),
    "a known start that is diffuse": (
        lambda X: SSM(initial="diffuse", initial_mean=np.zeros(2)).fit(X),
        "with initial='diffuse'"),
    "inputs of a length": (lambda X: SSM().fit(X, inputs=X[:3]), r"inputs are of shape \(3, 4\)"),
    "no inputs": (lambda X: fitted().predict(X), r"inputs are not given; wanted \(40, 1\)"),
    "lengths that are a number": (lambda X: fitted().score(X, 40, inputs=X[:, :1]), "lengths must"),
    "numbers whose squares overflow": (lambda X: SSM().fit(X * 1e200), "X holds numbers above 1e"),
    "no steps": (lambda X: fitted().forecast(0), "steps is 0; wanted"),
    "a level": (lambda X: fitted().forecast(1, level=1.0), "level is 1.0; wanted"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(simulated()[0])


class Rows(SSM):
    """The model as scikit-learn's checks call it, whose second argument is a target."""

    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


@parametrize_with_checks(
    [Rows(max_iter=5, tol=0.0)],
    expected_failed_checks=lambda estimator: {
        "check_methods_subset_invariance": "rows of a sequence depend on each other",
        "check_methods_sample_order_invariance": "rows of a sequence depend on each other",
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
