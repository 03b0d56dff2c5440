"""Arguments of the commands on tables and densities: ``gp``, ``mixture``, ``hmm`` and ``fit``."""

from __future__ import annotations

import argparse

from fastvi.cli import parsing

__all__ = ["add_density", "add_hmm", "add_mixture", "add_process"]

TABLE = "table of numbers: CSV with or without a header, .npy or .npz"
PROCESS = """\
Predict a number from other columns, with intervals that are tested on rows kept for that. One
column of inputs makes a curve over time or place, in time that grows with the number of rows;
several make a sparse Gaussian process, which finds how much each matters. Rows with missing numbers
are left out. Labels are predicted in Python: BayesianLogisticRegression, SparseGPClassifier.

example: sales by week, with a picture of the next ten weeks and a report

  fastvi gp sales.csv --target sold --inputs week --until 114 --html sales.html

example: predictions for the rows of another table

  fastvi gp houses.csv --target price --new offers.csv --predictions prices.csv
"""
MIXTURE = """\
Find groups of rows. Of the --groups offered, those that the data do not need get weights near 0.
Columns are standardised first, and rows with missing numbers are left out.

example: groups of customers, the group of each row, and a report

  fastvi mixture customers.csv --columns age,spent,visits --labels groups.csv --html groups.html
"""
HMM = """\
Find hidden states of sequences of rows, which switch from row to row. Of the --states
offered, those that the data do not need are taken out. Missing cells are allowed.

example: states of a machine from two sensors, the state of each row, and a report

  fastvi hmm machine.csv --columns heat,noise --paths states.csv --html states.html
"""
DENSITY = """\
Fit the posterior of a log density that a Python file defines. Nothing is to be tuned, and the
verdict says whether means and standard deviations can be trusted.

example: save this as line.py, and run  fastvi fit line.py --html line.html

  import fastvi, numpy as np
  from fastvi import densities
  from fastvi.transforms import positive

  x, y = np.loadtxt("points.csv", delimiter=",", unpack=True)

  @fastvi.target(data={"x": x, "y": y}, names={"a": (), "b": (), "sigma": positive()})
  def line(z, data):
      a, b, sigma = z
      prior = densities.normal(z[:2], 0.0, 10.0) + densities.half_normal(sigma, 5.0)
      return prior + densities.normal(data.y, a + b * data.x, sigma)
"""


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="TABLE", help=TABLE)
    parser.add_argument("--delimiter", metavar="CHARACTER", type=parsing.delimiter,
                        help="of columns, or 'tab' (default: comma, semicolon or tab)")  # fmt: skip


def _add_running(parser: argparse.ArgumentParser, model: str, held_out: bool = True) -> None:
    if held_out:
        parser.add_argument("--held-out", type=float, default=0.1, metavar="SHARE",
                            help="rows kept for the verdict (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=-1, metavar="N",
                        help="results do not depend on it (default: all cores)")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="MODEL",
                        help=f"save the {model} for fastvi.load (.npz)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--plot", metavar="FILE", help="draw it (needs matplotlib)")
    parser.add_argument("--html", metavar="FILE",
                        help="write a report in one file to read and to mail: the data, the fit, "
                             "its verdict, pictures, how to repeat and to cite it")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no notes and no progress")


def add_process(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi gp``."""
    parsing.described(parser, PROCESS)
    _add_table(parser)
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what to predict")
    parser.add_argument("--inputs", type=parsing.names, metavar="COLUMN[,...]",
                        help="(default: all other numbers, except row numbers)")  # fmt: skip
    parser.add_argument("--likelihood", default="gaussian",
                        choices=("gaussian", "student-t", "poisson"),
                        help="of the target given the curve; for outliers student-t, for counts "
                             "poisson (default: %(default)s)")  # fmt: skip
    parser.add_argument("--nu", type=float, default=1.5, choices=(0.5, 1.5, 2.5),
                        help="smoothness of a curve (default: %(default)s)")  # fmt: skip
    parser.add_argument("--inducing", type=int, default=100, metavar="M",
                        help="inducing inputs of several columns (default: 100)")  # fmt: skip
    parser.add_argument("--until", type=float, metavar="X", help="draw the curve up to here")
    parser.add_argument("--new", metavar="TABLE", help="rows to predict (default: those of TABLE)")
    parser.add_argument("--predictions", metavar="FILE", help="write predictions as CSV")
    _add_running(parser, "process")


def add_mixture(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi mixture``."""
    parsing.described(parser, MIXTURE)
    _add_table(parser)
    parser.add_argument("--columns", type=parsing.names, metavar="COLUMN[,COLUMN...]",
                        help="(default: those of numbers, except row numbers)")  # fmt: skip
    parser.add_argument("-k", "--groups", type=int, default=20, metavar="K",
                        help="at most so many (default: %(default)s)")  # fmt: skip
    parser.add_argument("--covariance", default="full",
                        choices=("full", "tied", "diag", "spherical"),
                        help="of groups (default: %(default)s)")  # fmt: skip
    parser.add_argument("--labels", metavar="FILE",
                        help="write complete rows' groups and probabilities as CSV")  # fmt: skip
    _add_running(parser, "mixture of the standardised columns")


def add_hmm(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi hmm``."""
    parsing.described(parser, HMM)
    _add_table(parser)
    parser.add_argument("--columns", type=parsing.names, metavar="COLUMN[,COLUMN...]",
                        help="(default: all columns of numbers)")  # fmt: skip
    parser.add_argument("--sequence", metavar="COLUMN",
                        help="a new sequence begins where this column's number changes "
                             "(default: one sequence)")  # fmt: skip
    parser.add_argument("-k", "--states", type=int, default=6, metavar="K",
                        help="at most so many (default: %(default)s)")  # fmt: skip
    parser.add_argument("--emissions", default="gaussian", choices=("gaussian", "poisson"),
                        help="numbers, or counts (default: %(default)s)")  # fmt: skip
    parser.add_argument("--covariance", default="full",
                        choices=("full", "tied", "diag", "spherical"),
                        help="of Gaussian states (default: %(default)s)")  # fmt: skip
    parser.add_argument("--paths", dest="paths_file", metavar="FILE",
                        help="write each row's state and its probability as CSV")  # fmt: skip
    _add_running(parser, "model of the standardised columns", held_out=False)


def add_density(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi fit``."""
    parsing.described(parser, DENSITY)
    parser.add_argument("path", metavar="MODEL.py", help="file that defines a fastvi.target")
    parser.add_argument("--name", help="of the target, if the file defines several")
    parser.add_argument("--family", default="fullrank",
                        help="meanfield, lowrank, mixture, copula, maf and others (default: "
                             "%(default)s)")  # fmt: skip
    parser.add_argument("--draws", metavar="FILE", help="write draws of the parameters as CSV")
    parser.add_argument("-n", "--n-draws", type=int, default=1000, metavar="N",
                        help="(default: %(default)s)")  # fmt: skip
    _add_running(parser, "posterior", held_out=False)
