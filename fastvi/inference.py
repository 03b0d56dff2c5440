"""Fit a log density: `fit` returns a `Posterior`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import _checks, loop, objectives, optimizers, tree
from fastvi.algorithms.laplace import laplace
from fastvi.batches import Batches
from fastvi.core import Algorithm, Batch, Gradient, Optimizer, ascend
from fastvi.families import FAMILIES
from fastvi.gradients.reparam import reparam
from fastvi.parallel import single_threaded_blas
from fastvi.posterior import Posterior

__all__ = ["fit"]

Array = NDArray[np.float64]
OBJECTIVES: dict[str, Callable[[], objectives.Objective]] = {
    "elbo": objectives.elbo,
    "iwae": objectives.iwae,
    "chi": objectives.chi,
}
WINDOW = 10  # steps at unit rate before it is asked whether the fit has settled
DROWNED = 2.0  # progress below so many times its own variance is none


class Draws(Batches):
    """A step an epoch on all of the data: nothing but the draws changes."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch | None]:  # type: ignore[override]
        """One batch that stands for everything."""
        if skip == 0:
            yield Batch(None, np.empty(0))


def fit(
    target: Any,
    family: Any = "fullrank",
    *,
    objective: str | float | objectives.Objective = "elbo",
    n_draws: int | None = None,
    start: Any = None,
    tol: float = 0.02,
    max_iter: int = 20_000,
    random_state: Any = None,
) -> Posterior:
    """Approximate a log density by a Gaussian, with nothing to tune.

    The fit starts from Laplace's approximation where the target has one. Natural gradients
    (Khan and Rue 2023) are estimated from draws whose noise vanishes at a perfect fit (Roeder et
    al. 2017), so that steps of unit rate lead most of the way in one; the rate is halved when
    progress drowns in noise, and the fit ends when what is left to gain is small against the
    posterior's own scale, both in the spirit of Welandawe et al. (2022), "Robust, automated, and
    accurate black-box variational inference".

    Parameters
    ----------
    target : Target
        From `fastvi.target`, with a gradient.
    family : {"fullrank", "meanfield"} or a member of `fastvi.families`
        A member is where the fit begins.
    objective : {"elbo", "iwae", "chi"}, float or Objective
        What is to rise (or, for upper bounds, fall), see `fastvi.objectives`; a number is the order
        of Renyi's divergence.
    n_draws : int, optional
        Draws a step, by default twice the dimension, from 16 to 128.
    start : (D,) array or dict of str to array, optional
        Where to look for the mode: free numbers, or parameters by name; 0 by default.
    tol : float
        Root mean square error, in posterior standard deviations, that the optimiser may leave in a
        parameter.
    max_iter : int
        Largest number of steps.
    random_state : int, Generator or None

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If an argument is out of its range, or the target has no gradient.
    TargetError
        If every draw of a step has a density or gradient that is not finite.
    """
    tol = _checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = _checks.integer(max_iter, "max_iter", 1)
    n = 2 * target.dim if n_draws is None else _checks.integer(n_draws, "n_draws", 2)
    n = n if n_draws is not None else min(max(n, 16), 128)
    goal, name = _objective(objective)
    seed = _seed(random_state)
    with single_threaded_blas():
        member = _begin(target, family, start)
        stages = _Stages(reparam(target, goal, n_draws=n), member, tol, max_iter, seed)
        stages.run()
    return Posterior(
        stages.best,
        target,
        settled=stages.settled,
        n_iter=len(stages.history),
        history=stages.history.arrays(),
        names=target.names,
        objective=name,
        seed=seed,
    )


def _objective(chosen: Any) -> tuple[objectives.Objective, str]:
    if isinstance(chosen, objectives.Objective):
        return chosen, "given"
    if isinstance(chosen, str) and chosen in OBJECTIVES:
        return OBJECTIVES[chosen](), chosen
    if isinstance(chosen, (int, float)) and not isinstance(chosen, bool):
        return objectives.renyi(chosen), f"renyi({float(chosen):g})"
    raise ValueError(
        f"objective is {chosen!r}; wanted a fastvi.objectives.Objective, the order of a Renyi "
        "divergence, or one of " + ", ".join(map(repr, OBJECTIVES))
    )


def _seed(random_state: Any) -> int:
    if random_state is None or isinstance(random_state, np.random.Generator):
        return int(np.random.default_rng(random_state).integers(2**31))
    return _checks.integer(random_state, "random_state", 0)


def _begin(target: Any, family: Any, start: Any) -> Any:
    """The member to begin with: Laplace's approximation, or of unit scale where there is none."""
    if not isinstance(family, str):
        if type(family) not in FAMILIES.values():
            raise ValueError(f"family is {family!r}; wanted one of {', '.join(FAMILIES)}")
        if len(family.mean) != target.dim:
            raise ValueError(f"family has {len(family.mean)} numbers; the target {target.dim}")
        return family
    kind = FAMILIES[_checks.choice(family, "family", tuple(FAMILIES))]
    z = np.zeros(target.dim) if start is None else _point(target, start)
    found = laplace(target, z)
    if found.cov is None:
        return kind.of(z, np.eye(target.dim))
    return kind.of(found.mode, found.cov)


def _point(target: Any, start: Any) -> Array:
    if isinstance(start, dict):
        start = target.parameters.unconstrain(start)
    z = np.array(start, np.float64)
    if z.shape != (target.dim,) or not np.all(np.isfinite(z)):
        raise ValueError(f"start has shape {z.shape}; wanted {target.dim} finite numbers")
    return z


class _Window(NamedTuple):
    """Sums over the steps of a window: of the natural gradient, its squared length, the members."""

    step: Any
    square: float
    member: Any
    n: int

    @classmethod
    def empty(cls, member: Any) -> _Window:
        return cls(None, 0.0, None, 0)

    def plus(self, step: Any, member: Any) -> _Window:
        if self.n == 0:
            return _Window(step, _divergence(step), member, 1)
        both = (tree.map_leaves(np.add, *pair) for pair in ((self.step, step), (self.member, member)))
        total, members = both
        return _Window(total, self.square + _divergence(step), members, self.n + 1)

    def mean(self) -> Any:
        """Mean of the members' arrays: near each other, they are as good as on a plane."""
        return tree.map_leaves(lambda leaf: leaf / self.n, self.member)

    def progress(self) -> tuple[float, float]:
        """Divergence left to gain (it may come out below 0), and the variance of that."""
        whole = _divergence(tree.map_leaves(lambda leaf: leaf / self.n, self.step))
        noise = max(self.square / self.n - whole, 0.0) / (self.n - 1)
        return whole - noise, noise


def _divergence(step: Any) -> float:
    """Symmetrised divergence that a natural gradient of unit rate gains on a Gaussian, nats."""
    return float(np.vdot(step.mean, step.mean) + 0.5 * np.vdot(step.spread, step.spread))


class _Stages:
    """Windows of steps at a rate that is halved when they make no progress.

    Attributes
    ----------
    best : family
        The mean of the last window's members.
    settled : bool
    history : fastvi.loop.History
    """

    def __init__(
        self, gradient: Gradient, member: Any, tol: float, max_iter: int, seed: int
    ) -> None:
        self.gradient, self.max_iter = gradient, max_iter
        self.best = member
        self.settled = False
        self.history = loop.History()
        self.rng = np.random.default_rng(seed)
        n_parameters = sum(np.size(leaf) for leaf in tree.leaves(member))
        self.enough = tol * tol * n_parameters

    def run(self) -> None:
        """Until the fit has settled or the steps are used up."""
        rate = 1.0
        while not self.settled and len(self.history) < self.max_iter:
            window = self._window(rate)
            left, noise = window.progress()
            self.best = window.mean()
            self.settled = max(left, 0.0) + noise < self.enough
            if left < DROWNED * noise:
                rate *= 0.5

    def _window(self, rate: float) -> _Window:
        """Steps from the best member on; the more, the smaller they are."""
        sums = _Window.empty(self.best)

        def collect(
            state: Any, params: Any, batch: Batch, rng: np.random.Generator
        ) -> tuple[Any, Any, dict[str, Any]]:
            nonlocal sums
            step, state, info = self.gradient.estimate(state, params, batch, rng)
            sums = sums.plus(step, params)
            return step, state, info

        optimizer: Optimizer = optimizers.constant(rate)
        algorithm: Algorithm = ascend(Gradient(self.gradient.init, collect), optimizer)
        first = len(self.history)
        last = min(first + max(int(WINDOW / rate), 2), max(self.max_iter, first + 2))
        loop.run(
            algorithm,
            algorithm.init(self.best),
            Draws(),
            n_epochs=last,
            rng=self.rng,
            position=loop.Position(first),
            history=self.history,
        )
        return sums
