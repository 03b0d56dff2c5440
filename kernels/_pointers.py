"""Arrays at addresses and calls of C functions by address, compiled or interpreted.

Each function is plain Python, used if nothing is compiled, with an overload that Numba inlines.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from ._jit import C_TARGET

C_VALUE = ctypes.CFUNCTYPE(ctypes.c_double, *(ctypes.c_int64,) * 4)
C_STATUS = ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_int64,) * 7)


def array_at(address, shape, dtype):
    """The array of `shape` (a tuple) and `dtype` at an address; C order."""
    count = int(np.prod(shape))
    if count == 0:
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(int(address))
    return np.ndarray(shape, dtype, memory)


def read_only(array):
    """The same array, which cannot be written to."""
    array = array.view()
    array.flags.writeable = False
    return array


def call_target(address, k, n, Z, data, values, grads):
    """Call a function of the signature `TARGET`; its status."""
    return C_TARGET(int(address))(k, n, Z, data, values, grads)


def call_value(address, n, z, data, grad):
    """Call a C function ``double f(int64_t n, const double *z, void *data, double *grad)``."""
    return C_VALUE(int(address))(n, z, data, grad)


def call_status(address, a, b, c, d, e, f, g):
    """Call a C function of seven integers or pointers that returns an int."""
    return C_STATUS(int(address))(a, b, c, d, e, f, g)


@intrinsic
def _pointer(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


@intrinsic
def _freeze(typingctx, array):
    def codegen(context, builder, signature, args):
        context.nrt.incref(builder, signature.return_type, args[0])
        return args[0]

    return array.copy(readonly=True)(array), codegen


def _caller(n_arguments, result, bits):
    """An intrinsic that calls a function of so many 64-bit integers by its address."""
    word = ir.IntType(64)

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(bits, [word] * n_arguments)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return result(*(types.int64,) * (n_arguments + 1)), codegen


@intrinsic
def _call_target(typingctx, address, k, n, Z, data, values, grads):
    return _caller(6, types.int64, ir.IntType(64))


@intrinsic
def _call_value(typingctx, address, n, z, data, grad):
    return _caller(4, types.float64, ir.DoubleType())


@intrinsic
def _call_status(typingctx, address, a, b, c, d, e, f, g):
    return _caller(7, types.int32, ir.IntType(32))


@overload(array_at)
def _compile_array_at(address, shape, dtype):
    return lambda address, shape, dtype: carray(_pointer(address), shape, dtype)


@overload(read_only)
def _compile_read_only(array):
    return lambda array: _freeze(array)


@overload(call_target)
def _compile_call_target(address, k, n, Z, data, values, grads):
    return lambda address, k, n, Z, data, values, grads: _call_target(
        address, k, n, Z, data, values, grads
    )


@overload(call_value)
def _compile_call_value(address, n, z, data, grad):
    return lambda address, n, z, data, grad: _call_value(address, n, z, data, grad)


@overload(call_status)
def _compile_call_status(address, a, b, c, d, e, f, g):
    return lambda address, a, b, c, d, e, f, g: _call_status(address, a, b, c, d, e, f, g)
