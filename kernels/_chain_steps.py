"""Steps of chains in 16 lanes: forward, backward and Viterbi, written with LLVM's vector types.

A chain has K states. Lane l of a step belongs to another part of the data than lane l + 1, so that
all lanes take the same step side by side. Arrays of a step are (K, L), their rows strided.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._vectors import FLAGS, I64, Vectors, number

LANES = 16
SIZES = (4, 2, 1)  # states whose sums are in registers at a time
WIDE = ir.VectorType(I64, LANES)


def forward_step(before, at_before, scale, transposed, start, likelihood, reset, norm, at, out, to):
    """Alpha of a step, not normalised: (start, or transitions' sum of alpha before) likelihood.

    L columns of arrays (K, n) or (n,): of `before` from at_before on, of likelihood, reset and norm
    from `at` on, of `out` from `to` on. transposed (K, K), transitions [to, from]; start (K,);
    reset is above 0 where a sequence begins; out and norm, its sums, are written; in and out: scale
    (L,), the inverse of the norm before, and of this one.
    """
    here = slice(at, at + LANES)
    moved = (transposed @ before[:, at_before : at_before + LANES]) * scale
    alpha = np.where(reset[here] > 0, start[:, None], moved) * likelihood[:, here]
    out[:, to : to + LANES] = alpha
    norm[here] = alpha.sum(axis=0)
    scale[:] = 1 / norm[here]


def backward_step(beta, likelihood, reset, at, transitions, alpha, norm, before, ahead, out, to):
    """Beta of the step before, with alpha @ beta = 1, and its posterior.

    L columns of arrays: of likelihood and reset of this step from `at` on; of alpha, norm and
    `ahead` of the step before from `before` on; of `out` from `to` on. transitions (K, K) [from,
    to]; reset is above 0 where this step begins a sequence; ahead is written, so that alpha_i
    transitions_ij ahead_j are the pairs' posteriors, and out, the posterior before; in and out:
    beta (K, L).
    """
    here, there = slice(at, at + LANES), slice(before, before + LANES)
    begins, scale = reset[here] > 0, 1 / norm[there]
    ahead[:, there] = np.where(begins, 0, likelihood[:, here] * beta * scale)
    beta[:] = np.where(begins, scale, transitions @ ahead[:, there])
    out[:, to : to + LANES] = alpha[:, there] * beta


def viterbi_step(before, transposed, start, likelihood, reset, at, out, origin):
    """Log probability of the best path to each state, less the best of all, and where it came from.

    before, out (K, L), transposed (K, K) [to, from] and start (K,) are logs, as likelihood is, of
    which, and of reset, there are L columns from `at` on; origin (K, L), unsigned, is the lowest of
    equal states; where a sequence begins, the best state before.
    """
    here = slice(at, at + LANES)
    begins = reset[here] > 0
    paths = transposed[:, :, None] + before
    origin[:] = np.where(begins, np.argmax(before, axis=0), np.argmax(paths, axis=1))
    best = np.where(begins, start[:, None], paths.max(axis=1)) + likelihood[:, here]
    out[:] = best - np.maximum(best.max(axis=0), -1e300)


class _Step(Vectors):
    """Columns of arrays, read and written by lanes."""

    def __init__(self, context, builder, signature, values):
        super().__init__(builder, ir.DoubleType(), 8)
        self.kind = self.vector(LANES)
        self.arrays = [
            context.make_array(kind)(context, builder, value)
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, values)
        ]
        self.zero = ir.Constant(self.kind, None)

    def rows(self, array, at=None):
        """Where row k of L columns begins, as a function of k."""
        stride = self.builder.sdiv(self.builder.extract_value(array.strides, 0), number(8))
        first = array.data if at is None else self.builder.gep(array.data, [at])
        return first, lambda k: self.builder.mul(k, stride)

    def row(self, rows, k):
        return self.load(rows[0], rows[1](k), self.kind)

    def write(self, value, rows, k):
        self.store(value, rows[0], rows[1](k))

    def lanes(self, array, at=None):
        return self.load(array.data, number(0) if at is None else at, self.kind)

    def spread(self, array, k):
        """Number k of an array in all lanes."""
        return self.splat(self.load(array.data, k, self.scalar), self.kind)

    def times(self, a, b):
        return self.builder.fmul(a, b, flags=FLAGS)

    def inverse(self, a):
        return self.builder.fdiv(ir.Constant(self.kind, [1.0] * LANES), a, flags=FLAGS)

    def above_zero(self, array, at):
        return self.builder.fcmp_ordered(">", self.lanes(array, at), self.zero)

    def variable(self, value):
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place

    def over(self, n, sizes, body):
        """Call body(k, size) for blocks of states, the largest size first, each a power of 2."""
        builder, start = self.builder, number(0)
        for size in sizes:
            stop = builder.and_(n, number(-size))
            with cgutils.for_range_slice(builder, start, stop, number(size), I64) as (k, _):
                body(k, size)
            start = stop

    def product(self, matrix, rows, n, finish):
        """Call finish(j, sum over i of matrix_ji rows_i) for all j, several at a time."""
        builder = self.builder

        def block(j, size):
            sums = [self.variable(self.zero) for _ in range(size)]
            starts = [builder.mul(builder.add(j, number(s)), n) for s in range(size)]
            with cgutils.for_range(builder, n, intp=I64) as loop:
                lanes = self.row(rows, loop.index)
                for place, start in zip(sums, starts):
                    weight = self.spread(matrix, builder.add(start, loop.index))
                    builder.store(self.multiply_add(weight, lanes, builder.load(place)), place)
            for s, place in enumerate(sums):
                finish(builder.add(j, number(s)), builder.load(place))

        self.over(n, SIZES, block)


@intrinsic
def _forward(typing, before, i, scale, transposed, start, likelihood, reset, norm, at, out, to):
    given = before, i, scale, transposed, start, likelihood, reset, norm, at, out, to

    def generate(context, builder, signature, values):
        step = _Step(context, builder, signature, values)
        before, i, scale, transposed, start, likelihood, reset, norm, at, out, to = step.arrays
        begins, factor = step.above_zero(reset, at), step.lanes(scale)
        likely, alphas = step.rows(likelihood, at), step.rows(out, to)
        total = step.variable(step.zero)

        def finish(j, moved):
            moved = builder.select(begins, step.spread(start, j), step.times(moved, factor))
            alpha = step.times(moved, step.row(likely, j))
            step.write(alpha, alphas, j)
            builder.store(step.add(builder.load(total), alpha), total)

        n = builder.extract_value(start.shape, 0)
        step.product(transposed, step.rows(before, i), n, finish)
        sums = builder.load(total)
        step.store(sums, norm.data, at)
        step.store(step.inverse(sums), scale.data, number(0))
        return context.get_dummy_value()

    return types.void(*given), generate


@intrinsic
def _backward(typing, beta, likelihood, reset, at, transitions, alpha, norm, i, ahead, out, to):
    given = beta, likelihood, reset, at, transitions, alpha, norm, i, ahead, out, to

    def generate(context, builder, signature, values):
        step = _Step(context, builder, signature, values)
        beta, likelihood, reset, at, transitions, alpha, norm, i, ahead, out, to = step.arrays
        n = builder.extract_value(transitions.shape, 0)
        begins, inverse = step.above_zero(reset, at), step.inverse(step.lanes(norm, i))
        factor = builder.select(begins, step.zero, inverse)
        betas, likely, alphas = step.rows(beta), step.rows(likelihood, at), step.rows(alpha, i)
        weighed, posterior = step.rows(ahead, i), step.rows(out, to)

        def weigh(j, size):
            value = step.times(step.times(step.row(betas, j), factor), step.row(likely, j))
            step.write(value, weighed, j)

        def finish(k, total):
            value = builder.select(begins, inverse, total)
            step.write(value, betas, k)
            step.write(step.times(value, step.row(alphas, k)), posterior, k)

        step.over(n, (1,), weigh)
        step.product(transitions, weighed, n, finish)
        return context.get_dummy_value()

    return types.void(*given), generate


class _Best(_Step):
    """The largest of several vectors by lane, and which it was."""

    def start(self):
        lowest = ir.Constant(self.kind, [-np.inf] * LANES)
        return self.variable(lowest), self.variable(ir.Constant(WIDE, None))

    def take(self, places, value, which):
        builder = self.builder
        best, found = (builder.load(place) for place in places)
        larger = builder.fcmp_ordered(">", value, best)
        builder.store(builder.select(larger, value, best), places[0])
        builder.store(builder.select(larger, self.splat(which, WIDE), found), places[1])

    def sum(self, a, b):
        return self.builder.fadd(a, b)

    def keep(self, found, array, k):
        """Write the numbers of states, in the bytes of the array's numbers."""
        kind = ir.VectorType(array.data.type.pointee, LANES)
        at = self.builder.gep(array.data, [self.builder.mul(k, number(LANES))])
        value = self.builder.trunc(found, kind)
        self.builder.store(value, self.builder.bitcast(at, kind.as_pointer()), align=1)


@intrinsic
def _viterbi(typing, before, transposed, start, likelihood, reset, at, out, origin):
    given = before, transposed, start, likelihood, reset, at, out, origin

    def generate(context, builder, signature, values):
        step = _Best(context, builder, signature, values)
        before, transposed, start, likelihood, reset, at, out, origin = step.arrays
        n, begins = builder.extract_value(start.shape, 0), step.above_zero(reset, at)
        past, likely, new = step.rows(before), step.rows(likelihood, at), step.rows(out)
        best, ended = step.start(), step.start()
        with cgutils.for_range(builder, n, intp=I64) as loop:
            step.take(ended, step.row(past, loop.index), loop.index)

        def block(j, size):
            states = [builder.add(j, number(s)) for s in range(size)]
            paths = [step.start() for _ in states]
            with cgutils.for_range(builder, n, intp=I64) as loop:
                lanes = step.row(past, loop.index)
                for state, path in zip(states, paths):
                    move = builder.add(builder.mul(state, n), loop.index)
                    step.take(path, step.sum(lanes, step.spread(transposed, move)), loop.index)
            for state, path in zip(states, paths):
                value, found = (builder.load(place) for place in path)
                value = builder.select(begins, step.spread(start, state), value)
                value = step.sum(value, step.row(likely, state))
                step.write(value, new, state)
                step.take(best, value, state)
                step.keep(builder.select(begins, builder.load(ended[1]), found), origin, state)

        step.over(n, (1,), block)
        floor, top = ir.Constant(step.kind, [-1e300] * LANES), builder.load(best[0])
        top = builder.select(builder.fcmp_ordered(">", top, floor), top, floor)
        with cgutils.for_range(builder, n, intp=I64) as loop:
            step.write(builder.fsub(step.row(new, loop.index), top), new, loop.index)
        return context.get_dummy_value()

    return types.void(*given), generate


@overload(forward_step)
def _compile_forward(
    before, at_before, scale, transposed, start, likelihood, reset, norm, at, out, to
):
    return (
        lambda before, at_before, scale, transposed, start, likelihood, reset, norm, at, out, to: (
            _forward(
                before, at_before, scale, transposed, start, likelihood, reset, norm, at, out, to
            )
        )
    )


@overload(backward_step)
def _compile_backward(
    beta, likelihood, reset, at, transitions, alpha, norm, before, ahead, out, to
):
    return lambda beta, likelihood, reset, at, transitions, alpha, norm, before, ahead, out, to: (
        _backward(beta, likelihood, reset, at, transitions, alpha, norm, before, ahead, out, to)
    )


@overload(viterbi_step)
def _compile_viterbi(before, transposed, start, likelihood, reset, at, out, origin):
    return lambda before, transposed, start, likelihood, reset, at, out, origin: _viterbi(
        before, transposed, start, likelihood, reset, at, out, origin
    )
