"""What was chosen among kinds of posteriors, priors and decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import checks

__all__ = ["PLAIN", "Choice", "Option", "count", "sizes"]


class Option(NamedTuple):
    """A further number, or the like, of a kind; ``check(value, name)`` returns it or raises."""

    default: Any
    check: Callable[[Any, str], Any]


def count(default: int, least: int = 1) -> Option:
    """An integer that is not below `least`."""
    return Option(default, lambda value, name: checks.integer(value, name, least))


def sizes(*default: int) -> Option:
    """Numbers of units of layers."""

    def check(value: Any, name: str) -> tuple[int, ...]:
        if np.ndim(value) != 1:
            raise ValueError(f"{name} is {value!r}; wanted numbers of units, such as {default}")
        return tuple(checks.integer(size, f"a number in {name}", 1) for size in value)

    return Option(default, check)


class Choice(NamedTuple):
    """What a model is to be made of."""

    words: Mapping[str, str]  # by parameter: family, prior, decoder, kl
    parts: Mapping[str, Any]  # by parameter: what the model takes for the word, if anything
    options: Mapping[str, Any]  # further numbers of all kinds, by name

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells models apart."""
        words = sorted(item for item in self.words.items() if item[0] != "kl")
        return (words, sorted(self.options.items()))


PLAIN = Choice(
    MappingProxyType({"family": "gaussian", "prior": "normal", "decoder": "dense", "kl": "plain"}),
    MappingProxyType({}), MappingProxyType({}),
)  # fmt: skip
