"""Checks of a density: its indices are within bounds, and its gradient is right."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.core import Batch
from fastvi.derivatives import NotDifferentiable
from fastvi.derivatives.values import parse
from fastvi.targets.base import Target, check_target
from fastvi.targets.failures import TargetError
from fastvi.targets.gradients import ROUNDING

__all__ = ["check", "raised", "refuse_indices", "screen"]

Shape = Sequence[int | None]  # None for an unknown length
FORGOTTEN = 1e-4  # relative difference that no rounding explains, not even in float32
MOST_ROWS = 100
CHOICES = (ast.If, ast.While, ast.Try, ast.With, ast.FunctionDef)


def check(target: Target, Z: ArrayLike | None = None, random_state: RandomState = 0) -> float:
    """Check all indices of a density, which compiled code does not, and then its gradient.

    Compiled code does not check that indices are within bounds, so a wrong index reads or writes
    foreign memory. This compiles the function again with such checks and calls it at the given
    points. This is done for densities from Python, including their helper functions. Then
    `Target.check_gradient` compares the gradient, if there is one, with finite differences.

    Parameters
    ----------
    target : Target
    Z : (dim,) or (k, dim) array, optional
        Where to check; by default at three standard normal vectors.
    random_state : int, RandomState, Generator or None
        Used to draw the vectors.

    Returns
    -------
    float
        The largest relative error of the gradient; 0.0 without a gradient.

    Raises
    ------
    IndexError
        If an index is out of bounds, with the line if Python finds it too.
    TargetError
        If the gradient is wrong, or the density fails or is not finite.
    ValueError
        If `target` is not a target, or Z has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> @fastvi.target(dim=2, data={"y": np.array([1.0, 2.0, 4.0])})
    ... def model(z, data):
    ...     value = -0.5 * z[0] ** 2
    ...     for i in range(data.y.size):
    ...         value -= 0.5 * (data.y[i] - z[i]) ** 2
    ...     return value
    >>> fastvi.check(model)
    Traceback (most recent call last):
        ...
    IndexError: model, line 5: index 2 is out of bounds for axis 0 with size 2
    """
    check_target(target)
    if Z is None:
        rng = checks.generator(random_state, "random_state")
        Z = rng.standard_normal((3, target.dim))
    target.check_indices(Z)
    if not target.has_gradient:
        target.log_prob(Z)
        return 0.0
    return target.check_gradient(Z)


def screen(target: Target, z: Array) -> None:
    """Refuse a gradient that is clearly wrong, at the cost of four values.

    Checks one direction near z (dim,); if that looks wrong, `Target.check_gradient` decides.

    Raises
    ------
    TargetError
        As in `Target.check_gradient`.
    """
    from fastvi.kernels import targets

    along, at = np.random.default_rng(0).standard_normal((2, target.dim))
    at = z + 0.1 * at
    along *= targets.STEP * np.maximum(1.0, np.abs(at))
    steps = np.array([[0.0], [1.0], [-1.0], [2.0], [-2.0]])
    values, slopes = target.attempt(at + steps * along)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes[0]))):
        return  # handled by the fit
    parts = slopes[0] * along
    wanted = (8.0 * (values[1] - values[2]) - (values[3] - values[4])) / 12.0
    room = 1e-3 * np.abs(parts).sum() + 100 * ROUNDING * np.abs(values).max()
    if np.abs(parts.sum() - wanted) > max(room, 1e-3 * np.abs(wanted)):
        target.check_gradient(at)


def screen_weights(target: Target, n_rows: int) -> None:
    """Refuse a density that does not multiply its rows' terms by their weights.

    Rows of weight 2 and the same rows twice are the same data, so that densities must agree. This
    holds for any density of rows, whatever its prior; where weights are forgotten, or left out of a
    term, it fails at every point. Compares at four points, with at most so many rows.

    Raises
    ------
    TargetError
        If the two differ at all points where they are finite.
    """
    if not target.n_rows:
        return
    rows = np.arange(min(n_rows, target.n_rows, MOST_ROWS))
    points = np.random.default_rng(0).standard_normal((4, target.dim))
    heavy = target.attempt(points, Batch(rows, np.full(len(rows), 2.0)), with_gradient=False)[0]
    twice = target.attempt(
        points, Batch(np.tile(rows, 2), np.ones(2 * len(rows))), with_gradient=False
    )[0]
    known = np.isfinite(heavy) & np.isfinite(twice)
    size = np.maximum(np.abs(heavy[known]), np.abs(twice[known]))
    if known.any() and np.all(np.abs(heavy - twice)[known] > FORGOTTEN * size):
        one = int(np.argmax(known))
        raise TargetError(
            f"{target.name}: {len(rows)} rows of weight 2 have log density {heavy[one]:.6g}, and "
            f"the same rows twice {twice[one]:.6g}, so that mini-batches would give another "
            "posterior; multiply each row's term by its weight, weights[m]",
            points[one].copy(),
        )


def refuse_indices(function: Any, name: str, shapes: Mapping[str, Shape]) -> None:
    """Refuse literal indices out of bounds in code that a function always runs.

    Parameters
    ----------
    function : function
    name : str
        Name in the message.
    shapes : mapping of str to sequence
        Shapes of arrays by their source code, such as "z" and "data.y".

    Raises
    ------
    ValueError
        If there is such an index.
    """
    try:
        node = parse(function)
    except NotDifferentiable:
        return
    for part in _always(node.body):
        shape = shapes.get(ast.unparse(part.value))
        if shape is None:
            continue
        for axis, (index, size) in enumerate(zip(_literals(part.slice), shape)):
            if index is not None and size is not None and not -size <= index < size:
                array = ast.unparse(part.value)
                raise ValueError(
                    f"{name}, line {part.lineno}: {ast.unparse(part)} is out of bounds: axis "
                    f"{axis} of {array} has length {size}; wanted an index from 0 to {size - 1}"
                )


def _always(body: list[ast.stmt]) -> Iterator[ast.Subscript]:
    """Indexed expressions that are always evaluated, if loops are not empty."""
    for statement in body:
        if isinstance(statement, CHOICES):
            return  # it may keep the rest from being reached
        if isinstance(statement, ast.For):
            yield from _subscripts(statement.iter)
            yield from _always(statement.body)
        else:
            yield from _subscripts(statement)


def _subscripts(node: ast.AST) -> Iterator[ast.Subscript]:
    if isinstance(node, ast.IfExp | ast.BoolOp | ast.Lambda):
        return
    if isinstance(node, ast.Subscript):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _subscripts(child)


def _literals(index: ast.expr) -> list[int | None]:
    """Indices of axes that are literals; none after a new axis or an ellipsis."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    found: list[int | None] = []
    for part in parts:
        value: Any = None
        if not isinstance(part, ast.Slice):
            try:
                value = ast.literal_eval(part)
            except ValueError:
                value = "computed"
            if value is None or value is ...:
                break
        found.append(value if isinstance(value, int) and not isinstance(value, bool) else None)
    return found


def raised(plain: Any, arguments: Sequence[Any]) -> tuple[Exception, int] | None:
    """What an interpreted function raises, if anything, and in which line of it."""
    try:
        with np.errstate(all="ignore"):
            plain(*arguments)
    except Exception as error:
        line, at = 0, error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename == plain.__code__.co_filename:
                line = at.tb_lineno
            at = at.tb_next
        return error, line
    return None
