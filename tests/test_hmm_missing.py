"""Rows of which some numbers are missing: marginals, and expected moments given the rest."""

import numpy as np
import pytest
from naive import chains as naive
from scipy.special import logsumexp
from test_hmm import COVARS, LENGTHS, MEANS, MOVES, START, X

import fastvi

pytestmark = pytest.mark.jit
RNG = np.random.default_rng(3)
SLANTED = np.array([[[1.0, 0.6], [0.6, 2.0]], [[1.5, -0.4], [-0.4, 0.7]], [[1.0, 0.0], [0, 1.0]]])
KINDS = {"full": SLANTED, "tied": SLANTED[0], "diag": np.array([[1.0, 2], [0.5, 1], [2, 3]])}
KINDS["spherical"] = np.array([1.0, 2.0, 0.5])
every_kind = pytest.mark.parametrize("kind", KINDS)


def with_gaps(rows):
    """A third of all numbers and whole rows are missing."""
    rows = np.where(RNG.random(rows.shape) < 0.3, np.nan, rows)
    rows[[3, 90]] = np.nan
    return rows


GAPS = with_gaps(X)


def by_hand(kind, n_iter=1, **options):
    model = fastvi.GaussianHMM(
        3, kind, n_iter=n_iter, tol=0, init_params="", covars_prior=0.0, **options
    )
    model.startprob_, model.transmat_, model.means_ = START, MOVES, MEANS
    model.covars_ = KINDS[kind]
    return model


@every_kind
def test_tiny_chains_are_summed_over_all_paths(kind):
    """Six rows and three states, with densities of what is there."""
    rows = np.array([[0.0, 1], [np.nan, 2], [2.5, np.nan], [np.nan, np.nan], [1, 1], [np.nan, 0.5]])
    model = by_hand(kind)
    covars = naive.matrices(KINDS[kind], kind, 3, 2)
    logs = naive.marginals(rows, MEANS, covars)
    norm, posterior, _, path = naive.enumerated(logs, START, MOVES)
    np.testing.assert_allclose(model.score(rows), norm, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(rows), posterior, rtol=1e-10)
    assert tuple(model.predict(rows)) == path
    score, _decoded = model.decode(rows)
    best = max(total for _, total in naive.path_logs(logs, START, MOVES))
    np.testing.assert_allclose(score, best, rtol=1e-12)


@every_kind
def test_a_step_is_the_plain_one(kind):
    model = by_hand(kind).fit(GAPS, LENGTHS)
    covars = naive.matrices(KINDS[kind], kind, 3, 2)
    logs = naive.marginals(GAPS, MEANS, covars)
    norm, _, _, posterior = naive.in_logs(logs, START, MOVES, np.array([0, 70, 71]))
    counts, sums, products = naive.completed(GAPS, posterior, MEANS, covars)
    means = sums / counts[:, None]
    scatter = products - counts[:, None, None] * means[:, :, None] * means[:, None]
    expected = {
        "full": lambda: scatter / counts[:, None, None],
        "tied": lambda: scatter.sum(axis=0) / counts.sum(),
        "diag": lambda: np.einsum("kii->ki", scatter) / counts[:, None],
        "spherical": lambda: np.einsum("kii->k", scatter) / (2 * counts),
    }[kind]()
    np.testing.assert_allclose(model.elbo_, norm, rtol=1e-12)
    np.testing.assert_allclose(model.means_, means, rtol=1e-9)
    np.testing.assert_allclose(model.covars_, expected, rtol=1e-9)


@every_kind
@pytest.mark.parametrize("name", ["Gaussian", "mixture", "variational"])
def test_bounds_never_fall(name, kind):
    model = {
        "Gaussian": lambda: fastvi.GaussianHMM(3, kind, covars_prior=0.0, n_iter=30),
        "mixture": lambda: fastvi.GMMHMM(2, 2, covariance_type=kind, n_iter=30),
        "variational": lambda: fastvi.VariationalGaussianHMM(4, kind, n_iter=30),
    }[name]().set_params(tol=0, random_state=0)
    history = model.fit(GAPS, LENGTHS).monitor_.history
    assert np.all(np.diff(history) > -1e-9 * np.abs(history[-1]))
    assert np.isfinite(model.score(GAPS, LENGTHS))


def test_mixtures_weigh_the_components_that_explain_what_is_there():
    model = fastvi.GMMHMM(2, 2, covariance_type="full", n_iter=3, tol=0, random_state=0)
    model.fit(GAPS, LENGTHS)
    parts = model.means_.reshape(4, 2), model.covars_.reshape(4, 2, 2)
    logs = naive.marginals(GAPS, *parts) + np.log(model.weights_).ravel()
    logs[np.isnan(GAPS).all(axis=1)] = np.log(model.weights_).ravel()
    states = logsumexp(logs.reshape(-1, 2, 2), axis=2)
    args = model.startprob_, model.transmat_, np.array([0, 70, 71])
    norm, _, _, posterior = naive.in_logs(states, *args)
    np.testing.assert_allclose(model.score(GAPS, LENGTHS), norm, rtol=1e-12)
    seen = ~np.isnan(GAPS).all(axis=1)
    shares = np.repeat(posterior, 2, axis=1) * np.exp(logs - np.repeat(states, 2, axis=1))
    counts, sums, _ = naive.completed(GAPS[seen], shares[seen], *parts)
    model.set_params(init_params="", n_iter=1).fit(GAPS, LENGTHS)
    np.testing.assert_allclose(model.means_.reshape(4, 2), sums / counts[:, None], rtol=1e-9)


@every_kind
def test_the_variational_step_fills_gaps_by_the_expected_precisions(kind):
    """With one state the posterior follows from the completed moments, at its fixed point."""
    model = fastvi.VariationalGaussianHMM(1, kind, n_iter=200, tol=0, random_state=0).fit(GAPS)
    seen = GAPS[~np.isnan(GAPS).all(axis=1)]
    n, d = seen.shape
    covars = naive.matrices(model.covars_, kind, 1, d)  # inverses of the expected precisions
    counts, sums, products = naive.completed(seen, np.ones((n, 1)), model.means_, covars)
    centre = np.nanmean(GAPS, axis=0)
    means = (centre + sums[0]) / (1 + n)
    np.testing.assert_allclose(counts, n)
    np.testing.assert_allclose(model.means_[0], means, rtol=1e-8)
    np.testing.assert_allclose(model.beta_posterior_, [1 + n])
    scale = 1e-3 * np.eye(d) + products[0] + np.outer(centre, centre)
    scale -= (1 + n) * np.outer(means, means)
    found = naive.matrices(model.scale_posterior_, kind, 1, d)[0]
    if kind == "diag":
        scale = np.diag(np.diag(scale))
    if kind == "spherical":
        scale = np.eye(d) * np.trace(scale) / d
    np.testing.assert_allclose(found, scale, rtol=1e-7, atol=1e-9)


def test_gaps_are_filled_where_columns_say_much_of_each_other():
    """Means and covariances of a state come close to those without gaps."""
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal([3.0, -2.0], [[1.0, 0.95], [0.95, 1.0]], size=3000)
    holes = rows.copy()
    holes[rows[:, 0] > 3.0, 1] = np.nan  # missing at random, given the other column
    model = fastvi.GaussianHMM(1, "full", n_iter=100, tol=1e-9, random_state=0).fit(holes)
    np.testing.assert_allclose(model.means_[0], [3.0, -2.0], atol=0.06)
    np.testing.assert_allclose(model.covars_[0], [[1.0, 0.95], [0.95, 1.0]], atol=0.08)
    assert np.nanmean(holes[:, 1]) < -2.5  # what is there alone is far off


def test_saved_models_score_gaps_the_same(tmp_path):
    model = fastvi.VariationalGaussianHMM(3, n_iter=3, random_state=0).fit(GAPS)
    model.save(tmp_path / "model")
    assert fastvi.load(tmp_path / "model").score(GAPS) == model.score(GAPS)


def test_a_column_without_numbers_is_refused():
    rows = X.copy()
    rows[:, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 of X is all missing"):
        fastvi.GaussianHMM(2).fit(rows)
    model = fastvi.GaussianHMM(2, random_state=0).fit(X)
    assert np.isfinite(model.score(rows))  # the other column says something


@every_kind
def test_scales_of_columns_do_not_matter(kind):
    if kind == "spherical":
        pytest.skip("a spherical covariance has the scale of all columns")
    scale = np.array([1e-4, 1e6])
    model, other = by_hand(kind), by_hand(kind)
    other.means_ = MEANS * scale
    other.covars_ = KINDS[kind] * (np.outer(scale, scale) if kind != "diag" else scale**2)
    shift = np.log(scale) @ (~np.isnan(GAPS)).sum(axis=0)
    np.testing.assert_allclose(other.score(GAPS * scale) + shift, model.score(GAPS), rtol=1e-10)
    np.testing.assert_allclose(
        other.fit(GAPS * scale).covars_,
        model.fit(GAPS).covars_ * (np.outer(scale, scale) if kind != "diag" else scale**2),
        rtol=1e-8,
    )
    assert set(COVARS) == set(KINDS)


@pytest.mark.parametrize("cls", [fastvi.GaussianHMM, fastvi.GMMHMM, fastvi.VariationalGaussianHMM])
@every_kind
def test_rows_one_by_one_have_the_density_of_what_is_there(cls, kind):
    rng = np.random.default_rng(0)
    whole = np.repeat([[0.0, 1, -2, 50], [3, 3, 1, 40]], 30, axis=0)
    whole = whole + rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    options = {"n_mix": 2} if cls is fastvi.GMMHMM else {}
    model = cls(2, covariance_type=kind, n_iter=3, tol=0, random_state=0, **options).fit(whole)
    rows = np.where(rng.random(whole.shape) < 0.4, np.nan, whole)
    rows[[0, 7]] = np.nan
    online, before, total = model.compiled(), None, 0.0
    for row in rows:
        before, log_density = online.filter_step(row, before)
        total += log_density
    np.testing.assert_allclose(total, model.score(rows), rtol=1e-9)
    np.testing.assert_allclose(before, model.predict_proba(rows)[-1], rtol=1e-7, atol=1e-12)
