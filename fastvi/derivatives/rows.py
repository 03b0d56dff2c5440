"""Loops over rows of data, in blocks of rows, so that what all rows read is loaded once.

In the source of a derived gradient, a loop over rows whose rounds only share sums is cut into
segments. Loops along a row, such as products with the parameters, take all rows of a block at once;
the statements between them take one row after the other.
"""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, TypeAlias

__all__ = ["ROWS", "in_blocks"]

ROWS = 4
Use: TypeAlias = Literal["read", "set", "zero", "add"]


class _Depends(Exception):
    """Rounds depend on each other, or statements are not understood."""


def in_blocks(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Statements of a function, with loops over rows in blocks where that is possible.

    Parameters
    ----------
    statements : list of ast.stmt
        Of a function that `reverse` wrote.
    """
    found: list[ast.stmt] = []
    for s in statements:
        try:
            found += _blocked(s)
        except _Depends:
            found.append(s)
    return found


def _blocked(s: ast.stmt) -> list[ast.stmt]:
    if not (isinstance(s, ast.For) and isinstance(s.iter, ast.Call)):
        raise _Depends
    index, ends = ast.unparse(s.target), list(map(ast.unparse, s.iter.args))
    start, stop = ("0", *ends) if len(ends) == 1 else ends if len(ends) == 2 else ("", "")
    if not start.isdigit() or not any(_is_along_a_row(x, index) for x in s.body):
        raise _Depends
    block = _Block(s.body, index)
    first, last = block.first, block.last
    head = _parsed(f"for {first} in range({start}, {stop}, {ROWS}):\n    pass")[0]
    assert isinstance(head, ast.For)
    head.body = _parsed(f"{last} = min({first} + {ROWS}, {stop})")
    for k in range(len(block.segments)):
        head.body += block.segment(k)
    arrays = [f"{name}__r = np.empty({ROWS})" for name in sorted(block.kept)]
    return [*_parsed("\n".join(arrays)), head]


def _parsed(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


def _is_along_a_row(s: ast.stmt, index: str) -> bool:
    """Whether a statement is a loop that only adds what depends on an element [index, j]."""
    if not isinstance(s, ast.For) or len(s.body) > 1 or not isinstance(s.body[0], ast.AugAssign):
        return False
    pair = f"[{index}, {ast.unparse(s.target)}]"
    return pair in ast.unparse(s.body[0].value)


class _Block:
    """The body of a loop, for several rows.

    Attributes
    ----------
    segments : list of list of ast.stmt
        Loops along a row, one by one, and the statements between them.
    kept : set of str
        Numbers of a row that several segments use; between segments they are in arrays.
    """

    def __init__(self, body: list[ast.stmt], index: str) -> None:
        self.index, self.first, self.last = index, f"first_{index}__r", f"last_{index}__r"
        self.segments: list[list[ast.stmt]] = []
        apart = True
        for s in body:
            along = _is_along_a_row(s, index)
            if along or apart:
                self.segments.append([])
            self.segments[-1].append(s)
            apart = along
        inner = {ast.unparse(s.target) for s in body if isinstance(s, ast.For)}
        self.used = [_Uses(segment) for segment in self.segments]
        every = _Uses(body)
        self.own = {name for name, kinds in every.numbers.items()
                    if name not in inner and not _is_shared(kinds)}  # fmt: skip
        self.zero = {name for name in self.own if every.numbers[name][0] == "add"}
        self.kept = {name for name in self.own if len(self._segments_of(name)) > 1}
        if index in self.own | inner or every.whole & self.kept:  # integers are not kept in arrays
            raise _Depends
        for places in every.arrays.values():
            self._refuse_dependent(places)

    def _segments_of(self, name: str) -> list[int]:
        return [k for k, used in enumerate(self.used) if name in used.numbers]

    def _refuse_dependent(self, places: list[tuple[Use, str]]) -> None:
        """Refuse an array of which a round may read what another writes."""
        kinds = {use for use, _ in places}
        if kinds <= {"read"} or kinds <= {"add"}:
            return
        indices = {place for _, place in places}
        if len(indices) > 1 or self.index not in indices.pop().strip("()").split(", "):
            raise _Depends

    # Statements.
    def segment(self, k: int) -> list[ast.stmt]:
        """Statements of a segment."""
        body = self.segments[k]
        rows = _parsed(f"for {self.index} in range({self.first}, {self.last}):\n    pass")
        place = f"{self.index} - {self.first}"
        assert isinstance(rows[0], ast.For)
        rows[0].body = [*self._before(k, place), *body, *self._after(k, place)]
        if not _is_along_a_row(body[0], self.index):
            return rows
        loop = body[0]
        assert isinstance(loop, ast.For)
        test = ast.parse(f"{self.last} == {self.first} + {ROWS}", mode="eval").body
        return [ast.If(test, self._together(k, loop), rows)]

    def _before(self, k: int, place: str, mark: str = "") -> list[ast.stmt]:
        """What the row's numbers are before a segment."""
        lines = []
        for name in sorted(self.own & set(self.used[k].numbers)):
            if self._segments_of(name)[0] < k:
                lines.append(f"{name}{mark} = {name}__r[{place}]")
            elif name in self.zero:
                lines.append(f"{name}{mark} = 0.0")
        return _parsed("\n".join(lines))

    def _after(self, k: int, place: str, mark: str = "") -> list[ast.stmt]:
        changed = [name for name in self._changed(k) if self._segments_of(name)[-1] > k]
        return _parsed("\n".join(f"{name}__r[{place}] = {name}{mark}" for name in changed))

    def _changed(self, k: int) -> list[str]:
        """Names of a row's numbers that a segment changes."""
        numbers = self.used[k].numbers
        return sorted(n for n in self.own & set(numbers) if set(numbers[n]) - {"read"})

    def _together(self, k: int, loop: ast.For) -> list[ast.stmt]:
        """A loop along all rows of the block."""
        start, end, sums = [], [], []
        for r in range(ROWS):
            start += self._before(k, str(r), f"_{r}__r")
            row = _Row(self, r).visit(copy.deepcopy(loop.body[0]))
            assert isinstance(row, ast.AugAssign)
            sums.append(row)
            end += self._after(k, str(r), f"_{r}__r")
        if len({ast.unparse(s.target) for s in sums}) == 1:
            total = sums[0].value
            for s in sums[1:]:
                total = ast.BinOp(total, ast.Add(), s.value)
            sums = [ast.AugAssign(sums[0].target, sums[0].op, total)]
        end += _parsed("\n".join(f"{name} = {name}_{ROWS - 1}__r" for name in self._changed(k)))
        return [*start, ast.For(loop.target, loop.iter, list(sums), []), *end]


def _is_shared(kinds: list[Use]) -> bool:
    """Whether a number never changes or is a sum; otherwise it must be a row's own."""
    if not set(kinds) - {"read"} or set(kinds) == {"add"}:
        return True
    if kinds[0] == "read" or (kinds[0] == "add" and kinds[-1] != "zero"):
        raise _Depends
    return False


class _Uses:
    """How statements use numbers, and arrays with their indices, in order.

    `whole` has the names of numbers that are used as indices, ends or truth values.
    """

    def __init__(self, statements: list[ast.stmt]) -> None:
        self.numbers: dict[str, list[Use]] = defaultdict(list)
        self.arrays: dict[str, list[tuple[Use, str]]] = defaultdict(list)
        self.whole: set[str] = set()
        for s in statements:
            self._add(s)

    def _add(self, s: ast.stmt) -> None:
        if isinstance(s, ast.For):
            is_sum = len(s.body) == 1 and isinstance(s.body[0], ast.AugAssign)
            if not is_sum or not isinstance(s.iter, ast.Call):
                raise _Depends
            self._whole(s.iter)
            self._read(s.iter)
            self._add(s.body[0])
        elif isinstance(s, ast.AugAssign):
            self._read(s.value)
            is_sum = isinstance(s.op, ast.Add | ast.Sub)
            if not is_sum:
                self._target(s.target, "read")
            self._target(s.target, "add" if is_sum else "set")
        elif isinstance(s, ast.Assign):
            self._read(s.value)
            zero = isinstance(s.value, ast.Constant) and repr(s.value.value) == "0.0"
            self._target(s.targets[0], "zero" if zero else "set")
            if _is_truth(s.value):
                self._whole(s.targets[0])
        else:
            raise _Depends

    def _target(self, target: ast.expr, use: Use) -> None:
        if isinstance(target, ast.Name):
            self.numbers[target.id].append(use)
        else:
            assert isinstance(target, ast.Subscript)
            self._read(target.slice)
            self._whole(target.slice)
            self.arrays[ast.unparse(target.value)].append((use, ast.unparse(target.slice)))

    def _read(self, e: ast.expr) -> None:
        for node in ast.walk(e):
            if isinstance(node, ast.Name):
                self.numbers[node.id].append("read")
            elif isinstance(node, ast.Subscript):
                self._whole(node.slice)
                self.arrays[ast.unparse(node.value)].append(("read", ast.unparse(node.slice)))
            elif isinstance(node, ast.IfExp):
                self._truths(node.test)
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                self._whole(node.right)

    def _truths(self, test: ast.expr) -> None:
        if isinstance(test, ast.Name):
            self.whole.add(test.id)
        elif isinstance(test, ast.BoolOp | ast.UnaryOp):
            for part in ast.iter_child_nodes(test):
                if isinstance(part, ast.expr):
                    self._truths(part)

    def _whole(self, e: ast.expr) -> None:
        self.whole |= set(_names(e))


def _is_truth(e: ast.expr) -> bool:
    negated = isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not)
    return negated or isinstance(e, ast.Compare | ast.BoolOp)


def _names(e: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(e) if isinstance(node, ast.Name))


class _Row(ast.NodeTransformer):
    """A sum for one row of a block, with names of its own."""

    def __init__(self, block: _Block, number: int) -> None:
        self.block, self.number = block, number

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """An element; the index itself is not negative."""
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        places = [self._place(e) for e in parts]
        node.slice = ast.Tuple(places, ast.Load()) if len(places) > 1 else places[0]
        return node

    def _place(self, e: ast.expr) -> ast.expr:
        if isinstance(e, ast.Name) and e.id == self.block.index:
            return ast.parse(f"ahead__v({self.block.first}, {self.number})", mode="eval").body
        moved: ast.expr = self.visit(e)
        return moved

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A number of the row, or its index."""
        if node.id == self.block.index:
            return ast.parse(f"({self.block.first} + {self.number})", mode="eval").body
        mark = f"_{self.number}__r" if node.id in self.block.own else ""
        return ast.Name(node.id + mark, node.ctx)
