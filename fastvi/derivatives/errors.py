"""The refusal of a function whose gradient cannot be derived."""

from __future__ import annotations

__all__ = ["NotDifferentiable"]


class NotDifferentiable(ValueError):
    """A function uses something outside the subset of Python that is differentiated.

    The message names the function, the line, the construct and what to write instead.
    """
