"""Labels and probabilities of rows under a fitted logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from fastvi.base.typing import AnyArray, Array, ArrayLike, RowsLike
from fastvi.models.kinds import Supervised
from fastvi.models.logistic import rows
from fastvi.models.logistic.model import Logistic
from fastvi.models.logistic.parameters import Posterior
from fastvi.models.logistic.predictor import LogisticPredictor

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["LogisticPredictions"]


class LogisticPredictions(ClassifierMixin, Supervised):
    """The part of the estimator that uses fitted coefficients without changing them."""

    solver: str
    coef_: AnyArray
    classes_: AnyArray
    _model: Logistic
    _posterior: Posterior

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = self.solver != "ep"
        return tags

    def _labelled(
        self, X: RowsLike, y: ArrayLike, *, reset: bool = True
    ) -> tuple[rows.Features, AnyArray]:
        """Check X and y; X becomes a dense array, or a CSR array without duplicates."""
        features, targets = self._array(X, y, accept_sparse="csr", reset=reset)
        return rows.canonical(features), targets

    def decision_function(self, X: RowsLike) -> AnyArray:
        """Log odds of `predict_proba` for ``classes_[1]``, (n_rows,), in the dtype of the fit.

        With more than two labels, (n_rows, n_classes): logarithms of `predict_proba`, from which
        their mean over the labels is subtracted.

        Parameters
        ----------
        X : (n_rows, n_features) array or sparse matrix
        """
        log_proba = self._log_proba(X)
        if len(self.classes_) > 2:
            decision = log_proba - log_proba.mean(axis=1, keepdims=True)
        else:
            decision = log_proba[:, 1] - log_proba[:, 0]
        return np.asarray(decision.astype(self.coef_.dtype))

    def predict(self, X: RowsLike) -> AnyArray:
        """Most likely label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array or sparse matrix
        """
        decision = self.decision_function(X)
        chosen = (decision > 0).astype(int) if decision.ndim == 1 else decision.argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def predict_proba(self, X: RowsLike) -> AnyArray:
        """Posterior probabilities of `classes_`, (n_rows, n_classes), in the dtype of the fit.

        For two labels they are means of the logistic function over the Gaussian posterior of the
        logit, with an error below 2.2e-9. It is approximated by eight probit functions with
        closed-form integrals (Monahan and Stefanski 1992); the usual probit approximation (Bishop
        2006, eq. 4.153) has one. Those of the probit link have a closed form. For more labels they
        are means of softmax, by quadrature with an error below 1e-4 where logits have a variance of
        at most 4, and 2e-3 elsewhere.

        Parameters
        ----------
        X : (n_rows, n_features) array or sparse matrix
        """
        return np.exp(self._log_proba(X)).astype(self.coef_.dtype)

    def predict_log_proba(self, X: RowsLike) -> AnyArray:
        """Logarithms of `predict_proba`, accurate for small probabilities too.

        Parameters
        ----------
        X : (n_rows, n_features) array or sparse matrix
        """
        return self._log_proba(X).astype(self.coef_.dtype)

    def compiled(self) -> LogisticPredictor:
        """A bare predictor of probabilities that checks nothing, for a few rows at a time."""
        check_is_fitted(self)
        return LogisticPredictor(self._model, self._posterior)

    def _log_proba(self, X: RowsLike) -> Array:
        check_is_fitted(self)
        features = rows.canonical(self._array(X, accept_sparse="csr", reset=False))
        return self._model.log_proba(self._posterior, features)
