"""What a program's statements read and write, and what its result depends on."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from fastvi.derivatives import functions, ir
from fastvi.derivatives.errors import NotDifferentiable

__all__ = [
    "active_names",
    "exposed",
    "expressions_of",
    "read_by",
    "refuse_whole_numbers",
    "smooth",
    "target_name",
    "written",
]

# Refused later where that is not known, so that no derivative is lost.
SMOOTH = frozenset(("+", "-", "*", "/", "**", "neg", "%", *functions.SMOOTH)) | functions.UNKNOWN


@functools.lru_cache(8192)
def smooth(e: ir.Expression) -> frozenset[str]:
    """Names that an expression depends on with a derivative."""
    if isinstance(e, ir.Variable):
        return frozenset((e.name,))
    if isinstance(e, ir.Element):
        return frozenset((e.array,))
    if not isinstance(e, ir.Operation):
        return frozenset()
    if e.name in SMOOTH:
        return frozenset().union(*map(smooth, e.args))
    return smooth(e.args[1]) | smooth(e.args[2]) if e.name == "if" else frozenset()


def target_name(s: ir.Assign) -> str:
    """The variable or array that is assigned to."""
    return s.target.name if isinstance(s.target, ir.Variable) else s.target.array


def read_by(s: ir.Statement) -> frozenset[str]:
    """Names that a statement reads, without the statements within it."""
    if isinstance(s, ir.Assign):
        found = ir.reads(s.value)
        if isinstance(s.target, ir.Element):
            found = found.union(*map(ir.reads, s.target.index))
        return found | {target_name(s)} if s.sign else found
    if isinstance(s, ir.Allocate):
        return frozenset().union(*map(ir.reads, s.shape))
    if isinstance(s, ir.Apply):
        return frozenset(s.arrays)
    if isinstance(s, ir.If | ir.Check):
        return ir.reads(s.test)
    return ir.reads(s.start) | ir.reads(s.stop) if isinstance(s, ir.For) else frozenset()


def exposed(statements: Iterable[ir.Statement]) -> tuple[set[str], set[str]]:
    """Names that may be read before they are defined, and names that are defined for certain.

    Arrays are defined by their allocation.
    """
    early: set[str] = set()
    defined: set[str] = set()
    for s in statements:
        early |= read_by(s) - defined
        if isinstance(s, ir.Assign):
            if isinstance(s.target, ir.Variable):
                defined.add(s.target.name)
            elif s.target.array not in defined:
                early.add(s.target.array)
        elif isinstance(s, ir.Allocate):
            defined.add(s.name)
        elif isinstance(s, ir.If):
            (early_if, sure_if), (early_else, sure_else) = exposed(s.body), exposed(s.orelse)
            early |= (early_if | early_else) - defined
            defined |= sure_if & sure_else
        elif isinstance(s, ir.For):
            early |= exposed(s.body)[0] - defined - {s.index, s.leave, s.rounds}
        elif isinstance(s, ir.While):
            early |= exposed(s.body)[0] - defined - {s.leave, s.rounds}
    return early, defined


def written(statements: list[ir.Statement]) -> tuple[set[str], set[str]]:
    """Scalars and arrays that statements assign."""
    scalars: set[str] = set()
    arrays: set[str] = set()
    for s in ir.walk(statements):
        if isinstance(s, ir.Assign):
            (scalars if isinstance(s.target, ir.Variable) else arrays).add(target_name(s))
        elif isinstance(s, ir.Allocate):
            arrays.add(s.name)
        elif isinstance(s, ir.Apply):
            arrays.add(s.out)
        elif isinstance(s, ir.For | ir.While):
            scalars |= {s.leave, s.rounds} | ({s.index} if isinstance(s, ir.For) else set())
    return scalars - {""}, arrays


def active_names(program: ir.Program, varied: Iterable[str]) -> set[str]:
    """Names through which the result depends on the arguments `varied`, with a derivative."""
    edges = _edges(program)
    useful = set(smooth(program.result)) | set(program.outputs)
    backward = _closure(useful, [(frozenset((name,)), set(r)) for name, r in edges])
    return _forward(edges, varied) & backward


def refuse_whole_numbers(program: ir.Program, varied: Iterable[str]) -> None:
    """Refuse integers made of what depends on the arguments `varied`.

    Such a density is of whole numbers, or loses its derivative by oversight.
    """
    depends = _forward(_edges(program), varied)
    everywhere: list[tuple[str, ir.Expression]] = [("", program.result)]
    for s in ir.walk(program.statements):
        where = f", line {s.line}"
        everywhere += [(where, e) for e in expressions_of(s)]
        if not isinstance(s, ir.Assign) or isinstance(s.target, ir.Variable):
            continue
        kind = program.local.get(s.target.array, (0, "f"))[1]
        if kind != "f" and smooth(s.value) & depends:
            raise NotDifferentiable(
                f"{program.name}{where}: a parameter is written to an array of integers; make it "
                "of np.float64"
            )
    for where, e in everywhere:
        for part in _parts(e):
            if (
                isinstance(part, ir.Operation)
                and part.name == "int"
                and smooth(part.args[0]) & depends
            ):
                raise NotDifferentiable(
                    f"{program.name}{where}: int() of a parameter has no derivative; fit a density "
                    "of whole numbers with method='score', or write math.floor where zero is meant"
                )


def expressions_of(s: ir.Statement) -> list[ir.Expression]:
    """Expressions of a statement, without those of the statements within it."""
    if isinstance(s, ir.Assign):
        return [s.value, s.target]
    if isinstance(s, ir.If | ir.Check):
        return [s.test]
    if isinstance(s, ir.For):
        return [s.start, s.stop]
    return list(s.shape) if isinstance(s, ir.Allocate) else []


def _parts(e: ir.Expression) -> Iterator[ir.Expression]:
    yield e
    inner = e.args if isinstance(e, ir.Operation) else e.index if isinstance(e, ir.Element) else ()
    for part in inner:
        yield from _parts(part)


Edges: TypeAlias = list[tuple[str, frozenset[str]]]


def _edges(program: ir.Program) -> Edges:
    """Names that are assigned, and what they depend on with a derivative."""
    edges: Edges = []
    for s in ir.walk(program.statements):
        if isinstance(s, ir.Assign):
            name = target_name(s)
            ndim_kind = program.local.get(name)
            kind = program.kinds.get(name, "f") if ndim_kind is None else ndim_kind[1]
            if kind == "f":
                edges.append((name, smooth(s.value)))
        elif isinstance(s, ir.Apply):
            edges.append((s.out, frozenset(s.arrays)))
    return edges


def _forward(edges: Edges, varied: Iterable[str]) -> set[str]:
    return _closure(set(varied), [(sources, {name}) for name, sources in edges])


def _closure(names: set[str], edges: list[tuple[frozenset[str], set[str]]]) -> set[str]:
    """Names reached: an edge adds its second set if any name of its first is there."""
    while True:
        more = set().union(*(new for sources, new in edges if sources & names)) - names
        if not more:
            return names
        names = names | more
