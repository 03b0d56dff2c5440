"""Robust fits: rows that a model cannot explain lose their weight."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, RandomState
from fastvi.families import is_member
from fastvi.families.base import Family
from fastvi.fitting.fit import fit
from fastvi.fitting.row_priors import RowPrior, row_prior_of
from fastvi.posteriors.member import Posterior
from fastvi.targets.base import Target, check_target
from fastvi.targets.reweighted import Reweighted

__all__ = ["ReweightedFit", "reweighted_fit"]


class ReweightedFit(NamedTuple):
    """A fit with weights of rows; made by `fastvi.reweighted_fit`.

    Attributes
    ----------
    posterior : Posterior
        Given the weights, which its verdict takes for known.
    row_weights_ : (n_rows,) array
        Expected weights; small for rows that the model cannot explain.
    settled : bool
        Whether weights changed by less than the tolerance at the end.
    n_iter : int
        Fits.
    history : dict of str to array
        `seconds`, and the largest `change` of a weight, of each fit.
    """

    posterior: Posterior
    row_weights_: Array
    settled: bool
    n_iter: int
    history: dict[str, AnyArray]


def reweighted_fit(
    target: Target,
    family: str | Family = "fullrank",
    *,
    prior: str | RowPrior = "beta",
    n_draws: int = 100,
    tol: float = 1e-3,
    max_iter: int = 50,
    random_state: RandomState = None,
    verdict: bool = True,
    **options: Any,
) -> ReweightedFit:
    """Fit a target and the weights of its rows together (Wang, Kucukelbir and Blei 2017).

    The likelihood of each row is raised to a weight with a prior. Mean-field coordinate ascent
    alternates between the posterior given the expected weights, and the weights given the rows'
    expected log likelihoods, whose update is in closed form.

    Parameters
    ----------
    target : Target
        A target that takes rows and weights.
    family : {"fullrank", "meanfield", "lowrank"} or a member
        As in `fastvi.fit`.
    prior : {"beta", "gamma", "temperatures", "temperature"}, or what functions of \
`fastvi.fitting.row_priors` return
        Beta weights are between 0 and 1; Gamma weights may be larger than 1. Temperatures of rows
        make wide what the model cannot explain; a temperature of all rows begins high and falls as
        the fit improves (variational tempering, Mandt et al. 2016).
    n_draws : int
        Draws for expected log likelihoods, the same in all fits.
    tol : float
        Largest change of a weight at the end.
    max_iter : int
        Largest number of fits.
    random_state : int, RandomState, Generator or None
    verdict : bool
        Judge the last fit, given the weights.
    **options
        Of `fastvi.fit`.

    Returns
    -------
    ReweightedFit

    Raises
    ------
    ValueError
        If an argument is out of its range, or the target takes no rows.

    Examples
    --------
    >>> import fastvi, numpy as np
    >>> y = np.append(np.linspace(-1.5, 1.5, 20), 30.0)
    >>> @fastvi.target(dim=1, data={"y": y}, rows="y")
    ... def mean_of(z, data, rows, weights):
    ...     value = -0.005 * z[0] ** 2
    ...     for i in range(rows.size):
    ...         value -= weights[i] * (0.919 + 0.5 * (data.y[rows[i]] - z[0]) ** 2)
    ...     return value
    >>> found = fastvi.reweighted_fit(mean_of, random_state=0)
    >>> bool(abs(found.posterior.mean[0]) < 0.05), bool(found.row_weights_[-1] < 0.01)
    (True, True)
    """
    check_target(target)
    if not target.n_rows:
        raise ValueError(
            f"{target.name} takes no rows and weights, so that none can be reweighted; write it "
            "with these arguments"
        )
    chosen, seed = row_prior_of(prior), checks.seed_of(random_state)
    n_draws, max_iter = (
        checks.integer(n, name, 1) for n, name in ((n_draws, "n_draws"), (max_iter, "max_iter"))
    )
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    checks.flag(verdict, "verdict")
    began = time.perf_counter()
    weights, change, settled = np.full(target.n_rows, chosen.first), np.inf, False
    history: dict[str, list[float]] = {"seconds": [], "change": []}
    options = {"verdict": False, "random_state": seed, **options}
    for _ in range(max_iter):
        tempered = Reweighted(target, weights)
        posterior = fit(tempered, family, **options)
        settled = change < tol
        if settled:
            break
        draws = posterior.member.draw(n_draws, np.random.default_rng([seed, 9])).points
        values = target.log_likelihood(draws)["log_likelihood"].mean(axis=0)
        before, weights = weights, chosen.weights(values)
        change = float(np.abs(weights - before).max())
        history["change"].append(change)
        history["seconds"].append(time.perf_counter() - began)
        if not is_member(family):
            options |= {"start": posterior.mean, "n_starts": 1}
    if verdict:
        _ = posterior.verdict
    return ReweightedFit(
        posterior, tempered.row_weights, settled, len(history["change"]),
        {name: np.array(column) for name, column in history.items()},
    )  # fmt: skip
