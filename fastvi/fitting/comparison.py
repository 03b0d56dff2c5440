"""Several approximations of one target, compared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base import checks
from fastvi.base.typing import Array, Options, RandomState
from fastvi.fitting.fit import fit
from fastvi.posteriors.corrected import Corrected
from fastvi.posteriors.member import Posterior
from fastvi.targets.base import Target, check_target

__all__ = ["Comparison", "compare", "stacked"]

ROUNDS, ENOUGH = 1000, 1e-6  # of weights, and the change at which they end
HEAD = "name", "bound", "error", "k-hat", "CPU s", "weight", "verdict"


class Comparison(NamedTuple):
    """Fits of one target; made by `fastvi.compare`, printed as a table.

    Attributes
    ----------
    names : tuple of str
    posteriors : tuple of Posterior
    seconds : (n,) array
        CPU seconds of each fit and its verdict; those of the first include compilation.
    weights : (n,) array or None
        Stacking weights: of the mixture of the approximations with the least KL(target || mixture).
        None if no fit's importance weights can tell the target's draws, or if a family, such as
        ``"hamiltonian"``, has no density.
    """

    names: tuple[str, ...]
    posteriors: tuple[Posterior, ...]
    seconds: Array
    weights: Array | None

    @property
    def bounds(self) -> Array:
        """Evidence lower bounds in nats, (n,)."""
        return np.array([posterior.elbo for posterior in self.posteriors])

    def __str__(self) -> str:
        rows = [list(HEAD)]
        for i, (name, p) in enumerate(zip(self.names, self.posteriors)):
            weight = "" if self.weights is None else f"{self.weights[i]:.3f}"
            rows.append([
                name, f"{p.elbo:.3f}", f"{p.elbo_error:.3f}", f"{p.khat:.2f}",
                f"{self.seconds[i]:.3g}", weight, p.verdict.word,
            ])  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = (
            "  ".join(
                cell.ljust(width) if j in (0, len(HEAD) - 1) else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in rows
        )
        return "\n".join(lines)


def compare(
    target: Target,
    families: Sequence[Any] | Mapping[str, Any] = ("fullrank", "meanfield", "lowrank"),
    *,
    random_state: RandomState = None,
    **options: Any,
) -> Comparison:
    """Fit several families to a target; their bounds, verdicts, costs and stacking weights.

    Parameters
    ----------
    target : Target
    families : sequence, or mapping of str
        Families as `fastvi.fit` takes them. The values of a mapping may also be dicts of arguments
        of `fit`, such as ``{"sgd": {"method": "sgd"}}``.
    random_state : int, RandomState, Generator or None
        The same seed for all fits.
    **options
        Of `fastvi.fit`, for all fits.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there is nothing to compare, or as in `fit`; the message begins with the name of the fit.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def correlated(z):
    ...     return -0.5 * (z[0] ** 2 + z[1] ** 2 - 1.8 * z[0] * z[1]) / 0.19
    >>> found = fastvi.compare(correlated, ["fullrank", "meanfield"], random_state=0)
    >>> found.weights.round(1), [p.verdict.word for p in found.posteriors]
    (array([1., 0.]), ['good', 'means only'])
    """
    check_target(target)
    wanted = _named(families)
    seed = checks.seed_of(random_state)
    posteriors, seconds = [], []
    for name, arguments in wanted.items():
        began = time.process_time()
        try:
            posterior = fit(target, **{"random_state": seed, **options, **arguments})
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        _ = posterior.verdict
        seconds.append(time.process_time() - began)
        posteriors.append(posterior)
    return Comparison(tuple(wanted), tuple(posteriors), np.array(seconds), _weights(posteriors))


def _named(families: Sequence[Any] | Mapping[str, Any]) -> dict[str, Options]:
    """Arguments of each fit, by name."""
    if isinstance(families, str):
        raise ValueError(f"families is {families!r}; wanted a sequence or a mapping of families")
    if isinstance(families, Mapping):
        pairs = list(families.items())
    else:
        pairs = [
            (f if isinstance(f, str) else f"family {i + 1}", f) for i, f in enumerate(families)
        ]
    found = {
        str(name): dict(value) if isinstance(value, Mapping) else {"family": value}
        for name, value in pairs
    }
    if not found or len(found) < len(pairs):
        raise ValueError(f"families is {families!r}; wanted at least one, each of them once")
    return found


def _weights(posteriors: Sequence[Posterior]) -> Array | None:
    """Stacking weights, on the best draws of the target that any of the fits has."""
    best: Corrected | None = None
    for posterior in posteriors:
        try:
            found = posterior.corrected()
        except ValueError:  # its draws cannot tell
            continue
        if best is None or found.worth > best.worth:
            best = found
    if best is None:
        return None
    try:
        densities = [posterior.log_prob(best.points) for posterior in posteriors]
    except ValueError:  # the family has none
        return None
    return stacked(np.column_stack(densities), best.weights)


def stacked(log_densities: Array, draw_weights: Array) -> Array:
    """Weights (n,) of the mixture with the highest mean log density over weighted draws.

    Stacking of distributions by the logarithmic score (Yao et al. 2018), by expectation
    maximisation: the objective is concave and rises in each round.

    Parameters
    ----------
    log_densities : (n_draws, n) array
    draw_weights : (n_draws,) array
        They sum to 1.
    """
    weights = np.full(log_densities.shape[1], 1.0 / log_densities.shape[1])
    for _ in range(ROUNDS):
        with np.errstate(divide="ignore"):
            joint = log_densities + np.log(weights)
        shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        before, weights = weights, draw_weights @ shares
        if np.abs(weights - before).max() < ENOUGH:
            break
    return np.asarray(weights)
