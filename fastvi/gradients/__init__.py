"""Gradient estimators, and wrappers that take one and are one."""

from fastvi.gradients.averaged import averaged
from fastvi.gradients.natural import natural
from fastvi.gradients.plain import plain
from fastvi.gradients.svrg import svrg

__all__ = ["averaged", "natural", "plain", "svrg"]
