"""Plain twin of `fastvi.kernels.convolutions`, in float64."""

import numpy as np

from fastvi.kernels import convolutions as form
from naive.networks import ACTIVATIONS


def seen(size, with_own):
    """Pixels that a layer sees, as steps down and to the right."""
    r = size // 2
    steps = [(dy, dx) for dy in range(-r, 1) for dx in range(-r, r + 1)]
    return [s for s in steps if s < (0, 0) or (with_own and s == (0, 0))]


def convolved(maps, weights, steps):
    """Maps (H, W, M) of maps (H, W, C) for weights (steps, C, M)."""
    h, w, _ = maps.shape
    out = np.zeros((h, w, weights.shape[2]))
    for r in range(h):
        for q in range(w):
            for (dy, dx), weight in zip(steps, weights):
                if 0 <= r + dy < h and 0 <= q + dx < w:
                    out[r, q] += maps[r + dy, q + dx] @ weight
    return out


def outputs(plan, params, x, u):
    """Outputs (kinds, H, W, C) for an image x (H, W, C) and features (H, W, M)."""
    n_maps, maps = plan[form.MAPS], x
    act = ACTIVATIONS[plan[form.ACTIVATION]]
    for layer in range(plan[form.N_LAYERS]):
        _, _, n_taps, at, bias = plan[form.HEADER + form.LAYER * layer :][: form.LAYER]
        steps = seen(int(np.sqrt(2 * n_taps + 1)), layer > 0)
        weights = params[at:bias].reshape(len(steps), maps.shape[2], n_maps)
        before = convolved(maps, weights, steps) + params[bias : bias + n_maps]
        maps = act(before + u if layer == 0 else before)
    at, bias, end = plan[form.LAST_WEIGHTS], plan[form.LAST_BIAS], plan[form.END]
    h, w, c = x.shape
    last = maps @ params[at:bias].reshape(-1, n_maps).T
    return last.reshape(h, w, -1, c).transpose(2, 0, 1, 3) + params[bias:end].reshape(-1, h, w, c)
