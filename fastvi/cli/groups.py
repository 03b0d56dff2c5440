"""``fastvi mixture`` and ``fastvi hmm``: groups of rows, and states of sequences, from a table."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.cli.columns import Columns, read_columns
from fastvi.cli.options import threads
from fastvi.cli.outcomes import Outcome, Scaled, checked, described, held_out_rows, tell, write_csv
from fastvi.plots.fit_page import Picture

__all__ = ["fit_hmm", "fit_mixture"]

LEAST = 0.01  # weight of a group that is told
MIXTURES = (
    'Blei and Jordan (2006), "Variational inference for Dirichlet process mixtures", Bayesian '
    "Analysis 1(1)."
)
CHAINS = 'Beal (2003), "Variational algorithms for approximate Bayesian inference", chapter 3.'


def _table(options: argparse.Namespace, without: list[str]) -> Columns:
    """The columns to fit."""
    table = read_columns(options.path, options.delimiter)
    names = options.columns or table.usual(without, options.quiet)
    if not names:
        raise ValueError(f"{options.path}: no column holds numbers")
    return table.chosen(names, "--columns")


def fit_mixture(options: argparse.Namespace) -> None:
    """Find groups of rows, their number from the data."""
    from fastvi import BayesianGaussianMixture

    begin = time.perf_counter()
    checked(options)
    n_groups = checks.integer(options.groups, "--groups", 1)
    columns = _table(options, [])
    known = np.isfinite(columns.values).all(axis=1)
    if known.sum() < 3:
        raise ValueError(f"{options.path}: {int(known.sum())} complete rows; wanted 3 or more")
    if not known.all() and not options.quiet:
        print(f"rows with missing numbers are left out: {int((~known).sum())}", file=sys.stderr)
    scaled = Scaled.of(columns._replace(values=columns.values[known]))
    X, kept = scaled.values, held_out_rows(int(known.sum()), options.held_out, options.seed)
    given: dict[str, Any] = {
        "covariance_type": options.covariance, "max_iter": 1000, "random_state": options.seed,
        "n_jobs": threads(options),
    }  # fmt: skip
    model = BayesianGaussianMixture(
        n_components=min(n_groups, int((~kept).sum())),
        n_init=5,
        weight_concentration_prior=0.01,
        **given,
    ).fit(X[~kept])
    one = BayesianGaussianMixture(n_components=1, **given).fit(X[~kept])
    labels = model.predict(X)
    verdict, figures = _gain(model, one, X[kept] if kept.any() else X, bool(kept.any()))
    order = [k for k in np.argsort(-model.weights_, kind="stable") if model.weights_[k] > LEAST]
    if options.labels:
        ranks = {int(k): rank for rank, k in enumerate(np.argsort(-model.weights_, kind="stable"))}
        sure = model.predict_proba(X).max(axis=1)
        numbers = np.flatnonzero(known) + 1
        groups = [ranks[int(k)] + 1 for k in labels]
        write_csv(options.labels, ["row", "group", "probability"], [numbers, groups, sure])
    means = model.means_ * scaled.scale + scaled.centre
    info = {
        "n_rows": len(X), "columns": columns.names, "n_groups": len(order),
        "weights": model.weights_[order].tolist(), "means": means[order].tolist(),
        "centre": scaled.centre.tolist(), "scale": scaled.scale.tolist(),
        "seconds": time.perf_counter() - begin,
    } | figures  # fmt: skip
    facts = [
        ("rows", f"{len(X):,}, of which {int(kept.sum())} are kept for scoring"),
        ("groups", f"{len(order)} of at most {n_groups}, with weights above {LEAST:g}"),
        ("covariances", options.covariance),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in figures.items()),
        ("seconds", f"{info['seconds']:.1f}"),
    ]
    tables = [described(columns), _groups(columns.names, model.weights_[order], means[order])]
    tell(options, Outcome(
        f"Groups of {options.path}", verdict, info, facts, tables,
        [_group_picture(X, labels, model.weights_, len(order))], [MIXTURES],
    ), model)  # fmt: skip


def _gain(
    model: Any, one: Any, X: Array, held_out: bool
) -> tuple[tuple[str, str], dict[str, float]]:
    """Whether groups predict rows better than one Gaussian."""
    gains = model.score_samples(X) - one.score_samples(X)
    gain, error = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
    which = "held-out rows" if held_out else "the rows of the fit"
    figures = {"gain_over_one_group": gain, "its_standard_error": error}
    words = f"the groups' log density of {which} is {gain:.3g} +- {error:.2g} nats per row"
    if gain > 2.0 * error:
        return ("groups", f"Compared with one Gaussian, {words} higher."), figures
    return ("one group", f"The data speak for no groups: {words} above one Gaussian's."), figures


def _groups(names: list[str], weights: Array, means: Array) -> tuple[str, list[list[str]]]:
    """Weights and means in the units of the data."""
    rows = [["group", "weight", *names]]
    for rank, (weight, mean) in enumerate(zip(weights, means), 1):
        rows.append([str(rank), f"{weight:.3f}", *(f"{m:.4g}" for m in mean)])
    return "Weights and means of groups", rows


def _group_picture(X: Array, labels: AnyArray, weights: Array, n: int) -> Picture:
    from fastvi.plots.fits import plot_groups

    alt = (
        f"rows on their first two principal axes, with a mark for each of {n} groups, and bars of "
        "the groups' weights"
    )
    return Picture(
        lambda path: plot_groups(X, labels, weights, path),
        "Standardised rows by group, and the weights of groups.", alt,
    )  # fmt: skip


def fit_hmm(options: argparse.Namespace) -> None:
    """Find hidden states of sequences, their number from the data."""
    begin = time.perf_counter()
    checked(options)
    n_states = checks.integer(options.states, "--states", 1)
    columns = _table(options, [options.sequence] if options.sequence else [])
    lengths = _lengths(options, len(columns.values))
    counts = options.emissions == "poisson"
    if counts:
        scaled = Scaled(columns.values, np.zeros(len(columns.names)), np.ones(len(columns.names)))
    else:
        scaled = Scaled.of(columns)
    X = scaled.values.astype(np.int64) if counts else scaled.values
    if counts and not np.array_equal(X, scaled.values):
        raise ValueError(f"{options.path}: --emissions poisson wants counts, 0, 1, 2 ...")
    models = [_chain(options, k).fit(X, lengths) for k in (n_states, 1)]
    model = models[0].prune(X, lengths) if n_states > 1 else models[0]
    states = model.predict(X, lengths)
    if options.paths_file:
        sure = model.predict_proba(X, lengths).max(axis=1)
        write_csv(
            options.paths_file, ["row", "state", "probability"],
            [range(1, len(X) + 1), states + 1, sure],
        )  # fmt: skip
    gain = (float(model.elbo_) - float(models[1].elbo_)) / len(X)
    means = model.means_ if hasattr(model, "means_") else model.lambdas_
    means = np.asarray(means) * scaled.scale + scaled.centre
    seconds = time.perf_counter() - begin
    outcome = _chain_outcome(options, columns, model, states, means, gain, seconds)
    picture = _state_picture(model, X, lengths)
    tell(options, outcome._replace(pictures=[picture]), model)


def _lengths(options: argparse.Namespace, n: int) -> list[int] | None:
    """Lengths of sequences, where the column that names them changes."""
    if not options.sequence:
        return None
    table = read_columns(options.path, options.delimiter).chosen([options.sequence], "--sequence")
    ends = np.flatnonzero(np.diff(table.values[:, 0])) + 1
    return [int(length) for length in np.diff([0, *ends, n])]


def _chain(options: argparse.Namespace, n_states: int) -> Any:
    from fastvi import VariationalGaussianHMM, VariationalPoissonHMM

    given: dict[str, Any] = {
        "n_iter": 300, "n_init": 5 if n_states > 1 else 1, "random_state": options.seed,
        "n_jobs": threads(options),
    }  # fmt: skip
    if options.emissions == "poisson":
        return VariationalPoissonHMM(n_states, **given)
    return VariationalGaussianHMM(n_states, covariance_type=options.covariance, **given)


def _chain_outcome(
    options: argparse.Namespace, columns: Columns, model: Any, states: AnyArray, means: Array,
    gain: float, seconds: float,
) -> Outcome:  # fmt: skip
    """What the report says, without its picture."""
    n = model.n_components
    shares = np.bincount(states, minlength=n) / len(states)
    if n > 1 and gain > 0:
        verdict = (
            "states",
            f"{n} states raise the bound by {gain:.3g} nats per row over one state.",
        )
    else:
        verdict = ("one state", "The data speak for no hidden states: one has the larger bound.")
    facts = [
        ("rows", f"{len(states):,}"),
        ("states", f"{n} of at most {options.states}"),
        ("ELBO", f"{float(model.elbo_):.2f} nats"),
        ("seconds", f"{seconds:.1f}"),
    ]
    moves = [["state", *(f"to {k + 1}" for k in range(n))]]
    moves += [[str(k + 1), *(f"{p:.3f}" for p in row)] for k, row in enumerate(model.transmat_)]
    tables = [described(columns), _states(columns.names, shares, means), ("Transitions", moves)]
    info = {
        "n_rows": len(states), "columns": columns.names, "n_states": n, "shares": shares.tolist(),
        "means": means.tolist(), "transitions": np.asarray(model.transmat_).tolist(),
        "elbo": float(model.elbo_), "gain_per_row": gain, "seconds": seconds,
    }  # fmt: skip
    return Outcome(f"Hidden states of {options.path}", verdict, info, facts, tables, [], [CHAINS])


def _states(names: list[str], shares: Array, means: Array) -> tuple[str, list[list[str]]]:
    """Shares of rows and means in the units of the data."""
    rows = [["state", "share", *names]]
    for k, (share, mean) in enumerate(zip(shares, means), 1):
        rows.append([str(k), f"{share:.3f}", *(f"{m:.4g}" for m in mean)])
    return "Shares and means of states", rows


def _state_picture(model: Any, X: AnyArray, lengths: list[int] | None) -> Picture:
    from fastvi.plots import plot_states

    return Picture(
        lambda path: plot_states(model, X, path, lengths=lengths),
        "Rows, and the probabilities of states.",
        f"the columns over the rows, and below them the probabilities of {model.n_components} "
        "states",
    )
