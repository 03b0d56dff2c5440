"""Neural topics without scikit-learn: the encoder's form, parameters, start, and scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import neural_topics as kernels
from fastvi.models.counts import Parts, padded

__all__ = ["Documents", "Networks", "NeuralParameters", "logistic_normal"]

Single = NDArray[np.float32]

SD_OF_WORDS = 0.05  # of the weights of words at the start
START_LOG_SD = -0.5  # of q


class NeuralParameters(NamedTuple):
    """What a fit of neural topics has found.

    Attributes
    ----------
    first : (V, H) float32 array
        Weights of words in the encoder's first layer.
    net : (P,) float32 array
        All other weights of the encoder, as `fastvi.kernels.neural_topics` lays them out.
    decoder : float32 array
        Of the mixture form, expected counts of words in topics, without the prior, (V, K padded);
        of the product form, weights and biases, (K + 1, V).
    """

    first: Single
    net: Single
    decoder: Single


class Documents(NamedTuple):
    """Documents as kernels take them, and their number."""

    data: kernels.Data
    n_rows: int

    @classmethod
    def of(
        cls, parts: Parts, extras: Single | None = None, design: Single | None = None
    ) -> Documents:
        """Return documents (indptr, indices, counts), with further inputs of the encoder (D, E) and
        covariates (D, C).
        """
        indptr, indices, counts = parts
        counts = counts.astype(np.float32, copy=False)
        n = len(indptr) - 1
        more = (np.empty((n, 0), np.float32) if x is None else x for x in (extras, design))
        return cls(kernels.Data(indptr, indices, counts, np.log1p(counts), *more), n)

    @property
    def parts(self) -> Parts:
        """indptr, indices, counts."""
        return self.data.indptr, self.data.indices, self.data.counts


def logistic_normal(alpha: Array) -> Single:
    """Means and variances (2, K) of Laplace's approximation to Dirichlet(alpha), of log weights.

    Hennig et al. (2012), as in Srivastava and Sutton (2017, eq. 3).
    """
    n, logs = len(alpha), np.log(alpha)
    variances = (1.0 - 2.0 / n) / alpha + np.sum(1.0 / alpha) / n**2 if n > 1 else 1.0 / alpha
    return np.stack([logs - logs.mean(), variances]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Networks:
    """The form of a neural topic model.

    Parameters
    ----------
    n_words, n_topics : int
    hidden : sequence of int
        Units of the encoder's hidden layers.
    prior : (2, K) float32 array
        Means and variances of log weights.
    topic_prior : float
        Of words in topics, in the mixture form.
    is_product : bool
    n_extras, n_covariates : int
        Further inputs of the encoder, and covariates that shift the prior's means.
    """

    n_words: int
    n_topics: int
    hidden: Sequence[int]
    prior: Single
    topic_prior: float
    is_product: bool
    n_extras: int = 0
    n_covariates: int = 0

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Units of hidden layers, and outputs."""
        return np.array([*self.hidden, 2 * self.n_topics], np.int64)

    @property
    def width(self) -> int:
        """Topics, padded."""
        return padded(self.n_topics)

    @property
    def n_net(self) -> int:
        """Weights of the encoder besides those of words."""
        inner = ((self.sizes[:-1] + 1) * self.sizes[1:]).sum()
        outer = (self.n_extras + 1) * self.sizes[0] + self.n_covariates * self.n_topics
        return int(inner + outer)

    def template(self) -> NeuralParameters:
        """Return parameters of 0."""
        v, k = self.n_words, self.n_topics
        shape = (k + 1, v) if self.is_product else (v, self.width)
        return NeuralParameters(
            np.zeros((v, self.sizes[0]), np.float32), np.zeros(self.n_net, np.float32),
            np.zeros(shape, np.float32),
        )  # fmt: skip

    def start(self, table: AnyArray, rng: np.random.Generator) -> NeuralParameters:
        """Return random weights of the encoder, and the decoder of topics (V, K padded): counts
        plus prior.
        """
        first, net, decoder = self.template()
        first[...] = SD_OF_WORDS * rng.standard_normal(first.shape, np.float32)
        place = int(self.n_extras * self.sizes[0])
        net[:place] = SD_OF_WORDS * rng.standard_normal(place, np.float32)
        place += int(self.sizes[0])
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:]):
            weights = net[place : place + inputs * outputs].reshape(inputs, outputs)
            limit = np.sqrt(6.0 / (inputs + outputs))
            weights[...] = rng.uniform(-limit, limit, weights.shape)
            place += int((inputs + 1) * outputs)
        weights[:, self.n_topics :] *= np.float32(0.1)
        net[place - self.n_topics : place] = START_LOG_SD
        k = self.n_topics
        if self.is_product:
            logs = np.log(table[:, :k] / table[:, :k].sum(axis=0, dtype=np.float64))
            shares = table[:, :k].sum(axis=1) / table[:, :k].sum(dtype=np.float64)
            decoder[k] = np.log(shares)
            decoder[:k] = (logs - logs.mean(axis=1, keepdims=True)).T
        else:
            decoder[:, :k] = np.maximum(table[:, :k] - np.float32(self.topic_prior), 0.0)
        return NeuralParameters(first, net, decoder)

    def work(self, documents: Documents, n: int) -> kernels.Work:
        """Return scratch for batches of n of the documents."""
        k, lengths = self.n_topics, np.sort(np.diff(documents.data.indptr))
        n_entries = int(lengths[max(len(lengths) - n, 0) :].sum())

        def rows(*shape: int) -> Single:
            return np.empty(shape, np.float32)

        n_distinct = min(n_entries, self.n_words)
        return kernels.Work(
            marks=np.full(self.n_words, -1, np.int32), words=np.empty(n_distinct, np.int32),
            slots=np.empty(n_entries, np.int32),
            gathered=rows(n, documents.data.extras.shape[1]),
            out=rows(n * int(self.sizes[:-1].sum())), posterior=rows(n, 2 * k),
            spare=rows(n * int(self.sizes.max())), eps=rows(n, k), means=rows(n, k),
            theta=rows(n, self.width), pull=rows(n, self.width),
            first_grads=rows(n_distinct, int(self.sizes[0])), net_grads=rows(self.n_net),
        )  # fmt: skip

    def scratch(self, work: kernels.Work, n: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the decoder's scratch for batches of n documents."""
        k, v, width = self.n_topics, self.n_words, self.width
        if self.is_product:
            return (k + 1, v), (n, v), (n, k)
        u, m = len(work.words), len(work.slots)
        return (u, width), (u, width), (3, width), (m,), (n, k), (n,)
