"""Targets from PyMC models, compiled by PyTensor through Numba."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import ArrayLike
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
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
        Its parameters have PyMC's names of transformed variables, such as ``sigma_log__``.

    Raises
    ------
    ImportError
        If pymc is not installed.
    ValueError
        If the model has discrete parameters (marginalize them) or no parameters.
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

    def constrain(self, z: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Map unconstrained (..., dim) to the model's variables by name, each (..., *shape).

        This includes deterministic variables, which use the `pymc.Data` of the model.
        """
        z = np.asarray(z, np.float64)
        outputs = self.model.unobserved_value_vars
        function = self.model.compile_fn(outputs, point_fn=True)
        points = [
            function({key: part[i] for key, part in self._parts(z).items()})
            for i in range(int(np.prod(z.shape[:-1])))
        ]
        return {
            output.name: np.stack([point[i] for point in points]).reshape(
                (*z.shape[:-1], *np.shape(points[0][i]))
            )
            for i, output in enumerate(outputs)
        }

    def _parts(self, z: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return self.parameters.constrain(z.reshape(-1, self.dim))  # type: ignore[no-any-return]


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
