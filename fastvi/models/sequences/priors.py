"""Priors of hidden chains: states that stay, and chains that go one way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = ["LeftRightPrior", "left_right_prior", "sticky_prior"]


def sticky_prior(n_components: int, stay: float, concentration: float = 1.0) -> Array:
    """Concentrations of Dirichlet priors under which states stay.

    Each row of transitions has the prior of a sticky chain (Fox et al. 2011) whose states have
    equal weights: `concentration` counts are spread over all states, and `stay` more are on the
    diagonal. A state is expected to last about 1 / (1 - p) rows, where p = (stay + concentration /
    n_components) / (stay + concentration).

    Parameters
    ----------
    n_components : int
        Number of states.
    stay : float
        Prior number of transitions from a state to itself, at least 0.
    concentration : float, default=1.0
        Prior number of transitions from a state to any, above 0. Models fitted by expectation
        maximisation subtract 1 from each concentration: give them `n_components`, which is then
        flat.

    Returns
    -------
    transmat_prior : (n_components, n_components) array
        What models take by this name.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Fox, Sudderth, Jordan and Willsky (2011), "A sticky HDP-HMM with application to speaker
    diarization", Annals of Applied Statistics 5(2A).

    Examples
    --------
    >>> from fastvi import VariationalGaussianHMM, sticky_prior
    >>> sticky_prior(2, stay=9.0)
    array([[9.5, 0.5],
           [0.5, 9.5]])
    >>> model = VariationalGaussianHMM(2, transmat_prior=sticky_prior(2, stay=9.0))
    """
    k, stay, total = _checked(n_components, stay, concentration)
    return np.asarray(np.full((k, k), total / k) + stay * np.eye(k))


def _checked(n_components: int, stay: float, concentration: float) -> tuple[int, float, float]:
    return (
        checks.integer(n_components, "n_components", 1),
        checks.number(stay, "stay", 0.0),
        checks.number(concentration, "concentration", 0.0, open_low=True),
    )


class LeftRightPrior(NamedTuple):
    """Concentrations of a chain's start (K,) and of its transitions (K, K) [from, to]."""

    startprob_prior: Array
    transmat_prior: Array


def left_right_prior(
    n_components: int, skip: int = 0, stay: float = 0.0, concentration: float = 1.0
) -> LeftRightPrior:
    """Concentrations of chains that begin in the first state and never go back.

    Where they are 0, variational models never go. Models fitted by expectation maximisation keep
    zeros of `startprob_` and `transmat_` instead: set these to shares of the concentrations, and
    leave "s" and "t" out of `init_params`.

    Parameters
    ----------
    n_components : int
        Number of states, from left to right.
    skip : int, default=0
        Number of states that a transition may jump over.
    stay : float, default=0.0
        Prior number of further transitions from a state to itself, at least 0.
    concentration : float, default=1.0
        Prior number of transitions from a state, spread over those that are allowed; above 0.

    Returns
    -------
    LeftRightPrior
        `startprob_prior` (n_components,) and `transmat_prior` (n_components, n_components), as
        models take them; the last state is never left.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), section
    IV.A.

    Examples
    --------
    >>> from fastvi import VariationalGaussianHMM, left_right_prior
    >>> prior = left_right_prior(3)
    >>> prior.transmat_prior
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5],
           [0. , 0. , 1. ]])
    >>> model = VariationalGaussianHMM(3, **prior._asdict())
    """
    k, stay, total = _checked(n_components, stay, concentration)
    skip = checks.integer(skip, "skip", 0)
    steps = np.arange(k) - np.arange(k)[:, None]
    allowed = (steps >= 0) & (steps <= skip + 1)
    start = np.where(np.arange(k) == 0, total, 0.0)
    shares = total * allowed / allowed.sum(axis=1, keepdims=True)
    return LeftRightPrior(start, shares + stay * np.eye(k))
