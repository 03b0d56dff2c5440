"""The command line as a user breaks it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from thoroughly import mostly_thorough

import fastvi
from fastvi.base import archive
from fastvi.cli import applying, fitting
from fastvi.cli import main as cli_main
from fastvi.models.topics.fitted import TopicModel

pytestmark = pytest.mark.jit

THEMES = [
    ["cat", "dog", "pet", "fur", "paw", "tail"],
    ["star", "moon", "sky", "night", "light", "comet"],
    ["bread", "flour", "oven", "yeast", "crust", "baker"],
]
WORDS = sorted(word for theme in THEMES for word in theme)
FAST = ["-k", "3", "--passes", "2", "--quiet"]


def documents(n: int = 60, seed: int = 1) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [list(rng.choice(THEMES[rng.integers(3)], 12)) for _ in range(n)]


def counts_of(texts: list[list[str]]) -> Any:
    rows = [[text.count(word) for word in WORDS] for text in texts]
    return scipy.sparse.csr_array(np.array(rows))


def write_lines(folder: Path, texts: list[list[str]], name: str = "corpus.txt") -> Path:
    path = folder / name
    path.write_text("".join(" ".join(text) + "\n" for text in texts))
    return path


def write_vocabulary(folder: Path, name: str = "vocab.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(WORDS) + "\n")
    return path


def as_folder(folder: Path, texts: list[list[str]]) -> Path:
    for i, text in enumerate(texts):
        (folder / "texts").mkdir(exist_ok=True)
        (folder / "texts" / f"{i:03d}.txt").write_text(" ".join(text))
    return folder / "texts"


def as_gzip(folder: Path, texts: list[list[str]]) -> Path:
    path = folder / "corpus.txt.gz"
    with gzip.open(path, "wt") as file:
        file.write(write_lines(folder, texts, "plain").read_text())
    return path


def as_jsonl(folder: Path, texts: list[list[str]]) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": " ".join(text)}) + "\n" for text in texts))
    return path


def as_csv(folder: Path, texts: list[list[str]]) -> Path:
    path = folder / "corpus.csv"
    path.write_text("id,text\n" + "".join(f"{i},{' '.join(t)}\n" for i, t in enumerate(texts)))
    return path


def as_pairs(folder: Path, texts: list[list[str]], name: str, label: bool) -> Path:
    write_vocabulary(folder)
    lines = []
    for row in counts_of(texts).toarray():
        words = np.flatnonzero(row)
        first = "1" if label else str(len(words))
        lines.append(" ".join([first, *(f"{v + label}:{row[v]}" for v in words)]))
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def as_docword(folder: Path, texts: list[list[str]]) -> Path:
    write_vocabulary(folder)
    coo = counts_of(texts).tocoo()
    rows = zip(coo.row + 1, coo.col + 1, coo.data)
    lines = [str(len(texts)), str(len(WORDS)), str(coo.nnz), *(f"{d} {w} {c}" for d, w, c in rows)]
    path = folder / "docword.tiny.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def as_mtx(folder: Path, texts: list[list[str]]) -> Path:
    write_vocabulary(folder)
    scipy.io.mmwrite(folder / "corpus.mtx", counts_of(texts).tocoo())
    return folder / "corpus.mtx"


def as_npz(folder: Path, texts: list[list[str]]) -> Path:
    write_vocabulary(folder)
    scipy.sparse.save_npz(folder / "corpus.npz", counts_of(texts))
    return folder / "corpus.npz"


WRITERS: dict[str, Callable[[Path, list[list[str]]], Path]] = {
    "folder": as_folder,
    "lines": write_lines,
    "gzip": as_gzip,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "ldac": lambda folder, texts: as_pairs(folder, texts, "corpus.ldac", label=False),
    "svmlight": lambda folder, texts: as_pairs(folder, texts, "corpus.svm", label=True),
    "docword": as_docword,
    "mtx": as_mtx,
    "npz": as_npz,
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path, documents())


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """Counts, which a process reads without an import of scikit-learn."""
    return as_pairs(tmp_path, documents(), "corpus.ldac", label=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: Any) -> Path:
    """A fitted model; not to be changed."""
    folder = tmp_path_factory.mktemp("model")
    path = folder / "model.npz"
    arguments = [str(write_lines(folder, documents())), "-k", "3", "--quiet", "-o", str(path)]
    assert cli_main.main(["lda", *arguments]) == 0
    return path


def run(capsys: Any, *arguments: Any) -> str:
    """Standard output of a command that succeeds."""
    capsys.readouterr()
    assert cli_main.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def fail(capsys: Any, *arguments: Any) -> str:
    """The one line that a command that fails says last, after notes and a progress bar."""
    capsys.readouterr()
    try:
        code = cli_main.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("fastvi: warning: ")]
    assert sum("fastvi: " in line for line in lines) == 1, err
    assert lines[-1].startswith("fastvi: "), err
    return str(lines[-1].removeprefix("fastvi: "))


# --- lda ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITERS)
def test_every_format(form: str, tmp_path: Path, capsys: Any) -> None:
    path = WRITERS[form](tmp_path, documents())
    output = tmp_path / "model.npz"
    found = json.loads(run(capsys, "lda", path, *FAST, "--json", "-o", output))
    assert found["n_documents"] == 60
    assert found["n_words"] == len(WORDS)
    assert found["n_tokens"] == 720
    assert sorted(TopicModel.load(output).vocabulary or []) == WORDS


def test_themes_are_found(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    out = run(capsys, "lda", corpus, "-k", "3", "--quiet", "-o", tmp_path / "m.npz")
    topics = TopicModel.load(tmp_path / "m.npz").top_words(6)
    assert sorted(sorted(word for word, _ in words) for words in topics) == sorted(
        map(sorted, THEMES)
    )
    assert "held-out log-likelihood" in out
    assert "documents per second" in out
    assert "60 documents (0 empty)" in out
    for word in WORDS:
        assert f"{word} " in out


def test_json_is_one_object_and_nothing_else(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "m.npz"
    capsys.readouterr()
    assert cli_main.main(["lda", str(corpus), "-k", "3", "--json", "-o", str(output)]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["model"] == str(output)
    assert len(found["topics"]) == 3
    assert len(found["topics"][0]["words"]) == 10
    assert found["topics"][0]["words"][0].keys() == {"word", "weight"}
    assert sum(topic["share"] for topic in found["topics"]) == pytest.approx(1.0)
    assert set(found) > {
        "solver", "n_iter", "n_steps", "n_empty", "held_out_log_likelihood", "held_out_perplexity",
        "documents_per_second", "fit_seconds", "seconds",
    }  # fmt: skip
    assert "60 documents" in err  # notes for people
    assert "held_out" in err  # the progress bar
    info = TopicModel.load(output).info
    assert {name: found[name] for name in info} == info


def test_numbers_of_topics_are_compared(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "m.npz"
    common = ["lda", corpus, "--topics", "2,4,3,4", "--quiet", "-o", output]
    found = json.loads(run(capsys, *common, "--json"))
    scores = {fit["n_topics"]: fit["held_out_log_likelihood"] for fit in found["compared"]}
    assert list(scores) == [2, 4, 3]
    assert scores[found["n_topics"]] == max(scores.values())
    assert found["held_out_log_likelihood"] == max(scores.values())
    assert TopicModel.load(output).n_topics == found["n_topics"]
    alone = json.loads(run(capsys, "lda", corpus, "-k", 4, "--quiet", "-o", output, "--json"))
    assert alone["held_out_log_likelihood"] == scores[4]
    table = run(capsys, *common)
    assert table.count("kept") == 1
    assert f"{found['held_out_log_likelihood']:.4f}" in table


def test_early_stopping_keeps_the_best_pass(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "m.npz"
    common = ["lda", corpus, "-k", 8, "--quiet", "-o", output, "--early-stopping", 1]
    found = json.loads(run(capsys, *common, "--json"))
    scores = TopicModel.load(output).history["held_out"]
    assert found["held_out_log_likelihood"] == np.nanmax(scores)
    assert found["best_iter"] <= found["n_iter"] <= found["best_iter"] + 1
    assert f"the best after {found['best_iter']}" in run(capsys, *common)


def test_quiet(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert cli_main.main(["lda", str(corpus), *FAST, "-o", str(tmp_path / "m.npz")]) == 0
    assert capsys.readouterr().err == ""


def test_options(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    """What is asked for is what is fitted."""
    output = tmp_path / "m.npz"
    run(
        capsys, "lda", corpus, "-k", 5, "--passes", 3, "--solver", "svi", "--alpha", 0.3, "--eta",
        0.2, "--batch-size", 10, "--learning-offset", 4, "--learning-decay", 0.9, "--threads", 2,
        "--seed", 8, "--held-out", 0, "--max-features", 9, "--min-df", 1, "--max-df", 1.0,
        "--stop-words", "none", "--quiet", "-o", output,
    )  # fmt: skip
    model = TopicModel.load(output)
    assert model.n_topics == 5
    assert model.alpha.tolist() == [0.3] * 5
    assert model.eta == 0.2
    assert not model.collapsed
    assert len(model.vocabulary or []) == 9
    assert model.info["n_documents"] == 60
    assert model.info["n_iter"] == 3
    assert model.info["n_steps"] == 18
    assert model.info["held_out_log_likelihood"] is None
    np.testing.assert_allclose(model.history["rate"], (4.0 + np.arange(1, 19)) ** -0.9)


def test_priors_are_learned(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "m.npz"
    run(capsys, "lda", corpus, "-k", "3", "--learn-priors", "--quiet", "-o", output)
    model = TopicModel.load(output)
    assert np.all(model.alpha < 0.1)  # every document keeps to one theme
    assert model.eta != 1 / 3


@pytest.mark.parametrize("solver", ["auto", "cvb0", "scvb0", "svi", "vb"])
def test_threads_change_nothing_and_seeds_do(
    solver: str, corpus: Path, tmp_path: Path, capsys: Any
) -> None:
    tables = []
    for name, threads, seed in (("a", 1, 3), ("b", 2, 3), ("c", 1, 4)):
        output = tmp_path / name
        run(capsys, "lda", corpus, *FAST, "--solver", solver, "--threads", threads, "--seed", seed,
            "-o", output)  # fmt: skip
        tables.append(TopicModel.load(output).table.tobytes())
    assert tables[0] == tables[1] != tables[2]


def test_stop_words_and_vocabulary(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    stop, words = tmp_path / "stop", tmp_path / "words"
    stop.write_text("cat\ndog\n")
    words.write_text("moon\nstar\ncat\n")
    output = tmp_path / "m.npz"
    run(capsys, "lda", corpus, *FAST, "--stop-words", stop, "-o", output)
    assert sorted(TopicModel.load(output).vocabulary or []) == sorted(set(WORDS) - {"cat", "dog"})
    run(capsys, "lda", corpus, *FAST, "--vocabulary", words, "-o", output)
    assert TopicModel.load(output).vocabulary == ["moon", "star", "cat"]


def test_field_and_encoding(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.csv"
    lines = ["nr;wörter", *(f"{i};größe süße {' '.join(t)}" for i, t in enumerate(documents()))]
    path.write_text("\n".join(lines), encoding="latin-1")
    output = tmp_path / "m.npz"
    run(capsys, "lda", path, *FAST, "--field", "wörter", "--encoding", "latin-1", "--max-df", 1.0,
        "-o", output)  # fmt: skip
    assert {"größe", "süße"} < set(TopicModel.load(output).vocabulary or [])


def test_several_files(tmp_path: Path, capsys: Any) -> None:
    parts = [write_lines(tmp_path, documents(20, seed), f"{seed}.txt") for seed in (1, 2, 3)]
    found = json.loads(run(capsys, "lda", *parts, *FAST, "--json", "-o", tmp_path / "m.npz"))
    assert found["n_documents"] == 60


def test_empty_documents_are_reported(tmp_path: Path, capsys: Any) -> None:
    path = write_lines(tmp_path, [*documents(), [], [], ["the"]])
    output = tmp_path / "m.npz"
    found = json.loads(run(capsys, "lda", path, *FAST, "--json", "-o", output))
    assert (found["n_documents"], found["n_empty"]) == (63, 3)
    assert "63 documents (3 empty)" in run(capsys, "lda", path, *FAST, "-o", output)


@pytest.mark.filterwarnings("ignore:.*have no words left")
def test_words_of_any_script(tmp_path: Path, monkeypatch: Any) -> None:
    """On a terminal that has one script only."""
    path = write_lines(
        tmp_path, [*[["日本語", "αβγδ", "naïve"]] * 30, *[["русский", "plain"]] * 40]
    )
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert cli_main.main(["lda", str(path), *FAST, "-o", str(tmp_path / "m.npz")]) == 0
    screen.flush()
    text = screen.buffer.getvalue().decode("ascii")
    assert "na\\xefve" in text
    assert "\\u65e5\\u672c\\u8a9e" in text


def test_small_corpora(tmp_path: Path, capsys: Any) -> None:
    """One document, one word, as many topics as words: with nothing held out."""
    output = tmp_path / "m.npz"
    for text, k in (("star", 1), ("star moon", 2), ("star\nmoon\n\nstar", 3)):
        path = tmp_path / "tiny.txt"
        path.write_text(text)
        for solver in ("cvb0", "scvb0", "svi", "vb"):
            run(capsys, "lda", path, "-k", k, "--held-out", 0, "--solver", solver, "-o", output)
            assert TopicModel.load(output).n_topics == k


def test_optimizers_and_samplings(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "m.npz"
    for more in (["--optimizer", "adaptive"], ["--optimizer", 0.2, "--sampling", "importance"]):
        args = ["lda", corpus, *FAST, *more, "--checkpoint", tmp_path / "c.npz", "-o", output]
        found = json.loads(run(capsys, *args, "--json"))
        assert found["solver"] == "svi"
        assert np.isfinite(found["held_out_log_likelihood"])
        again = json.loads(run(capsys, *args, "--json", "--resume"))
        assert again["held_out_log_likelihood"] == found["held_out_log_likelihood"]
    message = fail(capsys, "lda", corpus, *FAST, "--optimizer", "best", "-o", output)
    assert "optimizer is 'best'; wanted" in message
    message = fail(capsys, "lda", corpus, *FAST, "--stream", "--sampling", "growing", "-o", output)
    assert "rows come in their own order" in message


def test_documents_of_one_word_cannot_be_held_out(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "tiny.txt"
    path.write_text("star\nmoon\n" * 20)
    output = tmp_path / "m.npz"
    assert "--held-out 0" in fail(capsys, "lda", path, *FAST, "-o", output)
    for more in (["--held-out", 0], ["--stream"]):
        found = json.loads(run(capsys, "lda", path, *FAST, *more, "--json", "-o", output))
        assert found["held_out_log_likelihood"] is None


def test_weights_that_are_no_counts(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.npz"
    scipy.sparse.save_npz(path, counts_of(documents()) * 0.5)
    output = tmp_path / "m.npz"
    assert "--held-out 0" in fail(capsys, "lda", path, *FAST, "-o", output)
    run(capsys, "lda", path, *FAST, "--held-out", 0, "-o", output)


@pytest.mark.thorough
def test_plot(corpus: Path, tmp_path: Path, capsys: Any, model: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name, magic in (("p.svg", b"<?xml"), ("plain", b"\x89PNG")):
        run(capsys, "topics", model, "--plot", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(magic)
    run(capsys, "lda", corpus, *FAST, "--plot", tmp_path / "fit.png", "-o", tmp_path / "m.npz")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert "cannot draw .xyz" in fail(capsys, "lda", corpus, *FAST, "--plot", tmp_path / "p.xyz")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.thorough
def test_plot_of_many_topics_and_no_history(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rng = np.random.default_rng(0)
    table = rng.gamma(1.0, size=(5, 48)) + 0.1
    words = ["a" * 50, "日本", "$x^2$", "_", "\\frac"]
    TopicModel(table, np.ones(48), 0.1, True, words).save(tmp_path / "m.npz")
    run(capsys, "topics", tmp_path / "m.npz", "--plot", tmp_path / "p.svg")
    assert (tmp_path / "p.svg").stat().st_size > 1000


def test_without_matplotlib(corpus: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """Said before the fit."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    output = tmp_path / "m.npz"
    message = fail(capsys, "lda", corpus, "--plot", tmp_path / "p.png", "-o", output)
    assert "pip install 'fastvi[plot]'" in message
    assert not output.exists()


# --- streams --------------------------------------------------------------------------------------


def test_stream(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """Results are as good, and nothing is left on disk."""
    path = write_lines(tmp_path, documents(300))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for solver in ("auto", "scvb0", "svi"):
        arguments = ["--solver", solver, "--json", "--quiet", "-k", 3, "-o", tmp_path / "m.npz"]
        memory, disk = (
            json.loads(run(capsys, "lda", path, *arguments, more, "--passes", 20))
            for more in ("--no-stream", "--stream")
        )
        assert disk["held_out_log_likelihood"] == pytest.approx(
            memory["held_out_log_likelihood"], abs=0.25
        )
        assert disk["n_documents"] + 30 == memory["n_documents"] == 300
        assert list(temporary.iterdir()) == []
    for solver in ("vb", "cvb0"):
        message = fail(capsys, "lda", path, "--stream", "--solver", solver)
        assert "needs the corpus in memory" in message
    assert "needs a corpus" in fail(capsys, "lda", "--stream")
    path.write_text("star moon\n\xff", encoding="latin-1")
    assert "not utf-8" in fail(capsys, "lda", path, "--stream")
    assert list(temporary.iterdir()) == []


def test_large_corpora_are_streamed(
    corpus: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(fitting, "STREAM_BYTES", 100)
    output = tmp_path / "m.npz"
    for more, streamed in (([], True), (["--no-stream"], False), (["--solver", "vb"], False)):
        found = json.loads(run(capsys, "lda", corpus, *FAST, *more, "--json", "-o", output))
        assert ("held out" in found["corpus"]) == streamed
    assert not fitting._is_streamed(cli_main._parser().parse_args(["lda", "nofile"]), _settings())


def _settings() -> Any:
    return fitting._settings(cli_main._parser().parse_args(["lda"]), 20)


# --- topics, transform, score ---------------------------------------------------------------------


def test_topics(model: Path, capsys: Any) -> None:
    out = run(capsys, "topics", model, "--top-words", 2)
    assert len(out.splitlines()) == 4
    found = json.loads(run(capsys, "topics", model, "--json", "--top-words", 999))
    assert {len(topic["words"]) for topic in found["topics"]} == {18}
    weights = [word["weight"] for word in found["topics"][0]["words"]]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1.0, rel=1e-5)


def test_topics_on_a_narrow_terminal(model: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run(capsys, "topics", model).splitlines()
    assert max(map(len, lines[1:])) <= 40
    monkeypatch.setenv("COLUMNS", "1")
    assert "baker" in run(capsys, "topics", model)


def read_csv(text: str) -> tuple[list[str], np.ndarray]:
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["document", "topic_0", "topic_1", "topic_2"]
    return [row[0] for row in rows[1:]], np.array([row[1:] for row in rows[1:]], float)


def test_transform(model: Path, corpus: Path, tmp_path: Path, capsys: Any) -> None:
    names, wanted = read_csv(run(capsys, "transform", model, corpus))
    assert names == [str(i) for i in range(60)]
    np.testing.assert_allclose(wanted.sum(axis=1), 1.0, rtol=1e-4)
    columns = [WORDS.index(word) for word in TopicModel.load(model).vocabulary or []]
    theta = fastvi.load(model).transform(counts_of(documents())[:, columns])
    np.testing.assert_allclose(wanted, theta, rtol=1e-4)
    assert run(capsys, "transform", model, corpus, "-o", tmp_path / "t.csv") == ""
    assert read_csv((tmp_path / "t.csv").read_text())[1].tolist() == wanted.tolist()
    run(capsys, "transform", model, corpus, "-o", tmp_path / "t.csv.gz", "--threads", 2)
    with gzip.open(tmp_path / "t.csv.gz", "rt") as file:
        assert read_csv(file.read())[1].tolist() == wanted.tolist()
    run(capsys, "transform", model, corpus, "-o", tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as arrays:
        np.testing.assert_allclose(arrays["topic_proportions"], wanted, rtol=1e-4)
        assert arrays["names"].tolist() == names
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("form", WRITERS)
def test_transform_every_format(form: str, model: Path, tmp_path: Path, capsys: Any) -> None:
    corpus = write_lines(tmp_path, documents(), "lines.txt")
    _, wanted = read_csv(run(capsys, "transform", model, corpus))
    path = WRITERS[form](tmp_path, documents())
    names, found = read_csv(run(capsys, "transform", model, path))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert names[:2] == (["000.txt", "001.txt"] if form == "folder" else ["0", "1"])


@pytest.mark.filterwarnings("default:.*have no words of the vocabulary left")
def test_transform_of_other_texts(model: Path, tmp_path: Path, capsys: Any) -> None:
    """Words that the model lacks are dropped, rare ones are not; empty documents get the prior."""
    path = write_lines(tmp_path, [["cat", "unheard"], ["Moon", "CAT"], [], ["the", "unheard"]])
    _, theta = read_csv(run(capsys, "transform", model, path))
    np.testing.assert_allclose(theta[2:], 1 / 3, rtol=1e-5)
    assert theta[0].max() > 0.6
    assert np.sort(theta[1])[1] > 0.3
    path = write_lines(tmp_path, [["unheard", "of"]])
    _, theta = read_csv(run(capsys, "transform", model, path))
    np.testing.assert_allclose(theta, 1 / 3, rtol=1e-5)
    assert "nothing to score" in fail(capsys, "score", model, path)


def test_score(model: Path, corpus: Path, tmp_path: Path, capsys: Any) -> None:
    found = json.loads(run(capsys, "score", model, corpus, "--json"))
    assert found["n_documents"] == 60
    assert found["n_scored_words"] == 360
    assert -2.5 < found["document_completion"] < -1.5  # six words a theme: log 6 = 1.8
    assert found["variational_bound"] < found["document_completion"]
    for name in ("document_completion", "variational_bound"):
        assert found[f"{name}_perplexity"] == pytest.approx(np.exp(-found[name]))
    again = json.loads(run(capsys, "score", model, corpus, "--json", "--threads", 2))
    assert again == found
    other = json.loads(run(capsys, "score", model, corpus, "--json", "--seed", 5))
    assert other["document_completion"] != found["document_completion"]
    assert other["variational_bound"] == found["variational_bound"]
    out = run(capsys, "score", model, corpus)
    assert f"{found['document_completion']:.4f}" in out
    assert f"{found['variational_bound']:.4f}" in out
    path = write_lines(tmp_path, [["cat"], ["moon"]])
    assert "nothing to score" in fail(capsys, "score", model, path)


def test_a_model_without_a_vocabulary(tmp_path: Path, capsys: Any) -> None:
    X = counts_of(documents())
    fastvi.LatentDirichletAllocation(3, random_state=0).fit(X).save(tmp_path / "m.npz")
    (tmp_path / "apart").mkdir()
    npz = as_npz(tmp_path / "apart", documents())
    read_csv(run(capsys, "transform", tmp_path / "m.npz", npz))
    pairs = tmp_path / "few.ldac"
    pairs.write_text("1 0:3\n2 1:1 2:2\n")  # the last words do not occur
    read_csv(run(capsys, "transform", tmp_path / "m.npz", pairs))
    text = write_lines(tmp_path, documents()[:5])
    for command in ("transform", "score"):
        message = fail(capsys, command, tmp_path / "m.npz", text)
        assert "m.npz: a model without a vocabulary" in message
    words = write_vocabulary(tmp_path / "apart", "words")
    _, wanted = read_csv(run(capsys, "transform", tmp_path / "m.npz", npz))
    _, theta = read_csv(run(capsys, "transform", tmp_path / "m.npz", text, "--vocabulary", words))
    np.testing.assert_allclose(theta, wanted[:5], atol=2e-5)
    pairs.write_text("1 18:3\n")
    message = fail(capsys, "transform", tmp_path / "m.npz", pairs)
    assert "19 words and the model 18" in message


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--stream"], ["--solver", "vb", "--learn-priors"]])
def test_resume(more: list[str], corpus: Path, tmp_path: Path, capsys: Any) -> None:
    """Three passes, then up to six, are six."""
    whole, parted, state = (tmp_path / name for name in ("whole", "parted", "state"))
    common = ["-k", 3, "--quiet", *more]
    run(capsys, "lda", corpus, *common, "--passes", 6, "-o", whole)
    keep = ["--checkpoint", state, "-o", parted]
    run(capsys, "lda", corpus, *common, "--passes", 3, *keep)
    run(capsys, "lda", corpus, *common, "--passes", 6, *keep, "--resume")
    models = [TopicModel.load(path) for path in (whole, parted)]
    assert models[0].table.tobytes() == models[1].table.tobytes()
    assert models[0].alpha.tobytes() == models[1].alpha.tobytes()
    assert models[0].eta == models[1].eta
    before = parted.read_bytes()
    for changes, message in (
        (["--passes", 2], "is beyond 2 passes"),
        (["--seed", 9], "checkpoint of another fit: "),
        (["--alpha", 0.7], "checkpoint of another fit: alpha was"),
        (["--min-df", 40], "checkpoint of another fit: corpus was"),
    ):
        arguments = ["lda", corpus, *common, "--passes", 6, *keep, "--resume", *changes]
        if changes[0] == "--min-df":
            arguments = [*arguments, "--max-df", 1.0, "--min-df", 14]
        assert message in fail(capsys, *arguments)
    raw = state.read_bytes()
    state.write_bytes(raw[: len(raw) // 2])
    assert "state: " in fail(capsys, "lda", corpus, *common, *keep, "--resume")
    assert "--resume needs --checkpoint" in fail(capsys, "lda", corpus, "--resume")
    assert parted.read_bytes() == before


# --- bad input ------------------------------------------------------------------------------------


def npz_of(folder: Path, **changes: Any) -> Path:
    parts = {
        "data": np.array([1, 2, 1, 3]),
        "indices": np.array([0, 1, 1, 2]),
        "indptr": np.array([0, 2, 4]),
        "shape": np.array([2, 3]),
    }
    path = folder / "bad.npz"
    np.savez(path, **{**parts, **changes})
    return path


def file_of(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cut_gzip(folder: Path) -> Path:
    raw = gzip.compress(b"star moon sky\n" * 500)
    return file_of(folder, "cut.txt.gz", raw[: len(raw) // 2])


BAD_CORPORA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda f: f / "none.txt", "none.txt: no such file"),
    "empty file": (lambda f: file_of(f, "e.txt", ""), "e.txt"),
    "empty folder": (lambda f: (f / "d").mkdir() or f / "d", "no files"),
    "blank lines": (lambda f: file_of(f, "e.txt", "\n\n\n"), "no words"),
    "negative counts": (lambda f: npz_of(f, data=np.array([1, -2, 1, 3])), "finite and >= 0"),
    "nan": (lambda f: npz_of(f, data=np.array([1, np.nan, 1, 3])), "finite and >= 0"),
    "infinite": (lambda f: npz_of(f, data=np.array([1, np.inf, 1, 3])), "finite and >= 0"),
    "index too large": (lambda f: npz_of(f, indices=np.array([0, 1, 1, 3])), "allowed: 0 to 2"),
    "index negative": (lambda f: npz_of(f, indices=np.array([0, -1, 1, 2])), "allowed: 0 to 2"),
    "indptr": (lambda f: npz_of(f, indptr=np.array([0, 5, 4])), "indptr must increase"),
    "all zero": (lambda f: npz_of(f, data=np.zeros(4)), "every document is empty"),
    "too many": (lambda f: npz_of(f, data=np.full(4, 1e15)), "at most 1e+15"),
    "npz of pickles": (lambda f: npz_of(f, data=np.array([{}], object)), "not a readable npz"),
    "npz cut": (lambda f: file_of(f, "c.npz", npz_of(f).read_bytes()[:200]), "not a readable npz"),
    "ldac cut": (lambda f: file_of(f, "c.ldac", "2 0:1 1:2\n3 0:1 1:"), "c.ldac, line 2"),
    "ldac negative": (lambda f: file_of(f, "c.ldac", "2 0:1 1:2\n1 0:-1\n"), "c.ldac, line 2"),
    "svmlight nan": (lambda f: file_of(f, "c.svm", "1 1:1\n1 1:nan\n"), "c.svm, line 2"),
    "docword out of range": (lambda f: file_of(f, "d.txt", "1\n2\n2\n1 1 3\n1 9 1\n"), "line 5"),
    "docword cut": (lambda f: file_of(f, "d.txt", "1\n2\n3\n1 1 3\n"), "d.txt"),
    "mtx cut": (
        lambda f: file_of(
            f, "m.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 3\n1 1 1\n"
        ),
        "m.mtx",
    ),
    "json broken": (lambda f: file_of(f, "j.jsonl", '{"text": "star"}\n{"text": \n'), "line 2"),
    "json without the field": (lambda f: file_of(f, "j.jsonl", '{"body": "star"}\n'), "line 1"),
    "csv without the field": (lambda f: file_of(f, "t.csv", "a,b\n1,2\n"), "t.csv, line 1"),
    "not utf-8": (lambda f: file_of(f, "t.txt", b"star\nm\xe9\xe8n\n"), "t.txt, line 2"),
    "binary": (lambda f: file_of(f, "t.bin", bytes(range(128, 256)) * 10), "not utf-8 text"),
    "gzip cut": (cut_gzip, "truncated gzip"),
    "stop words only": (lambda f: file_of(f, "t.txt", "the and of\n" * 9), "no words"),
    "all pruned": (lambda f: file_of(f, "t.txt", "star moon sky\n" * 30), "t.txt"),
}


EMPTY = ("all pruned", "all zero", "blank lines", "stop words only")


@pytest.mark.filterwarnings("ignore:.*have no words of the vocabulary left")
@pytest.mark.parametrize("name", BAD_CORPORA)
@pytest.mark.parametrize("command", ["lda", "lda --stream", "transform", "score"])
def test_bad_corpora(name: str, command: str, model: Path, tmp_path: Path, capsys: Any) -> None:
    """One line, exit code 2, and the old model as it was."""
    write, message = BAD_CORPORA[name]
    path = write(tmp_path)
    if not command.startswith("lda"):
        if name == "all pruned" or (name in EMPTY and command == "transform"):
            pytest.skip(
                "no error: nothing is pruned for a model, and empty documents get the prior"
            )
        assert fail(capsys, command, model, path)
        return
    old = file_of(tmp_path, "old.npz", "the old model")
    checkpoint = tmp_path / "state.npz"
    assert message in fail(
        capsys, *command.split(), path, "-k", "2", "-o", old, "--checkpoint", checkpoint, "--quiet"
    )
    assert old.read_text() == "the old model"
    assert not checkpoint.exists()


BAD_OPTIONS = [
    (["-k", "0"], "--topics is 0; wanted an integer"),
    (["--early-stopping", "0"], "--early-stopping is 0; wanted an integer"),
    (["--early-stopping", "2", "--held-out", "0"], "--early-stopping: there are no held-out"),
    (["-k", "721"], "--topics is 721, more than the 720 words"),
    (["-k", "x"], "argument -k/--topics: 'x'; wanted a number, or several such as 10,20,50"),
    (["--passes", "0"], "--passes is 0"),
    (["-k", "3,x"], "'3,x'; wanted a number, or several such as 10,20,50"),
    (["-k", "3,4", "--held-out", "0"], "several numbers are compared on held-out documents"),
    (["-k", "3,4", "--checkpoint", "c.npz"], "--checkpoint keeps one fit"),
    (["--passes", "1.5"], "argument --passes"),
    (["--alpha", "0"], "--alpha is 0.0; wanted a number >= "),
    (["--alpha", "nan"], "--alpha is nan"),
    (["--eta", "-1"], "--eta is -1.0"),
    (["--eta", "inf"], "--eta is inf"),
    (["--solver", "gibbs"], "argument --solver: invalid choice: 'gibbs'"),
    (["--batch-size", "0"], "--batch-size is 0"),
    (["--learning-decay", "0.5"], "--learning-decay is 0.5; wanted a number > 0.5 and <= 1"),
    (["--learning-offset", "-1"], "--learning-offset is -1.0"),
    (["--threads", "0"], "--threads is 0"),
    (["--seed", "-1"], "--seed is -1"),
    (["--held-out", "1"], "--held-out is 1.0"),
    (["--held-out", "nan"], "--held-out is nan"),
    (["--top-words", "0"], "--top-words is 0"),
    (["--min-df", "x"], "argument --min-df: 'x'; wanted a number"),
    (["--min-df", "1.5"], "min_df is 1.5; wanted"),
    (["--min-df", "-1"], "min_df is -1"),
    (["--min-df", "100"], "no word"),
    (["--max-features", "0"], "max_features is 0"),
    (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
    (["--format", "npz"], "not a readable npz"),
    (["--encoding", "klingon"], "klingon"),
    (["--stop-words", "none.txt"], "none.txt"),
    (["--vocabulary", "none.txt"], "none.txt"),
    (["--vocabulary", os.devnull], "the vocabulary is empty"),
    (["--checkpoint-interval", "-1"], "--checkpoint-interval is -1.0"),
    (["-o", "none/m.npz"], "--output none/m.npz: there is no folder"),
    (["-o", "."], "--output .: cannot be written"),
    (["-o", os.devnull], f"--output {os.devnull}: cannot be written"),
    (["--checkpoint", "none/c.npz"], "--checkpoint none/c.npz: there is no folder"),
    (["--checkpoint", "."], "--checkpoint .: cannot be written"),
    (["--checkpoint", "a.npz", "-o", "a.npz"], "--checkpoint a.npz: is also read, or written to"),
    (["-o", "corpus.txt"], "--output corpus.txt: is also read"),
    (["--nonsense"], "unrecognized arguments: --nonsense; see fastvi --help"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options(
    options: list[str], message: str, corpus: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(corpus.parent)
    arguments = ["lda", "corpus.txt", "-k", "2", "-o", "old.npz", *options]
    text = corpus.read_text()
    Path("old.npz").write_text("the old model")
    assert message in fail(capsys, *arguments)
    assert Path("old.npz").read_text() == "the old model"
    assert corpus.read_text() == text
    assert sorted(os.listdir()) == ["corpus.txt", "old.npz"]


def test_commands_are_needed(capsys: Any) -> None:
    assert "required: COMMAND; see fastvi --help" in fail(capsys)
    assert "invalid choice: 'nothing'" in fail(capsys, "nothing")
    assert "required: MODEL, PATH; see fastvi transform --help" in fail(capsys, "transform")


def test_help(capsys: Any) -> None:
    for arguments in ([], ["lda"], ["topics"], ["transform"], ["score"]):
        with pytest.raises(SystemExit) as end:
            cli_main.main([*arguments, "--help"])
        assert end.value.code == 0
        assert "usage: fastvi" in capsys.readouterr().out


def test_bad_models(model: Path, corpus: Path, tmp_path: Path, capsys: Any) -> None:
    raw = model.read_bytes()
    header, arrays = archive.load(model, "lda-model")
    bad = {
        "none.npz": None,
        "cut.npz": raw[: len(raw) // 2],
        "text.npz": corpus.read_bytes(),
        "empty.npz": b"",
    }
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    archive.save(tmp_path / "nan.npz", "lda-model", header, arrays | {"eta": np.array(np.nan)})
    archive.save(tmp_path / "state.npz", "checkpoint", header, arrays)
    (tmp_path / "folder.npz").mkdir()
    for name in (*bad, "nan.npz", "state.npz", "folder.npz"):
        for command in (["topics"], ["transform"], ["score"]):
            more = [] if command == ["topics"] else [corpus]
            message = fail(capsys, *command, tmp_path / name, *more)
            assert name in message
            assert "Errno" not in message


def test_a_vocabulary_of_another_size(model: Path, tmp_path: Path, capsys: Any) -> None:
    vocabulary = file_of(tmp_path, "few.txt", "star\nmoon\n")
    npz = as_npz(tmp_path, documents())
    arguments = ["--vocabulary", vocabulary]
    for command in (["lda"], ["transform", model], ["score", model]):
        assert "vocabulary has 2" in fail(capsys, *command, npz, *arguments)
    (tmp_path / "vocab.txt").unlink()
    wide = npz_of(tmp_path, shape=np.array([2, 99]))
    for command in ("transform", "score"):
        message = fail(capsys, command, model, wide)
        assert "the corpus has 99 words and the model 18" in message


def test_bad_outputs_of_transform(model: Path, corpus: Path, tmp_path: Path, capsys: Any) -> None:
    for name, message in (
        ("t.txt", "wanted a name in .npz, .csv or .csv.gz"),
        ("none/t.csv", "there is no folder"),
        (str(tmp_path), "cannot be written"),
        (str(corpus), "is also read"),
        (str(model), "is also read"),
    ):
        assert message in fail(capsys, "transform", model, corpus, "-o", name)
    assert "--threads is 0" in fail(capsys, "transform", model, corpus, "--threads", 0)
    assert "--threads is 0" in fail(capsys, "score", model, corpus, "--threads", 0)
    assert "--seed is -1" in fail(capsys, "score", model, corpus, "--seed", -1)
    assert "--top-words is 0" in fail(capsys, "topics", model, "--top-words", 0)


def test_a_failing_write_keeps_the_old_table(
    model: Path, corpus: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    def full(*arguments: Any, **arrays: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(applying, "_write_csv", full)
    monkeypatch.setattr(np, "savez", full)
    for name in ("t.csv", "t.csv.gz", "t.npz"):
        old = file_of(tmp_path, name, "old")
        message = fail(capsys, "transform", model, corpus, "-o", old)
        assert message == f"{old}: No space left on device"
        assert old.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


def test_no_memory(corpus: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    def none(*arguments: Any, **options: Any) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(fitting, "train", none)
    message = fail(capsys, "lda", corpus, *FAST, "-o", tmp_path / "m.npz")
    assert message.startswith("not enough memory: Unable to allocate 9 TiB; try --stream")


# --- processes ------------------------------------------------------------------------------------


def start(folder: Path, *arguments: Any, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, with its temporary files in folder/temporary."""
    (folder / "temporary").mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(folder / "temporary"), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "fastvi", *map(str, arguments)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment, **options,
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of POSIX")
@pytest.mark.parametrize("closed", mostly_thorough(["<&- >&- 2>&-", ">&-", "2>&-"]))
def test_closed_streams(model: Path, closed: str) -> None:
    """No traceback, and the model is not taken for one of the streams."""
    content = model.read_bytes()
    command = f"{sys.executable} -m fastvi topics {model} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("topic" in done.stdout) == (closed == "2>&-")
    assert model.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process")
@pytest.mark.parametrize("more", mostly_thorough([["--no-stream"], ["--stream"]]))
def test_interrupt_in_the_fit(more: list[str], counted: Path, tmp_path: Path) -> None:
    """One sentence, no temporary file, and the checkpoint is good for going on."""
    state, output = tmp_path / "state.npz", tmp_path / "m.npz"
    output.write_text("the old model")
    process = start(
        tmp_path, "lda", counted, "-k", 3, "--passes", 10**6, "--checkpoint", state, "-o", output,
        "--checkpoint-interval", 0, *more,
    )  # fmt: skip
    with process:
        wait_for(state.exists, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert "Traceback" not in err, err
    assert err.splitlines()[-1] == "fastvi: interrupted; no file is half-written"
    assert output.read_text() == "the old model"
    names = {"corpus.ldac", "vocab.txt", "m.npz", "state.npz", "temporary"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert list((tmp_path / "temporary").iterdir()) == []
    archive.load(state, "checkpoint")


# A signal may come between the opening of a file and its name: Python closes it, and says so.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_a_finalizer_swallows(
    name: str, counted: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    """Python drops what is raised while an archive is collected, which happens at each save."""
    number = getattr(signal, name)

    def interrupted(archive: Any) -> None:
        monkeypatch.undo()
        signal.raise_signal(number)

    monkeypatch.setattr("zipfile.ZipFile.__del__", interrupted)
    if name != "SIGINT":  # whatever started the tests, such as nohup, may have it ignored
        signal.signal(number, signal.SIG_DFL)
    wanted, words = (2, "interrupted") if name == "SIGINT" else (128 + number, f"ended by {name}")
    code = cli_main.main(
        ["lda", str(counted), "-k", "3", "--passes", "3000", "-o", str(tmp_path / "m.npz"),
         "--checkpoint", str(tmp_path / "c.npz"), "--checkpoint-interval", "0"]
    )  # fmt: skip
    assert code == wanted
    assert f"fastvi: {words}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process, and pipes")
@pytest.mark.parametrize("more", mostly_thorough([["--stream"], ["--no-stream"]]))
def test_interrupt_while_reading(more: list[str], tmp_path: Path) -> None:
    """A pipe with a name is a corpus that never ends."""
    pipe = tmp_path / "corpus.txt"
    os.mkfifo(pipe)
    process = start(
        tmp_path, "lda", pipe, "--format", "lines", "-k", 3, "-o", tmp_path / "m.npz", *more
    )
    with process, open(pipe, "wb") as file:
        file.write(b"star moon sky\n" * 4000)
        file.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err == "fastvi: interrupted; no file is half-written\n"
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_kill_9_and_resume(counted: Path, tmp_path: Path, capsys: Any) -> None:
    """From the command line: what follows ends with the bits of an undisturbed fit."""
    state, output, whole = tmp_path / "state.npz", tmp_path / "m.npz", tmp_path / "whole.npz"
    common = ["lda", counted, "-k", 3, "--passes", 100, "--solver", "scvb0", "--batch-size", 10,
              "--learn-priors", "--quiet"]  # fmt: skip
    process = start(
        tmp_path, *common, "--checkpoint", state, "-o", output, "--checkpoint-interval", 0
    )
    with process:
        wait_for(state.exists, process)
        time.sleep(0.1)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    position = archive.load(state, "checkpoint")[0]["position"]
    assert [0, 0] < position < [100, 0]
    run(capsys, *common, "--checkpoint", state, "-o", output, "--resume")
    run(capsys, *common, "-o", whole)
    models = [TopicModel.load(path) for path in (output, whole)]
    assert models[0].table.tobytes() == models[1].table.tobytes()
    assert models[0].alpha.tobytes() == models[1].alpha.tobytes()
    assert models[0].eta == models[1].eta
    for name in ("epoch", "rate", "held_out"):
        np.testing.assert_array_equal(models[0].history[name], models[1].history[name])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"corpus.ldac", "vocab.txt", "m.npz", "state.npz", "temporary", "whole.npz"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_full_disk(counted: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that is full."""
    output = tmp_path / "m.npz"
    output.write_text("the old model")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    process = start(tmp_path, "lda", counted, *FAST, "-o", output, preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"fastvi: {output}: not enough space for this file, which needs ")
    assert output.read_text() == "the old model"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"corpus.ldac", "vocab.txt", "m.npz", "temporary"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
@pytest.mark.parametrize("command", mostly_thorough(["transform", "topics"]))
def test_a_reader_that_goes_away(command: str, model: Path, counted: Path, tmp_path: Path) -> None:
    """`fastvi topics MODEL | head -1` says nothing more."""
    more = [counted] * 20 if command == "transform" else []
    process = start(tmp_path, command, model, *more)
    with process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 2
    assert "Error" not in err
    assert "Exception" not in err
    assert "fastvi:" not in err
