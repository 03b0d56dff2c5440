"""How classes become latent functions of two classes, or of all, and what these say about them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, Indices
from fastvi.models.gp.evidence import Solver, of_classes, of_classes_by_probit, of_two
from fastvi.models.gp.likelihood import Values
from fastvi.models.gp.likelihoods import Bernoulli, softmax_probabilities
from fastvi.models.gp.orthants import probabilities_of_largest

__all__ = ["SCHEMES", "Inference", "Machine", "Scheme", "coupled"]

LEAST = 1e-7  # of a probability between two classes
Latents = list[tuple[Array, Array]]  # means (n, T) and covariances (n, T, T), of each machine


class Inference(NamedTuple):
    """How to approximate posteriors: the options that all machines share."""

    solver: str
    link: str
    max_iter: int


class Machine(NamedTuple):
    """A search of its own: the rows that it takes, and how it approximates their posterior."""

    rows: Indices | slice
    solver: Solver


class Scheme(Protocol):
    """How several classes are told apart."""

    def machines(self, codes: AnyArray, weights: Array, how: Inference) -> list[Machine]:
        """One for each search, given the numbers (N,) of classes and the weights of rows."""
        ...

    def probabilities(self, latents: Latents, link: str) -> Array:
        """Those of all classes, (n, n_classes)."""
        ...


class Rest:
    """Each class against the rest; with two classes the second against the first."""

    def __init__(self, n_classes: int) -> None:
        self._numbers = range(n_classes) if n_classes > 2 else range(1, 2)

    def machines(self, codes: AnyArray, weights: Array, how: Inference) -> list[Machine]:
        """See `Scheme`."""
        return [
            Machine(slice(None), of_two(how.solver, how.link, codes == c, weights, how.max_iter))
            for c in self._numbers
        ]

    def probabilities(self, latents: Latents, link: str) -> Array:
        """See `Scheme`."""
        positive = _positive(latents, link)
        if len(latents) == 1:
            return np.column_stack((1.0 - positive, positive))
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))


class Pairs:
    """Each class against each other one, from the rows of these two."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._pairs = list(combinations(range(n_classes), 2))

    def machines(self, codes: AnyArray, weights: Array, how: Inference) -> list[Machine]:
        """See `Scheme`."""
        found = []
        for low, high in self._pairs:
            rows = np.flatnonzero((codes == low) | (codes == high))
            positive = codes[rows] == high
            solver = of_two(how.solver, how.link, positive, weights[rows], how.max_iter)
            found.append(Machine(rows, solver))
        return found

    def probabilities(self, latents: Latents, link: str) -> Array:
        """See `Scheme`."""
        between = _positive(latents, link)
        n, k = len(between), self._n_classes
        wins = np.zeros((n, k, k))
        for (low, high), p in zip(self._pairs, between.T):
            wins[:, high, low], wins[:, low, high] = p, 1.0 - p
        return coupled(wins)


class Softmax:
    """A latent function for each class, and softmax."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes

    def machines(self, codes: AnyArray, weights: Array, how: Inference) -> list[Machine]:
        """See `Scheme`."""
        _check_solver(how, "softmax", "laplace", "multinomial_probit")
        return [Machine(slice(None), of_classes(codes, self._n_classes, weights, how.max_iter))]

    def probabilities(self, latents: Latents, link: str) -> Array:
        """See `Scheme`."""
        return softmax_probabilities(*latents[0])


class MultinomialProbit:
    """A latent function for each class; the largest wins, standard normal noise included."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes

    def machines(self, codes: AnyArray, weights: Array, how: Inference) -> list[Machine]:
        """See `Scheme`."""
        _check_solver(how, "multinomial_probit", "ep", "softmax")
        if weights.min() < 1.0:
            raise ValueError(
                f"weights of rows go down to {weights.min():.3g}, those of their classes included; "
                "wanted at least 1 with multi_class='multinomial_probit'"
            )
        solver = of_classes_by_probit(codes, self._n_classes, weights, how.max_iter)
        return [Machine(slice(None), solver)]

    def probabilities(self, latents: Latents, link: str) -> Array:
        """See `Scheme`."""
        mean, covariance = latents[0]
        return probabilities_of_largest(mean, covariance + np.eye(self._n_classes))


def _check_solver(how: Inference, name: str, solver: str, other: str) -> None:
    if how.solver != solver:
        raise ValueError(
            f"solver is {how.solver!r} with multi_class={name!r}; wanted {solver!r}, or "
            f"multi_class={other!r} or 'one_vs_rest'"
        )


def _positive(latents: Latents, link: str) -> Array:
    """Probabilities (n, n_machines) of what each machine calls positive."""
    likelihood: Any = Bernoulli(link)
    return np.column_stack([likelihood.predict(m, c[:, 0], Values())[0] for m, c in latents])


def coupled(wins: Array) -> Array:
    """Probabilities p (n, K) of classes, from those between two of them.

    They minimise the sum of (r_ts p_s - r_st p_t)^2 (Wu, Lin and Weng 2004, "Probability estimates
    for multi-class classification by pairwise coupling", eq. 21).

    Parameters
    ----------
    wins : (n, K, K) array
        r_st, the probability of s if it is either s or t.
    """
    n, k, _ = wins.shape
    r = np.clip(wins, LEAST, 1.0 - LEAST)
    r[:, np.arange(k), np.arange(k)] = 0.0
    system = np.zeros((n, k + 1, k + 1))
    system[:, :k, :k] = -r * r.transpose(0, 2, 1)
    system[:, np.arange(k), np.arange(k)] = np.square(r).sum(axis=1)
    system[:, k, :k] = system[:, :k, k] = 1.0
    wanted = np.zeros((n, k + 1, 1))
    wanted[:, k] = 1.0
    p = np.maximum(np.linalg.solve(system, wanted)[:, :k, 0], 0.0)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


SCHEMES: dict[str, Callable[[int], Scheme]] = {
    "one_vs_rest": Rest,
    "one_vs_one": lambda n: Pairs(n) if n > 2 else Rest(n),
    "softmax": lambda n: Softmax(n) if n > 2 else Rest(n),
    "multinomial_probit": lambda n: MultinomialProbit(n) if n > 2 else Rest(n),
}
