"""Optimizers as their papers write them: one coordinate (a float) at a time, all in Python."""

import math


def adagrad(gradients, rate, epsilon):
    """Duchi et al. (2011), section 1.1, diagonal; steps one by one."""
    total = 0.0
    for g in gradients:
        total += g**2
        yield rate * g / (math.sqrt(total) + epsilon)


def rmsprop(gradients, rate, decay, epsilon):
    """Tieleman and Hinton (2012), lecture 6e."""
    mean_square = 0.0
    for g in gradients:
        mean_square = decay * mean_square + (1 - decay) * g**2
        yield rate * g / (math.sqrt(mean_square) + epsilon)


def adam(gradients, rate, beta1, beta2, epsilon, largest=False):
    """Kingma and Ba (2015), algorithm 1; AMSGrad (Reddi et al. 2018, algorithm 2) if `largest`."""
    m = v = top = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        top = max(top, v_hat)
        yield rate * m_hat / (math.sqrt(top if largest else v_hat) + epsilon)


def adaptive(gradients, n_warm):
    """Ranganath et al. (2013), eq. 12 to 16, for vectors as lists: the rate of each step.

    The means over the first `n_warm` gradients are plain ones and their rates 0, but for the last.
    The weight of each gradient in the means is kept, to subtract the mean's own noise.
    """
    seen = gradients[:n_warm]
    weights = [1 / n_warm] * n_warm
    rates, tau = [0.0] * (n_warm - 1), float(n_warm)
    for t in range(n_warm - 1, len(gradients)):
        if t >= n_warm:
            seen = gradients[: t + 1]
            weights = [(1 - 1 / tau) * w for w in weights] + [1 / tau]
        mean = [sum(w * g[i] for w, g in zip(weights, seen)) for i in range(len(gradients[0]))]
        square = sum(w * sum(x**2 for x in g) for w, g in zip(weights, seen))
        own = sum(w**2 for w in weights)
        noise = (square - sum(m**2 for m in mean)) / (1 - own)
        rate = min(max(1 - noise / square, 0.0), 1.0)
        tau = max(tau * (1 - rate) + 1, 2.0)
        rates.append(rate)
    return rates
