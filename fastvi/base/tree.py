"""Parameters and states as trees: arrays and numbers in nested NamedTuples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from fastvi.base.tables import LazyTable
from fastvi.base.typing import AnyArray, DTypeLike

__all__ = [
    "borrowed",
    "copy",
    "leaves",
    "like",
    "map_leaves",
    "read_only",
    "rebuild",
    "restore",
    "save",
    "zeros_like",
]

T = TypeVar("T")

TABLE = ("values", "clock", "decay", "column_sums", "anchor")  # what a LazyTable saves


def rebuild(like: Any, parts: Iterable[object]) -> Any:
    """Make a tuple of the type of `like` with other parts."""
    parts = tuple(parts)
    return type(like)(*parts) if hasattr(like, "_fields") else parts


def read_only(array: AnyArray) -> AnyArray:
    """Return a read-only view, or the array if it is read-only."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def map_leaves(function: Callable[..., object], tree: Any, *others: object) -> Any:
    """Apply `function` to corresponding leaves of trees of the same form."""
    if isinstance(tree, tuple):
        return rebuild(tree, (map_leaves(function, *parts) for parts in zip(tree, *others)))
    return function(tree, *others)


def leaves(tree: object) -> list[Any]:
    """Return the leaves, depth first."""
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def zeros_like(tree: T) -> T:
    """Return zeros in the form of a dense gradient of these parameters."""

    def zeros(leaf: LazyTable | AnyArray) -> AnyArray:
        like = leaf.values if isinstance(leaf, LazyTable) else leaf
        return np.zeros_like(like, order="C")  # so that it can be viewed as flat

    fresh: T = map_leaves(zeros, tree)
    return fresh


def copy(tree: T) -> T:
    """Copy a tree with its arrays, so that steps do not change the given one."""

    def leaf(part: object) -> object:
        if isinstance(part, LazyTable):
            return LazyTable.restore({key: np.array(value) for key, value in part.save().items()})
        return part.copy() if isinstance(part, np.ndarray) else part

    copied: T = map_leaves(leaf, tree)
    return copied


@contextmanager
def borrowed(tree: T) -> Iterator[T]:
    """Yield a tree to step from; if the block fails, the given one is unchanged.

    Arrays are copied, as in `copy`, but lazy tables share their rows and restore those that were
    written to after an error. After success, the given tree must no longer be used.
    """
    tables = []

    def leaf(part: object) -> object:
        if isinstance(part, LazyTable):
            tables.append(part.borrowed())
            return tables[-1]
        return part.copy() if isinstance(part, np.ndarray) else part

    try:
        yield map_leaves(leaf, tree)
    except BaseException:
        for table in tables:
            table.give_back()
        raise
    for table in tables:
        table.keep()


def save(tree: object, name: str = "") -> dict[str, AnyArray]:
    """Return arrays by dotted names, from which `restore` rebuilds the tree; None is omitted."""
    if tree is None:
        return {}
    if isinstance(tree, LazyTable):
        return {f"{name}.{key}": value for key, value in tree.save().items()}
    if isinstance(tree, tuple):
        fields = getattr(tree, "_fields", range(len(tree)))
        parts = (save(part, f"{name}.{field}") for field, part in zip(fields, tree))
        return {key: value for part in parts for key, value in part.items()}
    return {name: np.asarray(tree)}


def restore(template: Any, arrays: dict[str, AnyArray], name: str = "") -> Any:
    """Rebuild the tree that `save` took apart, in the form of `template`, from a fresh start.

    Kernels look up rows unchecked, so arrays must have the shapes and dtypes of the template. A
    NamedTuple whose arrays grow checks them itself: ``template.adopted(found)`` returns the one to
    use. What is None in the template may have become an array, or a tuple of arrays that keeps its
    field names but not its type; its user must check the shapes.

    Raises
    ------
    KeyError
        If an array is missing.
    ValueError
        If an array has another shape or dtype.
    """
    if template is None:
        return arrays[name] if name in arrays else _restore_new(arrays, name)
    if isinstance(template, LazyTable):
        return _restore_table(template, arrays, name)
    if isinstance(template, tuple):
        return _restore_tuple(template, arrays, name)
    array, wanted = arrays[name], np.asarray(template)
    _check(name, array, wanted.dtype, wanted.shape)
    return array if isinstance(template, np.ndarray) else type(template)(array)


def _restore_tuple(template: Any, arrays: dict[str, AnyArray], name: str) -> Any:
    adopted = getattr(template, "adopted", None)
    parts: Any = template if adopted is None else (None,) * len(template)
    fields = getattr(template, "_fields", range(len(template)))
    found = rebuild(
        template, (restore(part, arrays, f"{name}.{field}") for field, part in zip(fields, parts))
    )
    return found if adopted is None else adopted(found)


def _restore_table(template: LazyTable, arrays: dict[str, AnyArray], name: str) -> LazyTable:
    saved = {key: arrays[f"{name}.{key}"] for key in template.save()}
    for key, part in template.save().items():
        shape = np.shape(part)
        if key == "anchor" and saved[key].shape in ((), template.values.shape):
            shape = saved[key].shape  # SVRG anchors a table to another table
        _check(f"{name}.{key}", saved[key], np.asarray(part).dtype, shape)
    return LazyTable.restore(saved)


def _check(name: str, array: AnyArray, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}; wanted {dtype} of shape {shape}"
        )


def _restore_new(arrays: dict[str, AnyArray], name: str) -> Any:
    """Restore where the template has None: a tuple of what was saved under the name, or None."""
    below = [key[len(name) + 1 :] for key in arrays if key.startswith(f"{name}.")]
    fields = list(dict.fromkeys(key.split(".", 1)[0] for key in below))
    if not fields:
        return None
    if set(TABLE) <= set(fields):
        return LazyTable.restore({key: arrays[f"{name}.{key}"] for key in TABLE})
    if all(field.isdigit() for field in fields):
        numbers = range(max(map(int, fields)) + 1)  # missing ones were None
        return tuple(restore(None, arrays, f"{name}.{i}") for i in numbers)
    return namedtuple("Restored", fields)(
        *(restore(None, arrays, f"{name}.{field}") for field in fields)
    )


def like(tree: object, other: object) -> bool:
    """Whether two trees have the same number of leaves, of the same shapes and dtypes."""
    pairs = list(map(np.asarray, leaves(tree))), list(map(np.asarray, leaves(other)))
    forms = [[(leaf.shape, leaf.dtype) for leaf in part] for part in pairs]
    return forms[0] == forms[1]
