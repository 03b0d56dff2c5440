"""Training of neural topics: the algorithm that the loop drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array, Info, Tree
from fastvi.batches import Batches
from fastvi.core import Algorithm, Batch
from fastvi.kernels import neural_topics as kernels
from fastvi.kernels import neural_topics_mixture as mixture
from fastvi.kernels import neural_topics_product as product
from fastvi.kernels.optimizers import Adam
from fastvi.models.plan import Plan
from fastvi.models.streaming import FADING
from fastvi.models.topics.neural.model import Documents, Networks, NeuralParameters, Single

__all__ = ["Goal", "State", "begin", "read", "stepper", "training"]

DECAY, DECAY_SQUARE, EPSILON = 0.9, 0.999, 1e-8  # of Adam
OFFSET, EXPONENT = 64.0, 0.7  # of the rates of topics, which have a good start


class Goal(NamedTuple):
    """How fast to go, and from where."""

    n_steps: int  # of Newton's method

    learning_rate: float
    warmup: float  # steps in which the weight of the divergence rises from 0 to 1
    n_before: int | None  # documents of a stream before this one; None in a fit


class State(NamedTuple):
    """Parameters, of which the decoder's counts are a factor `scale` times a table, and what the
    next step needs besides them.
    """

    params: NeuralParameters
    first_moments: Single
    net_moments: Single
    decoder_moments: Single  # of the product form
    scale: Array
    sums: Array  # of the counts by topic
    n_steps: int


def begin(nets: Networks, params: NeuralParameters) -> State:
    """Return the state before the first step, which owns the parameters."""
    first, net, decoder = params
    n_moments = 2 * decoder.size if nets.is_product else 0
    sums = np.zeros(0) if nets.is_product else decoder.sum(axis=0, dtype=np.float64)
    return State(
        params, np.zeros((2, *first.shape), np.float32), np.zeros(2 * net.size, np.float32),
        np.zeros(n_moments, np.float32), np.ones(1), sums, 0,
    )  # fmt: skip


def read(state: State) -> NeuralParameters:
    """Return the parameters of a state."""
    scale = np.float32(state.scale[0])
    return state.params._replace(decoder=state.params.decoder * scale)


def training(nets: Networks, documents: Documents, batches: Batches, goal: Goal) -> Plan:
    """Return the plan of steps on batches: of Adam for the networks, and of natural gradients for
    the topics of the mixture form.

    Raises
    ------
    FloatingPointError
        In a step whose bound is not finite.
    """
    move = stepper(nets, documents, goal.n_steps)

    def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
        t, n = state.n_steps + 1, len(batch.rows)
        rate = goal.learning_rate / (1.0 - DECAY**t)
        adam = Adam(DECAY, DECAY_SQUARE, rate, 1.0 / (1.0 - DECAY_SQUARE**t), EPSILON)
        weight = min(1.0, t / goal.warmup) if goal.warmup > 0 else 1.0
        if goal.n_before is None:
            share, n_all = (OFFSET + t) ** -EXPONENT, documents.n_rows
        else:
            n_all = goal.n_before + documents.n_rows
            share = min(FADING * n / n_all, 1.0)
        key = rng.integers(1, 2**64, dtype=np.uint64)
        total, kl = move(state, batch.rows, key, weight, adam, share, n_all / n)
        if not np.isfinite(total - kl):
            raise FloatingPointError(
                f"the bound is not finite in step {t}; lower learning_rate from "
                f"{goal.learning_rate:g}"
            )
        info = {"local_elbo": (total - kl) * documents.n_rows / n, "kl": kl / n,
                "rate": goal.learning_rate}  # fmt: skip
        return state._replace(n_steps=t), info

    def init(params: NeuralParameters) -> State:
        return begin(nets, params)

    def again(_: object) -> Plan:
        return training(nets, documents, batches, goal)

    def same(params: Tree) -> Tree:
        return params

    return Plan(Algorithm(init, step), batches, same, read, again)


def stepper(
    nets: Networks, documents: Documents, n_steps: int
) -> Callable[..., tuple[float, float]]:
    """Return ``move(state, rows, key, weight, adam, share, factor)``, which takes a step in place
    and returns sums over rows of log likelihoods and divergences.

    Counts of topics lose `share` of themselves, which `factor` times those of the batch replace.
    """
    scratch: dict[int, tuple[kernels.Work, tuple[AnyArray, ...]]] = {}
    eta = np.float32(nets.topic_prior)

    def prepared(n: int) -> tuple[kernels.Work, tuple[AnyArray, ...]]:
        if n not in scratch:
            work = nets.work(documents, n)
            parts = tuple(np.empty(shape, np.float32) for shape in nets.scratch(work, n))
            scratch[n] = work, parts
        return scratch[n]

    def move(
        state: State, rows: AnyArray, key: np.uint64, weight: float, adam: Adam, share: float,
        factor: float,
    ) -> tuple[float, float]:  # fmt: skip
        (first, net, decoder), work = state.params, prepared(len(rows))
        encoder = kernels.Encoder(
            nets.sizes, first, net, nets.prior, state.first_moments, state.net_moments
        )
        common = documents.data, rows, key, np.float32(weight), adam
        if nets.is_product:
            experts = product.Experts(decoder, state.decoder_moments, *work[1])
            found = product.step(sgemm(), encoder, experts, *common, work[0])
        else:
            topics = mixture.Topics(decoder, state.scale, state.sums, *work[1])
            keep, gain = 1.0 - share, share * factor
            found = mixture.step(
                sgemm(), encoder, topics, *common, keep, gain, eta, n_steps, work[0]
            )
        return float(found[0]), float(found[1])

    return move
