"""Models of Stan's and PyMC's example sets, written from the documentation of fastvi alone.

Each density is compared with SciPy's numbers, and each fit with gold-standard draws, an answer in
closed form, or importance-weighted moments of many draws.
"""

from __future__ import annotations

import json

import numba
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, gammaln, log_expit, logsumexp

import fastvi
from fastvi import densities
from fastvi.posteriors.psis import psis
from fastvi.transforms import ordered, positive, zero_sum

pytestmark = pytest.mark.slow


def fitted(target, reference=None, **options):
    """A fit, after comparing the density with a reference of the constrained parameters."""
    p = fastvi.fit(target, random_state=0, **options)
    if reference is not None:
        Z = p.sample(4, 1)
        found = target.log_prob(Z) - target.parameters.log_jacobian(Z)
        named = target.constrain(Z)
        wanted = [reference({name: x[i] for name, x in named.items()}) for i in range(4)]
        np.testing.assert_allclose(found - found[0], np.subtract(wanted, wanted[0]), atol=1e-8)
    return p


def weighted(p, n=20_000):
    """Largest distance of means from importance-weighted ones, in sds; their k-hat is small."""
    Z = p.sample(n, 2)
    smooth = psis(p.target.log_prob(Z) - p.log_prob(Z))
    assert smooth.khat < 0.7
    mean = np.exp(smooth.log_weights) @ Z
    return np.max(np.abs(p.mean - mean) / p.sd)


def gold(data_dir, name):
    """Data and constrained gold draws by name of a posterior of posteriordb."""
    folder = data_dir / "posteriors" / name
    data = json.loads((folder / "data.json").read_text())
    with np.load(folder / "draws.npz") as file:
        columns = dict(zip(map(str, file["constrained_names"]), file["constrained"].T))
    return data, columns


def compare(draws, columns, mean_within, sd_within):
    """Compare named draws with gold columns, in their standard deviations."""
    for name, wanted in columns.items():
        stem, _, index = name.partition("[")
        found = draws[stem] if not index else draws[stem][:, int(index[:-1]) - 1]
        assert abs(found.mean() - wanted.mean()) < mean_within * wanted.std(), name
        assert abs(np.log(found.std() / wanted.std())) < np.log(sd_within), name


def test_eight_schools_noncentred(data_dir):
    data, columns = gold(data_dir, "eight_schools-eight_schools_noncentered")
    schools = {name: np.array(data[name], float) for name in ("y", "sigma")}

    @fastvi.target(data=schools, names={"mu": (), "tau": positive(), "eta": 8})
    def model(z, data):
        mu, tau, eta = z[0], z[1], z[2:]
        prior = densities.normal(mu, 0.0, 5.0) + densities.half_cauchy(tau, 5.0)
        prior += densities.normal(eta, 0.0, 1.0)
        return prior + densities.normal(data.y, mu + tau * eta, data.sigma)

    draws = fitted(model).sample_parameters(20_000, 0)
    draws["theta"] = draws["mu"][:, None] + draws["tau"][:, None] * draws["eta"]
    compare(draws, columns, 0.25, 1.6)  # log tau is skewed, and no Gaussian has its shape


def test_kidiq(data_dir):
    data, columns = gold(data_dir, "kidiq-kidscore_interaction")
    score, hs, iq = (np.array(data[k], float) for k in ("kid_score", "mom_hs", "mom_iq"))
    X = np.column_stack([np.ones(len(hs)), hs, iq, hs * iq])

    @fastvi.target(data={"X": X, "y": score}, names={"beta": 4, "sigma": positive()})
    def model(z, data):
        beta, sigma = z[:4], z[4]
        return densities.half_cauchy(sigma, 2.5) + densities.normal(data.y, data.X @ beta, sigma)

    p = fitted(model)
    compare(p.sample_parameters(20_000, 0), columns, 0.06, 1.05)
    assert p.converged


def test_autoregression(data_dir):
    data, columns = gold(data_dir, "arK-arK")

    @fastvi.target(
        data={"y": np.array(data["y"])}, names={"alpha": (), "beta": 5, "sigma": positive()}
    )
    def model(z, data):
        alpha, beta, sigma = z[0], z[1:6], z[6]
        prior = densities.normal(z[:6], 0.0, 10.0) + densities.half_cauchy(sigma, 2.5)
        return prior + densities.autoregressive(data.y, alpha, beta, sigma)

    compare(fitted(model).sample_parameters(20_000, 0), columns, 0.08, 1.06)


def test_gaussian_process(data_dir):
    """Its sigma is a variance, as in posteriordb."""
    data, columns = gold(data_dir, "gp_pois_regr-gp_regr")

    @fastvi.target(
        data={"x": np.array(data["x"], float), "y": np.array(data["y"])},
        names={"rho": positive(), "alpha": positive(), "sigma": positive()},
    )
    def model(z, data):
        rho, alpha, sigma = z
        value = densities.gamma(rho, 25.0, 4.0) + densities.half_normal(alpha, 2.0)
        value += densities.half_normal(sigma, 1.0)
        K = densities.covariances.squared_exponential(data.x, data.x, alpha, rho)
        return value + densities.gaussian_process(data.y, K, np.sqrt(sigma))

    compare(fitted(model).sample_parameters(20_000, 0), columns, 0.1, 1.1)


def test_radon_partial_pooling(rng):
    """Given both scales the model is linear and Gaussian: moments by a grid over the scales."""
    county = rng.integers(0, 20, 300)
    floor = (rng.random(300) < 0.2).astype(float)
    log_radon = 1.4 + 0.3 * rng.normal(size=20)[county] - 0.7 * floor + 0.8 * rng.normal(size=300)
    data = {"county": county, "floor": floor, "y": log_radon}
    names = {
        "mu": (), "slope": (), "spread": positive(), "sigma": positive(), "effect": 20,
    }  # fmt: skip

    @fastvi.target(data=data, names=names)
    def model(z, data):
        mu, slope, spread, sigma, effect = z[0], z[1], z[2], z[3], z[4:]
        value = densities.normal(z[:2], 0.0, 10.0) + densities.half_normal(z[2:4], 1.0)
        value += densities.normal(effect, 0.0, 1.0)
        mean = mu + spread * effect[data.county] + slope * data.floor
        return value + densities.normal(data.y, mean, sigma)

    def reference(x):
        mean = x["mu"] + x["spread"] * x["effect"][county] + x["slope"] * floor
        return (
            stats.norm(0, 10).logpdf([x["mu"], x["slope"]]).sum()
            + stats.halfnorm(scale=1).logpdf([x["spread"], x["sigma"]]).sum()
            + stats.norm().logpdf(x["effect"]).sum()
            + stats.norm(mean, x["sigma"]).logpdf(log_radon).sum()
        )

    p = fitted(model, reference)
    X = np.column_stack([np.ones(300), floor, np.eye(20)[county]])
    axes = [p.mean[j] + p.sd[j] * np.linspace(-6.0, 5.0, 34) for j in (2, 3)]
    heights, moments = [], []
    for u, v in np.ndindex(34, 34):
        spread, sigma = np.exp(axes[0][u]), np.exp(axes[1][v])
        precision = np.repeat([0.01, spread**-2], [2, 20])
        G, b = X.T @ X / sigma**2 + np.diag(precision), X.T @ log_radon / sigma**2
        solved = np.linalg.solve(G, b)
        height = b @ solved - (log_radon @ log_radon) / sigma**2 - np.linalg.slogdet(G)[1]
        height += np.log(precision).sum() - 600 * np.log(sigma)
        prior = stats.halfnorm.logpdf([spread, sigma]).sum() + axes[0][u] + axes[1][v]
        heights.append(prior + 0.5 * height)
        moments.append([*solved[:2], axes[0][u], axes[1][v]])
    mean = np.exp(heights - logsumexp(heights)) @ np.array(moments)
    off = np.abs(p.mean[:4] - mean) / p.sd[:4]
    assert off[[0, 1, 3]].max() < 0.1
    assert off[2] < 0.6  # log spread is skewed to the left, and no Gaussian has its shape
    assert not p.converged


def test_logistic_wells(rng):
    distance, arsenic = rng.exponential(0.5, 600), rng.exponential(1.2, 600) + 0.5
    switched = rng.random(600) < expit(0.0 - 0.9 * distance + 0.47 * arsenic)
    X = np.column_stack([np.ones(600), distance, arsenic])

    @fastvi.target(data={"X": X, "switched": switched.astype(float)}, names={"beta": 3})
    def model(z, data):
        prior = densities.student_t(z, 3.0, 0.0, 2.5)
        return prior + densities.bernoulli_logit(data.switched, data.X @ z)

    def reference(x):
        logit = X @ x["beta"]
        prior = stats.t(3, 0, 2.5).logpdf(x["beta"]).sum()
        return prior + log_expit(np.where(switched, logit, -logit)).sum()

    p = fitted(model, reference)
    assert weighted(p) < 0.05
    assert p.converged


def test_roaches_with_overdispersion(rng):
    exposure = rng.uniform(0.5, 2.0, 260)
    X = np.column_stack([np.ones(260), rng.exponential(1.0, 260), rng.integers(0, 2, 260)])
    mean = exposure * np.exp(X @ [2.5, 0.6, -0.5])
    y = rng.negative_binomial(0.7, 0.7 / (0.7 + mean))
    data = {"X": X, "y": y, "exposure": exposure}

    @fastvi.target(data=data, names={"beta": 3, "shape": positive()})
    def model(z, data):
        value = densities.normal(z[:3], 0.0, 2.5) + densities.exponential(z[3], 1.0)
        return value + densities.neg_binomial(data.y, data.exposure * np.exp(data.X @ z[:3]), z[3])

    def reference(x):
        mean = exposure * np.exp(X @ x["beta"])
        prior = stats.norm(0, 2.5).logpdf(x["beta"]).sum() + stats.expon().logpdf(x["shape"])
        p = x["shape"] / (x["shape"] + mean)
        return prior + stats.nbinom(x["shape"], p).logpmf(y).sum()

    p = fitted(model, reference)
    assert weighted(p) < 0.1
    assert p.converged


def test_rugby(rng):
    """PyMC's example of six nations: attacks and defences with sum zero, home advantage."""
    home, away = (np.ravel(x) for x in np.meshgrid(range(6), range(6), indexing="ij"))
    home, away = home[home != away], away[home != away]
    attack, defence = 0.3 * rng.normal(size=(2, 6))
    scores = np.column_stack([
        rng.poisson(np.exp(2.8 + 0.3 + attack[home] - defence[away])),
        rng.poisson(np.exp(2.8 + attack[away] - defence[home])),
    ])  # fmt: skip
    data = {"home": home, "away": away, "scores": scores}
    names = {
        "level": (), "advantage": (), "spread": positive(2), "attack": zero_sum(6),
        "defence": zero_sum(6),
    }  # fmt: skip

    @fastvi.target(data=data, names=names)
    def model(z, data):
        level, advantage, spread, attack, defence = z[0], z[1], z[2:4], z[4:10], z[10:16]
        value = densities.normal(z[:2], 0.0, 3.0) + densities.half_normal(spread, 1.0)
        value += densities.normal(attack, 0.0, spread[0]) + densities.normal(
            defence, 0.0, spread[1]
        )
        at_home = level + advantage + attack[data.home] - defence[data.away]
        abroad = level + attack[data.away] - defence[data.home]
        value += densities.poisson_log(data.scores[:, 0], at_home)
        return value + densities.poisson_log(data.scores[:, 1], abroad)

    def reference(x):
        at_home = x["level"] + x["advantage"] + x["attack"][home] - x["defence"][away]
        abroad = x["level"] + x["attack"][away] - x["defence"][home]
        return (
            stats.norm(0, 3).logpdf([x["level"], x["advantage"]]).sum()
            + stats.halfnorm().logpdf(x["spread"]).sum()
            + stats.norm(0, x["spread"][0]).logpdf(x["attack"]).sum()
            + stats.norm(0, x["spread"][1]).logpdf(x["defence"]).sum()
            + stats.poisson(np.exp(at_home)).logpmf(scores[:, 0]).sum()
            + stats.poisson(np.exp(abroad)).logpmf(scores[:, 1]).sum()
        )

    p = fitted(model, reference)
    assert weighted(p) < 0.25
    np.testing.assert_allclose(p.sample_parameters(5)["attack"].sum(axis=1), 0.0, atol=1e-12)


# Disasters in British coal mines by year, 1851 to 1962 (Jarrett 1979); two years are missing.
DISASTERS = np.array([
    4, 5, 4, 0, 1, 4, 3, 4, 0, 6, 3, 3, 4, 0, 2, 6, 3, 3, 5, 4, 5, 3, 1, 4, 4, 1, 5, 5, 3, 4, 2, 5,
    2, 2, 3, 4, 2, 1, 3, 2, 1, 1, 1, 1, 3, 0, 0, 1, 0, 1, 1, 0, 0, 3, 1, 0, 3, 2, 2, 0, 1, 1, 1, 0,
    1, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 1, 1, 0, 2, 3, 3, 1, 2, 1, 1, 1, 1, 2, 4, 2, 0, 0, 1, 4, 0, 0,
    0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1,
])  # fmt: skip


@numba.njit
def by_time(counts, early, late):
    """Log density of all counts, for each time of the change."""
    value = np.empty(counts.size)
    before, after = 0.0, densities.poisson(counts, late)
    for t in range(counts.size):
        value[t] = before + after
        before += densities.poisson(counts[t], early)
        after -= densities.poisson(counts[t], late)
    return value


def test_coal_mining_disasters():
    """Given the year of the change both rates are Gamma: a mixture in closed form."""

    @fastvi.target(data={"counts": DISASTERS}, names={"early": positive(), "late": positive()})
    def model(z, data):
        prior = densities.exponential(z, 1.0)
        return prior + densities.log_sum_exp(by_time(data.counts, z[0], z[1]))

    n, times = len(DISASTERS), np.arange(len(DISASTERS))
    total = np.concatenate([[0], np.cumsum(DISASTERS)[:-1]])
    shapes = 1 + np.array([total, DISASTERS.sum() - total])
    rates = 1 + np.array([times, n - times])
    weights = (gammaln(shapes) - shapes * np.log(rates)).sum(axis=0)
    weights = np.exp(weights - logsumexp(weights))
    mean = (weights * shapes / rates).sum(axis=1)
    sd = np.sqrt((weights * shapes * (shapes + 1) / rates**2).sum(axis=1) - mean**2)
    draws = fitted(model).sample_parameters(20_000, 0)
    for i, name in enumerate(("early", "late")):
        assert abs(draws[name].mean() - mean[i]) < 0.1 * sd[i]
        assert draws[name].std() == pytest.approx(sd[i], rel=0.1)


def test_robust_regression(rng):
    x = rng.normal(size=100)
    y = 1.0 + 2.0 * x + 0.5 * rng.standard_t(2.5, size=100)
    names = {"alpha": (), "beta": (), "sigma": positive(), "nu": positive()}

    @fastvi.target(data={"x": x, "y": y}, names=names)
    def model(z, data):
        alpha, beta, sigma, nu = z
        value = densities.normal(z[:2], 0.0, 10.0) + densities.half_cauchy(sigma, 1.0)
        value += densities.gamma(nu, 2.0, 0.1)
        return value + densities.student_t(data.y, nu, alpha + beta * data.x, sigma)

    def reference(p):
        mean = p["alpha"] + p["beta"] * x
        return (
            stats.norm(0, 10).logpdf([p["alpha"], p["beta"]]).sum()
            + stats.halfcauchy().logpdf(p["sigma"])
            + stats.gamma(2, scale=10).logpdf(p["nu"])
            + stats.t(p["nu"], mean, p["sigma"]).logpdf(y).sum()
        )

    assert weighted(fitted(model, reference)) < 0.15


def test_ordered_categories(rng):
    x = rng.normal(size=200)
    y = np.searchsorted([-1.0, 0.2, 1.5], 0.8 * x + rng.logistic(size=200))

    @fastvi.target(data={"x": x, "y": y}, names={"beta": (), "cuts": ordered(3)})
    def model(z, data):
        value = densities.normal(z[0], 0.0, 2.5) + densities.normal(z[1:], 0.0, 5.0)
        for i in range(data.y.size):
            value += densities.ordered_logistic(data.y[i], z[0] * data.x[i], z[1:])
        return value

    def reference(p):
        edges = np.concatenate([[-np.inf], p["cuts"], [np.inf]])
        upper, lower = (expit(edges[y + i] - p["beta"] * x) for i in (1, 0))
        prior = stats.norm(0, 2.5).logpdf(p["beta"]) + stats.norm(0, 5).logpdf(p["cuts"]).sum()
        return prior + np.log(upper - lower).sum()

    p = fitted(model, reference)
    assert weighted(p) < 0.05
    assert p.converged


def test_survival_with_censoring(rng):
    group = rng.integers(0, 2, 150).astype(float)
    life = np.exp(1.5 + 0.6 * group) * rng.weibull(1.4, size=150)
    died = life < 7.0
    data = {"life": np.minimum(life, 7.0), "died": died, "group": group}

    @fastvi.target(data=data, names={"shape": positive(), "alpha": (), "beta": ()})
    def model(z, data):
        shape, alpha, beta = z
        value = densities.gamma(shape, 2.0, 1.0) + densities.normal(z[1:], 0.0, 3.0)
        for i in range(data.life.size):
            scale = np.exp(alpha + beta * data.group[i])
            if data.died[i]:
                value += densities.weibull(data.life[i], shape, scale)
            else:
                value += densities.weibull_log_survival(data.life[i], shape, scale)
        return value

    def reference(p):
        of = stats.weibull_min(p["shape"], scale=np.exp(p["alpha"] + p["beta"] * group))
        seen = np.where(died, of.logpdf(life), of.logsf(7.0)).sum()
        prior = stats.gamma(2).logpdf(p["shape"])
        return seen + prior + stats.norm(0, 3).logpdf([p["alpha"], p["beta"]]).sum()

    p = fitted(model, reference)
    assert weighted(p) < 0.1
    assert p.converged


def test_item_response(rng):
    """Rasch's model, with people's abilities and items' difficulties."""
    ability, difficulty = rng.normal(size=60), np.linspace(-1.5, 1.5, 10)
    solved = rng.random((60, 10)) < expit(ability[:, None] - difficulty)

    @fastvi.target(data={"solved": solved}, names={"ability": 60, "difficulty": 10})
    def model(z, data):
        ability, difficulty = z[:60], z[60:]
        value = densities.normal(ability, 0.0, 1.0) + densities.normal(difficulty, 0.0, 2.0)
        for i in range(60):
            value += densities.bernoulli_logit(data.solved[i], ability[i] - difficulty)
        return value

    def reference(p):
        logit = p["ability"][:, None] - p["difficulty"]
        prior = stats.norm().logpdf(p["ability"]).sum()
        prior += stats.norm(0, 2).logpdf(p["difficulty"]).sum()
        return prior + log_expit(np.where(solved, logit, -logit)).sum()

    p = fitted(model, reference)
    assert p.converged
    assert np.corrcoef(p.mean[60:], difficulty)[0, 1] > 0.9
