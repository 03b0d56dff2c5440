"""The command ``fastvi lda``: read a corpus and fit topics to it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.bags import MAX_TOKENS, bags_of_words
from fastvi.base.typing import JsonObject
from fastvi.checkpoints import Watching
from fastvi.cli.applying import write_report
from fastvi.cli.models import MODELS, fit_model, model_of
from fastvi.cli.opened import open_model
from fastvi.cli.options import check_numbers, check_outputs, reading_options, threads
from fastvi.cli.report import print_fit, print_topics, topics_as_dicts
from fastvi.corpus.documents import Corpus
from fastvi.corpus.reading import read
from fastvi.corpus.shards import ShardedCorpus, read_sharded
from fastvi.corpus.splitting import split
from fastvi.corpus.stdlib import standard_library
from fastvi.history import History
from fastvi.models.counts import CountSource, DocumentSource, ShardedSource
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.settings import IN_MEMORY, Settings, choose_solver, tools_of
from fastvi.models.topics.settling import passes_of
from fastvi.models.topics.training import Training, train

__all__ = ["fit_topics"]

STREAM_BYTES = 64 << 20  # corpora of this size and more are shuffled on disk
N_TOPICS = 20
MAX_TOPICS = 1_000_000
N_HELD_OUT = 1000  # documents kept in memory for scoring a streamed fit


def fit_topics(options: argparse.Namespace) -> None:
    """Fit topics, save the model and print it."""
    begin = time.perf_counter()
    name = model_of(options)
    options.topics = options.topics or [MODELS[name].n_topics if name in MODELS else N_TOPICS]
    check_outputs(options)
    check_numbers(options)
    if name == "lda":
        info = _fit_allocation(options)
    else:
        for n_topics in options.topics:
            checks.integer(n_topics, "--topics", 1, MAX_TOPICS)
        estimator, info = fit_model(options, name, options.topics)
        estimator.save(options.output)
    opened = open_model(options.output)
    if options.plot:
        from fastvi.plots import plot_topics

        plot_topics(opened.model, options.plot)
    if options.html:
        write_report(opened, options, options.output)
    info = info | {"model": options.output, "seconds": time.perf_counter() - begin}
    if options.json:
        print(json.dumps(info | {"topics": topics_as_dicts(opened.model, options.top_words)}))
    else:
        print_topics(opened.model, options.top_words)
        print_fit(info)


def _fit_allocation(options: argparse.Namespace) -> JsonObject:
    """Fit latent Dirichlet allocation and save it; return what is known about the fit."""
    candidates = [_settings(options, n_topics) for n_topics in options.topics]
    n_threads = threads(options)
    largest = max(candidates, key=lambda settings: settings.n_topics)
    with _training_corpus(options, largest) as (corpus, held_out_counts, about):
        _say(options, about["corpus"])
        held_out = _held_out(held_out_counts, largest)
        if options.early_stopping is not None and held_out is None:
            raise ValueError("--early-stopping: there are no held-out documents to score")
        if len(candidates) > 1 and held_out is None:
            raise ValueError("--topics: there are no held-out documents to compare numbers with")
        best, found = _best_fit(options, candidates, corpus, held_out, n_threads)
    info = about | found
    model = replace(best, info=info, vocabulary=info.pop("vocabulary"))
    model.save(options.output)
    return info


def _best_fit(
    options: argparse.Namespace,
    candidates: list[Settings],
    corpus: CountSource,
    held_out: HeldOut | None,
    n_threads: int,
) -> tuple[TopicModel, JsonObject]:
    """Fit with all settings; return the model with the best held-out score, and its description."""
    n_passes, until_settled = passes_of(options.passes, "--passes")
    watching = Watching(
        None, options.checkpoint, options.checkpoint_interval, options.resume,
        options.early_stopping,
    )  # fmt: skip
    fits: list[JsonObject] = []
    for settings in candidates:
        if settings.solver == "auto":
            name = choose_solver(corpus.n_entries, settings.n_topics, tools_of(settings))
            settings = replace(settings, solver=name)
        training = train(
            settings, corpus, n_passes, until_settled=until_settled, n_threads=n_threads,
            held_out=held_out, early=True, watching=watching, verbose=not options.quiet,
        )  # fmt: skip
        about = _about_fit(settings, training, until_settled, options.early_stopping is not None)
        fits.append(about)
        kept = max(fits, key=lambda fit: fit["held_out_log_likelihood"] or 0.0)
        if kept is fits[-1]:
            best = training.model
    return best, kept | ({"compared": fits} if len(fits) > 1 else {})


def _about_fit(
    settings: Settings, training: Training, until_settled: bool, keeps_best: bool
) -> JsonObject:
    """Describe how a fit went."""
    history = training.model.history
    scores = History({name: column.tolist() for name, column in history.items()}).pass_scores()
    kept = max(scores, key=lambda i: scores[i] if keeps_best else i) if scores else None
    score = None if kept is None else scores[kept]
    return {
        "n_topics": settings.n_topics,
        "solver": settings.solver,
        "n_iter": training.n_epochs,
        "best_iter": kept + 1 if keeps_best and kept is not None else None,
        "settled": training.converged if until_settled else None,
        "n_steps": len(history["epoch"]),
        "held_out_log_likelihood": score,
        "held_out_perplexity": None if score is None else float(np.exp(-score)),
        "documents_per_second": training.n_documents_seen / max(training.seconds, 1e-9),
        "fit_seconds": training.seconds,
    }


def _held_out(counts: Any, settings: Settings) -> HeldOut | None:
    """Return documents in halves, or None if they have no words to score."""
    if counts is None:
        return None
    try:
        held_out = HeldOut.of(counts, np.random.default_rng([settings.seed, 1]))
    except ValueError as error:
        raise ValueError(f"{error}, or fit without a score: --held-out 0") from None
    return held_out if held_out.n_scored > 0 else None


def _settings(options: argparse.Namespace, n_topics: int) -> Settings:
    checks.integer(n_topics, "--topics", 1, MAX_TOPICS)
    if options.learning_offset is not None:
        checks.number(options.learning_offset, "--learning-offset", 0.0)
    return Settings(
        options.solver,
        alpha=checks.prior(options.alpha, "--alpha", n_topics, 1.0 / n_topics),
        eta=float(checks.prior(options.eta, "--eta", 1, 1.0 / n_topics)[0]),
        learn_alpha=options.learn_priors,
        learn_eta=options.learn_priors,
        batch_size=options.batch_size,
        learning_offset=options.learning_offset,
        learning_decay=checks.number(
            options.learning_decay, "--learning-decay", 0.5, 1.0, open_low=True
        ),
        seed=options.seed,
        optimizer=_optimizer(options.optimizer),
        sampling=options.sampling,
    )


def _optimizer(given: str | None) -> str | float | None:
    """Convert a number to a rate."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


@contextmanager
def _training_corpus(
    options: argparse.Namespace, settings: Settings
) -> Iterator[tuple[CountSource, Any, JsonObject]]:
    """Return the corpus to fit, the held-out documents (or None), and a description of them."""
    rng = np.random.default_rng([settings.seed, 0])
    if _is_streamed(options, settings):
        n_held_out = N_HELD_OUT if options.held_out else 0
        batch_size = settings.batch_size or 1024
        with read_sharded(
            options.paths, batch_size=batch_size, n_held_out=n_held_out, random_state=rng,
            **reading_options(options),
        ) as shards:  # fmt: skip
            _check_tokens(shards.n_tokens, settings)
            _check_columns(options, shards)
            yield ShardedSource(shards), shards.held_out, _about(shards)
        return
    reading = reading_options(options)
    corpus = read(options.paths, **reading) if options.paths else standard_library(**reading)
    _check_tokens(corpus.n_tokens, settings)
    _check_columns(options, corpus)
    counts, held_out = corpus.counts, None
    if options.held_out:
        try:
            train_rows, test_rows = split(counts, options.held_out, rng)
        except ValueError as error:
            raise ValueError(f"{error}; to fit without a score: --held-out 0") from None
        counts, held_out = corpus.counts[train_rows], corpus.counts[test_rows]
    yield DocumentSource(*bags_of_words(counts)), held_out, _about(corpus)


def _is_streamed(options: argparse.Namespace, settings: Settings) -> bool:
    if options.stream is not None:
        if options.stream and not options.paths:
            raise ValueError("--stream needs a corpus: give its PATH")
        if options.stream and settings.solver in IN_MEMORY:
            raise ValueError(
                f"--stream: solver {settings.solver} needs the corpus in memory; "
                "wanted scvb0 or svi"
            )
        return bool(options.stream)
    if not options.paths or settings.solver in IN_MEMORY:
        return False
    return sum(_size(Path(path)) for path in options.paths) >= STREAM_BYTES


def _size(path: Path) -> int:
    """Bytes of text in a file or folder; a gzipped file holds about four times its size."""
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    if not path.exists():
        return 0  # the reader will report the error
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return path.stat().st_size * (4 if is_gzip else 1)


def _check_tokens(n_tokens: float, settings: Settings) -> None:
    if not n_tokens > 0:
        raise ValueError("every document is empty: there are no words to fit topics to")
    if n_tokens > MAX_TOKENS:
        raise ValueError(
            f"the corpus holds {n_tokens:g} words; at most {MAX_TOKENS:g} can be counted"
        )
    if settings.n_topics > n_tokens:
        raise ValueError(
            f"--topics is {settings.n_topics}, more than the {n_tokens:g} words in the corpus"
        )


def _check_columns(options: argparse.Namespace, corpus: Corpus | ShardedCorpus) -> None:
    """Refuse pruning without a vocabulary, as columns could not be identified later."""
    pruned = options.max_features is not None or {options.min_df, options.max_df} != {"auto"}
    if pruned and corpus.vocabulary is None:
        raise ValueError(
            "--min-df, --max-df and --max-features renumber the words of a corpus without a "
            "vocabulary: give its --vocabulary FILE, or do not prune"
        )


def _about(corpus: Corpus | ShardedCorpus) -> JsonObject:
    return {
        "corpus": corpus.description,
        "n_documents": corpus.n_documents,
        "n_empty": corpus.n_empty,
        "n_words": corpus.n_words,
        "n_tokens": corpus.n_tokens,
        "vocabulary": corpus.vocabulary,
        "reading": dict(corpus.reading),
        "pruned": corpus.pruned,
    }


def _say(options: argparse.Namespace, text: str) -> None:
    """Print a note, unless the output is JSON."""
    if not getattr(options, "quiet", False):
        print(text, file=sys.stderr)
