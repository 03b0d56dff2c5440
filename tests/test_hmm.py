"""Hidden Markov models: hmmlearn's numbers, plain steps, published fits, and hostile input."""

import numpy as np
import pytest
from naive import chains as naive
from scipy.stats import poisson
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough

import fastvi

pytestmark = pytest.mark.jit
RNG = np.random.RandomState(5)
STATES = np.repeat([0, 1, 2, 1, 0, 2], 20)
X = np.array([[0.0, 0.0], [3, 1], [1, 4]])[STATES] + RNG.normal(size=(120, 2))
COUNTS = RNG.poisson(np.array([[1, 5], [10, 2], [4, 9]])[STATES])
SYMBOLS = np.where(RNG.rand(120) < 0.2, RNG.randint(0, 4, 120), STATES)[:, None]
SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
BAGS = np.array([RNG.multinomial(10, SHARES[k]) for k in STATES])
LENGTHS = [70, 1, 49]
START, MOVES = np.ones(3) / 3, np.full((3, 3), 0.1) + 0.7 * np.eye(3)
MEANS = np.array([[0.0, 1], [2, 1], [1, 3]])
COVARS = {
    "full": np.tile(np.eye(2), (3, 1, 1)),
    "diag": np.ones((3, 2)),
    "tied": np.eye(2),
    "spherical": np.ones(3),
}
MODELS = {
    "Gaussian": (fastvi.GaussianHMM, X),
    "mixture": (fastvi.GMMHMM, X),
    "Poisson": (fastvi.PoissonHMM, COUNTS),
    "categorical": (fastvi.CategoricalHMM, SYMBOLS),
    "multinomial": (fastvi.MultinomialHMM, BAGS),
    "variational Gaussian": (fastvi.VariationalGaussianHMM, X),
    "variational Poisson": (fastvi.VariationalPoissonHMM, COUNTS),
    "variational categorical": (fastvi.VariationalCategoricalHMM, SYMBOLS),
}
every_model = pytest.mark.parametrize("name", MODELS)
# Fits of EM share one class, those by variational Bayes another, and both the draws of states.
PLAIN = [name for name in MODELS if not name.startswith("variational")]


def by_hand(kind="full", **options):
    """A Gaussian model whose start is set by hand."""
    model = fastvi.GaussianHMM(3, kind, n_iter=4, tol=0, init_params="", **options)
    model.startprob_, model.transmat_ = START, MOVES
    model.means_, model.covars_ = MEANS, COVARS[kind]
    return model


def fitted(name, **options):
    cls, rows = MODELS[name]
    return cls(3, **({"n_iter": 4, "tol": 0, "random_state": 0} | options)).fit(rows, LENGTHS)


# --- hmmlearn 0.3.3, from the same start ----------------------------------------------------------

# By covariance type: log likelihoods before each of four iterations, then of the result; the log
# probability of the best path; the first mean; the first row of transitions.
GAUSSIAN = {
    "full": (
        [-434.7987563316582, -353.08916873841383, -351.846482137778, -351.75386777586834],
        -351.7488897799626, -352.2841621909221, [0.01922381194990402, 0.04433782793957092],
        [0.9493085292066815, 0.02595289661200214, 0.024738574181316253],
    ),
    "diag": (
        [-434.7987563316582, -354.0813961945454, -352.7825349436392, -352.75057267398927],
        -352.7501792091281, -353.2386287354226, [0.019198475995522428, 0.04160859776554456],
        [0.9493901881322675, 0.02595271229571655, 0.02465709957201613],
    ),
    "tied": (
        [-434.7987563316582, -356.3668642835422, -355.1543790968845, -355.1342345171247],
        -355.1337717614995, -355.6917362968976, [0.028086838766301254, 0.0535614475196621],
        [0.9492902281050084, 0.02603712134725962, 0.024672650547731823],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_gaussian_states_are_those_of_hmmlearn(kind):
    model = by_hand(kind).fit(X, LENGTHS)
    history, score, best, mean, moves = GAUSSIAN[kind]
    np.testing.assert_allclose(model.monitor_.history, history, rtol=1e-12)
    np.testing.assert_allclose(model.score(X, LENGTHS), score, rtol=1e-12)
    np.testing.assert_allclose(model.decode(X, LENGTHS)[0], best, rtol=1e-12)
    np.testing.assert_allclose(model.means_[0], mean, rtol=1e-10)
    np.testing.assert_allclose(model.transmat_[0], moves, rtol=1e-10)
    assert model.monitor_.iter == 4
    assert model.monitor_.converged


# The same from random starts of random_state=0: after the log likelihoods, the first row of what is
# fitted, and the first row of transitions.
DISCRETE = {
    "Poisson": (
        [-1010.8440615071665, -731.0958929892104, -681.8905050856547, -620.8424706596907],
        -589.7294677475187, -607.029112009344, [4.611612314355069, 6.001179961578661],
        [0.07525057705076219, 0.21877284244752518, 0.7059765805017127],
    ),
    "categorical": (
        [-168.93057002163792, -149.2884964557348, -149.05762690979086, -149.00407600616384],
        -148.98455040225664, -168.0380937668945,
        [0.30096128749090023, 0.36904296392347363, 0.30717493300923754, 0.022820815576388494],
        [0.10271303444290948, 0.6500403122759459, 0.2472466532811444],
    ),
    "multinomial": (
        [-726.373729056647, -700.6036816299311, -678.5195812551365, -565.3604931986494],
        -455.4392537860407, -456.97782415596737,
        [0.48207856318313025, 0.4233033318175587, 0.0946181049993111],
        [0.8619589574527079, 0.043540740319942414, 0.09450030222734973],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_states_are_those_of_hmmlearn(name):
    model, rows = fitted(name), MODELS[name][1]
    history, score, best, states, moves = DISCRETE[name]
    np.testing.assert_allclose(model.monitor_.history, history, rtol=1e-10)
    np.testing.assert_allclose(model.score(rows, LENGTHS), score, rtol=1e-10)
    np.testing.assert_allclose(model.decode(rows, LENGTHS)[0], best, rtol=1e-10)
    found = model.lambdas_ if name == "Poisson" else model.emissionprob_
    np.testing.assert_allclose(found[0], states, rtol=1e-10)
    np.testing.assert_allclose(model.transmat_[0], moves, rtol=1e-9)


# --- plain twins ----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
def test_a_step_is_the_plain_one(missing):
    """Missing rows are passed over: they have posteriors, but add to no mean or covariance."""
    rows = X.copy()
    rows[[5, 69, 70, 100, 101, 102]] = np.where(missing, np.nan, rows[[5, 69, 70, 100, 101, 102]])
    options = {"means_weight": 2.0, "covars_prior": 0.3, "covars_weight": 4.0}
    model = by_hand(**options).set_params(n_iter=1).fit(rows, LENGTHS)
    away = rows[:, None] - MEANS
    logs = -0.5 * np.square(away).sum(axis=2) - np.log(2 * np.pi)
    logs = np.where(np.isnan(rows).any(axis=1)[:, None], 0.0, logs)
    norm, starts, pairs, posterior = naive.in_logs(logs, START, MOVES, np.array([0, 70, 71]))
    kept = ~np.isnan(rows).any(axis=1)
    means, covars = naive.gaussian_step(rows[kept], posterior[kept], **options)
    np.testing.assert_allclose(model.elbo_, norm, rtol=1e-12)
    np.testing.assert_allclose(model.means_, means, rtol=1e-10)
    np.testing.assert_allclose(model.covars_, covars, rtol=1e-10)
    np.testing.assert_allclose(model.startprob_, starts / 3, rtol=1e-10)
    np.testing.assert_allclose(
        model.transmat_, pairs / pairs.sum(axis=1, keepdims=True), rtol=1e-10
    )


@every_model
def test_the_likelihood_never_falls(name):
    """By more than its rounding; the default prior of covariances is switched off."""
    options = {"covars_prior": 0.0} if name == "Gaussian" else {}
    history = fitted(name, n_iter=30, **options).monitor_.history
    assert np.all(np.diff(history) > -1e-9 * np.abs(history[-1]))


def test_earthquakes_have_the_published_fit(data_dir):
    """Zucchini and MacDonald (2009), tables 4.1 and 4.2: EM, not stationary."""
    path = data_dir / "hmm" / "earthquakes.csv"
    counts = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1)[:, None]
    published = {2: ([15.421, 26.018], 341.8787), 3: ([13.134, 19.713, 29.711], 328.5275)}
    for k, (rates, loss) in published.items():
        model = fastvi.PoissonHMM(k, n_iter=1000, tol=1e-9, init_params="")
        model.startprob_ = np.full(k, 1.0 / k)
        model.transmat_ = np.full((k, k), 0.1) + (0.9 - 0.1 * (k - 1)) * np.eye(k)
        model.lambdas_ = np.linspace(10, 30, k)[:, None]
        model.fit(counts[:107])
        np.testing.assert_allclose(model.lambdas_[:, 0], rates, atol=0.01)
        np.testing.assert_allclose(-model.score(counts[:107]), loss, atol=0.001)


def test_geyser_has_the_published_fit(data_dir):
    """Zucchini and MacDonald (2009), section 10.2: long eruptions, from the stationary start."""
    path = data_dir / "hmm" / "geyser.csv"
    long = np.loadtxt(path, delimiter=",", skiprows=1, usecols=2) >= 3
    model = fastvi.CategoricalHMM(2, random_state=0, n_iter=1000, tol=1e-9, n_init=3)
    model.fit(long[:, None])
    np.testing.assert_allclose(np.sort(model.emissionprob_[:, 1]), [0.225, 1.0], atol=0.001)
    model.startprob_ = model.get_stationary_distribution()
    np.testing.assert_allclose(-model.score(long[:, None]), 127.31, atol=0.005)
    short = int(np.argmin(model.emissionprob_[:, 1]))
    np.testing.assert_allclose(model.transmat_[short], np.eye(2)[1 - short], atol=1e-6)
    np.testing.assert_allclose(model.transmat_[1 - short, short], 0.827, atol=0.003)


# --- what users do --------------------------------------------------------------------------------


@every_model
def test_saved_models_predict_the_same(name, tmp_path):
    model, rows = fitted(name), MODELS[name][1]
    model.save(tmp_path / "model")
    loaded = fastvi.load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert (
        loaded.predict_proba(rows, LENGTHS).tobytes()
        == model.predict_proba(rows, LENGTHS).tobytes()
    )
    assert loaded.monitor_ == model.monitor_


@pytest.mark.parametrize(
    "name", mostly_thorough(MODELS, lambda name: name in ("Gaussian", "variational Poisson"))
)
def test_an_interrupted_fit_changes_nothing_and_can_be_resumed(name, tmp_path):
    cls, rows = MODELS[name]
    model = fitted(name)
    before = model.predict_proba(rows, LENGTHS).tobytes()

    def interrupt(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, LENGTHS, callback=interrupt)
    assert model.predict_proba(rows, LENGTHS).tobytes() == before
    path = tmp_path / "checkpoint"
    options = {"tol": 0, "random_state": 1}
    cls(3, n_iter=2, **options).fit(rows, LENGTHS, checkpoint=path)
    resumed = cls(3, n_iter=5, **options).fit(rows, LENGTHS, checkpoint=path, resume=True)
    whole = cls(3, n_iter=5, **options).fit(rows, LENGTHS)
    assert resumed.transmat_.tobytes() == whole.transmat_.tobytes()
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        cls(3, n_iter=5, **options).fit(rows[::-1], LENGTHS, checkpoint=path, resume=True)


@pytest.mark.thorough
@pytest.mark.parametrize("name", mostly_thorough(MODELS, lambda name: name in PLAIN))
def test_draws_have_the_moments_of_the_states(name):
    model = fitted(name, n_iter=20)
    rows, states = model.sample(4000, random_state=3)
    np.testing.assert_array_equal(rows, model.sample(4000, random_state=3)[0])
    shares = np.bincount(states, minlength=3) / 4000
    np.testing.assert_allclose(shares, model.get_stationary_distribution(), atol=0.12)
    k = int(np.argmax(shares))
    own = rows[states == k]
    kind = name.split()[-1]
    if kind == "categorical":
        own = np.eye(4)[own[:, 0]]
    expected = {
        "Gaussian": lambda: model.means_[k], "mixture": lambda: model.weights_[k] @ model.means_[k],
        "Poisson": lambda: model.lambdas_[k],
        "categorical": lambda: model.emissionprob_[k],
        "multinomial": lambda: 10 * model.emissionprob_[k],
    }[kind]()  # fmt: skip
    error = 5 * own.std(axis=0) / np.sqrt(len(own)) + 1e-12
    assert np.all(np.abs(own.mean(axis=0) - expected) <= error)
    assert model.sample(2, currstate=k)[1][0] == k


@every_model
def test_rows_one_by_one_have_the_likelihood_of_the_sequence(name):
    model, rows = fitted(name), MODELS[name][1].astype(np.float64)
    rows[30] = np.nan  # missing
    online, before, total = model.compiled(), None, 0.0
    for row in rows:
        before, log_density = online.filter_step(row, before)
        total += log_density
    np.testing.assert_allclose(total, model.score(rows), rtol=1e-12)
    np.testing.assert_allclose(before, model.predict_proba(rows)[-1], rtol=1e-9, atol=1e-12)


def test_states_that_cannot_be_entered_stay_so():
    """A left-right model keeps its zeros, and rows of states that are never left stay as given."""
    model = by_hand()
    model.startprob_ = np.array([1.0, 0.0, 0.0])
    model.transmat_ = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])
    model.fit(X[:60])
    assert np.array_equal(model.transmat_ > 0, np.triu(np.tril(np.ones((3, 3)), 1)) > 0)
    assert list(model.startprob_) == [1.0, 0.0, 0.0]
    assert np.all(np.diff(model.predict(X[:60])) >= 0)


def test_what_init_params_does_not_name_is_kept():
    model = by_hand().fit(X, LENGTHS)
    more = fastvi.GaussianHMM(3, "full", n_iter=4, tol=0, init_params="")
    for name in ("startprob_", "transmat_", "means_", "covars_"):
        setattr(more, name, getattr(model, name))
    assert more.fit(X, LENGTHS).elbo_ == model.fit(X, LENGTHS).elbo_
    assert model.monitor_.history[0] > GAUSSIAN["full"][0][-1]  # it went on from the first fit
    fixed = by_hand().set_params(params="s").fit(X, LENGTHS)
    np.testing.assert_array_equal(fixed.means_, MEANS)
    np.testing.assert_array_equal(fixed.transmat_, MOVES)


def test_the_best_of_several_starts_is_kept():
    one, several = (fitted("Poisson", n_init=n, n_iter=30) for n in (1, 5))
    assert several.elbo_ >= one.elbo_
    assert several.elbo_ == fitted("Poisson", n_init=5, n_iter=30).elbo_
    with pytest.raises(ValueError, match="checkpoint is given with n_init=2; wanted n_init=1"):
        fastvi.PoissonHMM(3, n_init=2).fit(COUNTS, checkpoint="unused")


def test_symbols_are_counted_from_the_data_whatever_was_set_by_hand():
    """`emissionprob_` of another number of symbols, which `init_params` says to draw again."""
    for width in (2, 7):
        model = fastvi.CategoricalHMM(3, n_iter=4, tol=0, random_state=0)
        model.emissionprob_ = np.full((3, width), 1 / width)
        with pytest.warns(UserWarning, match="emissionprob_, set by hand"):
            found = model.fit(SYMBOLS, LENGTHS).emissionprob_
        np.testing.assert_array_equal(found, fitted("categorical").emissionprob_)
    model.emissionprob_ = found.tolist()
    assert model.predict(SYMBOLS).shape == (120,)


def test_a_saved_model_of_counts_draws_rows_of_the_same_total(tmp_path):
    model = fitted("multinomial")
    model.save(tmp_path / "model")
    drawn = fastvi.load(tmp_path / "model").sample(5, random_state=0)[0]
    np.testing.assert_array_equal(drawn, model.sample(5, random_state=0)[0])


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_a_state_that_no_row_visits_leaves_a_usable_model(kind):
    model = by_hand(kind)
    model.startprob_ = np.array([0.5, 0.5, 0.0])
    model.transmat_ = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6]])
    model.fit(X, LENGTHS)
    assert np.isfinite(model.covars_).all()
    assert np.isfinite(model.score(X, LENGTHS))
    np.testing.assert_array_equal(model.means_[2], MEANS[2])
    np.testing.assert_array_equal(model.transmat_[2], [0.2, 0.2, 0.6])


def test_columns_of_very_different_scales_have_usable_covariances():
    scales = np.array([1e8, 1e-8])
    model = fastvi.GaussianHMM(
        2, "full", covars_prior=0.0, min_covar=0.0, random_state=0, n_iter=3
    ).fit(X * scales)
    assert np.isfinite(model.score(X * scales))


def test_states_of_rate_0_emit_nothing_else():
    """A count of 1 is impossible there, and merely unlikely where the mean is 2000."""
    model = fastvi.PoissonHMM(2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.full((2, 2), 0.5)
    model.lambdas_ = np.array([[0.0], [2000.0]])
    np.testing.assert_allclose(model.predict_proba([[0], [1], [2000]]), [[1, 0], [0, 1], [0, 1]])
    expected = np.log(0.5) * 2 + poisson.logpmf(1, 2000.0)
    np.testing.assert_allclose(model.score([[0], [1]]), expected, rtol=1e-12)
    assert list(model.predict([[0], [1], [2000]])) == [0, 1, 1]


def test_symbols_of_probability_0_are_impossible():
    model = fastvi.MultinomialHMM(2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.full((2, 2), 0.5)
    model.emissionprob_ = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0]])
    assert model.score([[1, 2, 0], [2, 2, 1]], [1, 1]) == -np.inf
    assert np.all(model.predict_proba([[1, 2, 0], [2, 2, 1]], [1, 1])[1] == 0)
    model.emissionprob_ = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1]])
    assert list(model.predict([[2000, 0, 1]])) == [1]


def test_criteria_count_free_parameters():
    """2 of the start, 6 of transitions, and means and covariances."""
    for kind, more in {"full": 6 + 9, "diag": 6 + 6, "spherical": 6 + 3, "tied": 6 + 3}.items():
        model = by_hand(kind)
        loss = -2 * model.score(X, LENGTHS)
        np.testing.assert_allclose(model.aic(X, LENGTHS), loss + 2 * (8 + more))
        np.testing.assert_allclose(model.bic(X, LENGTHS), loss + np.log(120) * (8 + more))


def test_types_and_orders_of_rows_change_nothing():
    model = by_hand().fit(X, LENGTHS)
    for rows in (np.asfortranarray(X), X.tolist()):
        other = by_hand().fit(rows, LENGTHS)
        assert other.means_.tobytes() == model.means_.tobytes()
    rounded = X.astype(np.float32)
    here, there = by_hand().fit(rounded), by_hand().fit(rounded.astype(np.float64))
    assert here.means_.tobytes() == there.means_.tobytes()


def impossible():
    """Symbol 1 comes from no state that the second sequence can reach."""
    model = fastvi.CategoricalHMM(2, init_params="", n_features=2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.eye(2)
    model.emissionprob_ = np.array([[1.0, 0.0], [0.0, 1.0]])
    model.fit(np.array([0, 0, 0, 0, 1, 0, 1])[:, None], [3, 3, 1])


def test_what_is_set_by_hand_and_drawn_again_is_named():
    model = fastvi.GaussianHMM(3, init_params="stc", random_state=0)
    model.means_, model.startprob_ = MEANS, START
    with pytest.warns(UserWarning, match="startprob_, set by hand, will be overwritten"):
        model.fit(X)


def test_totals_of_draws_may_be_those_of_rows():
    model = fitted("multinomial").set_params(n_trials=np.full(120, 7))
    assert np.all(model.sample(5, random_state=0)[0].sum(axis=1) == 7)
    with pytest.raises(ValueError, match="wanted the one total"):
        model.set_params(n_trials=[3, 4]).sample(5)


def test_a_model_set_by_half_is_not_fitted():
    model = fastvi.GaussianHMM(2)
    model.startprob_, model.transmat_ = np.full(2, 0.5), np.full((2, 2), 0.5)
    for call in (model.predict, model.score):
        with pytest.raises(NotFittedError):
            call(X)


def test_a_tolerance_of_minus_infinity_never_ends_a_fit(tmp_path):
    model = fastvi.GaussianHMM(1, tol=-np.inf, n_iter=20, random_state=0).fit(X)
    assert model.n_iter_ == 20
    model.save(tmp_path / "model")
    assert fastvi.load(tmp_path / "model").tol == -np.inf


REFUSED = {
    "lengths do not add up": (lambda: by_hand().fit(X, [5]), "lengths add up to 5 rows; X has 120"),
    "a length of 0": (lambda: by_hand().fit(X, [0, 120]), "lengths must hold"),
    "a prior of a shape": (
        lambda: fastvi.PoissonHMM(2, transmat_prior=np.ones(3)).fit(COUNTS),
        r"transmat_prior has shape \(3,\); wanted \(2, 2\)"),
    "a prior of counts below 0": (
        lambda: fastvi.PoissonHMM(2, lambdas_prior=-5.0).fit(COUNTS),
        "lambdas_prior must hold finite numbers >= 0"),
    "a prior of covariances": (
        lambda: by_hand(covars_prior=np.ones(7)).fit(X), r"covars_prior has shape \(7,\)"),
    "a weight of means": (
        lambda: by_hand(means_weight=np.ones(7)).fit(X), r"means_weight has shape \(7,\)"),
    "a prior of symbols": (
        lambda: fastvi.CategoricalHMM(2, emissionprob_prior=np.ones(9)).fit(SYMBOLS),
        r"emissionprob_prior has shape \(9,\); wanted \(2, 4\)"),
    "a sequence that cannot be": (impossible, r"sequence 1 of X \(rows 3 to 5\) is impossible"),
    "a prior mean of a shape": (
        lambda: by_hand().set_params(means_prior=[1, 2, 3]).fit(X), "means_prior has shape"),
    "one row": (lambda: fastvi.GaussianHMM().fit([[1.0], [np.nan]]), "X has 1 row that is not"),
    "no iteration": (lambda: fastvi.GaussianHMM(n_iter=0).fit(X), "n_iter is 0; wanted"),
    "infinity": (lambda: by_hand().fit(np.where(X > 4, np.inf, X)), "X contains infinity"),
    "nothing there": (lambda: by_hand().fit(np.nan * X), "all rows of X are missing"),
    "more states than rows": (lambda: fastvi.GaussianHMM(5).fit(X[:3]), "X has 3 rows"),
    "unknown letters": (lambda: by_hand().set_params(params="sx").fit(X), "params is 'sx'"),
    "an unknown type": (
        lambda: fastvi.GaussianHMM(2, "round").fit(X), "covariance_type is 'round'"),
    "a type set later": (
        lambda: by_hand().fit(X).set_params(covariance_type="round").predict(X),
        "covariance_type is 'round'"),
    "an unknown decoder": (lambda: by_hand().decode(X, algorithm="best"), "algorithm is 'best'"),
    "negative counts": (lambda: fastvi.PoissonHMM(2).fit(X), "non-negative integers"),
    "a new symbol": (
        lambda: fitted("categorical").predict([[7]]), "X holds symbol 7; the model has symbols"),
    "two columns of symbols": (lambda: fastvi.CategoricalHMM(2).fit(COUNTS), "X has 2 columns"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("startprob_", [0.5, 0.6, 0.1], "startprob_ must sum to 1"),
        ("transmat_", np.eye(2), r"transmat_ has shape \(2, 2\); wanted \(3, 3\)"),
        ("transmat_", [[2.0, -1, 0], [0, 1, 0], [0, 0, 1]], "transmat_ must hold probabilities"),
        ("means_", MEANS[:2], r"means_ has shape \(2, 2\); wanted \(3, 2\)"),
        ("means_", np.nan * MEANS, "must be finite"),
        ("covars_", -COVARS["full"], "positive definite"),
        ("covars_", COVARS["full"] + np.eye(2, k=1) / 2, "must be symmetric"),
    ],
)
def test_attributes_set_by_hand_are_checked(name, value, message):
    model = by_hand().fit(X, LENGTHS)
    setattr(model, name, value)
    for call in (model.predict, model.score, lambda rows: model.fit(rows)):
        with pytest.raises(ValueError, match=message):
            call(X)


class Rows(fastvi.GaussianHMM):
    """The model as scikit-learn's checks call it, whose second argument is a target."""

    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


@parametrize_with_checks(
    [Rows()],
    expected_failed_checks=lambda estimator: {
        "check_methods_subset_invariance": "rows of a sequence depend on each other",
        "check_methods_sample_order_invariance": "rows of a sequence depend on each other",
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
