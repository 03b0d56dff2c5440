"""Log densities behind one C signature: from Python, C, Stan and PyMC."""

from fastvi.targets.python import target
from fastvi.targets.target import Target, TargetError

__all__ = ["Target", "TargetError", "target"]
