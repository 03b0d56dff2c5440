"""Numbers of several draws side by side, one in each lane of a vector register.

`fastvi.derivatives.lanes` writes code for them that is otherwise that of a single draw. Arrays of
such numbers are float64 arrays with one more axis, of length `LANES`. Interpreted, a number is an
array (LANES,).
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin, lower_cast, models, register_model

__all__ = [
    "LANES",
    "ahead",
    "at",
    "both",
    "choose",
    "either",
    "grown",
    "lane",
    "lanes",
    "loaded",
    "lowered",
    "mask",
    "negation",
    "put",
    "single",
    "spread",
    "stored",
    "with_lane",
]

LANES = 16
WIDE = ir.VectorType(ir.DoubleType(), LANES)


class Lanes(types.Type):
    """One number for each draw."""

    def can_convert_from(self, typingctx, other):
        """Plain numbers are the same for all draws."""
        plain = isinstance(other, types.Float | types.Integer | types.Boolean)
        return Conversion.promote if plain else None


lanes = Lanes(f"lanes{LANES}")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, WIDE)


class Mask(types.Type):
    """A truth value for each draw."""

    def can_convert_from(self, typingctx, other):
        """A plain truth value is the same for all draws."""
        return Conversion.promote if isinstance(other, types.Boolean) else None


mask = Mask(f"mask{LANES}")


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))


@lower_cast(types.Float, Lanes)
@lower_cast(types.Integer, Lanes)
@lower_cast(types.Boolean, Lanes)
def _spread(context, builder, given, wanted, value):
    return _splat(builder, context.cast(builder, value, given, types.float64), WIDE)


@lower_cast(types.Boolean, Mask)
def _spread_truth(context, builder, given, wanted, value):
    bit = context.cast(builder, value, given, types.boolean)
    if bit.type.width > 1:
        bit = builder.trunc(bit, ir.IntType(1))
    return _splat(builder, bit, ir.VectorType(ir.IntType(1), LANES))


def _splat(builder, value, kind):
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), order)


def _operator(symbol, result, instruction):
    """Teach Numba an operator of two numbers, of which one may be the same for all draws."""

    @infer_global(symbol)
    class _Typed(AbstractTemplate):
        def generic(self, args, kws):
            if lanes in args and not kws:
                return signature(result, lanes, lanes)
            return None

    @lower_builtin(symbol, lanes, lanes)
    def lowered(context, builder, sig, args):
        return instruction(builder, *args)


for _symbol, _name in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
                       (operator.truediv, "fdiv")):  # fmt: skip
    _operator(_symbol, lanes, lambda builder, x, y, name=_name: getattr(builder, name)(x, y))
for _symbol, _name in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"),
                       (operator.ge, ">="), (operator.eq, "=="), (operator.ne, "!=")):  # fmt: skip
    _compare = "fcmp_unordered" if _name == "!=" else "fcmp_ordered"
    _operator(_symbol, mask, lambda builder, x, y, name=_name, compare=_compare: (
        getattr(builder, compare)(name, x, y)))  # fmt: skip


@infer_global(operator.neg)
class _Negative(AbstractTemplate):
    def generic(self, args, kws):
        return signature(lanes, lanes) if args == (lanes,) else None


@lower_builtin(operator.neg, lanes)
def _negative(context, builder, sig, args):
    return builder.fneg(args[0])


# Arrays of lanes, and choices between them.
def at(array, index):
    """The element at an index, a tuple, of an array of lanes."""
    return array[index].copy()


def put(array, index, value):
    """Set the element at an index, a tuple, of an array of lanes."""
    array[index] = value


def choose(test, x, y):
    """X in the lanes where the test is true, and y in the others."""
    return np.where(test, x, y)


def both(x, y):
    """Whether both are true, in each lane."""
    return np.logical_and(x, y)


def either(x, y):
    """Whether one is true, in each lane."""
    return np.logical_or(x, y)


def negation(x):
    """Whether it is false, in each lane."""
    return np.logical_not(x)


def spread(x):
    """A number that is the same for all draws."""
    return x + np.zeros(LANES)


def ahead(i, k):
    """The index i + k, which is not negative."""
    return i + k


def lane(x, k):
    """The number of one draw."""
    return x[k]


def with_lane(x, k, value):
    """A copy of x with another value in draw k."""
    x = x.copy()
    x[k] = value
    return x


def _place(context, builder, kind, array, index_kind, index):
    """Pointer to the first lane of an element."""
    made = context.make_array(kind)(context, builder, array)
    places = []
    for axis, (part, t) in enumerate(zip(cgutils.unpack_tuple(builder, index), index_kind)):
        place = context.cast(builder, part, t, types.intp)
        if t.signed:
            size = builder.extract_value(made.shape, axis)
            from_end = builder.icmp_signed("<", place, ir.Constant(place.type, 0))
            place = builder.select(from_end, builder.add(place, size), place)
        places.append(place)
    places.append(ir.Constant(ir.IntType(64), 0))
    pointer = cgutils.get_item_pointer(context, builder, kind, made, places)
    return builder.bitcast(pointer, WIDE.as_pointer())


def _typed(function, rule):
    """Let Numba type calls of a function of this module, by its arguments' types."""

    @infer_global(function)
    class _Typed(AbstractTemplate):
        def generic(self, args, kws):
            return rule(*args)


def lowered(function, rule, *kinds):
    """As `_typed`, for a decorated function that writes the instructions."""
    _typed(function, rule)
    return lower_builtin(function, *kinds)


@lowered(at, lambda a, i: signature(lanes, a, i), types.Array, types.BaseTuple)
def _at(context, builder, sig, args):
    pointer = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    return builder.load(pointer, align=8, typ=WIDE)


@lowered(put, lambda a, i, x: signature(types.none, a, i, lanes),
          types.Array, types.BaseTuple, lanes)  # fmt: skip
def _put(context, builder, sig, args):
    pointer = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    builder.store(args[2], pointer, align=8)
    return context.get_dummy_value()


@lowered(choose, lambda test, x, y: signature(lanes, mask, lanes, lanes), mask, lanes, lanes)
def _choose(context, builder, sig, args):
    return builder.select(*args)


@lowered(both, lambda x, y: signature(mask, mask, mask), mask, mask)
def _both(context, builder, sig, args):
    return builder.and_(*args)


@lowered(either, lambda x, y: signature(mask, mask, mask), mask, mask)
def _either(context, builder, sig, args):
    return builder.or_(*args)


@lowered(negation, lambda x: signature(mask, mask), mask)
def _negation(context, builder, sig, args):
    return builder.not_(args[0])


@lowered(spread, lambda x: signature(lanes, lanes), lanes)
def _same(context, builder, sig, args):
    return args[0]


@lowered(ahead, lambda i, k: signature(types.uintp, types.intp, types.intp),
          types.intp, types.intp)  # fmt: skip
def _ahead(context, builder, sig, args):
    return builder.add(*args)


@lowered(lane, lambda x, k: signature(types.float64, lanes, types.intp), lanes, types.intp)
def _get_lane(context, builder, sig, args):
    return builder.extract_element(*args)


@lowered(with_lane, lambda x, k, v: signature(lanes, lanes, types.intp, types.float64),
          lanes, types.intp, types.float64)  # fmt: skip
def _set_lane(context, builder, sig, args):
    return builder.insert_element(args[0], args[2], args[1])


def grown(stack, need):
    """A stack of at least `need` numbers that begins with those of `stack`."""
    new = np.empty((max(need, 2 * stack.shape[0]), LANES))
    for i in range(stack.shape[0]):
        for s in range(LANES):
            new[i, s] = stack[i, s]
    return new


def loaded(rows, first):
    """LANES rows (k, n) from the first, as an array (n,) of lanes; the last one fills up."""
    k, n = rows.shape
    array = np.empty((n, LANES))
    for s in range(LANES):
        row = min(first + s, k - 1)
        for j in range(n):
            array[j, s] = rows[row, j]
    return array


def stored(array, first, rows):
    """Copy an array (n,) of lanes to rows (k, n) from the first, as many as there are."""
    for s in range(min(LANES, rows.shape[0] - first)):
        for j in range(rows.shape[1]):
            rows[first + s, j] = array[j, s]


def single(value):
    """An array (1,) of lanes."""
    array = np.empty((1, LANES))
    put(array, (0,), value)
    return array
