"""Targets from PyMC models, compiled by PyTensor through Numba."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastvi.base.typing import Array, ArrayLike
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
from fastvi.targets.contents import Contents
from fastvi.targets.data import Data, Field, prepare, prepare_like
from fastvi.transforms import Parameters

__all__ = ["PyMCTarget", "from_pymc"]


def from_pymc(model: Any = None) -> PyMCTarget:
    """Make a target from a PyMC model, including the Jacobians of its transforms.

    PyTensor compiles it through Numba, again in each process; it then runs as fast as any other
    target.

    Parameters
    ----------
    model : pymc.Model, optional
        By default that of the surrounding ``with``. ``target.bind({name: array})`` replaces the
        contents of `pymc.Data` without compilation.

    Returns
    -------
    PyMCTarget
        Its unconstrained parameters have PyMC's names of transformed variables, such as
        ``sigma_log__``. Dims, coords and observed data go to `Posterior.to_arviz`.

    Raises
    ------
    ImportError
        If pymc is not installed.
    ValueError
        If the model has discrete parameters (marginalize them) or no parameters.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_pymc(model)  # doctest: +SKIP
    """
    import pymc

    model = pymc.modelcontext(model)
    discrete = [variable.name for variable in model.discrete_value_vars]
    if discrete or not model.continuous_value_vars:
        raise ValueError(
            f"the model has the discrete parameters {discrete}; wanted continuous ones only "
            "(pymc_extras.marginalize removes discrete ones)"
        )
    compiled, data, parameters = _compile(model)
    return PyMCTarget(model, compiled, data, parameters)


class PyMCTarget(Target):
    """A `Target` whose density is that of a PyMC model."""

    def __init__(
        self, model: Any, compiled: Compiled, data: Data | None, parameters: Parameters
    ) -> None:
        self.model = model
        self._functions: dict[str, Any] = {}
        self._shared = compiled.owner[1].get_shared()  # type: ignore[index]
        super().__init__(model.name or "the PyMC model", compiled, parameters, data)

    def __reduce__(self) -> tuple[object, ...]:
        changed = None if self._data is None else self._data.by_name
        return _rebuild, (self.model, changed)

    def bind(self, data: Mapping[str, Any]) -> PyMCTarget:
        """Return the same density with new contents for some of the model's `pymc.Data`.

        Raises
        ------
        ValueError
            If a name is unknown, or a type differs from the compiled one.
        """
        if self._data is None:
            raise ValueError("the model has no pymc.Data, but data is given")
        fresh = prepare_like({**self._data.by_name, **data}, self._data.fields)
        return PyMCTarget(self.model, self.compiled, fresh, self.parameters)

    def constrain(self, z: ArrayLike) -> dict[str, Array]:
        """Map unconstrained (..., dim) to the model's variables by name, each (..., *shape).

        These are the model's own variables, deterministic ones included, but not transformed ones,
        which `unconstrained` has.
        """
        kept = {variable.name for variable in self.model.unobserved_RVs}
        outputs = [v for v in self.model.unobserved_value_vars if v.name in kept]
        return self._evaluated("constrain", outputs, [v.name for v in outputs], z)

    def contents(self) -> Contents:
        """Dims and coords of the model, its observations, and the rest of its `pymc.Data`."""
        model = self.model
        dims = {
            name: [f"{name}_dim_{i}" if axis is None else str(axis) for i, axis in enumerate(of)]
            for name, of in model.named_vars_to_dims.items()
        }
        coords = {name: list(of) for name, of in model.coords.items() if of is not None}
        values = {rv.name: model.rvs_to_values[rv] for rv in model.observed_RVs}
        constants = {v.name: v for v in model.data_vars if v not in values.values()}
        with self._with_data():
            observed, rest = (
                {name: np.asarray(variable.eval()) for name, variable in some.items()}
                for some in (values, constants)
            )
        return Contents(dims, coords, observed, rest)

    @property
    def n_likelihoods(self) -> int:
        """Number of log likelihoods per draw."""
        return sum(array.size for array in self.contents().observed.values())

    def log_likelihood(self, Z: ArrayLike) -> dict[str, Array]:
        """Log likelihoods of the observed variables at Z (k, dim), (k, *shape) each."""
        observed = self.model.observed_RVs
        outputs = self.model.logp(vars=observed, sum=False, jacobian=False)
        return self._evaluated("log_likelihood", outputs, [rv.name for rv in observed], Z)

    def _evaluated(
        self, key: str, outputs: Sequence[Any], names: Sequence[str], z: ArrayLike
    ) -> dict[str, Array]:
        """Values of some of the model's variables at z (..., dim), compiled once."""
        z = np.asarray(z, np.float64)
        if key not in self._functions:
            self._functions[key] = self.model.compile_fn(
                outputs, inputs=self.model.value_vars, point_fn=True
            )
        parts = self.unconstrained(z.reshape(-1, self.dim))
        with self._with_data():
            points = [
                self._functions[key]({name: part[i] for name, part in parts.items()})
                for i in range(int(np.prod(z.shape[:-1])))
            ]
        if not points:  # for the shapes
            some = self._evaluated(key, outputs, names, np.zeros((1, self.dim)))
            return {name: np.empty((*z.shape[:-1], *x.shape[1:])) for name, x in some.items()}
        return {
            name: np.stack([point[i] for point in points]).reshape(
                (*z.shape[:-1], *np.shape(points[0][i]))
            )
            for i, name in enumerate(names)
        }

    @contextlib.contextmanager
    def _with_data(self) -> Iterator[None]:
        """The model with the contents that this target is bound to."""
        shared = self._shared
        arrays = () if self._data is None else self._data.arrays
        before = [variable.get_value(borrow=True) for variable in shared]
        try:
            for variable, array in zip(shared, arrays):
                variable.set_value(array, borrow=True)
            yield
        finally:
            for variable, array in zip(shared, before):
                variable.set_value(array, borrow=True)


def _rebuild(model: Any, data: dict[str, Any] | None) -> PyMCTarget:
    target = from_pymc(model)
    return target if data is None else target.bind(data)


def _compile(model: Any) -> tuple[Compiled, Data | None, Parameters]:
    """Compile log density and gradient into one function of flat vector and shared variables."""
    import pytensor
    from pymc.pytensorf import join_nonshared_inputs

    from fastvi.kernels._compile import compile_pair

    point = model.initial_point()
    variables = model.continuous_value_vars
    outputs, joined = join_nonshared_inputs(
        point=point, outputs=[model.logp()], inputs=variables, shared_inputs={}
    )
    gradient = pytensor.grad(outputs[0], joined)
    function = pytensor.function([joined], [outputs[0], gradient], mode="NUMBA")
    parameters = Parameters({v.name: np.shape(point[v.name]) for v in variables})
    shared = function.get_shared()
    data = None
    if shared:
        names = [variable.name or f"shared{i}" for i, variable in enumerate(shared)]
        data = prepare({n: v.get_value() for n, v in zip(names, shared)})
    fields: tuple[Field, ...] = data.fields if data is not None else ()
    address, owner = compile_pair(function.vm.jit_fn, fields)
    return Compiled(address, (owner, function), has_gradient=True), data, parameters
