"""Targets from NumPyro models, compiled by XLA."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike
from fastvi.targets.contents import Contents
from fastvi.targets.foreign import ForeignTarget, portable
from fastvi.targets.jax import Vectorised

__all__ = ["NumPyroParameters", "NumPyroTarget", "from_numpyro"]


def from_numpyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> NumPyroTarget:
    """Make a target from a NumPyro model, including the Jacobians of its constraints.

    The log density is minus the potential energy of NumPyro, of the same unconstrained numbers, in
    double precision; JAX's own configuration stays as it is.

    Parameters
    ----------
    model : callable
        Without discrete latent variables and without subsampling.
    *args, **kwargs
        Arguments of the model, as for ``numpyro.infer.MCMC.run``. JAX's arrays keep their
        precision, which is float32 unless `jax_enable_x64` is on; NumPy's are used as they are.

    Returns
    -------
    NumPyroTarget
        Its names are those of the model's sites. Plates and observed data go to
        `Posterior.to_arviz`.

    Raises
    ------
    ImportError
        If numpyro is not installed.
    TargetError
        If JAX cannot trace the model; its message is quoted.
    ValueError
        If the model has discrete latent variables, subsamples, or has no latent variables.

    Notes
    -----
    The target can be pickled if the model can, such as a function at the top level of a module;
    each process compiles it again.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_numpyro(model, x, y)  # doctest: +SKIP
    """
    return NumPyroTarget(model, args, kwargs)


class NumPyroTarget(ForeignTarget):
    """A `Target` whose density is that of a NumPyro model."""

    def __init__(
        self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.model, self._args, self._kwargs = model, args, dict(kwargs)
        name = getattr(model, "__name__", type(model).__name__)
        parameters = NumPyroParameters(name, model, args, self._kwargs)
        compute = Vectorised(name, parameters.log_density, ())
        compute.check(parameters.dim)
        super().__init__(name, compute, parameters)

    def bind(self, *args: Any, **kwargs: Any) -> NumPyroTarget:
        """Return the same model with other arguments; it is compiled again."""
        return NumPyroTarget(self.model, args, kwargs)

    def __reduce__(self) -> tuple[object, ...]:
        return NumPyroTarget, (portable(self.model, self.name), self._args, self._kwargs)

    def contents(self) -> Contents:
        """Plates as dims, and the observed data."""
        sites = self.parameters.sites
        dims = {name: _axes(site) for name, site in sites.items()}
        observed = {name: np.asarray(sites[name]["value"]) for name in self.parameters.observed}
        return Contents(dims={name: of for name, of in dims.items() if of}, observed=observed)

    @property
    def n_likelihoods(self) -> int:
        """Number of log likelihoods per draw."""
        return sum(
            int(np.prod(self.parameters.sites[name]["fn"].batch_shape))
            for name in self.parameters.observed
        )

    def log_likelihood(self, Z: ArrayLike) -> dict[str, Array]:
        """Log likelihoods of the observed sites at Z (k, dim), (k, *batch shape) each."""
        found: dict[str, Array] = self.parameters.of_draws(self.parameters.likelihoods, Z)
        return found


class NumPyroParameters:
    """A NumPyro model's latent sites, and the maps between them and unconstrained numbers.

    Attributes
    ----------
    dim : int
    names : tuple of str
        Names of the unconstrained numbers: "sigma", "theta[0]".
    identity : bool
        True: the density takes unconstrained numbers.
    sites : dict of str to dict
        The sites of a trace of the model.
    observed : list of str
        Sites with data.
    """

    identity = True

    def __init__(
        self, name: str, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        import jax
        from numpyro import handlers
        from numpyro.distributions import Unit
        from numpyro.infer.util import unconstrain_fn

        self._args = args, kwargs
        self._double = jax.enable_x64
        self._compiled: dict[str, Any] = {}
        with self._double(True):
            seeded = handlers.seed(model, 0)
            self.sites: dict[str, Any] = handlers.trace(seeded).get_trace(*args, **kwargs)
            learned = {
                key: site["value"] for key, site in self.sites.items()
                if site["type"] in ("param", "mutable")
            }  # fmt: skip
            self.model = handlers.substitute(seeded, data=learned) if learned else seeded
            latent = _latent(name, self.sites)
            values = {key: self.sites[key]["value"] for key in latent}
            free = unconstrain_fn(self.model, args, kwargs, values)
        self.shapes = {key: tuple(np.shape(free[key])) for key in latent}
        self.observed = [
            key for key, site in self.sites.items()
            if site["type"] == "sample" and site["is_observed"] and not isinstance(site["fn"], Unit)
        ]  # fmt: skip
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes.values())])
        self._slices = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self.dim = int(ends[-1])
        self.names = tuple(
            f"{key}[{', '.join(map(str, index))}]" if shape else key
            for key, shape in self.shapes.items()
            for index in np.ndindex(shape)
        )

    def log_density(self, z: Any, *_: Any) -> Any:
        """The log density at z (dim,), traced by JAX."""
        from numpyro.infer.util import potential_energy

        return -potential_energy(self.model, *self._args, self._split(z))

    def likelihoods(self, z: Any) -> dict[str, Any]:
        """Log likelihoods of the observed sites at z (dim,), traced by JAX."""
        from numpyro.infer.util import constrain_fn, log_likelihood

        args, kwargs = self._args
        values = constrain_fn(self.model, args, kwargs, self._split(z))
        found = log_likelihood(self.model, values, *args, batch_ndims=0, **kwargs)
        return {name: found[name] for name in self.observed}

    def constrained(self, z: Any) -> dict[str, Any]:
        """Sites by name at z (dim,), traced by JAX."""
        from numpyro.infer.util import constrain_fn

        free = self._split(z)
        return dict(constrain_fn(self.model, *self._args, free, return_deterministic=True))

    def unconstrained(self, z: ArrayLike) -> dict[str, Array]:
        """Split unconstrained (..., dim) by name, each (..., *shape)."""
        return self._split(checks.points(z, self.dim))

    def _split(self, z: Any) -> dict[str, Any]:
        return {
            name: z[..., part].reshape((*z.shape[:-1], *shape))
            for (name, shape), part in zip(self.shapes.items(), self._slices)
        }

    def constrain(self, z: ArrayLike) -> dict[str, Array]:
        """Map unconstrained (..., dim) to sites by name, each (..., *shape).

        This includes deterministic sites.

        Raises
        ------
        ValueError
            If the last axis of z is not `dim`.
        """
        return self.of_draws(self.constrained, z)

    def unconstrain(self, values: Mapping[str, ArrayLike]) -> Array:
        """Map sites by name, each (*shape), to unconstrained (dim,).

        Raises
        ------
        ValueError
            If a site is missing or unknown, or violates its constraint.
        """
        from numpyro.infer.util import unconstrain_fn

        if values.keys() != self.shapes.keys():
            raise ValueError(f"given: {', '.join(values)}; wanted: {', '.join(self.shapes)}")
        arrays = {name: np.asarray(value, np.float64) for name, value in values.items()}
        with self._double(True):
            free = unconstrain_fn(self.model, *self._args, arrays)
        parts = [np.ravel(free[name]) for name in self.shapes]
        z = np.concatenate(parts).astype(np.float64)
        if z.shape != (self.dim,) or not np.isfinite(z).all():
            raise ValueError(f"{values} violates a constraint of the model, or has other shapes")
        return z

    def of_draws(self, function: Callable[[Any], Any], z: ArrayLike) -> dict[str, Array]:
        """A function of z (dim,) at z (..., dim), in one compiled call."""
        import jax

        z = checks.points(z, self.dim)
        key = function.__name__
        if key not in self._compiled:
            self._compiled[key] = jax.jit(jax.vmap(function))
        with self._double(True):
            found = self._compiled[key](z.reshape(-1, self.dim))
        return {
            name: np.array(x).reshape((*z.shape[:-1], *x.shape[1:])) for name, x in found.items()
        }


def _latent(name: str, sites: Mapping[str, Any]) -> list[str]:
    """Names of the latent sites, which must be continuous."""
    samples = {key: site for key, site in sites.items() if site["type"] == "sample"}
    latent = {key: site for key, site in samples.items() if not site["is_observed"]}
    discrete = [key for key, site in latent.items() if site["fn"].support.is_discrete]
    if discrete or not latent:
        raise ValueError(
            f"{name} has the discrete latent variables {discrete}; wanted continuous ones only "
            "(sum over discrete ones in the model)"
            if discrete
            else f"{name} has no latent variables; wanted at least one numpyro.sample without obs"
        )
    partial = [key for key, site in sites.items() if site["type"] == "plate" and _subsamples(site)]
    if partial:
        raise ValueError(
            f"{name} subsamples in the plates {partial}, so that its density is random; wanted "
            "plates without subsample_size"
        )
    return list(latent)


def _subsamples(plate: Mapping[str, Any]) -> bool:
    size, subsample_size = plate["args"]
    return subsample_size is not None and subsample_size != size


def _axes(site: Mapping[str, Any]) -> list[str]:
    """Names of a site's axes: its plates, from the left; names end before an axis without one."""
    if site["type"] != "sample" or not site["cond_indep_stack"]:
        return []
    n_batch = len(site["fn"].batch_shape)
    by_axis = {n_batch + plate.dim: plate.name for plate in site["cond_indep_stack"]}
    axes = []
    for axis in range(n_batch):
        if axis not in by_axis:
            break
        axes.append(by_axis[axis])
    return axes
