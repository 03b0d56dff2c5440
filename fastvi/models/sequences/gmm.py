"""Hidden Markov models whose states are Gaussian mixtures, as hmmlearn's class."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
from sklearn.cluster import KMeans

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.kernels.chain_filter import NO_BASE
from fastvi.models.files import Saved
from fastvi.models.sequences.arguments import distribution, prior
from fastvi.models.sequences.gaussian import COVARIANCE_TYPES, GaussianRowsModel, first_covars
from fastvi.models.sequences.gaussian_rows import form_of, gaussian_coefficients
from fastvi.models.sequences.gaussian_states import full
from fastvi.models.sequences.mixture_states import GaussianMixture, MixturePriors, Mixtures
from fastvi.models.sequences.online import Likelihood
from fastvi.models.sequences.rows import Features

__all__ = ["GMMHMM"]


class GMMHMM(GaussianRowsModel):
    """A hidden Markov model whose states emit Gaussian mixtures, by expectation maximisation.

    A drop-in replacement for hmmlearn's class of this name. From the same start it has the same
    `startprob_`, `transmat_`, `weights_` and `means_` after an iteration. Its covariances are those
    about the new means, where hmmlearn's are about the old ones and too wide, so that its
    likelihood may fall. A component whose new covariance would be singular keeps its old one.

    Parameters
    ----------
    n_components : int, default=1
        Number of states.
    n_mix : int, default=1
        Number of mixture components of each state.
    min_covar : float, default=1e-3
        Added to the diagonal of the first covariances.
    {chain}
    weights_prior : float or array, default=1.0
        Concentrations of Dirichlet priors of rows of `weights_`.
    means_prior, means_weight : float or array, default=0
        Mean and precision, in rows, of normal priors of `means_`.
    covars_prior, covars_weight : float or array, optional
        Scale and degrees of freedom of inverse Wishart priors of full and tied covariances; shape
        and scale of inverse gamma priors of diagonal and spherical ones. By default there is no
        prior.
    {decoder}
    covariance_type : {"diag", "spherical", "full", "tied"}, default="diag"
        "tied" shares a full covariance between the components of a state, not between states.
    {steps}

    Attributes
    ----------
    {chain_found}
    weights_ : (n_components, n_mix) array
    means_ : (n_components, n_mix, n_features) array
    covars_ : array
        (n_components, n_mix) if spherical, (n_components, n_mix, n_features) if diagonal,
        (n_components, n_mix, n_features, n_features) if full, (n_components, n_features,
        n_features) if tied.
    {fit_found}

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2), section
    IV.A, eq. 52 to 54, with the covariance about the new mean.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import GMMHMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [20.0], [0.0]], 50, axis=0) + 0.1 * rng.normal(size=(150, 1))
    >>> X += rng.choice([0.0, 4.0], p=[0.7, 0.3], size=(150, 1))
    >>> model = GMMHMM(2, 2, n_iter=100, tol=1e-6, random_state=0).fit(X)
    >>> [int(x) for x in np.sort(model.means_.ravel()).round()]
    [0, 4, 20, 24]
    """

    _letters: ClassVar = {"m": "means_", "c": "covars_", "w": "weights_"}
    _read_from = ("weights_", "means_", "covars_")
    weights_: Array
    means_: Array
    covars_: Array

    def __init__(
        self,
        n_components: int = 1,
        n_mix: int = 1,
        min_covar: float = 1e-3,
        startprob_prior: ArrayLike = 1.0,
        transmat_prior: ArrayLike = 1.0,
        weights_prior: ArrayLike = 1.0,
        means_prior: ArrayLike = 0.0,
        means_weight: ArrayLike = 0.0,
        covars_prior: ArrayLike | None = None,
        covars_weight: ArrayLike | None = None,
        algorithm: str = "viterbi",
        covariance_type: str = "diag",
        random_state: RandomState = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stmcw",
        init_params: str = "stmcw",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.n_mix = n_mix
        self.min_covar = min_covar
        self.weights_prior = weights_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.covariance_type = covariance_type

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        """Shapes of covariances."""
        k, m = self.n_components, checks.integer(self.n_mix, "n_mix", 1)
        return {"spherical": (k, m), "diag": (k, m, d), "full": (k, m, d, d), "tied": (k, d, d)}

    def _states(self, n_features: int) -> GaussianMixture:
        kind = checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        d, shape = n_features, self._shapes(n_features)[kind]
        k, m = self.n_components, self.n_mix
        without = {  # priors that are flat
            "full": (0.0, -(d + 2.0)), "tied": (0.0, -(m + d + 1.0)), "diag": (-1.5, 0.0),
            "spherical": (-0.5 * (d + 2.0), 0.0),
        }  # fmt: skip
        first, second = without[kind]
        weighed = {"full": (k, m), "tied": (k,), "diag": shape, "spherical": shape}[kind]
        priors = MixturePriors(
            prior(self.weights_prior, "weights_prior", k, m),
            prior(self.means_prior, "means_prior", k, m, d, low=-np.inf),
            prior(self.means_weight, "means_weight", k, m),
            prior(
                first if self.covars_prior is None else self.covars_prior, "covars_prior", *shape,
                low=-np.inf,
            ),
            prior(
                second if self.covars_weight is None else self.covars_weight, "covars_weight",
                *weighed, low=-np.inf,
            ),
        )  # fmt: skip
        return GaussianMixture(kind, priors, self.params)

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Mixtures:
        k, d = self.n_components, X.shape[1]
        m = checks.integer(self.n_mix, "n_mix", 1)
        kind = checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        weights, means, covars = (given.get(n) for n in ("weights_", "means_", "covars_"))
        floor = checks.number(self.min_covar, "min_covar", 0.0)
        if weights is None:
            weights = np.full((k, m), 1.0 / m)
        if means is None:
            means = _first_means(X, k, m, floor, rng)
        if covars is None:
            one = first_covars(X, floor, "full" if kind == "tied" else kind, 1)[0]
            covars = np.broadcast_to(one, self._shapes(d)[kind])
        return self._states_of(weights, means, covars, d)

    def _read(self) -> Mixtures:
        d = np.asarray(self.means_).shape[-1] if np.ndim(self.means_) else 0
        return self._states_of(self.weights_, self.means_, self.covars_, d)

    def _states_of(self, weights: Any, means: Any, covars: Any, d: int) -> Mixtures:
        """Check parameters of mixtures."""
        shapes = self._shapes(d)
        k, m = shapes["spherical"]
        found = Mixtures(
            distribution(weights, "weights_", k, m),
            np.array(means, np.float64),
            np.array(covars, np.float64),
        )
        if found.means.shape != (k, m, d):
            raise ValueError(f"means_ has shape {found.means.shape}; wanted {(k, m, d)}")
        kind = checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        self._check_covars(found.means, found.covars, shapes[kind])
        return found

    def _take_states(self, states: Mixtures) -> None:
        self.weights_, self.means_, self.covars_ = states

    def _likelihood(self, states: Mixtures) -> Likelihood:
        d = states.means.shape[-1]
        centre = states.means.mean(axis=(0, 1))
        features = Features(form_of(self.covariance_type), centre, np.ones(d))
        parts = self._states(d).coefficients(None, states)
        return Likelihood.of_features(features, NO_BASE, gaussian_coefficients(features, parts))

    def _emit(self, states: Mixtures, state: int, rng: np.random.RandomState) -> Array:
        weights, means, covars = (part[state] for part in states)
        m = int(rng.choice(len(weights), p=weights / weights.sum()))
        kind = self.covariance_type
        covariance = full(covars, kind, len(means), means.shape[1])[m]
        return np.asarray(rng.multivariate_normal(means[m], covariance))

    def _n_free(self, states: Mixtures) -> int:
        k, m, d = states.means.shape
        sizes = {"full": k * m * d * (d + 1) // 2, "tied": k * d * (d + 1) // 2}
        n_covars = sizes.get(self.covariance_type, states.covars.size)
        return int(states.means.size + n_covars + k * (m - 1))

    def _restore_states(self, saved: Saved, k: int) -> None:
        m, d = self.n_mix, saved.n_features
        self.weights_ = saved.array("parameters_.states.weights", k, m)
        self.means_ = saved.array("parameters_.states.means", k, m, d)
        shape = self._shapes(d)[self.covariance_type]
        self.covars_ = saved.array("parameters_.states.covars", *shape)


def _first_means(X: Array, k: int, m: int, floor: float, rng: np.random.RandomState) -> Array:
    """Centres (K, M, D) of clusters of clusters, each found with the same random numbers."""
    clusters = KMeans(k, n_init=10, random_state=deepcopy(rng)).fit(X)
    middle, d = clusters.cluster_centers_.mean(axis=0), X.shape[1]
    means = np.empty((k, m, d))
    for state in range(k):
        own = X[clusters.labels_ == state]
        if len(own) >= m:
            means[state] = (
                KMeans(m, n_init=10, random_state=deepcopy(rng)).fit(own).cluster_centers_
            )
        else:
            covariance = first_covars(X, floor, "full", 1)[0]
            means[state] = rng.multivariate_normal(middle, covariance, size=m)
    return means
