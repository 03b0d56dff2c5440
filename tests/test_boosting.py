"""Mixtures that grow by components: closed forms, gradients, divergences that fall, refusals."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from test_mixture_families import MIXTURE, banana, cauchy, divergence, four_modes, gaussian

import fastvi
from fastvi.families import GaussianMixture, LowRank
from fastvi.fitting.fixed_point import look
from fastvi.fitting.hellinger import Hellinger, gram, squared
from fastvi.fitting.polished import noise_of
from fastvi.fitting.vboost import Added, reweighted

KINDS = {
    "hellinger": {"method": "boosting", "boosting": "hellinger"},
    "low-rank": {"method": "boosting", "boosting": "low-rank"},
    "fixed-point": {"method": "fixed-point"},
}
KIND = pytest.mark.parametrize("kind", list(KINDS))


def components(rng, K=3, D=2):
    roots = np.tril(0.3 * rng.standard_normal((K, D, D))) + np.eye(D)
    return GaussianMixture(np.log(np.full(K, 1.0 / K)), rng.standard_normal((K, D)), roots)


def differences(value, x, h=1e-6):
    slopes = np.empty(np.shape(x))
    for place in np.ndindex(slopes.shape):
        ends = []
        for sign in (h, -h):
            moved = np.array(x)
            moved[place] += sign
            ends.append(value(moved))
        slopes[place] = (ends[0] - ends[1]) / (2 * h)
    return slopes


def test_overlaps_and_squares_are_those_of_a_grid(rng):
    params = components(rng)._replace(log_weights=np.log([0.5, 0.3, 0.2]))
    line = np.linspace(-18.0, 18.0, 401)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    halves = np.array([np.sqrt(multivariate_normal(m, r @ r.T).pdf(grid))
                       for m, r in zip(params.means, params.roots)])  # fmt: skip
    Z = gram(params)
    np.testing.assert_allclose(Z, halves @ halves.T * 0.09**2, atol=1e-6)
    weights = params.weights / np.sqrt(params.weights @ Z @ params.weights)
    density = np.exp(squared(params).log_prob(grid))
    np.testing.assert_allclose(density, (weights @ halves) ** 2, atol=1e-10)


def test_hellinger_weights_are_the_best(rng):
    growth = Hellinger(four_modes(), 1.0, 0)
    params = components(rng)
    params = params._replace(means=np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]))
    found = growth._weighted(params)
    for _ in range(20):
        other = np.exp(found.log_weights + 0.1 * rng.standard_normal(3))
        tried = found._replace(log_weights=np.log(other / other.sum()))
        assert growth.height(tried) <= growth.height(found) + 1e-9


def test_gradients_of_scores_are_those_of_differences(rng):
    growth = Hellinger(banana(), 0.7, 0)
    before = growth._before(components(rng)._replace(means=np.array([[0.0, 10.0], [3, 9], [9, 2]])))
    mean, root = np.array([-8.0, 3.0]), np.array([[1.5, 0.0], [0.4, 0.8]])
    for given in (None, before):
        score, of_mean, of_root = growth.score(given, mean, root)
        assert np.isfinite(score)
        slopes = differences(lambda x, given=given: growth.score(given, x, root)[0], mean)
        np.testing.assert_allclose(of_mean, slopes, rtol=1e-5, atol=1e-6)
        slopes = differences(lambda x, given=given: growth.score(given, mean, x)[0], root)
        np.testing.assert_allclose(of_root, np.tril(slopes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alone", [False, True])
def test_gradients_of_a_low_rank_component_are_those_of_differences(rng, alone):
    before = None if alone else components(rng)
    added = Added.to(banana(), 0.7, before, 1, 0)._replace(noise=noise_of(1, 32, 3, 0)[0])
    mean, factors, log_sd = np.array([-2.0, 9.0]), np.array([[0.5], [0.3]]), np.array([0.1, -0.4])
    logit = np.inf if alone else 0.3

    def bound(logit, *free):
        return added.bound(logit, LowRank.from_free(free))

    _, of_weight, rest = bound(logit, mean, factors, log_sd)
    if not alone:
        slope = differences(lambda x: bound(float(x), mean, factors, log_sd)[0], logit)
        np.testing.assert_allclose(of_weight, slope, rtol=1e-5)
    for i, leaf in enumerate((mean, factors, log_sd)):
        free = [mean, factors, log_sd]
        slopes = differences(
            lambda x, i=i, free=free: bound(logit, *free[:i], x, *free[i + 1 :])[0], leaf
        )
        np.testing.assert_allclose(rest[i], slopes, rtol=1e-4, atol=1e-5)


def test_reweighted_mixtures_are_the_best(rng):
    """A weight is proportional to the mass of its mode where components do not overlap."""
    q = GaussianMixture(
        np.log([0.5, 0.3, 0.2]),
        np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]),
        np.stack([np.sqrt(0.5) * np.eye(2)] * 3),
    )
    found, bound = reweighted(four_modes(), 1.0, q, 0)
    np.testing.assert_allclose(found.weights, 1.0 / 3.0, atol=0.01)
    np.testing.assert_allclose(bound, np.log(0.75), atol=0.02)


def test_fixed_point_updates_are_natural_gradients_of_differences(rng):
    """Of the whole bound with respect to log weights, whitened means and roots (by quadrature)."""
    q, eps = components(rng), noise_of(3, 2**14, 2, 0)
    q = q._replace(means=q.means + np.array([0.0, 9.0]))
    found = look(banana(), 0.7, q, eps)
    fine = noise_of(3, 2**14, 2, 1)

    def bound(member):
        return look(banana(), 0.7, member, fine).bound

    means = differences(lambda x: bound(q._replace(means=x)), q.means, 1e-4)
    along = np.einsum("kij,ki->kj", q.roots, means) / q.weights[:, None]
    np.testing.assert_allclose(found.along, along, atol=0.05 * np.abs(along).max())
    heights = found.heights - found.bound
    slopes = differences(
        lambda x: bound(q._replace(log_weights=x - np.log(np.exp(x).sum()))), q.log_weights, 1e-4
    )
    np.testing.assert_allclose(q.weights * heights, slopes, atol=0.05 * np.abs(slopes).max())


def test_one_update_reaches_a_gaussian():
    q = GaussianMixture.of(np.array([3.0, -2.0, 0.5]), np.diag([4.0, 0.3, 1.0]))
    eps = noise_of(1, 1024, 3, 0)
    q = look(gaussian(), 1.0, q, eps).updated(q, 1.0)  # curvature is exact, mean nearly
    q = look(gaussian(), 1.0, q, eps).updated(q, 1.0)
    posterior = fastvi.fit(gaussian(), random_state=0, verdict=False)
    np.testing.assert_allclose(q.mean, posterior.mean, atol=0.05 * posterior.sd.min())
    np.testing.assert_allclose(q.cov, posterior.cov, rtol=0.05, atol=0.02)


@KIND
def test_a_gaussian_needs_one_component(kind):
    found = fastvi.fit(gaussian(), verdict=False, **MIXTURE, **KINDS[kind])
    whole = fastvi.fit(gaussian(), random_state=0, verdict=False)
    assert found.settled
    if kind != "low-rank":
        assert found.member.n_components == 1
        np.testing.assert_allclose(found.cov, whole.cov, rtol=0.02, atol=0.01)


@KIND
def test_divergences_fall_with_components(kind):
    found = [
        divergence(fastvi.fit(banana(), n_components=K, verdict=False, **MIXTURE, **KINDS[kind]))
        for K in (1, 3)
    ]
    (one, a), (more, b) = found
    assert one > more + 3.0 * (a + b)


@pytest.mark.thorough
@KIND
@pytest.mark.parametrize("target", [cauchy, four_modes], ids=["Cauchy", "four modes"])
def test_divergences_fall_on_other_targets(kind, target):
    bounds = [
        divergence(fastvi.fit(target(), n_components=K, verdict=False, **MIXTURE, **KINDS[kind]))
        for K in (1, 2, 4)
    ]
    (one, a), (two, b), (four, c) = bounds
    assert one > two + 3.0 * (a + b)
    assert two + 3.0 * (b + c) > four


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("target", "K", "least"),
    [(banana, 2, 0.7097), (banana, 4, 0.2892), (cauchy, 2, 0.04994), (cauchy, 5, 0.00222),
     (four_modes, 4, 0.0)],
    ids=["banana 2", "banana 4", "Cauchy 2", "Cauchy 5", "four modes"],
)  # fmt: skip
def test_fixed_points_come_near_the_least_divergence(target, K, least):
    posterior = fastvi.fit(target(), n_components=K, verdict=False, method="fixed-point", **MIXTURE)
    found, error = divergence(posterior)
    assert found < max(1.05 * least, least + 0.003) + 3.0 * error


@KIND
def test_a_mixture_that_still_gains_is_not_trusted(kind):
    posterior = fastvi.fit(banana(), n_components=2, **MIXTURE, **KINDS[kind])
    assert posterior.verdict.figures["last_gain"] > 0.05
    assert posterior.verdict.word != "good"


@KIND
def test_resumed_fits_have_the_same_bits_for_any_threads(kind, tmp_path):
    options = {"n_components": 3, "verdict": False, **MIXTURE, **KINDS[kind]}
    whole = fastvi.fit(cauchy(), n_jobs=2, **options)
    path = tmp_path / "state.npz"
    kept = {"checkpoint": path, "checkpoint_interval": 0.0, "n_jobs": 1, **options}
    fastvi.fit(cauchy(), callback=lambda state: True, **kept)
    resumed = fastvi.fit(cauchy(), resume=True, **kept)
    for a, b in zip(resumed.member, whole.member):
        np.testing.assert_array_equal(a, b)
    whole.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", cauchy())
    np.testing.assert_array_equal(again.mean, whole.mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "boosting", "boosting": "other"}, "boosting"),
        ({"method": "boosting", "boosting": 0}, "boosting"),
        ({"method": "joint", "boosting": "hellinger"}, "it is for method='boosting'"),
        ({"method": "fixed-point", "objective": "iwae"}, "wanted the ELBO"),
        ({"method": "fixed-point", "family": "fullrank"}, "components"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fastvi.fit(gaussian(), **{**MIXTURE, **options})
