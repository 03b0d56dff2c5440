"""Arithmetic without subnormal numbers while a kernel runs.

Products of tiny weights often fall below the normal numbers, where x86 processors take a hundred
times as long. `flush_subnormals` makes such results 0 on the calling thread, and
`restore_subnormals` restores its mode. On other processors both do nothing.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

FLUSH = 0x8040  # flush results to zero, take subnormal operands as zero
IS_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
I32 = ir.IntType(32)


def flush_subnormals():
    """Begin; the mode to restore."""
    return 0


def restore_subnormals(mode):
    """End."""


@overload(flush_subnormals)
def _compile_flush():
    def flush():
        mode = _get_mode()
        _set_mode(mode | FLUSH)
        return mode

    return flush


@overload(restore_subnormals)
def _compile_restore(mode):
    return lambda mode: _set_mode(mode)


def _call(builder, name, value):
    """Call an instruction that reads or writes the mode through a pointer to it."""
    place = cgutils.alloca_once_value(builder, value)
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [pointer])
    return builder.load(place)


@intrinsic
def _get_mode(typing):
    def generate(context, builder, signature, values):
        zero = ir.Constant(I32, 0)
        return _call(builder, "llvm.x86.sse.stmxcsr", zero) if IS_X86 else zero

    return types.int32(), generate


@intrinsic
def _set_mode(typing, mode):
    def generate(context, builder, signature, values):
        if IS_X86:
            value = builder.trunc(values[0], I32) if values[0].type != I32 else values[0]
            _call(builder, "llvm.x86.sse.ldmxcsr", value)
        return context.get_dummy_value()

    return types.void(mode), generate
