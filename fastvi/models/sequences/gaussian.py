"""Hidden Markov models with Gaussian states, as hmmlearn's class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.kernels.chain_filter import NO_BASE
from fastvi.models.files import Saved
from fastvi.models.sequences.arguments import prior
from fastvi.models.sequences.estimator import HiddenMarkovModel
from fastvi.models.sequences.gaussian_rows import (
    GaussianRows,
    arranged,
    form_of,
    gaussian_coefficients,
)
from fastvi.models.sequences.gaussian_states import Gaussian, Gaussians, full, is_positive_definite
from fastvi.models.sequences.online import Likelihood
from fastvi.models.sequences.rows import Features
from fastvi.models.sequences.stream import Stream

__all__ = ["COVARIANCE_TYPES", "GaussianHMM", "GaussianRowsModel", "first_covars"]

COVARIANCE_TYPES = ("spherical", "diag", "full", "tied")


class GaussianRowsModel(HiddenMarkovModel):
    """What models with Gaussian states, or mixtures of them, have in common."""

    covariance_type: str

    def _checked(self, X: RowsLike, reset: bool) -> Array:
        X = self._array(
            X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )  # fmt: skip
        if np.isfinite(X.sum()):
            return np.asarray(X)
        if np.isinf(X).any():
            raise ValueError("X contains infinity; wanted finite numbers, or NaN for missing ones")
        if reset and np.isnan(X).all(axis=0).any():
            column = int(np.argmax(np.isnan(X).all(axis=0)))
            what = "all rows of X are" if np.isnan(X).all() else f"column {column} of X is all"
            raise ValueError(f"{what} missing")
        return np.asarray(X)

    def _is_missing(self, X: Array) -> NDArray[np.bool_]:
        """Rows that kernels cannot weigh; those that are partly there are weighed apart."""
        return np.asarray(np.isnan(X).any(axis=1))

    def _to_begin_with(self, X: Array) -> Array:
        """Rows with some numbers, and means of columns in the gaps."""
        missing = np.isnan(X)
        if not missing.any():
            return X
        return np.where(missing, np.nanmean(X, axis=0), X)[~missing.all(axis=1)]

    def _arranged(self, stream: Stream, X: Array) -> GaussianRows:
        return arranged(stream, X, self.covariance_type)

    def _measured(self, stream: Stream, X: Array, states: Any) -> GaussianRows:
        means = states.means.reshape(-1, states.means.shape[-1])
        if X.shape[1] != means.shape[1]:  # which is refused further on
            return self._arranged(stream, X)
        frame = Features(form_of(self.covariance_type), means.mean(axis=0), np.ones(X.shape[1]))
        return GaussianRows(stream, X, frame)

    def _check_covars(self, means: Array, covars: Array, wanted: tuple[int, ...]) -> None:
        """Check that covariances have a shape and are positive definite, and that all is finite."""
        if covars.shape != wanted:
            raise ValueError(
                f"covars_ has shape {covars.shape}; wanted {wanted} with covariance_type="
                f"{self.covariance_type!r}"
            )
        if not (np.isfinite(means).all() and np.isfinite(covars).all()):
            raise ValueError("means_ and covars_ must be finite")
        if self.covariance_type in ("spherical", "diag"):
            if not np.all(covars > 0):
                raise ValueError("covars_ must be above 0")
        elif not np.allclose(covars, covars.swapaxes(-1, -2), rtol=1e-6):
            raise ValueError("covars_ must be symmetric")
        elif not is_positive_definite(covars).all():
            raise ValueError("covars_ must be positive definite")


class GaussianHMM(GaussianRowsModel):
    """A hidden Markov model whose states emit Gaussian rows, fitted by expectation maximisation.

    A drop-in replacement for hmmlearn's class of this name: from the same start it has the same
    parameters after each iteration, to rounding. NaN is missing, in whole rows or in
    parts of them. `covars_` has the shape
    of its type, where hmmlearn expands all types to matrices.

    Parameters
    ----------
    n_components : int, default=1
        Number of states.
    covariance_type : {"spherical", "diag", "full", "tied"}, default="diag"
    min_covar : float, default=1e-3
        Added to the diagonal of the first covariances.
    {chain}
    means_prior, means_weight : float or array, default=0
        Mean and precision, in rows, of normal priors of `means_`.
    covars_prior, covars_weight : float or array, and float, default=1e-2 and 1
        Inverse gamma (or inverse Wishart) priors of `covars_`.
    {decoder}
    {steps}

    Attributes
    ----------
    {chain_found}
    means_ : (n_components, n_features) array
    covars_ : array
        (n_components,) if spherical, (n_components, n_features) if diagonal, (n_components,
        n_features, n_features) if full, (n_features, n_features) if tied.
    {fit_found}

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), section
    III; the scaled recursions are his eq. 92 to 110.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import GaussianHMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [5.0], [0.0]], 50, axis=0) + rng.normal(size=(150, 1))
    >>> model = GaussianHMM(2, random_state=0).fit(X)
    >>> [int(x) for x in np.sort(model.means_.ravel()).round()]
    [0, 5]
    """

    _letters: ClassVar = {"m": "means_", "c": "covars_"}
    _read_from = ("means_", "covars_")
    means_prior: ArrayLike | None
    means_: Array
    covars_: Array

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "diag",
        min_covar: float = 1e-3,
        startprob_prior: ArrayLike = 1.0,
        transmat_prior: ArrayLike = 1.0,
        means_prior: ArrayLike = 0.0,
        means_weight: ArrayLike = 0.0,
        covars_prior: ArrayLike = 1e-2,
        covars_weight: float = 1.0,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stmc",
        init_params: str = "stmc",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.covariance_type = covariance_type
        self.min_covar = min_covar
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight

    def _states(self, n_features: int) -> Gaussian:
        checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        k, d = self.n_components, n_features
        wide = {"spherical": (k, d), "diag": (k, d), "full": (k, d, d), "tied": (d, d)}
        return Gaussian(
            self.covariance_type,
            prior(self.means_prior, "means_prior", self.n_components, n_features, low=-np.inf),
            prior(self.means_weight, "means_weight", self.n_components),
            prior(self.covars_prior, "covars_prior", *wide[self.covariance_type]),
            checks.number(self.covars_weight, "covars_weight", 0.0), self.params,
        )  # fmt: skip

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Gaussians:
        k, d = self.n_components, X.shape[1]
        checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        means, covars = given.get("means_"), given.get("covars_")
        if means is None:
            means = KMeans(k, n_init=10, random_state=rng).fit(X).cluster_centers_
        if covars is None:
            floor = checks.number(self.min_covar, "min_covar", 0.0)
            covars = first_covars(X, floor, self.covariance_type, k)
        return self._states_of(means, covars, d)

    def _read(self) -> Gaussians:
        return self._states_of(self.means_, self.covars_, np.asarray(self.means_).shape[-1])

    def _states_of(self, means: Any, covars: Any, d: int) -> Gaussians:
        """Check means and covariances."""
        k, means = self.n_components, np.array(means, np.float64)
        if means.shape != (k, d):
            raise ValueError(f"means_ has shape {means.shape}; wanted {(k, d)}")
        shapes = {"spherical": (k,), "diag": (k, d), "full": (k, d, d), "tied": (d, d)}
        covars = np.array(covars, np.float64)
        kind = checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        self._check_covars(means, covars, shapes[kind])
        return Gaussians(means, covars)

    def _take_states(self, states: Gaussians) -> None:
        self.means_, self.covars_ = states

    def _likelihood(self, states: Gaussians) -> Likelihood:
        d = states.means.shape[1]
        features = Features(form_of(self.covariance_type), states.means.mean(axis=0), np.ones(d))
        parts = self._states(d).coefficients(None, states)
        return Likelihood.of_features(features, NO_BASE, gaussian_coefficients(features, parts))

    def _emit(self, states: Gaussians, state: int, rng: np.random.RandomState) -> Array:
        k, d = states.means.shape
        covariance = full(states.covars, self.covariance_type, k, d)[state]
        return np.asarray(rng.multivariate_normal(states.means[state], covariance))

    def _n_free(self, states: Gaussians) -> int:
        d = states.means.shape[1]
        sizes = {"full": self.n_components * d * (d + 1) // 2, "tied": d * (d + 1) // 2}
        return int(states.means.size + sizes.get(self.covariance_type, states.covars.size))

    def _restore_states(self, saved: Saved, k: int) -> None:
        self.means_ = saved.array("parameters_.states.means", k, saved.n_features)
        dims = {"spherical": 1, "full": 3}.get(self.covariance_type, 2)
        self.covars_ = saved.array("parameters_.states.covars", *[None] * dims)


def first_covars(X: Array, floor: float, covariance_type: str, k: int) -> Array:
    """Covariance of all rows, plus floor on the diagonal, in the shape of the type."""
    if len(X) < 2:
        raise ValueError(f"X has {len(X)} row that is not missing; wanted at least 2")
    d = X.shape[1]
    covariance = np.cov(X.T).reshape(d, d) + floor * np.eye(d)
    if covariance_type == "tied":
        return covariance
    if covariance_type == "full":
        return np.tile(covariance, (k, 1, 1))
    variances = np.diag(covariance)
    if covariance_type == "spherical":
        return np.full(k, variances.mean())
    return np.tile(variances, (k, 1))
