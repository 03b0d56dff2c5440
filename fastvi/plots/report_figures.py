"""Drawings of reports on topics, as SVG: a map, bars of words, trends, a graph of correlations."""

from __future__ import annotations

from html import escape

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.plots.topics import around

__all__ = ["bars", "graph", "topic_map", "trend"]

SIDE = 520.0
MARGIN = 46.0
LARGEST = 44.0  # radius of a bubble


def _svg(width: float, height: float, title: str, description: str, body: str, role: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="{role}" '
        f'aria-label="{escape(title)}. {escape(description)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{body}</svg>"
    )


def _bubble(k: int, x: float, y: float, radius: float, label: str) -> str:
    """Return a circle with its number, which leads to the topic."""
    return (
        f'<a href="#topic-{k}" data-mark="{k}" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>"
        f'<circle class="bubble" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text x="{x:.1f}" y="{y + 6:.1f}" text-anchor="middle" font-size="18">{k}</text></a>'
    )


def _radii(shares: Array) -> Array:
    return np.asarray(9.0 + (LARGEST - 9.0) * np.sqrt(shares / max(float(shares.max()), 1e-12)))


def topic_map(places: Array, shares: Array, labels: list[str], kept: float) -> str:
    """Draw topics as bubbles whose areas grow with their shares."""
    span = float(np.ptp(places, axis=0).max()) or 1.0
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    inner = SIDE - 2 * (MARGIN + LARGEST / 2)
    xy = SIDE / 2 + (places - middle) / span * inner * np.array([1.0, -1.0])
    radii = _radii(shares)
    body = "".join(
        _bubble(k, xy[k, 0], xy[k, 1], radii[k], labels[k])
        for k in np.argsort(-shares, kind="stable").tolist()
    )
    description = (
        f"{len(places)} topics; near each other where their words are alike, larger where their "
        f"share is. The two dimensions keep {100 * kept:.0f} % of the squared Jensen-Shannon "
        "distances."
    )
    return _svg(SIDE, SIDE, "Map of topics", description, body, "group")


def bars(words: list[tuple[str, float]], title: str) -> str:
    """Draw the probabilities of words."""
    step, top = 22.0, max((p for _, p in words), default=1.0) or 1.0
    rows = []
    for i, (word, p) in enumerate(words):
        y = step * i
        rows.append(
            f'<text x="150" y="{y + 15:.0f}" text-anchor="end" font-size="14">'
            f"{escape(word[:18])}</text>"
            f'<rect class="bar" x="158" y="{y + 3:.0f}" width="{200 * p / top:.1f}" height="14"/>'
            f'<text x="{164 + 200 * p / top:.1f}" y="{y + 15:.0f}" font-size="12">'
            f"{100 * p:.2g} %</text>"
        )
    listed = ", ".join(word for word, _ in words[:5])
    return _svg(420, step * len(words) + 4, title, f"The first are {listed}.", "".join(rows), "img")


def trend(labels: list[str], shares: Array, title: str) -> str:
    """Draw a topic's share over time."""
    width, height, left, low = 420.0, 150.0, 48.0, 118.0
    top = float(shares.max()) or 1.0
    x = left + (width - left - 12) * np.linspace(0, 1, max(len(shares), 2))[: len(shares)]
    y = low - (low - 14) * shares / top
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    line = f'<polyline class="trend" points="{points}"/>'
    if len(shares) == 1:
        line = f'<circle class="bar" cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="4"/>'
    body = (
        f'<line class="axis" x1="{left}" y1="{low}" x2="{width - 12}" y2="{low}"/>'
        f'<line class="axis" x1="{left}" y1="14" x2="{left}" y2="{low}"/>'
        f'<text x="{left - 5}" y="19" text-anchor="end" font-size="12">{100 * top:.2g} %</text>'
        f'<text x="{left - 5}" y="{low + 4}" text-anchor="end" font-size="12">0</text>'
        f'<text x="{left}" y="{low + 18}" font-size="12">{escape(labels[0])}</text>'
        f'<text x="{width - 12}" y="{low + 18}" text-anchor="end" font-size="12">'
        f"{escape(labels[-1])}</text>{line}"
    )
    best = int(np.argmax(shares))
    description = (
        f"From {100 * shares[0]:.2g} % in {labels[0]} to {100 * shares[-1]:.2g} % in {labels[-1]}, "
        f"largest with {100 * top:.2g} % in {labels[best]}."
    )
    return _svg(width, height, title, description, body, "img")


def graph(correlation: AnyArray, shares: Array, labels: list[str], least: float) -> str:
    """Draw correlations of at least `least` as lines between topics on a circle."""
    angles = around(correlation)
    xy = SIDE / 2 + (SIDE / 2 - MARGIN) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = np.argwhere(np.triu(np.abs(correlation) >= least, 1)).tolist()
    lines = []
    for i, j in pairs:
        value = float(correlation[i, j])
        kind = "together" if value > 0 else "apart"
        lines.append(
            f'<line class="{kind}" x1="{xy[i, 0]:.1f}" y1="{xy[i, 1]:.1f}" x2="{xy[j, 0]:.1f}" '
            f'y2="{xy[j, 1]:.1f}" stroke-width="{1 + 7 * abs(value):.1f}">'
            f"<title>{i} and {j}: {value:+.2f}</title></line>"
        )
    radii = _radii(shares) * 0.6
    nodes = [_bubble(k, xy[k, 0], xy[k, 1], radii[k], labels[k]) for k in range(len(xy))]
    description = (
        f"{len(pairs)} of {len(xy) * (len(xy) - 1) // 2} pairs of topics are correlated by "
        f"{least:g} or more: solid blue lines join topics that occur together, dashed orange lines "
        "those that avoid each other."
    )
    body = "".join(lines) + "".join(nodes)
    return _svg(SIDE, SIDE, "Correlations of topics", description, body, "group")
