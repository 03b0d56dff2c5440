"""Fitted estimators of topic models from their files."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Path
from fastvi.models.topics.estimator import LatentDirichletAllocation
from fastvi.models.topics.fitted import MAX_ITER, TopicModel
from fastvi.models.topics.guidance import public_prior
from fastvi.models.topics.settings import SOLVERS

__all__ = ["load"]


def load(path: Path) -> LatentDirichletAllocation:
    """Load a fitted estimator from a model file.

    Its words are in `vocabulary_`, and in `feature_names_in_` if the fit saw column names. Files
    are refused as by `TopicModel.load`.
    """
    model = TopicModel.load(path)
    alpha = model.alpha
    prior: Any = float(alpha[0]) if np.all(alpha == alpha[0]) else alpha
    word_prior = public_prior(model.eta, model.n_topics)
    solver = model.info.get("solver", "scvb0" if model.collapsed else "svi")
    estimator = LatentDirichletAllocation(
        model.n_topics,
        doc_topic_prior=prior,
        topic_word_prior=word_prior,
        solver=checks.choice(solver, f"{path}: solver", SOLVERS),
        mean_change_tol=model.tol,
        max_doc_update_iter=None if model.max_iter == MAX_ITER else model.max_iter,
    )
    estimator._cached_model = model
    estimator.solver_ = estimator.solver
    estimator._dtype = model.table.dtype
    estimator.doc_topic_prior_, estimator.topic_word_prior_ = prior, word_prior
    estimator.n_features_in_ = len(model.table)
    _restore_reports(estimator, model, path)
    if model.vocabulary is not None:
        estimator.vocabulary_ = model.vocabulary
        if model.info.get("feature_names") is True:
            estimator.feature_names_in_ = np.array(model.vocabulary, dtype=object)
    estimator._remember()
    return estimator


def _restore_reports(estimator: LatentDirichletAllocation, model: TopicModel, path: Path) -> None:
    """Set the attributes that say how the fit went, as far as the file knows."""
    info = model.info
    estimator.n_iter_, estimator.n_batch_iter_ = (
        checks.integer(info.get(name, 1), f"{path}: {name}", 1) for name in ("n_iter", "n_steps")
    )
    if info.get("settled") is not None:
        estimator.converged_ = checks.flag(info["settled"], f"{path}: settled")
    if info.get("best_iter") is not None:
        score = info.get("held_out_log_likelihood")
        estimator.best_iter_ = checks.integer(info["best_iter"], f"{path}: best_iter", 1)
        estimator.best_score_ = checks.number(score, f"{path}: held_out_log_likelihood", -np.inf)
    if info.get("n_documents") is not None:
        estimator._n_seen = checks.integer(info["n_documents"], f"{path}: n_documents", 1)
    if model.history:
        estimator.history_ = model.history
