"""A report on a fit for the browser, in one file that needs no network."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from fastvi.base.archive import replacing
from fastvi.base.typing import Path
from fastvi.plots.report_assets import STYLE

__all__ = ["FitReport", "Picture", "write_fit_report"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
EXTRA = """
img { display: block; max-width: 100%; height: auto; }
figure { margin: 0.6rem 0; }
figcaption, .note { color: var(--faint); font-size: 0.92rem; }
.verdict { border: 2px solid var(--ink); border-radius: 6px; padding: 0.6rem 0.8rem;
  margin: 0.8rem 0; background: var(--panel); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel);
  border: 1px solid var(--line); padding: 0.5rem 0.7rem; }
.scroll { overflow-x: auto; }
.figures td, .figures th { white-space: nowrap; padding-right: 1rem; }
"""


class Picture(NamedTuple):
    """What draws a picture into a file, its caption, and what it shows in words."""

    draw: Callable[[str], None]
    caption: str
    alt: str


class FitReport(NamedTuple):
    """What a report says.

    Attributes
    ----------
    title : str
    verdict : tuple of str and str
        A word or two, and the reason in a sentence.
    facts : sequence of (str, str)
        Names and values: what was fitted, how well, in which time.
    tables : sequence of (str, sequence of sequences of str)
        Titles and rows, the first of them the header.
    pictures : sequence of Picture
    command : str
        What repeats the fit.
    cite : sequence of str
        References.
    """

    title: str
    verdict: tuple[str, str]
    facts: Sequence[tuple[str, str]]
    tables: Sequence[tuple[str, Sequence[Sequence[str]]]]
    pictures: Sequence[Picture]
    command: str
    cite: Sequence[str]


def write_fit_report(report: FitReport, path: Path) -> None:
    """Write the page, atomically.

    Raises
    ------
    OSError
        If the file cannot be written; an old file is then kept.
    """
    content = _page(report).encode("utf-8", "replace")
    with replacing(os.fspath(path)) as temporary, open(temporary, "wb") as file:
        file.write(content)


def _page(report: FitReport) -> str:
    word, reason = report.verdict
    parts = [
        f"<header><h1>{escape(report.title)}</h1></header><main>",
        f'<p class="verdict"><strong>Verdict: {escape(word)}.</strong> {escape(reason)}</p>',
        _section("The fit", _table([("", ""), *report.facts], headed=False)),
        *(_section("", _figure(picture)) for picture in report.pictures),
        *(_section(title, _table(rows)) for title, rows in report.tables),
        _section("To repeat it", f"<pre>{escape(report.command)}</pre>"),
        _section("To cite it", "".join(f"<p>{escape(line)}</p>" for line in report.cite)),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{STYLE}{EXTRA}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f"<section>{head}{body}</section>"


def _table(rows: Sequence[Sequence[str]], headed: bool = True) -> str:
    """A table; its first column names the rows."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0]) if headed else ""
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    kind = ' class="figures"' if headed else ""
    return f'<div class="scroll"><table{kind}>{top}<tbody>{body}</tbody></table></div>'


def _figure(picture: Picture) -> str:
    """The picture within the page, as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.svg")
        picture.draw(path)
        with open(path, "rb") as file:
            data = base64.b64encode(file.read()).decode()
    return (
        f'<figure><img alt="{escape(picture.alt)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )
