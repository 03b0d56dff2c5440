"""Topic models that predict a number or a label of each document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.files import Saved
from fastvi.models.topics.documentation import supervised_texts
from fastvi.models.topics.supervised_fit import SupervisedTopics
from fastvi.models.topics.supervised_model import SupervisedParameters
from fastvi.models.topics.supervised_responses import Labels, Numbers, Response, label_logits

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["TopicClassifier", "TopicRegressor"]


class TopicClassifier(ClassifierMixin, SupervisedTopics):
    """Topics that predict labels of documents: supervised latent Dirichlet allocation.

    The probabilities of a document's label are a softmax of linear functions of the shares of
    topics among its words, and topics are found so that they explain words and labels (Blei and
    McAuliffe 2007, "Supervised topic models"; Wang, Blei and Fei-Fei 2009). Compared with logistic
    regression on the topics of `LatentDirichletAllocation`, this pays where topics are few. It is
    fitted by variational Bayes over all documents, started from CVB0. Results have the same bits
    for any `n_jobs`.

    Parameters
    ----------
    {shared_label}
    {n_jobs}
    {verbose}

    Attributes
    ----------
    classes_ : (n_classes,) array
        The labels.
    coef_ : (n_classes, n_components) array
        Coefficients of topics' shares; those of a topic are relative to each other.
    {found_label}
    {history_}
        Here, `elbo` is the bound before each sweep's updates, `moved` the mean over
        documents of the largest change of a share, and `held_out` the mean log probability of
        held-out labels, in nats.
    {n_iter_}
    {best_iter_}
    {converged_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import TopicClassifier
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]] * 5)
    >>> model = TopicClassifier(2, random_state=0).fit(X, ["a", "a", "b", "b"] * 5)
    >>> model.predict([[3, 2, 0, 0], [0, 0, 2, 3]]).tolist()
    ['a', 'b']
    """

    _texts = supervised_texts("label")
    classes_: AnyArray

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on data that are no counts of words
        return tags

    def _targets(self, y: Any, reset: bool, name: str) -> Array:
        if y is None:
            raise ValueError(f"requires {name} to be passed, but the target {name} is None")
        y = column_or_1d(y, warn=True)
        if reset:
            check_classification_targets(y)
            self.classes_ = np.unique(y)
            if len(self.classes_) < 2:
                raise ValueError(
                    "Classifier can't train when only one class is present. "
                    f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
                )
        known = self.classes_.tolist()
        unknown = [label for label in np.unique(y).tolist() if label not in known]
        if unknown:
            raise ValueError(f"{name} holds {unknown[0]!r}; wanted labels of y: {known}")
        return np.asarray(np.searchsorted(self.classes_, y), np.float64)

    def _response(self, targets: Array, weight: float) -> Response:
        return Labels(targets, self.n_components, self._variance(), weight, len(self.classes_))

    def _log_probability(
        self, params: SupervisedParameters, shares: AnyArray, targets: Array
    ) -> Array:
        logits = label_logits(params.coefficients, shares)
        return np.asarray(logits[np.arange(len(logits)), targets.astype(np.int64)])

    @property
    def coef_(self) -> Array:
        """Coefficients of topics' shares, (n_classes, n_components)."""
        self._after_fit("coef_")
        return read_only(self._params.coefficients[:, : len(self._prior.alpha)])

    def predict_log_proba(self, X: RowsLike) -> Array:
        """Log probabilities of `classes_`, (n_documents, n_classes)."""
        shares = self._shares(self._model, X)
        return label_logits(self._params.coefficients, shares)

    def predict_proba(self, X: RowsLike) -> Array:
        """Probabilities of `classes_`, (n_documents, n_classes); those of the prior for no words.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        """
        return np.asarray(np.exp(self.predict_log_proba(X)))

    def predict(self, X: RowsLike) -> AnyArray:
        """Most likely label of each document, (n_documents,).

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        """
        best = self.predict_log_proba(X).argmax(axis=1)
        found: AnyArray = self.classes_[best]
        return found

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        labels = self.classes_
        if labels.ndim != 1 or len(labels) != len(self._params.coefficients):
            raise ValueError(f"{saved.path}: {len(labels)} labels do not fit the coefficients")


class TopicRegressor(RegressorMixin, SupervisedTopics):
    """Topics that predict numbers of documents: supervised latent Dirichlet allocation.

    A document's number is Gaussian about a linear function of the shares of topics among its words,
    and topics are found so that they explain words and numbers (Blei and McAuliffe 2007,
    "Supervised topic models"). Compared with a regression on the topics of
    `LatentDirichletAllocation`, this pays where topics are few. It is fitted by variational Bayes
    over all documents, started from CVB0. Results have the same bits for any `n_jobs`.

    Parameters
    ----------
    {shared_number}
    {n_jobs}
    {verbose}

    Attributes
    ----------
    coef_ : (n_components,) array
        The number expected of a document that is wholly of a topic.
    noise_variance_ : float
        Variance of numbers about the regression.
    {found_number}
    {history_}
        Here, `elbo` is the bound before each sweep's updates, for standardised numbers, `moved` the
        mean over documents of the largest change of a share, and `held_out` the mean log density of
        held-out numbers, in nats.
    {n_iter_}
    {best_iter_}
    {converged_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import TopicRegressor
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]] * 5)
    >>> model = TopicRegressor(2, random_state=0).fit(X, [1.0, 2.0, 8.0, 9.0] * 5)
    >>> low, high = model.predict([[3, 2, 0, 0], [0, 0, 2, 3]])
    >>> bool(low < 3 and high > 7)
    True
    """

    _texts = supervised_texts("number", ", in units of the variance of y")
    _units: Array  # mean and standard deviation of the numbers of the fit

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # on data that are no counts of words
        return tags

    def _targets(self, y: Any, reset: bool, name: str) -> Array:
        if y is None:
            raise ValueError(f"requires {name} to be passed, but the target {name} is None")
        y = column_or_1d(y, warn=True)
        try:
            y = np.asarray(y).astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} holds {y.tolist()[0]!r}; wanted numbers") from None
        bad = np.flatnonzero(~np.isfinite(y))
        if len(bad):
            raise ValueError(f"{name} holds NaN or infinity in row {bad[0]}; wanted finite numbers")
        if reset:
            scale = float(y.std())
            self._units = np.array([y.mean(), scale if scale > 0 else 1.0])
            if not np.all(np.isfinite(self._units)):
                raise ValueError(f"{name} holds numbers too large to be standardised; rescale it")
        return np.asarray((y - self._units[0]) / self._units[1])

    def _response(self, targets: Array, weight: float) -> Response:
        return Numbers(targets, self.n_components, self._variance(), weight)

    def _log_probability(
        self, params: SupervisedParameters, shares: AnyArray, targets: Array
    ) -> Array:
        means = shares @ params.coefficients[0, : shares.shape[1]]
        variance, scale = float(params.variance[0]), float(self._units[1])
        logs = np.log(2 * np.pi * variance * scale**2)
        return np.asarray(-0.5 * (np.square(targets - means) / variance + logs))

    @property
    def coef_(self) -> Array:
        """The number expected of a document that is wholly of a topic, (n_components,)."""
        self._after_fit("coef_")
        inner = self._params.coefficients[0, : len(self._prior.alpha)]
        return read_only(np.asarray(self._units[0] + self._units[1] * inner))

    @property
    def noise_variance_(self) -> float:
        """Variance of numbers about the regression."""
        self._after_fit("noise_variance_")
        return float(self._params.variance[0] * self._units[1] ** 2)

    def predict(self, X: RowsLike) -> Array:
        """Expected number of each document, (n_documents,); that of the prior for no words.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        """
        return np.asarray(self._shares(self._model, X) @ self.coef_)

    def _saved(self) -> dict[str, object]:
        return super()._saved() | {"units": self._units}

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        self._units = saved.array("units", 2)
