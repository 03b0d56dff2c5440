"""Machine code of kernels as object files: ``python -m fastvi.export.objects LEVEL FOLDER PART...``

Each kernel is compiled by Numba as in Python, and its own module, optimised already, is written as
an object file: linked into other code first, it would be optimised again and have other last bits.
The level is that of the environment, as `environment_of` sets it, because kernels ask Numba which
processor they are compiled for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["environment_of", "levels_here", "write"]

LEVELS = {2: "x86-64-v2", 3: "x86-64-v3", 4: "x86-64-v4"}
RUNTIME = "fv_"  # before names of Numba's runtime, so that the library has its own
SUPPLIED = {
    "NRT_Allocate", "NRT_Free", "NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor",
    "numba_attempt_nocopy_reshape",
}  # fmt: skip


def levels_here() -> list[int]:
    """Levels of code that can be compiled here; 1 stands for other processors than x86-64."""
    import platform

    return list(LEVELS) if platform.machine().lower() in ("x86_64", "amd64") else [1]


def environment_of(level: int) -> dict[str, str]:
    """Variables of a process that compiles for a level."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    if level in LEVELS:
        free |= {"NUMBA_CPU_NAME": LEVELS[level], "NUMBA_CPU_FEATURES": ""}
    return free


def write(level: int, folder: Path, parts: tuple[str, ...]) -> list[str]:
    """Write ``NAME.LEVEL.o`` for each kernel of these parts; their names.

    Raises
    ------
    RuntimeError
        If a kernel needs a function that the library does not have.
    """
    from fastvi.export.catalogue import entries
    from fastvi.export.declarations import symbol

    names = []
    for entry in entries(parts):
        code = _machine_code(entry, symbol(entry.name, level))
        (folder / f"{entry.name}.{level}.o").write_bytes(code)
        names.append(entry.name)
    return names


def _machine_code(entry: Any, name: str) -> bytes:
    import llvmlite.binding as llvm
    from numba.core.caching import NullCache

    kernel, signature = entry.kernel, entry.signature
    kernel._cache = NullCache()  # which keeps machine code alone
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    if compiled.signature.return_type != entry.result:
        raise TypeError(f"{entry.name} returns {compiled.signature.return_type}")
    optimised = compiled.library._get_module_for_linking()
    module = llvm.parse_bitcode(optimised.as_bitcode())  # a copy, as generating code changes it
    machine = _machine(compiled.library.codegen)
    _keep_only(module, compiled.fndesc.mangled_name, name, machine)
    missing = {f.name for f in module.functions if f.is_declaration and _is_foreign(f.name)}
    if missing:
        raise RuntimeError(f"{entry.name} calls {', '.join(sorted(missing))}")
    return bytes(machine.emit_object(module))


def _is_foreign(name: str) -> bool:
    """Whether a name is one of Python's or Numba's that the library lacks."""
    own = name.startswith(("llvm.", RUNTIME)) or name in C_FUNCTIONS
    return not own


C_FUNCTIONS = {
    "acos", "atan", "atan2", "cos", "cosf", "erf", "erfc", "exp", "exp2", "expf", "expm1", "fmod",
    "ldexp", "lgamma", "log", "log1p", "logf", "memcpy", "memmove", "memset", "pow", "powf", "sin",
    "sinf", "sqrt", "tan", "tanh",
}  # fmt: skip


def _machine(codegen: Any) -> Any:
    """What Numba generates code for, with addresses that a shared library can have."""
    import llvmlite.binding as llvm

    _, processor, features = codegen.magic_tuple()
    target = llvm.Target.from_triple(codegen.magic_tuple()[0])
    return target.create_target_machine(
        opt=3, cpu=processor, features=features, reloc="pic", codemodel="default"
    )


def _keep_only(module: Any, mangled: str, name: str, machine: Any) -> None:
    """Make a function the only one that others see, and drop what it does not use."""
    import llvmlite.binding as llvm

    for function in module.functions:
        if function.is_declaration:
            if function.name in SUPPLIED:
                function.name = f"{RUNTIME}{function.name}"
        elif function.name != mangled:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    kept = module.get_function(mangled)
    kept.linkage, kept.visibility, kept.name = "external", "hidden", name
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=0)
    passes.run(module, llvm.create_pass_builder(machine, options))


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:]))
