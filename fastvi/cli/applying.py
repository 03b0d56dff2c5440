"""Commands that use a fitted model: ``fastvi topics``, ``transform`` and ``score``."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.archive import replacing
from fastvi.base.typing import AnyArray, JsonObject
from fastvi.cli.opened import Opened, open_model
from fastvi.cli.options import check_outputs, reading_options, threads
from fastvi.cli.report import print_topics, topics_as_dicts
from fastvi.corpus.documents import Corpus
from fastvi.corpus.options import TEXT_FORMATS, Options
from fastvi.corpus.reading import align, read, resolve, texts_of, without_other_formats
from fastvi.corpus.splitting import halves
from fastvi.models.topics.fitted import TopicModel

__all__ = ["score", "show_topics", "transform", "write_report"]

N_EXAMPLES = 20  # documents per topic whose texts are read for a report


def show_topics(options: argparse.Namespace) -> None:
    """Print or plot the topics of a model, or report on them."""
    checks.integer(options.top_words, "--top-words", 1)
    check_outputs(options)
    if options.paths and not options.html:
        raise ValueError("PATH names documents for the report; give --html FILE as well")
    opened = open_model(options.model)
    model = opened.model
    if options.plot:
        from fastvi.plots import plot_topics

        plot_topics(model, options.plot)
    if options.html:
        write_report(opened, options, options.model)
    if options.json:
        print(json.dumps({"topics": topics_as_dicts(model, options.top_words)}))
    else:
        print_topics(model, options.top_words)


def write_report(opened: Opened, options: argparse.Namespace, path: str) -> None:
    """Write the report on a model from the file `path`, with the documents if there are any."""
    from fastvi.plots.report import topic_report

    if not options.paths:
        topic_report(opened.topics(), options.html)
        return
    corpus, reading = _documents_for(opened, options, path)
    theta = opened.proportions(corpus, threads(options))
    shown = sorted({int(d) for column in theta.T for d in np.argsort(-column)[:N_EXAMPLES]})
    found = texts_of(options.paths, shown, **reading)
    texts = None
    if found is not None:
        texts = [""] * corpus.n_documents
        for d, text in zip(shown, found):
            texts[d] = text
    topic_report(
        opened.topics(), options.html, documents=corpus.counts, proportions=theta,
        names=corpus.names, texts=texts,
    )  # fmt: skip


def _documents_for(
    opened: Opened, options: argparse.Namespace, path: str
) -> tuple[Corpus, JsonObject]:
    """Return documents in the columns of the model of the file `path`, and how they were read.

    They are read like those of its fit.
    """
    model = opened.model
    kept = _kept(model, path)
    fields = opened.needs(options.time, options.covariates)
    if options.format is None:
        kept = without_other_formats(options.paths, kept)
    reading = kept | reading_options(options) | ({"keep": fields} if fields else {})
    _, kind = resolve(options.paths, Options(**reading))
    words = model.vocabulary
    if kind in TEXT_FORMATS and options.vocabulary is None:
        if words is None:
            raise ValueError(
                f"{path}: a model without a vocabulary cannot take texts; give "
                "--vocabulary FILE, or counts"
            )
        return read(options.paths, **reading | {"vocabulary": words}), reading
    if words is not None and options.vocabulary is None:
        reading |= {"min_df": 1, "max_df": 1.0, "stop_words": None}
    corpus = read(options.paths, **reading)
    if words is not None and corpus.vocabulary is not None:
        return align(corpus, words), reading
    _check_columns_of(corpus, model, kind, path)
    if corpus.n_words < len(model.table):
        corpus.counts.resize(corpus.n_documents, len(model.table))
    return corpus, reading


def _kept(model: TopicModel, path: str) -> JsonObject:
    """Return how the corpus of the model's fit was read."""
    reading = model.info.get("reading", {})
    try:
        Options(**reading)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its reading options are damaged ({error})") from None
    return dict(reading)


def _check_columns_of(corpus: Corpus, model: TopicModel, kind: str, path: str) -> None:
    """Refuse columns that are matched by number if the numbers differ in meaning."""
    n_words = len(model.table)
    if corpus.n_words > n_words:
        raise ValueError(
            f"the corpus has {corpus.n_words} words and the model {n_words}: "
            "they do not share a vocabulary"
        )
    was_counts = "token_pattern" not in model.info.get("reading", {})
    same_width = corpus.n_words == n_words and kind not in ("ldac", "svmlight")
    if was_counts and model.info.get("pruned") and not same_width:
        raise ValueError(
            f"{path}: its words are some of the columns of its corpus, and columns without words "
            "cannot be matched with them; give --vocabulary FILE"
        )


def transform(options: argparse.Namespace) -> None:
    """Write the topic proportions of documents."""
    check_outputs(options)
    if options.output and not options.output.endswith((".npz", ".csv", ".csv.gz")):
        raise ValueError(f"--output {options.output}: wanted a name in .npz, .csv or .csv.gz")
    opened = open_model(options.model)
    corpus, _ = _documents_for(opened, options, options.model)
    theta = opened.proportions(corpus, threads(options))
    print(f"{corpus.description}; {corpus.n_empty} empty", file=sys.stderr)
    names = corpus.names or [str(d) for d in range(len(theta))]
    _write_proportions(options.output, names, theta)


def _write_proportions(path: str | None, names: list[str], theta: AnyArray) -> None:
    if path is None:
        _write_csv(sys.stdout, names, theta)
        return
    with replacing(path) as temporary:
        if path.endswith(".npz"):
            with open(temporary, "wb") as file:
                np.savez(file, topic_proportions=theta, names=np.array(names, dtype=np.str_))
        else:
            opener: Any = gzip.open if path.endswith(".gz") else open
            with opener(temporary, "wt", encoding="utf-8", newline="") as file:
                _write_csv(file, names, theta)


def _write_csv(file: Any, names: list[str], theta: AnyArray) -> None:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["document", *(f"topic_{k}" for k in range(theta.shape[1]))])
    for name, row in zip(names, theta.tolist()):
        writer.writerow([name, *(f"{p:.6g}" for p in row)])


def score(options: argparse.Namespace) -> None:
    """Print how well a model predicts documents."""
    opened = open_model(options.model)
    checks.integer(options.seed, "--seed", 0)
    corpus, _ = _documents_for(opened, options, options.model)
    parts = halves(corpus.counts, np.random.default_rng(options.seed))
    n_scored = float(parts.scored.sum(dtype=np.float64))
    if not n_scored > 0:
        raise ValueError("no document has two words that the model knows; nothing to score")
    scores = opened.scores(corpus, parts, threads(options))
    if options.json:
        result = {
            "n_documents": corpus.n_documents,
            "n_empty": corpus.n_empty,
            "n_scored_words": n_scored,
        }
        for name, (_, value) in scores.items():
            result |= {name: value, f"{name}_perplexity": float(np.exp(-value))}
        print(json.dumps(result))
        return
    print(f"documents                        {corpus.n_documents:>12,} ({corpus.n_empty} empty)")
    for name, value in scores.values():
        print(f"{name + ', nats/word':<32} {value:>12.4f}  perplexity {np.exp(-value):.1f}")
