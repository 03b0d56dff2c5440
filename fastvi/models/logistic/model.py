"""Bayesian logistic regression without scikit-learn: the conjugate model and its predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from fastvi.base.linear_algebra import cholesky_despite_rounding
from fastvi.base.typing import AnyArray, DTypeLike
from fastvi.core import Batch, Coordinates, Local, scale
from fastvi.models.logistic import rows
from fastvi.models.logistic.blocks import Blocks
from fastvi.models.logistic.coordinates import logistic_coordinates
from fastvi.models.logistic.links import LogMean, log_mean_sigmoid
from fastvi.models.logistic.parameters import Coefficients, Posterior, Prior
from fastvi.models.logistic.rows import Features, LabelledRows

__all__ = ["Logistic"]

LOSS = 1e-4  # share of a variance, or of a logit, that rounding to float32 may cost


class Logistic:
    """The conjugate model of `fastvi.BayesianLogisticRegression`.

    The bound of Jaakkola and Jordan (2000) makes the likelihood of a row Gaussian in w once its
    local parameter xi is fitted, in closed form (Bishop 2006, eq. 10.163). Precisions alpha are
    updated in closed form (eq. 10.177) within the local step, between w and xi. The update depends
    only on `params`, so mini-batches add neither noise nor bias to it.

    Parameters
    ----------
    prior : Prior
        Prior of the P coefficients.
    intercept : bool
        Whether the last coefficient belongs to a column of ones, which rows do not contain.
    dtype : dtype
        float32 or float64, that of the rows; parameters are float64. Computations with rows also
        use float64 if float32 would lose `LOSS`.
    n_threads : int
        Threads to use; results do not depend on it.
    log_mean : callable
        Log probability of a label given a Gaussian logit; only predictions use it.
    """

    n_classes = 2

    def __init__(
        self,
        prior: Prior,
        *,
        intercept: bool,
        dtype: DTypeLike = np.float64,
        n_threads: int = 1,
        log_mean: LogMean = log_mean_sigmoid,
    ) -> None:
        self.intercept, self.log_mean = intercept, log_mean
        self.dtype = np.dtype(dtype)
        self.n_threads = n_threads
        self.groups = prior.groups
        self.in_group = prior.groups >= 0
        sizes = np.bincount(prior.groups[self.in_group])
        self.shapes = prior.shape + 0.5 * self.n_contrasts * sizes
        self.hyper = prior
        fixed = np.where(self.in_group, 0.0, prior.fixed)
        self.prior = Coefficients(
            np.zeros(len(fixed)), np.diag(fixed), np.full(len(sizes), prior.rate)
        )

    @property
    def n_contrasts(self) -> int:
        """Number of independent coefficients per column."""
        return self.n_classes - 1

    def source(
        self, features: Features, codes: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> LabelledRows:
        """Return rows whose classes have these numbers."""
        return LabelledRows(features, codes - 0.5, self.intercept, weights)

    def start(self, mean_squares: NDArray[np.float64]) -> Coefficients:
        """Return initial parameters: mean 0, logits of variance 1 for these mean squares."""
        n = len(mean_squares)
        tiny = np.finfo(np.float64).tiny
        precision = n * np.where(mean_squares > tiny, mean_squares, 1.0)
        rates = self.prior.rates + 0.5 * self.group_sums(self.n_contrasts / precision)
        return Coefficients(np.zeros_like(self.prior.precision_mean), np.diag(precision), rates)

    def group_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the coefficients that share a learned precision, (G,)."""
        sums = np.zeros(len(self.shapes))
        np.add.at(sums, self.groups[self.in_group], values[self.in_group])
        return sums

    def precisions(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """E[alpha] of coefficients in a group, 0 for others, (P,)."""
        expected = np.zeros(len(self.groups))
        expected[self.in_group] = (self.shapes / rates)[self.groups[self.in_group]]
        return expected

    def posterior(self, params: Coefficients) -> Posterior:
        """Return q(w)."""
        precision = params.precision + np.diag(self.precisions(params.rates))
        lower = cholesky_despite_rounding(precision)
        root = solve_triangular(lower, np.eye(len(lower)), lower=True).T
        mean = root @ (root.T @ params.precision_mean)
        variances = np.square(root).sum(axis=1)
        inflation = float(np.max(np.diag(precision) * variances))
        return Posterior(mean, root, 2.0 * float(np.log(np.diag(lower)).sum()), inflation)

    def params_of(self, mean: NDArray[np.float64], precision: NDArray[np.float64]) -> Coefficients:
        """Return parameters of q(w) = N(mean, precision^-1) and the best q(alpha) for it."""
        known = Coefficients(precision @ mean, precision, np.full(len(self.shapes), np.inf))
        rates = self.rates(self.posterior(known))
        return Coefficients(
            known.precision_mean, precision - np.diag(self.precisions(rates)), rates
        )

    def units(self, params: Coefficients) -> Coefficients:
        """See `fastvi.models.acceleration`: they do not depend on the scales of columns."""
        size = np.sqrt(np.diag(params.precision) + self.precisions(params.rates))
        return Coefficients(size, np.outer(size, size), params.rates)

    @property
    def coordinates(self) -> Coordinates:
        """See `logistic_coordinates`."""
        return logistic_coordinates(self)

    def _dtype(self, params: Coefficients, posterior: Posterior) -> DTypeLike:
        """float64 if sums in float32 would lose `LOSS` of a variance, as for columns far from 0.

        Relative rounding errors of the precision's diagonal are multiplied by `inflation` if
        columns are correlated, which is unknown while the precision is diagonal.
        """
        p = len(params.precision)
        known = p == 1 or np.count_nonzero(params.precision) > p
        lossy = not known or posterior.inflation * np.finfo(self.dtype).eps > LOSS
        return np.dtype(np.float64) if lossy else self.dtype

    def squares(self, posterior: Posterior) -> NDArray[np.float64]:
        """E[w_j^2], (P,)."""
        return np.asarray(np.square(posterior.mean) + posterior.variances)

    def rates(self, posterior: Posterior) -> NDArray[np.float64]:
        """Return the rates of q(alpha) for q(w), eq. 10.179, (G,)."""
        return self.hyper.rate + 0.5 * self.group_sums(self.squares(posterior))

    def local(
        self,
        params: Coefficients,
        batch: Batch,
        start: object,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the local parameters xi of a batch; see `fastvi.core.Conjugate`."""
        posterior = self.posterior(params)
        whitener = np.column_stack((posterior.root, posterior.mean))
        dtype = self._dtype(params, posterior)
        work = Blocks(batch, whitener, self.intercept, norms, dtype)
        bound, linear, precision = work.run(self.n_threads)
        bound += float(linear @ posterior.mean)
        squares = self.rates(posterior) - self.hyper.rate
        statistics = Coefficients(linear, precision, squares)
        return Local(statistics, bound, work.xi, work.norms, float(squares @ squares))

    def global_bound(self, params: Coefficients) -> float:
        """E_q[log p(w, alpha) - log q(w, alpha)] in nats, at the best q(alpha) for q(w)."""
        posterior = self.posterior(params)
        n, rates = len(posterior.mean), self.rates(posterior)
        fixed = self.hyper.fixed[~self.in_group]
        shape, rate = self.hyper.shape, self.hyper.rate
        squares = self.squares(posterior)[~self.in_group]
        known = 0.5 * np.sum(self.n_contrasts * np.log(fixed) - fixed * squares)
        learnt = np.sum(gammaln(self.shapes) - self.shapes * np.log(rates)) + len(rates) * (
            shape * np.log(rate) - gammaln(shape)
        )
        return float(known + learnt + 0.5 * self.n_contrasts * (n - posterior.log_det))

    def confine(self, params: Coefficients, step: Coefficients) -> Coefficients:
        """Return the step, halved until rates and precision keep a tenth of their values."""
        before = params.precision + np.diag(self.precisions(params.rates))
        for halvings in range(60):
            short: Coefficients = scale(step, 0.5**halvings)
            rates = params.rates + short.rates
            if np.any(rates < 0.1 * params.rates):
                continue
            after = params.precision + short.precision + np.diag(self.precisions(rates))
            try:
                np.linalg.cholesky(after - 0.1 * before)
            except np.linalg.LinAlgError:
                continue
            return short
        nothing: Coefficients = scale(step, 0.0)  # `before` is singular except for rounding
        return nothing

    def logits(self, posterior: Posterior, features: Features) -> tuple[AnyArray, AnyArray]:
        """Mean and variance of the logits of rows (n, D) under q(w), (n,) each, or mean (n, K).

        Computed in float64 if float32 could lose `LOSS` of a logit or of its deviation.
        """
        n_features = features.shape[1]
        largest = np.abs(posterior.mean).reshape(len(posterior.mean), -1).max(axis=1)
        size = largest + np.sqrt(posterior.variances)
        most = rows.reach(features) @ size[:n_features] + size[n_features:].sum()
        dtype = np.result_type(self.dtype, features.dtype)
        if not most * np.finfo(dtype).eps <= LOSS:
            dtype = np.dtype(np.float64)
        root, mean = (part.astype(dtype) for part in (posterior.root, posterior.mean))
        means, variances = [], []
        for block in rows.blocks(features):
            block = block.astype(dtype, copy=False)
            spread, centre = block @ root[:n_features], block @ mean[:n_features]
            if self.intercept:
                spread += root[-1]
                centre += mean[-1]
            means.append(centre)
            variances.append(np.einsum("ij,ij->i", spread, spread))
        return np.concatenate(means), np.concatenate(variances)

    def coefficients(self, posterior: Posterior) -> NDArray[np.float64]:
        """Posterior means, a row for each linear predictor, (1, P)."""
        return posterior.mean[None]

    def log_proba(self, posterior: Posterior, features: Features) -> NDArray[np.float64]:
        """Log probabilities of the classes, (n, K)."""
        return self.log_proba_of(*self.logits(posterior, features))

    def log_proba_of(self, mean: AnyArray, variance: AnyArray) -> NDArray[np.float64]:
        """Log probabilities of the classes for rows with such logits, as `logits` returns them."""
        mean = mean.reshape(-1)
        unlikely = np.minimum(self.log_mean(-np.abs(mean), variance), np.log(0.5))
        likely = np.log1p(-np.exp(unlikely))
        positive = mean > 0
        return np.stack(
            (np.where(positive, unlikely, likely), np.where(positive, likely, unlikely)), axis=1
        )
