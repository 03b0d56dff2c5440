"""Targets from Stan models, through the C functions of BridgeStan."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike, RandomState
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
from fastvi.targets.contents import Contents

__all__ = ["StanParameters", "StanTarget", "from_stan"]

ERROR = ctypes.POINTER(ctypes.c_char_p)
DOUBLES = ctypes.POINTER(ctypes.c_double)
MODEL, BOOL, INT, TEXT = ctypes.c_void_p, ctypes.c_bool, ctypes.c_int, ctypes.c_char_p
SIGNATURES = {
    "bs_model_construct": (MODEL, [TEXT, ctypes.c_uint, ERROR]),
    "bs_model_destruct": (None, [MODEL]),
    "bs_free_error_msg": (None, [ctypes.c_void_p]),
    "bs_model_info": (TEXT, [MODEL]),
    "bs_name": (TEXT, [MODEL]),
    "bs_param_unc_names": (TEXT, [MODEL]),
    "bs_param_names": (TEXT, [MODEL, BOOL, BOOL]),
    "bs_param_constrain": (INT, [MODEL, BOOL, BOOL, DOUBLES, DOUBLES, ctypes.c_void_p, ERROR]),
    "bs_param_unconstrain_json": (INT, [MODEL, TEXT, DOUBLES, ERROR]),
    "bs_log_density_gradient": (INT, [MODEL, BOOL, BOOL, DOUBLES, DOUBLES, DOUBLES, ERROR]),
}


def from_stan(
    model: str | Path,
    data: Mapping[str, Any] | str | Path | None = None,
    *,
    random_state: RandomState = 0,
) -> StanTarget:
    """Make a target from a Stan model, including constants and the Jacobians of its constraints.

    Parameters
    ----------
    model : str or Path
        A ``.stan`` file, which the package bridgestan compiles (it needs Stan's sources), or a
        shared library made by BridgeStan, which does not need that package.
    data : mapping, JSON string or Path of a JSON file, optional
        Data in the form that Stan expects; a mapping may hold arrays.
    random_state : int, RandomState, Generator or None
        Used for random numbers in the model's transformed data.

    Returns
    -------
    StanTarget
        Its parameters have Stan's names, such as ``beta.1``. Unless the library was compiled with
        STAN_THREADS, only one thread at a time may call it (`concurrent` is False).

    Raises
    ------
    ImportError
        If a ``.stan`` file is given and bridgestan is not installed.
    ValueError
        If the library was not made by BridgeStan, or Stan refuses the data (its message is quoted).

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_stan("line.stan", {"N": 2, "y": [0.5, 1.5]})  # doctest: +SKIP
    """
    path = Path(model)
    if path.suffix == ".stan":
        import bridgestan

        path = Path(bridgestan.compile_model(path))
    return StanTarget(str(path.resolve()), _as_json(data), checks.seed_of(random_state))


class StanTarget(Target):
    """A `Target` whose density is a Stan model; its table holds the model, with its data."""

    def __init__(self, library: str, data: str, seed: int) -> None:
        self._source = library, data, seed
        self.model = _Model(library, data, seed)
        super().__init__(self.model.name, self.model.compiled(), StanParameters(self.model))

    def __reduce__(self) -> tuple[object, ...]:
        return StanTarget, self._source

    def contents(self) -> Contents:
        """All data as observed, except tuples and arrays whose rows differ in length."""
        data = json.loads(self._source[1])
        arrays = {name: _array(value) for name, value in data.items()}
        return Contents(observed={name: a for name, a in arrays.items() if a is not None})

    def bind(self, data: Mapping[str, Any] | str | Path) -> StanTarget:
        """Return the same model with other data."""
        library, _, seed = self._source
        return StanTarget(library, _as_json(data), seed)


class StanParameters:
    """Stan's parameters, and the maps between them and unconstrained ones.

    Attributes
    ----------
    dim : int
    names : tuple of str
        Stan's names of the unconstrained parameters.
    identity : bool
        True: Stan's density takes unconstrained numbers.
    """

    identity = True

    def __init__(self, model: _Model) -> None:
        self._model = model
        self.names = model.names("bs_param_unc_names")
        self._full = model.names("bs_param_names", False, False)
        self.dim = len(self.names)

    def constrain(self, z: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Map unconstrained (..., dim) to parameters by name, each (..., *shape)."""
        z = checks.points(z, self.dim)
        X = np.empty((*z.shape[:-1], len(self._full)))
        for index in np.ndindex(z.shape[:-1]):
            X[index] = self._model.constrain(z[index], len(self._full))
        return _by_name(self._full, X)

    def unconstrained(self, z: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Split unconstrained (..., dim) by name, each (..., *shape)."""
        return _by_name(self.names, checks.points(z, self.dim))

    def unconstrain(self, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Map parameters by name, each (*shape), to unconstrained (dim,)."""
        return self._model.unconstrain(_as_json(values), self.dim)


class _Model:
    """A BridgeStan library with a model bound to data, which is freed with this object."""

    def __init__(self, library: str, data: str, seed: int) -> None:
        self.library = ctypes.CDLL(library)
        try:
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(self.library, name)
                function.restype, function.argtypes = result, arguments
        except AttributeError as error:
            raise ValueError(f"{library} is not a BridgeStan model (2.x): {error}") from error
        message = ctypes.c_char_p()
        self.pointer = self.library.bs_model_construct(data.encode(), seed, message)
        if not self.pointer:
            raise ValueError(f"Stan refuses the data: {self._words(message)}")
        self.name = self.library.bs_name(self.pointer).decode()

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.library.bs_model_destruct(self.pointer)

    def names(self, function: str, *arguments: bool) -> tuple[str, ...]:
        text = getattr(self.library, function)(self.pointer, *arguments).decode()
        return tuple(text.split(",")) if text else ()

    def compiled(self) -> Compiled:
        from fastvi.kernels import targets
        from fastvi.kernels._jit import adapter

        function = ctypes.cast(self.library.bs_log_density_gradient, ctypes.c_void_p).value
        header = ((targets.FUNCTION, int(function or 0)), (targets.CONTEXT, self.pointer))
        threads = "STAN_THREADS=true" in (self.library.bs_model_info(self.pointer) or b"").decode()
        return Compiled(
            adapter(targets.from_stan)[0],
            self,
            has_gradient=True,
            header=header,
            explain=self.explain,
            status=lambda status: 1 - status,
            concurrent=threads,
        )

    def explain(self, z: NDArray[np.float64]) -> str:
        """Evaluate at z again, and return Stan's message about the failure."""
        value, grad, message = np.empty(1), np.empty(len(z)), ctypes.c_char_p()
        arrays = (_doubles(array) for array in (z, value, grad))
        self.library.bs_log_density_gradient(self.pointer, False, True, *arrays, message)
        return self._words(message)

    def constrain(self, z: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        z, x, message = np.ascontiguousarray(z), np.empty(size), ctypes.c_char_p()
        failed = self.library.bs_param_constrain(
            self.pointer, False, False, _doubles(z), _doubles(x), None, message
        )
        if failed:
            raise ValueError(f"{self.name}: {self._words(message)}")
        return x

    def unconstrain(self, values: str, dim: int) -> NDArray[np.float64]:
        z, message = np.empty(dim), ctypes.c_char_p()
        failed = self.library.bs_param_unconstrain_json(
            self.pointer, values.encode(), _doubles(z), message
        )
        if failed:
            raise ValueError(f"{self.name}: {self._words(message)}")
        return z

    def _words(self, message: ctypes.c_char_p) -> str:
        """Return the text of an error, and free it."""
        if not message.value:
            return "(it says nothing)"
        text = message.value.decode().strip()
        self.library.bs_free_error_msg(ctypes.cast(message, ctypes.c_void_p))
        return text


def _by_name(labels: Sequence[str], X: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Arrays (..., *shape) by name from columns with labels such as "beta.1"."""
    parts: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for column, label in enumerate(labels):
        name, *axes = label.split(".")
        parts.setdefault(name, []).append((tuple(int(i) - 1 for i in axes), column))
    found = {}
    for name, entries in parts.items():
        shape = tuple(np.max([at for at, _ in entries], axis=0) + 1) if entries[0][0] else ()
        found[name] = np.empty((*X.shape[:-1], *shape))
        for at, column in entries:
            place: Any = (..., *at)
            found[name][place] = X[..., column]
    return found


def _array(value: Any) -> AnyArray | None:
    """Numbers from JSON as an array, or None if they are not one."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows differ in length
        return None
    return array if array.dtype.kind in "biuf" else None


def _doubles(array: NDArray[np.float64]) -> Any:
    return array.ctypes.data_as(DOUBLES)


def _as_json(data: Mapping[str, Any] | str | Path | None) -> str:
    if isinstance(data, Path):
        return data.read_text()
    if isinstance(data, str):
        return data
    return json.dumps(dict(data or {}), default=lambda part: np.asarray(part).tolist())
