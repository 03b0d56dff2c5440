"""Texts that several docstrings share, each written once."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["fill_in"]


def fill_in(
    holder: object, texts: Mapping[str, str], groups: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Replace the lines of a docstring that consist of a name in braces.

    Parameters
    ----------
    holder : class or function
        Its docstring is replaced.
    texts : mapping of str to str
        By name; they get the indentation of the line.
    groups : mapping of str to tuple of str, optional
        Names that mean several texts, in this order.
    """

    def text(line: re.Match[str]) -> str:
        indent, name = line.groups()
        parts = (texts[part] for part in (groups or {}).get(name, (name,)))
        lines = "\n".join(part.strip("\n") for part in parts).splitlines()
        return "\n".join(indent + line if line else "" for line in lines)

    if holder.__doc__:
        holder.__doc__ = re.sub(r"^( *)\{(\w+)\}$", text, holder.__doc__, flags=re.MULTILINE)
