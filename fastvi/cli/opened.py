"""Models of any kind from their files, for the commands that use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fastvi.base import archive
from fastvi.base.bags import bags_of_words
from fastvi.base.typing import AnyArray, JsonObject
from fastvi.corpus.documents import Corpus
from fastvi.models.topics.dynamic_times import times_of
from fastvi.models.topics.fitted import TopicModel

__all__ = ["Opened", "extras", "open_model"]


class Opened(Protocol):
    """A fitted model of topics.

    Attributes
    ----------
    model : TopicModel
        Topics, averaged over time if they change.
    """

    model: TopicModel

    def topics(self) -> Any:
        """What a report is made of."""
        ...

    def needs(self, time: str | None, covariates: Sequence[str] | None) -> list[str]:
        """Names of the fields that documents must have; those given override the fit's."""
        ...

    def proportions(self, corpus: Corpus, n_threads: int) -> AnyArray:
        """Topic proportions (D, K) of documents."""
        ...

    def scores(
        self, corpus: Corpus, halves: tuple[Any, Any], n_threads: int
    ) -> dict[str, tuple[str, float]]:
        """Scores of documents in nats per word, by name, with their descriptions."""
        ...


@dataclass
class Plain:
    """Latent Dirichlet allocation, without scikit-learn."""

    model: TopicModel

    def topics(self) -> Any:
        return self.model

    def needs(self, time: str | None, covariates: Sequence[str] | None) -> list[str]:
        if time is not None or covariates is not None:
            name = "--time" if time is not None else "--covariates"
            raise ValueError(f"{name} is given; the model knows neither times nor covariates")
        return []

    def proportions(self, corpus: Corpus, n_threads: int) -> AnyArray:
        bags = bags_of_words(corpus.counts, dtype=self.model.table.dtype)
        gamma = self.model.topics.infer(*bags.parts, n_threads=n_threads)
        theta: AnyArray = gamma[:, : self.model.n_topics] / gamma.sum(axis=1, keepdims=True)
        return theta

    def scores(
        self, corpus: Corpus, halves: tuple[Any, Any], n_threads: int
    ) -> dict[str, tuple[str, float]]:
        observed, scored, whole = (
            bags_of_words(counts, dtype=self.model.table.dtype)
            for counts in (*halves, corpus.counts)
        )
        completion = self.model.topics.completion(observed.parts, scored.parts, n_threads)
        bound = self.model.documents_bound(whole.parts, n_threads) / corpus.n_tokens
        return {
            "document_completion": ("document completion", completion),
            "variational_bound": ("variational bound", bound),
        }


@dataclass
class Estimated:
    """Another model of topics, as an estimator."""

    model: TopicModel
    estimator: Any
    path: str

    def topics(self) -> Any:
        return self.estimator

    def needs(self, time: str | None, covariates: Sequence[str] | None) -> list[str]:
        info = self.model.info
        if hasattr(self.estimator, "slice_times_"):
            if covariates is not None:
                raise ValueError("--covariates is given; the model knows times")
            found = time or info.get("time")
            if found is None:
                raise ValueError(f"{self.path}: its documents have times; give --time FIELD")
            return [found]
        if time is not None:
            raise ValueError("--time is given; the model knows no times")
        wanted = getattr(self.estimator, "covariate_names_", [])
        found = list(info.get("covariates") or [] if covariates is None else covariates)
        if wanted and not found:
            raise ValueError(
                f"{self.path}: its documents have covariates; give --covariates FIELD[,FIELD...]"
            )
        if found and not wanted:
            raise ValueError("--covariates is given; the model knows no covariates")
        return found

    def _extras(self, corpus: Corpus) -> JsonObject:
        if hasattr(self.estimator, "slice_times_"):
            return extras("dynamic", corpus)
        return extras("correlated" if corpus.fields else "hdp", corpus)

    def proportions(self, corpus: Corpus, n_threads: int) -> AnyArray:
        self.estimator.n_jobs = n_threads
        theta: AnyArray = self.estimator.transform(corpus.counts, **self._extras(corpus))
        return theta

    def scores(
        self, corpus: Corpus, halves: tuple[Any, Any], n_threads: int
    ) -> dict[str, tuple[str, float]]:
        self.estimator.n_jobs = n_threads
        observed, scored = halves
        completion = self.estimator.document_completion(
            observed, X_scored=scored, **self._extras(corpus)
        )
        return {"document_completion": ("document completion", completion)}


def extras(name: str, corpus: Corpus, rows: AnyArray | None = None, suffix: str = "") -> JsonObject:
    """Return what a model of this name takes besides counts, of some documents."""
    fields = {
        field: values if rows is None else [values[d] for d in rows.tolist()]
        for field, values in corpus.fields.items()
    }
    if name == "dynamic":
        ((field, times),) = fields.items()
        return {f"times{suffix}": _times(times, field)}
    return {f"covariates{suffix}": fields} if fields else {}


def _times(values: list[object], field: str) -> AnyArray:
    """Return times of documents, or refuse those that are missing or neither numbers nor dates."""
    missing = next((d for d, time in enumerate(values) if time is None), None)
    if missing is not None:
        raise ValueError(f"field {field!r} has no time for document {missing}, counted from 0")
    is_text = any(isinstance(time, str) for time in values)
    times = np.array(values, dtype=object) if is_text else np.array(values)
    times_of(times, len(times), f"field {field!r}")
    return times


def open_model(path: str) -> Opened:
    """Open a model file.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is damaged, or not a model of topics.
    """
    if archive.kind(path) != "estimator":
        return Plain(TopicModel.load(path))
    from fastvi.models import files  # imports scikit-learn

    estimator = files.load(path)
    if not hasattr(estimator, "topic_model"):
        raise ValueError(f"{path}: a {type(estimator).__name__}, not a model of topics")
    model = estimator.topic_model()
    info = getattr(estimator, "_info", {})
    return Estimated(replace(model, info=info), estimator, path)
