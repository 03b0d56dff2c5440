"""What an estimator of topics is asked for, checked and turned into the settings of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.models.plan import SAMPLING
from fastvi.models.topics.guidance import by_topic
from fastvi.models.topics.settings import SOLVERS, Settings

__all__ = ["settings_of", "solver_asked"]


def solver_asked(solver: str, learning_method: str | None) -> str | None:
    """Return the requested solver, or None to choose one that suits the data.

    Raises
    ------
    ValueError
        If one of the two is unknown, or they contradict each other.
    """
    solver = checks.choice(solver, "solver", ("auto", *SOLVERS))
    if learning_method is None:
        return None if solver == "auto" else solver
    method = checks.choice(learning_method, "learning_method", ("batch", "online"))
    named = "vb" if method == "batch" else "svi"
    if solver not in ("auto", named):
        raise ValueError(
            f"learning_method={method!r} means solver={named!r}, but solver is {solver!r}"
        )
    return named


def settings_of(given: Mapping[str, Any], solver: str, bags: Bags, seed: int) -> Settings:
    """Return the settings of a fit to `bags`; `given` are the parameters of the estimator.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    n_topics = checks.integer(given["n_components"], "n_components", 1)
    if np.ndim(given["topic_word_prior"]) == 2 and solver in ("cvb", "cvb0"):
        raise ValueError(
            f"topic_word_prior has a row for each topic, with solver={solver!r}, which has one "
            "prior for all; wanted 'scvb0', 'svi' or 'vb'"
        )
    return Settings(
        solver,
        alpha=checks.prior(given["doc_topic_prior"], "doc_topic_prior", n_topics, 1.0 / n_topics),
        eta=_word_prior(given, bags.n_words),
        learn_alpha=bool(given["learn_doc_topic_prior"]),
        learn_eta=bool(given["learn_topic_word_prior"]),
        batch_size=checks.optional_integer(given["batch_size"], "batch_size", 1),
        learning_offset=_offset(given["learning_offset"]),
        learning_decay=checks.number(
            given["learning_decay"], "learning_decay", 0.5, 1.0, open_low=True
        ),
        max_doc_update_iter=checks.optional_integer(
            given["max_doc_update_iter"], "max_doc_update_iter", 1
        ),
        mean_change_tol=checks.number(given["mean_change_tol"], "mean_change_tol", 0.0),
        seed=seed,
        dtype=bags.counts.dtype.type,
        optimizer=given["optimizer"],
        sampling=checks.choice(given["sampling"], "sampling", SAMPLING),
        variance_reduction=given["variance_reduction"],
        trace_noise=bool(given["trace_noise"]),
        structured=_structured(given["structured"], solver),
    )


def _word_prior(given: Mapping[str, Any], n_words: int) -> Any:
    """Return one number for all words, or (n_words, 1) numbers, or (n_words, K padded)."""
    eta = given["topic_word_prior"]
    if np.ndim(eta) == 0:
        default = 1.0 / given["n_components"]
        return float(checks.prior(eta, "topic_word_prior", 1, default)[0])
    if given["learn_topic_word_prior"]:
        raise ValueError("learn_topic_word_prior needs a scalar topic_word_prior")
    if np.ndim(eta) == 2:
        return by_topic(np.asarray(eta), given["n_components"], n_words)
    return checks.prior(eta, "topic_word_prior", n_words, 0.0)[:, None]


def _structured(given: bool, solver: str) -> bool:
    if checks.flag(given, "structured") and solver != "svi":
        raise ValueError(
            f"structured=True with solver={solver!r}, whose topics are not drawn; wanted 'svi'"
        )
    return given


def _offset(given: float | None) -> float | None:
    return None if given is None else checks.number(given, "learning_offset", 0.0)
