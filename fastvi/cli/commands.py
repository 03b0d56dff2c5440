"""Dispatch of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from fastvi.base.progress import compiling_announced
from fastvi.cli.applying import score, show_topics, transform
from fastvi.cli.fitting import fit_topics

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Dispatch a parsed command line."""
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "lda": fit_topics,
        "topics": show_topics,
        "transform": transform,
        "score": score,
        "gp": _fit_process,
        "mixture": _fit_mixture,
        "hmm": _fit_hmm,
        "fit": _fit_density,
        "warmup": _warm_up,
        "bench": _bench,
    }
    with compiling_announced(not getattr(options, "quiet", False)):
        commands[options.command](options)


def _warm_up(options: argparse.Namespace) -> None:
    from fastvi.cli.warmup import warm_up  # imports every estimator

    warm_up(options)


# Commands that import estimators, which need scikit-learn


def _fit_process(options: argparse.Namespace) -> None:
    from fastvi.cli.processes import fit_process

    fit_process(options)


def _fit_mixture(options: argparse.Namespace) -> None:
    from fastvi.cli.groups import fit_mixture

    fit_mixture(options)


def _fit_hmm(options: argparse.Namespace) -> None:
    from fastvi.cli.groups import fit_hmm

    fit_hmm(options)


def _fit_density(options: argparse.Namespace) -> None:
    from fastvi.cli.densities import fit_density

    fit_density(options)


def _bench(options: argparse.Namespace) -> None:
    from fastvi.cli.bench import bench  # imports scikit-learn

    bench(options.json, options.plot)
