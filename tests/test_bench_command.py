"""The command `fastvi bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastvi.cli import bench, hot_loops
from fastvi.cli.bench import Row, measure
from fastvi.cli.hot_loops import FASTVI, LOOPS, NUMPY, PYTHON
from fastvi.cli.main import main

ROWS = [
    Row("one", "rows", {PYTHON: 2e3, NUMPY: 4e6, FASTVI: 1.5e9, "scikit-learn": 5.0}, 1.25),
    Row("another", "pairs", {PYTHON: 1.0, NUMPY: 10.0, FASTVI: 1000.0}, 0.0),
]


@pytest.mark.parametrize(
    "loop",
    [
        LOOPS[1],
        *(pytest.param(loop, marks=pytest.mark.thorough) for loop in LOOPS if loop != LOOPS[1]),
    ],
    ids=lambda loop: loop.name,
)
def test_all_ways_agree(loop: hot_loops.Loop) -> None:
    row = measure(loop._replace(small=max(2, loop.small // 20)), enough=0.0, large=20)
    assert {PYTHON, NUMPY, FASTVI} <= set(row.rates)
    assert min(row.rates.values()) > 0
    assert row.first > 0


def test_disagreement_is_an_error() -> None:
    def problem(size: int) -> hot_loops.Problem:
        ways = {PYTHON: lambda: [1.0], NUMPY: lambda: [1.0], FASTVI: lambda: [1.1]}
        return hot_loops.Problem(1.0, ways)

    with pytest.raises(RuntimeError, match="loop: fastvi and pure Python disagree"):
        measure(hot_loops.Loop("loop", "unit", 1, 1, problem))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = iter(ROWS)
    monkeypatch.setattr(bench, "measure", lambda loop: next(rows))
    monkeypatch.setattr(bench, "LOOPS", LOOPS[: len(ROWS)])


@pytest.mark.usefixtures("measured")
def test_table(capsys: Any, tmp_path: Path) -> None:
    figures, picture = tmp_path / "b.json", tmp_path / "b.svg"
    assert main(["bench", "--json", str(figures), "--plot", str(picture)]) == 0
    machine, *lines = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert "numba" in machine
    assert "one thread" in machine
    assert lines == [
        "loop unit pure Python NumPy fastvi scikit-learn fastvi / Python first call",
        "one rows 2 k/s 4 M/s 1.5 G/s 5 /s 750000 1.2 s",
        "another pairs 1 /s 10 /s 1 k/s - 1000 0.0 s",
    ]
    found = json.loads(figures.read_text())
    assert [loop["name"] for loop in found["loops"]] == ["one", "another"]
    assert "pure Python" in picture.read_text()


@pytest.mark.usefixtures("measured")
def test_json_goes_to_standard_output(capsys: Any) -> None:
    assert main(["bench", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loops"][0]["rates"][FASTVI] == 1.5e9


def test_an_ending_that_cannot_be_drawn(capsys: Any) -> None:
    assert main(["bench", "--plot", "b.txt"]) == 2
    assert "cannot draw .txt" in capsys.readouterr().err
