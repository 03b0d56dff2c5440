"""Bayesian logistic regression as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import loop
from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs
from fastvi.models.logistic.model import (
    Coefficients,
    LabelledRows,
    Logistic,
    Posterior,
    Prior,
    log_mean_sigmoid,
)
from fastvi.models.plan import fit_conjugate, still_rising

__all__ = ["BayesianLogisticRegression"]

PRIORS = ("fixed", "gamma", "ard")
LEAST_VARIANCE = float(np.finfo(np.float64).tiny)  # one divided by it is finite


class BayesianLogisticRegression(ClassifierMixin, BaseEstimator):
    """Binary logistic regression with a Gaussian posterior of the coefficients.

    Maximises the variational bound of Jaakkola and Jordan (2000) by closed-form updates (Bishop
    2006, section 10.6): over all rows at once, where the bound never falls except by rounding
    (about 1e-6 nats per row in float32), or by mini-batches. Results do not depend on `n_jobs`, to
    the bit.

    Parameters
    ----------
    prior : {"fixed", "gamma", "ard"}, default="fixed"
        Coefficients are Gaussian around 0, with the precision 1 / `C` as the penalty of
        scikit-learn's LogisticRegression has it, with one precision learnt for them all (Bishop
        2006, section 10.6.3), or with one learnt for each, which switches off what is irrelevant.
    C : float, default=1.0
        Prior variance of the coefficients if `prior` is ``"fixed"``.
    lambda_1, lambda_2 : float, default=1e-6
        Shape and rate of the Gamma prior of learnt precisions, as in scikit-learn's ARDRegression.
    fit_intercept : bool, default=True
        Add an intercept.
    intercept_precision : float, default=1e-6
        Prior precision of the intercept, which is never learnt.
    max_iter : int, default=300
        Largest number of passes over the rows.
    tol : float, default=1e-6
        Without `batch_size` the fit ends where the bound rises by less than this in a pass, in
        nats a row.
    batch_size : int, optional
        Rows of a mini-batch; by default each step takes all rows.
    optimizer : float, "adaptive" or fastvi.optimizers.Optimizer, optional
        Rates of the steps, by default `fastvi.optimizers.robbins_monro` for mini-batches and 1
        without. A number in (0, 1] is a constant rate. ``"adaptive"``: the rate that expects to
        come nearest to the optimum (Ranganath et al. 2013), without parameters. ``"adagrad"``,
        ``"rmsprop"``, ``"adam"`` and ``"amsgrad"`` take plain gradients in numbers without
        constraints: means, logarithms and Cholesky factors.
    sampling : str, default="uniform"
        How mini-batches are drawn. ``"uniform"``: each row once a pass, in random order.
        ``"replacement"``: independently. ``"importance"``: more often where a row's statistics
        are large, weighted so that steps stay unbiased. ``"adaptive"``: by the norms of statistics
        last seen. ``"growing"``: each row once a pass, in batches that grow from `batch_size` with
        the gradient's noise (De et al. 2017); ``"coupled"``: with its noise and the rate (Balles
        et al. 2017).
    variance_reduction : {"svrg", "window"} or a tool, optional
        Of mini-batches. ``"svrg"``: corrected by a gradient of all rows, taken anew every two
        passes (Johnson and Zhang 2013); unbiased, for two local steps a step. ``"window"``:
        statistics averaged over ten batches (Mandt and Blei 2014), a tenth of the noise for some
        bias.
        Other numbers of steps or batches: ``fastvi.gradients.svrg(every=100)`` and
        ``fastvi.gradients.window(size=3)``.
    trace_noise : bool, default=False
        Have the noise of the steps in `history_` whatever `sampling` is, at some cost.
    random_state : int, RandomState or None, default=None
        Seed of the order of rows in mini-batches.
    warm_start : bool, default=False
        Begin with the last fit's posterior.
    n_jobs : int, optional
        Threads; -1 for all cores, None for one.
    verbose : int, default=0
        Print a line a pass.

    Attributes
    ----------
    coef_ : (1, n_features) array
        Posterior mean of the coefficients.
    intercept_ : (1,) array
        Posterior mean of the intercept, 0 without one.
    sigma_ : (n_features, n_features) array
        Posterior covariance of the coefficients.
    covariance_ : (n_coefficients, n_coefficients) array
        The same with the intercept as last coefficient, if there is one.
    lambda_ : (n_features,) array
        Prior precisions of the coefficients: 1 / `C`, or their posterior mean.
    classes_ : (2,) array
        The labels; probabilities of the second are modelled.
    bound_ : float
        A lower bound of log p(y | X) in nats; without `batch_size`.
    history_ : dict of str to array
        What each step reported: epoch, seconds, rate, and in nats the `bound` (or the
        `local_bound`, the batch's part of it scaled to all rows); with `trace_noise`, or where
        `sampling` needs it, the `noise`, the trace of the gradient's covariance. With `X_val`,
        `held_out` at the end of each pass.
    n_iter_ : int
        Passes over the rows.
    converged_ : bool
        Whether `tol` was reached.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BayesianLogisticRegression
    >>> X = np.array([[-2.0], [-1.0], [-0.5], [0.5], [1.0], [2.0]])
    >>> model = BayesianLogisticRegression().fit(X, ["no", "no", "yes", "no", "yes", "yes"])
    >>> model.predict([[-1.5], [1.5]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self,
        *,
        prior: str = "fixed",
        C: float = 1.0,
        lambda_1: float = 1e-6,
        lambda_2: float = 1e-6,
        fit_intercept: bool = True,
        intercept_precision: float = 1e-6,
        max_iter: int = 300,
        tol: float = 1e-6,
        batch_size: int | None = None,
        optimizer: Any = None,
        sampling: str = "uniform",
        variance_reduction: Any = None,
        trace_noise: bool = False,
        random_state: Any = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.prior = prior
        self.C = C
        self.lambda_1 = lambda_1
        self.lambda_2 = lambda_2
        self.fit_intercept = fit_intercept
        self.intercept_precision = intercept_precision
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.sampling = sampling
        self.variance_reduction = variance_reduction
        self.trace_noise = trace_noise
        self.random_state = random_state
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Fit the posterior of the coefficients.

        Parameters
        ----------
        X : (n_rows, n_features) array
            float32 is computed in float32 (but for what would lose too many digits in it),
            everything else in float64.
        y : (n_rows,) array
            Labels of two kinds.
        X_val, y_val : arrays, optional
            Rows not to fit to, and their labels: the mean log probability of these after each pass
            is ``history_["held_out"]``, nats a row.

        Raises
        ------
        ValueError
            If X holds NaN, infinity or numbers whose squares overflow, y holds one label or more
            than two, or a parameter is out of its range.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        X = np.require(X, requirements=["C_CONTIGUOUS", "WRITEABLE"])
        classes, targets = _labels(y)
        squares = _mean_squares(X)
        model = self._make_model(X.shape[1], X.dtype)
        held_out = self._held_out(model, classes, X_val, y_val)
        if model.intercept:
            squares = np.append(squares, 1.0)
        max_iter = checks.integer(self.max_iter, "max_iter", 1)
        tol = checks.number(self.tol, "tol", 0.0)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rows = LabelledRows(X, targets, model.intercept)
        fitted = fit_conjugate(
            model, rows, self._begin(model, squares), n_epochs=max_iter,
            tol=tol * len(X), seed=seed,
            watch=loop.Watch(held_out=held_out, verbose=bool(self.verbose), total=max_iter),
            batch_size=checks.optional_integer(self.batch_size, "batch_size", 1),
            optimizer=self.optimizer, sampling=self.sampling,
            variance_reduction=self.variance_reduction,
            trace_noise=checks.flag(self.trace_noise, "trace_noise"),
        )  # fmt: skip
        self.classes_ = classes
        self.history_, self.n_iter_ = fitted.history, fitted.n_iter
        self.converged_ = fitted.converged
        self._take(model, fitted.params, X.dtype)
        if self.batch_size is None and tol > 0 and not self.converged_:
            warnings.warn(still_rising(tol, max_iter), ConvergenceWarning, stacklevel=2)
        return self

    def _held_out(
        self, model: Logistic, classes: NDArray[Any], X_val: Any, y_val: Any
    ) -> Callable[[Coefficients], float] | None:
        if not checks.both_or_none("X_val", X_val, "y_val", y_val):
            return None
        X, y = validate_data(self, X_val, y_val, dtype=[np.float64, np.float32], reset=False)
        known = classes.tolist()
        unknown = [label for label in np.unique(y).tolist() if label not in known]
        if unknown:
            raise ValueError(f"y_val holds {unknown[0]!r}; wanted labels of y: {known}")
        labels = (y == classes[1]).astype(int)

        def score(params: Coefficients) -> float:
            log_proba = _log_proba(model, model.posterior(params), X)
            return float(log_proba[np.arange(len(X)), labels].mean())

        return score

    def _make_model(self, n_features: int, dtype: Any) -> Logistic:
        kind = checks.choice(self.prior, "prior", PRIORS)
        variance = checks.number(self.C, "C", LEAST_VARIANCE)
        intercept = checks.flag(self.fit_intercept, "fit_intercept")
        shape = checks.number(self.lambda_1, "lambda_1", 0.0, open_low=True)
        rate = checks.number(self.lambda_2, "lambda_2", 0.0, open_low=True)
        flat = checks.number(self.intercept_precision, "intercept_precision", 0.0, open_low=True)
        groups = {
            "fixed": np.full(n_features, -1),
            "gamma": np.zeros(n_features, np.int64),
            "ard": np.arange(n_features),
        }[kind]
        fixed = np.full(n_features, 1.0 / variance)
        if intercept:
            groups, fixed = np.append(groups, -1), np.append(fixed, flat)
        return Logistic(
            Prior(fixed, groups, shape, rate),
            intercept=intercept,
            dtype=dtype,
            n_threads=resolve_n_jobs(self.n_jobs),
        )

    def _begin(self, model: Logistic, squares: NDArray[np.float64]) -> Coefficients:
        last: Coefficients | None = self.__dict__.get("_params")
        fresh = model.start(squares)
        if not self.warm_start or last is None:
            return fresh
        if any(old.shape != new.shape for old, new in zip(last, fresh)):
            raise ValueError(
                f"warm_start goes on from {len(last.precision_mean)} coefficients and "
                f"{len(last.rates)} learnt precisions; X and the parameters ask for "
                f"{len(fresh.precision_mean)} and {len(fresh.rates)}"
            )
        return Coefficients(*(part.copy() for part in last))

    def _take(self, model: Logistic, params: Coefficients, dtype: Any) -> None:
        """Keep the posterior, in the attributes' form and as parameters."""
        self._model, self._params = model, params
        self._posterior = model.posterior(params)
        n = self.n_features_in_
        self.coef_ = self._posterior.mean[None, :n].astype(dtype)
        self.intercept_ = self._posterior.mean[n:].astype(dtype)
        if not model.intercept:
            self.intercept_ = np.zeros(1, dtype)
        self.covariance_ = self._posterior.covariance.astype(dtype)
        self.sigma_ = self.covariance_[:n, :n]
        fixed = np.diag(model.prior.precision)
        self.lambda_ = (fixed + model.precisions(params.rates))[:n].astype(dtype)
        self.__dict__.pop("bound_", None)
        if self.batch_size is None:
            self.bound_ = float(self.history_["bound"][-1])

    # Predictions

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Log odds of `predict_proba` for ``classes_[1]``, (n_rows,), in the dtype of the fit.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        log_proba = self._log_proba(X)
        return (log_proba[:, 1] - log_proba[:, 0]).astype(self.coef_.dtype)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likelier label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        positive = self.decision_function(X) > 0
        return np.asarray(self.classes_[positive.astype(int)])

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Posterior probabilities of `classes_`, (n_rows, 2), in the dtype of the fit.

        The mean of the logistic function over the Gaussian posterior of the logit, to 2.2e-9: by
        a mixture of eight probit functions (Monahan and Stefanski 1992), each of whose integrals
        is a closed form, where the usual probit approximation (Bishop 2006, eq. 4.153) has one.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        return np.exp(self._log_proba(X)).astype(self.coef_.dtype)

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of `predict_proba`, (n_rows, 2), of small probabilities too.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        return self._log_proba(X).astype(self.coef_.dtype)

    def _log_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return _log_proba(self._model, self._posterior, X)


def _log_proba(model: Logistic, posterior: Posterior, X: NDArray[Any]) -> NDArray[np.float64]:
    """Of both labels, (n, 2)."""
    mean, variance = model.logits(posterior, X)
    unlikely = np.minimum(log_mean_sigmoid(-np.abs(mean), variance), np.log(0.5))
    likely = np.log1p(-np.exp(unlikely))
    positive = mean > 0
    return np.stack(
        (np.where(positive, unlikely, likely), np.where(positive, likely, unlikely)), axis=1
    )


def _labels(y: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The two labels, and y - 1/2 with y in {0, 1}."""
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) > 2:
        raise ValueError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y)}; y holds {len(classes)} labels, wanted 2."
        )
    if len(classes) < 2:
        raise ValueError(
            "Classifier can't train when only one class is present. "
            f"y holds {classes.tolist()}, wanted 2 labels."
        )
    return classes, codes.astype(np.float64) - 0.5


def _mean_squares(X: NDArray[Any]) -> NDArray[np.float64]:
    """Means of the squares of columns, (n_features,)."""
    checks.rows_to_fit(X)
    return np.asarray(np.einsum("ij,ij->j", X, X, dtype=np.float64) / len(X))
