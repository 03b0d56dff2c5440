"""``fastvi fit``: the posterior of a target that a Python file defines."""

from __future__ import annotations

import argparse
import runpy
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.cli.options import threads
from fastvi.cli.outcomes import Outcome, checked, tell, write_csv
from fastvi.plots.fit_page import Picture

__all__ = ["fit_density"]

CITE = (
    'Khan and Rue (2023), "The Bayesian learning rule", Journal of Machine Learning Research 24.',
    'Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling", '
    "Journal of Machine Learning Research 25 (the verdict).",
)


def fit_density(options: argparse.Namespace) -> None:
    """Fit the target of a file, and print the posterior with its verdict."""
    from fastvi import fit

    begin = time.perf_counter()
    checked(options)
    checks.integer(options.n_draws, "--n-draws", 1)
    name, target = _target(options.path, options.name)
    posterior = fit(
        target, options.family, random_state=options.seed, n_jobs=threads(options),
        verbose=not (options.quiet or options.json),
    )  # fmt: skip
    if options.draws:
        _write_draws(options, posterior)
    tell(options, _outcome(name, posterior, time.perf_counter() - begin), posterior)


def _target(path: str, wanted: str | None) -> tuple[str, Any]:
    """Run the file, and return the target that it defines.

    Raises
    ------
    ValueError
        If the file fails, or does not define one target.
    """
    from fastvi.targets import Target

    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file")
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        scope = runpy.run_path(path, run_name="__fastvi__")
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        where = f", line {lines[-1]}" if lines else ""
        raise ValueError(f"{path}{where}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    found = {name: value for name, value in scope.items() if isinstance(value, Target)}
    if wanted is not None:
        if wanted not in found:
            raise ValueError(f"--name {wanted}: {path} has no such target{_among(found)}")
        return wanted, found[wanted]
    if len(found) != 1:
        raise ValueError(
            f"{path} defines {len(found)} targets; wanted one, or --name{_among(found)}"
            + ("" if found else " (decorate the log density with @fastvi.target)")
        )
    return next(iter(found.items()))


def _among(found: dict[str, Any]) -> str:
    return f" ({', '.join(found)})" if found else ""


def _write_draws(options: argparse.Namespace, posterior: Any) -> None:
    """Write draws of the named parameters: a column per number."""
    draws = posterior.sample_parameters(options.n_draws, random_state=options.seed)
    names, columns = [], []
    for name, values in draws.items():
        flat = np.asarray(values).reshape(options.n_draws, -1)
        shape = np.shape(values)[1:]
        for k in range(flat.shape[1]):
            place = ",".join(str(i) for i in np.unravel_index(k, shape)) if shape else ""
            names.append(f"{name}[{place}]" if shape else name)
            columns.append(flat[:, k])
    write_csv(options.draws, names, columns)


def _outcome(name: str, posterior: Any, seconds: float) -> Outcome:
    """What the report says."""
    from fastvi.plots import plot_posterior
    from fastvi.posteriors.tables import COLUMNS

    table = posterior.table()
    lines = [["parameter", *COLUMNS]]
    lines += [
        [label, *(f"{f:.4g}" for f in row)] for label, row in zip(table.labels, table.figures)
    ]
    verdict = posterior.verdict
    judged = (verdict.word, verdict.reason) if verdict else ("none", "There is no verdict.")
    about = [["", "number"], ["parameters", str(len(posterior.names))]]
    about.append(["rows", str(posterior.target.n_rows or "not known")])
    facts = [
        ("target", name),
        ("family", type(posterior.member).__name__),
        ("steps", f"{posterior.n_iter}{'' if posterior.settled else ', not settled'}"),
        ("ELBO", f"{posterior.elbo:.4f} nats"),
        ("seconds", f"{seconds:.1f}"),
    ]
    figures = table.figures.tolist()
    info = {
        "target": name, "elbo": float(posterior.elbo), "n_iter": int(posterior.n_iter),
        "settled": bool(posterior.settled), "seconds": seconds,
        "parameters": {n: dict(zip(COLUMNS, row)) for n, row in zip(table.labels, figures)},
    }  # fmt: skip
    shown = ", ".join(posterior.names[:6])
    picture = Picture(
        lambda path: plot_posterior(posterior, path),
        "Draws of the fit (blue), and of the target (orange) where weights can tell them.",
        f"histograms and pairs of draws of {shown}",
    )
    return Outcome(
        f"The posterior of {name}", judged, info, facts,
        [("The model", about), ("Parameters", lines)],
        [picture], list(CITE),
    )  # fmt: skip
