"""The page of a report on topics."""

from __future__ import annotations

from html import escape

import numpy as np

from fastvi.plots.report_assets import SCRIPT, STYLE
from fastvi.plots.report_figures import bars, graph, topic_map, trend
from fastvi.plots.report_summary import Change, Example, Summary

__all__ = ["page"]

N_LISTED = 8  # words of a topic in tables and labels
N_BARS = 12
LEAST = 0.2  # correlation that is drawn
N_NEIGHBOURS = 5
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)


def page(summary: Summary, title: str) -> str:
    """Return the page as HTML, which needs nothing else."""
    labels = [_label(summary, k) for k in range(len(summary.shares))]
    parts = [
        _header(summary, title),
        '<main><div class="columns"><section aria-labelledby="list"><h2 id="list">Topics</h2>',
        _table(summary),
        '</section><section aria-labelledby="map"><h2 id="map">Map of topics</h2>',
        topic_map(summary.places, summary.shares, labels, summary.kept),
        f'<p class="note">Topics near each other use similar words. The map keeps '
        f"{100 * summary.kept:.0f} % of their squared Jensen-Shannon distances."
        "</p></section></div>",
        _graph(summary, labels),
        '<section aria-labelledby="details"><h2 id="details">One topic</h2>',
        *(_topic(summary, k) for k in summary.order),
        "</section></main>",
        _footer(summary),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        + "\n".join(parts)
        + f"<script>{SCRIPT}</script></body></html>\n"
    )


def _label(summary: Summary, k: int) -> str:
    words = ", ".join(word for word, _ in summary.words[k][:N_LISTED])
    return f"Topic {k}, {100 * summary.shares[k]:.1f} %: {words}"


def _header(summary: Summary, title: str) -> str:
    facts = [f"{len(summary.shares)} topics", *summary.facts]
    if summary.coherence is not None:
        facts.append(f"mean coherence (NPMI) {summary.coherence.mean():.3f}")
    facts.append(f"diversity {summary.diversity:.2f}")
    return (
        f'<header><h1>{escape(title)}</h1><p class="facts">{escape("; ".join(facts))}</p>'
        '<div class="search script" role="search" hidden>'
        '<label for="search">Search words and documents</label>'
        '<input id="search" type="search" autocomplete="off">'
        '<button id="everything" type="button">Show all topics</button>'
        '<button id="one" type="button" hidden>Show one topic</button>'
        '<output id="found" for="search" aria-live="polite"></output></div></header>'
    )


def _table(summary: Summary) -> str:
    coherent = summary.coherence is not None
    head = '<th scope="col" class="number wide">Coherence</th>' if coherent else ""
    rows = []
    for k in summary.order:
        words = ", ".join(word for word, _ in summary.words[k][:N_LISTED])
        value = ""
        if summary.coherence is not None:
            value = f'<td class="number wide">{summary.coherence[k]:.2f}</td>'
        rows.append(
            f'<tr data-mark="{k}"><th scope="row"><a href="#topic-{k}">{k}</a></th>'
            f'<td class="number">{100 * summary.shares[k]:.1f} %</td><td>{escape(words)}</td>'
            f"{value}</tr>"
        )
    return (
        '<table><thead><tr><th scope="col">Topic</th><th scope="col" class="number">Share</th>'
        f'<th scope="col">Most probable words</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _graph(summary: Summary, labels: list[str]) -> str:
    if summary.correlation is None:
        return ""
    drawing = graph(summary.correlation, summary.shares, labels, LEAST)
    return (
        '<section aria-labelledby="graph"><h2 id="graph">Correlations</h2><div class="columns">'
        f'<div>{drawing}</div><p class="note">Solid blue lines join topics that occur in the same '
        "documents, dashed orange lines topics that avoid each other; the wider the line, the "
        f"larger the correlation. Correlations below {LEAST:g} are not drawn.</p></div></section>"
    )


def _topic(summary: Summary, k: int) -> str:
    words = [word for word, _ in summary.words[k]]
    examples = [] if summary.examples is None else summary.examples[k]
    known = " ".join([*words, *summary.distinctive[k]]).lower()
    searched = " ".join([known, *(f"{e.name} {e.text}" for e in examples)]).lower()
    about = f"Share of the corpus: {100 * summary.shares[k]:.1f} %."
    if summary.coherence is not None:
        about += f" Coherence (NPMI): {summary.coherence[k]:.3f}."
    left = bars(summary.words[k][:N_BARS], f"Most probable words of topic {k}")
    right = [
        f"<h4>More probable words</h4><p>{escape(', '.join(words[N_BARS:]) or 'none')}</p>",
        f"<h4>Distinctive words</h4><p>{escape(', '.join(summary.distinctive[k]))}</p>",
        _neighbours(summary, k),
        _effects(summary, k),
    ]
    return (
        f'<article id="topic-{k}" data-topic="{k}" data-words="{escape(known)}" '
        f'data-search="{escape(searched)}" tabindex="-1"><h3>Topic {k}</h3><p>{about}</p>'
        f'<div class="columns"><div>{left}</div><div>{"".join(right)}</div></div>'
        + ("" if summary.change is None else _over_time(summary.change, k))
        + ("" if summary.examples is None else _documents(examples))
        + "</article>"
    )


def _neighbours(summary: Summary, k: int) -> str:
    if summary.correlation is None or len(summary.shares) < 2:
        return ""
    row = np.array(summary.correlation[k], np.float64)
    row[k] = 0.0
    best = np.argsort(-np.abs(row), kind="stable")[: min(N_NEIGHBOURS, len(row) - 1)].tolist()
    links = ", ".join(f'<a href="#topic-{j}">topic {j}</a> ({row[j]:+.2f})' for j in best)
    return f"<h4>Correlated topics</h4><p>{links}</p>"


def _effects(summary: Summary, k: int) -> str:
    if not summary.effects:
        return ""
    listed = ", ".join(f"{escape(name)} {values[k]:+.3g}" for name, values in summary.effects)
    return f"<h4>Coefficients of covariates, in log weight per unit</h4><p>{listed}</p>"


def _over_time(change: Change, k: int) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        f"<td>{escape(', '.join(words[k][:N_LISTED]))}</td></tr>"
        for label, words in change.words
    )
    return (
        '<h4>Over time</h4><div class="columns"><div>'
        + trend(change.labels, change.shares[:, k], f"Share of topic {k} over time")
        + f"<p>Rising: {escape(', '.join(change.rising[k][:N_LISTED]))}.</p>"
        + f"<p>Falling: {escape(', '.join(change.falling[k][:N_LISTED]))}.</p></div>"
        + f'<table><thead><tr><th scope="col">Time</th><th scope="col">Most probable words</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _documents(examples: list[Example]) -> str:
    rows = "".join(
        f'<li data-text="{escape(f"{e.name} {e.text}".lower())}"><strong>{escape(e.name)}</strong> '
        f"({100 * e.share:.0f} %): {escape(e.text)}</li>"
        for e in examples
    )
    return f"<h4>Documents with the largest share of it</h4><ol>{rows}</ol>"


def _footer(summary: Summary) -> str:
    missing = ""
    if summary.examples is None:
        missing = " Coherence and documents are shown where the report is given documents."
    return (
        "<footer><p>Shares are of the words in the training corpus. Distinctive words are ranked "
        "by relevance (Sievert and Shirley 2014) with weight 0.3. Coherence is the mean normalised "
        "pointwise mutual information of a topic's ten most probable words, from -1 to 1, where "
        "whole documents are the windows; diversity is the share of distinct words among the "
        f"topics' most probable words.{missing} Made by fastvi.</p></footer>"
    )
