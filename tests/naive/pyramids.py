"""Plain twin of `fastvi.kernels.pyramids`, in float64."""

import numpy as np

from fastvi.kernels import pyramids as form
from naive.networks import ACTIVATIONS


def pairs(n_fine, n_coarse, size, stride):
    """Which pixels of a line see which below: (coarse, tap, fine)."""
    before = ((n_coarse - 1) * stride + size - n_fine) // 2
    seen = [(j, k, j * stride + k - before) for j in range(n_coarse) for k in range(size)]
    return [(j, k, i) for j, k, i in seen if 0 <= i < n_fine]


def connections(fine, coarse, size, stride):
    """Which pixels see which: ((r, q), (dy, dx), (y, x)), of images (H, W)."""
    lines, columns = (pairs(fine[k], coarse[k], size, stride) for k in range(2))
    return [((r, q), (dy, dx), (y, x)) for r, dy, y in lines for q, dx, x in columns]


def down(fine, weights, coarse_shape, stride):
    """Maps (H', W', M) of an image (H, W, C) for weights (K, K, C, M)."""
    out = np.zeros((*coarse_shape, weights.shape[3]))
    for here, tap, below in connections(fine.shape, coarse_shape, len(weights), stride):
        out[here] += fine[below] @ weights[tap]
    return out


def up(coarse, weights, fine_shape, stride):
    """An image (H, W, C) of maps (H', W', M) for weights (K, K, C, M)."""
    out = np.zeros((*fine_shape, weights.shape[2]))
    for here, tap, below in connections(fine_shape, coarse.shape, len(weights), stride):
        out[below] += weights[tap] @ coarse[here]
    return out


def levels(plan):
    """Rows of the table, K and S."""
    n = plan[form.N_LEVELS]
    table = plan[form.HEADER : form.HEADER + n * form.LEVEL].reshape(n, form.LEVEL)
    return table, plan[form.SIZE], plan[form.STRIDE]


def weights_of(table, level, size, params):
    """Weights (K, K, C, M) of the convolution to a level."""
    shape = size, size, table[level - 1, form.CHANNELS], table[level, form.CHANNELS]
    at = table[level, form.WEIGHTS]
    return params[at : at + np.prod(shape)].reshape(shape)


def features(plan, params, x):
    """Features (H', W', M), flat, of an image, flat."""
    table, size, stride = levels(plan)
    maps = x.reshape(table[0, : form.CHANNELS + 1])
    for level in range(1, len(table)):
        height, width, n_maps = table[level, : form.CHANNELS + 1]
        maps = down(maps, weights_of(table, level, size, params), (height, width), stride)
        bias = params[table[level, form.BIAS] :][:n_maps]
        maps = ACTIVATIONS[plan[form.ACTIVATION]](maps + bias)
    return maps.ravel()


def outputs(plan, params, u):
    """Outputs (kinds H W C) for features u, flat, which have been activated."""
    table, size, stride = levels(plan)
    maps = u.reshape(table[-1, : form.CHANNELS + 1])
    for level in range(len(table) - 1, 0, -1):
        height, width, n_maps = table[level - 1, : form.CHANNELS + 1]
        maps = up(maps, weights_of(table, level, size, params), (height, width), stride)
        if level > 1:
            bias = params[table[level - 1, form.BIAS] :][:n_maps]
            maps = ACTIVATIONS[plan[form.ACTIVATION]](maps + bias)
    kinds = maps.reshape(*maps.shape[:2], plan[form.N_KINDS], -1)
    out = kinds.transpose(2, 0, 1, 3).ravel()
    return out + params[table[0, form.BIAS] :][: out.size]
