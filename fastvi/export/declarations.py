"""C declarations of kernels: how compiled code of Numba is called, and a table of it per level."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba.core import types

from fastvi.export.catalogue import Entry

__all__ = ["header", "symbol", "tables"]

C_NAMES = {
    "float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t",
    "uint16": "uint16_t", "bool": "uint8_t", "boolean": "uint8_t",
}  # fmt: skip
END = "    return NULL;\n}\n"


class _Argument(NamedTuple):
    """Parameters of the C function, and what Numba's code is given for them."""

    parameters: list[tuple[str, str]]  # types and names
    passed: list[tuple[str, str]]  # types and expressions


def symbol(name: str, level: int) -> str:
    """The kernel's symbol in the library."""
    return f"fv_{name}_{level}"


def _array(name: str, kind: Any) -> _Argument:
    """Numba passes a counted reference, its owner, sizes and strides in bytes."""
    item, size = C_NAMES[str(kind.dtype)], kind.dtype.bitwidth // 8
    sizes = [f"{name}_{axis}" for axis in range(kind.ndim)]
    strides = [" * ".join([str(size), *sizes[axis + 1 :]]) for axis in range(kind.ndim)]
    n_items = " * ".join(sizes) or "1"
    passed = [("void *", "NULL"), ("void *", "NULL"), ("int64_t", n_items), ("int64_t", str(size))]
    passed += [(f"const {item} *", name), *(("int64_t", s) for s in [*sizes, *strides])]
    return _Argument([(f"const {item} *", name), *(("int64_t", s) for s in sizes)], passed)


def _arguments(name: str, kind: Any) -> Iterator[_Argument]:
    if hasattr(kind, "fields"):  # a named tuple
        for field, part in zip(kind.fields, kind.types):
            yield from _arguments(f"{name}_{field}", part)
    elif isinstance(kind, types.Array):
        yield _array(name, kind)
    else:
        pair = C_NAMES[str(kind)], name
        yield _Argument([pair], [pair])


def _c_name(kind: Any) -> str:
    return "void" if kind == types.none else C_NAMES[str(kind)]


class _Function(NamedTuple):
    name: str
    result: str
    arguments: list[_Argument]

    @classmethod
    def of(cls, entry: Entry) -> _Function:
        names = inspect.signature(entry.kernel.py_func).parameters
        arguments = [a for n, k in zip(names, entry.signature) for a in _arguments(n, k)]
        return cls(entry.name, _c_name(entry.result), arguments)

    def pointer(self) -> str:
        kinds = ", ".join(kind for a in self.arguments for kind, _ in a.passed)
        return f"int32_t (*{self.name})(void *, void **, {kinds});"

    def call(self) -> str:
        """A function of plain C arrays and their sizes; it returns 0, or 1 without memory."""
        given = [p for a in self.arguments for p in a.parameters]
        if self.result != "void":
            given.append((f"{self.result} *", "fv_result"))
        listed = ", ".join(f"{kind} {name}".replace("* ", "*") for kind, name in given)
        passed = ", ".join(value for a in self.arguments for _, value in a.passed)
        place = "&fv_nothing" if self.result == "void" else "fv_result"
        return (
            f"static inline int32_t fv_{self.name}(const struct fv_table *fv_from, {listed}) {{\n"
            "    void *fv_nothing = NULL, *fv_error = NULL;\n    (void)fv_nothing;\n"
            f"    return fv_from->{self.name}({place}, &fv_error, {passed}) != 0;\n}}\n"
        )


def header(found: list[Entry], build: str) -> str:
    """`kernels.h`: the table of kernels, and a function that calls each of them.

    found: all kernels, also those that are not built; build: what `fastvi_build` returns.
    """
    functions = [_Function.of(entry) for entry in found]
    lines = [
        "/* Written by fastvi.export. */",
        "#ifndef FASTVI_KERNELS_H\n#define FASTVI_KERNELS_H\n",
        "#include <stddef.h>\n#include <stdint.h>\n",
        '#include "matrix.h"\n',
        f'#define FV_BUILD "{build}"\n',
        "/* Kernels of a level; NULL where a part of the library was left out. */",
        "struct fv_table {",
        "    fv_product *product;",
        "    fv_product_f32 *product_f32;",
        *(f"    {function.pointer()}" for function in functions),
        "};\n",
        "const struct fv_table *fv_table_of(int32_t level);",
        "const void *fv_kernel_of(const struct fv_table *table, const char *name);\n",
        *(function.call() for function in functions),
        "#endif\n",
    ]
    return "\n".join(lines)


def tables(found: list[Entry], built: list[str], levels: list[int]) -> str:
    """`kernels.c`: the tables of all levels; built are the names of kernels that were compiled."""
    functions = [_Function.of(entry) for entry in found]
    lines = ["/* Written by fastvi.export. */", "#include <string.h>\n", '#include "kernels.h"\n']
    for level in levels:
        lines += _table([f for f in functions if f.name in built], level)
    chosen = [f"    if (level == {level}) return &table_{level};" for level in levels]
    named = [
        f'    if (!strcmp(name, "{f.name}")) return (const void *)table->{f.name};'
        for f in functions
    ]
    lines += ["const struct fv_table *fv_table_of(int32_t level) {", *chosen, END,
              "const void *fv_kernel_of(const struct fv_table *table, const char *name) {",
              *named, END]  # fmt: skip
    return "\n".join(lines)


def _table(functions: list[_Function], level: int) -> list[str]:
    """The table of a level, and what is in it."""
    declared = [f.pointer().replace(f"(*{f.name})", symbol(f.name, level), 1) for f in functions]
    members = [f"    .{f.name} = {symbol(f.name, level)}," for f in functions]
    return [
        *declared,
        f"fv_product fv_product_{level};",
        f"fv_product_f32 fv_product_f32_{level};",
        f"static const struct fv_table table_{level} = {{",
        f"    .product = fv_product_{level},",
        f"    .product_f32 = fv_product_f32_{level},",
        *members,
        "};\n",
    ]
