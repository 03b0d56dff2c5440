"""Reports on topics: what they hold, and what a browser makes of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance

from fastvi.models.topics.fitted import TopicModel
from fastvi.plots import topic_report
from fastvi.plots.report_summary import distances, scaled

WORDS = ["cat", "dog", "star", "moon", "bread", "<oven>", "rare", "other"]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def topic_model() -> TopicModel:
    table = np.full((8, 8), 0.1)
    table[:, 3:] = 0.0
    for k in range(3):
        table[2 * k : 2 * k + 2, k] += [30.0 - 8 * k, 20.0 - 5 * k]
    history = {"held_out": np.array([np.nan, -2.0]), "seconds": np.arange(2.0)}
    info = {"n_documents": 40}
    return TopicModel(table, np.full(3, 0.1), 0.1, False, WORDS, info, history)


class Moving:
    """Topics with everything that a report can show."""

    slice_times_ = np.array(["2001", "2002", "2003"], "datetime64[Y]")
    topic_shares_ = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    correlation_ = np.array([[1.0, 0.5, -0.4], [0.5, 1.0, 0.1], [-0.4, 0.1, 1.0]])
    covariate_names_ = ("party=left", "party=right")
    coef_ = np.array([[0.5, -0.5], [0.0, 0.0], [1.0, -1.0]])

    def topic_model(self) -> TopicModel:
        return topic_model()

    def top_words(self, n: int, time: Any = None) -> list[list[tuple[str, float]]]:
        return topic_model().top_words(n)

    rising_words = falling_words = top_words


COUNTS = np.array([[4, 3, 0, 0, 0, 0, 0, 0], [0, 0, 5, 2, 0, 0, 0, 1], [0, 0, 0, 0, 2, 2, 1, 0]])
SHARES = np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.1, 0.0, 0.9]])
TEXTS = ["a cat and a dog", "moon & stars", "<script>alert(1)</script> bread"]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    topic_report(Moving(), path, documents=COUNTS, proportions=SHARES, texts=TEXTS, n_documents=1)
    return path


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "line", "rect", "circle", "polyline"):
            self.open.append(tag)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        if self.open and tag == self.open[-1]:
            self.open.pop()
        else:
            assert tag in ("line", "rect", "circle", "polyline"), tag


def test_divergences_are_those_of_scipy(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.full(30, 0.2), 6)
    p[0, :5] = 0.0
    p[0] /= p[0].sum()
    wanted = [[scipy.spatial.distance.jensenshannon(a, b) ** 2 for b in p] for a in p]
    np.testing.assert_allclose(distances(p), wanted, atol=1e-12)


def test_scaling_finds_a_plane_again(rng: np.random.Generator) -> None:
    places = rng.normal(size=(7, 2))
    squares = np.square(places[:, None] - places).sum(axis=2)
    found, kept = scaled(squares)
    np.testing.assert_allclose(np.square(found[:, None] - found).sum(axis=2), squares, atol=1e-9)
    assert kept == pytest.approx(1.0)
    assert scaled(np.zeros((1, 1))) == (pytest.approx(np.zeros((1, 2))), 1.0)


def test_a_page_is_whole_and_needs_no_network(page: Path) -> None:
    text = page.read_text()
    found = Reader(text).found
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"<script>.*</script>", "", text, flags=re.S))
    assert "<script>alert" not in text
    assert "&lt;oven&gt;" in text
    assert all("src" not in attributes for _, attributes in found)
    targets = {a["id"] for _, a in found if "id" in a}
    links = {a["href"] for tag, a in found if tag == "a"}
    assert links == {f"#topic-{k}" for k in range(3)}
    assert {link.lstrip("#") for link in links if link} <= targets
    drawings = [a for tag, a in found if tag == "svg"]
    assert len(drawings) == 2 + 2 * 3
    assert all(a["aria-label"] and a["role"] in ("img", "group") for a in drawings)


@pytest.mark.parametrize(
    "part",
    ["Share of the corpus: 45.0 %", "moon &amp; stars", "Over time", "Correlated topics",
     "party=left +0.5", "(perplexity 7)", "fitted to 40 documents", "Coherence (NPMI): -0."],
)  # fmt: skip
def test_a_page_shows(part: str, page: Path) -> None:
    assert part in page.read_text()


def test_less_is_shown_of_topics_alone(tmp_path: Path) -> None:
    topic_report(topic_model(), tmp_path / "a.html", title="Mine & yours")
    text = (tmp_path / "a.html").read_text()
    assert "<title>Mine &amp; yours</title>" in text
    for part in ("Over time", "Correlat", "Documents with", "(NPMI):", "covariates"):
        assert part not in text
    assert Reader(text).found


def test_one_topic_of_one_word(tmp_path: Path) -> None:
    model = TopicModel(np.ones((1, 8)), np.ones(1), 0.5, False)
    topic_report(model, tmp_path / "a.html", documents=[[2]], proportions=[[1.0]])
    assert "document 0" in (tmp_path / "a.html").read_text()


def test_odd_names_and_texts(tmp_path: Path) -> None:
    """Numbers are names as well, and half a character of a text does not lose the page."""
    given = {"documents": COUNTS, "proportions": SHARES, "names": np.arange(7, 10)}
    topic_report(Moving(), tmp_path / "a.html", texts=["half \ud83d", *TEXTS[1:]], **given)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "<strong>7</strong>" in text
    assert "half ?" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "a.pdf"}, "path is a.pdf; wanted a name in .html"),
        ({"proportions": SHARES}, "proportions is given without documents"),
        ({"documents": COUNTS[:, :4]}, "documents has 4 columns; wanted 8"),
        ({"documents": COUNTS, "proportions": SHARES[:2]}, r"proportions has shape \(2, 3\)"),
        ({"documents": COUNTS, "proportions": -SHARES}, "proportions holds NaN, infinity or"),
        ({"documents": COUNTS, "proportions": SHARES, "texts": ["a"]}, "texts has 1 entries"),
        (
            {"documents": COUNTS, "proportions": SHARES, "texts": ["a", None, "b"]},
            "texts holds None for document 1; wanted a string",
        ),
        ({"names": ["a"]}, "names has 1 entries; wanted documents as well"),
        ({"n_words": 0}, "n_words is 0"),
    ],
)
def test_bad_arguments(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"path": tmp_path / "a.html"} | given
    with pytest.raises(ValueError, match=message):
        topic_report(Moving(), given.pop("path"), **given)
    assert not list(tmp_path.iterdir())


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page in a browser, which may not report errors or ask for anything else."""
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("request", lambda asked: asked.url.startswith("file:") or problems.append(asked.url))
    tab.goto(page.as_uri())
    yield tab
    tab.close()
    assert problems == []


def shown(tab: Any) -> list[str]:
    return [a.get_attribute("id") for a in tab.locator("article:visible").all()]


def test_clicks_choose_topics(opened: Any) -> None:
    assert shown(opened) == ["topic-0"]
    opened.locator("tbody tr[data-mark='2'] a").click()
    assert shown(opened) == ["topic-2"]
    assert "chosen" in opened.locator("svg a[data-mark='2']").first.get_attribute("class")
    opened.locator("svg a[data-mark='1'] circle").first.click()
    assert shown(opened) == ["topic-1"]
    opened.locator("article:visible a", has_text="topic 0").click()
    assert shown(opened) == ["topic-0"]
    opened.go_back()
    assert shown(opened) == ["topic-1"]
    opened.get_by_role("button", name="Show all topics").click()
    assert shown(opened) == ["topic-0", "topic-1", "topic-2"]
    opened.get_by_role("button", name="Show one topic").click()
    assert shown(opened) == ["topic-1"]


def test_search_finds_words_and_documents(opened: Any) -> None:
    field = opened.get_by_label("Search words and documents")
    field.fill("moon & st")
    assert shown(opened) == ["topic-1"]
    assert opened.locator("#found").inner_text() == "1 topic matches"
    assert opened.locator("tbody tr[data-mark]:visible").count() == 1
    assert "dimmed" in opened.locator("svg a[data-mark='0']").first.get_attribute("class")
    field.fill("nowhere")
    assert shown(opened) == []
    assert opened.locator("#found").inner_text() == "0 topics match"
    opened.locator("svg a[data-mark='2'] circle").first.click()  # ends the search
    assert shown(opened) == ["topic-2"]
    assert field.input_value() == ""


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_nothing_is_wider_than_the_window(width: int, opened: Any) -> None:
    opened.set_viewport_size({"width": width, "height": 700})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_all_topics_are_shown(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert len(shown(tab)) == 3
    assert not tab.locator("#search").is_visible()
    context.close()
