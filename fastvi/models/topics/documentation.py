"""Documentation that estimators of topics share."""

from __future__ import annotations

__all__ = ["supervised_texts"]

SHARED = """n_components : int, default=10
    Number of topics K.
response_weight : float, optional
    How often a document's {response} counts against its words while topics are found; by
    default the mean number of words in a document. With 1, as in the papers, topics of long
    documents hardly notice it, and are those of `LatentDirichletAllocation`.
prior_variance : float, default=10.0
    Prior variance of `coef_`{unit}.
doc_topic_prior : float, optional
    Dirichlet prior of topic proportions; by default learned by the fit of CVB0 from which this
    one starts.
topic_word_prior : float, optional
    Dirichlet prior of topics; by default learned likewise.
max_iter : int, default=50
    Largest number of sweeps over the documents.
tol : float, default=0.01
    The fit ends when the bound rises by less than this in a sweep, in nats per document.
max_doc_update_iter : int, default=20
    Largest number of iterations on a document per sweep.
random_state : int, RandomState, Generator or None, default=None
    Seed of the start."""
FOUND = """components_ : (n_components, n_features) array
    Dirichlet parameters of the topics.
doc_topic_prior_ : (n_components,) array
    The prior used, or learned.
topic_word_prior_ : float
    The prior used, or learned.
elbo_ : float
    A lower bound on the log probability of words and {response}s, in nats, each {response}
    counted `response_weight` times. It never falls from sweep to sweep, except by rounding and
    by what ends the iterations on a document."""


def supervised_texts(response: str, unit: str = "") -> dict[str, str]:
    """Return what `TopicClassifier` and `TopicRegressor` share, for their kind of response."""
    given = {"response": response, "unit": unit}
    return {
        f"shared_{response}": SHARED.format(**given),
        f"found_{response}": FOUND.format(**given),
    }
