"""Commands on tables and on densities: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi.cli.columns import read_columns
from fastvi.cli.main import main

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

LINE = """
import fastvi
import numpy as np

y = np.loadtxt("y.csv")

@fastvi.target(data={"y": y}, names={"mu": (), "z": 2})
def level(z, data, grad):
    value = 0.0
    for i in range(data.y.size):
        value -= 0.5 * (data.y[i] - z[0]) ** 2
        grad[0] += data.y[i] - z[0]
    for k in range(3):
        value -= 0.5 * z[k] ** 2
        grad[k] -= z[k]
    return value
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables: a curve with gaps, groups beside text, two states, and a model."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    t = np.arange(60.0)
    y = 10.0 + 3.0 * np.sin(t / 6.0) + 0.3 * rng.normal(size=60)
    rows = [f"{a:g},{b:.4f}" for a, b in zip(t, y)]
    rows[5] = "5,NA"
    Path("curve.csv").write_text("week,sold\n" + "\n".join(rows) + "\n")
    X = rng.normal(size=(90, 2)) * [100.0, 0.1] + np.repeat([[0.0, 0.0], [1000.0, 1.0]], 45, axis=0)
    lines = [f"r{i};{a:.4f};{b:.4f}" for i, (a, b) in enumerate(X)]
    Path("groups.csv").write_text("name;large;small\n" + "\n".join(lines))
    np.save("states.npy", X)
    np.savetxt("y.csv", rng.normal(size=20) + 1.0)
    Path("model.py").write_text(LINE)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    assert main([*arguments, "--json", "--quiet"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def cells(path: str) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


class Reader(HTMLParser):
    """Elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


COMMANDS = {
    "gp": ["gp", "curve.csv", "--target", "sold"],
    "mixture": ["mixture", "groups.csv", "-k", "5", "--covariance", "diag"],
    "hmm": ["hmm", "states.npy", "-k", "3", "--covariance", "diag"],
    "fit": ["fit", "model.py"],
}


def test_a_curve_is_predicted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = Path("new.csv")
    new.write_text("week\n60\n61\n")
    wanted = ["--new", str(new), "--predictions", "p.csv", "-o", "gp.npz"]
    found = told(capsys, *COMMANDS["gp"], *wanted)
    assert found["verdict"] == "good"
    assert found["n_rows"] == 59
    assert found["held_out_rmse"] < 0.5 * found["rmse_of_the_mean"]
    table = cells("p.csv")
    assert table[0] == ["week", "mean", "lower_90", "upper_90"]
    mean, lower, upper = np.array(table[1:], float).T[1:]
    model = fastvi.load("gp.npz")
    np.testing.assert_allclose(mean, model.predict([[60.0], [61.0]]))
    assert np.all((lower < mean) & (mean < upper))


def test_several_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 3))
    table = np.column_stack((X, X[:, 0] - 2.0 * X[:, 1] + 0.1 * rng.normal(size=80)))
    np.savetxt("rows.csv", table, delimiter="\t", header="a\tb\tc\ty", comments="")
    found = told(capsys, "gp", "rows.csv", "--target", "y", "--inputs", "a,b", "--inducing", "20")
    assert found["inputs"] == ["a", "b"]
    assert found["verdict"] in ("good", "means only")
    assert found["held_out_rmse"] < 0.2 * found["rmse_of_the_mean"]


def test_groups_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *COMMANDS["mixture"], "--labels", "l.csv")
    assert found["verdict"] == "groups"
    assert found["columns"] == ["large", "small"]
    assert found["n_groups"] == 2
    means = np.sort(np.array(found["means"]), axis=0)
    np.testing.assert_allclose(means / [1000.0, 1.0], [[0, 0], [1, 1]], atol=0.06)
    labels = np.array(cells("l.csv")[1:])[:, 1]
    assert len(set(labels[:45])) == len(set(labels[45:])) == 1
    assert labels[0] != labels[-1]


def test_states_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *COMMANDS["hmm"], "--paths", "s.csv")
    assert found["verdict"] == "states"
    assert found["n_states"] == 2
    states = np.array(cells("s.csv")[1:])[:, 1]
    assert len(set(states[:45])) == len(set(states[45:])) == 1


def test_a_density_is_fitted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *COMMANDS["fit"], "--draws", "d.csv", "-n", "50", "-o", "post.npz")
    assert found["verdict"] == "good"
    y = np.loadtxt("y.csv")
    assert found["parameters"]["mu"]["mean"] == pytest.approx(y.sum() / 21.0, abs=0.03)
    assert cells("d.csv")[0] == ["mu", "z[0]", "z[1]"]
    assert len(cells("d.csv")) == 51
    assert fastvi.load("post.npz").mean.shape == (3,)


def test_text_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS["mixture"], "--seed", "3"]) == 0
    out, err = capsys.readouterr()
    assert "columns of text are left out: name" in err
    assert "Weights and means of groups" in out
    assert "Verdict: groups. Compared with one Gaussian, " in out


@pytest.mark.thorough
@pytest.mark.parametrize("name", COMMANDS)
def test_a_report_is_whole(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what was found, how to repeat and to cite it, and asks for nothing from outside."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert main([*COMMANDS[name], "--quiet", "--html", "a.html", "--plot", "a.png"]) == 0
    text = Path("a.html").read_text()
    tags = Reader(text).found
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert images
    assert all(a["alt"] and str(a["src"]).startswith("data:image/svg+xml") for a in images)
    assert not [a for _, a in tags if str(a.get("href") or "").startswith("http")]
    assert "Verdict: " in text
    assert " ".join(["fastvi", *COMMANDS[name]]) in text
    assert "The fastvi developers" in text
    assert Path("a.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gp", "curve.csv", "--target", "price"], "no column 'price'; wanted one of week, sold"),
        (["gp", "groups.csv", "--target", "name"], "line 2: column 'name' holds 'r0'"),
        (["gp", "curve.csv", "--target", "sold", "--inputs", "sold"], "other than the target"),
        (["gp", "groups.csv", "--target", "small", "--likelihood", "poisson", "--inputs",
          "large,small"], "other than the target"),
        (["gp", "curve.csv", "--target", "sold", "--held-out", "1"], "--held-out is 1.0"),
        (["mixture", "nothing.csv"], "nothing.csv: No such file"),
        (["mixture", "ragged.csv"], "ragged.csv, line 3: 1 cells; wanted 2, as in line 1"),
        (["mixture", "flat.csv"], "column 'b' has the same value in each row"),
        (["mixture", "groups.csv", "-k", "0"], "--groups is 0"),
        (["mixture", "groups.csv", "--labels", "groups.csv"], "--labels groups.csv: is also read"),
        (["hmm", "states.npy", "--emissions", "poisson"], "wants counts"),
        (["fit", "empty.py"], "empty.py defines 0 targets; wanted one"),
        (["fit", "broken.py"], "broken.py, line 2: ZeroDivisionError"),
        (["fit", "model.py", "--name", "slope"], "has no such target (level)"),
        (["fit", "model.py", "--html", "a.pdf"], "wanted a name in .html"),
    ],
)  # fmt: skip
def test_bad_input(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ragged.csv").write_text("a,b\n1,2\n3\n")
    Path("flat.csv").write_text("a,b\n1,2\n3,2\n4,2\n")
    Path("empty.py").write_text("x = 1\n")
    Path("broken.py").write_text("x = 1\ny = x / 0\n")
    before = sorted(folder.iterdir())
    assert main([*arguments, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert not out
    assert sorted(p for p in folder.iterdir() if p.name != "__pycache__") == before


@pytest.mark.parametrize("command", [*COMMANDS, "lda", "topics", "transform", "score"])
def test_help_teaches_by_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"fastvi {command} " in capsys.readouterr().out.split("example: ")[1]


def test_row_numbers_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,name,week,a\n1,x,4,2.5\n2,y,5,\n3,z,6,3.5\n")
    table = read_columns(str(path))
    assert table.usual([], quiet=False) == ["week", "a"]
    assert capsys.readouterr().err.splitlines() == [
        "columns of text are left out: name", "columns that count the rows are left out: id"
    ]  # fmt: skip
    assert table.usual(["week", "a"], quiet=True) == ["id"]  # nothing else is there
    assert not capsys.readouterr().err


def test_rows_that_lack_an_input_keep_their_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("new.csv").write_text("week\n60\nNA\n61\n")
    assert main([*COMMANDS["gp"], "--new", "new.csv", "--predictions", "p.csv"]) == 0
    assert "new.csv: rows that lack an input get no prediction: 1" in capsys.readouterr().err
    assert [row[1] == "nan" for row in cells("p.csv")[1:]] == [False, True, False]


def test_tables_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeff1\t2\n\n3\t nan \n")
    found = read_columns(str(path))
    assert found.names == ["column1", "column2"]
    np.testing.assert_array_equal(found.values, [[1.0, 2.0], [3.0, np.nan]])
    np.savez(tmp_path / "b.npz", x=np.arange(3))
    assert read_columns(str(tmp_path / "b.npz")).values.shape == (3, 1)


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_a_report_fits_the_window(width: int, browser: Any, folder: Path) -> None:
    assert main([*COMMANDS["mixture"], "--quiet", "--html", "a.html"]) == 0
    tab = browser.new_page(viewport={"width": width, "height": 700})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text))
    tab.goto((folder / "a.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    drawn = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert tab.evaluate(drawn)
    tab.close()
    assert problems == []
