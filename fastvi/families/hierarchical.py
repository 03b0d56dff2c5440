"""Mixtures over an auxiliary number: hierarchical, semi-implicit and Gaussian-process families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Dispersible, Powers, stored
from fastvi.families.gaussians import antithetic, stored_scales
from fastvi.families.hierarchical_start import near, nodes
from fastvi.families.kinds import bernoulli, poisson
from fastvi.families.powers import Draws, Driver
from fastvi.families.products import blocks

__all__ = ["VGP", "Hierarchical"]

KINDS = "normal", "bernoulli", "poisson"  # in the order of `fastvi.kernels.hierarchical`
LEARNED, PLAIN = 256, 512  # draws of the auxiliary number per density, with and without a reverse
N_MOMENTS = 4096  # of it for moments
N_DIVERGENCE = 1000
UNIT = 0.1  # of free parameters
CHUNK = 64  # points whose densities are computed together


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

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.FAMILIES["hierarchical"].near(np.zeros(2), np.eye(2))
    >>> type(member).__name__, member.powers.density
    ('Hierarchical', 'bound')
    """

    forward: Array
    backward: Array
    sizes: NDArray[np.int64]
    centre: Array
    units: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """Return the member of default size near a Gaussian, as `hierarchical` or `vgp` make it."""
        network = cls is Hierarchical
        return cls(*near(mean, covariance, L=None, H=16 * network, G=16, K=5, M=16 * (not network)))

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
        out = self._placed(sizes, nodes(sizes.L, N_MOMENTS, sizes.D)).out[0]
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
        places = nodes(sizes.L, sizes.K, 0).ravel()
        found = np.empty(len(Z))
        noise = np.zeros((CHUNK, _width(sizes)))
        noise[:, sizes.L + sizes.D :] = places
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
    """A variational Gaussian process: `Hierarchical`, of M variational data.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.FAMILIES["vgp"].near(np.zeros(2), np.eye(2))
    >>> type(member).__name__, member.powers.density
    ('VGP', 'bound')
    """

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
