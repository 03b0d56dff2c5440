"""Correlated and structural topics: against quadrature, twins, simulations and broken input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from naive import correlated as naive
from numpy.polynomial.hermite_e import hermegauss
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import CorrelatedTopicModel
from fastvi.kernels import correlated as kernels
from fastvi.models.topics.correlated_fitted import CorrelatedTopics
from fastvi.models.topics.correlated_model import (
    CorrelatedParameters,
    LogisticNormal,
    Moments,
    centred,
)
from fastvi.models.topics.correlated_simulated import Refits, simulated
from fastvi.models.topics.covariates import Covariates

pytestmark = pytest.mark.jit
SHORT = {"n_components": 3, "max_iter": 3, "random_state": 0}


def some_documents(rng, n_words=30, sizes=(1, 4, 12, 0, 20)):
    """CSR arrays of documents with so many distinct words."""
    words = [np.sort(rng.choice(n_words, n, replace=False)) for n in sizes]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    indices = np.concatenate(words).astype(np.int32)
    return indptr, indices, rng.integers(1, 6, len(indices)).astype(np.float32)


def topics(rng, n_topics=5, n_words=30, bound=False):
    """Fitted topics, with a random covariance."""
    table = np.zeros((n_words, 8), np.float32)
    table[:, :n_topics] = 1000 * (rng.dirichlet(np.full(n_words, 0.3), n_topics).T + 1e-4)
    root = rng.normal(size=(n_topics, n_topics))
    covariance = root @ root.T / n_topics + 0.3 * np.eye(n_topics)
    mean = rng.normal(size=(1, n_topics))
    return CorrelatedTopics(
        CorrelatedParameters(table, mean, covariance, np.zeros_like(covariance)), bound
    )


def parts_of_documents(topics, documents):
    """For each document its mean, precision, weights and counts, as the twins take them."""
    indptr, indices, counts = documents
    mean, precision = topics.params.coefficients[0], np.linalg.inv(topics.params.covariance)
    for a, b in itertools.pairwise(indptr):
        weights = topics.weights[indices[a:b], : topics.n_topics].astype(np.float64)
        yield mean, precision, weights, counts[a:b].astype(np.float64)


@pytest.mark.parametrize("bound", [False, True])
def test_documents_equal_their_twins(bound, rng):
    fitted, documents = topics(rng, bound=bound), some_documents(rng)
    found = fitted.infer(documents, np.ones((5, 1)))
    twin = naive.maximum_of_bound if bound else naive.laplace
    for d, arguments in enumerate(parts_of_documents(fitted, documents)):
        eta, covariance, evidence = twin(*arguments)
        np.testing.assert_allclose(found.eta[d, :5], eta, atol=0.01)
        np.testing.assert_allclose(found.variances[d, :5], np.diag(covariance), rtol=0.03)
        assert found.evidence[d] == pytest.approx(evidence, abs=0.01)
        at = eta + 0.5 * np.diag(covariance) if bound else eta
        np.testing.assert_allclose(found.theta[d, :5], softmax(at), atol=0.005)


def test_slope_and_curvature_of_the_twin(rng):
    """Against differences of its log density, also of words' curvature."""
    fitted, documents = topics(rng), some_documents(rng)
    arguments = list(parts_of_documents(fitted, documents))[2]
    eta, h = rng.normal(size=5), 1e-5
    steps = h * np.eye(5)

    def slope(x):
        return naive.slope(x, *arguments)

    values = [naive.log_joint(eta + s * step, *arguments) for step in steps for s in (1, -1)]
    np.testing.assert_allclose(slope(eta), -np.diff(values)[::2] / (2 * h), rtol=1e-6)
    found = naive.curvature(eta, *arguments[1:])
    differences = [(slope(eta + step) - slope(eta - step)) / (2 * h) for step in steps]
    np.testing.assert_allclose(-found, differences, rtol=1e-5, atol=1e-6)


def quadrature(mean, precision, weights, counts):
    """Log evidence of two topics, and expected proportions."""
    covariance = np.linalg.inv(precision)
    difference = np.array([1.0, -1.0])  # the only direction that proportions depend on
    x, w = hermegauss(120)
    along = difference @ mean + np.sqrt(difference @ covariance @ difference) * x
    theta = 1 / (1 + np.exp(-along))
    values = counts @ np.log(np.outer(weights[:, 0], theta) + np.outer(weights[:, 1], 1 - theta))
    mass = w / w.sum() * np.exp(values - values.max())
    return values.max() + np.log(mass.sum()), mass @ theta / mass.sum()


def test_two_topics_by_quadrature(rng):
    """The bound is one, and Laplace's approximation is close with some forty tokens."""
    documents = some_documents(rng, sizes=(1, 4, 14, 0, 20))
    for bound in (False, True):
        fitted = topics(np.random.default_rng(1), n_topics=2, bound=bound)
        found = fitted.infer(documents, np.ones((5, 1)))
        for d, arguments in enumerate(parts_of_documents(fitted, documents)):
            exact, theta = quadrature(*arguments)
            assert found.evidence[d] < exact + 1e-4 if bound else True
            assert found.evidence[d] == pytest.approx(exact, abs=4.0 if bound else 0.15)
            assert found.theta[d, 0] == pytest.approx(theta, abs=0.1)


def test_a_sweep_equals_its_twin(rng):
    """Topics see each token without itself, and the padding stays out."""
    fitted, (indptr, indices, counts) = topics(rng), some_documents(rng)
    counts[0] = 0.5
    n, k, table = len(indices), 5, fitted.params.table
    precision = np.linalg.inv(fitted.params.covariance)
    inverse = np.zeros(8, np.float32)
    inverse[:k] = 1 / table[:, :k].sum(axis=0)
    means = np.zeros((5, 8), np.float32)
    means[:, :k] = rng.normal(size=(5, k))
    g = np.zeros((n, 8), np.uint16)
    g[:, :k] = rng.dirichlet(np.ones(k), n) * 65535
    wide = np.eye(8, dtype=np.float32)
    wide[:k, :k] = precision
    eta, variances, spread = means.copy(), np.zeros_like(means), np.zeros((8, 8), np.float32)
    twin_eta, twin_g = means[:, :k].astype(float), g[:, :k].astype(float)
    theta, report = np.empty_like(means), np.empty((5, 3))
    kernels.fit_documents(
        indptr, indices, counts, table, inverse, np.float32(0.05), wide, means, k, 1,
        np.float32(0), False, True, kernels.KNOWN, 0, 5, eta, variances, theta, g, spread, report,
    )  # fmt: skip
    documents = [
        (indices[a:b], counts[a:b].astype(float), np.arange(a, b))
        for a, b in itertools.pairwise(indptr)
    ]
    wanted, likelihood = naive.sweep(
        documents, table[:, :k].astype(float), inverse[:k].astype(float), 0.05, precision,
        twin_eta.copy(), twin_eta, twin_g,
    )  # fmt: skip
    np.testing.assert_allclose(eta[:, :k], twin_eta, atol=1e-3)
    np.testing.assert_allclose(np.triu(spread)[:k, :k], np.triu(wanted), rtol=0.02, atol=1e-3)
    assert np.abs(g[:, :k] - twin_g).max() < 30
    assert not np.any(g[:, k:])
    assert report[:, 0].sum() == pytest.approx(likelihood, rel=1e-4)


# --- simulations ----------------------------------------------------------------------------------


def simulate(rng, n_documents, length, mean, covariance, n_words=60):
    """Counts of documents whose log weights are N(mean, covariance), and the topics."""
    k = len(covariance)
    eta = mean + rng.multivariate_normal(np.zeros(k), covariance, n_documents)
    beta = rng.dirichlet(np.full(n_words, 0.1), k)
    return rng.multinomial(length, softmax(eta, axis=1) @ beta), beta


def matched(model, beta):
    """The fitted topic for each true one."""
    from scipy.optimize import linear_sum_assignment

    found = model.components_ / model.components_.sum(axis=1, keepdims=True)
    distances = np.abs(beta[:, None] - found[None]).sum(axis=2)
    return linear_sum_assignment(distances)[1]


def test_correlations_of_a_simulated_covariance():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    covariance = centred(root @ root.T / 5 + 0.5 * np.eye(5))
    X, beta = simulate(rng, 2000, 150, np.zeros(5), covariance, n_words=200)
    model = CorrelatedTopicModel(5, random_state=0).fit(X)
    order = matched(model, beta)
    scale = np.sqrt(np.diag(covariance))
    found = model.correlation_[np.ix_(order, order)]
    np.testing.assert_allclose(found, covariance / np.outer(scale, scale), atol=0.1)


def coverage(seeds, n_documents, n_simulations=8):
    """Share of coefficients within two standard errors of those that data were made from."""
    inside = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        Z = rng.normal(size=(n_documents, 2))
        true = rng.normal(size=(4, 2))
        true -= true.mean(axis=0)
        X, beta = simulate(rng, n_documents, 150, Z @ true.T, 0.5 * np.eye(4), n_words=200)
        model = CorrelatedTopicModel(4, n_simulations=n_simulations, random_state=0)
        model.fit(X, covariates=Z)
        order = matched(model, beta)
        error = np.abs(model.coef_[order] - true) / model.coef_standard_errors_[order]
        inside.append(error < 2)
    return np.mean(inside)


def test_documents_simulated_from_a_fit(rng):
    """Lengths are kept, and words have the frequencies of the model."""
    topics = rng.dirichlet(np.full(6, 0.5), 3)
    means, lengths = np.tile([0.0, 1.0, -1.0], (3000, 1)), np.array([0.0, 7.0, 20.0] * 1000)
    covariance = 0.3 * np.eye(3)
    (indptr, indices, counts), tokens = simulated(topics, means, covariance, lengths, rng)
    dense = csr_array((counts, indices, indptr), (3000, 6)).toarray()
    np.testing.assert_array_equal(dense.sum(axis=1), lengths)
    np.testing.assert_array_equal(tokens.sum(axis=1), lengths)
    eta = means[:1] + rng.normal(size=(20_000, 3)) * np.sqrt(0.3)
    expected = softmax(eta, axis=1).mean(axis=0)
    np.testing.assert_allclose(tokens.sum(axis=0) / lengths.sum(), expected, atol=0.02)
    frequencies = dense.sum(axis=0) / lengths.sum()
    np.testing.assert_allclose(frequencies, expected @ topics, atol=0.02)


def test_fits_to_simulated_documents_correct_coefficients():
    """A bias is taken out, and spread in excess of that expected makes variances larger."""
    truth = np.array([[0.0, 0.0], [1.0, -1.0]])
    params = CorrelatedParameters(np.ones((4, 8), np.float32), truth, np.eye(2), np.eye(2))
    found = Refits(np.array([0.7 * truth, 0.9 * truth]), np.array([0.5 * np.eye(2)] * 2))
    better = found.correct(params)
    np.testing.assert_allclose(better.coefficients, 1.2 * truth)
    np.testing.assert_allclose(better.covariance, 2.0 * np.eye(2))
    assert found.inflation(np.array([[0.005, 0.005]])) == pytest.approx(4 * 1.5)
    assert found.inflation(np.array([[0.5, 0.5]])) == 1.5


def test_coefficients_of_simulated_covariates():
    assert coverage(range(3), 400, n_simulations=3) >= 0.8


@pytest.mark.slow
def test_coefficients_of_many_simulations():
    assert coverage(range(100), 1000) >= 0.9


# --- the estimator --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Counts of 60 documents of 12 words, a number and a label."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1.0, 60)
    topics = np.kron(np.eye(3), np.full(4, 0.25))
    theta = softmax(np.stack([4 * x, 4 * (1 - x), np.ones(60)], axis=1), axis=1)
    X = rng.multinomial(30, theta @ topics)
    return X, {"x": x, "label": np.array(["a", "b", "c"])[rng.integers(0, 3, 60)]}


@pytest.fixture(scope="module")
def fitted(data):
    X, covariates = data
    return CorrelatedTopicModel(**SHORT).fit(X, covariates=covariates)


@pytest.mark.filterwarnings("ignore:y is ignored")
@parametrize_with_checks([CorrelatedTopicModel(2, max_iter=2)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["laplace", "bound"])
def test_threads_and_seeds_change_no_bit(solver, data, monkeypatch):
    from fastvi.models.topics import correlated_model

    monkeypatch.setattr(correlated_model, "CHUNK_WORK", 2000)
    X, covariates = data
    found = set()
    for n_jobs in (1, 2, 8):
        model = CorrelatedTopicModel(solver=solver, n_jobs=n_jobs, **SHORT)
        model.fit(X, covariates=covariates)
        parts = (
            model.components_,
            model.covariance_,
            model.coef_,
            model.transform(X, covariates=covariates),
        )
        found.add(b"".join(part.tobytes() for part in parts))
    assert len(found) == 1


def test_files_and_checkpoints(data, fitted, tmp_path):
    X, covariates = data
    path = tmp_path / "model.npz"
    fitted.save(path)
    loaded = fastvi.load(path)
    assert loaded.get_params() == fitted.get_params()
    for model in (loaded, fitted):
        theta = model.transform(X, covariates=covariates)
        assert theta.tobytes() == fitted.transform(X, covariates=covariates).tobytes()
    assert loaded.effect_of("label").values == ["a", "b", "c"]
    changed = fastvi.load(path).set_params(solver="bound", n_components=7)  # for the next fit
    changed.save(tmp_path / "changed.npz")
    theta = fastvi.load(tmp_path / "changed.npz").transform(X, covariates=covariates)
    assert theta.tobytes() == fitted.transform(X, covariates=covariates).tobytes()
    np.testing.assert_array_equal(loaded.coef_standard_errors_, fitted.coef_standard_errors_)
    checkpoint = tmp_path / "fit.npz"
    model = CorrelatedTopicModel(**SHORT)
    stop = model.fit(
        X, covariates=covariates, checkpoint=checkpoint, callback=lambda state: state.epoch == 2
    )
    assert stop.n_iter_ == 2
    model.fit(X, covariates=covariates, checkpoint=checkpoint, resume=True)
    assert model.components_.tobytes() == fitted.components_.tobytes()
    with pytest.raises(ValueError, match="another fit"):
        model.fit(X, covariates={"x": covariates["x"]}, checkpoint=checkpoint, resume=True)


def test_effects_and_scores(data, fitted):
    X, covariates = data
    assert fitted.covariate_names_ == ["x", "label=a", "label=b", "label=c"]
    assert fitted.coef_.shape == fitted.coef_standard_errors_.shape == (3, 4)
    np.testing.assert_allclose(fitted.coef_[:, 1:].sum(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(fitted.coef_.sum(axis=0), 0.0, atol=1e-5)
    effect = fitted.effect_of("x", [0.0, 1.0])
    np.testing.assert_allclose(effect.proportions.sum(axis=1), 1.0)
    assert effect.standard_errors.shape == (2, 3)
    assert np.abs(effect.proportions[1] - effect.proportions[0]).max() > 0.2
    assert len(fitted.effect_of(0).values) == 5
    np.testing.assert_allclose(np.diag(fitted.correlation_), 1.0)
    assert fitted.score(X, covariates=covariates) < 0
    assert -4 < fitted.document_completion(X, covariates=covariates, random_state=0) < 0
    empty = fitted.transform(np.zeros((1, 12)), covariates={"x": [0.5], "label": ["a"]})
    np.testing.assert_allclose(empty.sum(), 1.0, rtol=1e-5)
    assert [len(words) for words in fitted.top_words(4)] == [4, 4, 4]


def test_early_stopping_and_one_topic(data):
    X, covariates = data
    table = np.column_stack([covariates["x"], covariates["x"] ** 2])
    model = CorrelatedTopicModel(3, max_iter=4, tol=0, random_state=0).fit(
        X, covariates=table, X_val=X, covariates_val=table, early_stopping=1
    )
    assert model.best_score_ == model.history_["held_out"].max()
    assert model.covariate_names_ == ["x0", "x1"]
    one = CorrelatedTopicModel(1, max_iter=2, random_state=0).fit(X, covariates=table)
    np.testing.assert_allclose(one.transform(X, covariates=table), 1.0, rtol=1e-5)
    assert one.coef_standard_errors_.shape == (1, 2)


def test_streams(data, tmp_path):
    """A stream ends near a fit to all; a failure changes nothing; files keep the stream."""
    X, covariates = data
    order = np.random.default_rng(1).permutation(60)
    parts = [{name: np.asarray(v)[some] for name, v in covariates.items()} | {"X": X[some]}
             for some in np.split(order, [30, 45])]  # fmt: skip
    model = CorrelatedTopicModel(**SHORT)
    for part in parts:
        part = dict(part)
        model.partial_fit(part.pop("X"), covariates=part)
    assert model._stream.n_rows == 60
    whole = CorrelatedTopicModel(**SHORT).fit(X, covariates=covariates)
    scores = [m.document_completion(X, covariates=covariates, random_state=0)
              for m in (model, whole)]  # fmt: skip
    assert scores[0] > scores[1] - 0.05
    assert model.components_.sum() > 0.4 * X.sum()
    before = model.components_.copy()
    with pytest.raises(ValueError, match="n_components is 4; the topics to continue from are 3"):
        model.set_params(n_components=4).partial_fit(X, covariates=covariates)
    np.testing.assert_array_equal(model.components_, before)
    model.set_params(n_components=3).save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz").partial_fit(X, covariates=covariates)
    model.partial_fit(X, covariates=covariates)
    assert again.components_.tobytes() == model.components_.tobytes()
    assert again.coef_.tobytes() == model.coef_.tobytes()


def test_graph_of_topics(data, fitted, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    fastvi.plots.plot_topic_graph(fitted, tmp_path / "graph.svg", least=0.0)
    text = (tmp_path / "graph.svg").read_text()
    assert text.count("<path") > 3


BAD = {
    "constant": ({"x": np.ones(60)}, "column 'x' is 1.0 for every document"),
    "collinear": (
        np.column_stack([np.arange(60), 2 * np.arange(60) + 1]),
        "column 'x1' is a linear combination of those before it",
    ),
    "nan": (np.full(60, np.nan), "column 'x0' holds nan in row 0; wanted finite numbers"),
    "missing": ({"x": [np.nan] * 60}, "column 'x' has no value in row 0"),
    "none": ({"x": ["a"] * 59 + [None]}, "column 'x' has no value in row 59"),
    "mixed": ({"x": [1.0] * 59 + ["a"]}, "column 'x' must hold numbers only, or strings only"),
    "length": ({"x": np.arange(59)}, "column 'x' has 59 rows; wanted 60"),
    "empty": ({}, "covariates has no columns"),
    "dates": ({"x": np.arange(60).astype("M8[s]")}, "wanted numbers or strings"),
    "huge": (np.arange(60) * 1e300, "column 'x0' holds numbers too large or too small"),
    "tiny": (np.arange(60) * 1e-300, "column 'x0' holds numbers too large or too small"),
    "cube": (np.zeros((60, 1, 1)), "covariates has 3 dimensions"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_covariates_are_refused(name, data):
    covariates, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        CorrelatedTopicModel(**SHORT).fit(data[0], covariates=covariates)


def test_bad_calls_are_refused(data, fitted):
    X, covariates = data
    new = {"x": covariates["x"], "label": ["z"] * 60}
    with pytest.raises(
        ValueError, match="'label' holds 'z' in row 0, a level that was not in the training data"
    ):
        fitted.transform(X, covariates=new)
    with pytest.raises(ValueError, match="covariates is missing; the fit had the columns 'x'"):
        fitted.transform(X)
    with pytest.raises(ValueError, match="has the columns 'x'; wanted 'x', 'label'"):
        fitted.transform(X, covariates={"x": covariates["x"]})
    with pytest.raises(ValueError, match="column 'x' holds labels; wanted numbers"):
        fitted.transform(X, covariates=new | {"x": ["b"] * 60})
    with pytest.raises(ValueError, match="column is 'y'; wanted one of 'x', 'label'"):
        fitted.effect_of("y")
    for column in (2, -1, 0.5, True):
        with pytest.raises(ValueError, match=r"column is .*; wanted an integer from 0 to 1"):
            fitted.effect_of(column)
    for column, values, message in (
        ("x", 3.0, "values has 0 dimensions; wanted a list of values"),
        ("x", [np.nan], "values has no value in row 0"),
        ("x", ["z"], "values: column 'x' holds labels; wanted numbers"),
        ("label", [1], "values: column 'label' holds numbers; wanted labels"),
        ("label", ["z"], "values: column 'label' holds 'z' in row 0, a level"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.effect_of(column, values)
    plain = CorrelatedTopicModel(**SHORT).fit(X)
    with pytest.raises(ValueError, match="covariates is given; the fit had none"):
        plain.transform(X, covariates=covariates)
    with pytest.raises(ValueError, match="column is 'x'; the fit had no covariates"):
        plain.effect_of("x")
    for options, message in (
        ({"solver": "em"}, "solver is 'em'"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"prior_variance": -1}, "prior_variance is -1"),
        ({"prior_dof": 0}, "prior_dof is 0"),
        ({"n_simulations": -1}, "n_simulations is -1"),
        ({"topic_word_prior": 0}, "topic_word_prior is 0"),
        ({"n_components": 10**6}, "more than the 1800 tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            CorrelatedTopicModel(**(SHORT | options)).fit(X)
    with pytest.raises(ValueError, match="covariates_val is given without X_val"):
        CorrelatedTopicModel(**SHORT).fit(X, covariates=covariates, covariates_val=covariates)
    with pytest.warns(UserWarning, match="y is ignored; pass covariates"):
        CorrelatedTopicModel(**SHORT).fit(X, covariates["x"])
    with pytest.raises(ValueError, match="every document is empty"):
        CorrelatedTopicModel(**SHORT).fit(np.zeros((3, 4)))
    with pytest.raises(NotFittedError):
        CorrelatedTopicModel().transform(X)
    with pytest.raises(AttributeError, match="coef_ is available only after fit"):
        _ = CorrelatedTopicModel().coef_


def test_the_prior_gives_the_free_direction_the_mean_variance():
    np.testing.assert_allclose(centred(np.eye(4)), np.eye(4), atol=1e-12)
    prior = LogisticNormal(1.0, 1e9)
    eta = np.random.default_rng(0).normal(size=(9, 4))
    found = prior.update(Moments.of(np.ones((9, 1)), eta, np.zeros((4, 4))))[1]
    np.testing.assert_allclose(found, np.eye(4), atol=1e-6)


def test_columns_survive_a_file():
    table = {"x": [1.0, 2.0, 4.0], "label": ["u", "v", "u"]}
    learned, design = Covariates.of(table, 3)
    again = Covariates.from_json(learned.to_json(), "file")
    assert again == learned
    np.testing.assert_array_equal(again.design(table, 3), design)
