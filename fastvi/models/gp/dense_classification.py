"""Gaussian process classification with all rows as a scikit-learn estimator."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ClassWeight, RandomState, RowsLike
from fastvi.models.files import Saved
from fastvi.models.gp import files
from fastvi.models.gp.dense_learning import DenseLearning
from fastvi.models.gp.dense_posterior import DensePosterior, Searched
from fastvi.models.gp.predictor import DensePredictor
from fastvi.models.gp.searching import LBFGS
from fastvi.models.gp.start import check_sizes

__all__ = ["GaussianProcessClassifier"]


class GaussianProcessClassifier(ClassifierMixin, DenseLearning):
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
    warm_start : bool, default=False
        Start from the hyperparameters of the last fit, and its sites if there are as many rows.
    copy_X_train : bool, default=True
        Keep a copy of the rows; otherwise they must stay as they are.
    multi_class : {"one_vs_rest", "one_vs_one", "softmax", "multinomial_probit"}, \
default="one_vs_rest"
        With more than two classes: one classifier per class, or per pair of classes and of their
        rows only, each with a kernel of its own; or latent functions that share a kernel, one per
        class, with softmax (``solver="laplace"``) or the multinomial probit (``solver="ep"``,
        Riihimaki, Jylanki and Vehtari 2013). Unlike scikit-learn's, ``"one_vs_one"`` has
        probabilities, coupled from those of the pairs (Wu, Lin and Weng 2004).
    {class_weight}
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
    n_classes_ : int
    kernel_ : Kernel
        With the hyperparameters that were learned; a CompoundKernel of one per classifier if there
        are several.
    log_marginal_likelihood_value_ : float
        The approximate log evidence log p(y | X) in nats; the mean over the classifiers if there
        are several, as in scikit-learn. Neither solver's is a bound.
    elbo_ : float
        The same.
    history_ : dict of str to array
        `elbo` (the log evidence) and `seconds` after each iteration of the best start, and `class`,
        the number of the classifier that was fitted; `held_out` with `X_val`.
    n_iter_ : int
        Iterations of L-BFGS from the best starts.
    converged_ : bool
        False where `max_iter`, a callback or a line search that failed ended a search, or
        `max_iter_predict` the last approximation. During a search, evidences of sites that have
        not settled are passed over.
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
        warm_start: bool = False,
        copy_X_train: bool = True,
        multi_class: str = "one_vs_rest",
        class_weight: ClassWeight = None,
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
        self.copy_X_train = copy_X_train
        self.multi_class = multi_class
        self.class_weight = class_weight

    # Predictions

    def latent_mean_and_variance(self, X: RowsLike) -> tuple[Array, Array]:
        """Posterior mean and variance of the latent function.

        Parameters
        ----------
        X : (n_rows, n_features) array

        Returns
        -------
        mean, variance : (n_rows,) arrays
            With more than two classes (n_rows, n_functions): one function per class, or per pair
            of classes, of which it favours the second.
        """
        parts = self._checked_posterior().latents(self._new(X))
        mean = np.concatenate([m for m, _ in parts], axis=1)
        diagonal = [np.diagonal(c, axis1=1, axis2=2) for _, c in parts]
        variance = np.concatenate(diagonal, axis=1)
        return (mean[:, 0], variance[:, 0]) if mean.shape[1] == 1 else (mean, variance)

    def _checked_posterior(self) -> DensePosterior:
        check_is_fitted(self, "_posterior")
        return self._posterior

    def _new(self, X: RowsLike) -> Any:
        if not self._takes_vectors:
            return validate_data(self, X, ensure_2d=False, dtype=None, reset=False)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        return X

    def predict_proba(self, X: RowsLike) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        return self._checked_posterior().probabilities(self._new(X))

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
        return DensePredictor(self._checked_posterior().probabilities)

    # Files

    def _saved(self) -> dict[str, object]:
        if not self._takes_vectors:
            raise ValueError(f"kernel is {self.kernel}, whose rows a file cannot hold")
        (X, codes, weights), searched = self._data, self._posterior.searched
        return {
            "kernel": json.dumps(files.encoded(self._kernel)),
            "thetas": np.stack([each.theta for each in searched]),
            "memory": np.stack(
                [np.nan_to_num(each.evidence.remembered(each.found)) for each in searched]
            ),
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
        n, width = len(self._evidences), len(self._evidences[0].memory)
        thetas = saved.array("thetas", n, len(kernel.theta))
        memory = saved.array("memory", n, width)
        with single_threaded_blas():
            self._predict_from(
                [Searched(e, t, e.again(t, m)) for e, t, m in zip(self._evidences, thetas, memory)]
            )
        self.elbo_ = elbo
