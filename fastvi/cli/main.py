"""The command line ``fastvi``: parsing of arguments; `fastvi.cli.commands` does the work."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from fastvi.cli import parsing, tabular, textual
from fastvi.cli.signals import Ended, ended_by_signals

__all__ = ["main"]

DESCRIPTION = """\
Variational inference on CPUs: topics of texts, predictions, groups and states from tables, and the
posterior of your own model, from files. Each command says how far its result can be trusted.

  fastvi lda                                           topics of Python's docstrings
  fastvi lda articles.csv --field body -k 30 --html topics.html
  fastvi gp sales.csv --target sold --inputs week --html sales.html
  fastvi mixture customers.csv --columns age,spent,visits --labels groups.csv --html groups.html

`fastvi COMMAND --help` explains a command by an example.
"""
WARMUPS = [
    "topics",
    "mixture",
    "factors",
    "features",
    "autoencoder",
    "logistic",
    "poisson",
    "sequences",
    "gp",
    "densities",
    "particles",
    "all",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, or 2 after a one-line error message."""
    _fill_closed_streams()
    options = _parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals of other scripts
    try:
        from fastvi.cli import commands

        with ended_by_signals(), warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            commands.run(options)
        sys.stdout.flush()
    except Ended as end:
        _fail(f"ended by {end.name}; no file is half-written")
        return 128 + end.number
    except KeyboardInterrupt:
        return _fail("interrupted; no file is half-written")
    except BrokenPipeError:
        # The reader of our output has gone. Buffered output must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except MemoryError as error:
        return _fail(f"not enough memory: {error}; try --stream, fewer topics or --max-features")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except (ValueError, ImportError) as error:
        return _fail(str(error))
    return 0


def _fill_closed_streams() -> None:
    """Reopen closed standard streams, or the next file opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _warn(message: Warning | str, *where: object) -> None:
    """Show a warning in the form of other messages."""
    print("fastvi: warning:", " ".join(str(message).split()), file=sys.stderr)


def _fail(message: str) -> int:
    print("fastvi:", " ".join(message.split()), file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastvi: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from fastvi import __version__

    parser = _Parser("fastvi")
    parsing.described(parser, DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"fastvi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    textual.add_lda(commands.add_parser("lda", help="fit topics to a corpus"))
    textual.add_topics(commands.add_parser("topics", help="print the topics of a model"))
    textual.add_transform(commands.add_parser("transform", help="topic proportions of documents"))
    textual.add_score(commands.add_parser("score", help="held-out score of documents"))
    tabular.add_process(
        commands.add_parser("gp", help="predict a column of a table, with intervals")
    )
    tabular.add_mixture(commands.add_parser("mixture", help="find groups of a table's rows"))
    tabular.add_hmm(commands.add_parser("hmm", help="find hidden states of sequences"))
    tabular.add_density(
        commands.add_parser("fit", help="the posterior of a model in a Python file")
    )
    _add_warmup(commands.add_parser("warmup", help="compile kernels ahead of their first use"))
    _add_bench(commands.add_parser("bench", help="hot loops against pure Python on this machine"))
    return parser


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE",
                        help="all figures, on standard output without a file")  # fmt: skip
    parser.add_argument("--plot", metavar="FILE", help="a picture, .png, .svg or .pdf")


def _add_warmup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="*", metavar="WHAT", choices=WARMUPS, default="all",
                        help=f"some of {', '.join(WARMUPS)} (default: all)")  # fmt: skip
