"""What a fit of a hierarchical Dirichlet process says: topics in use, their shares, files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array
from fastvi.models.counts import padded
from fastvi.models.files import Saved
from fastvi.models.streaming import StreamingState
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.hdp_model import HDP, HDPParameters, mean_shares
from fastvi.models.topics.scores import TopicScores

__all__ = ["HDPScores", "HDPStream"]

LEAST = 1.0  # words of a topic that counts as found


class HDPStream(NamedTuple):
    """State for the next `partial_fit`."""

    model: HDP
    state: StreamingState
    seed: int


class HDPScores(TopicScores):
    """The part of the estimator that uses fitted topics without changing them."""

    total_samples = None
    n_components: int
    max_doc_update_iter: int
    mean_change_tol: float
    _n_seen: int
    _stream: HDPStream
    _prior: tuple[float, float]  # concentration, topic_word_prior

    @property
    def _parameters(self) -> HDPParameters:
        """What was found so far, with the table as an array (V, K padded)."""
        if "_kept" not in self.__dict__:
            params = self._stream.state.params
            self._kept = HDPParameters(params.table.dense(), params.sticks)
        return self._kept

    @property
    def _in_use(self) -> AnyArray:
        """Numbers of the topics with words, the largest first."""
        table, sticks = self._parameters
        words = table.sum(axis=0, dtype=np.float64) - self._prior[1] * len(table)
        words = words[: len(sticks) + 1]
        order = np.argsort(-words, kind="stable")
        return order[: max(int(np.count_nonzero(words >= LEAST)), 1)]

    @property
    def n_topics_(self) -> int:
        """Number of topics that hold at least one word of the corpus."""
        return self._after_fit("n_topics_").n_topics

    @property
    def topic_shares_(self) -> Array:
        """Expected shares of these topics in the corpus."""
        return read_only(self._after_fit("topic_shares_").alpha / self._prior[0])

    @property
    def doc_topic_prior_(self) -> Array:
        """Prior of documents' proportions, given the shares."""
        return read_only(self._after_fit("doc_topic_prior_").alpha)

    def _after_fit(self, name: str) -> TopicModel:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._model

    @property
    def _model(self) -> TopicModel:
        check_is_fitted(self)
        if "_cached_model" not in self.__dict__:
            self._cached_model = self._read(self._in_use)
        return self._cached_model

    def _read(self, chosen: AnyArray) -> TopicModel:
        """Return some topics as a model for new documents."""
        table, sticks = self._parameters
        used = np.zeros((len(table), padded(len(chosen))), table.dtype)
        used[:, : len(chosen)] = table[:, chosen]
        shares = np.maximum(mean_shares(sticks)[chosen], np.finfo(np.float32).tiny)
        concentration, eta = self._prior
        return TopicModel(
            used, concentration * shares, eta, False, max_iter=self.max_doc_update_iter,
            tol=self.mean_change_tol,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, object]:
        if self.__sklearn_is_fitted__():
            self._parameters  # noqa: B018  reads the table of a stream under way
        return super().__getstate__()

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "found": self._parameters,
            "dtype": self._dtype.name,
            "n_seen": self._n_seen,
            "prior": np.array(self._prior),
        }

    def _restore(self, saved: Saved) -> None:
        k, self._dtype = checks.integer(self.n_components, "n_components", 1), saved.dtype()
        table = saved.array("found.table", saved.n_features, padded(k), dtype=self._dtype)
        sticks = saved.positive("found.sticks", k - 1, 2)
        if np.any(table[:, :k] <= 0):
            raise ValueError(f"{saved.path}: found.table must hold numbers > 0")
        alpha, eta = saved.positive("prior", 2)
        self._kept, self._prior = HDPParameters(table, sticks), (float(alpha), float(eta))
        self._n_seen = checks.integer(saved.values["n_seen"], f"{saved.path}: n_seen", 0)
        self._cached_model = self._read(self._in_use)
