"""Hierarchical families of other sizes than the default, for the argument `family` of `fit`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.families.base import Near
from fastvi.families.hierarchical import KINDS, VGP, Hierarchical
from fastvi.families.hierarchical_start import backward, linear, near

__all__ = ["hierarchical", "vgp"]

MOST_DATA = 20  # of a Gaussian process


def hierarchical(
    kind: str = "normal",
    dim: int | None = None,
    *,
    n_auxiliary: int | None = None,
    n_hidden: int = 16,
    n_reverse: int = 16,
    n_extra: int = 5,
) -> Near | Hierarchical:
    """Mixtures over an auxiliary number, for the argument `family` of `fastvi.fit`.

    A network maps standard normal numbers u to the distribution of z given u, and so makes their
    margins curved and dependent. The bound is that of Sobolev and Vetrov (2019) with `n_extra`
    draws of a reverse network; without a reverse network it is semi-implicit variational inference
    (Yin and Zhou 2018), and with ``n_extra=0`` a hierarchical variational model (Ranganath et al.
    2016). It is never below with more draws.

    Parameters
    ----------
    kind : {"normal", "bernoulli", "poisson"}
        Of the numbers given u.
    dim : int, optional
        Of discrete numbers, which have no mode to begin near.
    n_auxiliary : int, optional
        Length of u, by default 2 (1 for one number).
    n_hidden, n_reverse : int
        Hidden units of the network and of the reverse network; ``n_reverse=0`` for none.
    n_extra : int
        Draws of the reverse network per draw.

    Returns
    -------
    callable, or of discrete numbers a member

    Raises
    ------
    ValueError
        If an argument is out of its range, `dim` is given for normal numbers or is not for others,
        or there is neither a reverse network nor a draw.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def curved(z):
    ...     return -0.5 * z[0] ** 2 - 2.0 * (z[1] - 0.5 * z[0] ** 2) ** 2
    >>> family = fastvi.families.hierarchical(n_auxiliary=2)
    >>> posterior = fastvi.fit(curved, family, random_state=0, verdict=False)
    >>> bool(posterior.elbo > fastvi.fit(curved, random_state=0, verdict=False).elbo)
    True
    """
    kind = checks.choice(kind, "kind", KINDS)
    L = None if n_auxiliary is None else checks.integer(n_auxiliary, "n_auxiliary", 1)
    H, (G, K) = checks.integer(n_hidden, "n_hidden", 0), _reverse_sizes(n_reverse, n_extra)
    if (dim is None) != (kind == "normal"):
        raise ValueError(f"dim is {dim} of kind={kind!r}; wanted it for discrete numbers, and only")
    if dim is None:
        return partial(_near, Hierarchical, L=L, H=H, G=G, K=K)
    D, rng = checks.integer(dim, "dim", 1), np.random.default_rng(0)
    L = min(2, D) if L is None else L
    forward = linear(H, 0.5 * rng.standard_normal((D, L)), np.zeros(D), rng)
    reverse = backward(np.zeros((D, L)), np.eye(D), G, rng)
    sizes = np.array([KINDS.index(kind), D, L, H, G, K, 0])
    return Hierarchical(forward, reverse, sizes, np.zeros(D), np.ones(D))


def vgp(n_data: int = 16, *, n_reverse: int = 16, n_extra: int = 5) -> Near:
    """Variational Gaussian processes (Tran, Ranganath and Blei 2016), for up to three numbers.

    As `hierarchical`, where a Gaussian process given variational data maps u to z.

    Parameters
    ----------
    n_data : int
        Variational data, at most 20.
    n_reverse, n_extra : int
        As in `hierarchical`.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.vgp(8)(np.zeros(2), np.eye(2)).dim
    2
    """
    M = checks.integer(n_data, "n_data", 1)
    if M > MOST_DATA:
        raise ValueError(f"n_data is {M}; wanted at most {MOST_DATA}")
    G, K = _reverse_sizes(n_reverse, n_extra)
    return partial(_near, VGP, L=None, H=0, G=G, K=K, M=M)


def _near(member: type[Hierarchical], mean: Array, covariance: Array, **sizes: Any) -> Hierarchical:
    return member(*near(mean, covariance, **sizes))


def _reverse_sizes(n_reverse: int, n_extra: int) -> tuple[int, int]:
    G, K = checks.integer(n_reverse, "n_reverse", 0), checks.integer(n_extra, "n_extra", 0)
    if G == 0 and K == 0:
        raise ValueError("n_reverse=0 and n_extra=0 leave no bound; wanted one of them above 0")
    return G, K
