"""One door to model files of every kind."""

from __future__ import annotations

import importlib
import operator
import os
from typing import Any

from fastvi.base import archive
from fastvi.base.typing import Path

__all__ = ["load"]

LOADERS = {
    "estimator": ("fastvi.models.files", "load"),
    "particle-posterior": ("fastvi.posteriors.particles", "ParticlePosterior.load"),
    "posterior": ("fastvi.posteriors.member", "Posterior.load"),
    "program-posterior": ("fastvi.posteriors.programs", "ProgramPosterior.load"),
}
TOPICS = "fastvi.models.topics.estimator", "load"


def load(path: Path) -> Any:
    """A fitted estimator or a posterior from its file, of the class that saved it.

    A topic model's words are in `vocabulary_`, and in `feature_names_in_` too if the fit saw column
    names. A Gaussian process predicts as before, to the bit, but holds no training rows. A
    posterior comes without its target, which the `load` of its class takes.

    Parameters
    ----------
    path : path
        What `save` has written.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged or no model.
    """
    path = os.fspath(path)  # a number would be a file descriptor
    module, name = LOADERS.get(archive.kind(path) or "", TOPICS)
    return operator.attrgetter(name)(importlib.import_module(module))(path)
