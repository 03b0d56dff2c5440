"""Links each compiled kernel to its own copies of helper functions.

Numba links a copy of each helper into a kernel, as a symbol that other libraries of the process
may define as well. Which one is called would depend on what was compiled or loaded before, and
since copies are optimised in different surroundings, so would the last bits. Built on private
classes of Numba, as `_cache` is.
"""

import contextlib
import gc

from llvmlite.binding import Linkage, parse_assembly
from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _OwnCopies(JITCodeLibrary):
    """A library whose machine code has no symbols in common with others."""

    def _finalize_final_module(self):
        self._shared_module = self._final_module.clone()  # for linking, where copies are merged
        for function in self._shared_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        for function in self._final_module.functions:
            # Numba's own functions that count references are the same everywhere.
            is_copy = not function.is_declaration and function.linkage == Linkage.linkonce_odr
            if is_copy and not function.name.startswith("NRT_"):
                function.linkage = "internal"
        super()._finalize_final_module()

    def serialize_using_object_code(self):
        """What the cache keeps: of the code for linking only names, as kernels link bare twins."""
        name, kind, (machine_code, _) = super().serialize_using_object_code()
        functions = [f for f in self.get_defined_functions() if f.linkage == Linkage.external]
        names = "\n".join(f'define void @"{f.name}"() {{ ret void }}' for f in functions)
        return name, kind, (machine_code, parse_assembly(names).as_bitcode())


class _ForLinking(_OwnCopies):
    """A library that is only linked into others, which optimise its code along with theirs."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        self._shared_module = self._final_module
        self._finalized = True


@contextlib.contextmanager
def collecting_later():
    """Without Python's garbage collector, which the millions of objects of a compilation, most of
    them alive to its end, would start so often that it takes a fifth of the time.
    """
    collects = gc.isenabled()  # not in a compilation inside another
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class KernelCompiler(Compiler):
    """Numba's compiler with libraries of this kind."""

    def compile_extra(self, func):
        """Compile a function."""
        self.state.library = _OwnCopies(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        with collecting_later():
            return super().compile_extra(func)


class BareCompiler(Compiler):
    """Numba's compiler for what only other compiled functions call."""

    def compile_extra(self, func):
        """Compile a function, but not to machine code."""
        state = self.state
        state.library = _ForLinking(state.targetctx.codegen(), func.__qualname__)
        state.flags.no_compile = True
        result = super().compile_extra(func)
        state.library.finalize()
        described, name = result.fndesc, func.__name__
        function = _dynfunc.make_function(  # only a key, as Numba makes one without a wrapper
            described.lookup_module(), name, "", 0, result.environment, (result.library,)
        )
        state.targetctx.insert_user_function(function, described, [result.library])
        return result._replace(entry_point=function)


def share_bare_twin(compiled, bare):
    """Let other kernels call `bare`, the same function without wrappers for Python and without a
    cache, which for small helpers take longer to make than the rest.
    """
    compiled.get_call_template = bare.get_call_template
    compiled.get_overload = bare.get_overload
    compiled._compiling_counter = bare._compiling_counter  # by which recursion is noticed
