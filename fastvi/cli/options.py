"""What commands take from a parsed command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fastvi.base import checks
from fastvi.base.archive import remove_leftovers
from fastvi.base.parallel import resolve_n_jobs
from fastvi.base.typing import Options
from fastvi.models.topics.settling import passes_of

__all__ = ["check_numbers", "check_outputs", "reading_options", "threads"]

OUTPUTS = ("output", "checkpoint", "plot", "html", "predictions", "labels", "paths_file", "draws")


def threads(options: argparse.Namespace) -> int:
    """Return the number of threads that --threads asks for."""
    if options.threads == 0:
        raise ValueError("--threads is 0; wanted a number of threads, or -1 for all cores")
    return resolve_n_jobs(options.threads)


def check_outputs(options: argparse.Namespace) -> None:
    """Check before the work that its results can be written."""
    outputs: list[Path] = []
    for name in OUTPUTS:
        value = getattr(options, name, None)
        if value is None:
            continue
        path = Path(os.path.realpath(value))
        if not path.parent.is_dir():
            raise ValueError(f"--{_option(name)} {value}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK) or (path.exists() and not path.is_file()):
            raise ValueError(f"--{_option(name)} {value}: cannot be written")
        inputs = [getattr(options, name, None) for name in ("model", "path", "new")]
        inputs += getattr(options, "paths", None) or []
        if path in outputs or path in [Path(os.path.realpath(i)) for i in inputs if i]:
            raise ValueError(
                f"--{_option(name)} {value}: is also read, or written to by another option"
            )
        remove_leftovers(path)
        outputs.append(path)
    if getattr(options, "plot", None):
        from fastvi.plots import check_ending

        check_ending(options.plot)
    if getattr(options, "html", None):
        from fastvi.plots.report import check_html

        check_html(options.html, "--html")


def _option(name: str) -> str:
    """What a user writes for an option."""
    return "paths" if name == "paths_file" else name


def reading_options(options: argparse.Namespace) -> Options:
    """Return the reader's options that were given."""
    names = ("format", "field", "delimiter", "encoding", "token_pattern", "lowercase",
             "normal_form", "zero_based", "stop_words", "vocabulary", "min_df", "max_df",
             "max_features")  # fmt: skip
    given = {name: getattr(options, name, None) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    nothing = {name: None for name in ("stop_words", "normal_form") if given.get(name) == "none"}
    return given | nothing


def check_numbers(options: argparse.Namespace) -> None:
    """Refuse numbers out of range, for any model.

    Raises
    ------
    ValueError
        If one is.
    """
    passes_of(options.passes, "--passes")
    checks.integer(options.top_words, "--top-words", 1)
    checks.integer(options.seed, "--seed", 0)
    if not 0 <= options.held_out < 1:
        raise ValueError(f"--held-out is {options.held_out}; wanted a share >= 0 and < 1")
    if options.early_stopping is not None:
        checks.integer(options.early_stopping, "--early-stopping", 1)
    if options.batch_size is not None:
        checks.integer(options.batch_size, "--batch-size", 1)
    checks.number(options.checkpoint_interval, "--checkpoint-interval", 0.0)
    if options.resume and not options.checkpoint:
        raise ValueError("--resume needs --checkpoint FILE to continue from")
    if len(options.topics) > 1 and not options.held_out:
        raise ValueError(
            "--topics: several numbers are compared on held-out documents; give --held-out"
        )
    if len(options.topics) > 1 and options.checkpoint:
        raise ValueError("--checkpoint keeps one fit; give one number of --topics")
