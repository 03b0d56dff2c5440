"""``fastvi gp``: a Gaussian process from a table."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.cli.columns import Columns, read_columns
from fastvi.cli.options import threads
from fastvi.cli.outcomes import Outcome, checked, described, held_out_rows, tell, write_csv
from fastvi.plots.fit_page import Picture

__all__ = ["fit_process"]

COVERAGE = 0.9
NORMAL = 1.6448536269514722  # quantile 0.95 of the standard normal distribution
CITE = {
    True: 'Chang, Wilkinson, Khan and Solin (2020), "Fast variational learning in state-space '
    'Gaussian process models", Machine Learning for Signal Processing.',
    False: 'Titsias (2009), "Variational learning of inducing variables in sparse Gaussian '
    'processes", Artificial Intelligence and Statistics.',
}


class Rows(NamedTuple):
    """Inputs (n, D), targets (n,), and which rows are kept for scoring."""

    X: Array
    y: Array
    kept: AnyArray


def fit_process(options: argparse.Namespace) -> None:
    """Fit a Gaussian process to a column of a table, and say how well it predicts."""
    begin = time.perf_counter()
    checked(options)
    checks.integer(options.inducing, "--inducing", 1)
    table = read_columns(options.path, options.delimiter)
    inputs = options.inputs or table.usual([options.target], options.quiet)
    if not inputs or options.target in inputs:
        raise ValueError("--inputs: wanted columns other than the target")
    columns = table.chosen([*inputs, options.target], "--inputs and --target")
    rows = _rows(columns, options)
    model = _estimator(rows.X, options)
    model.fit(*_shaped(rows.X[~rows.kept], rows.y[~rows.kept]))
    outcome = _outcome(options, columns, rows, model, time.perf_counter() - begin)
    if options.predictions:
        _predict(options, inputs, model)
    tell(options, outcome, model)


def _rows(columns: Columns, options: argparse.Namespace) -> Rows:
    """Rows whose inputs and target are known."""
    X, y = columns.values[:, :-1], columns.values[:, -1]
    known = np.isfinite(columns.values).all(axis=1)
    if known.sum() < 3:
        raise ValueError(
            f"{options.path}: {int(known.sum())} rows have inputs and target; wanted 3 or more"
        )
    for name, x in zip(columns.names, X[known].T):
        if np.ptp(x) == 0:
            raise ValueError(f"--inputs: column {name!r} has the same value in each row")
    if not known.all() and not options.quiet:
        print(f"rows with missing numbers are left out: {int((~known).sum())}", file=sys.stderr)
    X, y = X[known], y[known]
    return Rows(X, y, held_out_rows(len(y), options.held_out, options.seed))


def _shaped(X: Array, y: Array) -> tuple[Array, Array]:
    """As the estimators take them: times in their order."""
    if X.shape[1] > 1:
        return X, y
    order = np.argsort(X[:, 0], kind="stable")
    return X[order], y[order]


def _estimator(X: Array, options: argparse.Namespace) -> Any:
    """An estimator whose kernel begins at the scales of the columns."""
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

    sd = X.std(axis=0)
    if X.shape[1] == 1:
        from fastvi import TemporalGPRegressor

        scale = float(sd[0])
        kernel = ConstantKernel() * Matern(scale, (1e-3 * scale, 1e3 * scale), nu=options.nu)
        if options.likelihood == "gaussian":
            kernel = kernel + WhiteKernel(0.1)
        return TemporalGPRegressor(
            kernel, likelihood=options.likelihood, random_state=options.seed,
            normalize_y=options.likelihood == "gaussian", n_restarts_optimizer=2,
        )  # fmt: skip
    if options.likelihood != "gaussian":
        raise ValueError(
            f"--likelihood {options.likelihood} is for one column of inputs; "
            f"{X.shape[1]} are given (in Python, fastvi.SVGP takes several)"
        )
    from fastvi import SparseGPRegressor

    bounds = np.column_stack((1e-2 * sd, 1e3 * sd))
    kernel = ConstantKernel() * RBF(sd, bounds) + WhiteKernel(0.1)
    return SparseGPRegressor(
        kernel, inducing_points=min(options.inducing, len(X)), normalize_y=True,
        random_state=options.seed, n_jobs=threads(options),
    )  # fmt: skip


def _intervals(model: Any, X: Array) -> tuple[Array, Array, Array]:
    """Means, and the ends of 90 % intervals of new targets."""
    if hasattr(model, "predict_interval"):
        lower, upper = model.predict_interval(X, COVERAGE)
        return model.predict(X), lower, upper
    mean, std = model.predict(X, return_std=True)
    return mean, mean - NORMAL * std, mean + NORMAL * std


def _judged(model: Any, rows: Rows) -> tuple[tuple[str, str], dict[str, float]]:
    """A verdict from the rows that were kept, and figures."""
    if not rows.kept.any():
        return ("untested", "No rows were kept for scoring (--held-out)."), {}
    X, y = rows.X[rows.kept], rows.y[rows.kept]
    mean, lower, upper = _intervals(model, X)
    inside = float(np.mean((y >= lower) & (y <= upper)))
    rmse = float(np.sqrt(np.mean(np.square(y - mean))))
    alone = float(np.sqrt(np.mean(np.square(y - rows.y[~rows.kept].mean()))))
    figures = {"held_out_rmse": rmse, "rmse_of_the_mean": alone, "coverage_of_90": inside}
    slack = 3.0 * np.sqrt(COVERAGE * (1 - COVERAGE) / len(y)) + 1.0 / len(y)
    share = f"{100 * inside:.0f} % of {len(y)} held-out rows are within 90 % intervals"
    if rmse >= alone:
        return (
            "bad",
            f"Held-out rows are predicted no better than by their mean; {share}.",
        ), figures
    if abs(inside - COVERAGE) > slack:
        return (
            "means only",
            f"Predictions help, but intervals have the wrong width: {share}.",
        ), figures
    return ("good", f"Errors are {rmse / alone:.2f} of those of the mean, and {share}."), figures


def _outcome(
    options: argparse.Namespace, columns: Columns, rows: Rows, model: Any, seconds: float
) -> Outcome:
    """What the report says."""
    verdict, figures = _judged(model, rows)
    single = rows.X.shape[1] == 1
    kernel, elbo = str(model.kernel_), float(model.elbo_)
    facts = [
        ("rows", f"{len(rows.y):,}, of which {int(rows.kept.sum())} are kept for scoring"),
        ("inputs", ", ".join(columns.names[:-1])),
        ("target", columns.names[-1]),
        ("kernel", kernel),
        ("ELBO", f"{elbo:.2f} nats"),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in figures.items()),
        ("seconds", f"{seconds:.1f}"),
    ]
    info = {"n_rows": len(rows.y), "inputs": columns.names[:-1], "target": columns.names[-1],
            "kernel": kernel, "elbo": elbo, "seconds": seconds} | figures  # fmt: skip
    return Outcome(
        f"A Gaussian process of {columns.names[-1]}", verdict, info, facts, [described(columns)],
        [_picture(options, columns.names, rows, model, single)], [CITE[single]],
    )  # fmt: skip


def _picture(
    options: argparse.Namespace, names: list[str], rows: Rows, model: Any, single: bool
) -> Picture:
    """The curve over one input, or predictions against what was observed."""
    if single:
        from fastvi.plots import plot_times

        def draw(path: str) -> None:
            plot_times(model, *_shaped(rows.X, rows.y), path, until=options.until)

        alt = f"{names[-1]} against {names[0]}: points, the predicted curve, and 95 % intervals"
        return Picture(draw, f"{names[-1]} by {names[0]}, with 95 % intervals.", alt)
    from fastvi.plots.fits import plot_predicted

    shown = rows.kept if rows.kept.any() else ~rows.kept
    mean, lower, upper = _intervals(model, rows.X[shown])
    which = "held-out rows" if rows.kept.any() else "rows of the fit"
    alt = f"observed {names[-1]} against its prediction for {which}; a dashed line where both agree"
    return Picture(
        lambda path: plot_predicted(rows.y[shown], mean, lower, upper, path),
        f"Observed against predicted {names[-1]}, {which}.", alt,
    )  # fmt: skip


def _predict(options: argparse.Namespace, inputs: list[str], model: Any) -> None:
    """Write predictions for the rows of another table, or of the same one.

    Rows that lack an input have NaN, so that there are as many rows as in the table.
    """
    path = options.new or options.path
    columns = read_columns(path, options.delimiter).chosen(inputs, "--new")
    known = np.isfinite(columns.values).all(axis=1)
    predicted = np.full((3, len(columns.values)), np.nan)
    if known.any():
        predicted[:, known] = _intervals(model, columns.values[known])
    if not known.all() and not options.quiet:
        print(
            f"{path}: rows that lack an input get no prediction: {int((~known).sum())}",
            file=sys.stderr,
        )
    names = [*inputs, "mean", "lower_90", "upper_90"]
    write_csv(options.predictions, names, [*columns.values.T, *predicted])
