"""Statements of Python, lowered so that there is one exit: returns, breaks and continues go."""

from __future__ import annotations

import ast
from collections.abc import Callable

from fastvi.derivatives.arrays import WANTED
from fastvi.derivatives.assignments import Assignments
from fastvi.derivatives.ir import (
    Expression,
    For,
    If,
    Number,
    Variable,
    While,
)
from fastvi.derivatives.values import Array, Closure, Ended, Frame, Known

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


class Statements(Assignments):
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
