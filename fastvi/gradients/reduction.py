"""Tools that reduce the variance of gradients, for the argument `variance_reduction` of fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from fastvi.base import checks
from fastvi.core import Batch, Gradient
from fastvi.gradients.averaged import averaged
from fastvi.gradients.score_variance import LARGEST, centred, controlled, overdispersed
from fastvi.gradients.svrg import corrected

__all__ = [
    "OF_BATCHES",
    "OF_SCORES",
    "REDUCTIONS",
    "Reduction",
    "Setting",
    "baseline",
    "control",
    "overdispersion",
    "reduction_of",
    "reductions_of",
    "svrg",
    "window",
]


class Setting(NamedTuple):
    """What a tool may know about the fit.

    Attributes
    ----------
    everything : callable
        Returns the batch of all rows.
    n_batches : int
        Number of batches in a pass over the data.
    alone : bool
        Whether no other tool wraps the gradient.
    """

    everything: Callable[[], Batch]
    n_batches: int
    alone: bool = True


class Reduction(NamedTuple):
    """A tool that reduces the variance of gradients, made by a function of `fastvi.gradients`.

    Attributes
    ----------
    name : str
        Name of the function, by which fits know the tool.
    numbers : dict
        Arguments of the function.
    around : callable
        ``around(gradient, setting, **numbers)`` returns the wrapped gradient.
    takes_snapshots : bool
        Whether it needs all rows from time to time; steps may then leave the domain.
    """

    name: str
    numbers: dict[str, Any]
    around: Callable[..., Gradient]
    takes_snapshots: bool = False

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value!r}" for name, value in self.numbers.items())
        return f"fastvi.gradients.{self.name}({numbers})"

    def reduce(self, gradient: Gradient, setting: Setting) -> Gradient:
        """Return the gradient with reduced variance."""
        return self.around(gradient, setting, **self.numbers)


def svrg(every: int | None = None) -> Reduction:
    """Gradients corrected by a gradient of all rows (Johnson and Zhang 2013), see `corrected`.

    Parameters
    ----------
    every : int, optional
        Steps between gradients of all rows; by default those of two passes.

    Returns
    -------
    Reduction
        For the argument `variance_reduction` of estimators, and of `fastvi.fit` with method
        "plain".

    Raises
    ------
    ValueError
        If `every` is below 1.

    Examples
    --------
    >>> import fastvi
    >>> fastvi.gradients.svrg(every=100)
    fastvi.gradients.svrg(every=100)
    """
    every = checks.optional_integer(every, "every", 1)
    return Reduction("svrg", {"every": every}, _svrg, takes_snapshots=True)


def _svrg(gradient: Gradient, setting: Setting, every: int | None) -> Gradient:
    return corrected(gradient, setting.everything, every or 2 * setting.n_batches)


def window(size: int = 10) -> Reduction:
    """Statistics averaged over the last batches (Mandt and Blei 2014), see `averaged`.

    Parameters
    ----------
    size : int
        Number of batches in the window; the default is that of most of the paper's figures.

    Returns
    -------
    Reduction
        For the argument `variance_reduction` of estimators.

    Raises
    ------
    ValueError
        If `size` is below 1.

    Examples
    --------
    >>> import fastvi
    >>> fastvi.gradients.window(size=3)
    fastvi.gradients.window(size=3)
    """
    return Reduction("window", {"size": checks.integer(size, "size", 1)}, _window)


def _window(gradient: Gradient, setting: Setting, size: int) -> Gradient:
    return averaged(gradient, size)


def control() -> Reduction:
    """Control variates of score-function gradients (Ranganath, Gerrish and Blei 2014).

    The score itself is the control variate. The optimal coefficient for each draw is estimated from
    the others, so the gradient stays unbiased.

    Returns
    -------
    Reduction
        For the argument `variance_reduction` of `fastvi.fit` with method "score".

    Examples
    --------
    >>> import fastvi
    >>> fastvi.gradients.control()
    fastvi.gradients.control()
    """
    return Reduction("control", {}, _control)


def _control(gradient: Gradient, setting: Setting) -> Gradient:
    return controlled(gradient)


def baseline(decay: float = 0.9) -> Reduction:
    """A running mean of earlier signals, subtracted from each signal (Williams 1992).

    Parameters
    ----------
    decay : float
        Share of the running mean that is kept at each step.

    It is for `fastvi.fit` with method "score".

    Raises
    ------
    ValueError
        If `decay` is not in [0, 1).

    Examples
    --------
    >>> import fastvi
    >>> fastvi.gradients.baseline(decay=0.8)
    fastvi.gradients.baseline(decay=0.8)
    """
    decay = checks.number(decay, "decay", 0.0, 1.0, open_high=True)
    return Reduction("baseline", {"decay": decay}, _baseline)


def _baseline(gradient: Gradient, setting: Setting, decay: float) -> Gradient:
    return centred(gradient, decay)


def overdispersion(largest: float = LARGEST) -> Reduction:
    """Weighted draws from distributions with heavier tails (Ruiz, Titsias and Blei 2016).

    See `fastvi.gradients.score_variance.overdispersed`.

    Parameters
    ----------
    largest : float
        Largest dispersion; 1 means no overdispersion.

    It is for `fastvi.fit` with method "score".

    Raises
    ------
    ValueError
        If `largest` is below 1.

    Examples
    --------
    >>> import fastvi
    >>> fastvi.gradients.overdispersion(largest=3.0)
    fastvi.gradients.overdispersion(largest=3.0)
    """
    largest = checks.number(largest, "largest", 1.0)
    return Reduction("overdispersion", {"largest": largest}, _overdispersion)


def _overdispersion(gradient: Gradient, setting: Setting, largest: float) -> Gradient:
    return overdispersed(gradient, largest, centred=not setting.alone)


REDUCTIONS: dict[str, Callable[..., Reduction]] = {  # in the order in which they wrap
    "svrg": svrg,
    "window": window,
    "overdispersion": overdispersion,
    "baseline": baseline,
    "control": control,
}
OF_BATCHES, OF_SCORES = ("svrg", "window"), ("control", "baseline", "overdispersion")


def reduction_of(chosen: Any, known: Collection[str] = OF_BATCHES) -> Reduction | None:
    """Return the tool with a given name, or the tool itself.

    Raises
    ------
    ValueError
        If it is neither, or not in `known`.
    """
    found = REDUCTIONS[chosen]() if isinstance(chosen, str) and chosen in known else chosen
    if found is None or (isinstance(found, Reduction) and found.name in known):
        return found
    raise ValueError(
        f"variance_reduction is {chosen!r}; wanted None, "
        + ", ".join(map(repr, known))
        + ", or a tool made by "
        + " or ".join(f"fastvi.gradients.{name}(...)" for name in known)
    )


def reductions_of(
    chosen: str | Reduction | Sequence[str | Reduction], known: Collection[str] = tuple(REDUCTIONS)
) -> tuple[Reduction, ...]:
    """Return the tools given by a name, a tool or a list of these, in the order of `REDUCTIONS`.

    Raises
    ------
    ValueError
        If one is neither, not in `known`, or given twice.
    """
    many = isinstance(chosen, Sequence) and not isinstance(chosen, (str, Reduction))
    tools = [reduction_of(tool, known) for tool in (chosen if many else [chosen])]
    found = {tool.name: tool for tool in tools if tool is not None}
    if len(found) < len(tools):
        raise ValueError(f"variance_reduction is {chosen!r}; wanted each tool once")
    return tuple(found[name] for name in REDUCTIONS if name in found)
