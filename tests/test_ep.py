"""Expectation propagation with any sites: exact cases, quadrature, limits and failures."""

import re

import numpy as np
import pytest
from naive import propagation as naive
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_ndtr, logsumexp

import fastvi
from fastvi import propagation

METHODS = ["parallel", "sequential", "double_loop"]
NOISE = np.log(2 * np.pi)


def clutter(f, y):
    """Log density of a number around f, or of clutter around 0 (Minka 2001)."""
    near, far = -0.5 * (y - f) ** 2, -0.05 * y**2 - 0.5 * np.log(10.0)
    return np.logaddexp(near, far) + np.log(0.5) - 0.5 * NOISE


def observed(rng, n=20):
    return np.where(rng.random(n) < 0.5, rng.normal(size=n) * np.sqrt(10), 2 + rng.normal(size=n))


def by_grid(log_p, axes):
    """Mean, deviations and log integral of exp(log_p(points))."""
    points = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    values = log_p(points)
    total = logsumexp(values)
    p = np.exp(values - total)
    mean = p @ points
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return mean, np.sqrt(p @ (points - mean) ** 2), total + np.log(cell)


@pytest.mark.parametrize("method", ["parallel", "sequential"])
@pytest.mark.parametrize("power", [1.0, 0.4])
def test_gaussian_factors_are_exact_after_one_pass(method, power, rng):
    A, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    cov = np.diag([1.0, 2.0, 3.0]) + 0.5
    sites = propagation.linear(A, y, propagation.gaussian(0.3))
    options = {"power": power, "last_resort": False}
    found = fastvi.ep(sites, (np.ones(3), cov), method=method, max_iter=1, **options)
    wanted = np.linalg.inv(np.linalg.inv(cov) + A.T @ A / 0.3)
    whole = A @ cov @ A.T + 0.3 * np.eye(12)
    gap = y - A.sum(axis=1)
    if power == 1.0 or method == "parallel":
        np.testing.assert_allclose(found.cov, wanted, rtol=1e-9, atol=1e-12)
        mean = wanted @ (np.linalg.solve(cov, np.ones(3)) + A.T @ y / 0.3)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-8)
    found = fastvi.ep(sites, (np.ones(3), cov), method=method, **options)
    evidence = -0.5 * gap @ np.linalg.solve(whole, gap)
    evidence -= 0.5 * np.linalg.slogdet(2 * np.pi * whole)[1]
    assert found.log_evidence == pytest.approx(evidence, abs=1e-9)
    assert found.settled


@pytest.mark.parametrize("method", METHODS)
def test_clutter_against_quadrature(method, rng):
    y = observed(rng, 80)
    sites = propagation.linear(np.ones((80, 1)), y, propagation.log_density(clutter))
    found = fastvi.ep(sites, (0.0, 100.0), method=method)
    x = np.linspace(-30, 30, 6001)

    def log_p(x):
        return clutter(x, y).sum(axis=1) - 0.005 * x[:, 0] ** 2 - 0.5 * np.log(200 * np.pi)

    mean, sd, evidence = by_grid(log_p, [x])
    assert found.settled
    assert found.method == method
    assert not found.failed
    assert abs(found.mean[0] - mean[0]) < 0.1 * sd[0]
    assert found.sd[0] == pytest.approx(sd[0], rel=0.1)
    assert found.log_evidence == pytest.approx(evidence, abs=0.1)
    first = fastvi.ep(sites, (0.0, 100.0))
    np.testing.assert_allclose(found.mean, first.mean, atol=2e-4)
    assert found.log_evidence == pytest.approx(first.log_evidence, abs=1e-4)


def joint_clutter(y, mean, cov, power):
    """Moments of a mixture of a Gaussian about x and clutter: closed, for a power of 1."""
    d = mean.shape[1]
    total = cov + np.eye(d)
    gap = np.linalg.solve(total, (y - mean)[:, :, None])[:, :, 0]
    near = -0.5 * np.einsum("ni,ni->n", y - mean, gap) - 0.5 * np.linalg.slogdet(total)[1]
    far = -0.05 * (y**2).sum(axis=1) - 0.5 * d * np.log(10.0)
    log_z = np.logaddexp(near, far) + np.log(0.5) - 0.5 * d * NOISE
    share = np.exp(near + np.log(0.5) - 0.5 * d * NOISE - log_z)
    shift = np.einsum("nij,nj->ni", cov, gap)
    less = cov @ np.linalg.solve(total, cov)
    spread = cov - share[:, None, None] * less
    spread += (share * (1 - share))[:, None, None] * shift[:, :, None] * shift[:, None, :]
    return log_z, mean + share[:, None] * shift, spread


@pytest.mark.parametrize("method", ["parallel", "sequential"])
def test_factors_of_the_whole_vector(method, rng):
    near = rng.random(60) < 0.5
    y = np.where(near[:, None], [2.0, -1.0], 0.0) + rng.normal(size=(60, 2)) * np.where(
        near, 1.0, np.sqrt(10.0)
    ).reshape(-1, 1)
    found = fastvi.ep(propagation.joint(y, 2, joint_clutter), (0.0, 100.0), method=method)
    axis = np.linspace(-4, 4, 81)

    def log_p(x):
        near = -0.5 * ((y - x[:, None]) ** 2).sum(axis=2)
        far = -0.05 * (y**2).sum(axis=1) - np.log(10.0)
        logs = np.logaddexp(near, far) + np.log(0.5) - NOISE
        return logs.sum(axis=1) - 0.005 * (x**2).sum(axis=1) - np.log(200 * np.pi)

    mean, sd, evidence = by_grid(log_p, [axis, axis])
    assert found.settled
    np.testing.assert_allclose(found.mean, mean, atol=0.1)
    np.testing.assert_allclose(found.sd, sd, rtol=0.1)
    assert found.log_evidence == pytest.approx(evidence, abs=0.1)


def test_the_power_0_is_the_variational_answer(rng):
    y = observed(rng)
    sites = propagation.linear(np.ones((20, 1)), y, propagation.log_density(clutter))
    found = fastvi.ep(sites, (0.0, 100.0), power=1e-4)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def loss(parameters):
        m, s = parameters[0], np.exp(parameters[1])
        kl = 0.5 * ((s * s + m * m) / 100 - 1 + np.log(100) - 2 * np.log(s))
        return kl - weights @ clutter((m + s * nodes)[:, None], y).sum(axis=1)

    best = minimize(loss, [found.mean[0], np.log(found.sd[0])], options={"gtol": 1e-8})
    assert found.mean[0] == pytest.approx(best.x[0], abs=1e-4)
    assert found.sd[0] == pytest.approx(np.exp(best.x[1]), rel=1e-3)
    assert found.log_evidence == pytest.approx(-best.fun, abs=1e-3)


@pytest.mark.parametrize("method", ["parallel", "sequential"])
def test_the_fixed_point_of_fractions_is_that_of_the_twin(method, rng):
    A, signs = rng.normal(size=(5, 2)), np.array([1.0, -1, 1, 1, -1])
    found = fastvi.ep(
        propagation.linear(csr_array(A), signs, propagation.probit), (0.0, 1.0), power=0.5,
        method=method, tol=1e-18,
    )  # fmt: skip
    mean, covariance, evidence = naive.regression(log_ndtr, A, signs, np.ones(2), 20, 0.5)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(found.cov, covariance, rtol=1e-6)
    assert found.log_evidence == pytest.approx(evidence, abs=1e-7)


def test_rankings_against_quadrature(rng):
    """Games between three players, wins and draws; performances vary by 1."""
    pairs = [(0, 1), (0, 2), (1, 2), (0, 1), (2, 1)]
    A = np.zeros((5, 3))
    A[np.arange(5), [i for i, _ in pairs]] = 1.0
    A[np.arange(5), [j for _, j in pairs]] = -1.0
    won = propagation.linear(A[:4], np.ones(4), propagation.probit)
    drawn = propagation.linear(A[4:], [1], propagation.ordinal(np.array([-0.5, 0.5])))
    found = fastvi.ep([won, drawn], (0.0, 2.0))
    axis = np.linspace(-6.5, 6.5, 53)

    def log_p(x):
        f = x @ A.T
        drew = np.log(np.exp(log_ndtr(0.5 - f[:, 4])) - np.exp(log_ndtr(-0.5 - f[:, 4])) + 1e-300)
        prior = -0.25 * (x**2).sum(axis=1) - 1.5 * np.log(4 * np.pi)
        return log_ndtr(f[:, :4]).sum(axis=1) + drew + prior

    mean, sd, evidence = by_grid(log_p, [axis] * 3)
    np.testing.assert_allclose(found.mean, mean, atol=0.02)
    np.testing.assert_allclose(found.sd, sd, rtol=0.02)
    assert found.log_evidence == pytest.approx(evidence, abs=0.02)
    draws = found.sample(20000, 0)
    np.testing.assert_allclose(draws.std(axis=0), found.sd, rtol=0.05)


@pytest.mark.parametrize("method", ["parallel", "double_loop"])
def test_robust_regression_ignores_outliers(method, rng):
    n = 40 if method == "parallel" else 12
    X = np.column_stack((np.ones(n), rng.normal(size=n)))
    y = X @ [1.0, -2.0] + 0.3 * rng.normal(size=n)
    y[: n // 8] += 20.0
    found = fastvi.ep(
        propagation.linear(X, y, propagation.student(0.09, 3.0)), (0.0, 100.0), method=method
    )
    assert found.settled
    np.testing.assert_allclose(found.mean, [1.0, -2.0], atol=0.4)
    assert np.any(found.site_precisions[0] < 0)  # outliers widen the posterior

    def log_t(f, y):
        return np.log(2 / (np.pi * np.sqrt(3) * 0.3)) - 2 * np.log1p((y - f) ** 2 / 0.27)

    if method == "parallel":
        likelihood = propagation.log_density(log_t, near=lambda y: y)
        own = fastvi.ep(propagation.linear(X, y, likelihood), (0.0, 100.0))
        np.testing.assert_allclose(own.mean, found.mean, rtol=1e-5)
        assert own.log_evidence == pytest.approx(found.log_evidence, abs=1e-5)


def test_a_factor_that_fails_is_named():
    def broken(y, mean, variance, power):
        return np.where(y > 2, np.nan, 0.0), mean, np.where(y > 1, 0.0, 0.5) * variance

    for method in METHODS[:2]:
        for y, name in (([0.0, 3.0], r"site 1 \(B\)"), ([2.0, 0.0], r"site 0 \(A\)")):
            sites = propagation.linear(np.eye(2), y, propagation.moments(broken), names=["A", "B"])
            with pytest.raises(ValueError, match=f"^{name}: the tilted moments are not finite"):
                fastvi.ep(sites, (0.0, 1.0), method=method)


def test_factors_that_leave_no_posterior_are_reported():
    """Two factors that pull apart without end: nothing converges, and the result says so."""

    def wide(y, mean, variance, power):
        return np.zeros(len(y)), mean, 3.0 * variance

    sites = propagation.linear(np.ones((2, 1)), [0.0, 0.0], propagation.moments(wide))
    found = fastvi.ep(sites, (0.0, 1.0), max_iter=5)
    assert not found.settled
    assert np.isfinite(found.cov).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["probit", "logit", "poisson"])
def test_rows_of_zeros_are_constant_factors(name, method):
    likelihood, A, y = getattr(propagation, name), [[1.0, 2.0], [0.0, 0.0], [-1.0, 1.0]], [1, 2, 0]
    found = fastvi.ep(propagation.linear(A, y, likelihood), (0.5, 1.0), method=method)
    rest = fastvi.ep(
        propagation.linear([A[0], A[2]], [1, 0], likelihood), (0.5, 1.0), method=method
    )
    constant = {"probit": np.log(0.5), "logit": np.log(0.5), "poisson": -1.0 - np.log(2.0)}[name]
    assert found.settled
    np.testing.assert_allclose(found.mean, rest.mean, rtol=1e-4)
    np.testing.assert_allclose(found.cov, rest.cov, rtol=1e-4, atol=5e-5)
    assert found.log_evidence == pytest.approx(rest.log_evidence + constant, abs=1e-6)


GOOD = {"A": np.eye(2), "y": [1.0, 1.0], "likelihood": propagation.probit}
RISING = propagation.ordinal([0.0, 1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"A": [[np.nan, 1.0], [1.0, 1.0]]}, "A holds NaN or infinity"),
        ({"A": np.ones(2)}, "A has shape (2,)"),
        ({"y": [1.0]}, "y has shape (1,); wanted data of 2 factors"),
        ({"y": [1.0, np.nan]}, "y holds NaN for site 1"),
        ({"names": ["a"]}, "names has 1 names; wanted 2"),
        ({"y": [[1.0], [1.0]]}, "y has shape (2, 1); wanted (2,)"),
        ({"y": [1.0, np.inf]}, "y holds inf in row 1; wanted finite"),
        ({"y": [1.0, 3.0], "likelihood": RISING}, "y holds 3 in row 1; wanted levels"),
        ({"y": [-1.0, 1.0], "likelihood": RISING}, "y holds -1 in row 0; wanted levels"),
        ({"y": [0.5, 1.0], "likelihood": RISING}, "y holds 0.5 in row 0; wanted levels"),
        ({"y": [0.5, 1.0], "likelihood": propagation.poisson}, "y holds 0.5 in row 0; wanted"),
        ({"likelihood": propagation.ordinal([1.0, 0.0])}, "wanted cut points that rise"),
        ({"likelihood": propagation.ordinal(0.5)}, "has cuts 0.5; wanted cut points"),
        ({"likelihood": propagation.gaussian(-1.0)}, "wanted positive noise"),
        ({"likelihood": propagation.gaussian(np.ones(2))}, "wanted positive noise"),
        ({"likelihood": propagation.student(np.nan, 4.0)}, "wanted positive noise"),
        ({"likelihood": propagation.student}, "wanted probit, gaussian(noise)"),
        ({"likelihood": "probit"}, "likelihood is 'probit'; wanted probit, gaussian(noise)"),
        ({"prior": (0.0, np.eye(3))}, "wanted (2,) and (2, 2)"),
        ({"prior": (np.nan, 1.0)}, "prior holds NaN"),
        ({"prior": (0.0, -1.0)}, "not positive definite"),
        ({"prior": 3}, "wanted (mean, covariance)"),
        ({"power": 0.0}, "power is 0.0"),
        ({"damping": 1.5}, "damping is 1.5"),
        ({"method": "serial"}, "method is 'serial'"),
    ],
)
def test_refusals(given, message):
    first = {k: v for k, v in given.items() if k in (*GOOD, "names")}
    rest = {"prior": (0.0, 1.0)} | {k: v for k, v in given.items() if k not in first}
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        fastvi.ep(propagation.linear(**(GOOD | first)), **rest)


def test_moments_of_other_shapes_are_refused():
    def moments(y, mean, cov, power):
        return np.zeros(len(y)), mean, cov[0]

    sites = propagation.joint([1.0], 2, moments)
    with pytest.raises(ValueError, match=r"shape \(2, 2\); wanted \(1, 2\) and \(1, 2, 2\)"):
        fastvi.ep(sites, (0.0, 1.0))
    with pytest.raises(ValueError, match="dim is 0"):
        propagation.joint([1.0], 0, moments)
    with pytest.raises(ValueError, match=r"y has shape \(\)"):
        propagation.joint(1.0, 2, moments)


def test_callbacks_and_empty_sites():
    seen = []
    sites = propagation.linear(np.eye(2), [1.0, -1.0], propagation.probit)
    fastvi.ep(sites, (0.0, 1.0), callback=lambda s: bool(seen.append(s)) or len(seen) == 2)
    assert len(seen) == 2
    with pytest.raises(ValueError, match="sites is empty"):
        fastvi.ep([], (0.0, 1.0))
    with pytest.raises(TypeError, match="sites is ndarray"):
        fastvi.ep(np.eye(2), (0.0, 1.0))


def test_files(tmp_path):
    found = fastvi.ep(propagation.linear(np.eye(2), [1, -1], propagation.probit), (0.0, 1.0))
    found.save(tmp_path / "ep.npz")
    again = fastvi.load(tmp_path / "ep.npz")
    assert type(again) is type(found)
    for name, part in found._asdict().items():
        np.testing.assert_equal(getattr(again, name), part, err_msg=name)
    again._replace(log_evidence=np.nan, failed=("site 1",)).save(tmp_path / "ep.npz")
    again = fastvi.load(tmp_path / "ep.npz")
    assert np.isnan(again.log_evidence)
    assert again.failed == ("site 1",)
    found._replace(mean=np.zeros(3)).save(tmp_path / "ep.npz")
    with pytest.raises(ValueError, match=r"the mean has shape \(3,\)"):
        fastvi.load(tmp_path / "ep.npz")
