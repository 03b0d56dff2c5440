"""What commands take from a parsed command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fastvi.base.archive import remove_leftovers
from fastvi.base.parallel import resolve_n_jobs
from fastvi.base.typing import Options

__all__ = ["check_outputs", "reading_options", "threads"]


def threads(options: argparse.Namespace) -> int:
    """Return the number of threads that --threads asks for."""
    if options.threads == 0:
        raise ValueError("--threads is 0; wanted a number of threads, or -1 for all cores")
    return resolve_n_jobs(options.threads)


def check_outputs(options: argparse.Namespace) -> None:
    """Check before the work that its results can be written."""
    outputs: list[Path] = []
    for name in ("output", "checkpoint", "plot"):
        value = getattr(options, name, None)
        if value is None:
            continue
        path = Path(os.path.realpath(value))
        if not path.parent.is_dir():
            raise ValueError(f"--{name} {value}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK) or (path.exists() and not path.is_file()):
            raise ValueError(f"--{name} {value}: cannot be written")
        inputs = [*(getattr(options, "paths", None) or []), getattr(options, "model", None)]
        if path in outputs or path in [Path(os.path.realpath(i)) for i in inputs if i]:
            raise ValueError(f"--{name} {value}: is also read, or written to by another option")
        remove_leftovers(path)
        outputs.append(path)
    if getattr(options, "plot", None):
        from fastvi.plots import check_ending

        check_ending(options.plot)


def reading_options(options: argparse.Namespace) -> Options:
    """Return the reader's options that were given."""
    names = ("format", "field", "delimiter", "encoding", "token_pattern", "lowercase",
             "normal_form", "zero_based", "stop_words", "vocabulary", "min_df", "max_df",
             "max_features")  # fmt: skip
    given = {name: getattr(options, name, None) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    nothing = {name: None for name in ("stop_words", "normal_form") if given.get(name) == "none"}
    return given | nothing
