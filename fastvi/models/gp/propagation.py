"""Sparse Gaussian processes by power expectation propagation, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.models.files import Saved
from fastvi.models.gp.collapsed import Collapsed, Learned
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt
from fastvi.models.gp.likelihood import Values
from fastvi.models.gp.power import PowerPropagation
from fastvi.models.gp.predictor import Predictive, TargetPredictor
from fastvi.models.gp.sitewise import Sitewise, of_name
from fastvi.models.gp.start import check_sizes, default_kernel, initial_inducing
from fastvi.models.gp.stream import absorbed, begun

__all__ = ["SparseEP"]

LEVELS = ("bernoulli-probit", "bernoulli-logit", "ordinal")


def _has_levels(model: SparseEP) -> bool:
    return model.likelihood in LEVELS


class SparseEP(RegressorMixin, Collapsed):
    """Sparse Gaussian process with a likelihood of choice, by power expectation propagation.

    Bui, Yan and Turner (2017): `power` 1 is expectation propagation (FITC for Gaussian noise), and
    towards 0 it is the variational bound that `SVGP` maximises. L-BFGS maximises the evidence over
    the kernel's hyperparameters, the likelihood's and the inducing inputs. A sweep over N rows with
    M inducing inputs takes 3 N M^2 flops, and N M numbers are held. `partial_fit` takes each row
    once (assumed-density filtering).

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`; with white noise for ``"gaussian"``, and for ``"student-t"``,
        whose squared scale it is.
    likelihood : {"gaussian", "student-t", "poisson", "bernoulli-probit", "bernoulli-logit", \
"ordinal"}, default="gaussian"
        Of targets: numbers, numbers with outliers, counts of mean exp(f), 0 and 1, or levels 0, 1,
        ... between cut points, which are learned.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    power : float, default=1.0
        In (0, 1]. For regression Bui et al. found 0.5 best on average; small powers have more
        careful evidences, large ones better probabilities.
    inducing_points, inducing_selection, learn_inducing_points
        As in `SparseGPRegressor`.
    learn_kernel : bool, default=True
        Whether the hyperparameters are learned, those of the likelihood included.
    optimizer, n_restarts_optimizer, max_iter, tol
        As in `SparseGPRegressor`.
    random_state : int, RandomState, Generator or None, default=None
        For the inducing inputs and restarts.
    n_jobs : int, optional
        Threads of predictions; -1 for all cores, None for one.
    verbose : int, default=0
        Show a progress bar of iterations. The logger ``"fastvi"`` gets a line for each in any case.

    Attributes
    ----------
    {learned}
    cuts_ : (n_levels - 1,) array
        The cut points of ``"ordinal"``.
    elbo_ : float
        The approximate log evidence in nats, a bound only as `power` goes to 0; after
        `partial_fit`, the sum of the rows' log probabilities given those before them.
    log_marginal_likelihood_value_ : float
        The same, by scikit-learn's name.
    history_ : dict of str to array
        `elbo` and `seconds` after each iteration of the best start; `held_out` with `X_val`.
    n_iter_ : int
        Iterations of L-BFGS from the best start.
    converged_ : bool
        False where `max_iter`, a callback or a line search that failed ended the search, or where
        the sites had not settled after 200 sweeps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SparseEP
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(0, 6, 200)[:, None]
    >>> y = rng.poisson(np.exp(1 + np.sin(X[:, 0])))
    >>> model = SparseEP(likelihood="poisson", inducing_points=8, random_state=0).fit(X, y)
    >>> low, high = model.predict([[4.7], [1.6]])
    >>> bool(low < 2 < 5 < high)
    True
    """

    alpha = None
    normalize_y = False
    prior_scale = None

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        likelihood: str = "gaussian",
        df: float = 4.0,
        power: float = 1.0,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        max_iter: int = 1000,
        tol: float = 1e-7,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.likelihood = likelihood
        self.df = df
        self.power = power
        self.n_restarts_optimizer = n_restarts_optimizer

    # Hooks of the fit

    _sites: Sitewise  # of the fit

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._sites = of_name(self.likelihood, self.df)
        checks.number(self.power, "power", 0.0, 1.0, open_low=True)

    def _normalised(self, y: Array, weights: Array | None) -> Array:
        if y.size != len(y):
            raise ValueError(f"y has shape {y.shape}; wanted one target per row")
        targets = column_or_1d(y, warn=True)
        self._sites.likelihood.check(targets)
        self._flat, self._y_mean, self._y_scale = True, np.zeros(1), np.ones(1)
        return np.ascontiguousarray(targets)

    def _initial_kernel(self, X: Array, targets: Array, weights: Array | None) -> Kernel:
        if self._sites.likelihood.is_noisy:
            return super()._initial_kernel(X, targets, weights)
        kernel = default_kernel(X, 1.0, weights) if self.kernel is None else clone(self.kernel)
        if Covariance(kernel, X.shape[1]).white:
            raise ValueError(
                f"kernel is {kernel}, but this likelihood has no noise; "
                "wanted a kernel without WhiteKernel"
            )
        return kernel

    def _check_noise(self) -> None:
        if self._sites.likelihood.is_noisy:
            super()._check_noise()

    def _model_of(self, X: Array, targets: Array, counts: Array | None) -> PowerPropagation:
        self._start_of_own = self._sites.start(targets)
        return PowerPropagation(
            self._covariance, self._sites, X, targets, counts, float(self.power)
        )

    def _start(self) -> Array:
        return np.concatenate((super()._start(), self._start_of_own))

    def _see(self, params: Learned) -> None:
        n = len(self._covariance.theta)
        theta, self._own = params.theta[:n], params.theta[n:]
        found = self._model.bound(params.theta, params.z, gradient=False, afresh=True)
        self._posterior, self._theta = found.posterior, theta
        self.kernel_ = self.kernel_.clone_with_theta(theta)
        self.inducing_points_, self.jitter_ = params.z, found.jitter
        self.elbo_ = float(found.value)
        self.converged_ = self.converged_ and bool(found.converged)
        self._show()

    def _show(self) -> None:
        """Set the attributes that follow from the likelihood's parameters."""
        if len(self._own):
            self.cuts_ = np.cumsum(np.concatenate((self._own[:1], np.exp(self._own[1:]))))

    def _bound_at(self) -> BoundAt | None:
        model = getattr(self, "_model", None)
        if model is None:
            return None

        def bound_at(theta: Array, gradient: bool) -> tuple[float, Array | None]:
            whole = np.concatenate((theta, self._own))
            found = model.bound(whole, self.inducing_points_, gradient=gradient, afresh=True)
            slope = found.by_theta
            return found.value, None if slope is None else slope[: len(theta)]

        return bound_at

    # Streams

    def partial_fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Take these rows once, one after another; the order matters, and the kernel stays.

        The first call, if there was no `fit`, chooses the inducing inputs among its rows.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array

        Returns
        -------
        self
        """
        self._advance(X, y)
        return self

    def _partial_fit(self, X: RowsLike, y: ArrayLike) -> None:
        first = not hasattr(self, "_posterior")
        if not first:
            self._refuse_changes(("likelihood", "df", "power"))
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True, reset=first)
        check_sizes(X, "X")
        targets = np.asarray(y, np.float64)
        with single_threaded_blas():
            if first:
                self._check_parameters()
                self._begin(X, targets)
            self._sites.likelihood.check(targets)
            noise = self._covariance.noise(self._theta)
            site = self._sites.site(noise, self._own)
            site.check(targets)
            self._posterior, gained = absorbed(self._posterior, X, targets, site)
        self.elbo_ = gained if first else self.elbo_ + gained
        self._model = None

    def _begin(self, X: Array, y: Array) -> None:
        """The prior, at the kernel's hyperparameters."""
        targets = self._normalised(y, None)
        self.kernel_ = self._initial_kernel(X, targets, None)
        self._covariance = Covariance(self.kernel_, X.shape[1])
        self._check_noise()
        self._theta, self._own = self._covariance.theta, self._sites.start(targets)
        rng = np.random.default_rng(checks.seed_of(self._random()))
        z = initial_inducing(
            self._covariance, X, self.inducing_points, self.inducing_selection, rng
        )
        self._posterior, self.jitter_ = begun(self._covariance, self._theta, z)
        self.inducing_points_ = z
        self.history_, self.n_iter_, self.converged_ = {}, 0, True
        self._show()

    # Predictions

    @property
    def _predictive(self) -> Predictive:
        values = Values(self._covariance.noise(self._theta), self._own)
        return Predictive([self._posterior], self._sites.likelihood, values)

    def _latents(self, X: RowsLike) -> tuple[Array, Array]:
        check_is_fitted(self, "_posterior")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        with single_threaded_blas():
            return self._predictive.latents(X, self._n_threads)

    def predict(self, X: RowsLike, return_std: bool = False) -> Any:
        """Mean of the targets, and their standard deviation, noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std : bool

        Returns
        -------
        mean : (n_rows,) array
        std : (n_rows,) array
            With `return_std`.
        """
        latents = self._latents(X)
        mean, variance = self._predictive.targets(*latents)
        return (mean, np.sqrt(variance)) if return_std else mean

    @available_if(_has_levels)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: RowsLike) -> Array:
        """Probabilities of 0 and 1, or of levels, (n_rows, n_levels); for their likelihoods.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        latents = self._latents(X)
        _, likelihood, values, *_ = self._predictive
        return likelihood.probabilities(*latents, values)

    def latent_mean_and_variance(self, X: RowsLike) -> tuple[Array, Array]:
        """Posterior mean and variance of the latent function, before noise and link.

        Parameters
        ----------
        X : (n_rows, n_features) array

        Returns
        -------
        mean, variance : (n_rows,) arrays
        """
        mean, variance = self._latents(X)
        return mean[:, 0], variance[:, 0]

    def compiled(self) -> TargetPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self, "_posterior")
        with single_threaded_blas():
            return TargetPredictor(self._predictive)

    # Files

    def _saved(self) -> dict[str, object]:
        return {**super()._saved(), "own": self._own}

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        del self.condition_
        self._sites = of_name(self.likelihood, self.df)
        self._own = saved.array("own", None)
        self._show()
