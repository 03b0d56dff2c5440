"""What Gaussian processes with a likelihood predict, whatever they were fitted by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, RandomState, RowsLike
from fastvi.models.gp.estimator import GaussianProcess, OfKernel, draws_by
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.predictor import ClassPredictor, Predictive, TargetPredictor
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import LARGEST, check_sizes, column_means, column_scales

__all__ = ["ClassPredictions", "Predicting", "TargetPredictions", "Units", "check_labels"]


class Units(OfKernel):
    """The units in which targets are fitted."""

    normalize_y: bool | None
    _n_outputs = 1  # columns of y
    _y_units: tuple[Any, Any] = (0.0, 1.0)  # mean and scale of targets, of all or (n_outputs,)

    def _in_units(self, points: Points, likelihood: Likelihood, reset: bool) -> Points:
        """Rows with targets of mean 0 and variance 1 over the rows of the first call, if wanted."""
        wanted = likelihood.is_noisy and self.kernel is None
        if self.normalize_y is not None:
            wanted = checks.flag(self.normalize_y, "normalize_y")
        if not wanted:
            return points
        if not likelihood.is_noisy:
            raise ValueError(
                f"normalize_y is True, but likelihood is {likelihood.name!r}; wanted a "
                "likelihood of real numbers"
            )
        y, weights = points.y, points.weights
        check_sizes(y, "y", 1.0 / LARGEST)
        if reset:
            scale = column_scales(y.reshape(len(y), -1), weights)
            self._y_units = column_means(y, weights), scale.reshape(y.shape[1:])
        mean, scale = self._y_units
        return points._replace(y=(y - mean) / scale)


class Predicting(GaussianProcess):
    """The latent functions of an estimator with `_predictive`."""

    _predictive: Predictive
    _n_outputs = 1  # columns of y
    _y_units: tuple[Any, Any] = (0.0, 1.0)  # mean and scale of targets, of all or (n_outputs,)

    def _latents(self, X: RowsLike) -> tuple[Array, Array]:
        """Means and variances of the latent functions at X, (n_rows, n_latents) each."""
        raise NotImplementedError

    def _rows_to_predict(self, X: RowsLike) -> Array:
        """Check X; the estimator must be fitted."""
        raise NotImplementedError

    def latent_mean_and_variance(self, X: RowsLike) -> tuple[Array, Array]:
        """Posterior mean and variance of the latent function, before noise and link.

        With real targets the function is in their units, also with `normalize_y`.

        Parameters
        ----------
        X : (n_rows, n_features) array

        Returns
        -------
        mean, variance : (n_rows,) arrays
            With more than two classes (n_rows, n_classes), for one function per class; with
            several targets (n_rows, n_targets).
        """
        mean, variance = self._latents(X)
        if mean.shape[1] == 1:
            mean, variance = mean[:, 0], variance[:, 0]
        offset, scale = self._y_units
        return mean * scale + offset, variance * scale**2


class TargetPredictions(Units, Predicting):
    """Predictions of numbers."""

    def predict(self, X: RowsLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Mean of the targets, and their standard deviation or covariance, noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std, return_cov : bool
            At most one. The covariance of targets 0 and 1 has no closed form: use `sample_y`.

        {predicted}
        ValueError
            If the covariance of Bernoulli targets is asked for.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        if not return_cov:
            latents = self._latents(X)
            mean, variance = self._predictive.targets(*latents)
            return (mean, np.sqrt(variance)) if return_std else mean
        joints = [self._predictive.joint(*each, t) for t, each in enumerate(self._joints(X))]
        if self._n_outputs == 1:
            return joints[0]
        means, covariances = (np.stack(parts, axis=-1) for parts in zip(*joints))
        return means, covariances

    def sample_y(self, X: RowsLike, n_samples: int = 1, random_state: RandomState = 0) -> Array:
        """Draws from the joint posterior of the targets at X, noise included.

        {joint_draws}
        """
        checks.integer(n_samples, "n_samples", 1)
        rng = draws_by(random_state)
        draws = [
            self._predictive.sample(f, rng, t) for t, f in enumerate(self._draws(X, n_samples, rng))
        ]
        return draws[0] if self._n_outputs == 1 else np.stack(draws, axis=1)

    def _draws(self, X: RowsLike, n_samples: int, rng: Any) -> Iterator[Array]:
        """Joint draws (n, n_samples) of the function of each output."""
        for joint in self._joints(X):
            yield rng.multivariate_normal(*joint, n_samples).T

    def _joints(self, X: RowsLike) -> list[tuple[Array, Array]]:
        """Mean (n,) and covariance (n, n) of the function of each output."""
        X = self._rows_to_predict(X)
        with single_threaded_blas():
            joints = [posterior.joint(X) for posterior in self._predictive.posteriors]
        return [(mean[:, 0], covariance) for mean, covariance in joints]

    def compiled(self) -> TargetPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self)
        with single_threaded_blas():
            return TargetPredictor(self._predictive)


class ClassPredictions(Predicting):
    """Predictions of labels."""

    classes_: AnyArray

    def predict_proba(self, X: RowsLike) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        latents = self._latents(X)
        _, likelihood, values, *_ = self._predictive
        return likelihood.probabilities(*latents, values)

    def predict(self, X: RowsLike) -> AnyArray:
        """The most probable label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])

    def compiled(self) -> ClassPredictor:
        """A bare predictor of probabilities that checks nothing: microseconds."""
        check_is_fitted(self)
        with single_threaded_blas():
            return ClassPredictor(self._predictive)


def check_labels(labels: AnyArray, where: str) -> None:
    """Raise ValueError if these are not the labels of a fit."""
    if labels.ndim != 1 or len(labels) < 2 or not np.array_equal(np.unique(labels), labels):
        raise ValueError(f"{where}: classes_ is {labels!r}; wanted at least 2 labels that rise")
