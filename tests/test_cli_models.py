"""Topics over time, correlated topics and reports on the command line; fields of corpora."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi import corpus
from fastvi.cli import main as cli_main

THEMES = [
    ["cat", "dog", "pet", "fur", "paw", "tail"],
    ["comet", "moon", "sky", "night", "light", "orbit"],
    ["bread", "flour", "oven", "yeast", "crust", "baker"],
]
QUIET = ["--quiet", "--passes", "3", "-k", "3"]


def rows(n: int = 90) -> list[dict[str, Any]]:
    """Documents on one theme each; the second party likes the third, late years the second."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        year, party = 2000 + i % 3, "left" if i % 2 else "right"
        theme = rng.choice(3, p=[0.2, 0.2 + 0.1 * (year - 2000), 0.6 - 0.1 * (year - 2000)])
        text = " ".join(rng.choice(THEMES[theme], 12))
        found.append(
            {"text": text, "year": year, "party": party, "day": f"{year}-05-{i % 28 + 1:02d}"}
        )
    return found


def write_csv(folder: Path, documents: list[dict[str, Any]], name: str = "docs.csv") -> str:
    with open(folder / name, "w", newline="") as file:
        writer = csv.DictWriter(file, list(documents[0]))
        writer.writeheader()
        writer.writerows(documents)
    return str(folder / name)


def write_jsonl(folder: Path, documents: list[dict[str, Any]], name: str = "docs.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in documents))
    return str(folder / name)


def run(capsys: Any, *arguments: Any) -> str:
    code = cli_main.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return str(captured.out)


def fail(capsys: Any, *arguments: Any) -> str:
    code = cli_main.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("fastvi: ")
    return str(line.removeprefix("fastvi: "))


# Fields of corpora


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_fields_are_kept(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path, rows())
    found = corpus.read(path, keep=["year", "party"])
    assert found.fields == {
        "year": [row["year"] for row in rows()],
        "party": [row["party"] for row in rows()],
    }
    assert found.reading["keep"] == ["year", "party"]
    again = corpus.read_again(path, found.reading)
    assert again.fields == found.fields
    assert corpus.read(path).fields == {}


def test_fields_of_a_json_array(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "cat dog", "n": None}, {"text": "fur", "n": "x"}]))
    assert corpus.read(path, keep=["n"]).fields == {"n": [None, "x"]}
    path.write_text('["cat dog", "fur"]')
    with pytest.raises(ValueError, match=r"line 1: no field 'n'; this is not an object"):
        corpus.read(path, keep=["n"])


def test_columns_are_numbers_if_all_values_are(tmp_path: Path) -> None:
    documents = [{"text": "cat", "a": " 1", "b": "1"}, {"text": "dog", "a": "2.5", "b": ""}]
    found = corpus.read(write_csv(tmp_path, documents), keep=["a", "b"])
    assert found.fields == {"a": [1.0, 2.5], "b": ["1", None]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one two\nthree\n", "no field 'n'; only CSV, TSV, JSON and JSON lines have"),
        ("a.csv", "text,m\none,1\n", "line 1: no column 'n'; there are 'text', 'm'"),
        ("a.jsonl", '{"text": "one"}\n', "line 1: no field 'n'; there are 'text'"),
        ("a.jsonl", '{"text": "one", "n": [1]}\n', "field 'n' is a list; wanted: a string or a"),
    ],
)
def test_missing_fields(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        corpus.read(tmp_path / name, keep=["n"])


def test_keep_is_a_list_of_names(tmp_path: Path) -> None:
    path = write_csv(tmp_path, rows(4))
    with pytest.raises(ValueError, match="keep is 'year'; wanted: the names of columns"):
        corpus.read(path, keep="year")
    with pytest.raises(ValueError, match="shards keep no fields"):
        corpus.read_sharded(path, keep=["year"])
    with pytest.raises(ValueError, match="docstrings have no field 'year'"):
        corpus.standard_library(keep=["year"])


# Models


@pytest.mark.thorough
@pytest.mark.jit
def test_topics_over_time(tmp_path: Path, capsys: Any) -> None:
    path, model = write_jsonl(tmp_path, rows()), tmp_path / "m.npz"
    page = tmp_path / "report.html"
    out = run(capsys, "lda", path, "--time", "year", *QUIET, "-o", model, "--html", page)
    assert "passes of dynamic" in out
    assert all(part in page.read_text() for part in ("Over time", "Documents with", "2002"))
    loaded = fastvi.load(model)
    assert loaded.slice_times_.tolist() == [2000, 2001, 2002]
    assert {*loaded.vocabulary_} <= {word for theme in THEMES for word in theme}
    best = json.loads(run(capsys, "topics", model, "--json"))["topics"]
    assert len(best) == 3
    assert sum(topic["share"] for topic in best) == pytest.approx(1.0)
    table = list(csv.reader(io.StringIO(run(capsys, "transform", model, path))))
    X = corpus.read(path, keep=["year"], vocabulary=loaded.vocabulary_)
    wanted = loaded.transform(X.counts, X.fields["year"])
    got = np.array([row[1:] for row in table[1:]], float)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    score = json.loads(run(capsys, "score", model, path, "--json"))
    assert -4 < score["document_completion"] < -1
    late = [{"text": "moon sky", "when": 2009, "year": "x"}]
    later = write_jsonl(tmp_path, late, "late.jsonl")
    assert "field 'year'[0] is 'x'; wanted numbers, dates" in fail(
        capsys, "transform", model, later
    )
    run(capsys, "transform", model, later, "--time", "when")


@pytest.mark.jit
def test_dates_and_slices(tmp_path: Path, capsys: Any) -> None:
    path, model = write_csv(tmp_path, rows()), tmp_path / "m.npz"
    run(capsys, "lda", path, "--time", "day", "--slices", "year", *QUIET, "-o", model)
    assert fastvi.load(model).slice_times_.astype(str).tolist() == [
        "2000-01-01", "2001-01-01", "2002-01-01",
    ]  # fmt: skip


@pytest.mark.jit
def test_covariates(tmp_path: Path, capsys: Any) -> None:
    path, model = write_csv(tmp_path, rows()), tmp_path / "m.npz"
    out = run(capsys, "lda", path, "--covariates", "party,year", *QUIET, "-o", model, "--json")
    about = json.loads(out)
    assert about["solver"] == "correlated"
    assert about["covariates"] == ["party", "year"]
    loaded = fastvi.load(model)
    assert loaded.covariate_names_ == ["party=left", "party=right", "year"]
    run(capsys, "score", model, path)
    page = tmp_path / "report.html"
    run(capsys, "topics", model, path, "--html", page)
    assert all(part in page.read_text() for part in ("Correlations", "party=left", "(NPMI):"))
    new = write_csv(tmp_path, [{"text": "cat", "party": "green", "year": 2001}], "new.csv")
    message = fail(capsys, "transform", model, new)
    assert message == (
        "covariates: column 'party' holds 'green' in row 0, a level that was not in the training "
        "data"
    )
    bare = write_csv(tmp_path, [{"text": "cat", "party": "left"}], "bare.csv")
    assert "no column 'year'" in fail(capsys, "transform", model, bare)


@pytest.mark.jit
def test_their_number_from_the_data(tmp_path: Path, capsys: Any) -> None:
    path, model = write_csv(tmp_path, rows()), tmp_path / "m.npz"
    out = run(capsys, "lda", path, "--model", "hdp", "-k", "10", "--passes", "3", "--batch-size",
              "32", "--quiet", "-o", model, "--json")  # fmt: skip
    assert json.loads(out)["n_topics"] == fastvi.load(model).n_topics_
    assert len(list(csv.reader(io.StringIO(run(capsys, "transform", model, path))))) == 91


@pytest.mark.jit
def test_report_of_a_plain_model(tmp_path: Path, capsys: Any) -> None:
    path, model = write_csv(tmp_path, rows()), tmp_path / "m.npz"
    page, other = tmp_path / "a.html", tmp_path / "b.html"
    run(capsys, "lda", path, *QUIET, "-o", model, "--html", page)
    run(capsys, "topics", model, path, "--html", other)
    assert page.read_text() == other.read_text()
    run(capsys, "topics", model, "--html", other)
    assert "Documents with" in page.read_text()
    assert "Documents with" not in other.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--time", "year", "--covariates", "party"], "no model takes both"),
        (["--model", "dynamic"], "--model dynamic needs the documents' times: give --time FIELD"),
        (["--model", "hdp", "--time", "year"], "--time is for --model dynamic, but --model is hdp"),
        (["--time", "year", "--solver", "svi"], "--solver does not apply to --model dynamic"),
        (["--slices", "3"], "--slices does not apply to --model lda"),
        (
            ["--time", "month"],
            "line 1: no column 'month'; there are 'text', 'year', 'party', 'day'",
        ),
        (["--time", "party"], "field 'party'[0] is 'right'; wanted numbers, dates, or strings"),
        (["--time", "gaps"], "field 'gaps' has no time for document 1, counted from 0"),
        (["--time", "year", "--slices", "weekly"], "slices is 'weekly'; wanted 'values'"),
        (["--covariates", "same"], "column 'same' is 7.0 for every document; leave it out"),
        (["--covariates", "year,twice"], "column 'twice' is a linear combination of those before"),
        (["--covariates", "gaps"], "column 'gaps' has no value in row 1"),
        (["--html", "report.pdf"], "--html is report.pdf; wanted a name in .html"),
        (["--time", "year", "-k", "0"], "--topics is 0"),
    ],
)
def test_bad_options(options: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    documents = rows(40)
    for i, row in enumerate(documents):
        row |= {"same": 7, "twice": 2 * row["year"], "gaps": "" if i == 1 else row["year"]}
    if options[:2] == ["--time", "party"] or "month" in options:
        documents = rows(40)
    path = write_csv(tmp_path, documents)
    model = tmp_path / "m.npz"
    assert message in fail(capsys, "lda", path, *options, "--quiet", "-o", model, "--held-out", "0")
    assert not model.exists()


def test_reports_want_a_name(tmp_path: Path, capsys: Any) -> None:
    message = fail(capsys, "topics", "m.npz", "docs.csv")
    assert message == "PATH names documents for the report; give --html FILE as well"
