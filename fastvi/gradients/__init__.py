"""Gradient estimators, and wrappers that take one and are one."""

from fastvi.gradients.averaged import averaged, window
from fastvi.gradients.natural import natural
from fastvi.gradients.plain import plain
from fastvi.gradients.svrg import corrected, svrg

__all__ = ["averaged", "corrected", "natural", "plain", "svrg", "window"]
