"""Sums of convolutions in registers, written with LLVM's vector types.

A tile of outputs, six or four pixels of 8 or 16 maps, stays in registers while all taps and
channels are added up; so does a tile of gradients while all pixels are. Products of matrices would
need copies of patches, and are slow at so few maps. Arrays are flat float32; each function is plain
Python, used if nothing is compiled or bounds are checked, with an overload of instructions.
"""

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._vectors import I64, Vectors, number

N_ROWS = 4  # of tiles of gradients
LANES = 8


def _plain_taps(n_pixels, n_lanes):
    def sums(x, at, step, taps, n_channels, w, first, n_maps, out, to):
        for p in range(n_pixels):
            for m in range(n_lanes):
                out[to + p * n_maps + m] = 0.0
            for t in range(taps.size):
                for c in range(n_channels):
                    value = x[at + p * step + taps[t] + c]
                    row = first + (t * n_channels + c) * n_maps
                    for m in range(n_lanes):
                        out[to + p * n_maps + m] += value * w[row + m]

    return sums


def _plain_pixels(n_rows, n_lanes):
    def sums(x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to):
        for i in range(n_lines):
            for p in range(n):
                for r in range(n_rows):
                    value = x[at + i * x_line + p * step + r]
                    for m in range(n_lanes):
                        row = first + i * y_line + p * n_maps
                        out[to + r * n_maps + m] += value * y[row + m]

    return sums


class _Tile(Vectors):
    """Rows of sums, each of some vectors."""

    def __init__(self, builder, context, signature, values, n_rows, n_lanes):
        super().__init__(builder, ir.FloatType(), 4)
        self.n_rows = n_rows
        self.kind, self.parts = self.vector(LANES), range(0, n_lanes, LANES)
        self.values = [
            context.make_array(kind)(context, builder, value)
            if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values)
        ]  # fmt: skip
        zero = ir.Constant(self.kind, None)
        self.sums = [
            [cgutils.alloca_once(builder, self.kind) for _ in self.parts] for _ in range(n_rows)
        ]
        for place in self.places():
            builder.store(zero, place)

    def places(self):
        return [place for row in self.sums for place in row]

    def loop(self, n):
        return cgutils.for_range(self.builder, n, intp=I64)

    def at(self, first, *terms):
        """A place: first plus products of pairs."""
        for a, b in terms:
            first = self.builder.add(first, self.builder.mul(a, b))
        return first

    def add_products(self, x, places, y, first):
        """Add to row r of the sums the number at places[r] times the vectors from `first` on."""
        rows = [self.load(y, self.at(first, (number(k), number(1))), self.kind) for k in self.parts]
        for place, sums in zip(places, self.sums):
            value = self.splat(self.load(x, place, self.scalar), self.kind)
            for total, row in zip(sums, rows):
                self.builder.store(self.multiply_add(value, row, self.builder.load(total)), total)

    def write(self, out, to, width, adds):
        for r, row in enumerate(self.sums):
            for k, place in zip(self.parts, row):
                here = self.at(to, (number(r), width), (number(k), number(1)))
                total = self.builder.load(place)
                if adds:
                    total = self.add(total, self.load(out, here, self.kind))
                self.store(total, out, here)


def _tile_of_taps(n_pixels, n_lanes):
    @intrinsic
    def sums(typing, x, at, step, taps, n_channels, w, first, n_maps, out, to):
        def generate(context, builder, signature, values):
            tile = _Tile(builder, context, signature, values, n_pixels, n_lanes)
            x, at, step, taps, n_channels, w, first, n_maps, out, to = tile.values
            pixels = [tile.at(at, (number(p), step)) for p in range(n_pixels)]
            with tile.loop(builder.extract_value(taps.shape, 0)) as taps_loop:
                t = taps_loop.index
                tap = builder.load(builder.gep(taps.data, [t]))
                row = tile.at(first, (builder.mul(t, n_channels), n_maps))
                here = [builder.add(pixel, tap) for pixel in pixels]
                with tile.loop(n_channels) as channels:
                    c = channels.index
                    places = [builder.add(place, c) for place in here]
                    tile.add_products(x.data, places, w.data, tile.at(row, (c, n_maps)))
            tile.write(out.data, to, n_maps, False)
            return context.get_dummy_value()

        i = types.int64
        return types.void(x, i, i, taps, i, w, i, i, out, i), generate

    return sums


def _tile_of_pixels(n_rows, n_lanes):
    @intrinsic
    def sums(typing, x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to):
        def generate(context, builder, signature, values):
            tile = _Tile(builder, context, signature, values, n_rows, n_lanes)
            x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to = tile.values
            with tile.loop(n_lines) as lines:
                here, there = (
                    tile.at(place, (lines.index, line))
                    for place, line in ((at, x_line), (first, y_line))
                )
                with tile.loop(n) as pixels:
                    p = pixels.index
                    pixel = tile.at(here, (p, step))
                    places = [builder.add(pixel, number(r)) for r in range(n_rows)]
                    tile.add_products(x.data, places, y.data, tile.at(there, (p, n_maps)))
            tile.write(out.data, to, n_maps, True)
            return context.get_dummy_value()

        i = types.int64
        return types.void(x, i, i, i, y, i, i, i, i, i, out, i), generate

    return sums


def _taps(n_pixels, n_lanes):
    plain, tile = _plain_taps(n_pixels, n_lanes), _tile_of_taps(n_pixels, n_lanes)

    @overload(plain)
    def compiled(x, at, step, taps, n_channels, w, first, n_maps, out, to):
        if config.BOUNDSCHECK:
            return _plain_taps(n_pixels, n_lanes)
        return lambda x, at, step, taps, n_channels, w, first, n_maps, out, to: tile(
            x, at, step, taps, n_channels, w, first, n_maps, out, to
        )

    return plain


def _pixels(n_rows, n_lanes):
    plain, tile = _plain_pixels(n_rows, n_lanes), _tile_of_pixels(n_rows, n_lanes)

    @overload(plain)
    def compiled(x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to):
        if config.BOUNDSCHECK:
            return _plain_pixels(n_rows, n_lanes)
        return lambda x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to: tile(
            x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, out, to
        )

    return plain


# Out, from place `to` on: for pixels p, `step` numbers apart in x, and maps m of a block, the sum
# over taps t, offsets in x, and channels c of x[at + p step + taps[t] + c] times the weight (t, c,
# m), of n_maps each, the first at `first`.
six_by_16, six_by_8, four_by_16, four_by_8, one_by_16, one_by_8 = (
    _taps(n, lanes) for n in (6, 4, 1) for lanes in (2 * LANES, LANES)
)
# Add to out (rows, n_maps) from place `to` on: for rows r of a block and maps m, the sum over lines
# i and n pixels p of each of x[at + i x_line + p step + r] y[first + i y_line + p n_maps + m].
rows_by_16, rows_by_8, row_by_16, row_by_8 = (
    _pixels(n, lanes) for n in (N_ROWS, 1) for lanes in (2 * LANES, LANES)
)
