"""The estimator as scikit-learn's users know theirs, and as they would break it."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn.decomposition
from naive import lda as naive
from simulated import Simulated, best_match, simulate
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from tolerances import assert_never_falls

import fastvi
from fastvi import LatentDirichletAllocation as LDA
from fastvi.core import LazyTable

SOLVERS = ["scvb0", "cvb0", "svi", "vb"]
CSR = scipy.sparse.csr_array

pytestmark = pytest.mark.jit


@pytest.fixture(scope="module")
def data() -> Simulated:
    return simulate()


@pytest.fixture(scope="module")
def X(data: Simulated) -> Any:
    return data.counts


@pytest.fixture(scope="module", params=SOLVERS)
def fitted(request: pytest.FixtureRequest, X: Any) -> LDA:
    """One fit a solver, in float64; not to be changed."""
    return LDA(4, solver=request.param, random_state=0).fit(X.astype(np.float64))


def empty_at(X: Any, rows: list[int]) -> Any:
    """X with some documents empty."""
    keep = np.ones(X.shape[0])
    keep[rows] = 0
    result = CSR(scipy.sparse.diags_array(keep) @ X)
    result.eliminate_zeros()
    return result


def same(a: LDA, b: LDA) -> bool:
    return a.components_.tobytes() == b.components_.tobytes()


# --- scikit-learn's rules -----------------------------------------------------------------------


@parametrize_with_checks([LDA(4, max_iter=3)])
def test_scikit_learn_checks(estimator: LDA, check: Any) -> None:
    if getattr(check, "func", check).__name__ == "check_array_api_input":
        pytest.skip("wants SCIPY_ARRAY_API=1 set before SciPy is imported")
    check(estimator)


@parametrize_with_checks([LDA(4, solver=solver, max_iter=3) for solver in SOLVERS])
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator: LDA, check: Any) -> None:
    test_scikit_learn_checks(estimator, check)


def test_constructor_takes_the_names_of_scikit_learn() -> None:
    theirs = sklearn.decomposition.LatentDirichletAllocation().get_params()
    ours = LDA().get_params()
    assert sorted(set(theirs) - set(ours)) == []


def test_pipeline_after_a_vectorizer() -> None:
    rng = np.random.default_rng(1)
    themes = [["cat", "dog", "pet", "fur"], ["star", "moon", "sky", "night"]]
    labels = rng.integers(2, size=80)
    texts = [" ".join(rng.choice(themes[label], 12)) for label in labels]
    lda = LDA(2, random_state=0)
    pipeline = make_pipeline(CountVectorizer(), lda, LogisticRegression())
    assert pipeline.fit(texts, labels).score(texts, labels) == 1.0
    assert list(pipeline[:-1].get_feature_names_out()) == [
        "latentdirichletallocation0",
        "latentdirichletallocation1",
    ]


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_grid_search(X: Any, n_jobs: int) -> None:
    """With two processes as well; the best of three numbers of topics is the same."""
    search = GridSearchCV(
        LDA(random_state=0, max_iter=5), {"n_components": [1, 4]}, cv=2, n_jobs=n_jobs
    )
    search.fit(X)
    assert search.best_params_ == {"n_components": 4}
    alone = LDA(4, random_state=0, max_iter=5).fit(X)
    assert same(search.best_estimator_, alone)


def test_clone_is_unfitted(fitted: LDA, X: Any) -> None:
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        twin.transform(X)
    assert not hasattr(twin, "components_")
    assert same(twin.fit(X.astype(np.float64)), fitted)


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
def test_copies_have_the_same_bits(fitted: LDA, X: Any, tmp_path: Path, how: str) -> None:
    if how == "pickle":
        twin = pickle.loads(pickle.dumps(fitted))
    elif how == "joblib":
        joblib.dump(fitted, tmp_path / "lda.joblib")
        twin = joblib.load(tmp_path / "lda.joblib")
    else:
        twin = copy.deepcopy(fitted)
    assert same(twin, fitted)
    assert twin.transform(X).tobytes() == fitted.transform(X).tobytes()
    assert twin.perplexity(X) == fitted.perplexity(X)
    assert twin.get_params() == fitted.get_params()


def test_pandas(X: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    words = [f"word{v}" for v in range(X.shape[1])]
    frame = pandas.DataFrame(X.toarray(), columns=words)
    lda = LDA(3, random_state=0, max_iter=2).set_output(transform="pandas")
    theta = lda.fit_transform(frame)
    assert list(theta.columns) == list(lda.get_feature_names_out())
    assert list(lda.feature_names_in_) == words
    plain = LDA(3, random_state=0, max_iter=2).fit_transform(X)
    np.testing.assert_array_equal(theta.to_numpy(), plain)
    with pytest.raises(ValueError, match="feature names should match"):
        lda.transform(frame.rename(columns={"word0": "other"}))


# --- what goes in -------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(X: Any, solver: str, dtype: Any) -> None:
    lda = LDA(3, solver=solver, random_state=0, max_iter=2).fit(X.astype(dtype))
    assert lda.components_.dtype == dtype
    assert lda.exp_dirichlet_component_.dtype == dtype
    for other in (X, X.astype(np.float32), X.astype(np.float64)):
        assert lda.transform(other).dtype == dtype
    assert lda.transform(X, normalize=False).dtype == dtype


FORMS = {
    **{np.dtype(dtype).name: lambda X, dtype=dtype: X.astype(dtype) for dtype in
       ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "g")},
    "int64 indices": lambda X: with_index(X.astype("f4"), np.int64),
    "matrix": lambda X: scipy.sparse.csr_matrix(X),
    "csc": lambda X: scipy.sparse.csc_array(X),
    "coo": lambda X: scipy.sparse.coo_array(X),
    "dense": lambda X: X.toarray(),
    "dense float16": lambda X: X.toarray().astype(np.float16),
    "Fortran order": lambda X: np.asfortranarray(X.toarray()),
    "lists": lambda X: X.toarray().tolist(),
    "read-only": lambda X: read_only(X.astype("f4")),
    "unsorted": lambda X: unsorted(X),
    "duplicates": lambda X: doubled(X),
    "stored zeros": lambda X: with_zeros(X),
}  # fmt: skip


def with_index(X: Any, dtype: Any) -> Any:
    X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
    return X


def read_only(X: Any) -> Any:
    for array in (X.data, X.indices, X.indptr):
        array.setflags(write=False)
    return X


def rows_apart(X: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    ends = X.indptr
    return [(X.indices[a:b], X.data[a:b]) for a, b in pairwise(ends)]


def together(rows: list[tuple[Any, Any]], shape: tuple[int, int]) -> Any:
    indptr = np.concatenate([[0], np.cumsum([len(words) for words, _ in rows])])
    words, counts = (np.concatenate(parts) for parts in zip(*rows))
    return CSR((counts, words, indptr), shape=shape)


def unsorted(X: Any) -> Any:
    return together([(words[::-1], counts[::-1]) for words, counts in rows_apart(X)], X.shape)


def doubled(X: Any) -> Any:
    """Each count as two entries."""
    rows = [
        (np.concatenate([words, words]), np.concatenate([counts // 2, counts - counts // 2]))
        for words, counts in rows_apart(X)
    ]
    return together(rows, X.shape)


def with_zeros(X: Any) -> Any:
    dense = X.toarray()
    words = np.arange(X.shape[1])
    return together([(words, row) for row in dense], X.shape)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_counts(X: Any, form: str) -> None:
    given = FORMS[form](X)
    before = pickle.dumps(given)
    wanted = LDA(3, random_state=0, max_iter=2).fit(X)
    lda = LDA(3, random_state=0, max_iter=2).fit(given)
    if form == "lists":  # float64: other roundings
        np.testing.assert_allclose(lda.components_, wanted.components_, rtol=1e-3, atol=1e-3)
    else:
        assert same(lda, wanted)
        assert lda.transform(given).tobytes() == wanted.transform(X).tobytes()
    assert pickle.dumps(given) == before


def test_booleans(X: Any) -> None:
    lda = LDA(3, random_state=0, max_iter=2)
    wanted = (X > 0).astype(np.int8)
    assert same(clone(lda).fit(X.astype(bool)), clone(lda).fit(wanted))


@pytest.mark.parametrize("solver", SOLVERS)
def test_empty_documents_get_the_prior(X: Any, solver: str) -> None:
    alpha = np.array([0.1, 0.2, 0.3, 0.4])
    lda = LDA(4, doc_topic_prior=alpha, solver=solver, random_state=0)
    theta = lda.fit_transform(empty_at(X, [0, 7, 199]))
    np.testing.assert_allclose(theta[[0, 7, 199]], np.tile(alpha, (3, 1)), rtol=1e-5)
    np.testing.assert_allclose(theta.sum(axis=1), 1.0, rtol=1e-5)
    theta = lda.transform(np.zeros((2, X.shape[1])))
    np.testing.assert_allclose(theta, np.tile(alpha, (2, 1)), rtol=1e-5)
    assert np.isnan(lda.perplexity(np.zeros((2, X.shape[1]))))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("counts", "n_components"),
    [
        ([[3, 0, 2]], 2),  # one document
        ([[3], [1], [0]], 2),  # one word
        ([[1]], 1),
        ([[2, 1, 0], [0, 1, 4]], 1),
        ([[2, 1, 0], [0, 1, 4]], 8),  # as many topics as tokens
        ([[10**12, 1, 0], [0, 3, 10**14]], 2),
        ([[0.3, 1.2, 0.0], [0.01, 0.7, 2.5]], 2),  # weights such as tf-idf
    ],
)
def test_corners(solver: str, counts: list[list[float]], n_components: int) -> None:
    for dtype in (np.float32, np.float64):
        lda = LDA(n_components, solver=solver, random_state=0)
        X = np.array(counts, dtype)
        theta = lda.fit_transform(X)
        assert theta.shape == (len(X), n_components)
        np.testing.assert_allclose(theta.sum(axis=1), 1.0, rtol=1e-5)
        assert lda.components_.shape == (n_components, X.shape[1])
        assert np.all(lda.components_ > 0)
        assert np.all(np.isfinite(lda.components_))
        assert np.isfinite(lda.perplexity(X))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("prior", [1e-10, 1e6])
@pytest.mark.parametrize("which", ["doc_topic_prior", "topic_word_prior"])
def test_priors_at_the_ends_of_their_range(X: Any, solver: str, which: str, prior: float) -> None:
    for dtype in (np.float32, np.float64):
        lda = LDA(4, solver=solver, random_state=0, **{which: prior}).fit(X.astype(dtype))
        assert np.all(np.isfinite(lda.components_))
        assert np.all(lda.components_ > 0)
        theta = lda.transform(X)
        np.testing.assert_allclose(theta.sum(axis=1), 1.0, rtol=1e-5)
        assert np.isfinite(lda.document_completion(X, random_state=0))
        assert np.isfinite(lda.perplexity(X))


# --- what is refused ----------------------------------------------------------------------------

BAD_PARAMETERS = [
    ({"n_components": 0}, "n_components is 0; wanted an integer >= 1"),
    ({"n_components": 2.0}, "n_components is 2.0; wanted an integer >= 1"),
    ({"n_components": 8001}, "n_components is 8001, more than the 8000 tokens in X"),
    ({"doc_topic_prior": 0}, "doc_topic_prior is 0; wanted a number"),
    ({"doc_topic_prior": np.nan}, "doc_topic_prior is nan"),
    ({"doc_topic_prior": [0.1, 0.1]}, r"shape \(2,\); wanted a number or shape \(4,\)"),
    ({"doc_topic_prior": [0.1, 0.1, 0.1, -1]}, "doc_topic_prior must hold numbers"),
    ({"topic_word_prior": -0.5}, "topic_word_prior is -0.5; wanted a number"),
    ({"topic_word_prior": [0.1] * 4}, r"shape \(4,\); wanted a number or shape \(60,\)"),
    (
        {"topic_word_prior": [0.1] * 60, "learn_topic_word_prior": True},
        "learn_topic_word_prior needs a scalar topic_word_prior",
    ),
    ({"solver": "gibbs"}, "solver is 'gibbs'; wanted one of 'auto', 'cvb', 'cvb0'"),
    ({"learning_method": "gibbs"}, "learning_method is 'gibbs'; wanted one of 'batch'"),
    ({"learning_method": "batch", "solver": "svi"}, "means solver='vb', but solver is 'svi'"),
    ({"learning_decay": 0.5}, "learning_decay is 0.5; wanted a number > 0.5 and <= 1"),
    ({"learning_decay": 1.1}, "learning_decay is 1.1"),
    ({"learning_offset": -1}, "learning_offset is -1; wanted a number >= 0"),
    ({"max_iter": 0}, "max_iter is 0; wanted an integer >= 1"),
    ({"max_iter": "all"}, "max_iter is 'all'; wanted an integer >= 1, or 'auto'"),
    ({"batch_size": 0}, "batch_size is 0; wanted an integer >= 1"),
    ({"evaluate_every": "often"}, "evaluate_every is 'often'"),
    ({"perp_tol": -1}, "perp_tol is -1; wanted a number >= 0"),
    ({"mean_change_tol": np.nan}, "mean_change_tol is nan"),
    ({"max_doc_update_iter": 0}, "max_doc_update_iter is 0"),
    ({"n_jobs": 0}, "n_jobs is 0"),
    ({"n_jobs": 1.5}, "n_jobs is 1.5"),
    ({"random_state": "x"}, "'x' cannot be used to seed"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS)
def test_bad_parameters(X: Any, parameters: dict[str, Any], message: str) -> None:
    lda = LDA(**{"n_components": 4, **parameters})
    with pytest.raises(ValueError, match=message):
        lda.fit(X)
    with pytest.raises(NotFittedError):
        lda.transform(X)


def test_bad_parameters_of_partial_fit(X: Any) -> None:
    for total in (0, -1, np.nan, np.inf, 1e300, "many"):
        with pytest.raises(ValueError, match="total_samples is"):
            LDA(4, total_samples=total).partial_fit(X)
    with pytest.raises(ValueError, match="n_components is 0"):
        LDA(0).partial_fit(X)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((5, 4)), "every document is empty"),
        (CSR((5, 4)), "every document is empty"),
        (np.zeros((0, 4)), "0 sample"),
        (np.zeros((4, 0)), "0 feature"),
        (np.ones(4), "Expected 2D array"),
        (np.array([[1.0, -1.0]]), "Negative values in data"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "infinity"),
        (np.array([[1e20, 1.0]]), "at most 1e"),
        (np.array([["a", "b"]]), "vectorize first"),
        (np.array([[1j]]), "Complex"),
    ],
)
def test_bad_counts(solver: str, bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LDA(1, solver=solver).fit(bad)
    if not message.startswith("every"):  # a batch of empty documents may come along in a stream
        with pytest.raises(ValueError, match=message):
            LDA(1, solver=solver).partial_fit(bad)


def test_bad_counts_after_the_fit(fitted: LDA, X: Any) -> None:
    bad = X.astype(float)
    bad.indices = bad.indices.copy()
    bad.indices[5] = 10**6
    for method in (fitted.transform, fitted.score, fitted.perplexity, fitted.document_completion):
        with pytest.raises(ValueError, match="column index 1000000; wanted 0 to 59"):
            method(bad)
        with pytest.raises(ValueError, match=r"has 59 features, but .* is expecting 60"):
            method(X[:, :59])
        with pytest.raises(ValueError, match="Negative values"):
            method(-X)


def test_words_of_topics(X: Any, tmp_path: Path) -> None:
    lda = LDA(4, random_state=0).fit(X)
    best = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    for words, row in zip(lda.top_words(3), best):
        assert [word for word, _ in words] == [str(v) for v in np.argsort(-row)[:3]]
        np.testing.assert_allclose([p for _, p in words], np.sort(row)[::-1][:3], rtol=1e-5)
    names = [f"word{v}" for v in range(60)]
    lda.save(tmp_path / "m.npz", vocabulary=names)
    assert fastvi.load(tmp_path / "m.npz").vocabulary_ == names
    lda.vocabulary_ = names
    assert {word for words in lda.top_words(60) for word, _ in words} == set(names)
    lda.vocabulary_ = names[1:]
    for call in (lda.top_words, lambda: lda.save(tmp_path / "m.npz", vocabulary=["a"])):
        with pytest.raises(ValueError, match="words in the vocabulary; wanted 60"):
            call()


def test_compiled_predictors_check_word_numbers(X: Any) -> None:
    lda = LDA(4, random_state=0).fit(X)
    predict, counts = lda.compiled(), np.ones(2, np.float32)
    words, whole = np.array([0, 59], np.int32), np.array([0, 2])
    bare = lda.compiled(check=False)
    np.testing.assert_array_equal(predict(whole, words, counts), bare(whole, words, counts))
    for bad in ([0, 60], [-1, 3]):
        with pytest.raises(ValueError, match="the model has words 0 to 59"):
            predict(whole, np.array(bad, np.int32), counts)
    for bad in ([0, 3], [-1, 2], [0, 2, 1], []):
        with pytest.raises(ValueError, match="indptr must rise from 0 to at most 2"):
            predict(np.array(bad, np.int64), words, counts)
    with pytest.raises(ValueError, match="indptr must rise from 0 to at most 1"):
        predict(whole, words, counts[:1])


def test_nothing_before_the_fit(X: Any, tmp_path: Path) -> None:
    lda = LDA(4)
    for call in (
        lambda: lda.transform(X),
        lambda: lda.score(X),
        lambda: lda.perplexity(X),
        lambda: lda.document_completion(X),
        lambda: lda.compiled(),
        lambda: lda.top_words(),
        lambda: lda.save(tmp_path / "m.npz"),
        lambda: lda.get_feature_names_out(),
    ):
        with pytest.raises(NotFittedError):
            call()
    assert not hasattr(lda, "components_")
    assert not hasattr(lda, "exp_dirichlet_component_")


def test_a_fit_that_fails_leaves_the_estimator_as_it_was(X: Any) -> None:
    """The old topics have 60 words; documents of 90 would be looked up beyond their end."""
    lda = LDA(4, random_state=0, max_iter=2).fit(X)
    wide = CSR((np.ones(3), np.array([0, 5, 89]), np.array([0, 3])), shape=(1, 90))
    wanted = lda.transform(X)
    with pytest.raises(ValueError, match="n_components"):
        lda.set_params(n_components=5).fit(wide)
    np.testing.assert_array_equal(lda.transform(X), wanted)
    with pytest.raises(ValueError, match="90 features"):
        lda.transform(wide)
    lda.set_params(n_components=1).fit(wide)
    assert lda.components_.shape == (1, 90)
    with pytest.raises(ValueError, match="n_components is 7; the topics to continue from are 1"):
        lda.set_params(n_components=7).partial_fit(wide)


# --- same bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_transform_is_fit_then_transform(X: Any, solver: str, dtype: Any) -> None:
    X = X.astype(dtype)
    lda = LDA(4, solver=solver, random_state=0, max_iter=3, n_jobs=2)
    theta = clone(lda).fit_transform(X)
    assert theta.tobytes() == clone(lda).fit(X).transform(X).tobytes()
    raw = clone(lda).fit_transform(X, normalize=False)
    np.testing.assert_allclose(raw.sum(axis=1), np.asarray(X.sum(axis=1)) + 1.0, rtol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_threads_do_not_matter(solver: str) -> None:
    """Enough work for many chunks a step."""
    X = simulate(1200, 500, 10, 300, seed=3).counts
    results = []
    for n_jobs in (1, 8):
        lda = LDA(
            40, solver=solver, random_state=0, max_iter=4, n_jobs=n_jobs, batch_size=600,
            learn_doc_topic_prior=True, learn_topic_word_prior=True,
        )  # fmt: skip
        theta = lda.fit_transform(X)
        results.append((lda.components_.tobytes(), theta.tobytes(), lda.score(X)))
    assert all(result == results[0] for result in results[1:])


@pytest.mark.parametrize("solver", SOLVERS)
def test_seeds(X: Any, solver: str) -> None:
    def fit(random_state: Any) -> LDA:
        return LDA(4, solver=solver, random_state=random_state, max_iter=2).fit(X)

    assert same(fit(3), fit(3))
    assert same(fit(np.int64(3)), fit(3))
    assert same(fit(np.random.RandomState(3)), fit(3))
    assert not same(fit(3), fit(4))
    assert not same(fit(None), fit(None))
    state = np.random.RandomState(3)
    assert not same(fit(state), fit(state))  # a RandomState goes on


@pytest.mark.parametrize("solver", SOLVERS)
def test_looking_changes_nothing(X: Any, solver: str, capsys: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "fastvi")
    seen = []
    blind = LDA(4, solver=solver, random_state=0, max_iter=4).fit(X)
    looked = LDA(
        4, solver=solver, random_state=0, max_iter=4, evaluate_every=1, perp_tol=0, verbose=1
    ).fit(X, callback=seen.append)
    assert same(blind, looked)
    lines = [record.message for record in caplog.records if "perplexity" in record.message]
    assert [line.split(":")[0] for line in lines] == [f"pass {i}" for i in (1, 2, 3, 4)]
    assert [state.epoch for state in seen if state.step == 0] == [1, 2, 3, 4]
    assert "perplexity" in capsys.readouterr().err


# --- fitting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_topics_are_recovered(solver: str) -> None:
    data = simulate(1000, 60, 4, 80, alpha=0.1, eta=0.1, seed=5)
    lda = LDA(4, doc_topic_prior=0.1, topic_word_prior=0.1, solver=solver, random_state=0)
    lda.set_params(max_iter=30).fit(data.counts)
    topics = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    assert best_match(topics, data.topics).max() < 0.15


def test_evaluate_every_stops(X: Any) -> None:
    lda = LDA(4, solver="vb", random_state=0, max_iter=500, evaluate_every=5, perp_tol=0.5).fit(X)
    assert lda.n_iter_ < 500
    assert lda.n_iter_ % 5 == 0
    values = lda.history_["perplexity"]
    values = values[np.isfinite(values)]
    assert len(values) == lda.n_iter_ // 5
    changes = np.abs(np.diff(values))
    assert changes[-1] < 0.5
    assert np.all(changes[:-1] >= 0.5)
    assert lda.bound_ == values[-1] == pytest.approx(lda.perplexity(X))
    assert lda.elbo_ == pytest.approx(lda.score(X))


def test_quiet_by_default(X: Any, capsys: Any) -> None:
    lda = LDA(4, random_state=0, max_iter=2).fit(X)
    assert capsys.readouterr().out == ""
    assert not hasattr(lda, "bound_")
    assert lda.n_iter_ == 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_history(X: Any, solver: str) -> None:
    lda = LDA(4, solver=solver, random_state=0, max_iter=5, batch_size=50).fit(X)
    n_steps = 5 if solver in ("vb", "cvb0") else 20
    assert lda.n_batch_iter_ == n_steps
    assert {len(column) for column in lda.history_.values()} == {n_steps}
    assert lda.history_["epoch"][-1] == 4
    assert np.all(np.diff(lda.history_["seconds"]) >= 0)
    if solver == "vb":
        bound = lda.history_["elbo"]
        n_terms = 4 * X.nnz / X.shape[0]  # of the sums in single precision, one a row
        assert_never_falls(bound, lda.components_.dtype, n_terms, abs(bound[-1]))


def test_names_of_scikit_learn_choose_the_solver(X: Any) -> None:
    X = X[:50]
    for method, solver in (("batch", "vb"), ("online", "svi")):
        named = LDA(3, learning_method=method, random_state=0, max_iter=2).fit(X)
        assert same(named, LDA(3, solver=solver, random_state=0, max_iter=2).fit(X))
    default = LDA(3, random_state=0, max_iter=2).fit(X)
    assert default.solver_ == "cvb0"
    assert same(default, LDA(3, solver="cvb0", random_state=0, max_iter=2).fit(X))


@pytest.mark.thorough
@pytest.mark.parametrize("solver", SOLVERS)
def test_learned_priors(solver: str) -> None:
    """alpha about that of the simulation, and a better score than with bad priors.

    The fit that scores best, of four seeds for CVB0, which from bad priors finds the topics from
    some starts, and of two for others.
    """
    alpha = np.array([0.05, 0.1, 0.2, 0.4])
    data = simulate(2000, 100, 4, 60, alpha=alpha, eta=0.05, seed=11)
    train, test = data.counts[:1600], data.counts[1600:]
    common = {  # CVB0 changes its mind slowly where the priors are off
        "solver": solver, "max_iter": 100 if solver == "cvb0" else 30,
        "doc_topic_prior": 1.0, "topic_word_prior": 0.5,
    }  # fmt: skip
    priors = {"learn_doc_topic_prior": True, "learn_topic_word_prior": True}

    def best(**options: Any) -> tuple[LDA, float]:
        seeds = range(4 if solver == "cvb0" else 2)
        fits = [LDA(4, random_state=seed, **common, **options).fit(train) for seed in seeds]
        scores = [lda.document_completion(test, random_state=0) for lda in fits]
        return fits[np.argmax(scores)], max(scores)

    (fixed, first), (learned, second) = best(), best(**priors)
    assert second > first + 0.005
    np.testing.assert_allclose(np.sort(learned.doc_topic_prior_), alpha, rtol=0.35)
    assert 0.02 < learned.topic_word_prior_ < 0.12
    assert isinstance(fixed.doc_topic_prior_, float)
    assert fixed.doc_topic_prior_ == 1.0


@pytest.mark.parametrize("solver", SOLVERS)
def test_priors_learned_from_documents_all_alike_stay_finite(solver: str) -> None:
    X = np.tile([[3, 1, 2, 0]], (50, 1))
    lda = LDA(
        3, solver=solver, random_state=0, max_iter=200, learn_doc_topic_prior=True,
        learn_topic_word_prior=True,
    ).fit(X)  # fmt: skip
    assert np.all(np.isfinite(lda.components_))
    assert np.all(lda.doc_topic_prior_ > 0)
    assert np.isfinite(lda.perplexity(X))


def test_priors_by_topic_and_word(X: Any) -> None:
    rng = np.random.default_rng(0)
    alpha, eta = rng.uniform(0.05, 1, 4), rng.uniform(0.05, 1, 60)
    for solver in SOLVERS:
        lda = LDA(4, doc_topic_prior=alpha, topic_word_prior=eta, solver=solver, random_state=0)
        lda.fit(X)
        np.testing.assert_array_equal(lda.doc_topic_prior_, alpha)
        np.testing.assert_array_equal(lda.topic_word_prior_, eta)
        assert np.all(lda.components_ >= 0.99 * eta.astype(np.float32))
        assert np.isfinite(lda.score(X))


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_stream_comes_near_the_fit(solver: str) -> None:
    data = simulate(2400, 60, 4, 60, eta=0.1, seed=7)
    train, test = data.counts[:2000], data.counts[2000:]
    fit = LDA(4, solver=solver, random_state=0, max_iter=3).fit(train)
    stream = LDA(4, solver=solver, random_state=0, total_samples=2000)
    for _ in range(3):
        for begin in range(0, 2000, 100):
            stream.partial_fit(train[begin : begin + 100])
    scores = [lda.document_completion(test, random_state=0) for lda in (fit, stream)]
    assert scores[1] > scores[0] - 0.03
    assert stream.n_batch_iter_ == 60
    assert stream.n_features_in_ == 60


@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_goes_on_after_a_fit(X: Any, solver: str) -> None:
    lda = LDA(4, solver=solver, random_state=0, total_samples=X.shape[0]).fit(X)
    before, steps = lda.components_.copy(), lda.n_batch_iter_
    score = lda.document_completion(X, random_state=0)
    lda.partial_fit(X[:100])
    assert lda.n_batch_iter_ == steps + 1
    assert not hasattr(lda, "converged_")
    assert not np.array_equal(lda.components_, before)
    assert lda.document_completion(X, random_state=0) > score - 0.1


@pytest.mark.parametrize("solver", ["scvb0", "svi"])
def test_partial_fit_goes_on_after_pickle(X: Any, solver: str) -> None:
    lda = LDA(4, solver=solver, random_state=0, total_samples=X.shape[0])
    lda.partial_fit(X[:100]).partial_fit(X[100:])
    twin = pickle.loads(pickle.dumps(lda))
    assert twin.n_batch_iter_ == lda.n_batch_iter_
    for one in (lda, twin):
        one.partial_fit(X[:100]).partial_fit(X[100:])
    np.testing.assert_allclose(twin.components_, lda.components_, rtol=1e-3)
    assert twin.n_batch_iter_ == lda.n_batch_iter_


@pytest.mark.parametrize("solver", ["scvb0", "svi"])
def test_pickling_leaves_the_steps_under_way(X: Any, solver: str) -> None:
    """The same bits with a copy made between, and without."""
    ours, other = (
        LDA(4, solver=solver, random_state=0, total_samples=X.shape[0]).partial_fit(X[:100])
        for _ in range(2)
    )
    pickle.dumps(ours)
    under_way = ours._stream
    assert ours.__getstate__().keys() == ours.__dict__.keys() - {"_stream"}
    assert ours._stream is under_way
    for one in (ours, other):
        one.partial_fit(X[100:])
    np.testing.assert_array_equal(ours.components_, other.components_)


class Interrupted(BaseException):
    """What interrupts the fits below."""


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", ["scvb0", "svi"])
def test_an_interrupted_fit_leaves_the_estimator_as_it_was(
    X: Any, solver: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any step, and halfway through one: later calls have the bits of a twin left alone."""
    learned = {"learn_doc_topic_prior": True, "learn_topic_word_prior": True}
    ours, twin = (
        LDA(4, solver=solver, random_state=0, batch_size=40, max_iter=2, **learned).partial_fit(X)
        for _ in range(2)
    )
    add = LazyTable.add
    for n_steps in range(3):
        left = [n_steps]

        def interrupted(table: Any, step: Any, left: list[int] = left) -> None:
            add(table, step)
            left[0] -= 1
            if left[0] < 0:
                raise Interrupted

        with monkeypatch.context() as patch:
            patch.setattr(LazyTable, "add", interrupted)
            with pytest.raises(Interrupted):
                getattr(ours, method)(X[:150, :])
        assert ours.n_batch_iter_ == twin.n_batch_iter_
        np.testing.assert_array_equal(ours.doc_topic_prior_, twin.doc_topic_prior_)
    np.testing.assert_array_equal(ours.partial_fit(X).components_, twin.partial_fit(X).components_)


def test_partial_fit_keeps_learned_priors(X: Any) -> None:
    lda = LDA(4, random_state=0, learn_doc_topic_prior=True, learn_topic_word_prior=True).fit(X)
    learned = lda.doc_topic_prior_.copy(), lda.topic_word_prior_
    lda.set_params(learn_doc_topic_prior=False, learn_topic_word_prior=False)
    lda.set_params(total_samples=X.shape[0]).partial_fit(X)
    np.testing.assert_array_equal(lda.doc_topic_prior_, learned[0])
    assert lda.topic_word_prior_ == learned[1]


def test_partial_fit_in_small_and_empty_pieces(X: Any) -> None:
    """The last batch may have one document, or none with a word."""
    lda = LDA(4, random_state=0, total_samples=X.shape[0])
    lda.partial_fit(np.zeros((3, X.shape[1])))
    for i in range(20):
        lda.partial_fit(X[[i]])
    lda.partial_fit(np.zeros((3, X.shape[1])))
    assert lda.n_batch_iter_ == 22
    assert np.all(np.isfinite(lda.components_))
    with pytest.raises(ValueError, match="features"):
        lda.partial_fit(X[:, :10])


def test_partial_fit_does_not_change_what_was_handed_out(X: Any) -> None:
    lda = LDA(4, random_state=0, total_samples=X.shape[0]).partial_fit(X)
    components, theta = lda.components_, lda.transform(X)
    predict = lda.compiled()
    kept = components.copy()
    lda.partial_fit(X)
    np.testing.assert_array_equal(components, kept)
    parts = X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(np.float32)
    np.testing.assert_allclose(predict(*parts), theta, rtol=1e-5)


# --- results against scikit-learn's and plain ones ------------------------------------------------


def theirs_with(lda: LDA, n_words: int) -> Any:
    """scikit-learn's class with our topics."""
    theirs = sklearn.decomposition.LatentDirichletAllocation(
        lda.n_components, mean_change_tol=lda.mean_change_tol, total_samples=1e6
    )
    theirs.components_ = lda.components_.astype(np.float64)
    theirs.exp_dirichlet_component_ = lda.exp_dirichlet_component_.astype(np.float64)
    theirs.doc_topic_prior_ = lda.doc_topic_prior_
    theirs.topic_word_prior_ = lda.topic_word_prior_
    theirs.n_features_in_ = n_words
    theirs.random_state_ = np.random.RandomState(0)
    return theirs


def test_scores_are_those_of_scikit_learn(fitted: LDA, X: Any) -> None:
    X = empty_at(X, [3])
    theirs = theirs_with(fitted, X.shape[1])
    assert fitted.score(X) == pytest.approx(theirs.score(X), rel=1e-4)
    assert fitted.perplexity(X) == pytest.approx(theirs.perplexity(X), rel=1e-4)
    assert fitted.perplexity(X, sub_sampling=True) == pytest.approx(
        theirs.perplexity(X, sub_sampling=True), rel=1e-4
    )
    again = sklearn.decomposition._lda._dirichlet_expectation_2d(theirs.components_)
    np.testing.assert_allclose(fitted.exp_dirichlet_component_, np.exp(again), rtol=1e-8)


@pytest.mark.parametrize("solver", ["svi", "vb"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_is_that_of_scikit_learn(X: Any, solver: str, dtype: Any) -> None:
    """Both stop within a tolerance of a fixed point; a tight one leaves less room."""
    X = empty_at(X, [3])
    lda = LDA(4, solver=solver, random_state=0, mean_change_tol=1e-5, max_doc_update_iter=2000)
    lda.fit(X.astype(dtype))
    theirs = theirs_with(lda, X.shape[1]).set_params(max_doc_update_iter=2000)
    np.testing.assert_allclose(lda.transform(X), theirs.transform(X), atol=1e-4)
    np.testing.assert_allclose(
        lda.transform(X, normalize=False), theirs.transform(X, normalize=False), atol=4e-3
    )


def test_document_completion(fitted: LDA, X: Any) -> None:
    """Against a plain twin on given halves, converged."""
    lda = LDA(
        4, doc_topic_prior=0.5, solver=fitted.solver, random_state=0, max_iter=3,
        mean_change_tol=1e-12, max_doc_update_iter=300,
    ).fit(X.astype(np.float64))  # fmt: skip
    collapsed = fitted.solver in ("scvb0", "cvb0")
    dense = X[:20].toarray()
    observed = np.random.default_rng(2).binomial(dense.astype(int), 0.5).astype(float)
    scored = dense - observed
    observed[5] = 0.0  # proportions from the prior alone
    components = lda.components_
    alpha = np.broadcast_to(lda.doc_topic_prior_, 4).astype(float)
    weights, _ = naive.word_weights(components.T, components.sum(axis=1), 4, collapsed)
    means = components / components.sum(axis=1, keepdims=True)
    total = 0.0
    for seen, rest in zip(observed, scored):
        document = [(v, seen[v]) for v in np.flatnonzero(seen)]
        gamma = naive.start_gamma(document, alpha)
        gamma = naive.fixed_point(document, weights, alpha, collapsed, 300, gamma)
        total += float(rest @ np.log(gamma / gamma.sum() @ means))
    wanted = total / scored.sum()
    assert lda.document_completion(observed, scored) == pytest.approx(wanted, rel=1e-4)


def test_document_completion_splits_at_random(fitted: LDA, X: Any) -> None:
    scores = [fitted.document_completion(X, random_state=seed) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    assert abs(scores[0] - scores[2]) < 0.1
    with pytest.raises(ValueError, match="X_scored has 10 documents; wanted 200"):
        fitted.document_completion(X, X[:10])
    with pytest.raises(ValueError, match="no words to score"):
        fitted.document_completion(X, np.zeros(X.shape))
    with pytest.raises(ValueError, match="whole"):
        fitted.document_completion(X * 0.5)


def test_compiled_predictor(fitted: LDA, X: Any) -> None:
    X = empty_at(X, [3])
    predict = fitted.compiled()
    assert predict.n_topics == 4
    parts = X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(predict.dtype)
    theta = predict(*parts)
    assert theta.dtype == predict.dtype == np.float64
    np.testing.assert_allclose(theta, fitted.transform(X), rtol=1e-12)
    one = predict(np.array([0, 2]), np.array([1, 3], np.int32), np.array([2.0, 1.0]))
    assert one.shape == (1, 4)


# --- files --------------------------------------------------------------------------------------


def test_save_and_load(fitted: LDA, X: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    fitted.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]
    loaded = fastvi.load(path)
    assert same(loaded, fitted)
    assert loaded.transform(X).tobytes() == fitted.transform(X).tobytes()
    assert loaded.score(X) == fitted.score(X)
    assert (loaded.n_iter_, loaded.converged_) == (fitted.n_iter_, fitted.converged_)
    assert loaded.n_batch_iter_ == fitted.n_batch_iter_
    assert loaded.n_features_in_ == 60
    assert loaded.doc_topic_prior_ == fitted.doc_topic_prior_
    assert not hasattr(loaded, "feature_names_in_")
    assert loaded.solver == fitted.solver
    assert loaded.set_params(total_samples=200).partial_fit(X).n_batch_iter_ > fitted.n_batch_iter_
    assert clone(loaded).fit(X).components_.shape == (4, 60)


def test_save_keeps_settings_of_inference(X: Any, tmp_path: Path) -> None:
    """Also where they were not the defaults, and priors by topic and word."""
    eta = np.linspace(0.1, 1, 60)
    lda = LDA(
        4, doc_topic_prior=[0.1, 0.2, 0.3, 0.4], topic_word_prior=eta, max_doc_update_iter=7,
        mean_change_tol=0.1, random_state=0,
    ).fit(X)  # fmt: skip
    lda.save(tmp_path / "model.npz")
    loaded = fastvi.load(tmp_path / "model.npz")
    assert loaded.transform(X).tobytes() == lda.transform(X).tobytes()
    np.testing.assert_array_equal(loaded.topic_word_prior_, eta)
    np.testing.assert_array_equal(loaded.doc_topic_prior_, lda.doc_topic_prior_)
    assert loaded.mean_change_tol == 0.1
    assert loaded.max_doc_update_iter == 7


def test_save_keeps_the_vocabulary(X: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    words = ["naïve", "日本", *[f"w{v}" for v in range(58)]]
    frame = pandas.DataFrame(X.toarray(), columns=words)
    LDA(3, random_state=0, max_iter=2).fit(frame).save(tmp_path / "model.npz")
    loaded = fastvi.load(tmp_path / "model.npz")
    assert list(loaded.feature_names_in_) == words
    loaded.transform(frame)


def test_save_over_a_file_that_cannot_be(fitted: LDA, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        fitted.save(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        fitted.save(tmp_path / "none" / "model.npz")


# --- real data ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ap(data_dir: Path) -> tuple[Any, Any, Any]:
    """Training documents, and the two halves of the test documents."""
    file = np.load(data_dir / "text" / "ap.npz")
    parts = np.load(data_dir / "text" / "ap_split.npz")
    counts = CSR((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
    shape = (len(parts["test_idx"]), counts.shape[1])
    observed, scored = (
        CSR((parts[f"{p}_data"], parts[f"{p}_indices"], parts[f"{p}_indptr"]), shape=shape)
        for p in ("obs", "score")
    )
    return counts[parts["train_idx"]], observed, scored


@pytest.mark.thorough
def test_solvers_on_real_text(ap: tuple[Any, Any, Any]) -> None:
    """Ten passes: CVB0 in both forms predicts better than SVI, which scikit-learn has."""
    train, observed, scored = ap
    scores = {}
    for solver in SOLVERS:
        lda = LDA(20, solver=solver, random_state=0, max_iter=10, n_jobs=2).fit(train)
        scores[solver] = lda.document_completion(observed, scored)
        assert 1500 < np.exp(-scores[solver]) < 4000
        assert 1500 < lda.perplexity(train) < 8000
    assert scores["scvb0"] > scores["svi"] + 0.02
    assert scores["cvb0"] > scores["svi"] + 0.02


@pytest.mark.thorough
def test_not_worse_than_scikit_learn_on_real_text(ap: tuple[Any, Any, Any]) -> None:
    """The same method, settings and passes: at most 0.005 nats a word behind."""
    train, observed, scored = ap
    common = {
        "n_components": 20, "learning_method": "online", "batch_size": 128, "max_iter": 2,
        "learning_offset": 10.0, "random_state": 0,
    }  # fmt: skip
    ours = LDA(**common, max_doc_update_iter=100).fit(train)
    theirs = sklearn.decomposition.LatentDirichletAllocation(**common).fit(train)
    theta = theirs.transform(observed)
    topics = theirs.components_ / theirs.components_.sum(axis=1, keepdims=True)
    coo = scored.tocoo()
    p = np.einsum("nk,nk->n", theta[coo.row], topics.T[coo.col])
    wanted = float(coo.data @ np.log(p) / coo.data.sum())
    assert ours.document_completion(observed, scored) > wanted - 0.005


@pytest.mark.thorough
def test_a_stream_after_a_fit_is_nearly_as_good_as_a_fit_to_all(ap: tuple[Any, Any, Any]) -> None:
    """Twenty days of 40 documents after 1000, defaults: above the fit, and within 0.01 nats per
    word of what a fit to all 1800 reaches, in the mean of three seeds (whose sd is 0.009).
    """
    train, observed, scored = ap
    behind = []
    for seed in range(3):
        rows = train[np.random.default_rng(seed).permutation(train.shape[0])[:1800]]
        lda = LDA(random_state=seed).fit(rows[:1000])
        first = lda.document_completion(observed, scored)
        for begin in range(1000, 1800, 40):
            lda.partial_fit(rows[begin : begin + 40])
        score = lda.document_completion(observed, scored)
        assert score > first + 0.02
        whole = LDA(random_state=seed).fit(rows).document_completion(observed, scored)
        behind.append(whole - score)
    assert np.mean(behind) < 0.01


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_dtype_does_not_choose_the_optimum(solver: str) -> None:
    """float32, integers and float64 agree to single precision, times what passes make of it."""
    counts = simulate(300, 60, 4, 80, alpha=0.1, eta=0.1, seed=3).counts
    fits = {
        dtype: LDA(4, solver=solver, random_state=0).fit(counts.astype(dtype))
        for dtype in (np.float64, np.float32, np.int32)
    }
    wanted = fits.pop(np.float64).components_
    for lda in fits.values():
        np.testing.assert_allclose(lda.components_, wanted, rtol=1e-2, atol=1e-3 * wanted.max())
