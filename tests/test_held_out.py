"""Rows scored while a fit runs: `X_val` of every estimator."""

import numpy as np
import pytest
from sklearn.base import clone

import fastvi

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N, N_HELD_OUT = 200, 40


def real(rng):
    X = rng.normal(size=(N + N_HELD_OUT, 2)) @ rng.normal(size=(2, 5))
    return X + 0.3 * rng.normal(size=X.shape)


def counts(rng):
    theta, beta = rng.gamma(0.3, size=(N + N_HELD_OUT, 3)), rng.gamma(0.3, size=(3, 30))
    return rng.poisson(5 * theta @ beta)


def own_score(model, X, y):
    return model.score(X)


def log_loss(model, X, y):
    return model.predict_log_proba(X)[np.arange(len(X)), y].mean()


def completion(model, X, y):
    return model.document_completion(X, random_state=0)


LDA = fastvi.LatentDirichletAllocation
ESTIMATORS = {
    "mixture": (
        fastvi.BayesianGaussianMixture(n_components=2, random_state=0, tol=0),
        real,
        own_score,
    ),
    "logistic": (fastvi.BayesianLogisticRegression(random_state=0, tol=0), real, log_loss),
    "pca": (fastvi.BayesianPCA(2, random_state=0, tol=0), real, own_score),
    "fa": (fastvi.BayesianFactorAnalysis(2, random_state=0, tol=0), real, own_score),
    "features": (
        fastvi.BetaBernoulliFeatures(2, n_init=1, random_state=0, tol=0),
        real,
        own_score,
    ),
    "poisson": (fastvi.PoissonFactorization(3, random_state=0, tol=0), counts, own_score),
    "autoencoder": (
        fastvi.VariationalAutoencoder(2, hidden_layer_sizes=(8,), random_state=0),
        real,
        lambda model, X, y: model.elbo_samples(X).mean(),
    ),
    "neural topics": (fastvi.NeuralTopicModel(3, random_state=0), counts, completion),
    "hdp": (
        fastvi.HierarchicalDirichletProcess(  # merges come after the last score
            3, random_state=0, tol=0, batch_size=None, merge=False
        ),
        counts,
        completion,
    ),
    **{
        solver: (LDA(3, solver=solver, random_state=0), counts, completion)
        for solver in ("vb", "svi", "cvb0", "scvb0")
    },
}
GAUSSIAN_PROCESSES = {
    "svgp": fastvi.SVGP(inducing_points=8, batch_size=50, max_iter=12, random_state=0),
    "gp classes": fastvi.SparseGPClassifier(
        inducing_points=8, batch_size=50, max_iter=12, random_state=0
    ),
}
KINDS = {"all rows": {}, "mini-batches": {"batch_size": 50}}


def fitted(name, kind, held_out):
    model, data, _ = ESTIMATORS[name]
    rng = np.random.default_rng(11)
    X, y = data(rng), rng.integers(2, size=N + N_HELD_OUT)
    model = model.__class__(**{**model.get_params(), **KINDS[kind], "max_iter": 4})
    options = {}
    if held_out:
        options["X_val"] = X[N:]
        if name == "logistic":
            options["y_val"] = y[N:]
    return model.fit(X[:N], y[:N], **options), X[N:], y[N:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_last_score_is_that_of_the_fit(name, kind):
    model, X, y = fitted(name, kind, True)
    trace, epoch = model.history_["held_out"], model.history_["epoch"]
    ends = np.append(np.flatnonzero(np.diff(epoch)), len(epoch) - 1)
    assert np.flatnonzero(np.isfinite(trace)).tolist() == ends.tolist()
    assert len(ends) == 4
    assert trace[-1] == pytest.approx(ESTIMATORS[name][2](model, X, y), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_looking_changes_no_bit_of_the_fit(name, kind):
    seen, blind = (fitted(name, kind, held_out)[0].history_ for held_out in (True, False))
    assert set(seen) - set(blind) == {"held_out"}
    for column in set(blind) - {"seconds"}:
        np.testing.assert_array_equal(seen[column], blind[column])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_of_another_width_are_refused(name):
    model, data, _ = ESTIMATORS[name]
    X, y = data(np.random.default_rng(0)), np.arange(N + N_HELD_OUT) % 2
    labels = {"y_val": y} if name == "logistic" else {}
    with pytest.raises(ValueError, match="features"):
        model.fit(X, y, X_val=X[:, 1:], **labels)


def test_labels_that_do_not_fit_are_refused():
    X, y = real(np.random.default_rng(0)), np.arange(N + N_HELD_OUT) % 2
    model = fastvi.BayesianLogisticRegression()
    with pytest.raises(ValueError, match="wanted both of X_val and y_val"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val holds 2; wanted labels of y"):
        model.fit(X, y, X_val=X, y_val=y + 1)


def test_documents_without_words_to_score_are_refused():
    X = counts(np.random.default_rng(0))
    with pytest.raises(ValueError, match="X_val has no words to score"):
        LDA(3).fit(X, X_val=np.zeros((4, X.shape[1])))


def test_verbose_fits_show_the_score(capsys):
    X = real(np.random.default_rng(0))
    fastvi.BayesianPCA(2, max_iter=2, tol=0, verbose=1).fit(X[:N], X_val=X[N:])
    assert "held_out " in capsys.readouterr().err


@pytest.mark.parametrize("name", GAUSSIAN_PROCESSES)
def test_gaussian_processes_score_after_each_pass(name, rng):
    """Their fits end with steps on all rows, after which scores differ from the last trace's."""
    X = real(rng)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    model = GAUSSIAN_PROCESSES[name]
    blind = clone(model).fit(X[:N], y[:N])
    seen = clone(model).fit(X[:N], y[:N], X_val=X[N:], y_val=y[N:])
    trace = seen.history_["held_out"]
    assert np.flatnonzero(np.isfinite(trace)).tolist() == [3, 7, 11]
    np.testing.assert_array_equal(seen.predict(X), blind.predict(X))
    assert trace[11] == pytest.approx(seen.score(X[N:], y[N:]), abs=0.3)
    with pytest.raises(ValueError, match="both of X_val and y_val"):
        clone(model).fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="expecting 5 features"):
        clone(model).fit(X, y, X_val=X[:, :2], y_val=y)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_early_stopping_keeps_the_best_pass(name, tmp_path):
    model, data, score = ESTIMATORS[name]
    rng = np.random.default_rng(11)
    X, y = data(rng), rng.integers(2, size=N + N_HELD_OUT)
    labels = {"y_val": y[N:]} if name == "logistic" else {}
    options = {"max_iter": 8, "batch_size": 25, "optimizer": None}
    model = clone(model).set_params(**{k: options[k] for k in options if hasattr(model, k)})
    model.fit(X[:N], y[:N], X_val=X[N:], early_stopping=1, **labels)
    scores = model.history_["held_out"][np.isfinite(model.history_["held_out"])]
    assert model.best_iter_ == np.argmax(scores) + 1
    assert model.n_iter_ == len(scores) == min(model.best_iter_ + 1, 8)
    assert model.best_score_ == scores.max()
    assert model.best_score_ == pytest.approx(score(model, X[N:], y[N:]), rel=1e-4)
    for wrong, message in ((0, "early_stopping is 0"), (True, "early_stopping is True")):
        with pytest.raises(ValueError, match=message):
            model.fit(X[:N], y[:N], X_val=X[N:], early_stopping=wrong, **labels)
    with pytest.raises(ValueError, match="early_stopping needs X_val"):
        model.fit(X[:N], y[:N], early_stopping=1)
    model.save(tmp_path / "model")
    read = fastvi.load(tmp_path / "model")
    assert (read.best_iter_, read.best_score_) == (model.best_iter_, model.best_score_)
    if hasattr(model, "partial_fit"):
        assert not hasattr(model.partial_fit(X[:N]), "best_iter_")


def test_early_stopping_that_ends_within_the_first_pass():
    """The score is that of what was kept, which is not the state of the score before."""
    X = counts(np.random.default_rng(12))
    model = LDA(3, solver="scvb0", batch_size=25, random_state=0)
    model.fit(X[:N], X_val=X[N:], early_stopping=1, callback=lambda state: state.n_steps == 3)
    assert model.best_iter_ == 1
    assert model.best_score_ == pytest.approx(model.document_completion(X[N:], random_state=0))


def test_warm_starts_go_on_from_the_bound_of_the_best_pass():
    X = real(np.random.default_rng(15))
    model = fastvi.BayesianGaussianMixture(n_components=8, random_state=0, tol=0, warm_start=True)
    model.fit(X[:N], X_val=X[N:], early_stopping=2)
    assert model.best_iter_ == model.n_iter_ - 2
    assert model._last_bound == model.history_["elbo"][model.best_iter_ - 1]


def test_early_stopping_of_a_search_is_refused():
    X = real(np.random.default_rng(13))
    model = fastvi.SparseGPRegressor(inducing_points=5, max_iter=2)
    with pytest.raises(ValueError, match="early_stopping is 1, but"):
        model.fit(X[:N], X[:N, 0], X_val=X[N:], y_val=X[N:, 0], early_stopping=1)


@pytest.mark.parametrize("name", GAUSSIAN_PROCESSES)
def test_early_stopping_of_gaussian_processes(name):
    rng = np.random.default_rng(14)
    X, y = real(rng), rng.integers(2, size=N + N_HELD_OUT)  # nothing to learn
    model = clone(GAUSSIAN_PROCESSES[name]).set_params(max_iter=400, tol=0)
    model.fit(X[:N], y[:N], X_val=X[N:], y_val=y[N:], early_stopping=2)
    scores = model.history_["held_out"][np.isfinite(model.history_["held_out"])]
    assert model.best_iter_ == len(scores) - 2 == np.argmax(scores) + 1
    assert model.best_score_ == scores.max()
    assert model.n_iter_ == 4 * len(scores) < 400
