"""The command ``fastvi lda --model``: topics that move, correlate, or number themselves."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import JsonObject
from fastvi.cli.opened import extras
from fastvi.cli.options import reading_options, threads
from fastvi.corpus.documents import Corpus
from fastvi.corpus.reading import read
from fastvi.corpus.splitting import split
from fastvi.corpus.stdlib import standard_library
from fastvi.models.topics.settling import passes_of

__all__ = ["MODELS", "Model", "fields_of", "fit_model", "model_of"]


@dataclass(frozen=True)
class Model:
    """A model that `fastvi lda` fits besides latent Dirichlet allocation.

    Attributes
    ----------
    module, class_name : str
        The estimator.
    n_topics : int
        By default.
    takes : dict
        Parameters of the estimator by the names of options, besides those of all models.
    """

    module: str
    class_name: str
    n_topics: int = 20
    takes: Mapping[str, str] = field(default_factory=dict)


MODELS = {
    "dynamic": Model(
        "fastvi.models.topics.dynamic", "DynamicTopicModel",
        takes={"slices": "slices", "drift": "drift"},
    ),
    "correlated": Model(
        "fastvi.models.topics.correlated", "CorrelatedTopicModel", takes={"eta": "topic_word_prior"}
    ),
    "hdp": Model(
        "fastvi.models.topics.hdp", "HierarchicalDirichletProcess", 150,
        {
            "eta": "topic_word_prior", "alpha": "concentration", "batch_size": "batch_size",
            "optimizer": "optimizer", "sampling": "sampling",
        },
    ),
}  # fmt: skip
DEFAULTS = {  # of options that not all models take
    "solver": "auto", "alpha": None, "eta": None, "learn_priors": False, "batch_size": None,
    "learning_offset": None, "learning_decay": 0.7, "optimizer": None, "sampling": "uniform",
    "stream": None, "slices": None, "drift": False,
}  # fmt: skip


def model_of(options: argparse.Namespace) -> str:
    """Return the name of the model that is asked for, also by its fields.

    Raises
    ------
    ValueError
        If options contradict each other, or the model needs a field.
    """
    if options.time is not None and options.covariates is not None:
        raise ValueError("--time and --covariates: no model takes both; a time may be a covariate")
    implied = "dynamic" if options.time is not None else None
    implied = "correlated" if options.covariates is not None else implied
    name: str = options.model or implied or "lda"
    if implied is not None and name != implied:
        given = "--time" if implied == "dynamic" else "--covariates"
        raise ValueError(f"{given} is for --model {implied}, but --model is {name}")
    if name == "dynamic" and options.time is None:
        raise ValueError("--model dynamic needs the documents' times: give --time FIELD")
    takes = set(MODELS[name].takes) if name in MODELS else set(DEFAULTS) - {"slices", "drift"}
    for option, default in DEFAULTS.items():
        if option not in takes and getattr(options, option) != default:
            raise ValueError(f"--{option.replace('_', '-')} does not apply to --model {name}")
    return name


def fields_of(options: argparse.Namespace) -> list[str]:
    """Return the fields to keep with each document."""
    if options.time is not None:
        return [options.time]
    return list(options.covariates or [])


def fit_model(
    options: argparse.Namespace, name: str, candidates: list[int]
) -> tuple[Any, JsonObject]:
    """Fit a model; return the estimator, and what is known about it and its corpus.

    Of several numbers of topics, the one with the best held-out score is kept.
    """
    kept = fields_of(options)
    reading = reading_options(options) | ({"keep": kept} if kept else {})
    corpus = read(options.paths, **reading) if options.paths else standard_library(**reading)
    if not options.quiet:
        print(corpus.description, file=sys.stderr)
    train, test = _parts(options, corpus)
    given = extras(name, corpus, train)
    if len(test):
        given |= {"X_val": corpus.counts[test]} | extras(name, corpus, test, "_val")
    if options.early_stopping is not None and not len(test):
        raise ValueError("--early-stopping: there are no held-out documents to score")
    fits: list[JsonObject] = []
    best: Any = None
    for n_topics in candidates:
        estimator = _estimator(options, name, n_topics)
        begin = time.perf_counter()
        estimator.fit(
            corpus.counts[train], **given, early_stopping=options.early_stopping,
            checkpoint=options.checkpoint, checkpoint_interval=options.checkpoint_interval,
            resume=options.resume,
        )  # fmt: skip
        fits.append(_about_fit(estimator, name, len(train), time.perf_counter() - begin))
        found = max(fits, key=lambda fit: fit["held_out_log_likelihood"] or 0.0)
        if found is fits[-1]:
            best = estimator
    if corpus.vocabulary is not None:
        best.vocabulary_ = corpus.vocabulary
    best._info = _about(corpus, name, kept) | found
    return best, best._info | ({"compared": fits} if len(fits) > 1 else {})


def _about(corpus: Corpus, name: str, fields: list[str]) -> JsonObject:
    """Describe a corpus, as the file of a model keeps it."""
    about: JsonObject = {
        "corpus": corpus.description,
        "n_documents": corpus.n_documents,
        "n_empty": corpus.n_empty,
        "n_words": corpus.n_words,
        "n_tokens": corpus.n_tokens,
        "reading": {k: v for k, v in corpus.reading.items() if k != "keep"},
        "pruned": corpus.pruned,
        "model_kind": name,
    }
    return about | ({"time": fields[0]} if name == "dynamic" else {"covariates": fields})


def _estimator(options: argparse.Namespace, name: str, n_topics: int) -> Any:
    """Return an unfitted estimator."""
    model = MODELS[name]
    parameters: JsonObject = {}
    for option, parameter in model.takes.items():
        value = getattr(options, option)
        if value != DEFAULTS[option]:
            parameters[parameter] = value
    n_passes, until_settled = passes_of(options.passes, "--passes")
    if not until_settled:
        parameters |= {"max_iter": n_passes, "tol": 0.0}
    cls = getattr(importlib.import_module(model.module), model.class_name)
    return cls(
        n_topics, random_state=options.seed, n_jobs=threads(options),
        verbose=0 if options.quiet else 1, **parameters,
    )  # fmt: skip


def _parts(
    options: argparse.Namespace, corpus: Corpus
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the documents to fit, and of those to score.

    Levels of labels that would be in the latter only go to the former.
    """
    everything = np.arange(corpus.n_documents)
    if not options.held_out:
        return everything, everything[:0]
    try:
        train, test = split(corpus.counts, options.held_out, np.random.default_rng(options.seed))
    except ValueError as error:
        raise ValueError(f"{error}; to fit without a score: --held-out 0") from None
    known = np.ones(len(test), bool)
    for values in corpus.fields.values():
        levels = {values[d] for d in train.tolist()}
        if any(isinstance(level, str) for level in levels) and options.time is None:
            known &= np.array([values[d] in levels for d in test.tolist()], bool)
    train, test = np.sort(np.append(train, test[~known])), test[known]
    lengths = np.asarray(corpus.counts[test].sum(axis=1)).ravel()
    return train, test if np.any(lengths >= 2) else test[:0]


def _about_fit(estimator: Any, name: str, n_documents: int, seconds: float) -> JsonObject:
    """Describe how a fit went."""
    scores = estimator.history_.get("held_out", np.empty(0))
    scores = scores[np.isfinite(scores)]
    best = getattr(estimator, "best_iter_", None)
    score = None
    if len(scores):
        score = float(scores[-1] if best is None else estimator.best_score_)
    n_passes = int(estimator.n_iter_)
    return {
        "n_topics": int(getattr(estimator, "n_topics_", estimator.n_components)),
        "solver": name,
        "n_iter": n_passes,
        "best_iter": best,
        "settled": bool(getattr(estimator, "converged_", False)),
        "n_steps": int(getattr(estimator, "n_batch_iter_", n_passes)),
        "held_out_log_likelihood": score,
        "held_out_perplexity": None if score is None else float(np.exp(-score)),
        "documents_per_second": n_documents * n_passes / max(seconds, 1e-9),
        "fit_seconds": seconds,
    }
