"""Plain twins of the proposals' densities: every part of a mixture is written out as a sum."""

import itertools
import math

import numpy as np

from naive.modes import log_student


def log_normal(z, mean, cov):
    """Log density of N(mean, cov), with its determinant and inverse written out."""
    away = np.asarray(z) - mean
    height = math.log(np.linalg.det(2.0 * math.pi * cov))
    return -0.5 * (height + away @ np.linalg.inv(cov) @ away)


def stretched(mean, cov):
    """Gaussians of which one coordinate is 2 or 4 times as wide, along its regression line."""
    for j, factor in itertools.product(range(len(mean)), (2.0, 4.0)):
        line = cov[j] / cov[j, j]
        yield mean, cov + (factor**2 - 1.0) * cov[j, j] * np.outer(line, line)


def wide(mean, cov):
    """Gaussians whose widths are powers of the root of 2, up to 64."""
    for k in range(1, 13):
        yield mean, 2.0**k * cov


def log_mean(z, gaussians):
    """Log density of a mixture of equal shares."""
    logs = [log_normal(z, *each) for each in gaussians]
    return math.log(sum(map(math.exp, logs)) / len(logs))


def log_mixture(z, mean, cov, modes):
    """Log density of the proposals around N(mean, cov) and modes, the first of them the closest.

    modes: a list of (place, cov).
    """
    parts = [(0.35, log_normal(z, mean, cov))]
    around = [(mean, cov), *modes[:1]]
    for each in around:
        parts.append((0.3 / len(around), log_mean(z, list(stretched(*each)))))
        parts.append((0.05 / len(around), log_mean(z, list(wide(*each)))))
    for each in modes or [(mean, cov)]:
        parts.append((0.3 / max(len(modes), 1), log_student(z, *each, 5.0)))
    return math.log(sum(share * math.exp(log) for share, log in parts))


def log_flipped(own, flat):
    """Log probability with 1, 2 or 3 parts replaced, of log chances (B,) of own and other parts."""
    total, n_parts = 0.0, len(own)
    most = min(3, n_parts)
    for k in range(1, most + 1):
        choices = list(itertools.combinations(range(n_parts), k))
        for chosen in choices:
            log = sum(flat[i] if i in chosen else own[i] for i in range(n_parts))
            total += math.exp(log) / (most * len(choices))
    return math.log(total)


def log_flips(own, wider, flat, optima):
    """Log probability of a product's proposals at a point, of log chances (B,) of its parts.

    optima: the log probabilities of the point around local maxima.
    """
    parts = [
        (0.35 if optima else 0.65, sum(own)),
        (0.1, sum(wider)),
        (0.25, log_flipped(own, flat)),
    ]
    parts += [(0.3 / len(optima), log) for log in optima]
    return math.log(sum(share * math.exp(log) for share, log in parts))
