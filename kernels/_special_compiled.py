"""How Numba compiles what `special` is written in: constants, polynomials, and bits of numbers.

Each would be a function that Numba compiles by itself, which adds up to seconds. Here they become a
few instructions of whatever calls them.
"""

from numba import typeof, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    type_callable,
)

BITS = {types.float32: types.uint32, types.float64: types.uint64}


class _Constants(types.Dummy):
    """A NamedTuple of numbers and of tuples of them, whose values are part of the type."""

    def __init__(self, values):
        self.values = values
        super().__init__(f"constants of {typeof(values[0])}")


register_model(_Constants)(models.OpaqueModel)


@infer_getattr
class _Attributes(AttributeTemplate):
    key = _Constants

    def generic_resolve(self, constants, name):
        return typeof(getattr(constants.values, name))


@lower_getattr_generic(_Constants)
def _write_constant(context, builder, constants, _, name):
    value = getattr(constants.values, name)
    return context.get_constant_generic(builder, typeof(value), value)


def compile_constants(function, single, double):
    """Compile function(x) to the constants of the width of x."""
    found = {types.float32: _Constants(single), types.float64: _Constants(double)}

    @type_callable(function)
    def type_of(context):
        return lambda x: found.get(x)

    @lower_builtin(function, types.Float)
    def write(context, builder, signature, arguments):
        return context.get_dummy_value()


def compile_bits(to_bits, from_bits):
    """Compile to_bits(x), an unsigned integer as wide as x, and from_bits(bits, like), its inverse
    for the width of `like`, of integers of any width.
    """

    @type_callable(to_bits)
    def type_of_bits(context):
        return lambda x: BITS.get(x)

    @lower_builtin(to_bits, types.Float)
    def write_bits(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    @type_callable(from_bits)
    def type_of_number(context):
        return lambda bits, like: like if like in BITS and isinstance(bits, types.Integer) else None

    @lower_builtin(from_bits, types.Integer, types.Float)
    def write_number(context, builder, signature, arguments):
        number = signature.return_type
        bits = context.cast(builder, arguments[0], signature.args[0], BITS[number])
        return builder.bitcast(bits, context.get_value_type(number))


def compile_polynomial(function, fastmath):
    """Compile function(x, coefficients), lowest power first, to Horner's rule."""

    @type_callable(function)
    def type_of(context):
        def typed(x, coefficients):
            uniform = isinstance(coefficients, types.UniTuple) and coefficients.dtype == x
            return x if uniform else None

        return typed

    @lower_builtin(function, types.Float, types.UniTuple)
    def write(context, builder, signature, arguments):
        x, coefficients = arguments
        flags = sorted(fastmath)
        *lower, total = cgutils.unpack_tuple(builder, coefficients)
        for coefficient in reversed(lower):
            product = builder.fmul(total, x, flags=flags)
            total = builder.fadd(product, coefficient, flags=flags)
        return total
