"""Sandwich covariances: how a mode would vary between data sets, whether or not the model is right.

The gradients of the rows' terms vary by C, per row; n of them add up to a gradient with covariance
n C, and the mode answers by the inverse A^-1 of the negated Hessian: A^-1 n C A^-1 (Huber 1967;
White 1982). A posterior has A^-1. The two agree, for many rows, if the model is right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Batch
from fastvi.targets.base import Target
from fastvi.targets.curvature import hessian, inverse_of

__all__ = ["Sandwich", "row_covariance", "sandwich_at"]

MOST_ROWS = 20_000  # whose gradients are taken: the covariance is known to about a per cent


class Sandwich(NamedTuple):
    """A sandwich covariance, and the two parts it is made of.

    Attributes
    ----------
    place : (D,) array
        Unconstrained parameters at which both were taken.
    cov : (D, D) array
        Covariance of the mode between data sets of as many rows.
    laplace : (D, D) array
        Inverse of the negated Hessian: the covariance of the posterior, by Laplace's method.
    noise : (D, D) array
        Covariance of the gradient of a row's log likelihood.
    n_rows : int
        Rows of the data.
    """

    place: Array
    cov: Array
    laplace: Array
    noise: Array
    n_rows: int

    @property
    def sd(self) -> Array:
        """Standard deviations of the mode between data sets, (D,)."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    @property
    def ratio(self) -> Array:
        """Of these to the standard deviations of the posterior, (D,): 1 if the model is right."""
        return np.asarray(self.sd / np.sqrt(np.diag(self.laplace)))


def row_covariance(target: Target, z: Array, seed: int = 0) -> Array:
    """Covariance (D, D) of the gradient of a row's term at z (D,), from at most 20,000 rows.

    Raises
    ------
    TargetError
        If a row has no gradient there.
    """
    from fastvi.kernels import sgd

    target.require_gradient("the covariance of rows' gradients needs")
    assert target.n_rows is not None
    rows = np.arange(target.n_rows)
    if len(rows) > MOST_ROWS:
        rows = np.random.default_rng([seed, 8]).choice(len(rows), MOST_ROWS, replace=False)
    prior = target.attempt(z[None], Batch(rows[:1], np.zeros(1)))[1][0]
    total, outer = np.zeros(target.dim), np.zeros((target.dim, target.dim))
    table, place, ones = target.table(), sgd.at(z, target.n_terms), np.ones(1)
    words = table.words.copy()
    done = sgd.noise(target.address, words, rows, ones, place, prior, total, outer)
    if done < len(rows):
        target.refuse(z[None], Batch(rows[done : done + 1], ones))
    mean = total / len(rows)
    return np.asarray(outer / len(rows) - np.outer(mean, mean))


def sandwich_at(target: Target, z: Array, cov: Array | None = None, seed: int = 0) -> Sandwich:
    """The sandwich at z (D,), where `cov` is the inverse of the negated Hessian, if it is known.

    Raises
    ------
    ValueError
        If the target takes no rows, or the Hessian is not negative definite.
    """
    if not target.n_rows:
        raise ValueError(
            f"{target.name} takes no rows and weights, whose gradients a sandwich compares; write "
            "it with these arguments"
        )
    inverse = inverse_of(-hessian(target, z)) if cov is None else cov
    if inverse is None:
        raise ValueError(
            f"the Hessian at {z} is not negative definite; wanted a fit whose mean is near a mode"
        )
    noise = row_covariance(target, z, seed)
    return Sandwich(
        np.array(z), target.n_rows * inverse @ noise @ inverse, inverse, noise, target.n_rows
    )
