"""From a program to the source of a function that returns its value and adds its gradient."""

from __future__ import annotations

from fastvi.derivatives import functions, ir
from fastvi.derivatives.adjoint import Adjoints
from fastvi.derivatives.flow import (
    active_names,
    exposed,
    read_by,
    refuse_whole_numbers,
    target_name,
    written,
)
from fastvi.derivatives.fusing import fused_loops
from fastvi.derivatives.invariants import hoist_invariants
from fastvi.derivatives.preparing import hoist_arrays
from fastvi.derivatives.recording import Recording

__all__ = ["reverse"]

FIRST = 256  # numbers that the stack has room for at first
SLOPES = {"z": "grad", "Z": "grads"}


def reverse(
    program: ir.Program, name: str, *, fuse: bool = True, again: bool = True, first: int = FIRST
) -> str:
    """Source of ``name(*arguments, grad) -> value``; grad, zeros at first, is added to.

    Parameters
    ----------
    program : Program
        Is changed.
    name : str
        Of the function to write.
    fuse, again : bool
        Whether to reverse loops on the spot, and to compute cheap values again; for tests.
    first : int
        Size of the stack at first.
    """
    return _Reverse(program, fuse, again, first).source(name)


class _Reverse:
    """Writes the statements forwards and backwards."""

    def __init__(self, program: ir.Program, fuse: bool, again: bool, first: int) -> None:
        self.program = program
        self.first = first
        hoist_invariants(program)
        self.slopes = {a: SLOPES[a] for a in program.arguments if a in SLOPES}
        refuse_whole_numbers(program, self.slopes)
        self.active = active_names(program, self.slopes)
        self.fused = fused_loops(program, self.active) if fuse else {}
        hoist_arrays(program, self.fused)
        self.active = active_names(program, self.slopes)
        arguments = {n for n in program.kinds if not n.isidentifier()}
        known = (set(program.kinds) | set(program.local)) - arguments
        self.adjoints = Adjoints(self.active, self.slopes, known)
        self.recording = Recording(program, self.adjoints, self.fused, again)
        self.pushes = self.recording.pushes

    def source(self, name: str) -> str:
        """The whole function."""
        program = self.program
        slopes = list(self.slopes.values())
        head = f"def {name}({', '.join([*program.arguments, *slopes])}):"
        lines = self._start() + self.forward(program.statements)
        lines.append(f"result = {ir.text(program.result)}")
        lines += self.adjoints.of_result(program.result) + self.backward(program.statements)
        lines.append("return result")
        return "\n".join([head, *indented(lines)]) + "\n"

    def _start(self) -> list[str]:
        """First values of the stack, of what is pushed, and of adjoints."""
        local, lines = self.program.local, []
        pushed = {n for names in self.pushes.values() for n in names} - set(local)
        if any(self.pushes.values()):
            lines += [f"stack__ = np.empty({self.first})", "top__ = 0"]
        lines += [f"{n} = {self._zero(n)}" for n in sorted(pushed - set(self.program.outputs))]
        for n in sorted(self.active - set(local) - set(self.slopes)):
            is_output = n in self.program.outputs
            lines.append(f"{n}__b = np.ones({n}.shape)" if is_output else f"{n}__b = 0.0")
        return lines

    def _zero(self, name: str) -> str:
        return {"i": "0", "b": "False"}.get(self.program.kinds.get(name, "f"), "0.0")

    # The stack.
    def room(self, count: int | str) -> list[str]:
        """Lines that make room for values on the stack."""
        if not count:
            return []
        need = f"top__ + {count}"
        return [f"if {need} > stack__.size:", f"    stack__ = grown(stack__, {need})"]

    def _is_array_push(self, s: ir.Statement) -> bool:
        return isinstance(s, ir.Apply) and bool(self.pushes.get(s))

    def _records(self, s: ir.Statement) -> bool:
        """Whether a statement pushes an amount that is not known before it."""
        return any(
            self._is_array_push(x) or (isinstance(x, ir.For | ir.While) and self._pushes_in([x]))
            for x in ir.walk([s])
        )

    def _pushes_in(self, statements: list[ir.Statement]) -> bool:
        return any(self.pushes.get(x) for x in ir.walk(statements))

    def count(self, statements: list[ir.Statement]) -> int:
        """Most values that statements without recording loops push."""
        total = 0
        for s in statements:
            total += len(self.pushes.get(s, ()))
            if isinstance(s, ir.If):
                total += max(self.count(s.body), self.count(s.orelse))
        return total

    def push(self, s: ir.Statement) -> list[str]:
        """Lines that record what a statement overwrites."""
        lines: list[str] = []
        for n in self.pushes.get(s, ()):
            if isinstance(s, ir.Apply):
                lines += [f"if top__ + {n}.size > stack__.size:",
                          f"    stack__ = grown(stack__, top__ + {n}.size)",
                          f"top__ = pushed(stack__, top__, {n})"]  # fmt: skip
                continue
            value = n
            if isinstance(s, ir.Assign) and isinstance(s.target, ir.Element):
                value = ir.text(s.target)
            elif self.program.kinds.get(n) == "b":
                value = f"1.0 if {n} else 0.0"
            lines += [f"stack__[top__] = {value}", "top__ += 1"]
        return lines

    def pop(self, s: ir.Statement) -> list[str]:
        """Lines that undo a statement."""
        lines: list[str] = []
        for n in reversed(self.pushes.get(s, ())):
            if isinstance(s, ir.Apply):
                lines.append(f"top__ = popped(stack__, top__, {n})")
                continue
            lines.append("top__ -= 1")
            if isinstance(s, ir.Assign) and isinstance(s.target, ir.Element):
                lines.append(f"{ir.text(s.target)} = stack__[top__]")
                continue
            kind = self.program.kinds.get(n, "f")
            value = {"b": "stack__[top__] != 0.0", "i": "np.int64(stack__[top__])"}
            lines.append(f"{n} = {value.get(kind, 'stack__[top__]')}")
        return lines

    # Forwards.
    def forward(self, statements: list[ir.Statement], reserved: bool = False) -> list[str]:
        """Lines of statements; `reserved` says that there is room for all that they push."""
        lines: list[str] = []
        in_run = reserved
        for k, s in enumerate(statements):
            records = not reserved and self._records(s)
            if records:
                in_run = False
            elif not in_run:
                lines += self.room(self.count(self._run(statements[k:])))
                in_run = True
            lines += self._forward(s, reserved=not records)
        return lines

    def _run(self, statements: list[ir.Statement]) -> list[ir.Statement]:
        run = []
        for s in statements:
            if self._records(s):
                break
            run.append(s)
        return run

    def _forward(self, s: ir.Statement, reserved: bool) -> list[str]:
        if isinstance(s, ir.Assign):
            sign = {0: "=", 1: "+=", -1: "-="}[s.sign]
            return [*self.push(s), f"{ir.text(s.target)} {sign} {ir.text(s.value)}"]
        if isinstance(s, ir.Allocate):
            return self._allocate(s)
        if isinstance(s, ir.Apply):
            return [*self.push(s), functions.ARRAY[s.function].value.format(*s.arrays, v=s.out)]
        if isinstance(s, ir.Check):
            return [f"if {ir.text(s.test)}:", f"    raise {s.error}"]
        if isinstance(s, ir.If):
            lines = [f"if {ir.text(s.test)}:", *indented(self.forward(s.body, reserved))]
            if s.orelse:
                lines += ["else:", *indented(self.forward(s.orelse, reserved))]
            return lines
        return self._forward_loop(s, reserved)

    def _allocate(self, s: ir.Allocate) -> list[str]:
        shape = ", ".join(map(ir.text, s.shape))
        shape = f"({shape})" if len(s.shape) > 1 else shape
        dtype = "" if s.dtype == "float64" else f", np.{s.dtype}"
        lines = [f"{s.name} = np.{'zeros' if s.zeros else 'empty'}({shape}{dtype})"]
        return lines + [f"{s.name}__b = np.zeros({shape})"] * (s.name in self.active)

    def _forward_loop(self, s: ir.For | ir.While, reserved: bool) -> list[str]:
        own = len(self.pushes.get(s, ()))
        lines = ([] if reserved else self.room(own)) + self.push(s)
        if isinstance(s, ir.For) and s in self.fused:
            body = self.forward(s.body) + self.backward(s.body)
            return [*lines, self._head(s), *indented(body)]
        if not reserved and self._pushes_in(s.body):
            amount = self._pushed(s, written([s])[0])
            lines += self.room(amount or 0)
            reserved = amount is not None
        body = self.forward(s.body, reserved)
        if s.rounds:
            lines += [f"{s.rounds} = 0", f"{s.leave} = False"]
            body += [f"{s.rounds} += 1", f"if {s.leave}:", "    break"]
        head = self._head(s) if isinstance(s, ir.For) else "while True:"
        return [*lines, head, *indented(body)]

    def _pushed(self, loop: ir.For | ir.While, changing: set[str]) -> str | None:
        """Source of how many values all rounds of a loop push at most, None if that is not known.

        It must not read what is changing.
        """
        if isinstance(loop, ir.While) or loop.leave or loop in self.fused:
            return None
        if (ir.reads(loop.start) | ir.reads(loop.stop)) & changing:
            return None
        count = 0
        inner: list[str | None] = []
        for s in loop.body:
            records = isinstance(s, ir.For | ir.While) and self._pushes_in(s.body)
            if self._is_array_push(s) or (not records and self._records_within(s)):
                return None
            count += self.count([s])
            if records:
                assert isinstance(s, ir.For | ir.While)
                inner.append(self._pushed(s, changing))
        if None in inner:
            return None
        each = " + ".join([str(count)] * (count > 0 or not inner) + [str(x) for x in inner])
        ends = (loop.stop, loop.start) if loop.step > 0 else (loop.start, loop.stop)
        return f"({each}) * max(0, {ir.operand(ends[0])} - {ir.operand(ends[1])})"

    def _records_within(self, s: ir.Statement) -> bool:
        """Whether there is a loop within a branch that pushes."""
        return isinstance(s, ir.If) and any(map(self._records, [*s.body, *s.orelse]))

    def _head(self, s: ir.For) -> str:
        ends = [ir.text(s.stop)] if s.start == ir.Number(0) else [ir.text(s.start), ir.text(s.stop)]
        if s.step != 1:
            ends = [ir.text(s.start), ir.text(s.stop), str(s.step)]
        return f"for {s.index} in range({', '.join(ends)}):"

    # Backwards.
    def backward(self, statements: list[ir.Statement]) -> list[str]:
        """Lines that give the adjoints of what statements read."""
        lines: list[str] = []
        for s in reversed(statements):
            if isinstance(s, ir.Assign | ir.Apply):
                adjoint = self.recording.adjoints[s]
                lines += adjoint.before + self.pop(s) + adjoint.after
            elif isinstance(s, ir.If):
                lines += self._backward_branch(s)
            elif isinstance(s, ir.For | ir.While):
                if not (isinstance(s, ir.For) and s in self.fused):
                    lines += self._backward_loop(s)
                lines += self.pop(s)
        return lines

    def _block(self, s: ir.Statement, k: int) -> list[str]:
        """The way back through a block, with what it computes again."""
        lines = self.backward(ir.inner_blocks(s)[k])
        if not lines:
            return []
        again = [
            f"{ir.text(a.target)} = {ir.text(a.value)}" for a in self.recording.again_lines(s, k)
        ]
        return again + lines

    def _backward_branch(self, s: ir.If) -> list[str]:
        body, orelse = self._block(s, 0), self._block(s, 1)
        if body:
            lines = [f"if {ir.text(s.test)}:", *indented(body)]
            return lines + (["else:", *indented(orelse)] if orelse else [])
        return [f"if not {ir.operand(s.test)}:", *indented(orelse)] if orelse else []

    def _backward_loop(self, s: ir.For | ir.While) -> list[str]:
        body = self._block(s, 0)
        if not body:
            return []
        if isinstance(s, ir.While):
            return [f"for _ in range({s.rounds}):", *indented(body)]
        if s.rounds:
            k = f"round__{s.index}"
            index = f"{s.index} = {ir.operand(s.start)} + {k} * ({s.step})"
            return [f"for {k} in range({s.rounds} - 1, -1, -1):", *indented([index, *body])]
        head = self._head(s) if self._any_order(s) else self._reversed_head(s)
        return [head, *indented(body)]

    def _reversed_head(self, s: ir.For) -> str:
        a, b, k = ir.operand(s.start), ir.operand(s.stop), s.step
        if k == 1:
            ends = f"{b} - 1, {a} - 1, -1"
        elif k == -1:
            ends = f"{b} + 1, {a} + 1"
        elif k > 0:
            ends = f"{a} + ({b} - {a} - 1) // {k} * {k}, {a} - {k}, {-k}"
        else:
            ends = f"{a} - ({a} - {b} - 1) // {-k} * {-k}, {a} + {-k}, {-k}"
        return f"for {s.index} in range({ends}):"

    def _any_order(self, s: ir.For) -> bool:
        """Whether rounds may be reversed in ascending order, which vectorises."""
        body = list(ir.walk(s.body))
        if self._pushes_in(s.body) or any(isinstance(x, ir.Apply | ir.While) for x in body):
            return False
        scalars, arrays = written(s.body)
        assignments = [x for x in body if isinstance(x, ir.Assign)]
        return all(self._is_free(n, s, assignments) for n in scalars & self.active) and all(
            self._is_injective(n, s, assignments) for n in arrays & self.active
        )

    def _is_free(self, name: str, loop: ir.For, assignments: list[ir.Assign]) -> bool:
        """Whether a scalar's adjoint is the same in all rounds, or starts from zero in each."""
        own = [x for x in assignments if target_name(x) == name]
        if all(x.sign for x in own) and not any(name in ir.reads(x.value) for x in assignments):
            return True
        inside = set(ir.walk([loop]))
        outside = (x for x in ir.walk(self.program.statements) if x not in inside)
        return not (
            name in exposed(loop.body)[0]
            or name in ir.reads(self.program.result)
            or any(name in read_by(x) for x in outside)
        )

    def _is_injective(self, name: str, loop: ir.For, assignments: list[ir.Assign]) -> bool:
        """Whether each round writes elements of its own, and reads none."""
        if any(name in ir.reads(x.value) for x in assignments):
            return False
        own = [x for x in assignments if target_name(x) == name]
        if all(x.sign for x in own):
            return True
        indices = {x.target.index for x in own if isinstance(x.target, ir.Element)}
        start = loop.start.value if isinstance(loop.start, ir.Number) else -1
        return (
            len(indices) == 1
            and start >= 0
            and loop.step > 0
            and ir.Variable(loop.index) in next(iter(indices))
        )


def indented(lines: list[str]) -> list[str]:
    """Lines of a block."""
    return [f"    {line}" for line in lines] or ["    pass"]
