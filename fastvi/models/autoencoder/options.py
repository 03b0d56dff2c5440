"""What an autoencoder is asked for, checked and turned into a model and a goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.kernels.autoencoder import ELBO, SAMPLED, WEIGHTED
from fastvi.models.autoencoder.kinds import chosen
from fastvi.models.autoencoder.likelihoods import LIKELIHOODS
from fastvi.models.autoencoder.model import NOISES, Autoencoder
from fastvi.models.autoencoder.rows import Frame
from fastvi.models.autoencoder.training import Goal
from fastvi.networks.layers import ACTIVATIONS

__all__ = ["goal_of", "likelihood_of", "model_of"]


class Schedule(NamedTuple):
    """What a word for the divergence stands for, unless its numbers are given."""

    warmup: float = 0.0  # passes
    free: float = 0.0  # nats per latent variable
    lags: bool = False  # whether the encoder takes steps alone at first


SCHEDULES = {
    "plain": Schedule(),
    "anneal": Schedule(warmup=10.0),
    "free_bits": Schedule(free=0.1),
    "delta": Schedule(),
    "aggressive": Schedule(lags=True),
}


def likelihood_of(given: Mapping[str, Any]) -> str:
    """Check the likelihood's name."""
    return checks.choice(given["likelihood"], "likelihood", tuple(LIKELIHOODS))


def model_of(given: Mapping[str, Any], frame: Frame) -> Autoencoder:
    """Return the model of rows in a frame; `given` are the parameters of the estimator.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    kind, choice = chosen(given)
    return kind(
        frame,
        checks.integer(given["n_components"], "n_components", 1),
        _sizes(given["hidden_layer_sizes"]),
        checks.choice(given["activation"], "activation", ACTIVATIONS),
        _noise(given["noise"]),
        choice,
    )


def _sizes(given: Any) -> tuple[int, ...]:
    if np.ndim(given) != 1:
        raise ValueError(
            f"hidden_layer_sizes is {given!r}; wanted the number of units of each hidden layer, "
            "such as (200, 200)"
        )
    return tuple(checks.integer(size, "a number in hidden_layer_sizes", 1) for size in given)


def _noise(given: Any) -> str | float:
    if isinstance(given, str):
        return checks.choice(given, "noise", tuple(NOISES))
    return checks.number(given, "noise", 0.0, open_low=True)


def goal_of(given: Mapping[str, Any], model: Autoencoder, n_batches: int) -> Goal:
    """Return what to maximise in passes of so many batches.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or options do not go together.
    """
    objective = checks.choice(given["objective"], "objective", model.objectives)
    alpha = checks.number(given["alpha"], "alpha", -np.inf, 1.0, open_high=True)
    schedule = SCHEDULES[model.choice.words["kl"]]
    warmup, free = given["kl_warmup"], given["free_bits"]
    free = schedule.free if free is None else checks.number(free, "free_bits", 0.0)
    warmup = schedule.warmup if warmup is None else checks.number(warmup, "kl_warmup", 0.0)
    if free > 0 and objective != "elbo":
        raise ValueError(f"free_bits={free:g} needs objective='elbo'; it is {objective!r}")
    if free > 0 and not model.has_free_bits:
        raise ValueError(
            f"free_bits={free:g} needs another prior with family='gaussian'; it is "
            f"{given['prior']!r}"
        )
    if schedule.lags and given["optimizer"] is not None:
        raise ValueError(f"kl={given['kl']!r} needs optimizer=None, which is Adam")
    if model.needs_adam and (schedule.lags or given["optimizer"] is not None):
        wrong = f"kl={given['kl']!r}" if schedule.lags else "optimizer"
        raise ValueError(
            f"{wrong} does not go with a classifier, which takes steps of Adam of its own; wanted "
            "optimizer=None and another kl, or options={'ratio': 'semi_implicit'}"
        )
    of_bound = SAMPLED if model.is_sampled else ELBO
    return Goal(
        kind=of_bound if objective == "elbo" else WEIGHTED,
        n_draws=checks.integer(given["n_draws"], "n_draws", 1),
        alpha=alpha if objective == "vr" else 0.0,
        free=free,
        warmup=warmup * n_batches,
        lags=schedule.lags,
        learning_rate=checks.number(given["learning_rate"], "learning_rate", 0.0, open_low=True),
    )
