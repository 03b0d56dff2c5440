"""Kernels are compiled for few types: what else users pass is converted before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from small_fits import COUNTS, GP, TOPICS, X, and_compiled

import fastvi

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
SHORT: dict[str, Any] = {"max_iter": 2, "random_state": 0}


def topics(solver: str) -> Callable[[Any], Any]:
    def fit(x: Any) -> None:
        model = fastvi.LatentDirichletAllocation(solver=solver, **TOPICS).fit(x)
        model.transform(x)
        model.perplexity(x)

    return fit


def poisson(x: Any) -> None:
    fastvi.PoissonFactorization(n_components=2, **SHORT).fit(x).transform(x)


def autoencoder(x: Any, likelihood: str = "poisson") -> None:
    model = fastvi.VariationalAutoencoder(
        2, likelihood=likelihood, hidden_layer_sizes=(4,), **SHORT
    )
    model.fit(x).score_samples(x)


def logistic(x: Any) -> None:
    labels = np.arange(len(X)) % 2
    fastvi.BayesianLogisticRegression(**SHORT).fit(x, labels).predict_proba(x)


ON_COUNTS = {**{solver: topics(solver) for solver in ("cvb0", "svi", "vb")}, "Poisson": poisson}
ON_COUNTS["autoencoder of counts"] = autoencoder
ON_ROWS: dict[str, Callable[[Any], Any]] = {
    "autoencoder": lambda x: autoencoder(x, "gaussian"),
    "logistic": logistic,
    "PCA": lambda x: fastvi.BayesianPCA(**SHORT).fit(x).transform(x),
    "features": lambda x: fastvi.BetaBernoulliFeatures(2, n_init=1, **SHORT).fit(x).transform(x),
    "mixture": lambda x: fastvi.BayesianGaussianMixture(n_components=2, **SHORT).fit(x).predict(x),
    "GP": lambda x: fastvi.SparseGPRegressor(**GP).fit(x, X[:, 0]).predict(x, return_std=True),
    "SVGP": lambda x: fastvi.SVGP(**GP).fit(x, X[:, 0]).predict(x, return_std=True),
}


def read_only(array: Any) -> Any:
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("name", ON_COUNTS | ON_ROWS)
def test_other_layouts_and_types_of_arrays_compile_nothing(name: str) -> None:
    array = (COUNTS if name in ON_COUNTS else X).astype(np.float64)
    fit = (ON_COUNTS | ON_ROWS)[name]
    for dtype in (np.float64, np.float32):
        fit(array.astype(dtype))
    others = {
        "read-only": read_only(array),
        "columns": np.asfortranarray(array),
        "strided": np.repeat(array, 2, axis=1)[:, ::2],
        "big-endian": array.astype(">f8"),
        "integers": np.round(array).astype(np.int16),
        "float16": array.astype(np.float16),
    }
    compiled = {kind: and_compiled(lambda x=x: fit(x))[1] for kind, x in others.items()}  # type: ignore[misc]
    assert not any(compiled.values()), compiled


@pytest.mark.parametrize("name", [*ON_COUNTS, "logistic"])
def test_other_indices_of_sparse_matrices_compile_nothing(name: str) -> None:
    array = csr_array(np.round(COUNTS if name in ON_COUNTS else X).astype(np.float64))
    fit = (ON_COUNTS | ON_ROWS)[name]
    fit(array)
    compiled = {}
    for dtype in (np.int64, np.int16):
        for of_rows in (np.int32, np.int64):
            other = array.copy()
            other.indices, other.indptr = other.indices.astype(dtype), other.indptr.astype(of_rows)
            compiled[f"{dtype} {of_rows}"] = and_compiled(lambda x=other: fit(x))[1]  # type: ignore[misc]
    assert not any(compiled.values()), compiled


@pytest.mark.parametrize("index", [-(2**40), -1, 12, 2**31, 2**32 + 1])
def test_indices_of_64_bits_that_are_out_of_range_are_refused(index: int) -> None:
    array = csr_array(COUNTS)
    array.indices = array.indices.astype(np.int64)
    array.indices[3] = index
    with pytest.raises(ValueError, match=f"column index {index}; wanted 0 to 11"):
        fastvi.PoissonFactorization(n_components=2).fit(array)
