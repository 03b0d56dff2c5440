"""Values of options, from their text, and descriptions of commands."""

from __future__ import annotations

import argparse

__all__ = ["delimiter", "described", "limit", "names", "numbers", "passes", "slices"]


def delimiter(text: str) -> str:
    """Parse a character, or its name."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


def described(parser: argparse.ArgumentParser, text: str) -> None:
    """Give a command a description whose examples keep their lines."""
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def limit(text: str) -> int | float | str:
    """Parse a number of documents (3), a share of them (0.5), or auto."""
    if text == "auto":
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"{text!r}; wanted a number, a share such as 0.5, or auto")


def numbers(text: str) -> list[int]:
    """Parse different numbers separated by commas."""
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}; wanted a number, or several such as 10,20,50"
        ) from None


def names(text: str) -> list[str]:
    """Parse different names separated by commas."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a name, or several such as year,party")
    return names


def slices(text: str) -> int | float | str:
    """Parse a number of slices, or their width."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def passes(text: str) -> int | str:
    """Parse a number of passes, or auto."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a number, or auto") from None
