"""Parts of expressions: put in place of others, and how an expression depends on them."""

from __future__ import annotations

from fastvi.derivatives.ir import Element, Expression, Operation, Variable, reads

__all__ = ["chosen_by", "exchanged", "linear", "replaced"]


def replaced(e: Expression, values: dict[str, Expression]) -> Expression:
    """An expression with values in place of variables."""
    if isinstance(e, Variable):
        return values.get(e.name, e)
    if isinstance(e, Element):
        return Element(e.array, tuple(replaced(i, values) for i in e.index))
    if isinstance(e, Operation):
        return Operation(e.name, tuple(replaced(a, values) for a in e.args))
    return e


def exchanged(e: Expression, old: Expression, new: Expression) -> Expression:
    """An expression with one part exchanged for another."""
    if e == old:
        return new
    if isinstance(e, Operation):
        return Operation(e.name, tuple(exchanged(a, old, new) for a in e.args))
    return e


def linear(e: Expression, part: Expression) -> bool:
    """Whether an expression is linear in a part of it, so that it is largest at an end."""

    def free(x: Expression) -> bool:
        return part.name not in reads(x) if isinstance(part, Variable) else not _holds(x, part)

    if e == part or free(e):
        return True
    if not isinstance(e, Operation):
        return False
    if e.name in ("+", "-", "neg"):
        return all(linear(a, part) for a in e.args)
    return e.name == "*" and all(linear(a, part) for a in e.args) and any(map(free, e.args))


def _holds(e: Expression, part: Expression) -> bool:
    if e == part:
        return True
    return isinstance(e, Operation) and any(_holds(a, part) for a in e.args)


def chosen_by(e: Expression, index: str) -> Element | None:
    """The element of a vector at a loop's index, if an expression depends on that through it."""
    if isinstance(e, Element):
        one = len(e.index) == 1 and linear(e.index[0], Variable(index))
        return e if one and index in reads(e) else None
    if isinstance(e, Operation):
        found = {x for x in (chosen_by(a, index) for a in e.args) if x is not None}
        return found.pop() if len(found) == 1 else None
    return None
