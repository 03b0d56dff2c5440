"""Normalising flows: standard normal numbers after layers of invertible maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import solve_triangular

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, Indices
from fastvi.families.base import Near, Powers, column, stored
from fastvi.families.flow_plans import Sizes, begin, layout
from fastvi.families.gaussians import antithetic
from fastvi.families.placed import Placed, stored_units
from fastvi.families.powers import Draws, Driver, Pace

__all__ = ["IAF", "MAF", "NSF", "Flow", "Planar", "Radial", "RealNVP", "flow"]

N_DIVERGENCE = 2000  # draws of each side of `divergence`
MOST = (1000, 10_000, 100)  # layers, hidden units and bins of flows in files
PACE = Pace(rate=0.005, n_steps=400, growth=0.0, n_draws=256, by_dimension=True)
DEFAULTS = {
    "planar": Sizes(24, 0, 0),
    "radial": Sizes(24, 0, 0),
    "realnvp": Sizes(8, 32, 0),
    "iaf": Sizes(6, 32, 0),
    "maf": Sizes(6, 32, 0),
    "nsf": Sizes(4, 16, 8),
}


LAYERS = {  # of `fastvi.kernels.flow_kinds`
    "planar": "planar", "radial": "radial", "realnvp": "affine", "iaf": "affine", "maf": "affine",
    "nsf": "splines",
}  # fmt: skip


class _Layers(NamedTuple):
    sizes: Indices
    params: Array
    centre: Array
    units: Array


class Flow(Placed, _Layers):
    """``centre + units f(x)`` of standard normal numbers x, where f is a sequence of layers.

    Attributes
    ----------
    sizes : (3,) int64 array
        Numbers of layers, of hidden units in each, and of bins of each spline.
    params : (P,) array
        Of all layers.
    centre : (D,) array
    units : (D, D) array
        Lower triangular, with a positive diagonal.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.FAMILIES["maf"].near(np.zeros(2), np.eye(2))
    >>> isinstance(member, families.Flow)
    True
    """

    __slots__ = ()

    @classmethod
    def of(cls, mean: Array, covariance: Array, sizes: Sizes | None = None) -> Self:
        """Return the Gaussian with these moments, from which layers can bend."""
        mean, dim = np.array(mean, np.float64), len(mean)
        chosen = DEFAULTS[cls.kind()] if sizes is None else sizes
        units = np.asarray(np.linalg.cholesky(covariance), np.float64)
        return cls(np.array(chosen), begin(cls.kind(), dim, chosen), mean, units)

    @classmethod
    def kind(cls) -> str:
        """Name of the family, that of the class in lower case."""
        return cls.__name__.lower()

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(
            moments="draws",
            pathwise=self,
            frame=self,
            compiled=self,
            pace=PACE,
            spans=True,
            warp=self,
        )

    @property
    def plan(self) -> Indices:
        """Where the layers' parameters lie, see `fastvi.kernels.flow_rows`."""
        return layout(self.kind(), self.dim, Sizes(*self.sizes.tolist()))[0]

    @property
    def layers(self) -> int:
        """The address of the compiled layers, see `fastvi.kernels.flow_kinds`."""
        from fastvi.kernels import flow_kinds
        from fastvi.kernels._jit import adapter

        return int(adapter(getattr(flow_kinds, LAYERS[self.kind()]))[0])

    @property
    def log_det(self) -> float:
        """Log determinant of the units."""
        return float(np.log(np.diag(self.units)).sum())

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, D) that `at` turns into n draws, in pairs of opposite sign."""
        return antithetic(n, self.dim, rng)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        return Draws(self.centre + self._through(noise)[0] @ self.units.T, noise)

    def _through(self, given: Array, back: int = 0) -> tuple[Array, Array]:
        """Draws (n, D) of noise in the units, or the other way; log determinants (n,) of layers."""
        from fastvi.kernels import flows

        given = np.ascontiguousarray(given, np.float64)
        found, log_dets = np.empty(given.shape), np.empty(len(given))
        flows.through(
            self.layers, self.plan, self.params, given, back, self._space(len(given)), log_dets,
            found,
        )  # fmt: skip
        return found, log_dets

    def _space(self, n: int) -> Any:
        from fastvi.kernels import flows

        return flows.space_of(self.plan, n, 1)

    def _log_q(self, noise: Array, log_dets: Array) -> Array:
        square = np.square(noise).sum(axis=1)
        constant = self.log_det + 0.5 * self.dim * np.log(2 * np.pi)
        return np.asarray(-0.5 * square - log_dets - constant)

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats, by the inverse of the layers."""
        return self.inverse(Z)[1]

    def inverse(self, Z: Array) -> tuple[Array, Array]:
        """Return the noise (n, D) that becomes Z (n, D), and log densities (n,) of Z in nats."""
        white = solve_triangular(self.units, (np.asarray(Z) - self.centre).T, lower=True).T
        noise, log_dets = self._through(white, 1)
        return noise, self._log_q(noise, log_dets)

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws, from their noise."""
        return self._log_q(draws.noise, self._through(draws.noise)[1])

    def divergence(self, other: Self) -> float:
        """Symmetrised KL divergence from another member, in nats, estimated from 2000 draws each.

        The draws are the same in each call.
        """
        total = 0.0
        for a, b in ((self, other), (other, self)):
            draws = a.draw(N_DIVERGENCE, np.random.default_rng(0))
            total += float(np.mean(a.log_prob_of(draws) - b.log_prob(draws.points)))
        return total

    # Plain gradients

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        from fastvi.kernels import flows

        eps, step = np.ascontiguousarray(draws.noise), np.empty(len(self.params))
        slopes = np.ascontiguousarray((of_points @ self.units) * column(weights))
        of_q = np.ascontiguousarray(np.broadcast_to(of_log_q * weights, (len(eps),)))
        flows.gradient(
            self.layers, self.plan, self.params, eps, slopes, of_q, self._space(len(eps)), step
        )  # fmt: skip
        return (step,)

    def driver(self, natural: bool) -> Driver | None:
        """Return the compiled loop over steps of Adam."""
        return None if natural else Driver(_steps(self.layers, self.plan), None)

    # Files

    def save(self) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        sizes = stored(arrays, "sizes", (3,), np.int64)
        if np.any(sizes < (1, 0, 0)) or np.any(sizes > MOST):
            raise ValueError(f"sizes is {sizes.tolist()}; wanted layers, hidden units and bins")
        units = stored_units(arrays, dim)
        n = layout(cls.kind(), dim, Sizes(*sizes.tolist()))[1]
        return cls(sizes, stored(arrays, "params", (n,)), stored(arrays, "centre", (dim,)), units)


def _steps(layers: int, plan: Any) -> Callable[..., Any]:
    """The loop over steps, with scratch that the first call makes."""
    from fastvi.kernels import flows

    made: list[Any] = []

    def run(address: Any, table: Any, noise: Any, *others: Any) -> Any:
        work = others[3]
        if not made:
            made.append(flows.space_of(plan, len(work.eps), work.values.shape[1]))
        return flows.climb_flow(address, table, noise, *others, layers, plan, made[0])

    return run


class Planar(Flow):
    """Planar flow: each layer stretches or contracts along one direction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["planar"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()


class Radial(Flow):
    """Radial flow: each layer expands or contracts around one point.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["radial"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()


class RealNVP(Flow):
    """Affine coupling: one half is shifted and scaled by functions of the other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["realnvp"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()


class IAF(Flow):
    """Inverse autoregressive flow: numbers are moved and scaled by those before them, in noise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["iaf"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()


class MAF(Flow):
    """Masked autoregressive flow: numbers are moved and scaled by those before them, in draws.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["maf"].near(np.zeros(2), np.eye(2)).log_prob(np.zeros((1, 2))).round(4)
    array([-1.8379])
    """

    __slots__ = ()


class NSF(Flow):
    """Neural spline flow: coupling by splines, then shifted and scaled.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["nsf"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()


MEMBERS: dict[str, type[Flow]] = {
    kind.kind(): kind for kind in (Planar, Radial, RealNVP, IAF, MAF, NSF)
}


def flow(
    kind: str,
    *,
    n_layers: int | None = None,
    n_hidden: int | None = None,
    n_bins: int | None = None,
) -> Near:
    """A flow of other sizes than the default, for the argument `family` of `fastvi.fit`.

    Parameters
    ----------
    kind : {"planar", "radial", "realnvp", "iaf", "maf", "nsf"}
        Planar and radial flows (Rezende and Mohamed 2015), affine coupling (Dinh et al. 2017),
        inverse (Kingma et al. 2016) and masked (Papamakarios et al. 2017) autoregressive flows, and
        coupling by rational-quadratic splines (Durkan et al. 2019).
    n_layers : int, optional
        By default 24 planar or radial layers, 8 for "realnvp", 6 for "iaf" and "maf", and 4 for
        "nsf".
    n_hidden : int, optional
        Hidden units of each layer's network; by default 32, and 16 for "nsf". Planar and radial
        layers have none.
    n_bins : int, optional
        Bins of each spline of "nsf", by default 8.

    Raises
    ------
    ValueError
        If an argument is out of its range, or `kind` has no use for it.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def banana(z):
    ...     return -0.5 * z[0] ** 2 - 2.0 * (z[1] - z[0] ** 2) ** 2
    >>> small = fastvi.families.flow("realnvp", n_layers=4, n_hidden=16)
    >>> posterior = fastvi.fit(banana, small, max_iter=2000, random_state=0)
    >>> bool(abs(posterior.elbo - posterior.log_evidence) < 0.05)
    True
    """
    member = MEMBERS[checks.choice(kind, "kind", tuple(MEMBERS))]
    given = Sizes(*DEFAULTS[kind])
    for name, value, least in (
        ("n_layers", n_layers, 1), ("n_hidden", n_hidden, 1), ("n_bins", n_bins, 2),
    ):  # fmt: skip
        if value is None:
            continue
        if not getattr(given, name):
            raise ValueError(f"{name}={value!r} with kind={kind!r}, which has no such thing")
        given = given._replace(**{name: checks.integer(value, name, least)})
    return partial(member.of, sizes=given)
