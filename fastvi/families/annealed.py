"""Annealed paths from a Gaussian to the target: Hamiltonian and Langevin variational inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Near, Powers, column, stored
from fastvi.families.gaussians import antithetic
from fastvi.families.placed import Placed, stored_units
from fastvi.families.powers import Draws, Driver, Pace

__all__ = ["Annealed", "Hamiltonian", "Langevin", "annealed"]

N_STEPS = 10
FIRST_LENGTH, KEPT = 0.25, 0.5  # of leapfrog steps in the units, and of momenta, at first
PACE = Pace(rate=0.02, n_steps=200, growth=0.0, n_draws=64, by_dimension=True)


class _Path(NamedTuple):
    params: Array
    centre: Array
    units: Array
    target: Any = None


class Annealed(Placed, _Path):
    """The ends of paths that begin at a Gaussian and follow the target's slopes.

    Attributes
    ----------
    params : (P,) array
        Shift and log scale (D,) of the Gaussian in the units, log lengths (M,) of leapfrog steps,
        logits (M,) of increments of the bridge, and the logit of the share of momenta that is kept.
    centre : (D,) array
    units : (D, D) array
        Lower triangular, with a positive diagonal.
    target : Target or None
        In these units; nothing can be drawn without it.

    Examples
    --------
    >>> from fastvi import families
    >>> issubclass(families.Hamiltonian, families.Annealed)
    True
    """

    __slots__ = ()
    n_moments: ClassVar[int] = 4000

    @classmethod
    def of(cls, mean: Array, covariance: Array, n_steps: int = N_STEPS) -> Self:
        """Return paths that begin at the Gaussian with these moments."""
        dim = len(mean)
        lengths, kept = np.full(n_steps, np.log(FIRST_LENGTH)), np.log(KEPT / (1.0 - KEPT))
        params = np.concatenate((np.zeros(2 * dim), lengths, np.zeros(n_steps), [kept]))
        units = np.asarray(np.linalg.cholesky(covariance), np.float64)
        return cls(params, np.array(mean, np.float64), units)

    @classmethod
    def keeps(cls) -> int:
        """1 if momenta are partly refreshed, 0 if they are redrawn at each step."""
        return 1

    @property
    def n_steps(self) -> int:
        """Number of leapfrog steps, M."""
        return (len(self.params) - 2 * self.dim - 1) // 2

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(
            density="none", moments="draws", pathwise=self, frame=self, compiled=self, pace=PACE,
            guided=self,
        )  # fmt: skip

    def guided_by(self, target: Any) -> Self:
        """Return the member that follows a target, given in its own units."""
        return self._replace(target=target)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, (M + 1) D) of n paths, in pairs of opposite sign."""
        return antithetic(n, self.dim * (self.n_steps + 1), rng)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        X = self._paths(noise)[0].places[-1]
        return Draws(self.centre + X @ self.units.T, noise)

    def _paths(self, noise: Array) -> tuple[Any, float]:
        """Paths of noise in the units, and the share of momenta that is kept."""
        from fastvi.kernels import annealed as kernels

        if self.target is None:
            raise ValueError(
                "these draws follow the slopes of the target, which is not there; wanted "
                "fastvi.Posterior.load(path, target)"
            )
        self.target.require_gradient("paths need")
        eps = np.ascontiguousarray(noise, np.float64)
        paths = kernels.paths_of(len(eps), self.dim, self.n_steps, self.target.n_terms)
        words, address = self.target.table(None).words, self.target.address
        kept = kernels.walk(address, words, 1.0, self.params, self.keeps(), eps, paths)
        return paths, float(kept)

    def log_prob(self, Z: Array) -> Array:
        """There is no density: a draw may be the end of many paths."""
        raise ValueError(
            "the ends of paths have no density that is known; wanted log_prob_of their draws"
        )

    def log_prob_of(self, draws: Draws) -> Array:
        """Log density of the target less the log weights of paths, nats, whose mean is a bound."""
        paths = self._paths(draws.noise)[0]
        log_det = float(np.log(np.diag(self.units)).sum())
        return np.asarray(paths.chains.heights - paths.log_w - log_det)

    def divergence(self, other: Self) -> float:
        """Squared distance between ends of paths with the same noise, in standard deviations.

        For paths that end in Gaussians of the same shape, it is the symmetrised divergence.
        """
        noise = self.noise(1000, np.random.default_rng(0))
        a, b = self.at(noise).points, other.at(noise).points
        return float(np.sum(np.mean(np.square(a - b), axis=0) / a.var(axis=0)))

    # Plain gradients

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`.

        Nothing is left out: the density of a path depends on parameters throughout.
        """
        from fastvi.kernels import annealed as kernels

        paths, kept = self._paths(draws.noise)
        of_q = np.broadcast_to(of_log_q * weights, (len(draws.noise),))
        paths.weights[:] = -of_q  # log q is log p less the log weight
        slopes = (of_points @ self.units) * column(weights)
        paths.extra[:] = slopes + column(of_q) * paths.slopes[-1]
        step = np.empty(len(self.params))
        words, address = self.target.table(None).words, self.target.address
        eps = np.ascontiguousarray(draws.noise)
        kernels.paths_gradient(
            address, words, 1.0, self.params, self.keeps(), kept, eps, paths, step
        )  # fmt: skip
        return (step,)

    def driver(self, natural: bool) -> Driver | None:
        """Return the compiled loop over steps of Adam."""
        if natural:
            return None
        width = self.dim * (self.n_steps + 1)
        return Driver(_steps(self.dim, self.n_steps, self.keeps()), None, width)

    # Files

    def save(self) -> dict[str, Array]:
        """Return the arrays to store in a file, without the target."""
        return {"params": self.params, "centre": self.centre, "units": self.units}

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        units, params = stored_units(arrays, dim), stored(arrays, "params", (-1,))
        n = len(params) - 2 * dim - 1
        if n < 2 or n % 2:
            raise ValueError(f"params has {len(params)} numbers; wanted {2 * dim + 1} and pairs")
        return cls(params, stored(arrays, "centre", (dim,)), units)


def _steps(dim: int, n_steps: int, keeps: int) -> Callable[..., Any]:
    """The loop over steps, with scratch that the first call makes."""
    from fastvi.kernels import annealed as kernels

    made: list[Any] = []

    def run(address: Any, table: Any, noise: Any, *others: Any) -> Any:
        work = others[3]
        if not made:
            made.append(kernels.paths_of(len(work.eps), dim, n_steps, work.values.shape[1]))
        return kernels.climb_annealed(address, table, noise, *others, keeps, made[0])

    return run


class Hamiltonian(Annealed):
    """Leapfrog steps with momenta that are refreshed in part (Geffner and Domke 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> type(families.FAMILIES["hamiltonian"].near(np.zeros(2), np.eye(2))).__name__
    'Hamiltonian'
    """

    __slots__ = ()


class Langevin(Annealed):
    """Leapfrog steps with a fresh momentum each: unadjusted Langevin steps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> type(families.FAMILIES["langevin"].near(np.zeros(2), np.eye(2))).__name__
    'Langevin'
    """

    __slots__ = ()

    @classmethod
    def keeps(cls) -> int:
        """0: momenta are redrawn at each step."""
        return 0


def annealed(kind: str = "hamiltonian", n_steps: int = N_STEPS) -> Near:
    """Paths of another number of steps, for the argument `family` of `fastvi.fit`.

    Parameters
    ----------
    kind : {"hamiltonian", "langevin"}
        Momenta that are partly refreshed (Geffner and Domke 2021; Zhang et al. 2021), or redrawn
        at each leapfrog step.
    n_steps : int
        Leapfrog steps of a path; the bound rises with them, as does what a draw costs.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.annealed("langevin", 5)(np.zeros(2), np.eye(2)).dim
    2
    """
    kinds = {"hamiltonian": Hamiltonian, "langevin": Langevin}
    member = kinds[checks.choice(kind, "kind", tuple(kinds))]
    return partial(member.of, n_steps=checks.integer(n_steps, "n_steps", 1))
