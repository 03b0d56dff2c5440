"""Documents under fitted neural topics: proportions, bounds, completion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastvi.base import parallel
from fastvi.base.blas import sgemm
from fastvi.base.typing import Array
from fastvi.kernels import lda
from fastvi.kernels import neural_topics as kernels
from fastvi.kernels import neural_topics_mixture as mixture
from fastvi.kernels import neural_topics_product as product
from fastvi.models.topics.neural.model import Documents, Networks, NeuralParameters, Single

__all__ = ["NeuralTopics"]

CHUNK = 256  # documents


@dataclass(frozen=True, eq=False)
class NeuralTopics:
    """Fitted neural topics, ready for new documents.

    Parameters
    ----------
    nets : Networks
    params : NeuralParameters
    """

    nets: Networks
    params: NeuralParameters

    @cached_property
    def weights(self) -> Single:
        """Chances of words in topics, (V, K padded)."""
        nets, decoder = self.nets, self.params.decoder
        k = nets.n_topics
        out = np.zeros((nets.n_words, nets.width), np.float32)
        if nets.is_product:
            logits = (decoder[:k] + decoder[k]).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            table = np.exp(logits).T
        else:
            table = decoder[:, :k].astype(np.float64) + nets.topic_prior
        out[:, :k] = table / table.sum(axis=0)
        return out

    def encoded(self, documents: Documents, n_threads: int = 1) -> tuple[Single, Single, Single]:
        """Means and logs of standard deviations of q, and the prior's means, (D, K) each."""
        nets, (first, net, _) = self.nets, self.params
        k, n_rows = nets.n_topics, documents.n_rows
        found = np.empty((n_rows, 2 * k), np.float32)
        means = np.empty((n_rows, k), np.float32)

        def task(i: int) -> None:
            rows = np.arange(i * CHUNK, min((i + 1) * CHUNK, n_rows))
            n = len(rows)
            out = np.empty(n * int(nets.sizes[:-1].sum()), np.float32)
            gathered = np.empty((n, documents.data.extras.shape[1]), np.float32)
            kernels.encode_documents(
                sgemm(), nets.sizes, first, net, documents.data, rows, gathered, out,
                found[rows[0] : rows[-1] + 1],
            )  # fmt: skip
            kernels.prior_means(
                nets.prior, net, documents.data.design, rows, means[rows[0] : rows[-1] + 1]
            )

        with parallel.single_threaded_blas():
            parallel.run(task, -(-n_rows // CHUNK), n_threads)
        log_sd = np.clip(found[:, k:], kernels.LEAST, kernels.MOST)
        return np.ascontiguousarray(found[:, :k]), log_sd, means

    def infer(
        self, documents: Documents, n_steps: int, n_threads: int = 1
    ) -> tuple[Single, Single, Single]:
        """Log weights z (D, K), their standard deviations, and proportions theta (D, K padded).

        In the mixture form after so many of Newton's steps from the encoder's means; otherwise
        these means.
        """
        nets = self.nets
        z, log_sd, means = self.encoded(documents, n_threads)
        n_steps = 0 if nets.is_product else n_steps
        theta = np.empty((documents.n_rows, nets.width), np.float32)

        def task(i: int) -> None:
            mixture.modes(
                documents.data, self.weights, nets.prior[1], means, n_steps, i * CHUNK,
                min((i + 1) * CHUNK, documents.n_rows), z, theta,
            )  # fmt: skip

        parallel.run(task, -(-documents.n_rows // CHUNK), n_threads)
        sd = np.exp(log_sd)
        if n_steps > 0:  # Laplace's approximation
            n_tokens = np.add.reduceat(
                np.append(documents.data.counts, 0.0), documents.data.indptr[:-1]
            ) * (np.diff(documents.data.indptr) > 0)
            shares = theta[:, : nets.n_topics]
            bend = n_tokens[:, None] * shares * (1.0 - shares) + 1.0 / nets.prior[1]
            sd = (1.0 / np.sqrt(bend)).astype(np.float32)
        return z, sd, theta

    def log_likelihoods(self, theta: Single, documents: Documents, n_threads: int = 1) -> Array:
        """Log probability (D,) of documents' words under proportions theta, in nats."""
        nets, n_rows = self.nets, documents.n_rows
        out = np.zeros(n_rows)

        def mixed(i: int) -> None:
            first, last = i * CHUNK, min((i + 1) * CHUNK, n_rows)
            lda.score_documents(*documents.parts, self.weights, theta, first, last, out)

        def multiplied(i: int) -> None:
            first, last = i * CHUNK, min((i + 1) * CHUNK, n_rows)
            logits = np.empty((last - first, nets.n_words), np.float32)
            product.log_chances(sgemm(), self.params.decoder, theta[first:last], logits)
            for j, row in enumerate(logits):
                out[first + j] = product.row_likelihood(
                    documents.data, first + j, np.float32(1.0), row
                )

        with parallel.single_threaded_blas():
            task = multiplied if nets.is_product else mixed
            parallel.run(task, -(-n_rows // CHUNK), n_threads)
        return out

    def completion(
        self, observed: Documents, scored: Documents, n_steps: int, n_threads: int = 1
    ) -> float:
        """Held-out log-likelihood by document completion, in nats per word."""
        theta = self.infer(observed, n_steps, n_threads)[2]
        total = self.log_likelihoods(theta, scored, n_threads).sum()
        return float(total / scored.data.counts.sum(dtype=np.float64))

    def bounds(
        self, documents: Documents, n_steps: int, n_draws: int, seed: int, n_threads: int = 1
    ) -> Array:
        """Evidence lower bounds (D,) in nats, by draws that are the same for all documents."""
        nets, k = self.nets, self.nets.n_topics
        z, sd, theta = self.infer(documents, n_steps, n_threads)
        means, variances = self.encoded(documents, n_threads)[2], nets.prior[1].astype(np.float64)
        total = np.zeros(documents.n_rows)
        noise = np.random.default_rng(seed).standard_normal((n_draws, k)).astype(np.float32)
        for eps in noise:
            logits = z + sd * eps
            share = np.exp(logits - logits.max(axis=1, keepdims=True))
            theta[:, :k] = share / share.sum(axis=1, keepdims=True)
            total += self.log_likelihoods(theta, documents, n_threads)
        spread, away = (np.square(a, dtype=np.float64) for a in (sd, z - means))
        ratio = (spread + away) / variances
        kl = 0.5 * (ratio - 1.0 + np.log(variances)) - np.log(sd, dtype=np.float64)
        return np.asarray(total / n_draws - kl.sum(axis=1))
