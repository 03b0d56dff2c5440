"""The same function for several draws side by side, one in each lane of a vector register.

Where control flow and indices do not depend on the draw, a function of one draw becomes one of
several: numbers that differ between draws become vectors of lanes (`kernels/lanes.py`), everything
else stays as it is. So all draws of a step read a row of the data at once.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from fastvi.derivatives.rows import in_blocks

__all__ = ["side_by_side"]

STACK = "stack__"
SUMS = 4  # that one long sum is split into
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
DRAWS = {"z": "Z", "grad": "grads", "terms": "values"}


class _Differs(Exception):
    """Control flow, an index or an integer differs between draws."""


class Several(NamedTuple):
    """Source of a function of several draws, and its arguments: Z, grads, values and others."""

    source: str
    arguments: tuple[str, ...]


def side_by_side(source: str) -> Several | None:
    """The function of several draws, or None if they need different statements.

    Parameters
    ----------
    source : str
        Of a function that `reverse` wrote, of one draw.
    """
    from fastvi.kernels.lanes_functions import FUNCTIONS

    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    arguments = [a.arg for a in node.args.args]
    if "z" not in arguments:
        return None
    *statements, _ = in_blocks(node.body)
    try:
        body = _Writer(statements, arguments, frozenset(FUNCTIONS)).block(statements)
    except _Differs:
        return None
    taken = [DRAWS.get(a, a) for a in arguments]
    taken += ["values"] * ("values" not in taken)
    lines = [f"def {node.name}({', '.join(taken)}):",
             "    for first__v in range(0, Z.shape[0], LANES__v):"]  # fmt: skip
    start = ["z = loaded__v(Z, first__v)", "grad = np.zeros(z.shape)"]
    if "terms" in arguments:
        start.append("terms = loaded__v(values, first__v)")
        end = ["stored__v(terms, first__v, values)"]
    else:
        end = ["stored__v(single__v(result), first__v, values)"]
    end.append("stored__v(grad, first__v, grads)")
    middle = ast.unparse(ast.fix_missing_locations(ast.Module(body, []))).splitlines()
    lines += [f"        {line}" for line in [*start, *middle, *end]]
    return Several("\n".join(lines) + "\n", tuple(taken))


def _base(node: ast.expr) -> str:
    """Name of the array of an element."""
    assert isinstance(node, ast.Subscript)
    return node.value.id if isinstance(node.value, ast.Name) else ""


def _is_stack(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and _base(node) == STACK


def _is_truth(node: ast.AST) -> bool:
    is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return is_not or isinstance(node, ast.Compare | ast.BoolOp)


def _call(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(f"{name}__v", ast.Load()), list(args), [])


def _place(node: ast.expr) -> tuple[ast.expr, ast.expr]:
    """An element's array and its index as a tuple."""
    assert isinstance(node, ast.Subscript)
    index = node.slice
    if not isinstance(index, ast.Tuple):
        index = ast.Tuple([index], ast.Load())
    return node.value, index


class _Writer:
    """Rewrites statements of one draw."""

    def __init__(
        self, body: list[ast.stmt], arguments: list[str], functions: frozenset[str]
    ) -> None:
        self.functions = functions
        self.varying = set(DRAWS) & set(arguments)
        statements = [s for part in body for s in ast.walk(part)]
        assigned = [s for s in statements if isinstance(s, ast.Assign | ast.AugAssign)]
        known = -1
        while known < len(self.varying):
            known = len(self.varying)
            for s in assigned:
                self._spread_to(s)
        self.truths = {
            s.targets[0].id
            for s in assigned
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
            and _is_truth(s.value) and self.varies(s.value)
        }  # fmt: skip

    def _spread_to(self, s: ast.Assign | ast.AugAssign) -> None:
        target = s.target if isinstance(s, ast.AugAssign) else s.targets[0]
        name = target.id if isinstance(target, ast.Name) else _base(target)
        if name != STACK and self.varies(s.value):
            self.varying.add(name)

    def varies(self, node: ast.AST) -> bool:
        """Whether an expression differs between draws."""
        if isinstance(node, ast.Name):
            return node.id in self.varying
        if isinstance(node, ast.Attribute) or _is_stack(node):
            return False  # sizes and data; what is popped is as what was pushed
        return any(map(self.varies, ast.iter_child_nodes(node)))

    def same(self, node: ast.expr) -> ast.expr:
        """An expression that must be the same for all draws."""
        if self.varies(node):
            raise _Differs
        popped: ast.expr = _Popped().visit(node)
        return popped

    # Statements.
    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Statements of all draws."""
        made: list[ast.stmt] = []
        for s in statements:
            made += self._sum(s) if self._is_sum(s) else [self.statement(s)]
        return made

    def _is_sum(self, s: ast.stmt) -> bool:
        """Whether a loop only adds to one number of each draw, over consecutive indices."""
        if not (isinstance(s, ast.For) and isinstance(s.iter, ast.Call) and len(s.body) == 1):
            return False
        added = s.body[0]
        return (
            len(s.iter.args) < 3
            and isinstance(added, ast.AugAssign)
            and isinstance(added.target, ast.Name)
            and added.target.id in self.varying
            and _only_indexes(ast.unparse(s.target), added.value)
        )

    def _sum(self, s: ast.stmt) -> list[ast.stmt]:
        """Such a loop as several sums, since each sum waits for its last term."""
        assert isinstance(s, ast.For)
        assert isinstance(s.iter, ast.Call)
        added = s.body[0]
        assert isinstance(added, ast.AugAssign)
        assert isinstance(added.target, ast.Name)
        *start, stop = map(ast.unparse, s.iter.args)
        index, name = ast.unparse(s.target), added.target.id
        first, sign = (start or ["0"])[0], "+" if isinstance(added.op, ast.Add) else "-"
        rest = f"max({first}, {stop} - max(0, {stop} - ({first})) % {SUMS})"
        lines = [f"{name}_{k}__v = 0.0" for k in range(1, SUMS)]
        lines.append(f"for {index} in range({first}, {rest}, {SUMS}):")
        term = ast.unparse(added.value)
        for k in range(SUMS):
            moved = ast.unparse(_Moved(index, k).visit(ast.parse(term)))
            lines.append(f"    {name}{f'_{k}__v' * (k > 0)} {sign}= {moved}")
        lines += [f"for {index} in range({rest}, {stop}):", f"    {name} {sign}= {term}"]
        parts = " + ".join(f"{name}_{k}__v" for k in range(1, SUMS))
        self.varying |= {f"{name}_{k}__v" for k in range(1, SUMS)}
        lines.append(f"{name} += {parts}")
        return [self.statement(x) for x in ast.parse("\n".join(lines)).body]

    def statement(self, s: ast.stmt) -> ast.stmt:
        """A statement of all draws."""
        if isinstance(s, ast.Assign):
            return self._assignment(s.targets[0], s.value)
        if isinstance(s, ast.AugAssign):
            return self._augmented(s)
        if isinstance(s, ast.If):
            return ast.If(self.same(s.test), self.block(s.body), self.block(s.orelse))
        if isinstance(s, ast.For):
            return ast.For(s.target, self.same(s.iter), self.block(s.body), [])
        if isinstance(s, ast.While):
            return ast.While(self.same(s.test), self.block(s.body), [])
        if isinstance(s, ast.Break | ast.Raise | ast.Pass):
            return s
        if isinstance(s, ast.Expr):
            return ast.Expr(self.same(s.value))
        raise _Differs

    def _assignment(self, target: ast.expr, value: ast.expr) -> ast.stmt:
        if isinstance(target, ast.Subscript):
            return self._put(target, value)
        assert isinstance(target, ast.Name)
        if target.id == STACK:
            return ast.Assign([target], _stack(value))
        if target.id not in self.varying:
            return ast.Assign([target], self.same(value))
        if target.id in self.truths:
            return ast.Assign([target], self._truth(value))
        made = self._made(value)
        if made is None and _is_stack(value):
            made = _call("at", *_place(value))
        if made is None:
            made = self.of(value) if self.varies(value) else _call("spread", self.same(value))
        return ast.Assign([target], made)

    def _truth(self, value: ast.expr) -> ast.expr:
        """A truth value of all draws, also if it comes from the stack or is a literal."""
        if self.varies(value):
            return self.test(value)
        if isinstance(value, ast.Compare) and _is_stack(value.left):
            return ast.Compare(_call("at", *_place(value.left)), value.ops, value.comparators)
        number = ast.IfExp(self.same(value), ast.Constant(1.0), ast.Constant(0.0))
        return ast.Compare(_call("spread", number), [ast.NotEq()], [ast.Constant(0.0)])

    def _made(self, value: ast.expr) -> ast.expr | None:
        """A new array of lanes."""
        text = ast.unparse(value)
        if not text.startswith(("np.empty(", "np.zeros(", "np.ones(")):
            return None
        assert isinstance(value, ast.Call)
        if len(value.args) > 1:
            raise _Differs
        if text.startswith("np.ones("):  # as an argument's, whose shape it has
            return value
        shape = value.args[0]
        sizes = shape.elts if isinstance(shape, ast.Tuple) else [shape]
        lanes = ast.Name("LANES__v", ast.Load())
        return ast.Call(value.func, [ast.Tuple([*map(self.same, sizes), lanes], ast.Load())], [])

    def _put(self, target: ast.Subscript, value: ast.expr) -> ast.stmt:
        name = _base(target)
        if name != STACK and name not in self.varying:
            return ast.Assign([self.same(target)], self.same(value))
        array, index = _place(target)
        if _is_stack(value):
            given: ast.expr = _call("at", *_place(value))
        else:
            given = self.of(value) if self.varies(value) else self.same(value)
        return ast.Expr(_call("put", array, self.same(index), given))

    def _augmented(self, s: ast.AugAssign) -> ast.stmt:
        name = s.target.id if isinstance(s.target, ast.Name) else _base(s.target)
        if name not in self.varying:
            return ast.AugAssign(s.target, s.op, self.same(s.value))
        if not isinstance(s.op, OPERATORS):
            raise _Differs
        if isinstance(s.target, ast.Name):
            old: ast.expr = ast.Name(s.target.id, ast.Load())
            return ast.Assign([s.target], ast.BinOp(old, s.op, self.of(s.value)))
        array, index = _place(s.target)
        index = self.same(index)
        old = _call("at", array, index)
        return ast.Expr(_call("put", array, index, ast.BinOp(old, s.op, self.of(s.value))))

    # Expressions.
    def of(self, node: ast.expr) -> ast.expr:
        """An expression of all draws."""
        if not self.varies(node):
            return self.same(node)
        if isinstance(node, ast.Name) and node.id not in self.truths:
            return node
        if isinstance(node, ast.Subscript) and _base(node) in self.varying:
            array, index = _place(node)
            return _call("at", array, self.same(index))
        if isinstance(node, ast.BinOp):
            return self._operator(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return ast.UnaryOp(node.op, self.of(node.operand))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id not in self.functions:
                raise _Differs
            return _call(node.func.id, *map(self.of, node.args))
        if isinstance(node, ast.IfExp):
            return self._choice(node)
        raise _Differs

    def _operator(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Pow) and not self.varies(node.right):
            return _call("power", self.of(node.left), self.same(node.right))
        if not isinstance(node.op, OPERATORS):
            raise _Differs
        return ast.BinOp(self.of(node.left), node.op, self.of(node.right))

    def _choice(self, node: ast.IfExp) -> ast.expr:
        if not self.varies(node.test):
            parts = (
                self.of(part) if self.varies(part) else _call("spread", self.same(part))
                for part in (node.body, node.orelse)
            )
            return ast.IfExp(self.same(node.test), *parts)
        return _call("choose", self.test(node.test), self.of(node.body), self.of(node.orelse))

    def test(self, node: ast.expr) -> ast.expr:
        """A truth value of all draws; it guards no index, since all sides are computed."""
        if isinstance(node, ast.Name) and node.id in self.truths:
            return node
        if not self.varies(node):
            return self._truth(node)
        if isinstance(node, ast.Compare):
            return ast.Compare(self.of(node.left), node.ops, list(map(self.of, node.comparators)))
        if isinstance(node, ast.BoolOp):
            name = "both" if isinstance(node.op, ast.And) else "either"
            first, *rest = map(self.test, node.values)
            for other in rest:
                first = _call(name, first, other)
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _call("negation", self.test(node.operand))
        raise _Differs


def _only_indexes(name: str, node: ast.AST) -> bool:
    """Whether a name appears only as an index by itself."""
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return all(isinstance(p, ast.Name) or _only_indexes(name, p) for p in parts)
    if isinstance(node, ast.Name):
        return node.id != name
    return all(_only_indexes(name, child) for child in ast.iter_child_nodes(node))


class _Moved(ast.NodeTransformer):
    """An index that is some rounds ahead, and not negative."""

    def __init__(self, index: str, ahead: int) -> None:
        self.index, self.ahead = index, ahead

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """The index itself."""
        return _call("ahead", node, ast.Constant(self.ahead)) if node.id == self.index else node


class _Popped(ast.NodeTransformer):
    """What is the same for all draws is taken from the first lane of the stack."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """stack__[top__]"""
        if not _is_stack(node):
            return self.generic_visit(node)
        index = ast.Tuple([node.slice, ast.Constant(0)], ast.Load())
        return ast.Subscript(node.value, index, ast.Load())

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """stack__.size"""
        if isinstance(node.value, ast.Name) and node.value.id == STACK:
            return ast.parse(f"{STACK}.shape[0]", mode="eval").body
        return node


def _stack(value: ast.expr) -> ast.expr:
    """A new stack."""
    assert isinstance(value, ast.Call)
    if isinstance(value.func, ast.Name):
        return _call("grown", *value.args)
    return ast.parse(f"np.empty(({ast.unparse(value.args[0])}, LANES__v))", mode="eval").body
