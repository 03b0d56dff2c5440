"""Gaussian processes in time, with numbers as targets, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import Gaussian, named
from fastvi.models.gp.predictions import TargetPredictions
from fastvi.models.gp.predictive import AtTimes, intervals, log_densities
from fastvi.models.gp.start import LARGEST, check_sizes, weighted
from fastvi.models.gp.temporal import Temporal
from fastvi.models.gp.terms import TimeCovariance
from fastvi.models.kinds import Labelled

__all__ = ["TemporalGPRegressor"]


class TemporalGPRegressor(RegressorMixin, TargetPredictions, Temporal):
    """Gaussian process of one column of times, exact and in linear time.

    Kernels are written as state-space models, in which a filter and a smoother take O(T) time and
    memory for T times, which may be irregular and repeat. With the ``"gaussian"`` likelihood all
    results are those of exact Gaussian process regression. With others q(f) is a Gaussian with
    the best possible mean and covariance, found by conjugate-computation variational inference
    (Khan and Lin 2017; Chang et al. 2020, "Fast variational learning in state-space Gaussian
    process models"). Hyperparameters maximise the evidence, or its bound, by L-BFGS with exact
    gradients.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        {time_kernel}
        WhiteKernel is the noise of ``"gaussian"`` and the squared scale of ``"student-t"``, added
        and learned if it is missing; the other likelihoods do not take it.
    likelihood : str, default="gaussian"
        ``"gaussian"``; ``"student-t"`` with `df` degrees of freedom; ``"poisson"``, counts of mean
        exp(f); ``"bernoulli-logit"`` or ``"bernoulli-probit"``, for targets 0 and 1.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    alpha : float or (n_rows,) array, optional
        Known variances of the rows' noise, in squared units of y, beside those of WhiteKernel,
        which is then not added to a kernel that is given. Only with ``"gaussian"``. Predictions
        leave it out.
    learn_kernel : bool, default=True
        Whether the kernel's hyperparameters, the noise included, are learned.
    normalize_y : bool, optional
        Scale targets of ``"gaussian"`` and ``"student-t"`` to mean 0 and variance 1 for the fit:
        `kernel_`, `elbo_` and `history_` are of the normalised ones. By default where `kernel` is
        None; the prior's mean is 0.
    {time_search}

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were learned.
    elbo_ : float
        log p(y) in nats with ``"gaussian"``, and a lower bound of it with others.
    {time_found}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import TemporalGPRegressor
    >>> rng = np.random.default_rng(0)
    >>> t = np.sort(rng.uniform(0, 60, 500))
    >>> y = np.sin(t) + 0.1 * rng.standard_normal(500)
    >>> model = TemporalGPRegressor().fit(t, y)
    >>> mean, std = model.predict([1.6, 61.0], return_std=True)
    >>> print(f"{mean[0]:.1f} +- {std[0]:.1f}")
    1.0 +- 0.1
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        likelihood: str = "gaussian",
        df: float = 4.0,
        alpha: float | ArrayLike | None = None,
        learn_kernel: bool = True,
        normalize_y: bool | None = None,
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        prior_scale: float | None = None,
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.likelihood = likelihood
        self.df = df
        self.alpha = alpha
        self.normalize_y = normalize_y

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        known = self._known_noise(data.y)
        X, y, sample_weight, known = _present(data.X, data.y, data.sample_weight, known)
        times, targets = self._times_and_targets(X, y, reset=True)
        likelihood = self._likelihood()
        likelihood.check(targets)
        check_sizes(targets, "y", 1.0 / LARGEST)
        columns = times if known is None else np.column_stack((times, known))
        points = self._in_units(weighted(columns, targets, sample_weight), likelihood, True)
        if known is not None:
            known = points.x[:, 1] / float(self._y_units[1]) ** 2
        points = points._replace(x=points.x[:, :1])
        weights = None if sample_weight is None else points.weights
        self._learn(watching, points, data.held_out, weights, known)

    def _known_noise(self, y: ArrayLike) -> Array | None:
        """The known variance of each row's noise, (n,), if any is."""
        if self.alpha is None:
            return None
        if self.likelihood != Gaussian.name:
            raise ValueError(
                f"alpha is given, but likelihood is {self.likelihood!r}; wanted 'gaussian'"
            )
        known, n = np.asarray(self.alpha, np.float64), len(np.asarray(y))
        if known.shape not in ((), (n,)):
            raise ValueError(f"alpha has shape {known.shape}; wanted a number or ({n},)")
        if not np.all((known >= 0) & np.isfinite(known)):
            raise ValueError("alpha holds a negative number, NaN or infinity; wanted variances")
        if self.kernel is not None and not np.all(known > 0):
            white = TimeCovariance(self.kernel).covariance.white
            if not white:
                raise ValueError("alpha holds 0, and kernel has no WhiteKernel; wanted some noise")
        return np.array(np.broadcast_to(known, (n,)))

    def _likelihood(self) -> Likelihood:
        return named(self.likelihood, self.df)

    def predict_interval(self, X: RowsLike, coverage: float = 0.95) -> tuple[Array, Array]:
        """Central intervals that targets at X fall into with probability `coverage`.

        In closed form for ``"gaussian"``; for other likelihoods quantiles of draws, the same in
        each call.

        Parameters
        ----------
        X : (n_rows,) or (n_rows, 1) array
        coverage : float, default=0.95

        Returns
        -------
        lower, upper : (n_rows,) arrays
        """
        coverage = checks.number(coverage, "coverage", 0.0, 1.0, open_low=True)
        latents = self._latents(X)
        return intervals(AtTimes(self._predictive, *latents), coverage)

    def log_predictive_density(self, X: RowsLike, y: ArrayLike) -> Array:
        """Log posterior predictive density (or probability) of each target, nats, (n_rows,).

        Parameters
        ----------
        X : (n_rows,) or (n_rows, 1) array
        y : (n_rows,) array
        """
        check_is_fitted(self)
        times, targets = self._times_and_targets(X, y, reset=False)
        self._likelihood().check(targets)
        at = AtTimes(self._predictive, *self._predictive.latents(times))
        return log_densities(at, targets)


def _present(
    X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None, known: Array | None
) -> tuple[Any, Any, ArrayLike | None, Array | None]:
    """The rows whose targets are not NaN.

    Raises
    ------
    ValueError
        If there are none.
    """
    targets = np.asarray(y)
    if targets.dtype.kind != "f" or targets.ndim != 1 or not np.any(missing := np.isnan(targets)):
        return X, y, sample_weight, known
    times = np.asarray(X)
    if len(times) != len(targets):
        return X, y, sample_weight, known
    if np.all(missing):
        raise ValueError("y holds only NaN; wanted targets at some of the times")
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[~missing]
    known = None if known is None else known[~missing]
    return times[~missing], targets[~missing], sample_weight, known
