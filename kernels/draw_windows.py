"""Windows that `draw` reads and writes, of all draws of a step. Shapes as there.

Scratch of a draw: filters down (N H) and across (N W), products (2 N W) and what the canvas lacks
(H W), then the same for adjoints.
"""

from ._jit import kernel
from .lstm import sigmoid
from .networks import ONE, ZERO
from .special import exp
from .vectors import fill
from .windows import (
    ACROSS,
    DOWN,
    INTENSITY,
    bank,
    bank_reverse,
    read,
    read_reverse,
    write,
    write_reverse,
)


@kernel
def banks(form, n, numbers, scratch):
    """Filters of a window, down and across, and scratch after them."""
    A, B = form.height, form.width
    down, across = scratch[: n * A], scratch[n * A : n * (A + B)]
    bank(numbers, DOWN, n, A, max(A, B), down)
    bank(numbers, ACROSS, n, B, max(A, B), across)
    return down, across, scratch[n * (A + B) :]


@kernel
def banks_reverse(form, n, numbers, down, across, of_down, of_across, of_numbers):
    """Add to adjoints of the numbers of a window."""
    A, B = form.height, form.width
    bank_reverse(numbers, DOWN, n, A, max(A, B), down, of_down, of_numbers)
    bank_reverse(numbers, ACROSS, n, B, max(A, B), across, of_across, of_numbers)


@kernel
def lacking(x, canvas, out):
    """Out (E,): the image less what the canvas shows."""
    for i in range(out.size):
        out[i] = x[i] - sigmoid(canvas[i])


@kernel
def read_windows(form, n_draws, numbers, x, canvases, scratch, seen, width):
    """Into rows of `seen`: windows of the image and of what the canvas lacks (2 N^2)."""
    n, A, B = form.read_size, form.height, form.width
    for r in range(canvases.size // (A * B)):
        window, out = numbers[5 * r : 5 * r + 5], seen[r * width : r * width + 2 * n * n]
        image, canvas = x[r // n_draws * A * B :][: A * B], canvases[r * A * B : (r + 1) * A * B]
        down, across, rest = banks(form, n, window, scratch)
        between, rest_of_image = rest[: n * B], rest[2 * n * B : 2 * n * B + A * B]
        intensity = exp(window[INTENSITY])
        lacking(image, canvas, rest_of_image)
        read(n, A, B, down, across, image, intensity, between, out[: n * n])
        read(n, A, B, down, across, rest_of_image, intensity, between, out[n * n :])


@kernel
def add_shown(canvas, slopes, of_canvas):
    """Add to adjoints of a canvas, given those of what it lacks."""
    for i in range(canvas.size):
        shown = sigmoid(canvas[i])
        of_canvas[i] -= slopes[i] * shown * (ONE - shown)


@kernel
def read_windows_reverse(
    form, n_draws, numbers, x, canvases, scratch, seen, slopes, width, of_numbers, of_canvases
):
    """Out: adjoints of numbers of windows; adds to those of canvases; slopes are overwritten."""
    n, A, B = form.read_size, form.height, form.width
    fill(of_numbers, ZERO)
    for r in range(canvases.size // (A * B)):
        window, of_window = numbers[5 * r : 5 * r + 5], of_numbers[5 * r : 5 * r + 5]
        patches = seen[r * width : r * width + 2 * n * n]
        given = slopes[r * width : r * width + 2 * n * n]
        image, canvas = x[r // n_draws * A * B :][: A * B], canvases[r * A * B : (r + 1) * A * B]
        down, across, rest = banks(form, n, window, scratch)
        between, more, lack = (
            rest[: n * B], rest[n * B : 2 * n * B], rest[2 * n * B : 2 * n * B + A * B],
        )  # fmt: skip
        rest = rest[2 * n * B + A * B :]
        of_down, of_across, of_lack = (
            rest[: n * A], rest[n * A : n * (A + B)], rest[n * (A + B) : n * (A + B) + A * B],
        )  # fmt: skip
        fill(rest[: n * (A + B) + A * B], ZERO)
        total = ZERO
        for i in range(2 * n * n):
            total += patches[i] * given[i]
        of_window[INTENSITY] += total
        intensity = exp(window[INTENSITY])
        lacking(image, canvas, lack)
        read_reverse(
            n, A, B, down, across, image, intensity, between, given[: n * n], more, of_down,
            of_across, of_lack[:0],
        )  # fmt: skip
        read_reverse(
            n, A, B, down, across, lack, intensity, between, given[n * n :], more, of_down,
            of_across, of_lack,
        )  # fmt: skip
        add_shown(canvas, of_lack, of_canvases[r * A * B : (r + 1) * A * B])
        banks_reverse(form, n, window, down, across, of_down, of_across, of_window)


@kernel
def write_windows(form, numbers, patches, scratch, canvases):
    """Add windows to canvases."""
    n, A, B = form.write_size, form.height, form.width
    for r in range(canvases.size // (A * B)):
        window, patch = numbers[5 * r : 5 * r + 5], patches[r * n * n : (r + 1) * n * n]
        down, across, rest = banks(form, n, window, scratch)
        write(
            n, A, B, down, across, patch, exp(window[INTENSITY]), rest[: n * B],
            canvases[r * A * B : (r + 1) * A * B],
        )  # fmt: skip


@kernel
def write_windows_reverse(form, numbers, patches, scratch, of_canvases, of_numbers, of_patches):
    """Out: adjoints of numbers of windows and of patches."""
    n, A, B = form.write_size, form.height, form.width
    fill(of_numbers, ZERO)
    for r in range(of_canvases.size // (A * B)):
        window, of_window = numbers[5 * r : 5 * r + 5], of_numbers[5 * r : 5 * r + 5]
        down, across, rest = banks(form, n, window, scratch)
        of_down, of_across = rest[n * B : n * (A + B)], rest[n * (A + B) : n * (A + 2 * B)]
        fill(of_down, ZERO)
        fill(of_across, ZERO)
        of_window[INTENSITY] += write_reverse(
            n, A, B, down, across, patches[r * n * n : (r + 1) * n * n], exp(window[INTENSITY]),
            of_canvases[r * A * B : (r + 1) * A * B], rest[: n * B], of_down, of_across,
            of_patches[r * n * n : (r + 1) * n * n],
        )  # fmt: skip
        banks_reverse(form, n, window, down, across, of_down, of_across, of_window)
