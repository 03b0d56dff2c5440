"""Bayesian logistic regression for more than two classes: the conjugate model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fastvi.base.typing import AnyArray, DTypeLike
from fastvi.core import Batch, Local
from fastvi.kernels.thin import product
from fastvi.models.logistic.blocks import Blocks
from fastvi.models.logistic.model import Logistic
from fastvi.models.logistic.parameters import Coefficients, Posterior, Prior
from fastvi.models.logistic.rows import Features, LabelledRows

__all__ = ["Multinomial", "log_mean_softmax", "quadrature_rules"]


class Multinomial(Logistic):
    """Softmax of K linear predictors, under the bound of Boehning (1992).

    The curvature of log-sum-exp is at most 1/2 between classes, so a quadratic at any logits bounds
    it (Murphy 2012, section 21.8.2), and the best one is at the posterior mean of the logits. The
    precision of the coefficients is then the same for all classes. Each of the K vectors of
    coefficients has the same prior; softmax does not depend on their mean, which is integrated out:
    `Coefficients` are those of the K - 1 contrasts, in the form of K vectors that sum to 0. Classes
    k and l have the covariance (1[k = l] - 1 / K) times that of `Posterior`.

    Parameters
    ----------
    prior : Prior
        Prior of the P coefficients of each class; classes share learned precisions.
    n_classes : int
    options
        Those of `Logistic`.
    """

    def __init__(self, prior: Prior, n_classes: int, **options: Any) -> None:
        self.n_classes = n_classes
        super().__init__(prior, **options)
        mean = np.zeros((len(prior.fixed), n_classes))
        self.prior = self.prior._replace(precision_mean=mean)

    def source(
        self, features: Features, codes: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> LabelledRows:
        """Return rows whose classes have these numbers."""
        sizes = float(np.sqrt(1.0 - 1.0 / self.n_classes)), 0.5
        return LabelledRows(features, codes, self.intercept, weights, sizes)

    def units(self, params: Coefficients) -> Coefficients:
        """See `fastvi.models.acceleration`: they do not depend on the scales of columns."""
        units = super().units(params)
        each = np.repeat(units.precision_mean[:, None], self.n_classes, axis=1)
        return units._replace(precision_mean=each)

    def squares(self, posterior: Posterior) -> NDArray[np.float64]:
        """E[w_j' w_j] of a column's coefficients, (P,)."""
        means = np.square(posterior.mean).sum(axis=1)
        return np.asarray(means + self.n_contrasts * posterior.variances)

    def local(
        self,
        params: Coefficients,
        batch: Batch,
        start: object,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Expand the bound of a batch at the mean logits; see `fastvi.core.Conjugate`."""
        posterior = self.posterior(params)
        dtype = self._dtype(params, posterior)
        work = _ClassBlocks(batch, posterior.mean, self.intercept, norms, dtype)
        bound, linear, precision = work.run(self.n_threads)
        bound -= 0.5 * self.n_contrasts * float(np.vdot(precision, posterior.covariance))
        squares = self.rates(posterior) - self.hyper.rate
        statistics = Coefficients(linear, precision, squares)
        return Local(statistics, bound, None, work.norms, float(squares @ squares))

    def coefficients(self, posterior: Posterior) -> NDArray[np.float64]:
        """Posterior means, which sum to 0 over the classes, (K, P)."""
        return np.asarray((posterior.mean - posterior.mean.mean(axis=1, keepdims=True)).T)

    def log_proba_of(self, mean: AnyArray, variance: AnyArray) -> NDArray[np.float64]:
        """Log probabilities of the classes for rows with such logits, as `logits` returns them."""
        return log_mean_softmax(mean, variance)


class _ClassBlocks(Blocks):
    """One local step: a row's statistics are w x (y - softmax(a) + a / 2)' and w x x' / 2."""

    def __init__(
        self,
        batch: Batch,
        mean: NDArray[np.float64],
        intercept: bool,
        norms: bool,
        dtype: DTypeLike,
    ) -> None:
        super().__init__(batch, mean, intercept, norms, dtype)
        self.mean, self.linear = self.whitener, mean.shape

    def _task(
        self, start: int, stop: int, linear: NDArray[np.float64], precision: NDArray[np.float64]
    ) -> float:
        """Return the bound without the variance of the logits, which is linear in `precision`."""
        work = np.empty((min(self.n_block, stop - start), self.n_coefficients), self.dtype)
        bound = 0.0
        for a in range(start, stop, self.n_block):
            b = min(a + self.n_block, stop)
            block, weights = self._block(a, b, work), self.weights[a:b]
            likelihood, residuals = self._expand(block, self.targets[a:b], weights)
            bound += likelihood
            if self.norms is not None:
                size = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
                pull = np.sqrt(np.einsum("ij,ij->j", residuals, residuals, dtype=np.float64))
                self.norms[a:b] = self.row_weights[a:b] * size * np.hypot(pull, 0.5 * size)
            residuals *= weights.astype(self.dtype)
            linear += product(block.T, residuals.T)
            scaled = block * np.sqrt(0.5 * weights)[:, None].astype(self.dtype)
            precision += scaled.T @ scaled
        return bound

    def _expand(
        self, block: AnyArray, classes: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> tuple[float, AnyArray]:
        """Log likelihood at the mean logits, and residuals, (K, n): sums over few classes are fast
        if each adds up whole rows.
        """
        logits = np.ascontiguousarray(product(block, self.mean).T)
        chosen = classes, np.arange(len(block))
        residuals = 0.5 * logits
        logits -= logits.max(axis=0)
        own = logits[chosen]
        shares = np.exp(logits, out=logits)
        totals = shares.sum(axis=0)
        shares /= totals
        residuals -= shares
        residuals[chosen] += 1.0
        return float(weights @ (own - np.log(totals))), residuals


# Numbers of Gauss-Hermite nodes and of times, up to this variance of the logits.
RULES = ((6, 14, 0.25), (12, 32, 4.0), (40, 64, 25.0))
CHUNK = 1 << 15  # numbers per chunk of rows, which stay in a core's cache
GUMBEL = np.pi**2 / 6  # variance of a Gumbel distribution


def log_mean_softmax(mean: AnyArray, variance: AnyArray) -> NDArray[np.float64]:
    """Log of E[softmax(a)] for a_k ~ N(mean[:, k], variance), (n, K).

    Softmax is the probability that the first of K exponential clocks with rates exp(a_k) is clock
    k. The clocks are independent, so the mean is an integral over the logarithm of the time, of
    functions of one Gaussian each. At variance 0 the result is softmax on any grid.
    """
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    largest = RULES[-1][2]  # beyond it, only the ratio of means and deviations matters
    capped = np.minimum(variance, largest)
    mean = mean * np.sqrt((capped + GUMBEL) / (variance + GUMBEL))[:, None]
    result, least = np.full_like(mean, np.nan), -np.inf
    for n_nodes, n_times, most in RULES:
        nodes, weights = _rule(n_nodes)
        found = np.flatnonzero((capped > least) & (capped <= most))
        size = max(1, CHUNK // (n_times * mean.shape[1]))
        for start in range(0, len(found), size):
            part = found[start : start + size]
            result[part] = _race(mean[part], np.sqrt(capped[part]), nodes, weights, n_times)
        least = most
    return np.asarray(result)


def _rule(n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of means over a standard Gaussian."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    return nodes, weights / weights.sum()


def quadrature_rules() -> NDArray[np.float64]:
    """Nodes and weights of all rules of `log_mean_softmax`, one after another, (58, 2)."""
    return np.concatenate([np.column_stack(_rule(n_nodes)) for n_nodes, _, _ in RULES])


def _race(
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    n_times: int,
) -> NDArray[np.float64]:
    """Log probability that each clock is the first; nodes and weights are of Gaussians, (Q,)."""
    mean = mean - logsumexp(mean, axis=1, keepdims=True)
    grid = np.linspace(0.0, 1.0, n_times)
    times = (3.0 + 4.0 * sd)[:, None] * grid - (5.0 + 4.0 * sd)[:, None] * (1.0 - grid)
    logits = times[:, :, None] + mean[:, None, :]  # of the hazards, (n, T, K)
    alive = np.full_like(logits, np.finfo(np.float64).tiny)
    dying = np.zeros_like(logits)  # in units of exp(logits), which may underflow
    hazards = np.exp(logits)
    for node, weight in zip(nodes, weights):
        factor = np.exp(sd * node)[:, None, None]
        survivors = weight * np.exp(-factor * hazards)
        alive += survivors
        dying += factor * survivors
    survival = np.log(alive)
    with np.errstate(divide="ignore"):  # where all have died
        rates = logits + np.log(dying) - survival
    found = logsumexp(rates + survival.sum(axis=2, keepdims=True), axis=1)
    return np.asarray(found - logsumexp(found, axis=1, keepdims=True))
