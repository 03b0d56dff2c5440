"""Sums of convolutions along a row of pixels, by tiles of `_tiles`.

Images are flat, pixel by pixel, of C channels; of each pixel sums over taps, which are places in x
relative to its own, and over channels go to M maps, a multiple of 8, with weights (taps, C, M).
"""

from ._jit import kernel
from ._tiles import (
    N_ROWS,
    four_by_8,
    four_by_16,
    one_by_8,
    one_by_16,
    row_by_8,
    row_by_16,
    rows_by_8,
    rows_by_16,
    six_by_8,
    six_by_16,
)


@kernel
def add_row(source, to):
    """To (m,) += source (m,)."""
    for i in range(source.size):
        to[i] += source[i]


@kernel
def one_pixel(x, at, taps, n_channels, w, n_maps, out, to):
    """Out (M) from `to` on: sums over taps and channels of one pixel, at `at` in x."""
    m = 0
    while m + 16 <= n_maps:
        one_by_16(x, at, n_channels, taps, n_channels, w, m, n_maps, out, to + m)
        m += 16
    if m < n_maps:
        one_by_8(x, at, n_channels, taps, n_channels, w, m, n_maps, out, to + m)


@kernel
def six_pixels(x, at, step, taps, n_channels, w, n_maps, out, to):
    """The same of six pixels, which are `step` numbers apart in x."""
    m = 0
    while m + 16 <= n_maps:
        six_by_16(x, at, step, taps, n_channels, w, m, n_maps, out, to + m)
        m += 16
    if m < n_maps:
        six_by_8(x, at, step, taps, n_channels, w, m, n_maps, out, to + m)


@kernel
def four_pixels(x, at, step, taps, n_channels, w, n_maps, out, to):
    """The same of four pixels."""
    m = 0
    while m + 16 <= n_maps:
        four_by_16(x, at, step, taps, n_channels, w, m, n_maps, out, to + m)
        m += 16
    if m < n_maps:
        four_by_8(x, at, step, taps, n_channels, w, m, n_maps, out, to + m)


@kernel
def convolve_row(x, at, step, taps, n_channels, w, n_maps, width, out, to):
    """Out (width, M) from `to` on: sums over taps and channels of pixels that are `step` numbers
    apart in x. The last ones may be summed twice, so that tiles are full.
    """
    q = 0
    while q < width:
        left = width - q
        if left > 8 or (left > 4 and left < 7 and width >= 6):
            q = min(q, width - 6)
            six_pixels(x, at + q * step, step, taps, n_channels, w, n_maps, out, to + q * n_maps)
            q += 6
        elif width >= 4:
            q = min(q, width - 4)
            four_pixels(x, at + q * step, step, taps, n_channels, w, n_maps, out, to + q * n_maps)
            q += 4
        else:
            one_pixel(x, at + q * step, taps, n_channels, w, n_maps, out, to + q * n_maps)
            q += 1


@kernel
def block_of_rows(x, at, step, x_line, y, first, y_line, n_maps, n_lines, n, is_one, out, to):
    """Add to out (rows, M) sums over lines of n pixels: of four rows, or of one."""
    m = 0
    while m + 16 <= n_maps:
        if is_one:
            row_by_16(x, at, step, x_line, y, first + m, y_line, n_maps, n_lines, n, out, to + m)
        else:
            rows_by_16(x, at, step, x_line, y, first + m, y_line, n_maps, n_lines, n, out, to + m)
        m += 16
    if m < n_maps and is_one:
        row_by_8(x, at, step, x_line, y, first + m, y_line, n_maps, n_lines, n, out, to + m)
    elif m < n_maps:
        rows_by_8(x, at, step, x_line, y, first + m, y_line, n_maps, n_lines, n, out, to + m)


@kernel
def add_outer(x, at, step, x_line, n_channels, y, first, y_line, n_maps, n_lines, n, out, to):
    """Add to out (C, M) from `to` on: sums over lines of n pixels, `step` numbers apart in x and M
    in y, of their products.
    """
    for c in range(0, n_channels - N_ROWS + 1, N_ROWS):
        block_of_rows(
            x, at + c, step, x_line, y, first, y_line, n_maps, n_lines, n, False, out,
            to + c * n_maps,
        )  # fmt: skip
    for c in range(n_channels // N_ROWS * N_ROWS, n_channels):
        block_of_rows(
            x, at + c, step, x_line, y, first, y_line, n_maps, n_lines, n, True, out,
            to + c * n_maps,
        )  # fmt: skip
