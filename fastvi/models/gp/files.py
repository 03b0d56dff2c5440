"""Model files of Gaussian processes, without pickle; see `fastvi.base.archive`."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import kernels

from fastvi.base import archive, checks

__all__ = ["decoded", "encoded", "load", "save"]

Array = NDArray[np.float64]
KIND = "gaussian-process"
ESTIMATORS = {
    "SparseGPRegressor": "fastvi.models.gp.regression",
    "SVGP": "fastvi.models.gp.variational",
    "SparseGPClassifier": "fastvi.models.gp.classification",
}
KERNELS = (
    "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "Product", "RBF",
    "RationalQuadratic", "Sum", "WhiteKernel",
)  # fmt: skip
OPTIONAL = ("log_marginal_likelihood_value_", "condition_", "converged_")


def encoded(value: Any) -> Any:
    """A kernel, or a parameter of one, as JSON holds it."""
    if isinstance(value, kernels.Kernel):
        parameters = value.get_params(deep=False)
        inner = {name: encoded(part) for name, part in parameters.items()}
        return {"class": type(value).__name__, "parameters": inner}
    if isinstance(value, str):
        return value
    return np.asarray(value, float).tolist()


def decoded(value: Any, where: str) -> Any:
    """What `encoded` was given.

    Raises
    ------
    ValueError
        If it is not what that makes.
    """
    if not isinstance(value, dict):
        return np.array(value, float) if isinstance(value, list) else value
    name, parameters = value.get("class"), value.get("parameters")
    if name not in KERNELS or not isinstance(parameters, dict):
        raise ValueError(f"{where}: kernel {name!r} is not known here")
    try:
        parts = {key: decoded(part, where) for key, part in parameters.items()}
        return getattr(kernels, name)(**parts)
    except TypeError as error:
        raise ValueError(f"{where}: kernel {name} is incomplete ({error})") from None


def save(estimator: Any, path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a fitted estimator; `state` has the arrays that its class needs beside the rest.

    Raises
    ------
    OSError
        If the file cannot be written; the old one is kept then.
    ValueError
        If a parameter is something no file holds.
    """
    arrays = dict(state) | {"inducing": estimator.inducing_points_}
    parameters: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        if name == "kernel":
            parameters[name] = None if value is None else encoded(value)
        elif name == "inducing_points" and np.ndim(value):
            arrays["given_inducing"] = np.asarray(value, float)
        else:
            parameters[name] = _plain(value, name)
    header: dict[str, Any] = {
        "class": type(estimator).__name__,
        "parameters": parameters,
        "kernel": encoded(estimator.kernel_),
        "jitter_": float(estimator.jitter_),
        "n_iter_": int(estimator.n_iter_),
        "n_features": int(estimator.n_features_in_),
    }
    header |= {n: _plain(getattr(estimator, n), n) for n in OPTIONAL if hasattr(estimator, n)}
    for name in ("feature_names_in_", "classes_"):
        if hasattr(estimator, name):
            arrays |= _labels(name, getattr(estimator, name))
    arrays |= {f"history.{name}": column for name, column in estimator.history_.items()}
    archive.save(path, KIND, header, arrays)


def _plain(value: Any, name: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (bool, int, float, str, type(None))):
        raise ValueError(
            f"{name} is {value!r}, which a file cannot hold; set_params another before saving"
        )
    return value


def _labels(name: str, labels: NDArray[Any]) -> dict[str, Any]:
    """Arrays of labels: numbers as they are, strings packed."""
    if labels.dtype.kind in "biuf":
        return {name: labels}
    if not all(isinstance(label, str) for label in labels.tolist()):
        raise ValueError(f"{name} has the dtype {labels.dtype}; a file holds numbers or strings")
    text, offsets = archive.pack_strings(labels.tolist())
    is_object = np.array(labels.dtype.kind == "O")
    return {name: text, f"{name}offsets": offsets, f"{name}object": is_object}


def load(path: str | os.PathLike[str]) -> Any:
    """The estimator that `save` wrote.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged or not a Gaussian process.
    """
    header, arrays = archive.load(path, KIND)
    try:
        return _restored(header, arrays, str(path))
    except (AttributeError, IndexError, KeyError, TypeError, np.linalg.LinAlgError) as error:
        raise ValueError(f"{path}: not a complete Gaussian process ({error!r})") from None


def _restored(header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: str) -> Any:
    name = checks.choice(header["class"], f"{path}: class", tuple(ESTIMATORS))
    cls = getattr(importlib.import_module(ESTIMATORS[name]), name)
    for key, array in arrays.items():
        if key.startswith("history."):  # what is not finite does no harm there
            continue
        if array.dtype == np.float64 and not np.all(np.isfinite(array)):
            raise ValueError(f"{path}: {key} holds NaN or infinity")
    parameters = dict(header["parameters"])
    parameters["kernel"] = decoded(parameters["kernel"], path)
    if "given_inducing" in arrays:
        parameters["inducing_points"] = arrays.pop("given_inducing")
    estimator = cls(**parameters)
    estimator.kernel_ = decoded(header["kernel"], path)
    estimator.inducing_points_ = _matrix(arrays, "inducing", path)
    for key in ("jitter_", "n_iter_", *OPTIONAL):
        if key in header:
            setattr(estimator, key, header[key])
    estimator.n_features_in_ = checks.integer(header["n_features"], f"{path}: n_features", 1)
    for key in ("feature_names_in_", "classes_"):
        if key in arrays:
            setattr(estimator, key, _unpacked(arrays, key, path))
    if name == "SparseGPClassifier":
        _check_classes(estimator.classes_, path)
    estimator.history_ = _history(arrays, path)
    if estimator.inducing_points_.shape[1] != estimator.n_features_in_:
        raise ValueError(f"{path}: the arrays of the model do not fit together")
    estimator._restore(arrays, path)
    return estimator


def _history(arrays: dict[str, NDArray[Any]], path: str) -> dict[str, Array]:
    """Columns of numbers, all of one length."""
    keys = [key for key in arrays if key.startswith("history.")]
    columns = {key.removeprefix("history."): arrays.pop(key) for key in keys}
    shapes = {column.shape for column in columns.values()}
    is_whole = all(column.dtype == np.float64 for column in columns.values())
    if not is_whole or len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(f"{path}: history_ is not columns of float64 of one length")
    return columns


def _unpacked(arrays: dict[str, NDArray[Any]], name: str, path: str) -> NDArray[Any]:
    array = arrays.pop(name)
    if f"{name}offsets" not in arrays:
        return array
    labels = archive.unpack_strings(array, arrays.pop(f"{name}offsets"), path)
    return np.array(labels, dtype=object if arrays.pop(f"{name}object") else np.str_)


def _check_classes(classes: NDArray[Any], path: str) -> None:
    """Labels that rise, as codes of labels are looked up by bisection."""
    if classes.ndim != 1 or len(classes) < 2 or not np.array_equal(np.unique(classes), classes):
        raise ValueError(f"{path}: classes_ is {classes!r}; wanted at least 2 labels that rise")


def _matrix(arrays: dict[str, NDArray[Any]], name: str, path: str) -> Array:
    array = arrays.pop(name)
    if array.dtype != np.float64 or array.ndim != 2 or not len(array):
        raise ValueError(f"{path}: {name} is {array.dtype} of shape {array.shape}")
    return array


def check_shapes(
    arrays: dict[str, NDArray[Any]], path: str, **shapes: tuple[int, ...]
) -> list[Array]:
    """Arrays of these names, if they have these shapes.

    Raises
    ------
    ValueError
        If one does not, or is missing.
    """
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].dtype != np.float64 or arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} is missing or not float64 of shape {shape}")
    return [arrays[name] for name in shapes]
