"""Bayesian Gaussian process latent variable models as a scikit-learn transformer."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
from sklearn.gaussian_process.kernels import Kernel

from fastvi import loop
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, JsonObject, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.models.files import Saved
from fastvi.models.gp import files
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import holding_back, on_bounds, warn_of_bounds
from fastvi.models.gp.latent.bound import Inputs, LatentRegression
from fastvi.models.gp.latent.predictions import LatentPredictions
from fastvi.models.gp.latent.rows import NewRows
from fastvi.models.gp.latent.search import Amortized, Unknown
from fastvi.models.gp.latent.start import initial_kernel, principal
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.recognition import Network, fitted, network_in
from fastvi.models.gp.search import Evaluations
from fastvi.models.gp.searching import warn_of_search
from fastvi.models.gp.start import SELECTIONS, check_sizes, initial_inducing

__all__ = ["BayesianGPLVM"]

SPREAD = 0.1  # variance of q(x) at the start


class BayesianGPLVM(LatentPredictions):
    """Bayesian Gaussian process latent variable model: nonlinear PCA that finds its dimension.

    The columns of X are functions of a few latent variables, drawn from one Gaussian process, plus
    noise. Latent variables are standard normal, with q(x) a diagonal Gaussian per row, and the
    inducing values are summed out (Titsias and Lawrence 2010, "Bayesian Gaussian process latent
    variable model", eq. 13 to 16). L-BFGS maximises the bound with respect to everything at once,
    from principal components. An iteration takes O(N M^2 Q) time for N rows, M inducing inputs and
    Q latent variables. Latent variables without use end with long length scales. Columns are
    centred, and divided by the root of their mean variance. Results do not depend on `n_jobs`, to
    the bit.

    Parameters
    ----------
    n_components : int, default=2
        Number of latent variables.
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        An RBF, or a constant times an RBF, with or without WhiteKernel for the noise, in units of
        the scaled columns. The default has a length scale per latent variable, from the variances
        of the principal components.
    init : "pca" or (n_rows, n_components) array, default="pca"
        Means of q(x) at the start: principal components of variance 1, or those given.
    amortize : bool, default=False
        Let a network read q(x) off each row, instead of a q(x) of each row's own (Dai et al. 2016,
        "Variational auto-encoded deep Gaussian processes"): new rows take no search, and near rows
        have near q(x). Its weights are learned with the rest.
    encoder_units : int, default=100
        Hidden units of that network, of tanh.
    inducing_points : int or (n_inducing, n_components) array, default=50
        Number of inducing inputs, or those to start from.
    inducing_selection : {"kmeans", "greedy", "subset"}, default="kmeans"
        How they are chosen among the means at the start; see `SparseGPRegressor`.
    learn_inducing_points : bool, default=True
        Whether the inducing inputs are optimised.
    learn_kernel : bool, default=True
        Whether the kernel's hyperparameters, the noise included, are learned.
    max_iter : int, default=1000
        Largest number of iterations of L-BFGS.
    tol : float, default=1e-7
        L-BFGS ends where an iteration raises the bound by less than this share of it.
    random_state : int, RandomState, Generator or None, default=None
        For the inducing inputs.
    n_jobs : int, optional
        Threads; -1 for all cores, None for one.
    verbose : int, default=0
        Show a progress bar of iterations. The logger ``"fastvi"`` gets a line for each in any case.

    Attributes
    ----------
    embedding_ : (n_rows, n_components) array
        Posterior means of the latent variables of the rows of `fit`.
    embedding_std_ : (n_rows, n_components) array
        Their posterior standard deviations.
    relevance_ : (n_components,) array
        Inverse length scales: the latent variables with large ones matter.
    latent_variances_ : (n_components,) array
        Variances over rows of `embedding_`; near 0 for latent variables without use.
    noise_variance_ : float
        Variance of the noise, in squared units of X.
    kernel_ : Kernel
        With the hyperparameters that were learned.
    inducing_points_ : (n_inducing, n_components) array
    jitter_ : float
        What was added to the diagonal of the inducing inputs' covariance.
    elbo_ : float
        The lower bound of log p(X) in nats (of scaled columns).
    history_ : dict of str to array
        `elbo` and `seconds` after each iteration; `held_out` with `X_val`.
    n_iter_ : int
        Iterations of L-BFGS.
    converged_ : bool
        False where `max_iter`, a callback or a line search that failed ended the search.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BayesianGPLVM
    >>> rng = np.random.default_rng(0)
    >>> t = np.linspace(-2, 2, 60)
    >>> X = np.c_[t, t**2, np.sin(t)] + 0.05 * rng.standard_normal((60, 3))
    >>> model = BayesianGPLVM(1, inducing_points=15, random_state=0).fit(X)
    >>> bool(abs(np.corrcoef(model.embedding_[:, 0], t)[0, 1]) > 0.9)
    True
    """

    _shared = (
        "inducing_points", "inducing_selection", "learn_inducing_points", "learn_kernel", "kernel",
        "max_iter", "tol", "random_state", "n_jobs", "verbose",
    )  # fmt: skip
    _encoded = staticmethod(files.encoded_parameter)
    _decoded = staticmethod(files.decoded_parameter)
    inducing_points: int | ArrayLike
    inducing_selection: str
    learn_inducing_points: bool
    learn_kernel: bool
    kernel: Kernel | None
    kernel_: Any
    embedding_std_: Array

    def __init__(
        self,
        n_components: int = 2,
        *,
        kernel: Kernel | None = None,
        init: str | ArrayLike = "pca",
        amortize: bool = False,
        encoder_units: int = 100,
        inducing_points: int | ArrayLike = 50,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-7,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.init = init
        self.amortize = amortize
        self.encoder_units = encoder_units

    # Fits

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        self._refuse_passes(watching)
        X = self._array(X, dtype=np.float64, ensure_min_samples=2)
        check_sizes(X, "X")
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        self._centre = X.mean(axis=0)
        scale = float(np.sqrt(np.square(X - self._centre).mean()))
        self._scale = scale if scale > 0 else 1.0
        y = np.ascontiguousarray((X - self._centre) / self._scale)
        seed = self._seed(watching)
        q = checks.integer(self.n_components, "n_components", 1)
        with single_threaded_blas():
            mean, shares = self._first_means(y, q)
            self.kernel_, self._covariance = initial_kernel(self.kernel, shares)
            z = initial_inducing(
                self._covariance, mean, self.inducing_points, self.inducing_selection,
                np.random.default_rng(seed),
            )  # fmt: skip
            self._model = LatentRegression(self._covariance, y, self._n_threads)
            start = Inputs(self._covariance.theta, z, mean, np.full(mean.shape, np.log(SPREAD)))
            if checks.flag(self.amortize, "amortize"):
                start = start._replace(network=self._network(y, mean, seed))
            watch = self._watch_rows(watching, X, X_val, seed)
            self._learn(start, watch)
        self._warn_of_bounds()
        del self._model  # it holds the rows

    def _network(self, y: Array, mean: Array, seed: int) -> Network:
        """The network that starts near these means."""
        n = checks.integer(self.encoder_units, "encoder_units", 1)
        return fitted(y, mean, 0.5 * np.log(SPREAD), n, np.random.default_rng(seed))

    def _first_means(self, y: Array, q: int) -> tuple[Array, Array]:
        """The means at the start (n, q), and shares of the variance (q,)."""
        n = len(y)
        if isinstance(self.init, str):
            if self.init != "pca":
                raise ValueError(
                    f"init is {self.init!r}; wanted 'pca' or an array of shape ({n}, {q})"
                )
            return principal(y, q)
        mean = np.array(self.init, np.float64, order="C")
        if mean.shape != (n, q) or not np.all(np.isfinite(mean)):
            raise ValueError(
                f"init has shape {mean.shape}; wanted finite numbers of shape ({n}, {q})"
            )
        return mean, np.full(q, 1.0 / q)

    def _refuse_passes(self, watching: Watching) -> None:
        if watching.early_stopping is not None:
            raise ValueError(
                f"early_stopping is {watching.early_stopping!r}, but L-BFGS takes no passes; "
                "wanted None, or a callback"
            )

    def _watch_rows(
        self, watching: Watching, X: Array, X_val: RowsLike | None, seed: int
    ) -> loop.Watch:
        score = None
        if X_val is not None:
            rows = self._scaled(X_val)

            def score(inputs: Inputs) -> float:
                self._see(inputs)
                found = self._of_rows.infer(rows).bounds + self._log_volume(rows)
                return float(found.mean())

        def identity() -> JsonObject:
            kernel = None if self.kernel is None else files.encoded(self.kernel)
            return self._identity((X,)) | {"kernel": kernel, "seed": seed}

        return loop.Watch(
            callback=watching.callback, held_out=score, checkpoints=watching.checkpoints(identity),
            resume=watching.resume, verbose=bool(self.verbose), unit="iterations",
        )  # fmt: skip

    def _learn(self, start: Inputs, watch: loop.Watch) -> None:
        """Search from `start`, and take what was found."""
        self._model.bound(start, gradient=False)  # if this has no factor, say so
        objective = (Amortized if self.amortize else Unknown)(
            self._model, start,
            kernel=bool(self.learn_kernel), inducing=bool(self.learn_inducing_points),
        )  # fmt: skip
        watch.read = lambda state: objective.parts(state.point)
        with watch:
            evaluations = Evaluations(objective, watch)
            evaluations.begin(self.max_iter)
            best = objective.search(evaluations, self.kernel_, self.max_iter, float(self.tol))
        self.history_ = history = evaluations.columns(0)
        self.n_iter_, self.converged_ = len(history["elbo"]), best.converged
        first = self.n_iter_ - best.n_iter
        if 0 < first < self.n_iter_:  # each search counts its own seconds
            history["seconds"][first:] += history["seconds"][first - 1]
        if not (self.converged_ or evaluations.stopped):
            warn_of_search(self.n_iter_, best.failed, stacklevel=5)
        self._see(objective.parts(best.point))

    def _see(self, params: Inputs) -> None:
        found = self._model.bound(params, gradient=False)
        self.kernel_ = self.kernel_.clone_with_theta(params.theta)
        self.inducing_points_ = params.z
        self.elbo_, self.jitter_ = found.value, found.jitter
        self._take(found.posterior, params)

    def _take(self, posterior: Posterior, params: Inputs) -> None:
        """Predict with what was learned."""
        self._posterior, self._params = posterior, params
        self._of_rows = NewRows(posterior, params.theta, self._n_threads, params.network)
        self.embedding_ = params.mean
        self.embedding_std_ = np.exp(0.5 * params.log_variance)
        self.relevance_ = np.array(posterior.program.scales[0])
        self.latent_variances_ = params.mean.var(axis=0)
        self.noise_variance_ = self._covariance.noise(params.theta) * self._scale**2

    def _warn_of_bounds(self) -> None:
        """Warn if bounds of the kernel's hyperparameters hold the fit back; called by `_fit`."""
        found = on_bounds(self.kernel_) if self.learn_kernel else []
        if found:
            with single_threaded_blas():
                gradient = self._model.bound(self._params).gradient
            assert gradient is not None
            warn_of_bounds(holding_back(found, gradient.theta))

    # Files

    def _saved(self) -> dict[str, object]:
        p = self._posterior
        return {
            "kernel": json.dumps(files.encoded(self.kernel_)),
            "learned": self._params,
            "lower": p.lower, "inner": p.inner, "weights": p.weights,
            "centre": self._centre, "scale": self._scale, "jitter": float(self.jitter_),
        }  # fmt: skip

    def _restore(self, saved: Saved) -> None:
        theta, z = saved.array("learned.theta", None), saved.array("learned.z", None, None)
        m, q = z.shape
        mean = saved.array("learned.mean", None, q)
        params = Inputs(theta, z, mean, saved.array("learned.log_variance", len(mean), q))
        if self.amortize:
            network = network_in(saved, "learned.network", saved.n_features, q)
            params = params._replace(network=network)
        self.kernel_ = files.decoded(json.loads(saved.values["kernel"]), saved.path)
        self._covariance = Covariance(self.kernel_, q)
        self.inducing_points_, self.jitter_ = z, saved.values["jitter"]
        self._centre = saved.array("centre", saved.n_features)
        self._scale = checks.number(saved.values["scale"], "scale", 0.0, open_low=True)
        program = self._covariance.program(theta)
        posterior = Posterior(
            self._covariance, program, z, self._covariance.scaled(program, z),
            saved.array("lower", m, m), saved.array("inner", m, m),
            saved.array("weights", m, saved.n_features),
        )  # fmt: skip
        self._take(posterior, params)
