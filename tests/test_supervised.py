"""Supervised topics: numbers and labels of documents."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import naive.supervised as naive
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import TopicClassifier, TopicRegressor
from fastvi.kernels import supervised as kernels
from fastvi.models.topics.supervised_responses import Labels, Numbers, SupervisedParameters

FAST: dict[str, Any] = {"max_iter": 5, "random_state": 0}


def simulated(n: int = 200, n_topics: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    """Counts, numbers and labels of documents."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(60, 0.05), n_topics)
    theta = rng.dirichlet(np.full(n_topics, 0.3), n)
    X = np.stack([rng.multinomial(30, p) for p in theta @ topics])
    y = theta @ rng.normal(size=n_topics) * 3 + 0.2 * rng.normal(size=n)
    return X, y, np.array(["a", "b", "c", "d"])[theta.argmax(axis=1)]


# Kernels


def coefficients_and_shares(rng: np.random.Generator) -> tuple[Any, Any]:
    coefficients = np.zeros((3, 8))
    coefficients[:, :5] = 2 * rng.normal(size=(3, 5))
    return coefficients, np.append(rng.dirichlet(np.ones(5)), np.zeros(3))


@pytest.mark.parametrize("n_words", [1, 3])
def test_bounds_are_below_what_they_bound(n_words: int, rng: np.random.Generator) -> None:
    """By enumeration of the words' assignments to five topics."""
    coefficients, _ = coefficients_and_shares(rng)
    b, phi = coefficients[:, :5], rng.dirichlet(np.ones(5), n_words)
    log_label = log_number = 0.0
    for z in itertools.product(range(5), repeat=n_words):
        p = np.prod(phi[np.arange(n_words), list(z)])
        m = np.bincount(z, minlength=5) / n_words
        log_label += p * (b[1] @ m - np.log(np.exp(b @ m).sum()))
        log_number += p * (-0.5 * ((0.7 - b[0] @ m) ** 2 / 0.3 + np.log(2 * np.pi * 0.3)))
    m = phi.mean(axis=0)
    assert naive.label_bound(m, n_words, 1, b) <= log_label + 1e-12
    assert naive.number_bound(m, n_words, 0.7, b[0], 0.3) <= log_number + 1e-12


def test_gradients_are_finite_differences(rng: np.random.Generator) -> None:
    """Of both bounds by a word's assignment, and of the labels' by the coefficients."""
    coefficients, m = coefficients_and_shares(rng)
    length, tops, slope, step = 7.0, coefficients.max(axis=1), np.zeros(8), 1e-6
    scratch = np.empty((3, 8)), np.empty(3), np.empty(3)
    value = kernels._label_response(m, length, 2, coefficients, tops, *scratch, slope)
    assert value == pytest.approx(naive.label_bound(m, length, 2, coefficients), rel=1e-12)

    def of_label(m: Any) -> float:
        return naive.label_bound(m, length, 2, coefficients)

    def of_number(m: Any) -> float:
        return naive.number_bound(m, length, 1.3, coefficients[0], 0.4)

    def differences(function: Any) -> Any:
        moves = step * np.eye(8)[:5] / length  # of an assignment, in the mean
        return [(function(m + d) - function(m - d)) / (2 * step) for d in moves]

    np.testing.assert_allclose(slope[:5], differences(of_label), rtol=1e-5, atol=1e-8)
    value = kernels._number_response(m, length, 1.3, coefficients[0], 0.4, slope)
    assert value == pytest.approx(of_number(m), rel=1e-12)
    np.testing.assert_allclose(slope[:5], differences(of_number), rtol=1e-5, atol=1e-8)
    means, lengths = rng.dirichlet(np.ones(8), 9), np.arange(9.0)
    labels = np.arange(9) % 3
    response = Labels(labels.astype(float), 8, 2.0, 1.5, 3)
    total, gradient = response.value(coefficients, means, lengths, 1)
    wanted = 1.5 * sum(
        naive.label_bound(z, n, c, coefficients)
        for z, n, c in zip(means[1:], lengths[1:], labels[1:])
    )
    wanted += -0.5 * np.sum(coefficients**2 / 2.0 + np.log(2 * np.pi * 2.0))
    assert total == pytest.approx(wanted, rel=1e-12)
    for c, k in itertools.product(range(3), range(8)):
        move = np.zeros((3, 8))
        move[c, k] = step
        up, down = (response.value(coefficients + d, means, lengths, 1)[0] for d in (move, -move))
        assert gradient[c, k] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", ["label", "number"])
def test_documents_equal_their_twins(kind: str, rng: np.random.Generator) -> None:
    dtype = np.float32
    coefficients, _ = coefficients_and_shares(rng)
    indptr = np.array([0, 4, 4, 9])  # the second document is empty
    words, counts = rng.integers(6, size=9).astype(np.int32), rng.integers(1, 4, 9).astype(dtype)
    weights = np.zeros((6, 8), dtype)
    weights[:, :5] = rng.gamma(0.5, size=(6, 5)) + 0.01
    shift = rng.normal(size=6).astype(dtype)
    alpha = np.array([0.3, 0.1, 0.5, 0.2, 0.4, 0, 0, 0], dtype)
    start = np.zeros((3, 8), dtype)
    start[:, :5] = rng.normal(size=(3, 5))
    variance = 0.0 if kind == "label" else 0.3
    targets = np.array([1.0, 0.0, 2.0])
    u, h, ratio, means = start.copy(), np.empty_like(start), np.empty(9, dtype), np.zeros((3, 8))
    report = np.empty((3, 2))
    kernels.supervised_step(
        indptr, words, counts, weights, shift, alpha, 5, targets, coefficients[: 3 if not variance
        else 1], coefficients.max(axis=1), variance, 2.0, 3.0, 6, 0.0, 0, 3, u, h, ratio, means,
        report,
    )  # fmt: skip
    for d in (0, 2):
        slope, scratch = np.zeros(8), (np.empty((3, 8)), np.empty(3), np.empty(3))

        def response(
            m: Any, length: float, d: int = d, slope: Any = slope, s: Any = scratch
        ) -> Any:
            wide = np.append(m, np.zeros(3))
            tops = coefficients.max(axis=1)
            if kind == "label":
                value = kernels._label_response(
                    wide, length, int(targets[d]), coefficients, tops, *s, slope
                )
            else:
                value = kernels._number_response(
                    wide, length, targets[d], coefficients[0], variance, slope
                )
            return 2.0 * value, 2.0 * slope[:5]

        some = slice(indptr[d], indptr[d + 1])
        length = counts[some].sum(dtype=float)
        bound, m, log_h = naive.document(
            words[some], counts[some].astype(float), weights[:, :5].astype(float), shift, alpha[:5],
            response, start[d, :5].astype(float), 1 / (1 + 3.0 / length), 6,
        )  # fmt: skip
        close = {"rtol": 2e-5, "atol": 1e-5}
        np.testing.assert_allclose(report[d, 0], bound, **close)
        np.testing.assert_allclose(means[d, :5], m, **close)
        np.testing.assert_allclose(u[d, :5], log_h, **close)
    assert report[1].tolist() == [0.0, 0.0]
    assert not h[1].any()


def test_the_best_number_regression_is_stationary(rng: np.random.Generator) -> None:
    """Coefficients and variance at which the bound with its prior does not change."""
    means, lengths = rng.dirichlet(np.ones(3), 40), np.full(40, 9.0)
    y = means @ [1.0, -1.0, 2.0] + 0.1 * rng.normal(size=40)
    response = Numbers(y, 3, 5.0, 1.0)
    wide = np.pad(means, ((0, 0), (0, 5)))
    found = response.start(8)
    for _ in range(100):
        found = response.update(SupervisedParameters(np.empty(0), *found), wide, lengths, 1)

    def value(b: Any, variance: float) -> float:
        bound = sum(naive.number_bound(m, 9.0, t, b, variance) for m, t in zip(means, y))
        return bound - 0.5 * float(b @ b) / 5.0

    b, variance = found[0][0, :3], float(found[1][0])
    best = value(b, variance)
    for move in 1e-4 * np.eye(3):
        assert max(value(b + move, variance), value(b - move, variance)) <= best
    assert max(value(b, variance * 1.01), value(b, variance / 1.01)) <= best


# Estimators


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_the_bound_never_falls(weight: float) -> None:
    X, y, labels = simulated()
    for model, targets in ((TopicRegressor, y), (TopicClassifier, labels)):
        fitted = model(4, response_weight=weight, tol=0.0, max_iter=12, random_state=0)
        bounds = fitted.fit(X.astype(float), targets).history_["elbo"]
        assert np.diff(bounds).min() > -1e-6 * abs(bounds[-1])


def test_predictions() -> None:
    X, y, labels = simulated(300)
    number = TopicRegressor(4, random_state=0).fit(X[:200], y[:200])
    assert number.score(X[200:], y[200:]) > 0.8
    assert number.noise_variance_ < 0.5
    np.testing.assert_allclose(number.coef_.min(), number.predict(X).min(), atol=2.0)
    model = TopicClassifier(4, random_state=0).fit(X[:200], labels[:200])
    assert model.score(X[200:], labels[200:]) > 0.8
    p = model.predict_proba(X[200:])
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert model.classes_[p.argmax(axis=1)].tolist() == model.predict(X[200:]).tolist()
    assert model.coef_.shape == (4, 4)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X[200:])), p)
    np.testing.assert_allclose(model.transform(X).sum(axis=1), 1.0, rtol=1e-5)
    assert model.document_completion(X[200:], random_state=0) < 0


def test_units_of_numbers_do_not_matter() -> None:
    X, y, _ = simulated(60)
    one = TopicRegressor(3, **FAST).fit(X, y).predict(X)
    other = TopicRegressor(3, **FAST).fit(X, 1e6 + 50 * y).predict(X)
    np.testing.assert_allclose(other, 1e6 + 50 * one, rtol=1e-8)
    constant = TopicRegressor(3, **FAST).fit(X, np.full(60, 7.0))
    np.testing.assert_allclose(constant.predict(X), 7.0)


def test_empty_documents() -> None:
    X, y, labels = simulated(60)
    X = X.copy()
    X[:5] = 0
    model = TopicClassifier(3, **FAST).fit(X, labels)
    assert np.ptp(model.predict_proba(X[:5]), axis=0).max() == 0
    assert np.isfinite(TopicRegressor(3, **FAST).fit(X, y).predict(X)).all()


def test_held_out_labels(tmp_path: Path) -> None:
    X, _, labels = simulated(120)
    model = TopicClassifier(3, **FAST)
    model.fit(X[:80], labels[:80], X_val=X[80:], y_val=labels[80:])
    logs = model.predict_log_proba(X[80:])
    wanted = logs[np.arange(40), np.searchsorted(model.classes_, labels[80:])].mean()
    assert model.history_["held_out"][-1] == pytest.approx(wanted)
    model.fit(X[:80], labels[:80], X_val=X[80:], y_val=labels[80:], early_stopping=1)
    assert model.best_score_ == model.history_["held_out"].max()


def test_threads_files_and_kinds_of_input_change_no_bit(tmp_path: Path) -> None:
    X, y, labels = simulated(80)
    for model, targets in ((TopicRegressor, y), (TopicClassifier, labels)):
        one = model(3, **FAST, n_jobs=1).fit(X, targets)
        two = model(3, **FAST, n_jobs=2).fit(sp.csr_array(X), targets)
        np.testing.assert_array_equal(one.components_, two.components_)
        np.testing.assert_array_equal(one.coef_, two.coef_)
        one.save(tmp_path / "m.npz")
        loaded = fastvi.load(tmp_path / "m.npz")
        assert loaded.predict(X).tolist() == one.predict(X).tolist()
        assert loaded.elbo_ == one.elbo_


@pytest.mark.parametrize(
    ("model", "y", "options", "message"),
    [
        (TopicRegressor, [1.0, np.nan], {}, "y holds NaN or infinity in row 1"),
        (TopicRegressor, ["a", "b"], {}, "y holds 'a'; wanted numbers"),
        (TopicRegressor, [1.0], {}, "y has 1 entries; wanted 2, the rows of X"),
        (TopicRegressor, None, {}, "requires y to be passed"),
        (TopicClassifier, ["a", "a"], {}, "only one class is present"),
        (TopicClassifier, ["a", "b"], {"response_weight": -1}, "response_weight is -1"),
        (TopicClassifier, ["a", "b"], {"prior_variance": 0}, "prior_variance is 0"),
        (TopicClassifier, ["a", "b"], {"n_components": 99}, "more than the 5 tokens in X"),
    ],
)
def test_bad_calls_are_refused(model: Any, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**{"n_components": 2} | options).fit([[1, 2], [2, 0]], y)


def test_labels_of_other_data() -> None:
    X, _, labels = simulated(40)
    with pytest.raises(ValueError, match="y_val holds 'z'; wanted labels of y"):
        TopicClassifier(2, **FAST).fit(X, labels, X_val=X[:2], y_val=["a", "z"])
    with pytest.raises(AttributeError, match="coef_ is available only after fit"):
        _ = TopicRegressor().coef_


@parametrize_with_checks([TopicClassifier(2, max_iter=3), TopicRegressor(2, max_iter=3)])
@pytest.mark.jit
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
def test_newsgroups(data_dir: Path) -> None:
    """Labels are predicted better than by a regression on topics that do not know them."""
    archive = np.load(data_dir / "text" / "news20.npz")
    shape = tuple(archive["shape"])
    X = sp.csr_matrix((archive["data"], archive["indices"], archive["indptr"]), shape=shape)
    order = np.random.default_rng(0).permutation(shape[0])
    train, test, y = order[:4000], order[4000:6000], archive["label"]
    lda = fastvi.LatentDirichletAllocation(
        10, learn_doc_topic_prior=True, learn_topic_word_prior=True, random_state=0
    )
    shares = lda.fit_transform(X[train])
    regression = LogisticRegression(C=10, max_iter=300).fit(shares, y[train])
    base = regression.score(lda.transform(X[test]), y[test])
    model = TopicClassifier(10, random_state=0).fit(X[train], y[train])
    assert model.score(X[test], y[test]) > base + 0.02
