"""One door to model files of every kind."""

from __future__ import annotations

import importlib
import os
from typing import Any

from fastvi import _archive

__all__ = ["load"]

LOADERS = {"gaussian-process": "fastvi.models.gp_files"}
TOPICS = "fastvi.models.lda"


def load(path: str | os.PathLike[str]) -> Any:
    """A fitted estimator from a model file, of the class that saved it.

    A topic model's words are in `vocabulary_`, and in `feature_names_in_` too if the fit saw column
    names. A Gaussian process predicts as before, to the bit, but holds no training rows.

    Parameters
    ----------
    path : path
        What an estimator's `save` has written.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged or no model.
    """
    module = LOADERS.get(_archive.kind(path) or "", TOPICS)
    return importlib.import_module(module).load(path)
