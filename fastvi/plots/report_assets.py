"""Style and script of reports on topics; colours are those of Okabe and Ito (2008)."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root { --ink: #1b1b1b; --faint: #595959; --line: #d0d0d0; --blue: #0072b2; --red: #d55e00;
  --page: #ffffff; --panel: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--page);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0.5rem 1rem; }
h1 { margin: 0.6rem 0 0.2rem; font-size: 1.7rem; }
h2 { margin: 1.6rem 0 0.4rem; font-size: 1.25rem; }
h3 { margin: 0 0 0.3rem; font-size: 1.15rem; }
h4 { margin: 0.8rem 0 0.2rem; font-size: 1rem; }
p, ol, ul { margin: 0.3rem 0; }
a { color: var(--blue); }
.facts, .note, footer { color: var(--faint); font-size: 0.92rem; }
.search { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin: 0.6rem 0; }
.search input { flex: 1 1 12rem; max-width: 28rem; font: inherit; padding: 0.35rem 0.5rem; }
.search button { font: inherit; padding: 0.35rem 0.7rem; }
.columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 0 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.5rem 0.25rem 0;
  border-bottom: 1px solid var(--line); }
th { overflow-wrap: normal; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.chosen td, tr.chosen th { background: #fdebdd; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-family: system-ui, sans-serif; }
.bubble { fill: var(--blue); fill-opacity: 0.35; stroke: var(--blue); stroke-width: 1; }
.bar { fill: var(--blue); }
.trend { fill: none; stroke: var(--blue); stroke-width: 2; }
.axis { stroke: var(--line); stroke-width: 1; }
.together { stroke: var(--blue); stroke-opacity: 0.65; }
.apart { stroke: var(--red); stroke-opacity: 0.75; stroke-dasharray: 7 5; }
.chosen .bubble { fill: var(--red); fill-opacity: 0.6; stroke: #7a3600; stroke-width: 3; }
.dimmed { opacity: 0.25; }
article { background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.8rem 1rem; margin: 0.8rem 0; }
article .columns { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
article ol { padding-left: 1.4rem; }
article li { margin: 0.35rem 0; }
:focus-visible { outline: 3px solid var(--red); outline-offset: 2px; }
[hidden] { display: none !important; }
@media (max-width: 720px) {
  .columns, article .columns { grid-template-columns: minmax(0, 1fr); }
  h1 { font-size: 1.35rem; }
  td.wide, th.wide { display: none; }
  table { font-size: 0.92rem; }
  header, main, footer { padding: 0.5rem 0.7rem; }
  article { padding: 0.6rem 0.7rem; }
  th { white-space: normal; }
}
@media print { .search { display: none; } }
"""

# Everything it needs is in the page: without it, all topics are shown.
SCRIPT = """
"use strict";
(() => {
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const topics = all("article[data-topic]");
  const field = document.getElementById("search");
  const found = document.getElementById("found");
  const everything = document.getElementById("everything");
  const one = document.getElementById("one");
  let chosen = null, whole = false;

  const matches = (topic, query) =>
    query === "" || topic.dataset.search.includes(query);

  function show() {
    const query = field.value.trim().toLowerCase();
    const hits = topics.filter((topic) => matches(topic, query));
    const numbers = new Set(hits.map((topic) => topic.dataset.topic));
    if (chosen === null || !numbers.has(chosen))
      chosen = hits.length ? hits[0].dataset.topic : null;
    for (const topic of topics)
      topic.hidden = !(numbers.has(topic.dataset.topic)
        && (whole || topic.dataset.topic === chosen));
    for (const mark of all("[data-mark]")) {
      mark.classList.toggle("chosen", mark.dataset.mark === chosen);
      if (mark.tagName === "TR") mark.hidden = !numbers.has(mark.dataset.mark);
      else mark.classList.toggle("dimmed", !numbers.has(mark.dataset.mark));
    }
    for (const row of all("[data-text]"))
      row.hidden = query !== "" && !row.dataset.text.includes(query)
        && !row.closest("article").dataset.words.includes(query);
    found.textContent = query === "" ? "" :
      hits.length === 1 ? "1 topic matches" : hits.length + " topics match";
    everything.hidden = whole;
    one.hidden = !whole;
  }

  function follow() {
    const match = /^#topic-(\\d+)$/.exec(location.hash);
    if (match === null) return;
    if (!topics.some((topic) => topic.dataset.topic === match[1])) return;
    chosen = match[1];
    show();
    if (chosen !== match[1]) { field.value = ""; chosen = match[1]; show(); }
    const article = document.getElementById("topic-" + chosen);
    article.focus({preventScroll: true});
    article.scrollIntoView({block: "nearest"});
  }

  field.addEventListener("input", show);
  everything.addEventListener("click", () => { whole = true; show(); });
  one.addEventListener("click", () => { whole = false; show(); });
  window.addEventListener("hashchange", follow);
  all(".script").forEach((part) => { part.hidden = false; });
  show();
  follow();
})();
"""
