"""Hidden Markov models with Gaussian states and posteriors over their parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.cluster import KMeans

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.core import Optimizer
from fastvi.models.sequences.gaussian import COVARIANCE_TYPES, GaussianHMM, first_covars
from fastvi.models.sequences.gaussian_rows import GaussianRows
from fastvi.models.sequences.gaussian_states import Gaussian
from fastvi.models.sequences.variational_estimator import VariationalModel, broadcast
from fastvi.models.sequences.variational_states import (
    NormalWisharts,
    VariationalGaussian,
    WishartParameters,
)

__all__ = ["VariationalGaussianHMM"]


class VariationalGaussianHMM(VariationalModel, GaussianHMM):
    """A hidden Markov model with Gaussian states and a posterior over all its parameters.

    A drop-in replacement for hmmlearn's class of this name: from the same start it has the same
    posteriors after each iteration with full and tied covariances. `elbo_` is the bound itself,
    with the terms in log(2 pi) that hmmlearn leaves out. Diagonal and spherical precisions have
    independent Gamma posteriors; hmmlearn takes their expected logs from a Wishart distribution of
    matrices.

    States that the data do not need lose their rows, if the priors of the chain are sparse, as they
    are by default: the number of states follows from the bound.

    Parameters
    ----------
    n_components : int, default=1
        Largest number of states.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
    startprob_prior, transmat_prior : float or array, optional
        Concentrations of Dirichlet priors, by default 1 / n_components. Larger numbers on the
        diagonal of `transmat_prior` make states sticky.
    means_prior : (n_features,) or (n_components, n_features) array, optional
        By default the mean of the rows.
    beta_prior : float or (n_components,) array, optional
        Precision of the means' prior, in rows; by default 1.
    dof_prior : float or (n_components,) array, optional
        Degrees of freedom, by default n_features.
    scale_prior : array, optional
        Inverse scales of the precisions' priors, in the shape of `covars_`; by default 1e-3 (times
        the identity).
    {decoder}
    {steps}
    {subchains}

    Attributes
    ----------
    {chain_found}
    means_, covars_ : arrays
        Posterior means, and inverse scales divided by degrees of freedom.
    startprob_posterior_, transmat_posterior_ : arrays
        Concentrations of Dirichlet posteriors, (n_components,) and (n_components, n_components).
    means_posterior_, beta_posterior_, dof_posterior_, scale_posterior_ : arrays
        Normal-Wishart posteriors of states, as the priors.
    {fit_found}
    n_rows_seen_ : int
        Rows of all calls so far.

    References
    ----------
    MacKay (1997), "Ensemble learning for hidden Markov models"; Beal (2003), "Variational
    algorithms for approximate Bayesian inference", section 3.4. Gruhl and Sick (2016),
    arXiv:1605.08618, has the Gaussian states.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import VariationalGaussianHMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [5.0], [0.0]], 50, axis=0) + rng.normal(size=(150, 1))
    >>> model = VariationalGaussianHMM(4, random_state=0).fit(X)
    >>> int(np.sum(model.beta_posterior_ > 10))  # states that have rows
    2
    """

    _letters: ClassVar = {
        "m": "means_posterior_ beta_posterior_", "c": "dof_posterior_ scale_posterior_"
    }  # fmt: skip
    _with_any_sign = ("means_posterior_", "scale_posterior_")
    means_posterior_: Array
    beta_posterior_: Array
    dof_posterior_: Array
    scale_posterior_: Array

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "full",
        startprob_prior: ArrayLike | None = None,
        transmat_prior: ArrayLike | None = None,
        means_prior: ArrayLike | None = None,
        beta_prior: ArrayLike | None = None,
        dof_prior: ArrayLike | None = None,
        scale_prior: ArrayLike | None = None,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        verbose: bool = False,
        params: str = "stmc",
        init_params: str = "stmc",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
        *,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        subchain_length: int = 1000,
        buffer: int = 50,
        buffer_tol: float | None = None,
        total_samples: float | None = None,
    ) -> None:
        self._share(locals())
        self.covariance_type = covariance_type
        self.means_prior = means_prior
        self.beta_prior = beta_prior
        self.dof_prior = dof_prior
        self.scale_prior = scale_prior

    def _states(self, n_features: int) -> Gaussian:
        return Gaussian(self.covariance_type)

    def _posterior_shapes(self, n_features: int) -> dict[str, tuple[int | None, ...]]:
        k = self.n_components
        return {
            "means_posterior_": (k, n_features), "beta_posterior_": (k,),
            "dof_posterior_": () if self.covariance_type == "tied" else (k,),
            "scale_posterior_": self._shapes(n_features)[self.covariance_type],
        }  # fmt: skip

    @property
    def _state_axes(self) -> dict[str, tuple[int, ...]]:
        kind = self.covariance_type
        axis: dict[str, tuple[int, ...]] = {"spherical": (-1,), "diag": (-2,), "full": (-3,)}
        scale, dof = axis.get(kind, ()), () if kind == "tied" else (-1,)
        return self._chain_axes | {
            "means_prior": (-2,), "beta_prior": (-1,), "dof_prior": dof, "scale_prior": scale,
            "means_posterior_": (-2,), "beta_posterior_": (-1,), "dof_posterior_": dof,
            "scale_posterior_": scale,
        }  # fmt: skip

    def _shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        k = self.n_components
        return {"spherical": (k,), "diag": (k, d), "full": (k, d, d), "tied": (d, d)}

    def _conjugate(self, rows: GaussianRows) -> VariationalGaussian:
        checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        k, d = self.n_components, len(rows.centre)
        is_tied = self.covariance_type == "tied"
        means = rows.centre if self.means_prior is None else np.asarray(self.means_prior, float)
        dof = float(d) if self.dof_prior is None else self.dof_prior
        prior = WishartParameters(
            broadcast(1.0 if self.beta_prior is None else self.beta_prior, "beta_prior", k),
            np.broadcast_to(means, (k, d)).astype(np.float64),
            broadcast(dof, "dof_prior", *(() if is_tied else (k,))),
            self._scale_prior(d),
        )
        least = d - 1 if self.covariance_type in ("full", "tied") else 0
        if np.any(prior.dof <= least):
            raise ValueError(f"dof_prior is {dof}; wanted numbers > {least}")
        return VariationalGaussian(
            self.covariance_type, prior, rows.centre, rows.factor, self.params
        )

    def _scale_prior(self, d: int) -> Array:
        shape = self._shapes(d)[self.covariance_type]
        if self.scale_prior is None:
            matrices = len(shape) > 1 and self.covariance_type != "diag"
            return np.broadcast_to(1e-3 * np.eye(d) if matrices else np.array(1e-3), shape).copy()
        found = np.asarray(self.scale_prior, np.float64)
        if found.shape != shape:
            raise ValueError(f"scale_prior has shape {found.shape}; wanted {shape}")
        return found

    def _start_posterior(
        self,
        states: VariationalGaussian,
        X: Array,
        given: dict[str, Any],
        random_state: RandomState,
    ) -> NormalWisharts:
        k, d = self.n_components, X.shape[1]
        found = {name: given.get(name) for name in " ".join(self._letters.values()).split()}
        if any(part is None for part in found.values()):
            clusters = KMeans(k, n_init=10, random_state=random_state).fit(X)
            counts = np.maximum(np.bincount(clusters.labels_, minlength=k), 1.0)
            dof = np.maximum(counts, d)  # a Wishart distribution needs more than d - 1
            covars = first_covars(X, 1e-3, self.covariance_type, k)
            total = np.asarray(counts.sum()) if self.covariance_type == "tied" else dof
            size = total.reshape(total.shape + (1,) * (covars.ndim - total.ndim))
            start = {
                "means_posterior_": clusters.cluster_centers_, "beta_posterior_": counts,
                "dof_posterior_": total, "scale_posterior_": covars * size,
            }  # fmt: skip
            found = {n: start[n] if part is None else part for n, part in found.items()}
        return states.natural(self._checked_posterior(d, found))

    def _checked_posterior(self, d: int, found: dict[str, Any]) -> WishartParameters:
        """Check what a fit begins with."""
        for name, shape in self._posterior_shapes(d).items():
            if np.shape(found[name]) != shape:
                raise ValueError(f"{name} has shape {np.shape(found[name])}; wanted {shape}")
        means, beta, dof, scale = (np.asarray(part, np.float64) for part in found.values())
        return WishartParameters(beta, means, dof, scale)

    def _take_posterior(self, states: VariationalGaussian, params: NormalWisharts) -> None:
        found = states.usual(params)
        self.beta_posterior_, self.means_posterior_ = found.beta, found.means
        self.dof_posterior_, self.scale_posterior_ = found.dof, found.scale
        self.means_ = found.means
        extra = (1,) * (found.scale.ndim - found.dof.ndim)
        self.covars_ = found.scale / found.dof.reshape(found.dof.shape + extra)
