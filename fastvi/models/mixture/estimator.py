"""Bayesian Gaussian mixtures as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ArrayLike, DTypeLike, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.cluster.active import lies_elsewhere
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.files import Saved
from fastvi.models.fits import Fit
from fastvi.models.mixture import files
from fastvi.models.mixture.model import Mixture, Parameters, RowsInMemory
from fastvi.models.mixture.predictions import MixturePredictions
from fastvi.models.mixture.priors import data_frame, make_prior
from fastvi.models.mixture.rows import COVARIANCE_TYPES
from fastvi.models.mixture.start import check_form, continued, first_parameters

__all__ = ["BayesianGaussianMixture"]


class _Run(NamedTuple):
    """One fit from one start: its result, its bound, and the labels of the rows."""

    fit: Fit
    bound: float
    labels: NDArray[np.int64]


class BayesianGaussianMixture(MixturePredictions):
    """A mixture of Gaussians with a posterior over weights, means and precisions.

    A drop-in replacement for scikit-learn's class of this name: it has the same starts and updates,
    hence the same parameters after the same number of iterations, and adds mini-batches. (One start
    differs: with tied covariances and rows chosen as means, theirs depends on the origin.)

    It maximises the variational bound by closed-form updates (Bishop 2006, section 10.2; Blei and
    Jordan 2006 for the Dirichlet process). Each component has a Normal-Wishart prior; types other
    than ``"full"`` restrict the posterior, to Wishart scales that are diagonal, spherical or common
    to all components. Results have the same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=1
        Number of components; those that the data do not need keep weights near 0.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        Form of the covariances.
    tol : float, default=1e-3
        Without `batch_size` the fit ends when the bound changes by less than this in a pass, in
        nats (or by less than its rounding error).
    reg_covar : float, default=1e-6
        Added to the diagonal of covariances, through x x' of each row in the updates of components.
        With 0 the bound never falls, except by rounding, about 1e-6 of it in float32; otherwise it
        may fall by an amount of this order.
    max_iter : int, default=100
        Largest number of passes over the rows.
    n_init : int, default=1
        Number of starts; the fit with the largest bound is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        The first responsibilities: clusters of k-means; rows chosen by k-means++ or at random, one
        per component; or random numbers.
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}
        The prior of weights: sticks Beta(1, gamma) of a Dirichlet process, the default, or a
        symmetric Dirichlet.
    weight_concentration_prior : float, optional
        gamma, or the Dirichlet's parameter; 1 / n_components by default.
    mean_precision_prior : float, default=1.0
        Number of rows that the prior of means counts as.
    mean_prior : (n_features,) array, optional
        Prior of means; the mean of X by default.
    degrees_of_freedom_prior : float, optional
        Degrees of freedom of the Wishart, above n_features - 1; n_features by default.
    covariance_prior : float or array, optional
        Inverse scale of the Wishart: (n_features, n_features) for full and tied, (n_features,)
        for diagonal covariances, a number for spherical ones. The covariance of X by default, with
        `reg_covar` on its diagonal if it is singular (scikit-learn's prior is improper then).
    random_state : int, RandomState or None, default=None
        Seed of starts, of mini-batches and of `sample`.
    {warm_start}
    {verbose}
    verbose_interval : int, default=10
        Ignored; scikit-learn's class has it.
    {toolbox}
    {n_jobs}

    Attributes
    ----------
    weights_ : (n_components,) array
        Posterior means of the weights, scaled to a sum of 1.
    means_ : (n_components, n_features) array
        Posterior means of the components' means.
    covariances_, precisions_, precisions_cholesky_
        Inverse scale divided by degrees of freedom, its inverse P, and an upper triangular U with U
        U' = P; (n_components, n_features, n_features) if full, (n_features, n_features) if tied,
        (n_components, n_features) if diagonal, (n_components,) if spherical.
    weight_concentration_ : array, or tuple of two
        The Dirichlet's parameters, or the two of each Beta, (n_components,) each.
    mean_precision_, degrees_of_freedom_ : (n_components,) array
        Parameters of the Normal-Wisharts; the latter is one number if tied.
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_, \
covariance_prior_
        The priors in use.
    elbo_, lower_bound_ : float
        The evidence lower bound at these parameters, in nats: log p(X) minus a Kullback-Leibler
        divergence. scikit-learn's bound omits constants and belongs to the responsibilities before
        the last update, so a fit here may end a pass earlier or later.
    lower_bounds_ : list of float
        The bound at the parameters before each pass; empty with mini-batches.
    {reported}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BayesianGaussianMixture
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [4, 2], [12, 4], [10, 7]])
    >>> model = BayesianGaussianMixture(n_components=2, random_state=42).fit(X)
    >>> model.means_.round(1).tolist()
    [[2.5, 2.3], [8.5, 4.5]]
    >>> model.predict([[0, 0], [9, 3]]).tolist()
    [0, 1]
    """

    _over_shards = True

    _least_iter = 0

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: ArrayLike | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.verbose_interval = verbose_interval

    def fit_predict(
        self, X: RowsLike, y: object = None, *, X_val: RowsLike | None = None, **watching: Any
    ) -> NDArray[np.int64]:
        """Fit the posterior, and return the most likely component of each row, (n_rows,).

        Parameters
        ----------
        X, y, X_val, early_stopping, callback, checkpoint, checkpoint_interval, resume
            As in `fit`.
        """
        labels: NDArray[np.int64] = self._become(Watching(**watching), X, X_val)
        return labels

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> NDArray[np.int64]:
        X = self._array(X, ensure_min_samples=2)
        k = checks.integer(self.n_components, "n_components", 1)
        checks.integer(self.verbose_interval, "verbose_interval", 1)
        if len(X) < k:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {k}, "
                f"n_samples = {len(X)}"
            )
        model = self._make_model(X, k, last._model if last is not None else None)
        held_out = None if X_val is None else self._held_out(model, X_val)
        rng = self._random()
        n_init = 1 if last is not None else checks.integer(self.n_init, "n_init", 1)
        if n_init > 1 and watching.checkpoint is not None:
            raise ValueError(f"checkpoint is given with n_init={n_init}; wanted n_init=1")
        runs = []
        with single_threaded_blas():
            for _ in range(n_init):
                if last is None:
                    start = first_parameters(model, X, self.init_params, rng)
                else:
                    start = continued(last._params, last._model, model)
                runs.append(self._run(model, X, start, rng, held_out, watching, last))
        best = max(runs, key=lambda run: run.bound)
        self._report(best.fit)
        self.elbo_ = self.lower_bound_ = best.bound
        self.lower_bounds_ = list(self.history_.get("elbo", ()))
        self._take(model, best.fit.params)
        if self.max_iter > 0:
            self._warn_unless_converged(best.fit, "nats")
        return best.labels

    def _make_model(self, X: AnyArray, k: int, last: Mixture | None) -> Mixture:
        kind = checks.choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        reg_covar = checks.number(self.reg_covar, "reg_covar", 0.0)
        if last is not None:
            check_form(last, k, kind, X.shape[1])
        checks.rows_to_fit(X, *(last.frame if last is not None else ()))
        frame = data_frame(X, spherical=kind == "spherical") if last is None else last.frame
        prior = make_prior(
            X, kind, k, frame, reg_covar,
            weights=self.weight_concentration_prior_type,
            concentration=self.weight_concentration_prior,
            mean_precision=self.mean_precision_prior,
            mean=self.mean_prior,
            dof=self.degrees_of_freedom_prior,
            scatter=self.covariance_prior,
        )  # fmt: skip
        return Mixture(
            prior, frame, k, kind,
            reg_covar=reg_covar, dtype=X.dtype, n_threads=self._n_threads,
        )  # fmt: skip

    def _held_out(self, model: Mixture, X_val: RowsLike) -> Callable[[Parameters], float]:
        rows = self._as_rows(X_val, model)

        def score(params: Parameters) -> float:
            out = np.empty(len(rows), rows.dtype)
            model.predict(params, rows, log_norm=out)
            return float(out.mean(dtype=np.float64))

        return score

    def _run(
        self,
        model: Mixture,
        X: AnyArray,
        params: Parameters,
        rng: np.random.RandomState,
        held_out: Callable[[Parameters], float] | None,
        watching: Watching,
        last: Self | None,
    ) -> _Run:
        tol = checks.number(self.tol, "tol", 0.0)
        rounding = 4 * float(np.finfo(X.dtype).eps) * X.shape[1] * np.sqrt(len(X))
        fit = self._ascend(
            model,
            RowsInMemory(X, model.frame),
            params,
            watching,
            data=(X,),
            held_out=held_out,
            tol=max(tol, rounding) if tol > 0 else 0.0,
            seed=0 if self.batch_size is None else self._seed(watching, rng),
            last=last,
        )
        labels, densities = np.empty(len(X), np.int64), np.empty(len(X), X.dtype)
        model.predict(fit.params, X, labels=labels, log_norm=densities)
        bound = float(densities.sum(dtype=np.float64)) + model.global_bound(fit.params)
        if lies_elsewhere() and "elbo" in fit.history:
            bound = float(fit.history["elbo"][-1])
        return _Run(fit, bound, labels)

    def _take(self, model: Mixture, params: Parameters) -> None:
        """Keep the posterior, in scikit-learn's attributes and as parameters."""
        self._model, self._params, dtype = model, params, model.dtype
        posterior, frame, hyper = model.posterior(params), model.frame, model.hyper
        self.weight_concentration_prior_ = hyper.concentration
        self.mean_precision_prior_ = hyper.mean_precision
        self.mean_prior_ = hyper.mean
        self.degrees_of_freedom_prior_ = hyper.dof
        self.covariance_prior_ = hyper.scatter
        weights = model.weights(params.counts)
        self.weights_ = (weights / weights.sum()).astype(dtype)
        if hyper.process:
            a, b = model.sticks(params.counts)
            self.weight_concentration_: Any = (a.astype(dtype), b.astype(dtype))
        else:
            self.weight_concentration_ = (hyper.concentration + params.counts).astype(dtype)
        self.mean_precision_ = posterior.kappa.astype(dtype)
        self.means_ = (frame.centre + frame.scale * posterior.means).astype(dtype)
        dof = posterior.dof[0] if model.tied else posterior.dof
        self.degrees_of_freedom_ = dof.astype(dtype)
        covariances, precisions, roots = model.covariances(posterior)
        self.covariances_ = _rounded(covariances, "covariances", dtype)
        self.precisions_ = _rounded(precisions, "precisions", dtype)
        self.precisions_cholesky_ = _rounded(roots, "roots of the precisions", dtype)

    def _saved(self) -> dict[str, object]:
        return files.saved(self._model, self._params) | {"lower_bound": self.lower_bound_}

    def _for_library(self) -> dict[str, Array]:
        coefficients = self._model.coefficients(self._model.posterior(self._params))
        return coefficients._asdict()

    def _restore(self, saved: Saved) -> None:
        model, params = files.restored(saved, self._n_threads)
        self.lower_bound_ = checks.number(saved.values["lower_bound"], "lower_bound", -np.inf)
        self.lower_bounds_ = list(self.history_.get("elbo", ()))
        self._take(model, params)


def _rounded(values: Any, name: str, dtype: DTypeLike) -> Any:
    """The values in the type of X, or a refusal if it does not reach so far."""
    largest, limit = float(np.abs(values).max()), float(np.finfo(dtype).max)
    if not largest <= limit:
        wider = "" if dtype == np.float64 else "as float64, or "
        raise ValueError(
            f"X is {np.dtype(dtype).name} in units in which {name} of components are up to "
            f"{largest:.1e}, above its largest number {limit:.1e}; wanted X {wider}in other units"
        )
    return values.astype(dtype)
