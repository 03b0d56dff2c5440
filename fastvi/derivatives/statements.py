"""Statements of Python, lowered so that there is one exit: returns, breaks and continues go."""

from __future__ import annotations

import ast
from collections.abc import Callable

from fastvi.derivatives.arrays import WANTED
from fastvi.derivatives.expressions import OPERATORS, Expressions
from fastvi.derivatives.ir import (
    Assign,
    Element,
    Expression,
    For,
    If,
    Number,
    Variable,
    While,
    reads,
)
from fastvi.derivatives.values import Array, Closure, Ended, Frame, Known, Value

__all__ = ["Statements"]

EXITS = (ast.Return, ast.Break, ast.Continue)
TRUE, FALSE = Number(True), Number(False)


def leaves(statements: list[ast.stmt], kinds: tuple[type, ...] = EXITS) -> bool:
    """Whether statements hold a return, or a break or continue of the loop around them."""
    for s in statements:
        if isinstance(s, kinds):
            return True
        if isinstance(s, ast.If) and (leaves(s.body, kinds) or leaves(s.orelse, kinds)):
            return True
        if (
            isinstance(s, ast.For | ast.While)
            and ast.Return in kinds
            and leaves(s.body, (ast.Return,))
        ):
            return True
    return False


def always_leaves(statements: list[ast.stmt]) -> bool:
    """Whether what follows the statements is never reached."""
    if not statements:
        return False
    last = statements[-1]
    if isinstance(last, ast.If):
        return always_leaves(last.body) and always_leaves(last.orelse)
    return isinstance(last, (*EXITS, ast.Raise))


class Statements(Expressions):
    """Lowers each kind of statement, in the methods ``do_...``."""

    def statements(self, body: list[ast.stmt]) -> None:
        """Lower statements, those after a possible exit under a condition."""
        for k, s in enumerate(body):
            self.line = s.lineno
            rest = body[k + 1 :]
            if isinstance(s, ast.If) and leaves([s]):
                self._leaving_branch(s, rest)
                return
            if isinstance(s, ast.For | ast.While) and leaves(s.body, (ast.Return,)):
                self._leaving_loop(s, rest)
                return
            method: Callable[[ast.stmt], None] | None = getattr(
                self, f"do_{type(s).__name__}", None
            )
            if method is None:
                self.refuse(
                    f"{type(s).__name__.lower()} is not differentiated",
                    "use assignments, if, for, while and return",
                )
            method(s)
            if isinstance(s, EXITS):
                return

    def inner(self, lower: Callable[[], None]) -> list:  # type: ignore[type-arg]
        """The statements of a branch or a round, whose names of arrays end with it."""
        frames = self._frames()
        before = [dict(f.names) for f in frames]
        self.level += 1
        statements, _ = self.aside(lower)
        self.level -= 1
        for frame, names in zip(frames, before):
            for name, value in frame.names.items():
                if not isinstance(value, Variable) and names.get(name) is not value:
                    frame.names[name] = Ended()
        return statements

    def _frames(self) -> list[Frame]:
        found, frame = [], self.frame
        while frame is not None:
            found.append(frame)
            frame = frame.outer  # type: ignore[assignment]
        return found

    # Branches.
    def do_If(self, s: ast.If) -> None:
        self.branch(s.test, lambda: self.statements(s.body), lambda: self.statements(s.orelse))

    def branch(self, test: ast.expr, body: Callable[[], None], orelse: Callable[[], None]) -> None:
        """Emit a branch, or what is chosen if that is known now."""
        truth = self.truth(test)
        if isinstance(truth, Number):
            (body if truth.value else orelse)()
            return
        statement = If(self.condition(truth), [], [], self.line)
        statement.body = self.inner(body)
        statement.orelse = self.inner(orelse)
        self.emit(statement)

    def _leaving_branch(self, s: ast.If, rest: list[ast.stmt]) -> None:
        """An if in which there is a return, break or continue, and what follows it."""
        if always_leaves(s.body):
            body, orelse = s.body, s.orelse + ([] if always_leaves(s.orelse) else rest)
            self.branch(s.test, lambda: self.statements(body), lambda: self.statements(orelse))
        elif always_leaves(s.orelse):
            whole = s.body + rest
            self.branch(s.test, lambda: self.statements(whole), lambda: self.statements(s.orelse))
        else:
            flag = self._flag("skip")
            self.frame.skips.append((len(self.frame.leaves), flag))
            self.do_If(s)
            self.frame.skips.pop()
            self._unless(flag, rest)

    def _flag(self, stem: str) -> str:
        name = self.fresh(stem)
        self.assign(name, FALSE)
        return name

    def _unless(self, flag: str, rest: list[ast.stmt]) -> None:
        if rest:
            test = self.condition(self.operation("not", Variable(flag)))
            self.emit(If(test, self.inner(lambda: self.statements(rest)), [], self.line))

    def _leave(self, every: bool) -> None:
        """Set what keeps the statements after a break, continue or return from running."""
        depth = len(self.frame.leaves)
        for at, flag in self.frame.skips:
            if every or at == depth:
                self.assign(flag, TRUE)

    def do_Continue(self, s: ast.Continue) -> None:
        self._leave(every=False)

    def do_Break(self, s: ast.Break) -> None:
        self._leave(every=False)
        self.assign(self.frame.leaves[-1], TRUE)

    def do_Return(self, s: ast.Return) -> None:
        frame = self.frame
        if s.value is not None:
            value = self.expression(s.value)
            parts = value if isinstance(value, list) else [value]
            count = len(parts) if isinstance(value, list) else 0
            if frame.n_returned not in (-1, count):
                self.refuse("returns of different kinds", "return the same number of values")
            frame.n_returned = count
            for k, part in enumerate(parts):
                if isinstance(part, Array) and part.ndim:
                    self.refuse(
                        "an array is returned from one of several places",
                        "assign it to one name and return that at the end",
                    )
                name = f"{frame.returned}_part{k}" if count else frame.returned
                self.assign(name, self.number(part, s.value))
        self._leave(every=True)
        for name in frame.leaves:
            self.assign(name, TRUE)
        if frame.leaves:
            self.assign(frame.done, TRUE)

    # Loops.
    def _leaving_loop(self, s: ast.For | ast.While, rest: list[ast.stmt]) -> None:
        """A loop in which there is a return, and what follows it."""
        frame = self.frame
        if not frame.leaves:
            frame.done = self._flag("done")
        (self.do_For if isinstance(s, ast.For) else self.do_While)(s)  # type: ignore[arg-type]
        self._unless(frame.done, rest)

    def _round(self, body: list[ast.stmt], leave: str, before: Callable[[], None]) -> list:  # type: ignore[type-arg]
        """The statements of a loop's round."""

        def lower() -> None:
            before()
            self.statements(body)

        self.frame.leaves.append(leave)
        skips, self.frame.skips = self.frame.skips, list(self.frame.skips)
        statements = self.inner(lower)
        self.frame.skips = skips
        self.frame.leaves.pop()
        return statements

    def _counter(self) -> str:
        name = self.fresh("rounds")
        self.kinds[name] = "i"
        return name

    def do_For(self, s: ast.For) -> None:
        if s.orelse:
            self.refuse("a loop with else", "use a flag")
        start, stop, step, index, before = self._loop_head(s)
        leave = self.fresh("leave") if leaves(s.body, (ast.Break, ast.Return)) else ""
        loop = For(index, start, stop, step, [], self.line, leave)
        if leave:
            self.kinds[leave] = "b"
            loop.rounds = self._counter()
        self.indices.append(index)
        loop.body = self._round(s.body, leave, before)
        self.indices.pop()
        self.ended_indices.add(index)
        self.emit(loop)

    def _loop_head(self, s: ast.For) -> tuple[Expression, Expression, int, str, Callable[[], None]]:
        """Start, stop, step and index of a loop, and what binds its other names in each round."""
        callee = self._known_name(s.iter)
        if callee == "range":
            assert isinstance(s.iter, ast.Call)
            start, stop, step = self._range(s.iter)
            return start, stop, step, self._index(s.target), lambda: None
        counter: ast.expr | None = None
        target, source = s.target, s.iter
        if callee == "enumerate":
            assert isinstance(source, ast.Call)
            if len(source.args) != 1 or source.keywords or not _has_parts(target, 2):
                self.refuse("enumerate with a start, or not into two names", "use range")
            counter, target = target.elts  # type: ignore[attr-defined]
            source = source.args[0]
        pairs = [(target, source)]
        if self._known_name(source) == "zip":
            assert isinstance(source, ast.Call)
            if source.keywords or not _has_parts(target, len(source.args)):
                self.refuse("zip into another number of names", "use as many names as arrays")
            pairs = list(zip(target.elts, source.args))  # type: ignore[attr-defined]
        arrays = [(t, self.readable(self._array(self.expression(e), e), "seq")) for t, e in pairs]
        stop = arrays[0][1].shape[0]
        for _, a in arrays[1:]:
            if a.shape[0] != stop:
                stop = self.operation("min", stop, a.shape[0])
        stop = self.settled(stop)
        index = self.fresh("i") if counter is None else self._index(counter)
        self.kinds[index] = "i"

        def bind() -> None:
            for t, a in arrays:
                self.store(t, self._row(a, Variable(index)))

        return Number(0), stop, 1, index, bind

    def _row(self, a: Array, i: Expression) -> Value:
        if a.ndim == 1:
            return a.element((i,))
        return Array(a.shape[1:], lambda index: a.element((i, *index)), a.kind, a.base, a.uses)

    def _known_name(self, node: ast.expr) -> str | None:
        """Canonical name of the function that an expression calls, if it is one of Python's own."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            callee = self.expression(node.func)
            for function in (range, enumerate, zip):
                if isinstance(callee, Known) and callee.value is function:
                    return str(function.__name__)
        return None

    def _range(self, node: ast.Call) -> tuple[Expression, Expression, int]:
        if node.keywords or not 1 <= len(node.args) <= 3:
            self.refuse("range without 1 to 3 arguments", "write range(start, stop, step)")
        ends = [self.scalar(a) for a in node.args]
        if any(self.kind(e) == "f" for e in ends):
            self.refuse(f"{ast.unparse(node)} of floats", "use int()")
        start, stop = (Number(0), ends[0]) if len(ends) == 1 else ends[:2]
        step = ends[2] if len(ends) == 3 else Number(1)
        if not isinstance(step, Number) or not step.value:
            self.refuse(
                "the step of range is not a literal integer", "compute the index in the loop"
            )
        return self.settled(start, "start"), self.settled(stop, "stop"), int(step.value)

    def _index(self, target: ast.expr) -> str:
        if not isinstance(target, ast.Name):
            self.refuse(f"{ast.unparse(target)} as the index of a loop", "use one name")
        # A name of its own for each loop, so that no loop changes the index of another.
        if target.id in self.frame.names and self._indexed_now(target.id):
            self.refuse(f"{target.id} is the index of a loop around this one", "use another name")
        name = self.unique(f"{target.id}{self.frame.suffix}")
        self.kinds[name] = "i"
        self.frame.names[target.id] = Variable(name)
        return name

    def _indexed_now(self, ident: str) -> bool:
        value = self.frame.names[ident]
        return isinstance(value, Variable) and value.name in self.indices

    def do_While(self, s: ast.While) -> None:
        if s.orelse:
            self.refuse("a loop with else", "use a flag")
        leave = self.fresh("leave")
        self.kinds[leave] = "b"
        loop = While([], self.line, leave, self._counter())

        def lower() -> None:
            self.branch(s.test, lambda: self.statements(s.body), lambda: self.assign(leave, TRUE))

        self.frame.leaves.append(leave)
        skips, self.frame.skips = self.frame.skips, list(self.frame.skips)
        loop.body = self.inner(lower)
        self.frame.skips = skips
        self.frame.leaves.pop()
        self.emit(loop)

    # Assignments.
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
        """The scalar that a name stands for, a new one at first."""
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

    # Others.
    def do_Pass(self, s: ast.Pass) -> None:
        pass

    def do_Expr(self, s: ast.Expr) -> None:
        if isinstance(s.value, ast.Constant):
            return
        if not isinstance(s.value, ast.Call):
            self.refuse(f"{ast.unparse(s)} is not differentiated", WANTED)
        self.expression(s.value)

    def do_Raise(self, s: ast.Raise) -> None:
        self.check(TRUE, ast.unparse(s))

    def do_Assert(self, s: ast.Assert) -> None:
        self.check(self.operation("not", self.truth(s.test)), ast.unparse(s))

    def do_FunctionDef(self, s: ast.FunctionDef) -> None:
        if s.decorator_list:
            self.refuse(f"{s.name} has a decorator", "define it outside")
        self.frame.names[s.name] = Closure(s, self.frame)


def _has_parts(target: ast.expr, n: int) -> bool:
    return isinstance(target, ast.Tuple | ast.List) and len(target.elts) == n


def _stands_for(value: Value | None, base: str | None) -> bool:
    """Whether a name's value is, or holds, a view of an array."""
    if isinstance(value, list):
        return any(_stands_for(v, base) for v in value)
    return isinstance(value, Array) and base in value.uses
