"""Expectation propagation for Gaussian vectors with any sites."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, overload

import numpy as np

from fastvi import loop
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike
from fastvi.batches.epochs import Passes
from fastvi.core import Algorithm
from fastvi.history import FitState, History, Position
from fastvi.propagation.conjugate import Family
from fastvi.propagation.factors import Factors, FamilyProblem
from fastvi.propagation.family_loop import double_loop
from fastvi.propagation.family_posterior import FamilyPosterior
from fastvi.propagation.passes import METHODS, State
from fastvi.propagation.posterior import EPPosterior
from fastvi.propagation.problem import Gaussian, Problem, gaussian
from fastvi.propagation.sites import Sites

__all__ = ["ep"]

logger = logging.getLogger("fastvi")


# fmt: off
@overload
def ep(
    sites: Sites | Sequence[Sites], prior: tuple[ArrayLike, ArrayLike], *, method: str = ...,
    power: float = ..., damping: float | None = ..., max_iter: int = ..., tol: float = ...,
    last_resort: bool = ..., callback: Callable[[FitState], bool | None] | None = ...,
    verbose: bool = ...,
) -> EPPosterior: ...
@overload
def ep(
    sites: Factors, prior: Family, *, method: str = ...,
    power: float = ..., damping: float | None = ..., max_iter: int = ..., tol: float = ...,
    last_resort: bool = ..., callback: Callable[[FitState], bool | None] | None = ...,
    verbose: bool = ...,
) -> FamilyPosterior: ...
# fmt: on
def ep(
    sites: Sites | Sequence[Sites] | Factors,
    prior: tuple[ArrayLike, ArrayLike] | Family,
    *,
    method: str = "parallel",
    power: float = 1.0,
    damping: float | None = None,
    max_iter: int = 200,
    tol: float = 1e-9,
    last_resort: bool = True,
    callback: Callable[[FitState], bool | None] | None = None,
    verbose: bool = False,
) -> EPPosterior | FamilyPosterior:
    """Approximate p(x) = N(x) t_1(x) t_2(x) ... / Z by a Gaussian, by expectation propagation.

    Instead of a Gaussian N, the prior and its approximation may be of another exponential family.

    Each factor t has a Gaussian *site*, chosen so that next to all other sites it has the mean and
    covariance of the factor itself (Minka 2001). Unlike variational bounds this neither prefers
    narrow posteriors nor is confined to log-concave factors, and it estimates log Z; but it has no
    bound that rises, and need not converge.

    Parameters
    ----------
    sites : Sites or sequence of Sites
        The factors: ``fastvi.propagation.linear(A, y, likelihood)`` for factors of one linear
        combination of x each, ``fastvi.propagation.joint(y, D, moments)`` for those of all of x;
        ``fastvi.propagation.factors(y, moments)`` with a prior that is not Gaussian.
    prior : (mean, covariance), or a family
        Of the Gaussian N(x): (D,) and (D, D). A covariance (D,) holds variances, and numbers are
        the same for all of x. Or ``fastvi.propagation.gamma(shape, rate)`` or
        ``fastvi.propagation.dirichlet(alpha)``.
    method : {"parallel", "sequential", "double_loop"}, default="parallel"
        ``"parallel"``: all sites are updated at once, at N D^2 + D^3 operations a pass.
        ``"sequential"``: one after another, which takes fewer passes, each far slower here; with
        ``max_iter=1`` that is assumed density filtering. ``"double_loop"``: minimisation of EP's
        free energy (Heskes and Zoeter 2002), which always goes downhill, at 10 to 100 times the
        cost.
    power : float, default=1.0
        Exponent of the factors whose moments are matched (power EP, Minka 2004), in (0, 1]; small
        powers approach the Gaussian of the highest variational bound.
    damping : float, optional
        Share of the way that sites go, in (0, 1]; by default 1, and less where changes do not
        shrink. ``"double_loop"`` has no use for it.
    max_iter : int, default=200
        Passes over the sites, at most.
    tol : float, default=1e-9
        Ends when a pass moves the posterior by a divergence below this, in nats.
    last_resort : bool, default=True
        Use ``"double_loop"``, for as many passes again, if the method does not converge.
    callback : callable, optional
        ``callback(state)`` is called with a `fastvi.loop.FitState` after each pass, whose `params`
        are the mean and the root of the covariance; the fit stops if it returns True.
    verbose : bool, default=False
        Show a bar.

    Returns
    -------
    EPPosterior
        Or a `FamilyPosterior`, if the prior is not Gaussian.

    Raises
    ------
    ValueError
        If an argument is invalid, or the moments of a factor are not finite; the message names it.

    Examples
    --------
    Which of three players is best, given four games?

    >>> import fastvi
    >>> from fastvi import propagation
    >>> games = [[1, -1, 0], [1, 0, -1], [0, 1, -1], [1, -1, 0]]  # winner 1, loser -1
    >>> won = propagation.linear(games, [1, 1, 1, 1], propagation.probit)
    >>> skills = fastvi.ep(won, prior=(0.0, 1.0))
    >>> skills.mean.round(2).tolist()
    [0.92, -0.15, -0.77]
    """
    power = checks.number(power, "power", 0.0, 1.0, open_low=True)
    damping = (
        None if damping is None else checks.number(damping, "damping", 0.0, 1.0, open_low=True)
    )
    checks.choice(method, "method", tuple(METHODS))
    max_iter = checks.integer(max_iter, "max_iter", 1)
    tol = checks.number(tol, "tol", 0.0)
    case = (
        _of_family(sites, prior, power)
        if hasattr(prior, "natural")
        else _of_gaussian(sites, prior, power)
    )
    names = [method]
    resort = checks.flag(last_resort, "last_resort")
    if resort and method != "double_loop" and max_iter > 1:
        names.append("double_loop")
    with single_threaded_blas(), np.errstate(all="ignore"):
        for name in names:
            state, history, stopped = _run(
                case, name, damping, max_iter, tol, callback, checks.flag(verbose, "verbose")
            )
            settled = not state.reading.failed and state.change <= tol
            if settled or stopped:
                break
            logger.info("EP has not converged in %d passes, method=%r", max_iter, name)
    found: EPPosterior | FamilyPosterior = case.posterior(state, history, name, settled)
    return found


class _Case(NamedTuple):
    """How posteriors of one form are found: algorithms by method, given the damping."""

    methods: Mapping[str, Callable[[float | None], Algorithm]]
    start: Any
    read: Callable[[Any], Any]  # what callbacks see of a state
    posterior: Callable[[Any, History, str, bool], Any]


def _of_gaussian(sites: Any, prior: Any, power: float) -> _Case:
    groups = _groups(sites)
    problem = Problem(_prior(prior, groups[0].dim), groups, power)

    def read(state: State) -> tuple[Array, Array]:
        return state.reading.posterior.mean, state.reading.posterior.root

    methods = {name: partial(method, problem) for name, method in METHODS.items()}
    return _Case(methods, problem.start(), read, partial(_posterior, problem))


def _of_family(sites: Any, prior: Any, power: float) -> _Case:
    if not isinstance(sites, Factors):
        raise TypeError(
            f"sites is {type(sites).__name__}, and the prior a {prior.name} distribution; wanted "
            "what fastvi.propagation.factors returns"
        )
    problem = FamilyProblem(prior, sites, power)
    methods = {"parallel": problem.parallel, "sequential": problem.sequential}
    methods["double_loop"] = partial(double_loop, problem)
    start = np.zeros((len(sites.y), len(prior.natural)))
    return _Case(methods, start, problem.parameters, problem.posterior)


def _run(
    case: _Case,
    method: str,
    damping: float | None,
    max_iter: int,
    tol: float,
    callback: Callable[[FitState], bool | None] | None,
    verbose: bool,
) -> tuple[Any, History, bool]:
    """Make passes of a method; the last state, the history, and whether the callback stopped it."""
    algorithm = case.methods[method](damping)

    def settled(state: Any, position: Position, history: History) -> bool:
        return not state.reading.failed and state.change <= tol

    watch = loop.Watch(
        read=case.read, callback=_after_passes(callback), verbose=verbose, total=max_iter
    )
    with watch:
        state, history = loop.run(
            algorithm,
            algorithm.init(case.start),
            Passes(),
            n_epochs=max_iter,
            rng=np.random.default_rng(0),  # which no pass uses
            after_epoch=settled,
            watch=watch,
        )
    return state, history, watch.stopped


def _after_passes(
    callback: Callable[[FitState], bool | None] | None,
) -> Callable[[FitState], bool | None] | None:
    """The callback without its calls after steps: a pass is one step."""
    if callback is None:
        return None
    return lambda state: callback(state) if state.step == 0 else False


def _groups(sites: Sites | Sequence[Sites]) -> list[Sites]:
    groups: list[Any] = list(sites) if isinstance(sites, (list, tuple)) else [sites]
    if not groups:
        raise ValueError("sites is empty; wanted at least one group of factors")
    for k, group in enumerate(groups):
        if not hasattr(group, "match"):
            raise TypeError(
                f"sites{f'[{k}]' if len(groups) > 1 else ''} is {type(group).__name__}; wanted "
                "what fastvi.propagation.linear or joint returns"
            )
        if group.dim != groups[0].dim:
            raise ValueError(
                f"sites[{k}] is about {group.dim} numbers, sites[0] about {groups[0].dim}; wanted "
                "the same for all"
            )
    return groups


def _prior(prior: tuple[ArrayLike, ArrayLike], dim: int) -> Gaussian:
    try:
        mean, cov = (np.asarray(part, np.float64) for part in prior)
    except (TypeError, ValueError):
        raise ValueError(
            f"prior is {prior!r}; wanted (mean, covariance) of {dim} numbers"
        ) from None
    if cov.ndim < 2 and cov.shape in ((), (1,), (dim,)):
        cov = np.diag(np.broadcast_to(cov, dim))
    if mean.shape not in ((), (dim,)) or cov.shape != (dim, dim):
        raise ValueError(
            f"prior has a mean of shape {mean.shape} and a covariance of shape {cov.shape}; "
            f"wanted ({dim},) and ({dim}, {dim}), as the sites have"
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError("prior holds NaN or infinity; wanted finite numbers")
    try:
        precision = np.linalg.inv(cov)
        np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise ValueError(
            "the covariance of prior is not positive definite; wanted one that is"
        ) from None
    precision = 0.5 * (precision + precision.T)
    found = gaussian(precision, precision @ np.broadcast_to(mean, dim))
    if found is None:
        raise ValueError("the covariance of prior is singular to rounding; wanted an inverse")
    return found


def _posterior(
    problem: Problem, state: State, history: History, method: str, settled: bool
) -> EPPosterior:
    posterior, sites = state.reading.posterior, state.sites.groups
    narrow = [n.precision[:, 0, 0] if n.precision.shape[1] == 1 else n.precision for n in sites]
    shifts = [n.shift[:, 0] if n.shift.shape[1] == 1 else n.shift for n in sites]
    return EPPosterior(
        mean=posterior.mean,
        cov=posterior.root @ posterior.root.T,
        log_evidence=state.reading.evidence,
        site_precisions=tuple(narrow),
        site_shifts=tuple(shifts),
        failed=tuple(problem.name(which) for which in state.reading.failed),
        settled=settled,
        n_iter=len(history),
        method=method,
        history=history.arrays(),
    )
