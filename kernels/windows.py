"""Windows of images by filterbanks of Gaussians (Gregor et al. 2015, "DRAW", eqs. 19-28).

A window of N x N numbers looks at an image of A x B pixels, A high and B wide. Five numbers give
it: places of its centre down and across, -1 to 1 for one edge to the other, logs of the variance of
filters, of their distance relative to an image filled by them, and of the intensity. Filter i of a
bank F (N, size) is a Gaussian over pixels 1, 2, ..., scaled to the sum 1. Reading is
intensity * F_down image F_across', writing its transpose over the intensity. Arrays are flat.
"""

import numpy as np

from ._jit import kernel
from .networks import ONE, ZERO
from .special import exp
from .vectors import fill

DOWN, ACROSS, VARIANCE, DISTANCE, INTENSITY = range(5)
TINY = np.float32(1e-8)
HALF = np.float32(0.5)


@kernel
def bank(numbers, place, n, size, largest, filters):
    """Out filters (n size), of a window given by numbers (5,), along the axis of `place`."""
    centre = HALF * np.float32(size + 1) * (numbers[place] + ONE)
    distance = exp(numbers[DISTANCE]) * np.float32((largest - 1) / max(n - 1, 1))
    precision = exp(-numbers[VARIANCE])
    for i in range(n):
        row = filters[i * size : (i + 1) * size]
        mean, total = centre + (np.float32(i) - HALF * np.float32(n - 1)) * distance, ZERO
        for a in range(size):
            away = np.float32(a + 1) - mean
            row[a] = exp(-HALF * precision * away * away)
        for a in range(size):
            total += row[a]
        scale = ONE / (total + TINY)
        for a in range(size):
            row[a] *= scale


@kernel
def bank_reverse(numbers, place, n, size, largest, filters, of_filters, of_numbers):
    """Add to of_numbers (5,), given adjoints of filters."""
    half_size = HALF * np.float32(size + 1)
    centre = half_size * (numbers[place] + ONE)
    distance = exp(numbers[DISTANCE]) * np.float32((largest - 1) / max(n - 1, 1))
    precision = exp(-numbers[VARIANCE])
    for i in range(n):
        row, slopes = filters[i * size : (i + 1) * size], of_filters[i * size : (i + 1) * size]
        step = np.float32(i) - HALF * np.float32(n - 1)
        mean, whole = centre + step * distance, ZERO
        for a in range(size):
            whole += row[a] * slopes[a]
        of_mean, of_log = ZERO, ZERO
        for a in range(size):
            away, share = np.float32(a + 1) - mean, (slopes[a] - whole) * row[a]
            of_mean += share * away
            of_log += share * away * away
        of_mean *= precision
        of_numbers[place] += half_size * of_mean
        of_numbers[DISTANCE] += of_mean * step * distance
        of_numbers[VARIANCE] += HALF * precision * of_log


@kernel
def times(a, b, n, m, k, out):
    """Out (n k) = a (n m) b (m k)."""
    fill(out, ZERO)
    for i in range(n):
        to = out[i * k : (i + 1) * k]
        for j in range(m):
            value, row = a[i * m + j], b[j * k : (j + 1) * k]
            for p in range(k):
                to[p] += value * row[p]


@kernel
def times_turned(a, b, n, m, k, out):
    """Out (n k) = a (n m) b' for b (k m)."""
    for i in range(n):
        row = a[i * m : (i + 1) * m]
        for p in range(k):
            other, total = b[p * m : (p + 1) * m], ZERO
            for j in range(m):
                total += row[j] * other[j]
            out[i * k + p] = total


@kernel
def add_turned_times(a, b, n, m, k, scale, out):
    """Out (n k) += scale a' b for a (m n), b (m k)."""
    for j in range(m):
        row = b[j * k : (j + 1) * k]
        for i in range(n):
            value, to = scale * a[j * n + i], out[i * k : (i + 1) * k]
            for p in range(k):
                to[p] += value * row[p]


@kernel
def read(n, height, width, down, across, image, intensity, between, patch):
    """Out patch (n n), and between (n width) = filters down (n height) times the image."""
    times(down, image, n, height, width, between)
    times_turned(between, across, n, width, n, patch)
    for i in range(n * n):
        patch[i] *= intensity


@kernel
def read_reverse(
    n, height, width, down, across, image, intensity, between, slopes, scratch, of_down, of_across,
    of_image,
):  # fmt: skip
    """Add to adjoints of filters, and to those of the image unless it has length 0; given slopes
    of the patch (n n), which become those before the intensity. Scratch (n width).
    """
    for i in range(n * n):
        slopes[i] *= intensity
    times(down, image, n, height, width, between)
    add_turned_times(slopes, between, n, n, width, ONE, of_across)
    times(slopes, across, n, n, width, scratch)
    for i in range(n):
        other = scratch[i * width : (i + 1) * width]
        for a in range(height):
            row, total = image[a * width : (a + 1) * width], ZERO
            for b in range(width):
                total += row[b] * other[b]
            of_down[i * height + a] += total
    if of_image.size > 0:
        add_turned_times(down, scratch, height, n, width, ONE, of_image)


@kernel
def write(n, height, width, down, across, patch, intensity, between, image):
    """Add F_down' patch F_across / intensity to an image; between (n width) is scratch."""
    times(patch, across, n, n, width, between)
    add_turned_times(down, between, height, n, width, ONE / intensity, image)


@kernel
def write_reverse(
    n, height, width, down, across, patch, intensity, slopes, between, of_down, of_across, of_patch
):
    """The adjoint of the log of the intensity; out: that of the patch (n n), added to those of
    filters, given slopes of the image. Scratch between (n width).
    """
    here, scale, total = between[: n * width], ONE / intensity, ZERO
    times(patch, across, n, n, width, here)
    for i in range(n):
        row = here[i * width : (i + 1) * width]
        for a in range(height):
            slope, part = slopes[a * width : (a + 1) * width], ZERO
            for b in range(width):
                part += row[b] * slope[b]
            of_down[i * height + a] += scale * part
    times(down, slopes, n, height, width, here)
    for i in range(n * width):
        here[i] *= scale
    times_turned(here, across, n, width, n, of_patch)
    for i in range(n * n):
        total -= of_patch[i] * patch[i]
    add_turned_times(patch, here, n, n, width, ONE, of_across)
    return total
