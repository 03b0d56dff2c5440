"""Neural topic models: what they find, streams, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import NeuralTopicModel
from fastvi.models.topics.neural.model import logistic_normal

pytestmark = pytest.mark.jit

SMALL: dict[str, Any] = {"hidden_layer_sizes": (16,), "batch_size": 50, "random_state": 0}
FORMS = pytest.mark.parametrize("form", ["mixture", "product"])


def corpus(n: int = 400, seed: int = 0) -> tuple[Any, Any]:
    """Documents of four topics, each with words of its own, and their proportions."""
    rng = np.random.default_rng(seed)
    topics = np.kron(np.eye(4), np.full(10, 0.1))
    theta = rng.dirichlet(np.full(4, 0.1), n)
    return np.stack([rng.multinomial(60, p @ topics) for p in theta]), theta


@parametrize_with_checks(
    [
        NeuralTopicModel(2, hidden_layer_sizes=(4,), max_iter=2, form=form)
        for form in ("mixture", "product")
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@FORMS
def test_topics_and_proportions_are_found(form: str) -> None:
    X, theta = corpus()
    model = NeuralTopicModel(4, form=form, **SMALL).fit(X[:300])
    assert sorted(np.argmax(model.components_, axis=1) // 10) == [0, 1, 2, 3]
    order = np.argsort(np.argmax(model.components_, axis=1))
    found = model.transform(X[300:])[:, order]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    error = np.abs(found - theta[300:]).sum(axis=1).mean()
    assert error < (0.1 if form == "mixture" else 0.7)  # experts do not add up
    best = [{int(word) // 10 for word, _ in words} for words in model.top_words(5)]
    assert sorted(min(topic) for topic in best) == [0, 1, 2, 3]
    assert all(len(topic) == 1 for topic in best)


@FORMS
def test_bounds_are_below_the_evidence(form: str) -> None:
    """Of one document of few words and two topics, by quadrature."""
    X, _ = corpus()
    model = NeuralTopicModel(2, form=form, **SMALL).fit(X)
    row, nets = X[:1] * (np.arange(40) % 7 == 0), model._found.nets
    grid = np.linspace(-40.0, 40.0, 4001)  # of z_1 - z_2, which alone matters
    share = 1.0 / (1.0 + np.exp(-grid))
    theta = np.zeros((len(grid), 8), np.float32)
    theta[:, 0], theta[:, 1] = share, 1.0 - share
    same = csr_array(np.repeat(row, len(grid), axis=0).astype(float))
    logs = model._found.log_likelihoods(theta, model._documents(same, None, None))
    variance = nets.prior[1].sum(dtype=float)
    density = np.exp(-0.5 * grid**2 / variance) / np.sqrt(2 * np.pi * variance)
    exact = np.log(np.sum(np.exp(logs) * density) * (grid[1] - grid[0]))
    bound = model.score_samples(row, n_draws=4000)[0]
    assert exact - 5.0 < bound < exact + 0.05
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


@FORMS
def test_same_bits_for_seeds_threads_and_sparse_rows(form: str) -> None:
    X, _ = corpus(600)
    options = SMALL | {"form": form, "max_iter": 3}
    model = NeuralTopicModel(3, **options).fit(X)
    again = NeuralTopicModel(3, **options, n_jobs=2).fit(csr_array(X))
    np.testing.assert_array_equal(model.components_, again.components_)
    np.testing.assert_array_equal(model.transform(X), again.transform(csr_array(X)))
    np.testing.assert_array_equal(model.score_samples(X), again.score_samples(X))
    other = NeuralTopicModel(3, **options | {"random_state": 1}).fit(X)
    assert np.any(other.components_ != model.components_)


@FORMS
def test_odd_documents(form: str) -> None:
    """Empty ones, batches of one row, one topic."""
    X, _ = corpus(40)
    X[::3] = 0
    model = NeuralTopicModel(2, form=form, **SMALL | {"batch_size": 1, "max_iter": 2}).fit(X)
    theta = model.transform(X)
    assert np.isfinite(theta).all()
    assert np.isfinite(model.score_samples(X)).all()
    if form == "mixture":
        np.testing.assert_allclose(theta[0], 0.5, rtol=1e-5)
    one = NeuralTopicModel(1, form=form, **SMALL | {"max_iter": 2}).fit(X)
    np.testing.assert_array_equal(one.transform(X), 1.0)


@FORMS
def test_streams(form: str) -> None:
    """They start with a fit, learn a topic that comes later, and can be interrupted."""
    X, _ = corpus(900)
    first = X[X[:, 30:].sum(axis=1) < 6]
    model = NeuralTopicModel(4, form=form, **SMALL).partial_fit(first[:200])
    n_steps, before = model.n_batch_iter_, model.document_completion(X[600:], random_state=0)
    for _ in range(3):
        model.partial_fit(X[:600])
    assert model.n_batch_iter_ == n_steps + 36 == len(model.history_["epoch"])
    assert model.document_completion(X[600:], random_state=0) > before
    kept = model.components_.copy()
    with pytest.raises(ValueError, match="Negative values"):
        model.partial_fit(-X[:5])
    np.testing.assert_array_equal(model.components_, kept)
    with pytest.raises(ValueError, match="n_components is 5 and was 4"):
        model.set_params(n_components=5).partial_fit(X)


@FORMS
def test_covariates_and_embeddings(form: str, tmp_path: Path) -> None:
    """Of documents that two groups write, each with two of four topics: with no words at all the
    covariates or embeddings tell the group's topics.
    """
    X, theta = corpus(600)
    group = np.where(theta[:, :2].sum(axis=1) > 0.5, "first", "second")
    keep = np.abs(theta[:, :2].sum(axis=1) - 0.5) > 0.4
    X, group = X[keep], group[keep]
    beside: dict[str, Any] = {
        "covariates": {"group": group, "length": X[:, ::2].sum(axis=1)},
        "embeddings": np.eye(2)[(group == "first").astype(int)],
    }
    options = SMALL | {"form": form, "max_iter": 10}
    model = NeuralTopicModel(4, **options).fit(X, **beside)
    assert model.covariate_names_ == ["group=first", "group=second", "length"]
    own = np.argmax(model.components_, axis=1) < 20  # topics of the first group
    assert model.coef_[own, 0].mean() > model.coef_[~own, 0].mean()
    empty = model.transform(0 * X, **beside)
    assert (empty[:, own].sum(axis=1) > 0.5)[group == "first"].all()
    assert (empty[:, own].sum(axis=1) < 0.5)[group == "second"].all()
    assert model.score(X, **beside) > NeuralTopicModel(4, **options).fit(X).score(X)
    model.save(tmp_path / "model.npz")
    again = fastvi.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.transform(X, **beside), model.transform(X, **beside))
    np.testing.assert_array_equal(again.coef_, model.coef_)
    again.partial_fit(X, **beside)
    assert again.document_completion(X, **beside, random_state=0) < 0
    for wrong, message in (
        ({"covariates": None}, "covariates is missing; the fit had the columns 'group', 'length'"),
        ({"embeddings": None}, "embeddings is missing; the fit had 2 columns"),
        ({"embeddings": np.ones((3, 2))}, f"embeddings has 3 rows; wanted {len(X)}"),
        ({"embeddings": np.ones((len(X), 3))}, "embeddings has 3 columns; wanted 2"),
        ({"embeddings": np.full((len(X), 2), np.nan)}, "embeddings holds NaN"),
        ({"embeddings": np.ones(len(X))}, r"embeddings has shape \(\d+,\) .*; wanted numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            model.transform(X, **beside | wrong)
    with pytest.raises(ValueError, match="embeddings is given; the fit had none"):
        NeuralTopicModel(2, **options | {"max_iter": 1}).fit(X).transform(
            X, embeddings=beside["embeddings"]
        )
    with pytest.raises(ValueError, match="embeddings_val is given without X_val"):
        NeuralTopicModel(2, **options).fit(X, embeddings_val=beside["embeddings"])


def test_a_bound_that_is_not_finite_ends_the_fit() -> None:
    X, _ = corpus(50)
    model = NeuralTopicModel(3, **SMALL | {"learning_rate": 1e30, "max_iter": 5})
    with pytest.raises(FloatingPointError, match="not finite in step 2; lower learning_rate"):
        model.fit(X)
    assert not hasattr(model, "components_")


def test_the_priors_gaussian() -> None:
    """Of a symmetric Dirichlet distribution: mean 0, variance (1 - 1 / K) / alpha."""
    means, variances = logistic_normal(np.full(5, 0.1))
    np.testing.assert_allclose(means, 0.0, atol=1e-7)
    np.testing.assert_allclose(variances, 8.0, rtol=1e-6)
    alpha = np.array([0.5, 2.0])
    means, variances = logistic_normal(alpha)
    np.testing.assert_allclose(means, [-np.log(2.0), np.log(2.0)], rtol=1e-6)
    np.testing.assert_allclose(variances, 0.625, rtol=1e-6)  # (1 / 0.5 + 1 / 2) / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "sum"}, "form is 'sum'"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes is \(\)"),
        ({"hidden_layer_sizes": (0,)}, "a number in hidden_layer_sizes is 0"),
        ({"doc_topic_prior": -1.0}, "doc_topic_prior"),
        ({"n_refinements": -1}, "n_refinements is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"n_components": 1000}, "n_components is 1000"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NeuralTopicModel(**options).fit(np.eye(20))


@pytest.mark.slow
def test_real_documents(data_dir: Path) -> None:
    """Within 0.02 nats of CVB0, whose topics keep their coherence."""
    with np.load(data_dir / "text" / "ap.npz") as f:
        X = csr_array((f["data"], f["indices"], f["indptr"]), shape=tuple(f["shape"]))
    with np.load(data_dir / "text" / "ap_split.npz") as f:
        shape = len(f["test_idx"]), X.shape[1]
        observed, scored = (
            csr_array((f[f"{h}_data"], f[f"{h}_indices"], f[f"{h}_indptr"]), shape=shape)
            for h in ("obs", "score")
        )
        X = X[f["train_idx"]]
    model = NeuralTopicModel(20, random_state=0).fit(X)
    value = model.document_completion(observed, scored)
    lda = fastvi.LatentDirichletAllocation(
        20, doc_topic_prior=0.1, max_iter=50, random_state=0, learn_topic_word_prior=True
    ).fit(X)
    assert value > lda.document_completion(observed, scored) - 0.02
    npmi = [fastvi.topic_coherence(m, X).mean() for m in (model, lda)]
    assert npmi[0] > npmi[1] - 0.03
    alone = model.set_params(n_refinements=0).document_completion(observed, scored)
    assert value - 0.25 < alone < value
