"""Variational hidden Markov models: hmmlearn's numbers, exact evidence, and spare states."""

import itertools

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import multivariate_t, nbinom, t
from test_hmm import COUNTS, LENGTHS, SYMBOLS, X

import fastvi

pytestmark = pytest.mark.jit

# hmmlearn 0.3.3, random_state=0, five iterations: bounds (with the terms in log(2 pi) of Gaussians,
# which it leaves out), first mean, first degrees of freedom, first row of transitions.
GAUSSIAN = {
    "full": (
        [-486.6165039301393, -473.0682607514434, -459.3134067041847, -450.93387436645537],
        [2.9750669829683507, 1.1744415458105395], 40.86148260469908,
        [35.00206638185248, 0.2500000000000007, 1.2755023004298587, 1.3355384563849526],
    ),
    "tied": (
        [-448.22269568240426, -430.4778531223689, -414.4695987140978, -410.07883482519395],
        [2.975136262876872, 1.1503570385754691], 122.0,
        [35.89378640850281, 0.2507233751915518, 1.274712173570439, 1.2864302110393744],
    ),
}  # fmt: skip
CATEGORICAL = (
    [-187.67852489268765, -179.56781431862444, -176.6246155538738, -175.1535998593334],
    [38.18312622082356, 22.358512559919735, 22.870106315986394, 4.315253298517322],
    [66.99277911750102, 13.303802322019441, 5.719822737056934],
)


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_gaussian_posteriors_are_those_of_hmmlearn(kind):
    model = fastvi.VariationalGaussianHMM(4, kind, random_state=0, n_iter=5, tol=0).fit(X, LENGTHS)
    bounds, mean, dof, moves = GAUSSIAN[kind]
    np.testing.assert_allclose(model.monitor_.history[1:], bounds, rtol=1e-10)
    np.testing.assert_allclose(model.means_posterior_[0], mean, rtol=1e-10)
    np.testing.assert_allclose(np.ravel(model.dof_posterior_)[0], dof, rtol=1e-10)
    np.testing.assert_allclose(model.transmat_posterior_[0], moves, rtol=1e-9)


def test_categorical_posteriors_are_those_of_hmmlearn():
    model = fastvi.VariationalCategoricalHMM(3, random_state=0, n_iter=5, tol=0)
    model.fit(SYMBOLS, LENGTHS)
    bounds, symbols, moves = CATEGORICAL
    np.testing.assert_allclose(model.monitor_.history[1:], bounds, rtol=1e-9)
    np.testing.assert_allclose(model.emissionprob_posterior_[0], symbols, rtol=1e-9)
    np.testing.assert_allclose(model.transmat_posterior_[0], moves, rtol=1e-8)


def one_by_one(kind):
    """Log evidence of X for one state, from the predictive density of each row given the others."""
    d = X.shape[1]
    beta, mean, dof, scale = 1.0, X.mean(axis=0), float(d), 1e-3 * np.eye(d)
    total = 0.0
    for x in X:
        wider = (1 + 1 / beta) * scale
        if kind in ("full", "tied"):
            free = dof - d + 1
            total += multivariate_t.logpdf(x, mean, wider / free, free)
        elif kind == "diag":
            total += t.logpdf(x, dof, mean, np.sqrt(np.diag(wider) / dof)).sum()
        else:
            total += multivariate_t.logpdf(x, mean, wider / dof, d * dof)
        away = x - mean
        added = beta / (beta + 1) * np.outer(away, away)
        if kind == "spherical":
            added = np.eye(d) * np.trace(added) / d
        beta, mean, dof, scale = beta + 1, mean + away / (beta + 1), dof + 1, scale + added
    return total


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_with_one_state_the_bound_is_the_evidence(kind):
    model = fastvi.VariationalGaussianHMM(1, kind, random_state=0, n_iter=3, tol=0).fit(X)
    np.testing.assert_allclose(model.elbo_, one_by_one(kind), rtol=1e-9)


def test_with_one_state_the_bound_of_counts_is_the_evidence():
    model = fastvi.VariationalPoissonHMM(1, random_state=0, n_iter=3, tol=0).fit(COUNTS)
    total, a, b = 0.0, np.ones(2), np.full(2, 1 / COUNTS.mean())
    for x in COUNTS:
        total += nbinom.logpmf(x, a, b / (b + 1)).sum()
        a, b = a + x, b + 1
    np.testing.assert_allclose(model.elbo_, total, rtol=1e-9)


def test_the_bound_is_below_the_sum_over_all_paths():
    """Of six symbols and two states; parameters are summed out in closed form."""

    def log_marginal(counts, prior):
        whole = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum())
        return whole + (gammaln(prior + counts) - gammaln(prior)).sum()

    symbols = np.array([0, 0, 1, 2, 1, 1])[:, None]
    half, third = np.full(2, 0.5), np.full(3, 1 / 3)
    totals = []
    for path in itertools.product(range(2), repeat=6):
        pairs, emitted = np.zeros((2, 2)), np.zeros((2, 3))
        np.add.at(pairs, (path[:-1], path[1:]), 1)
        np.add.at(emitted, (path, symbols[:, 0]), 1)
        total = np.log(0.5) + sum(log_marginal(row, half) for row in pairs)
        totals.append(total + sum(log_marginal(row, third) for row in emitted))
    evidence = np.logaddexp.reduce(totals)
    bounds = [
        fastvi.VariationalCategoricalHMM(2, random_state=seed, n_iter=200, tol=1e-9)
        .fit(symbols)
        .elbo_
        for seed in range(5)
    ]
    assert max(bounds) < evidence
    assert max(bounds) > evidence - 3.0


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_the_bound_never_falls(kind):
    """By more than its rounding."""
    model = fastvi.VariationalGaussianHMM(5, kind, random_state=0, n_iter=60, tol=0)
    history = model.fit(X, LENGTHS).monitor_.history
    assert np.all(np.diff(history) > -1e-9 * np.abs(history[-1]))


def test_spare_states_lose_their_rows():
    model = fastvi.VariationalGaussianHMM(6, random_state=0, n_iter=300).fit(X, LENGTHS)
    assert np.sum(model.beta_posterior_ > 5) == 3


def test_sticky_priors_make_states_stay():
    stays = []
    for stick in (0.0, 30.0):
        prior = 0.3 + stick * np.eye(3)
        model = fastvi.VariationalGaussianHMM(3, transmat_prior=prior, random_state=0)
        stays.append(np.diag(model.fit(X, LENGTHS).transmat_).mean())
    assert stays[1] > stays[0] + 0.01


def test_what_params_does_not_name_stays():
    model = fastvi.VariationalGaussianHMM(3, random_state=0, params="st", n_iter=4).fit(X, LENGTHS)
    start = fastvi.VariationalGaussianHMM(3, random_state=0, params="", n_iter=1).fit(X, LENGTHS)
    for name in ("means_posterior_", "beta_posterior_", "dof_posterior_", "scale_posterior_"):
        np.testing.assert_allclose(getattr(model, name), getattr(start, name), rtol=1e-12)
    assert not np.allclose(model.transmat_posterior_, start.transmat_posterior_)


def test_what_init_params_does_not_name_is_kept():
    model = fastvi.VariationalGaussianHMM(3, random_state=0, n_iter=4, tol=0).fit(X, LENGTHS)
    last = model.monitor_.history[-1]
    model.set_params(init_params="").fit(X, LENGTHS)
    assert model.monitor_.history[0] > last


def test_many_states_begin_with_concentrations_above_0():
    """Sparse draws of many states hold zeros."""
    model = fastvi.VariationalPoissonHMM(100, random_state=1, n_iter=2).fit(COUNTS)
    assert np.isfinite(model.elbo_)


def test_more_states_than_different_rows():
    rows = np.repeat([[0.0, 0.0], [5.0, 5.0]], 20, axis=0)
    model = fastvi.VariationalGaussianHMM(3, random_state=0, n_iter=5)
    with pytest.warns(UserWarning, match="distinct clusters"):
        model.fit(rows)
    assert np.isfinite(model.elbo_)
    assert np.isfinite(model.covars_).all()


def test_posteriors_of_another_shape_are_refused():
    model = fastvi.VariationalGaussianHMM(2, random_state=0, n_iter=2).fit(X)
    model.set_params(n_components=3, init_params="st")
    with pytest.raises(ValueError, match=r"means_posterior_ has shape \(2, 2\); wanted \(3, 2\)"):
        model.fit(X)


def test_posteriors_of_damaged_files_are_refused(tmp_path):
    model = fastvi.VariationalPoissonHMM(2, random_state=0, n_iter=2).fit(COUNTS)
    for damaged, message in (
        (-model.lambdas_shape_, "lambdas_shape_ must hold numbers > 0"),
        (model.lambdas_shape_[:1], r"lambdas_shape_ is float64 of shape \(1, 2\)"),
    ):
        model.lambdas_shape_ = damaged
        model.save(tmp_path / "model")
        with pytest.raises(ValueError, match=message):
            fastvi.load(tmp_path / "model")


REFUSED = {
    "a shape": ({"transmat_prior": np.ones((2, 2))}, r"transmat_prior has shape \(2, 2\); wanted"),
    "a concentration of 0": ({"startprob_prior": 0.0}, "startprob_prior must hold numbers > 0"),
    "few degrees of freedom": ({"dof_prior": 1.0}, "dof_prior is 1.0; wanted numbers > 1"),
    "a scale": ({"scale_prior": np.ones(3)}, r"scale_prior has shape \(3,\); wanted \(3, 2, 2\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_priors_are_checked(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        fastvi.VariationalGaussianHMM(3, **options).fit(X)


def test_a_prior_with_zeros_makes_chains_go_to_the_right():
    prior = np.triu(np.ones((3, 3))) - np.triu(np.ones((3, 3)), 2)
    model = fastvi.VariationalGaussianHMM(
        3, startprob_prior=[1.0, 0, 0], transmat_prior=prior, random_state=0, n_iter=30, tol=0
    )
    steps = np.vstack([np.sort(X[:, :1], axis=0)[::3]] * 2)
    model.fit(steps, [40, 40])
    assert np.all(model.transmat_[prior == 0] == 0)
    np.testing.assert_array_equal(model.startprob_, [1, 0, 0])
    assert np.all(np.diff(model.predict(steps, [40, 40])[:40]) >= 0)
    history = model.monitor_.history
    assert np.all(np.diff(history) > -1e-9 * np.abs(history[-1]))
