"""Gaussian process classification with all rows as a scikit-learn estimator."""

from __future__ import annotations

import json
import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import CompoundKernel, Kernel
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.loop import Watch
from fastvi.models.files import Saved
from fastvi.models.gp import files
from fastvi.models.gp.approximation import Approximation
from fastvi.models.gp.dense import covariances_of
from fastvi.models.gp.estimator import WORTH, OfKernel, on_bounds
from fastvi.models.gp.evidence import SOLVERS, Evidence, of_classes, of_two
from fastvi.models.gp.likelihood import Values
from fastvi.models.gp.likelihoods import LINKS, Bernoulli, softmax_probabilities
from fastvi.models.gp.predictor import DensePredictor
from fastvi.models.gp.search import Evaluations, Found, search
from fastvi.models.gp.searching import LBFGS
from fastvi.models.gp.start import check_sizes, default_kernel
from fastvi.models.weights import of_rows

__all__ = ["GaussianProcessClassifier"]

MULTI_CLASS = ("one_vs_rest", "softmax")
CHUNK_ROWS = 512  # of predictions


class Latents(NamedTuple):
    """One search: what it looked at, and the approximation at its end."""

    evidence: Evidence
    theta: Array
    found: Approximation


class GaussianProcessClassifier(ClassifierMixin, OfKernel):
    """Gaussian process classification by expectation propagation or Laplace's approximation.

    In the shape of scikit-learn's GaussianProcessClassifier, which has Laplace's approximation
    only. Expectation propagation matches the moments of each row's likelihood times everything
    else: its evidence and its probabilities are closer to those of long Monte Carlo runs (Kuss and
    Rasmussen 2005, "Assessing approximate inference for binary Gaussian process classification"),
    at the cost of about two Laplace fits. Takes O(N^3) time and O(N^2) memory for N rows: see
    `SparseGPClassifier` for many.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        The covariance function of the latent function. The default is a constant times an RBF with
        a length scale per column, starting at scales of the data; both are learned. The kernels
        of `SparseGPRegressor` are compiled; others are called, and may take rows that are not
        arrays.
    solver : {"ep", "laplace"}, default="ep"
    link : {"probit", "logit"}, default="probit"
        Probability of a class given the latent function, with two classes or one versus the rest:
        the normal distribution function, or the logistic function as in scikit-learn.
    optimizer : "fmin_l_bfgs_b", callable or None, default="fmin_l_bfgs_b"
        What maximises the evidence over the kernel's hyperparameters: L-BFGS, or
        ``optimizer(obj_func, initial_theta, bounds) -> (theta_opt, func_min)``. None keeps the
        kernel as it is, as in scikit-learn.
    n_restarts_optimizer : int, default=0
        Number of further starts, drawn log-uniformly from the kernel's bounds.
    max_iter_predict : int, default=100
        Largest number of sweeps or Newton steps per approximation.
    multi_class : {"one_vs_rest", "softmax"}, default="one_vs_rest"
        With more than two classes: one classifier per class, each with a kernel of its own, or
        latent functions that share a kernel, one per class, and softmax, which takes
        ``solver="laplace"``.
    max_iter : int, default=1000
        Largest number of iterations of L-BFGS per search.
    tol : float, default=1e-9
        L-BFGS ends where an iteration raises the evidence by less than this share of it.
    random_state : int, RandomState, Generator or None, default=None
        For the restarts.
    n_jobs : int, optional
        Accepted for scikit-learn's sake; one core is used.
    verbose : int, default=0
        Show a progress bar of iterations. The logger ``"fastvi"`` gets a line for each in any case.

    Attributes
    ----------
    classes_ : (n_classes,) array
    kernel_ : Kernel
        With the hyperparameters that were learned; a CompoundKernel of one per class for more than
        two classes, one versus the rest.
    log_marginal_likelihood_value_ : float
        The approximate log evidence log p(y | X) in nats; the mean over the classifiers of one
        versus the rest, as in scikit-learn. Neither solver's is a bound.
    elbo_ : float
        The same.
    history_ : dict of str to array
        `elbo` (the log evidence) and `seconds` after each iteration of the best start, and `class`,
        the number of the class whose classifier was fitted; `held_out` with `X_val`.
    n_iter_ : int
        Iterations of L-BFGS from the best starts.
    converged_ : bool
        False where `max_iter`, a callback or a line search that failed ended a search, or
        `max_iter_predict` the last approximation.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import GaussianProcessClassifier
    >>> X = np.linspace(-2, 2, 40)[:, None]
    >>> model = GaussianProcessClassifier().fit(X, np.abs(X[:, 0]) > 1)
    >>> model.predict([[0.0], [1.8]])
    array([False,  True])
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        solver: str = "ep",
        link: str = "probit",
        optimizer: Any = LBFGS,
        n_restarts_optimizer: int = 0,
        max_iter_predict: int = 100,
        multi_class: str = "one_vs_rest",
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.kernel = kernel
        self.solver = solver
        self.link = link
        self.n_restarts_optimizer = n_restarts_optimizer
        self.max_iter_predict = max_iter_predict
        self.multi_class = multi_class

    # Fits

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        y: ArrayLike,
        X_val: RowsLike | None,
        y_val: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        self._refuse_passes(watching)
        self._check_parameters()
        X, labels = self._checked(X, y)
        weights = of_rows(sample_weight, X)
        if not np.all(weights > 0):
            X, labels, weights = (part[weights > 0] for part in (X, labels, weights))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
            )
        kernel = default_kernel(X, 1.0, weights) if self.kernel is None else clone(self.kernel)
        seed = self._seed(watching)
        self._prepare(kernel, X, codes, weights)
        held_out = X_val, y_val
        watch = self._watch(watching, self._data, seed, held_out, unit="iterations")
        with single_threaded_blas():
            self._see(self._optimize(watch, kernel, seed))
            self._warn_of_bounds()

    def _check_parameters(self) -> None:
        checks.choice(self.solver, "solver", SOLVERS)
        checks.choice(self.link, "link", LINKS)
        checks.choice(self.multi_class, "multi_class", MULTI_CLASS)
        checks.integer(self.n_restarts_optimizer, "n_restarts_optimizer", 0)
        checks.integer(self.max_iter_predict, "max_iter_predict", 1)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        if isinstance(self.kernel, CompoundKernel):
            raise ValueError("kernel cannot be a CompoundKernel")
        if self.optimizer not in (LBFGS, None) and not callable(self.optimizer):
            raise ValueError(
                f"optimizer is {self.optimizer!r}; wanted {LBFGS!r}, a callable or None"
            )

    @property
    def _takes_vectors(self) -> bool:
        return self.kernel is None or bool(self.kernel.requires_vector_input)

    def _checked(self, X: RowsLike, y: ArrayLike) -> tuple[Any, AnyArray]:
        if self._takes_vectors:
            X, labels = self._array(X, y, dtype=np.float64, order="C")
            check_sizes(X, "X")
        else:
            X, labels = validate_data(self, X, y, ensure_2d=False, dtype=None)
        check_classification_targets(labels)
        return X, labels

    _data: tuple[Any, ...]  # rows, numbers of their classes, and how many rows each counts as

    def _prepare(self, kernel: Kernel, X: Any, codes: AnyArray, weights: Array) -> None:
        """Set what the searches look at, one for each classifier."""
        self._link = Bernoulli(self.link)
        rows, n = covariances_of(kernel, X), len(self.classes_)
        self._data, self._is_joint = (X, codes, weights), n > 2 and self.multi_class == "softmax"
        if self._is_joint:
            if self.solver != "laplace":
                raise ValueError(
                    f"solver is {self.solver!r} with multi_class='softmax'; wanted 'laplace', or "
                    "multi_class='one_vs_rest'"
                )
            solvers = [of_classes(codes, n, weights, self.max_iter_predict)]
        else:
            solvers = [
                of_two(self.solver, self.link, codes == c, weights, self.max_iter_predict)
                for c in (range(n) if n > 2 else (1,))
            ]
        self._evidences = [Evidence(rows, solver, kernel.theta) for solver in solvers]
        self._kernel = kernel

    def _optimize(self, watch: Watch, kernel: Kernel, seed: int) -> Array:
        """The hyperparameters (n_searches, P) at which the evidences are highest."""
        thetas = np.stack([evidence.start for evidence in self._evidences])
        self.history_ = {name: np.zeros(0) for name in ("elbo", "seconds", "class")}
        self.n_iter_, self.converged_ = 0, True
        if self.optimizer is None or not thetas.shape[1]:
            return thetas
        rng, bounds = np.random.default_rng(seed), kernel.bounds.reshape(-1, 2)
        starts = [kernel.theta, *self._restarts(bounds, rng)]
        for evidence in self._evidences:
            evidence.at(kernel.theta)  # if this has no factor, say so
        histories = []
        with watch:
            evaluations = Evaluations(self._evidences[0], watch)
            watch.read = lambda state: np.concatenate(
                (thetas[:c], state.point[None], thetas[c + 1 :])
            )
            c = 0
            evaluations.begin(self.max_iter * len(starts) * len(thetas))
            for c, evidence in enumerate(self._evidences):
                evaluations.objective = evidence
                best = self._searched(evaluations, starts, bounds)
                thetas[c] = best.point
                length = len(best.history["elbo"])
                histories.append(best.history | {"class": np.full(length, float(c))})
                self.n_iter_ += best.n_iter
                self.converged_ &= best.converged
                if evaluations.stopped:
                    break
        names = dict.fromkeys(name for history in histories for name in history)
        self.history_ = {
            name: np.concatenate([h.get(name, np.full(len(h["elbo"]), np.nan)) for h in histories])
            for name in names
        }
        if not (self.converged_ or evaluations.stopped):
            warnings.warn(
                f"L-BFGS stopped after {self.n_iter_} iterations: tol was not reached; raise "
                "max_iter or tol",
                ConvergenceWarning,
                stacklevel=5,
            )
        return thetas

    def _searched(self, evaluations: Evaluations, starts: list[Array], bounds: Array) -> Found:
        results = []
        for start in starts:
            args = bounds, self.optimizer, self.max_iter, self.tol
            results.append(search(evaluations, start, *args))
            if evaluations.stopped:
                break
        return min(results, key=lambda result: result.value)

    def _restarts(self, bounds: Array, rng: np.random.Generator) -> list[Array]:
        if self.n_restarts_optimizer and not np.all(np.isfinite(bounds)):
            raise ValueError(
                "n_restarts_optimizer draws from the kernel's bounds, which are not all "
                "finite; wanted finite bounds, or 0"
            )
        n = self.n_restarts_optimizer
        return list(rng.uniform(bounds[:, 0], bounds[:, 1], (n, len(bounds)))) if n else []

    def _see(self, params: Array) -> None:
        """Predict with these hyperparameters (n_searches, P) from now on."""
        self._predict_from(
            [Latents(e, theta, e.fine(theta)) for e, theta in zip(self._evidences, params)]
        )

    def _predict_from(self, fits: list[Latents]) -> None:
        self._fits = fits
        kernels = [self._kernel.clone_with_theta(fit.theta) for fit in fits]
        self.kernel_ = kernels[0] if len(kernels) == 1 else CompoundKernel(kernels)
        self.elbo_ = float(np.mean([fit.found.value for fit in fits]))
        if not all(fit.found.converged for fit in fits):
            self.converged_ = False

    def _warn_of_bounds(self) -> None:
        """Warn if bounds of the kernel's hyperparameters hold the fit back."""
        if self.optimizer is None:
            return
        texts = []
        for evidence, theta, _ in self._fits:
            found = on_bounds(self._kernel.clone_with_theta(theta))
            if found:
                gradient = evidence.gradient(theta, evidence.at(theta, slope=True))
                texts += [o.text for o in found if o.outwards * gradient[o.number] > WORTH]
        if texts:
            warnings.warn(
                f"the fit ended with {texts}; a kernel with wider bounds may fit better",
                ConvergenceWarning,
                stacklevel=5,
            )

    # Evidence

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The approximate log evidence in nats, on the rows of `fit`: `elbo_`."""
        return self.elbo_

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The approximate log evidence in nats, on the rows of `fit`.

        Parameters
        ----------
        theta : (n_hyperparameters,) array, optional
            Logarithms of the kernel's hyperparameters; by default those of the fit. With several
            classifiers either one kernel's, for all, or those of `kernel_`; the value is the mean.
        eval_gradient : bool
            Return the gradient by `theta` as well.
        clone_kernel : bool
            If False, `kernel_` takes these hyperparameters; predictions stay as they are.

        Returns
        -------
        float, or (float, (n_hyperparameters,) array)

        Raises
        ------
        ValueError
            If the gradient is asked for without `theta`.
        numpy.linalg.LinAlgError
            If a matrix has no Cholesky factor at `theta`.
        """
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            return self.elbo_
        theta, p = np.array(theta, np.float64), len(self._fits[0].theta)
        n = len(self._fits)
        if theta.shape not in ((p,), (n * p,)) or not np.all(np.isfinite(theta)):
            raise ValueError(
                f"theta has shape {theta.shape}; wanted {p} finite numbers"
                + (f", or {n * p}" if n > 1 else "")
            )
        each = np.broadcast_to(theta.reshape(-1, p) if p else theta, (n, p))
        if not clone_kernel:
            self.kernel_.theta = each.ravel()
        with single_threaded_blas():
            found = [f.evidence.at(t, slope=eval_gradient) for f, t in zip(self._fits, each)]
            value = np.mean([each.value for each in found])  # a NumPy number, as scikit-learn's
            if not eval_gradient:
                return value
            slopes = np.stack(
                [f.evidence.gradient(t, a) for f, t, a in zip(self._fits, each, found)]
            )
        return value, (slopes.mean(axis=0) if len(theta) == p else slopes.ravel() / n)

    # Predictions

    def latent_mean_and_variance(self, X: RowsLike) -> tuple[Array, Array]:
        """Posterior mean and variance of the latent function.

        Parameters
        ----------
        X : (n_rows, n_features) array

        Returns
        -------
        mean, variance : (n_rows,) arrays
            With more than two classes (n_rows, n_classes), for one function per class.
        """
        parts = self._latents(self._new(X))
        mean = np.concatenate([m for m, _ in parts], axis=1)
        diagonal = [np.diagonal(c, axis1=1, axis2=2) for _, c in parts]
        variance = np.concatenate(diagonal, axis=1)
        return (mean[:, 0], variance[:, 0]) if mean.shape[1] == 1 else (mean, variance)

    def _new(self, X: RowsLike) -> Any:
        check_is_fitted(self, "_fits")
        if not self._takes_vectors:
            return validate_data(self, X, ensure_2d=False, dtype=None, reset=False)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        return X

    def _latents(self, X: Any) -> list[tuple[Array, Array]]:
        """Means (n, T) and covariances (n, T, T) of the latents of each search."""
        parts = []
        with single_threaded_blas():
            for evidence, theta, found in self._fits:
                chunks = []
                for first in range(0, len(X), CHUNK_ROWS):
                    x = X[first : first + CHUNK_ROWS]
                    k = evidence.rows.crossed(theta, x)
                    chunks.append(found.latents(k, evidence.rows.diagonal(theta, x)))
                means, covariances = zip(*chunks)
                parts.append((np.concatenate(means), np.concatenate(covariances)))
        return parts

    def predict_proba(self, X: RowsLike) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        return self._probabilities(self._new(X))

    def _probabilities(self, X: Any) -> Array:
        parts = self._latents(X)
        if self._is_joint:
            return softmax_probabilities(*parts[0])
        positive: Array = np.column_stack(
            [self._link.predict(m, c[:, 0], Values())[0] for m, c in parts]
        )
        if len(parts) == 1:
            return np.column_stack((1.0 - positive, positive))
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))

    def predict(self, X: RowsLike) -> AnyArray:
        """The most probable label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def compiled(self) -> DensePredictor:
        """A bare predictor of probabilities that checks nothing."""
        check_is_fitted(self, "_fits")
        return DensePredictor(self._probabilities)

    # Files

    def _saved(self) -> dict[str, object]:
        if not self._takes_vectors:
            raise ValueError(f"kernel is {self.kernel}, whose rows a file cannot hold")
        X, codes, weights = self._data
        return {
            "kernel": json.dumps(files.encoded(self._kernel)),
            "thetas": np.stack([fit.theta for fit in self._fits]),
            "memory": np.stack([fit.found.memory for fit in self._fits]),
            "X": X, "codes": codes.astype(np.int64), "weights": weights,
        }  # fmt: skip

    def _restore(self, saved: Saved) -> None:
        kernel = files.decoded(json.loads(saved.values["kernel"]), saved.path)
        X = saved.array("X", None, saved.n_features)
        codes = saved.array("codes", len(X), dtype=np.int64)
        if not np.array_equal(np.unique(codes), np.arange(len(self.classes_))):
            raise ValueError(f"{saved.path}: codes are not numbers of all classes_")
        elbo = self.elbo_
        self._check_parameters()
        self._prepare(kernel, X, codes, saved.positive("weights", len(X)))
        n, shape = len(self._evidences), self._evidences[0].solver.shape
        thetas, memory = saved.array("thetas", n, None), saved.array("memory", n, *shape)
        with single_threaded_blas():
            self._predict_from(
                [
                    Latents(e, t, e.solver.function(e.rows.matrix(t), start=m, max_iter=0))
                    for e, t, m in zip(self._evidences, thetas, memory)
                ]
            )
        self.elbo_ = elbo
