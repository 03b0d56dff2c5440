"""Loading of model files of any kind."""

from __future__ import annotations

import importlib
import operator
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastvi.base.typing import Path

__all__ = ["load"]

LOADERS = {
    "ep-family-posterior": ("fastvi.propagation.family_posterior", "FamilyPosterior.load"),
    "ep-posterior": ("fastvi.propagation.posterior", "EPPosterior.load"),
    "estimator": ("fastvi.models.files", "load"),
    "particle-posterior": ("fastvi.posteriors.particles", "ParticlePosterior.load"),
    "posterior": ("fastvi.posteriors.member", "Posterior.load"),
    "program-posterior": ("fastvi.posteriors.programs", "ProgramPosterior.load"),
    "weighted-posterior": ("fastvi.posteriors.weighted", "WeightedPosterior.load"),
}
TOPICS = "fastvi.models.topics.files", "load"


def load(path: Path) -> Any:
    """Load a fitted estimator or a posterior from its file.

    The words of a topic model are in `vocabulary_`, and in `feature_names_in_` if the fit saw
    column names. A Gaussian process predicts the same bits as before, but holds no training rows. A
    posterior is loaded without its target; the `load` method of its class takes one.

    Where the C library is installed (``python -m fastvi.export --install``), `compiled()` of topic
    models, logistic regression and hidden Markov models is the library's, so that neither Numba
    nor scikit-learn is imported until something else is asked of the model.

    Parameters
    ----------
    path : path
        A file that `save` wrote.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged or not a model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pca.npz")
    >>> fastvi.BayesianPCA(2).fit(X).save(path)
    >>> type(fastvi.load(path)).__name__
    'BayesianPCA'
    """
    from fastvi.export import loaded

    path = os.fspath(path)  # a number would be a file descriptor
    found = loaded.opened(path, _load) if isinstance(path, str) else None
    return _load(path) if found is None else found


def _load(path: str) -> Any:
    from fastvi.base import archive

    module, name = LOADERS.get(archive.kind(path) or "", TOPICS)
    return operator.attrgetter(name)(importlib.import_module(module))(path)
