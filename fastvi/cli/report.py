"""Reports as tables for people and as dictionaries for JSON."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from fastvi.models.topics.fitted import TopicModel

__all__ = ["print_fit", "print_topics", "topics_as_dicts"]


def topics_as_dicts(model: TopicModel, n_words: int) -> list[dict[str, Any]]:
    """Return topics with their share of the corpus and their top words."""
    return [
        {"topic": k, "share": share, "words": [{"word": w, "weight": p} for w, p in words]}
        for k, (share, words) in enumerate(
            zip(model.topic_shares.tolist(), model.top_words(n_words))
        )
    ]


def print_topics(model: TopicModel, n_words: int) -> None:
    """Print one row per topic, the largest first: number, share, top words with weights."""
    width = shutil.get_terminal_size((120, 24)).columns
    print(f"{'topic':>5} {'share':>6}  top words (probability in the topic)")
    shares, words = model.topic_shares, model.top_words(n_words)
    for k in np.argsort(-shares, kind="stable"):
        entries = [f"{word} {weight:.3f}".replace(" 0.", " .") for word, weight in words[k]]
        lead = f"{k:>5} {100 * shares[k]:>5.1f}%  "
        line = lead
        for entry in entries:
            if len(line) + len(entry) + 2 > width and line.strip() and line != lead:
                print(line.rstrip(", "))
                line = " " * len(lead)
            line += entry + ", "
        print(line.rstrip(", "))


def print_fit(info: dict[str, Any]) -> None:
    """Print the results of a fit, and of those that it was compared with."""
    print()
    if "compared" in info:
        print(f"{'topics':>7} {'held-out, nats per word':>24} {'perplexity':>11} {'passes':>7}")
        for fit in info["compared"]:
            kept = "  kept" if fit["n_topics"] == info["n_topics"] else ""
            print(
                f"{fit['n_topics']:>7} {fit['held_out_log_likelihood']:>24.4f} "
                f"{fit['held_out_perplexity']:>11.1f} {fit['n_iter']:>7}{kept}"
            )
        print()
    if info["held_out_log_likelihood"] is not None:
        print(
            f"held-out log-likelihood  {info['held_out_log_likelihood']:.4f} nats per word "
            f"(document completion), perplexity {info['held_out_perplexity']:.1f}"
        )
    settled = {True: ", settled", False: ", not settled", None: ""}[info["settled"]]
    if info["best_iter"] is not None:
        settled += f", the best after {info['best_iter']}"
    print(
        f"fit                      {info['n_documents']:,} documents ({info['n_empty']} empty), "
        f"{info['n_iter']} passes of {info['solver']}{settled}, in {info['fit_seconds']:.2f} s: "
        f"{info['documents_per_second']:,.0f} documents per second and pass"
    )
    print(f"model                    {info['model']}  ({info['seconds']:.1f} s in total)")
