"""Hamiltonian Monte Carlo: one move of many chains, which go side by side through the target.

Leapfrog steps (Neal 2011) in units of `scale`: momenta are standard normal, and a step of size e
goes e * scale in a coordinate. All chains of a call take as many steps, so that the target gets
them together.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._pointers import call_target
from .targets import SUCCESS, address_of, evaluate
from .vectors import fill

__all__ = ["Chains", "chains_at", "look", "move"]


class Chains(NamedTuple):
    """C chains: where they are, and where they try to go."""

    Z: np.ndarray  # (C, D)
    grads: np.ndarray  # (C, D)
    values: np.ndarray  # (C,) log densities
    tried: np.ndarray  # (C, D)
    slopes: np.ndarray  # (C, D)
    heights: np.ndarray  # (C,) log densities there, -inf without one
    terms: np.ndarray  # (C, n_terms)


def chains_at(starts, n_terms):
    """Chains at starts (C, D), before their first evaluation."""
    C, D = starts.shape
    values, heights = np.full(C, -np.inf), np.empty(C)
    return Chains(
        np.array(starts), np.empty((C, D)), values, np.array(starts), np.empty((C, D)), heights,
        np.empty((C, n_terms)),
    )  # fmt: skip


@kernel
def look(address, table, chains):
    """Log densities and gradients where chains try to go; -inf and 0 where one is not finite."""
    tried, slopes, heights, terms = chains.tried, chains.slopes, chains.heights, chains.terms
    (C, D), n_terms = tried.shape, terms.shape[1]
    fill(terms.reshape(C * n_terms), np.nan)
    fill(slopes.reshape(C * D), np.nan)
    status = evaluate(address, table, tried, terms, slopes)
    at, data, of_terms, of_slopes = (
        address_of(tried), address_of(table), address_of(terms), address_of(slopes),
    )  # fmt: skip
    for c in range(C):
        done = status
        if status != SUCCESS:  # evaluate each chain by itself to find the one that failed
            row, first = 8 * D * c, 8 * n_terms * c
            done = call_target(address, 1, D, at + row, data, of_terms + first, of_slopes + row)
        total, n_finite = 0.0, 0
        for t in range(n_terms):
            total += terms[c, t]
        for j in range(D):
            n_finite += np.isfinite(slopes[c, j])
        if done == SUCCESS and np.isfinite(total) and n_finite == D:
            heights[c] = total
            continue
        heights[c] = -np.inf
        for j in range(D):
            slopes[c, j] = 0.0


@kernel
def kinetic(momenta, c):
    """Half the square of a row."""
    total = 0.0
    for j in range(momenta.shape[1]):
        total += momenta[c, j] * momenta[c, j]
    return 0.5 * total


@kernel
def settle(chains, c):
    """Chain c goes to where it has tried to go."""
    for j in range(chains.Z.shape[1]):
        chains.Z[c, j] = chains.tried[c, j]
        chains.grads[c, j] = chains.slopes[c, j]
    chains.values[c] = chains.heights[c]


@kernel
def move(address, table, size, n_steps, scale, momenta, uniforms, chains, errors):
    """One move of all chains; out errors (C,): by how much energies grew, inf without a density.

    momenta (C, D) are standard normal and get lost, uniforms (C,) in (0, 1]. A chain stays if its
    energy grew by more than -log of its uniform number.
    """
    C, D = chains.Z.shape
    for c in range(C):
        errors[c] = chains.values[c] - kinetic(momenta, c)
        for j in range(D):
            momenta[c, j] += 0.5 * size * scale[j] * chains.grads[c, j]
            chains.tried[c, j] = chains.Z[c, j]
    for step in range(n_steps):
        for c in range(C):
            for j in range(D):
                chains.tried[c, j] += size * scale[j] * momenta[c, j]
        look(address, table, chains)
        share = 0.5 if step == n_steps - 1 else 1.0
        for c in range(C):
            for j in range(D):
                momenta[c, j] += share * size * scale[j] * chains.slopes[c, j]
    for c in range(C):
        after = chains.heights[c] - kinetic(momenta, c)
        errors[c] = errors[c] - after if np.isfinite(after) else np.inf
        if np.log(uniforms[c]) < -errors[c]:
            settle(chains, c)
