"""Gradient estimators, and wrappers around them."""

from fastvi.gradients.averaged import averaged
from fastvi.gradients.natural import natural
from fastvi.gradients.plain import plain
from fastvi.gradients.reduction import baseline, control, overdispersion, svrg, window
from fastvi.gradients.svrg import corrected

__all__ = [
    "averaged",
    "baseline",
    "control",
    "corrected",
    "natural",
    "overdispersion",
    "plain",
    "svrg",
    "window",
]
