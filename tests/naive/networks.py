"""Plain twin of `fastvi.kernels.networks`, in float64."""

import numpy as np

ACTIVATIONS = [
    lambda a: a,
    lambda a: np.logaddexp(a, 0.0),
    np.tanh,
    lambda a: np.maximum(a, 0.0),
    lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0.0))),
]


def forward(table, params, x):
    """The last layer's outputs (n, O); zeros of masked weights are among the parameters."""
    for _, inputs, outputs, weights, bias, activation, _ in table:
        w = params[weights : weights + inputs * outputs].reshape(inputs, outputs)
        x = ACTIVATIONS[activation](x @ w + params[bias : bias + outputs])
    return x


def slope(function, params, step=1e-6):
    """The gradient of a function of parameters (P,), by central differences."""
    result = np.empty(len(params))
    for i in range(len(params)):
        ends = [function(params + sign * step * np.eye(len(params))[i]) for sign in (1, -1)]
        result[i] = (ends[0] - ends[1]) / (2 * step)
    return result
