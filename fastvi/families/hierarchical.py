"""Mixtures over an auxiliary number: hierarchical, semi-implicit and Gaussian-process families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Dispersible, Near, Powers, stored
from fastvi.families.gaussians import antithetic, stored_scales
from fastvi.families.kinds import bernoulli, poisson
from fastvi.families.lowrank import LowRank
from fastvi.families.powers import Draws, Driver
from fastvi.families.products import blocks

__all__ = ["VGP", "Hierarchical", "hierarchical", "vgp"]

KINDS = "normal", "bernoulli", "poisson"  # in the order of `fastvi.kernels.hierarchical`
LEARNED, PLAIN = 256, 512  # draws of the auxiliary number per density, with and without a reverse
N_MOMENTS = 4096  # of it for moments
N_DIVERGENCE = 1000
UNIT = 0.1  # of free parameters
CHUNK = 64  # points whose densities are computed together
MOST_DIMS, MOST_DATA = 3, 20  # of a Gaussian process
SMALL = 0.1  # weights of hidden units to begin with


class Hierarchical(NamedTuple):
    """``q(z) = E q(z | u)`` over an auxiliary u ~ N(0, I), see `fastvi.kernels.hierarchical`.

    Attributes
    ----------
    forward : (P,) array
        Parameters of the map from u to the distribution of z.
    backward : (Q,) array
        Of the reverse network; empty without.
    sizes : (7,) int64 array
        A `fastvi.kernels.hierarchical.Sizes`.
    centre, units : (D,) array
        Normal numbers are centre + units z.
    """

    forward: Array
    backward: Array
    sizes: NDArray[np.int64]
    centre: Array
    units: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Hierarchical:
        """Return the member of default size near a Gaussian, as `hierarchical` or `vgp` make it."""
        network = cls is Hierarchical
        return _near(mean, covariance, L=None, H=16 * network, G=16, K=5, M=16 * (not network))

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        return len(self.centre)

    @property
    def kind(self) -> str:
        """Of the numbers: "normal", "bernoulli" or "poisson"."""
        return KINDS[self.sizes[0]]

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        if self.kind == "normal":
            return Powers(
                density="bound", moments="draws", pathwise=self, frame=self, compiled=self
            )
        return Powers(
            density="bound", moments="draws", auxiliary=self, dispersible=self._margins(),
            discrete=True,
        )  # fmt: skip

    def _margins(self) -> Dispersible:
        """The product of its margins, of discrete numbers."""
        mean = np.maximum(self.mean, 1e-9)
        if self.kind == "poisson":
            return blocks(poisson(mean))
        return blocks(bernoulli(np.minimum(mean, 1.0 - 1e-9)))

    @property
    def _sizes(self) -> Any:
        from fastvi.kernels.hierarchical import Sizes

        return Sizes(*self.sizes.tolist())

    # Moments, by quasi-Monte Carlo over the auxiliary number

    def _conditional(self) -> tuple[Array, Array]:
        """Means and variances (n, D) of z given each of many u."""
        sizes = self._sizes._replace(K=0)
        out = self._placed(sizes, _nodes(sizes.L, N_MOMENTS, sizes.D)).out[0]
        D = self.dim
        if self.kind == "normal":
            return self.centre + self.units * out[:D].T, (self.units * np.exp(out[D:]).T) ** 2
        if self.kind == "poisson":
            return np.exp(out).T, np.exp(out).T
        chances = 1.0 / (1.0 + np.exp(-out)).T
        return chances, chances * (1.0 - chances)

    @property
    def mean(self) -> Array:
        """Means, (D,)."""
        return np.asarray(self._conditional()[0].mean(axis=0))

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        means, variances = self._conditional()
        away = means - means.mean(axis=0)
        return np.asarray(away.T @ away / len(away) + np.diag(variances.mean(axis=0)))

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    # Draws and densities

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, W) that `at` turns into n draws."""
        return antithetic(n, _width(self.sizes), rng)

    def _placed(self, sizes: Any, noise: Array) -> Any:
        """Scratch of kernels that holds the draws of noise (n, W)."""
        from fastvi.kernels import hierarchical

        space = hierarchical.space_of(sizes, len(noise))
        hierarchical.place(sizes, self.forward, noise, space)
        return space

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        z = self._placed(self._sizes, np.ascontiguousarray(noise)).z.T
        return Draws(self.centre + self.units * z, noise)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, from noise in antithetic pairs."""
        return self.at(self.noise(n, rng))

    @property
    def _log_det(self) -> float:
        return float(np.log(self.units).sum())

    def _bounded(self, noise: Array) -> tuple[Any, Array]:
        """Scratch of kernels, and bounds in the mean of log densities (n,) of the draws."""
        from fastvi.kernels import hierarchical

        sizes, log_q = self._sizes, np.empty(len(noise))
        space = self._placed(sizes, noise)
        hierarchical.bound(sizes, self.forward, self.backward, noise, 0, space, log_q)
        return space, log_q

    def log_prob_of(self, draws: Draws) -> Array:
        """Bounds (n,), in the mean, of log densities of draws, whose noise says more than they."""
        return self._bounded(np.ascontiguousarray(draws.noise))[1] - self._log_det

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats: logs of estimates that are unbiased.

        They use the same draws of the auxiliary number in each call.
        """
        from fastvi.kernels import hierarchical

        sizes = self._sizes._replace(K=LEARNED if len(self.backward) else PLAIN)
        nodes = _nodes(sizes.L, sizes.K, 0).ravel()
        found = np.empty(len(Z))
        noise = np.zeros((CHUNK, _width(sizes)))
        noise[:, sizes.L + sizes.D :] = nodes
        space = self._placed(sizes, noise)
        for first in range(0, len(Z), CHUNK):
            z = (Z[first : first + CHUNK] - self.centre) / self.units
            log_q = np.empty(CHUNK)
            space.z[:, : len(z)] = z.T
            hierarchical.bound(sizes, self.forward, self.backward, noise, 1, space, log_q)
            found[first : first + CHUNK] = log_q[: len(z)]
        return found - self._log_det

    def divergence(self, other: Self) -> float:
        """Symmetrised KL divergence from another member, in nats, by 1000 draws of each."""
        total = 0.0
        for a, b in ((self, other), (other, self)):
            Z = a.draw(N_DIVERGENCE, np.random.default_rng(0)).points
            total += float(np.mean(a.log_prob(Z) - b.log_prob(Z)))
        return total

    # Units

    def standard(self) -> Self:
        """Return the member in its own units and about its own mean."""
        return self.mapped(-self.mean / self.sd, 1.0 / self.sd)

    def mapped(self, centre: Array, units: Array) -> Self:
        """Return the member after the map x -> centre + units x."""
        return self._replace(centre=centre + units * self.centre, units=units * self.units)

    # Plain gradients

    def free(self) -> tuple[Array, Array]:
        """Return the parameters of both maps, in a unit of which a first step may be a tenth."""
        return self.forward / UNIT, self.backward / UNIT

    def from_free(self, free: tuple[Array, Array]) -> Self:
        """Return the member with these unconstrained parameters, in the same units."""
        return self._replace(forward=UNIT * free[0], backward=UNIT * free[1])

    def _pulled(
        self, draws: Draws, of_points: Array, of_log_q: Array, of_score: Array
    ) -> tuple[Array, Array]:
        from fastvi.kernels import hierarchical

        noise = np.ascontiguousarray(draws.noise)
        space, _ = self._bounded(noise)
        space.of_z[:] = (of_points * self.units).T
        found = np.zeros(len(self.forward)), np.zeros(len(self.backward))
        hierarchical.pull(
            self._sizes, self.forward, self.backward, noise, of_log_q, of_score, space, *found
        )
        return UNIT * found[0], UNIT * found[1]

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`.

        Nothing is left out, as the reverse network would not be learned otherwise.
        """
        weighted = np.broadcast_to(of_log_q * weights, weights.shape)
        return self._pulled(
            draws, weights[:, None] * of_points, np.array(weighted), np.zeros(len(weights))
        )

    def auxiliary_pullback(self, draws: Draws, log_ratios: Array) -> tuple[Array, Array]:
        """Gradient of the mean of log ratios (n,) of p to q with respect to `free`.

        By scores given the auxiliary numbers, each with the mean of the other draws as baseline.
        """
        n = len(log_ratios)
        scores = (log_ratios - log_ratios.mean()) / max(n - 1, 1)
        return self._pulled(draws, np.zeros((n, self.dim)), np.full(n, -1.0 / n), scores)

    def driver(self, natural: bool) -> Driver | None:
        """Return the compiled loop over steps."""
        if natural:
            return None
        return Driver(_driver(self), None, _width(self.sizes))

    # Files

    def save(self) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        sizes = stored(arrays, "sizes", (7,), np.int64)
        kind, D, L, H, G, K, M = sizes.tolist()
        fits = 0 <= kind < len(KINDS) and dim == D and L > 0 and min(H, G, K, M) >= 0
        if not fits or (M > 0) != issubclass(cls, VGP):
            raise ValueError(f"sizes is {sizes.tolist()}; wanted those of {dim} numbers")
        lengths = _lengths(sizes)
        forward, backward = (
            stored(arrays, name, (n,)) for name, n in zip(("forward", "backward"), lengths)
        )
        centre, units = stored(arrays, "centre", (dim,)), stored_scales(arrays, "units", dim)
        return cls(forward, backward, sizes, centre, units)


class VGP(Hierarchical):
    """A variational Gaussian process: `Hierarchical`, of M variational data."""

    __slots__ = ()


def _width(sizes: Any) -> int:
    """Numbers of noise per draw."""
    _, D, L, _, _, K, _ = (int(n) for n in sizes)
    return L + D + K * L


def _lengths(sizes: Any) -> tuple[int, int]:
    """Numbers of parameters of both maps."""
    from fastvi.kernels.mappers import network_size, process_size

    kind, D, L, H, G, _, M = (int(n) for n in sizes)
    forth = process_size(M, L, D) if M else network_size(L, H, D * (1 if kind else 2))
    return forth, network_size(D, G, 2 * L) if G else 0


def _nodes(L: int, n: int, rest: int) -> Array:
    """Standard normal numbers (n, L) that fill space evenly, and zeros (n, rest)."""
    uniform = qmc.Sobol(L, seed=0).random(n)
    return np.concatenate(
        (ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)), np.zeros((n, rest))), axis=1
    )


def _driver(member: Hierarchical) -> Callable[..., int]:
    """The compiled loop over steps of members of this form, in these units."""
    from fastvi.kernels import hierarchical

    sizes, n_forward = member._sizes, len(member.forward)

    def run(address, table, noise, power, rate, params, work, sums, trace, t, moments):  # type: ignore[no-untyped-def]
        space = hierarchical.space_of(sizes, len(work.eps))
        return hierarchical.hierarchical_plain(
            address, table, noise, power, rate, params, work, sums, trace, t, moments, sizes,
            n_forward, UNIT, member.centre, member.units, space,
        )  # fmt: skip

    return run


def _linear(n_hidden: int, weights: Array, shifts: Array, rng: np.random.Generator) -> Array:
    """Parameters of a network that is nearly ``shifts + weights x``, weights (n_out, n_in)."""
    n_out, n_in = weights.shape
    hidden = rng.standard_normal(n_hidden * (n_in + 1))
    bent = SMALL * rng.standard_normal((n_out, n_hidden)) / np.sqrt(max(n_hidden, 1))
    return np.concatenate((hidden, np.hstack((bent, weights, shifts[:, None])).ravel()))


def _backward(factors: Array, cov: Array, n_hidden: int, rng: np.random.Generator) -> Array:
    """A reverse network that begins as q(u | z) of a Gaussian z with these factors (D, L)."""
    if n_hidden == 0:
        return np.empty(0)
    gain = np.linalg.solve(cov, factors).T  # (L, D)
    left = np.diag(np.eye(len(gain)) - gain @ factors)
    weights = np.concatenate((gain, np.zeros(gain.shape)))
    shifts = np.concatenate((np.zeros(len(gain)), 0.5 * np.log(np.maximum(left, 1e-3))))
    return _linear(n_hidden, weights, shifts, rng)


def _near(
    mean: Array, covariance: Array, *, L: int | None, H: int, G: int, K: int, M: int = 0
) -> Hierarchical:
    """The member near a Gaussian; with M variational data of a Gaussian process, or a network."""
    D, rng = len(mean), np.random.default_rng(0)
    if M and D > MOST_DIMS:
        raise ValueError(
            f"family 'vgp' is for at most {MOST_DIMS} numbers; the target has {D}; wanted "
            "fastvi.families.hierarchical()"
        )
    L = min(2, D) if L is None else L
    L = D if M else L
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    low = LowRank.of(np.zeros(D), correlation, L)
    factors = np.zeros((D, L))
    factors[:, : low.factors.shape[1]] = low.factors
    sd0 = low.sd0
    if M:
        factors, sd0 = 0.9 * np.linalg.cholesky(correlation), np.full(D, np.sqrt(1.0 - 0.81))
        places = _nodes(L, 32, 0)[:M]
        forward = np.concatenate(
            (places.ravel(), (places @ factors.T).ravel(), np.full(L, 0.7), [0.7], np.log(sd0))
        )
    else:
        weights = np.concatenate((factors, np.zeros((D, L))))
        forward = _linear(H, weights, np.concatenate((np.zeros(D), np.log(sd0))), rng)
    backward = _backward(factors, factors @ factors.T + np.diag(sd0**2), G, rng)
    sizes = np.array([0, D, L, H, G, K, M])
    kind = VGP if M else Hierarchical
    return kind(forward, backward, sizes, np.array(mean, np.float64), scale)


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
    H, G = checks.integer(n_hidden, "n_hidden", 0), checks.integer(n_reverse, "n_reverse", 0)
    K = checks.integer(n_extra, "n_extra", 0)
    if G == 0 and K == 0:
        raise ValueError("n_reverse=0 and n_extra=0 leave no bound; wanted one of them above 0")
    if (dim is None) != (kind == "normal"):
        raise ValueError(f"dim is {dim} of kind={kind!r}; wanted it for discrete numbers, and only")
    if dim is None:
        return partial(_near, L=L, H=H, G=G, K=K)
    D, rng = checks.integer(dim, "dim", 1), np.random.default_rng(0)
    L = min(2, D) if L is None else L
    forward = _linear(H, 0.5 * rng.standard_normal((D, L)), np.zeros(D), rng)
    backward = _backward(np.zeros((D, L)), np.eye(D), G, rng)
    sizes = np.array([KINDS.index(kind), D, L, H, G, K, 0])
    return Hierarchical(forward, backward, sizes, np.zeros(D), np.ones(D))


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
    """
    M = checks.integer(n_data, "n_data", 1)
    if M > MOST_DATA:
        raise ValueError(f"n_data is {M}; wanted at most {MOST_DATA}")
    G, K = checks.integer(n_reverse, "n_reverse", 0), checks.integer(n_extra, "n_extra", 0)
    if G == 0 and K == 0:
        raise ValueError("n_reverse=0 and n_extra=0 leave no bound; wanted one of them above 0")
    return partial(_near, L=None, H=0, G=G, K=K, M=M)
