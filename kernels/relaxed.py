"""Blocks with pathwise draws, whose categories are relaxed to the interior of the simplex.

Shapes and kinds as in `blocks.py`, of which GAUSSIAN, LOG_NORMAL, BERNOULLI and ONE_HOT have such
draws. Equations: Jang, Gu and Poole (2017), "Categorical reparameterization with Gumbel-softmax";
for two categories Maddison, Mnih and Teh (2017), "The concrete distribution", appendix B.
"""

from ._jit import kernel
from .blocks import (
    BERNOULLI,
    GAUSSIAN,
    KIND,
    LOG_NORMAL,
    NUMBER,
    ONE_HOT,
    PARAMETER,
    SIZE,
    sigmoid,
)
from .special import exp, log

RELAXED = (GAUSSIAN, LOG_NORMAL, BERNOULLI, ONE_HOT)


@kernel
def noise(layout, rng, eps):
    """Out eps (n, D): standard normal, logistic or Gumbel numbers."""
    for s in range(eps.shape[0]):
        for b in range(layout.shape[0]):
            kind, j = layout[b, KIND], layout[b, NUMBER]
            if kind <= LOG_NORMAL:
                eps[s, j] = rng.standard_normal()
            elif kind == BERNOULLI:
                u = 1.0 - rng.random()
                eps[s, j] = log(u) - log(max(1.0 - u, 1e-17))
            else:
                for c in range(layout[b, SIZE]):
                    eps[s, j + c] = -log(max(-log(1.0 - rng.random()), 1e-17))


@kernel
def softmax(logits, eps, temperature, soft):
    """Out soft (C,) = softmax((logits + eps) / temperature), eq. 2; the largest's number."""
    best = 0
    for c in range(1, logits.size):
        if logits[c] + eps[c] > logits[best] + eps[best]:
            best = c
    top = logits[best] + eps[best]
    total = 0.0
    for c in range(logits.size):
        total += exp((logits[c] + eps[c] - top) / temperature)
    for c in range(logits.size):
        soft[c] = exp((logits[c] + eps[c] - top) / temperature) / total
    return best


@kernel
def move(layout, values, temperature, eps, soft, hard):
    """Draws from noise (n, D); out: soft (n, D), and hard (n, D), where categories are corners."""
    for b in range(layout.shape[0]):
        kind, j, p, size = layout[b, KIND], layout[b, NUMBER], layout[b, PARAMETER], layout[b, SIZE]
        for s in range(eps.shape[0]):
            if kind <= LOG_NORMAL:
                z = values[p] + exp(values[p + 1]) * eps[s, j]
                soft[s, j] = exp(z) if kind == LOG_NORMAL else z
                hard[s, j] = soft[s, j]
            elif kind == BERNOULLI:
                soft[s, j] = sigmoid((values[p] + eps[s, j]) / temperature)
                hard[s, j] = 1.0 if values[p] + eps[s, j] > 0.0 else 0.0
            else:
                logits = values[p : p + size]
                best = softmax(logits, eps[s, j : j + size], temperature, soft[s, j : j + size])
                for c in range(size):
                    hard[s, j + c] = 0.0
                hard[s, j + best] = 1.0


@kernel
def pull(layout, values, temperature, eps, soft, slopes, gradient):
    """Add to gradient (P,) the means over draws of slopes (n, D) times d soft / d values."""
    n = eps.shape[0]
    for b in range(layout.shape[0]):
        kind, j, p, size = layout[b, KIND], layout[b, NUMBER], layout[b, PARAMETER], layout[b, SIZE]
        if kind <= BERNOULLI:
            first, second = 0.0, 0.0
            for s in range(n):
                slope, z = slopes[s, j], soft[s, j]
                if kind == LOG_NORMAL:
                    slope *= z
                elif kind == BERNOULLI:
                    slope *= z * (1.0 - z) / temperature
                first += slope
                second += slope * eps[s, j]
            gradient[p] += first / n
            if kind <= LOG_NORMAL:
                gradient[p + 1] += exp(values[p + 1]) * second / n
            continue
        for s in range(n):
            mean = 0.0
            for c in range(size):
                mean += slopes[s, j + c] * soft[s, j + c]
            for c in range(size):
                share = soft[s, j + c] * (slopes[s, j + c] - mean)
                gradient[p + c] += share / (n * temperature)


@kernel
def entropy(layout, constants, log_chances, gradient):
    """Entropy of a member, nats; its gradient is added to `gradient` (P,)."""
    total = 0.0
    for b in range(layout.shape[0]):
        kind, p, size, row = layout[b, KIND], layout[b, PARAMETER], layout[b, SIZE], constants[b]
        if kind <= LOG_NORMAL:
            total += 0.5 - row[2]
            gradient[p + 1] += 1.0
            if kind == LOG_NORMAL:
                total += row[0]
                gradient[p] += 1.0
        elif kind == BERNOULLI:
            total -= row[1] * row[2] + (1.0 - row[1]) * row[3]
            gradient[p] -= row[0] * exp(row[2] + row[3])
        else:
            own = 0.0
            for c in range(p, p + size):
                own -= exp(log_chances[c]) * log_chances[c]
            for c in range(p, p + size):
                gradient[c] -= exp(log_chances[c]) * (log_chances[c] + own)
            total += own
    return total
