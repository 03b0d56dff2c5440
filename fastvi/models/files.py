"""Files of estimators, without pickle; see `fastvi.base.archive`.

A file holds the name of the class, the constructor's parameters in the fit and those that were set
since, what the fit reports, and the arrays of the model. An estimator selects these (`_saved`) and
restores them (`_restore`). Everything else is computed again, so that a file cannot contradict
itself; arrays named ``compiled.`` are for the C library alone, which has no linear algebra.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from fastvi.base import archive, checks, strings, tree
from fastvi.base.typing import AnyArray, Array, DTypeLike, JsonObject
from fastvi.gradients.reduction import REDUCTIONS, Reduction
from fastvi.models.names import ESTIMATORS

__all__ = ["KIND", "Saved", "load", "save"]

KIND = "estimator"
REPORTED = (  # numbers
    "n_iter_", "n_batch_iter_", "converged_", "elbo_", "log_evidence_", "best_iter_",
    "best_score_",
)  # fmt: skip
LABELS = ("feature_names_in_", "classes_")
BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, np.linalg.LinAlgError)


class Saved:
    """The contents of a file by name, checked on access.

    Attributes
    ----------
    path : str
        Start of error messages.
    parameters : dict
        Parameters of the constructor, in the fit.
    changed : dict
        Those that were set since.
    values : dict
        Other JSON values.
    arrays : dict of str to array
    info : dict
        JSON values about the corpus of topics.
    """

    def __init__(self, path: str, header: JsonObject, arrays: dict[str, AnyArray]) -> None:
        self.path, self.arrays = path, arrays
        self.parameters, self.values = dict(header["parameters"]), dict(header["values"])
        self.changed = dict(header.get("changed", {}))
        self.n_features = checks.integer(header["n_features"], f"{path}: n_features", 1)
        self.info: JsonObject = dict(header.get("info", {}))

    def array(self, name: str, *shape: int | None, dtype: DTypeLike = np.float64) -> AnyArray:
        """Return a finite array of this dtype and shape, in which None is any length.

        Raises
        ------
        ValueError
            If it is missing or different.
        """
        array = self.arrays.get(name)
        if array is None:
            raise ValueError(f"{self.path}: {name} is missing")
        fits = array.dtype == dtype and array.ndim == len(shape)
        if not fits or any(n not in (None, m) for n, m in zip(shape, array.shape)):
            raise ValueError(
                f"{self.path}: {name} is {array.dtype} of shape {array.shape}; "
                f"wanted {np.dtype(dtype)} of shape {shape}"
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{self.path}: {name} holds NaN or infinity")
        return array

    def tree(self, name: str, template: Any) -> Any:
        """Return a tree of finite numbers in the form of `template`."""
        found = tree.restore(template, self.arrays, name)
        if not all(np.all(np.isfinite(leaf)) for leaf in tree.leaves(found)):
            raise ValueError(f"{self.path}: {name} holds NaN or infinity")
        return found

    def positive(self, name: str, *shape: int | None) -> Array:
        """As `array`, for numbers above 0."""
        array = self.array(name, *shape)
        if np.any(array <= 0):
            raise ValueError(f"{self.path}: {name} must hold numbers > 0")
        return array

    def dtype(self) -> Any:
        """Return the dtype of the rows of the fit, float32 or float64."""
        return np.dtype(checks.choice(self.values["dtype"], "dtype", ("float32", "float64")))

    def labels(self, name: str) -> AnyArray:
        """Return an array of labels, as packed by `save`."""
        array = self.arrays[name]
        if f"{name}offsets" not in self.arrays:
            return array
        labels = strings.unpack_strings(array, self.arrays[f"{name}offsets"], self.path)
        return np.array(labels, dtype=object if self.arrays[f"{name}object"] else np.str_)

    def history(self) -> dict[str, Array]:
        """Return columns of numbers of the same length."""
        columns = {
            name.removeprefix("history."): array
            for name, array in self.arrays.items()
            if name.startswith("history.")
        }
        shapes = {column.shape for column in columns.values()}
        is_whole = all(column.dtype == np.float64 for column in columns.values())
        if not is_whole or len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise ValueError(f"{self.path}: history_ is not columns of float64 of one length")
        return columns


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator.

    Raises
    ------
    OSError
        If the file cannot be written; an old file is then kept.
    ValueError
        If a parameter cannot be stored.
    """
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, part in estimator._saved().items():
        if isinstance(part, (bool, int, float, str)):
            values[name] = part
        else:
            arrays |= tree.save(part, name)
    arrays |= {f"compiled.{name}": part for name, part in estimator._for_library().items()}
    parameters, changed = _parameters(estimator, arrays)
    values |= {n: _number(getattr(estimator, n)) for n in REPORTED if hasattr(estimator, n)}
    for name in LABELS:
        if hasattr(estimator, name):
            arrays |= _labels(name, getattr(estimator, name))
    if hasattr(estimator, "vocabulary_"):
        words = [str(word) for word in estimator.vocabulary_]
        arrays |= _labels("vocabulary_", np.array(words, dtype=object))
    columns = getattr(estimator, "history_", {})
    arrays |= {f"history.{name}": column for name, column in columns.items()}
    header = {
        "class": type(estimator).__name__,
        "parameters": parameters,
        "changed": changed,
        "values": values,
        "n_features": int(estimator.n_features_in_),
        "info": getattr(estimator, "_info", {}),
    }
    archive.save(path, KIND, header, arrays)


def _parameters(estimator: Any, arrays: dict[str, Any]) -> tuple[JsonObject, JsonObject]:
    """Encode the parameters of the fit, and those set since; arrays are added to `arrays`.

    Where only the value set since can be stored, it stands for that of the fit, too.
    """
    fitted, changed = {}, {}
    before = estimator._parameters_of_fit()
    for name, value in estimator.get_params(deep=False).items():
        kept = estimator._encoded(name, value)
        fitted[name] = kept
        if value is not before[name]:
            try:
                fitted[name], changed[name] = estimator._encoded(name, before[name]), kept
            except ValueError:
                continue
    for kind, found in (("parameters", fitted), ("changed", changed)):
        for name, value in found.items():
            if isinstance(value, np.ndarray):
                arrays[f"{kind}.{name}"], found[name] = value, {"array": f"{kind}.{name}"}
    return fitted, changed


def encoded(name: str, value: Any) -> Any:
    """Encode a constructor's parameter as JSON or an array.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):  # weights of labels, which need not be strings
        return [[_number(label), float(weight)] for label, weight in value.items()]
    if isinstance(value, Reduction):
        return {"tool": value.name, "numbers": value.numbers}
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else None
    if array is None or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} is {value!r}, which a file cannot hold; use set_params before saving"
        )
    return array


def decoded(name: str, value: Any, saved: Saved) -> Any:
    """Inverse of `encoded`."""
    if isinstance(value, list):
        return dict(value)
    if not isinstance(value, dict):
        return value
    if "tool" in value:
        return REDUCTIONS[value["tool"]](**value["numbers"])
    return saved.arrays[value["array"]]


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _labels(name: str, labels: AnyArray) -> dict[str, Any]:
    """Encode an array of labels: numbers as they are, strings packed."""
    if labels.dtype.kind in "biuf":
        return {name: labels}
    if not all(isinstance(label, str) for label in labels.tolist()):
        raise ValueError(f"{name} has dtype {labels.dtype}; a file can hold numbers or strings")
    text, offsets = strings.pack_strings(labels.tolist())
    is_object = np.array(labels.dtype.kind == "O")
    return {name: text, f"{name}offsets": offsets, f"{name}object": is_object}


def load(path: str | os.PathLike[str]) -> Any:
    """Load an estimator that `save` wrote.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged or not an estimator.
    """
    header, arrays = archive.load(path, KIND)
    try:
        return _restored(Saved(str(path), header, arrays), header["class"])
    except BROKEN as error:
        raise ValueError(f"{path}: not a complete estimator ({error!r})") from None
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(path) in text else f"{path}: {text}") from None


def _restored(saved: Saved, name: str) -> Any:
    name = checks.choice(name, f"{saved.path}: class", tuple(ESTIMATORS))
    cls = getattr(importlib.import_module(ESTIMATORS[name]), name)
    given = saved.parameters.items()
    estimator = cls(**{key: cls._decoded(key, value, saved) for key, value in given})
    estimator.n_features_in_ = saved.n_features
    for key in REPORTED:
        if key in saved.values:
            setattr(estimator, key, _reported(key, saved))
    for key in LABELS:
        if key in saved.arrays:
            setattr(estimator, key, saved.labels(key))
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and len(names) != saved.n_features:
        raise ValueError(f"{saved.path}: {len(names)} names of {saved.n_features} features")
    if "vocabulary_" in saved.arrays:
        estimator.vocabulary_ = saved.labels("vocabulary_").tolist()
        if len(estimator.vocabulary_) != saved.n_features:
            raise ValueError(f"{saved.path}: wanted {saved.n_features} words in the vocabulary")
    if saved.info:
        estimator._info = saved.info
    estimator.history_ = saved.history()
    with np.errstate(all="ignore"):
        estimator._restore(saved)
    estimator._remember()
    changed = saved.changed.items()
    return estimator.set_params(**{key: cls._decoded(key, value, saved) for key, value in changed})


def _reported(name: str, saved: Saved) -> Any:
    value = saved.values[name]
    if not isinstance(value, (bool, int, float)):
        raise ValueError(f"{saved.path}: {name} is {value!r}; wanted a number")
    return value
