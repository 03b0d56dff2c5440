"""Parameters and states as trees: arrays and numbers in NamedTuples, to any depth."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.tables import LazyTable

__all__ = ["leaves", "map_leaves", "rebuild", "restore", "save", "zeros_like"]


def rebuild(like: Any, parts: Any) -> Any:
    """A tuple of the type of `like` with other parts."""
    parts = tuple(parts)
    return type(like)(*parts) if hasattr(like, "_fields") else parts


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of the leaves at the same place of trees of one form, as a tree of that form."""
    if isinstance(tree, tuple):
        return rebuild(tree, (map_leaves(function, *parts) for parts in zip(tree, *others)))
    return function(tree, *others)


def leaves(tree: Any) -> list[Any]:
    """The leaves, depth first."""
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def zeros_like(tree: Any) -> Any:
    """Zeros in the form of dense gradients of these parameters."""

    def zeros(leaf: Any) -> NDArray[Any]:
        like = leaf.values if isinstance(leaf, LazyTable) else leaf
        return np.zeros_like(like, order="C")  # which may be viewed flat

    return map_leaves(zeros, tree)


def save(tree: Any, name: str = "") -> dict[str, NDArray[Any]]:
    """Arrays by dotted names, from which `restore` makes the tree again. None is left out."""
    if tree is None:
        return {}
    if isinstance(tree, LazyTable):
        return {f"{name}.{key}": value for key, value in tree.save().items()}
    if isinstance(tree, tuple):
        fields = getattr(tree, "_fields", range(len(tree)))
        parts = (save(part, f"{name}.{field}") for field, part in zip(fields, tree))
        return {key: value for part in parts for key, value in part.items()}
    return {name: np.asarray(tree)}


def restore(template: Any, arrays: dict[str, NDArray[Any]], name: str = "") -> Any:
    """The tree that `save` took apart, in the form of `template`, which a fresh start gives.

    What is None in the template may have become an array since, or a tuple of them, which keeps
    the names of its fields if not its type.

    Raises
    ------
    KeyError
        If an array is missing.
    ValueError
        If the template has None where a `LazyTable` was saved.
    """
    if template is None:
        return arrays[name] if name in arrays else _restore_new(arrays, name)
    if isinstance(template, LazyTable):
        return LazyTable.restore({key: arrays[f"{name}.{key}"] for key in template.save()})
    if isinstance(template, tuple):
        fields = getattr(template, "_fields", range(len(template)))
        return rebuild(
            template,
            (restore(part, arrays, f"{name}.{field}") for field, part in zip(fields, template)),
        )
    if isinstance(template, np.ndarray):
        return arrays[name]
    return type(template)(arrays[name])


def _restore_new(arrays: dict[str, NDArray[Any]], name: str) -> Any:
    """What has come where a template has None: a tuple of what is saved below the name, or None."""
    below = [key[len(name) + 1 :] for key in arrays if key.startswith(f"{name}.")]
    fields = list(dict.fromkeys(key.split(".", 1)[0] for key in below))
    if not fields:
        return None
    if {"values", "clock", "anchor"} <= set(fields):
        raise ValueError(f"{name} was saved as a LazyTable; the template has None there")
    if all(field.isdigit() for field in fields):
        numbers = range(max(map(int, fields)) + 1)  # one that is not there was None
        return tuple(restore(None, arrays, f"{name}.{i}") for i in numbers)
    return namedtuple("Restored", fields)(
        *(restore(None, arrays, f"{name}.{field}") for field in fields)
    )
