"""Hidden Markov models of Gaussian mixtures: hmmlearn's numbers, plain steps, and hostile input."""

import itertools

import numpy as np
import pytest
from naive import chains as naive
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from test_hmm import LENGTHS, X

import fastvi

pytestmark = pytest.mark.jit

MEANS = np.array([[[0.0, 1], [2, 1]], [[1, 3], [4, 0]]])
COVARS = {
    "full": np.tile(np.eye(2), (2, 2, 1, 1)),
    "diag": np.ones((2, 2, 2)),
    "tied": np.tile(np.eye(2), (2, 1, 1)),
    "spherical": np.ones((2, 2)),
}
every_kind = pytest.mark.parametrize("kind", COVARS)


def by_hand(kind="full", n_iter=1, **options):
    model = fastvi.GMMHMM(2, 2, covariance_type=kind, n_iter=n_iter, tol=0, init_params="")
    model.set_params(**options)
    model.startprob_, model.transmat_ = np.array([0.6, 0.4]), np.array([[0.8, 0.2], [0.3, 0.7]])
    model.weights_, model.means_ = np.array([[0.3, 0.7], [0.5, 0.5]]), MEANS
    model.covars_ = COVARS[kind]
    return model


# --- hmmlearn 0.3.3 -------------------------------------------------------------------------------


@every_kind
def test_an_iteration_is_that_of_hmmlearn_but_for_covariances(kind):
    options = {"means_weight": 0.5, "weights_prior": 2.0, "means_prior": 1.0}
    model = by_hand(kind, **options).fit(X, LENGTHS)
    for found, expected in (
        (model.monitor_.history[0], -482.2869103941755),
        (model.startprob_[0], 0.5076973014222103),
        (model.transmat_[0], [0.8845598624401464, 0.11544013755985358]),
        (model.weights_[0], [0.44565569600933913, 0.5543443039906608]),
        (model.means_[1, 0], [0.8434523405388966, 3.9540581252661475]),
        (model.means_[1, 1], [3.8203638263606425, 1.0427481237302847]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


# Covariances of the second state without priors, about the old means.
ABOUT_OLD_MEANS = {
    "full": [
        0.9553298289050102, -0.16998789342162743, -0.16998789342162743, 2.2378560079018803,
        0.9014632204411537, 0.3082942170629219, 0.3082942170629219, 1.7485582998355014,
    ],
    "diag": [0.9553298289050102, 2.2378560079018803, 0.9014632204411537, 1.7485582998355014],
    "tied": [0.943186790583002, -0.06216974481400274, -0.06216974481400274, 2.1275546358764363],
    "spherical": [1.5965929184034446, 1.3250107601383274],
}  # fmt: skip


@every_kind
def test_covariances_are_those_of_hmmlearn_about_the_new_means(kind):
    model = by_hand(kind).fit(X, LENGTHS)
    moved = (model.means_ - MEANS)[1]
    outer = moved[:, :, None] * moved[:, None]
    excess = {
        "full": outer,
        "diag": np.square(moved),
        "tied": np.einsum("m,mij->ij", model.weights_[1], outer),
        "spherical": np.square(moved).mean(axis=1),
    }[kind]
    expected = np.reshape(ABOUT_OLD_MEANS[kind], excess.shape) - excess
    np.testing.assert_allclose(model.covars_[1], expected, rtol=1e-10)


def test_a_fit_begins_as_in_hmmlearn():
    model = fastvi.GMMHMM(2, 2, n_iter=1, tol=0, random_state=0).fit(X, LENGTHS)
    np.testing.assert_allclose(model.monitor_.history, [-502.6231802271244], rtol=1e-12)
    means = [[0.3292899738542055, 0.6412810776920692], [2.7843259838352385, 1.3758082423242435]]
    np.testing.assert_allclose(model.means_[0], means, rtol=1e-10)


# --- plain twins ----------------------------------------------------------------------------------


def logs_of(model, rows, covars):
    """Log densities of components (n, K, M), one at a time."""
    found = np.empty((len(rows), 2, 2))
    for k, m in itertools.product(range(2), range(2)):
        found[:, k, m] = multivariate_normal.logpdf(rows, model.means_[k, m], covars[k][m])
        found[:, k, m] += np.log(model.weights_[k, m])
    return found


@every_kind
def test_scores_and_steps_are_the_plain_ones(kind):
    model = by_hand(kind, n_iter=2).fit(X, LENGTHS)
    eye = np.eye(2)
    covars = {
        "full": lambda c: c,
        "diag": lambda c: c[..., None] * eye,
        "tied": lambda c: np.stack((c, c), axis=1),
        "spherical": lambda c: c[..., None, None] * eye,
    }[kind](model.covars_)
    logs = logs_of(model, X, covars)
    states = logsumexp(logs, axis=2)
    first = np.array([0, 70, 71])
    norm, starts, pairs, posterior = naive.in_logs(states, model.startprob_, model.transmat_, first)
    np.testing.assert_allclose(model.score(X, LENGTHS), norm, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X, LENGTHS), posterior, rtol=1e-9, atol=1e-12)
    path = np.concatenate([
        naive.viterbi(states[a:b], model.startprob_, model.transmat_)
        for a, b in ((0, 70), (70, 71), (71, 120))
    ])  # fmt: skip
    np.testing.assert_array_equal(model.predict(X, LENGTHS), path)
    shares = posterior[:, :, None] * np.exp(logs - states[:, :, None])
    n = shares.sum(axis=0)
    means = np.einsum("nkm,nd->kmd", shares, X) / n[..., None]
    away = X[:, None, None] - means
    scatter = np.einsum("nkm,nkmi,nkmj->kmij", shares, away, away)
    model.set_params(n_iter=1).fit(X, LENGTHS)
    np.testing.assert_allclose(model.startprob_, starts / 3, rtol=1e-9)
    np.testing.assert_allclose(model.transmat_, pairs / pairs.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(model.weights_, n / n.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(model.means_, means, rtol=1e-9)
    expected = {
        "full": lambda: scatter / n[..., None, None],
        "diag": lambda: np.einsum("kmii->kmi", scatter) / n[..., None],
        "tied": lambda: scatter.sum(axis=1) / n.sum(axis=1)[:, None, None],
        "spherical": lambda: np.einsum("kmii->km", scatter) / (2 * n),
    }[kind]()
    np.testing.assert_allclose(model.covars_, expected, rtol=1e-9)


@every_kind
def test_with_one_component_it_is_the_gaussian_model(kind):
    one = fastvi.GMMHMM(2, 1, covariance_type=kind, n_iter=5, tol=0, random_state=0)
    if kind == "tied":  # of a state
        kind = "full"
    other = fastvi.GaussianHMM(2, kind, covars_prior=0.0, n_iter=5, tol=0, init_params="")
    one.set_params(params="").fit(X, LENGTHS)
    other.startprob_, other.transmat_ = one.startprob_, one.transmat_
    other.means_ = one.means_[:, 0]
    other.covars_ = one.covars_ if one.covariance_type == "tied" else one.covars_[:, 0]
    one.set_params(params="stmcw", init_params="").fit(X, LENGTHS)
    other.fit(X, LENGTHS)
    np.testing.assert_allclose(one.monitor_.history, other.monitor_.history, rtol=1e-10)
    np.testing.assert_allclose(one.means_[:, 0], other.means_, rtol=1e-10)
    np.testing.assert_allclose(one.score(X), other.score(X), rtol=1e-10)


@every_kind
def test_the_likelihood_never_falls(kind):
    for seed in range(3):
        model = fastvi.GMMHMM(2, 3, covariance_type=kind, n_iter=40, tol=0, random_state=seed)
        history = model.fit(X, LENGTHS).monitor_.history
        assert np.all(np.diff(history) > -1e-9 * np.abs(history[-1]))


def test_posteriors_under_priors_never_fall():
    """The log likelihood plus the log priors of weights, means and variances."""
    options = {
        "weights_prior": 3.0, "means_prior": 1.0, "means_weight": 2.0, "covars_prior": 2.0,
        "covars_weight": 1.5, "startprob_prior": 1.5, "transmat_prior": 2.0,
    }  # fmt: skip
    model, last = by_hand("diag", **options), -np.inf
    for _ in range(8):
        model.fit(X, LENGTHS)
        v = model.covars_
        found = model.score(X, LENGTHS) + 2.0 * np.log(model.weights_).sum()
        found += 0.5 * np.log(model.startprob_).sum() + np.log(model.transmat_).sum()
        found -= (0.5 * np.log(v) + np.square(model.means_ - 1.0) / v).sum()  # of precision 2
        found -= ((2.0 + 1.0) * np.log(v) + 1.5 / v).sum()  # inverse gamma
        assert found > last - 1e-9
        last = found


# --- what users do --------------------------------------------------------------------------------


@pytest.mark.thorough
@every_kind
def test_saved_models_filter_and_draw_the_same(kind, tmp_path):
    model = by_hand(kind).fit(X, LENGTHS)
    model.save(tmp_path / "model")
    loaded = fastvi.load(tmp_path / "model")
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    rows, states = loaded.sample(3000, random_state=0)
    assert rows.shape == (3000, 2)
    state = int(np.argmax(np.bincount(states)))
    mean = model.weights_[state] @ model.means_[state]
    np.testing.assert_allclose(rows[states == state].mean(axis=0), mean, atol=0.2)
    online, found, total = loaded.compiled(), None, 0.0
    for row in X:
        found, log_density = online.filter_step(row, found)
        total += log_density
    np.testing.assert_allclose(total, model.score(X), rtol=1e-12)


def test_a_component_on_repeated_rows_keeps_its_covariance():
    rows = np.vstack((X, np.zeros((30, 2))))
    for kind in COVARS:
        model = fastvi.GMMHMM(2, 3, covariance_type=kind, n_iter=60, tol=0, random_state=0)
        history = model.fit(rows).monitor_.history
        assert np.isfinite(history).all()
        assert np.all(np.diff(history) > -1e-9 * np.abs(history).max())
        assert np.isfinite(model.score(rows))


REFUSED = {
    "no component": ({"n_mix": 0}, "n_mix is 0; wanted"),
    "a type": ({"covariance_type": "round"}, "covariance_type is 'round'"),
    "a prior of a shape": ({"weights_prior": np.ones(3)}, r"weights_prior has shape \(3,\)"),
    "a covariance prior": ({"covars_prior": np.ones(5)}, r"covars_prior has shape \(5,\)"),
    "letters": ({"params": "sx"}, "params is 'sx'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        fastvi.GMMHMM(2, 2, random_state=0).set_params(**options).fit(X)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights_", [[0.5, 0.6], [1, 0]], "weights_ must sum to 1"),
        ("means_", MEANS[:1], r"means_ has shape \(1, 2, 2\); wanted \(2, 2, 2\)"),
        ("covars_", np.ones((2, 2)), r"covars_ has shape \(2, 2\); wanted \(2, 2, 2, 2\)"),
        ("covars_", -COVARS["full"], "positive definite"),
    ],
)
def test_attributes_set_by_hand_are_checked(name, value, message):
    model = by_hand().fit(X)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        model.predict(X)
