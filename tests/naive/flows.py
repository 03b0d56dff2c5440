"""Plain twin of the kernels of flows: one draw at a time, formulas as in the papers.

All functions take complex numbers, so that derivatives by complex steps are exact to rounding.
"""

import numpy as np

from fastvi.families.flow_plans import MASKS

STEP = 1e-30
EDGE, LEAST, LIMIT = 5.0, 1e-3, 3.0


def softplus(x):
    return np.log1p(np.exp(x))


def planar(x, w, u, b):
    """Rezende and Mohamed (2015), eq. 10-12 and appendix A.1."""
    along = w @ u
    v = u + (softplus(along) - 1.0 - along) * w / (w @ w)
    h = np.tanh(w @ x + b)
    return x + v * h, np.log(1.0 + (1.0 - h * h) * (w @ v))


def radial(x, centre, log_alpha, gamma):
    """Eq. 14 and appendix A.2."""
    alpha = np.exp(log_alpha)
    beta = softplus(gamma) - alpha
    r = np.sqrt((x - centre) @ (x - centre))
    h, slope = 1.0 / (alpha + r), -1.0 / (alpha + r) ** 2
    log_det = (len(x) - 1) * np.log(1.0 + beta * h) + np.log(1.0 + beta * h + beta * slope * r)
    return x + beta * h * (x - centre), log_det


def spline(x, outputs, K):
    """Durkan et al. (2019), eq. 4 and 5: the value, and its derivative."""
    if not -EDGE <= np.real(x) < EDGE:
        return x, 1.0
    sizes = []
    for logits in (outputs[:K], outputs[K : 2 * K]):
        shares = np.exp(logits) / np.exp(logits).sum()
        sizes.append(2.0 * EDGE * (LEAST + (1.0 - K * LEAST) * shares))
    shift = np.log(np.expm1(1.0 - LEAST))
    inner = LEAST + softplus(outputs[2 * K :] + shift)
    slopes = np.concatenate(([1.0], inner, [1.0]))
    knots, values = (np.concatenate(([-EDGE], -EDGE + np.cumsum(s))) for s in sizes)
    k = int(np.searchsorted(np.real(knots[1:-1]), np.real(x), side="right"))
    s, t = sizes[1][k] / sizes[0][k], (x - knots[k]) / sizes[0][k]
    inside = t * (1.0 - t)
    below = s + (slopes[k + 1] + slopes[k] - 2.0 * s) * inside
    above = slopes[k + 1] * t * t + 2.0 * s * inside + slopes[k] * (1.0 - t) ** 2
    value = values[k] + sizes[1][k] * (s * t * t + slopes[k] * inside) / below
    return value, s * s * above / below**2


def masked(x, params, mask, K, reads_y):
    """A masked layer, its parameters taken from the front of an iterator."""
    D, T = len(x), 2 + max(3 * K - 1, 0)
    outer = [[_some(params, 1 + s + r) for _ in range(T)] for s, r in zip(mask.starts, mask.reads)]
    inner = [_some(params, 1 + reach) for reach in mask.reaches]
    y, log_det = np.zeros(D, complex), 0.0
    for i in range(D):
        read = (y if reads_y else x)[mask.order]
        units = [np.tanh(v[0] + v[1:] @ read[: len(v) - 1]) for v in inner]
        start, n, out = mask.starts[i], mask.reads[i], []
        for w in outer[i]:
            out.append(w[0] + w[1 : 1 + start] @ read[:start] + w[1 + start :] @ units[:n])
        log_scale = out[1] / np.sqrt(1.0 + (out[1] / LIMIT) ** 2)
        place = mask.order[i]
        u, slope = spline(x[place], np.array(out[2:]), K) if K else (x[place], 1.0)
        y[place] = out[0] + np.exp(log_scale) * u
        log_det = log_det + log_scale + np.log(slope)
    return y, log_det


def _some(params, n):
    return np.array([next(params) for _ in range(n)])


def forward(name, sizes, params, x):
    """A draw (D,) of noise x (D,), and the log determinant of its map."""
    n_layers, n_hidden, n_bins = sizes
    left, log_det, D = iter(params), 0.0, len(x)
    x = np.asarray(x, complex)
    for layer in range(n_layers):
        if name == "planar":
            x, more = planar(x, _some(left, D), _some(left, D), next(left))
        elif name == "radial":
            x, more = radial(x, _some(left, D), next(left), next(left))
        else:
            mask = MASKS[name](D, layer, n_hidden)
            x, more = masked(x, left, mask, n_bins, name == "maf")
        log_det = log_det + more
    assert next(left, None) is None
    return x, log_det


def derivatives(f, at):
    """Derivatives of a function of (n,) numbers by each: (n,) or (n, m)."""
    rows = np.eye(len(at)) * STEP * 1j
    return np.array([np.imag(f(at + row)) / STEP for row in rows])


def score(name, sizes, params, x):
    """Gradient (D,) of log q at the draw of noise x."""
    jacobian = derivatives(lambda x: forward(name, sizes, params, x)[0], x).T
    bend = derivatives(lambda x: forward(name, sizes, params, x)[1], x)
    return np.linalg.solve(jacobian.T, -x - bend)


def path_gradient(name, sizes, params, eps, of_points, of_log_q):
    """Gradient (P,) of a loss, what log q depends on parameters at fixed points left out."""
    total = np.zeros(len(params))
    for x, slope, weight in zip(eps, of_points, of_log_q):
        along = slope + weight * score(name, sizes, params, x)
        total += derivatives(lambda p, x=x: forward(name, sizes, p, x)[0], params) @ along
    return total


def step(log_p, name, sizes, params, noise, rate):
    """The first step of Adam, at 1 / 50 of the rate: new parameters, and the bound.

    `log_p(Z)` returns log densities and gradients.
    """
    eps = np.concatenate((noise, -noise))
    found = [forward(name, sizes, params, x) for x in eps]
    Z = np.array([np.real(z) for z, _ in found])
    values, slopes = log_p(Z)
    log_q = [-0.5 * x @ x - 0.5 * len(x) * np.log(2 * np.pi) - d.real
             for x, (_, d) in zip(eps, found)]  # fmt: skip
    n = len(eps)
    g = path_gradient(name, sizes, params, eps, slopes / n, np.full(n, -1.0 / n))
    return params + rate / 50.0 * g / (np.abs(g) + 1e-4), float(np.mean(values - log_q))
