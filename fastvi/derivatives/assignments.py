"""Assignments of Python, lowered to statements of the intermediate representation."""

from __future__ import annotations

import ast

from fastvi.derivatives.expressions import OPERATORS, Expressions
from fastvi.derivatives.ir import (
    Assign,
    Element,
    Expression,
    Number,
    Variable,
    reads,
)
from fastvi.derivatives.values import Array, Ended, Value

__all__ = ["Assignments"]


class Assignments(Expressions):
    """Lowers what binds names and writes to arrays."""

    def do_Assign(self, s: ast.Assign) -> None:
        value = self.expression(s.value)
        if len(s.targets) > 1:
            if isinstance(value, Array | list):
                self.refuse("several names for one array", "assign them one by one")
            if isinstance(value, Expression):
                value = self.settled(value, "t")
        for target in s.targets:
            self.store(target, value)

    def do_AnnAssign(self, s: ast.AnnAssign) -> None:
        if s.value is not None:
            self.store(s.target, self.expression(s.value))

    def store(self, target: ast.expr, value: Value) -> None:
        """Assign a value to a name, an element, a slice or several of them."""
        if isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value)
        elif isinstance(target, ast.Name):
            self._bind(target.id, value)
        elif isinstance(target, ast.Subscript):
            self._store_item(target, value)
        else:
            self.refuse(f"{ast.unparse(target)} is assigned to", "use names, elements and slices")

    def _unpack(self, target: ast.Tuple | ast.List, value: Value) -> None:
        n = len(target.elts)
        if isinstance(value, Array) and value.ndim:
            self.check(
                self.operation("!=", value.shape[0], Number(n)),
                f"an array is unpacked into {n} names",
            )
            source = self.readable(value)
            value = [self._row(source, Number(k)) for k in range(n)]
        if (
            not isinstance(value, list)
            or len(value) != n
            or any(isinstance(t, ast.Starred) for t in target.elts)
        ):
            self.refuse(
                f"the parts of {ast.unparse(target)} do not fit the value", "use as many names"
            )
        parts = [self.settled(v, "t") if isinstance(v, Expression) else v for v in value]
        for t, part in zip(target.elts, parts):
            self.store(t, part)

    def _bind(self, ident: str, value: Value) -> None:
        """Let a name stand for a value."""
        frame = self.frame
        old = frame.names.get(ident)
        if isinstance(value, Array) and not value.ndim:
            value = value.element(())
        if isinstance(value, Expression):
            self.assign(self.scalar_name(ident), value)
            return
        if isinstance(old, Variable):
            self.refuse(f"{ident} is a number and then something else", "use two names")
        if isinstance(value, list):
            value = [self._part(v) for v in value]
        if isinstance(value, Array):
            if isinstance(old, Array) and frame.levels.get(ident, 0) < self.level:
                self._replace_array(ident, old, value)
                return
            if value.base is None:
                value = self.materialised(value, ident)
        elif (
            old is not None
            and not isinstance(old, Ended)
            and frame.levels.get(ident, 0) < self.level
        ):
            self.refuse(f"{ident} stands for something else in a branch or loop", "use two names")
        frame.names[ident] = value
        frame.levels[ident] = self.level

    def _row(self, a: Array, i: Expression) -> Value:
        if a.ndim == 1:
            return a.element((i,))
        return Array(a.shape[1:], lambda index: a.element((i, *index)), a.kind, a.base, a.uses)

    def _part(self, value: Value) -> Value:
        """A part of a tuple that is kept under a name."""
        if isinstance(value, Expression):
            return self.settled(value, "t")
        if isinstance(value, Array) and value.base is None:
            return self.materialised(value, "a")
        return [self._part(v) for v in value] if isinstance(value, list) else value

    def _replace_array(self, ident: str, old: Array, value: Array) -> None:
        """A new array for a name within a branch or loop: its elements go into the old one."""
        whole = old.base in self.local and old.ndim == self.local[old.base][0]
        same = whole and value.ndim == old.ndim and old.kind in ("f", value.kind)
        n_names = sum(_stands_for(v, old.base) for f in self.stack for v in f.names.values())
        if not same or n_names > 1 or value.base is not None:
            self.refuse(
                f"{ident} stands for another array in a branch or loop",
                f"write its elements by {ident}[:] = ...",
            )
        for n, wanted in zip(value.shape, old.shape):
            self.same_length(n, wanted)
        self.fill(old, value)

    def scalar_name(self, ident: str) -> str:
        """Return the scalar of a name, a new one at first."""
        value = self.frame.names.get(ident)
        if isinstance(value, Variable) and value.name not in self.once:
            if value.name in self.indices:
                self.refuse(f"{ident}, the index of a loop, is assigned in it", "use another name")
            return value.name
        if value is not None and not isinstance(value, Variable | Ended):
            self.refuse(f"{ident} is an array or tuple and then a number", "use two names")
        name = self.unique(f"{ident}{self.frame.suffix}")
        self.frame.names[ident] = Variable(name)
        return name

    def _written(self, target: ast.Subscript) -> Expression | Array:
        owner = self.expression(target.value)
        writable = isinstance(owner, Array) and (
            owner.base in self.local or owner.base in self.outputs
        )
        if not isinstance(owner, Array) or not writable:
            self.refuse(
                f"{ast.unparse(target)} is written to, which is not in a local array",
                "make one by np.zeros or np.empty",
            )
        place = self.indexed(owner, target.slice)
        if isinstance(place, Array) and place.base is None:
            self.refuse(f"{ast.unparse(target)} is written through an index array", "use a loop")
        return place

    def _store_item(self, target: ast.Subscript, value: Value) -> None:
        if isinstance(value, Expression) and not self.is_settled(value):
            value = self.simple(value)
        place = self._written(target)
        if isinstance(place, Array):
            self.fill(place, value if isinstance(value, Array) else self.number(value, target))
            return
        assert isinstance(place, Element)
        self.emit(Assign(place, self.number(value, target), 0, self.line))

    def do_AugAssign(self, s: ast.AugAssign) -> None:
        name = OPERATORS[type(s.op)]
        sign = {"+": 1, "-": -1}.get(name, 0)
        if isinstance(s.target, ast.Name):
            place = self.expression(s.target)
            if isinstance(place, Variable):
                self._augment_scalar(s, sign)
                return
            if not isinstance(place, Array):
                self.refuse(f"{s.target.id} is not a number or an array", "use two names")
            if place.base not in self.local:
                self.refuse(f"{s.target.id} is not a local array", "make one by np.zeros")
        else:
            assert isinstance(s.target, ast.Subscript)
            place = self._written(s.target)
        start = len(self.block)
        value = self.expression(s.value)
        self._unwritten(self.block[start:], [place], s.value)
        if isinstance(place, Array):
            whole = value if sign else self.binary(s, s.op, place, value)
            self.fill(place, whole if isinstance(whole, Array) else self.number(whole, s), sign)
            return
        number = self.number(value, s.value)
        assert isinstance(place, Element)
        if sign and place.array not in reads(number):
            self.emit(Assign(place, number, sign, self.line))
        else:
            whole = self.number(self.binary(s, s.op, place, number), s)
            self.emit(Assign(place, whole, 0, self.line))

    def _augment_scalar(self, s: ast.AugAssign, sign: int) -> None:
        assert isinstance(s.target, ast.Name)
        number = self.scalar(s.value)
        name = self.scalar_name(s.target.id)
        if sign and name not in reads(number):
            self.assign(name, number, sign)
        else:
            self.assign(name, self.number(self.binary(s, s.op, Variable(name), number), s))


def _stands_for(value: Value | None, base: str | None) -> bool:
    """Whether a name's value is, or holds, a view of an array."""
    if isinstance(value, list):
        return any(_stands_for(v, base) for v in value)
    return isinstance(value, Array) and base in value.uses
