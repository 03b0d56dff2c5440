"""Plain twins of covariance functions: one pair of points at a time, derivatives by hand."""

import math

import numpy as np

from fastvi.kernels import covariance as k


def profile(kind, shape, square):
    """Value at a squared distance, its derivative by that, and by the logarithm of the shape."""
    r = math.sqrt(square)
    if kind == k.RBF:
        value = math.exp(-square / 2)
        return value, -value / 2, 0.0
    if kind == k.MATERN12:
        value = math.exp(-r)
        return value, -value / (2 * r) if r > 1e-12 else 0.0, 0.0
    if kind == k.MATERN32:
        s = math.sqrt(3) * r
        return (1 + s) * math.exp(-s), -1.5 * math.exp(-s), 0.0
    if kind == k.MATERN52:
        s = math.sqrt(5) * r
        return (1 + s + s * s / 3) * math.exp(-s), -5 / 6 * (1 + s) * math.exp(-s), 0.0
    if kind == k.RATIONAL:
        base = 1 + square / (2 * shape)
        value = base**-shape
        by_shape = value * (square / 2 / base - shape * math.log(base))
        return value, -value / (2 * base), by_shape
    value = math.exp(-2 * math.sin(math.pi * r) ** 2 / shape**2)
    ratio = math.sin(2 * math.pi * r) / (2 * r) if r > 1e-12 else math.pi
    by_square = -2 * math.pi / shape**2 * value * ratio
    return value, by_square, value * 4 * math.sin(math.pi * r) ** 2 / shape**2


def nodes(program, x, z):
    """Value of every node, and derivatives of leaves: by the distance or x z, and by the shape."""
    values, by_input, by_shape = [], [], []
    for i, kind in enumerate(program.kinds):
        amplitude, shape = float(program.amplitudes[i]), float(program.shapes[i])
        a, b = x * program.scales[i], z * program.scales[i]
        slope, shape_slope = 0.0, 0.0
        if kind == k.SUM:
            value = values[program.left[i]] + values[program.right[i]]
        elif kind == k.PRODUCT:
            value = values[program.left[i]] * values[program.right[i]]
        elif kind == k.CONSTANT:
            value = amplitude
        elif kind == k.LINEAR:
            value, slope, shape_slope = amplitude * (shape + a @ b), amplitude, amplitude
        else:
            parts = profile(kind, shape, float(np.sum((a - b) ** 2)))
            value, slope, shape_slope = (amplitude * part for part in parts)
        values.append(value)
        by_input.append(slope)
        by_shape.append(shape_slope)
    return values, by_input, by_shape


def covariance(program, x, z):
    x, z = x.astype(np.float64), z.astype(np.float64)
    return np.array([[nodes(program, a, b)[0][-1] for b in z] for a in x]).reshape(len(x), len(z))


def reverse(program, x, z, adjoint):
    """(weights (S, n, M), slopes (L, 2))."""
    x, z = x.astype(np.float64), z.astype(np.float64)
    n_slots = int(program.slots.max(initial=-1)) + 1
    weights = np.zeros((n_slots, len(x), len(z)))
    slopes = np.zeros((len(program.kinds), 2))
    for i, a in enumerate(x):
        for j, b in enumerate(z):
            values, by_input, by_shape = nodes(program, a, b)
            down = np.zeros(len(values))
            down[-1] = adjoint[i, j]
            for node in range(len(values) - 1, -1, -1):
                left, right = program.left[node], program.right[node]
                if program.kinds[node] == k.SUM:
                    down[left], down[right] = down[node], down[node]
                elif program.kinds[node] == k.PRODUCT:
                    down[left] = down[node] * values[right]
                    down[right] = down[node] * values[left]
                else:
                    slopes[node] += down[node] * values[node], down[node] * by_shape[node]
                    if program.slots[node] >= 0:
                        weights[program.slots[node], i, j] = down[node] * by_input[node]
    return weights, slopes


def moments(weights, x, centre):
    """Sums of weights times x - centre and 1, and of their rows' sums times (x - centre)^2."""
    columns = np.column_stack([x - centre, np.ones(len(x))])
    return columns.T @ weights, weights.sum(axis=1) @ np.square(columns[:, :-1])
