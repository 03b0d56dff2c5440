"""Targets from C: source code that is compiled, or a library with its header."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastvi.base import checks
from fastvi.base.caches import cache_folder
from fastvi.base.temporary import Folder
from fastvi.base.typing import DataLike
from fastvi.targets.arguments import Names, as_parameters, count_rows
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
from fastvi.targets.data import Data, Field, prepare
from fastvi.targets.failures import warn_of_cost
from fastvi.transforms import Parameters

__all__ = ["CTarget", "from_c", "from_library"]

C_TYPES = {"bool": "uint8_t", "float32": "float", "float64": "double"}
VALUE = "double {name}(int64_t n, const double *z, const {data} *data, double *grad)"
STATUS = (
    "int64_t {name}(int64_t k, int64_t n, const double *Z, const {data} *data, double *values, "
    "double *grads)"
)
FLAGS = ("-O3", "-march=native")


def from_c(
    source: str | Path,
    *,
    data: DataLike | None = None,
    dim: int | None = None,
    names: Names | None = None,
    rows: str | Sequence[str] | None = None,
    function: str = "logp",
    batched: bool = False,
    gradient: bool | str = True,
    flags: Sequence[str] = FLAGS,
) -> CTarget:
    """Make a target from C source, compiled by the C compiler (`$CC` or `cc`) and cached.

    The source defines one of these functions::

        double logp(int64_t n, const double *z, const data_t *data, double *grad)
        int64_t logp(int64_t k, int64_t n, const double *Z, const data_t *data,
                     double *values, double *grads)

    The second is for `batched=True`; it returns 0 on success, and `grads` is NULL if only values
    are needed. `grad` is initialised with zeros and never NULL. `data_t` is declared already, with
    the types of the data: ``data->X`` (const double *) and ``data->X_shape[2]`` for a
    two-dimensional array X, ``*data->s`` for a number s. If `rows` is given, the batch is in
    ``data->rows`` (const int64_t *), ``data->weights`` (const double *) and ``data->n_rows``.
    <stdint.h>, <stddef.h> and <math.h> are included.

    Parameters
    ----------
    source : str or Path
        C source, or the file that contains it. Relative includes are searched beside that file, or
        in the current folder for source text.
    data, dim, names
        As in `fastvi.target`.
    rows : str or sequence of str, optional
        Arrays of the data whose first axis batches choose from; none by default.
    function : str
        Name of the function.
    batched : bool
        Whether it has the second form.
    gradient : {True, False, "numerical"}
        Whether it writes its gradient; "numerical" means finite differences, as in `fastvi.target`.
    flags : sequence of str
        Compiler flags.

    Returns
    -------
    CTarget

    Raises
    ------
    RuntimeError
        If there is no compiler, or it reports an error (quoted in the message).
    ValueError
        If an argument is invalid.

    Examples
    --------
    >>> import fastvi
    >>> source = '''
    ... double logp(int64_t n, const double *z, const data_t *data, double *grad)
    ... { grad[0] = -z[0]; return -0.5 * z[0] * z[0]; }
    ... '''
    >>> target = fastvi.targets.from_c(source, dim=1)
    >>> target.log_prob([[2.0]])
    array([-2.])
    """
    prepared = None if data is None else prepare(data)
    code = Path(source).read_text() if isinstance(source, Path) else source
    warn_of_cost(function, gradient, stacklevel=2)
    form = STATUS if checks.flag(batched, "batched") else VALUE
    declared = declarations(prepared.fields if prepared else (), form.format(**_names(function)))
    folder = source.parent if isinstance(source, Path) else Path()
    library = _compiled(declared + code, tuple(flags), folder)
    header = form.format(name=function, data="void") + ";"
    rows = (rows,) if isinstance(rows, str) else rows
    parameters = as_parameters(dim, names)
    return CTarget(str(library), header, function, prepared, parameters, rows, gradient, 0)


def from_library(
    library: str | Path,
    header: str | Path,
    *,
    data: DataLike | None = None,
    dim: int | None = None,
    names: Names | None = None,
    rows: str | Sequence[str] | None = None,
    function: str = "logp",
    gradient: bool | str = True,
    context: int = 0,
) -> CTarget:
    """Make a target from a function of a shared library, in one of the two forms of `from_c`.

    Parameters
    ----------
    library : str or Path
    header : str or Path
        Declarations that cffi can read, without preprocessor directives, or the file that contains
        them. That of `function` is checked, but its data may be any pointer.
    data, dim, names, rows, function, gradient
        As in `from_c`.
    context : int
        Address to pass as its data, instead of that of the table.

    Returns
    -------
    CTarget

    Raises
    ------
    ImportError
        If cffi is not installed.
    ValueError
        If the library or the declaration cannot be read, or the function has another type.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_library("libmodel.so", "model.h", dim=2)  # doctest: +SKIP
    """
    warn_of_cost(function, gradient, stacklevel=2)
    prepared = None if data is None else prepare(data)
    parameters = as_parameters(dim, names)
    rows = (rows,) if isinstance(rows, str) else rows
    text = header.read_text() if isinstance(header, Path) else header
    return CTarget(str(library), text, function, prepared, parameters, rows, gradient, context)


class CTarget(Target):
    """A `Target` whose density is a function of a shared library."""

    def __init__(
        self,
        library: str,
        header: str,
        function: str,
        data: Data | None,
        parameters: Parameters,
        rows: Sequence[str] | None,
        gradient: bool | str,
        context: int,
    ) -> None:
        if gradient not in (True, False, "numerical"):
            raise ValueError(f"gradient is {gradient!r}; wanted True, False or 'numerical'")
        self._rest = rows, gradient, context
        self._where = library, header, function
        n_rows = None if rows is None else count_rows(data, rows, function)
        compiled = _load(library, header, function, gradient is True, context)
        numerical = gradient == "numerical"
        super().__init__(function, compiled, parameters, data, n_rows, numerical=numerical)

    def __reduce__(self) -> tuple[object, ...]:
        if self._rest[-1]:
            raise TypeError(f"{self.name} has a context, whose address is invalid elsewhere")
        return CTarget, (*self._where, self._data, self.parameters, *self._rest)

    def bind(self, data: DataLike) -> CTarget:
        """Return the same density with other data of the same types.

        Raises
        ------
        ValueError
            If names, numbers of axes or dtypes differ (integers may stand for floats).
        """
        return CTarget(*self._where, self._data_like(data), self.parameters, *self._rest)


def declarations(fields: Sequence[Field], prototype: str) -> str:
    """Return C declarations of the data and of the function that the source must define."""
    from fastvi.kernels import targets

    lines = ["#include <math.h>", "#include <stddef.h>", "#include <stdint.h>", "typedef struct {"]
    lines += ["const int64_t *rows;", "int64_t n_rows;", "const double *weights;"]
    lines += [f"int64_t reserved[{targets.HEADER - 3}];"]
    for field in fields:
        lines.append(f"const {C_TYPES.get(field.dtype, field.dtype + '_t')} *{field.name};")
        if field.ndim:
            lines.append(f"int64_t {field.name}_shape[{field.ndim}];")
    return "\n".join([*lines, "} data_t;", prototype + ";", '#line 1 "logp.c"', ""])


def _names(function: str) -> dict[str, str]:
    if not function.isidentifier():
        raise ValueError(f"function is {function!r}; wanted the name of a C function")
    return {"name": function, "data": "data_t"}


def _load(library: str, header: str, function: str, gradient: bool, context: int) -> Compiled:
    """Return the address of an adapter for a library function, after checking its declaration."""
    import cffi

    from fastvi.kernels import targets
    from fastvi.kernels._jit import adapter

    ffi = cffi.FFI()
    try:
        ffi.cdef(header)
        handle = ffi.dlopen(library)
        pointer = getattr(handle, function)
    except (cffi.CDefError, OSError, AttributeError) as error:
        raise ValueError(f"{function} of {library}: {error}") from error
    if not isinstance(pointer, ffi.CData):
        raise ValueError(f"{function} of {library} is not a function")
    kind = ffi.typeof(pointer)
    known: list[tuple[str, Callable[..., int], Callable[[int], int]]] = [
        (r"double\(id[dp]d\)", targets.from_value, int),
        (r"i\(iid[dp]dd\)", targets.from_status, lambda status: 1 - status),
    ]
    found = [form[1:] for form in known if re.fullmatch(form[0], _in_short(ffi, kind))]
    if not found:
        wanted = " or ".join(form.format(name=function, data="void") for form in (VALUE, STATUS))
        raise ValueError(f"{function} of {library} is {kind.cname}; wanted {wanted}")
    wrap, status = found[0]
    header_words = (
        (targets.FUNCTION, int(ffi.cast("intptr_t", pointer))),
        (targets.CONTEXT, context),
    )
    owner = (ffi, handle)
    return Compiled(adapter(wrap)[0], owner, gradient, header=header_words, status=status)


def _in_short(ffi: Any, kind: Any) -> str:
    """A type's name with i for 64-bit integers, d for pointers to double, p for other pointers."""
    if kind.kind == "function":
        arguments = "".join(_in_short(ffi, argument) for argument in kind.args)
        return f"{_in_short(ffi, kind.result)}({arguments})"
    if kind.kind == "pointer":
        return "d" if kind.item.cname == "double" else "p"
    is_float = kind.cname in ("float", "double")
    if kind.kind == "primitive" and ffi.sizeof(kind) == 8 and not is_float:
        return "i"
    return str(kind.cname)


def _compiled(text: str, flags: tuple[str, ...], folder: Path) -> Path:
    """Compile a C source, which may include files in `folder`, to a shared library.

    The library is cached under a hash of everything that the compiler sees: the source with its
    includes, the compiler's version, the flags, files that they name and the machine. Its name
    also contains a hash of its contents, because loading a damaged library would kill the process.
    """
    from llvmlite.binding import get_host_cpu_name

    compiler = shlex.split(os.environ.get("CC") or "")
    # Python's own command has flags for the machine on which it was built.
    compiler = compiler or shlex.split(sysconfig.get_config_var("CC") or "cc")[:1]
    version = _run([*compiler, "--version"])
    whole = _run([*compiler, *flags, "-E", "-x", "c", "-"], input=text, cwd=folder)
    linked = [_hash(Path(flag).read_bytes()) for flag in flags if os.path.isfile(flag)]
    parts = [whole, version, *compiler, *flags, *linked, sys.platform, get_host_cpu_name()]
    key = _hash("\0".join(parts).encode())
    cache = cache_folder("c")
    for library in cache.glob(f"{key}-*.so"):
        with contextlib.suppress(OSError):
            if library.name == f"{key}-{_hash(library.read_bytes())}.so":
                return library
            library.unlink()
    work = Folder(cache, "work-")
    try:
        source, made = Path(work.name, "logp.i"), Path(work.name, "logp.so")
        source.write_text(whole)
        _run([*compiler, *flags, "-shared", "-fPIC", str(source), "-o", str(made), "-lm"])
        library = cache / f"{key}-{_hash(made.read_bytes())}.so"
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(library)
    finally:
        work.close()
    return library


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _run(command: list[str], **options: Any) -> str:
    """Run a compiler and return its output.

    Raises
    ------
    RuntimeError
        If there is no compiler, or it reports an error.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, **options)
    except OSError as error:
        raise RuntimeError(f"no C compiler ({command[0]}): {error}; set CC to one") from error
    if done.returncode:
        raise RuntimeError(f"the C compiler reports an error:\n{done.stderr}")
    return str(done.stdout)
