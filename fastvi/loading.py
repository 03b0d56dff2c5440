"""Loading of model files of any kind."""

from __future__ import annotations

import importlib
import operator
import os
from typing import Any

from fastvi.base import archive
from fastvi.base.typing import Path

__all__ = ["load"]

LOADERS = {
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
    """
    path = os.fspath(path)  # a number would be a file descriptor
    module, name = LOADERS.get(archive.kind(path) or "", TOPICS)
    return operator.attrgetter(name)(importlib.import_module(module))(path)
