"""The table of compile times has every public call, and none that takes too long."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

import fastvi


@pytest.fixture(scope="module")
def bench() -> Any:
    path = Path(__file__).parents[1] / "bench" / "compile_times.py"
    spec = importlib.util.spec_from_file_location("compile_times", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_every_call(bench: Any) -> None:
    """The others compile nothing of their own."""
    assert set(bench.listed()) == set(bench.CALLS)
    public = [getattr(fastvi, name) for name in fastvi.__all__]
    estimators = {v.__name__ for v in public if inspect.isclass(v) and hasattr(v, "fit")}
    functions = {v.__name__ for v in public if inspect.isfunction(v)}
    measured = {name.split("(")[0] for name in bench.CALLS}
    others = {
        "load",
        "check",
        "target",
        "document_completion",
        "ksd",
        "topic_diversity",
        "guided_prior",
        "sticky_prior",
        "left_right_prior",
        "reweighted_fit",
        "early_stopping",
        "compare",
        "distributed",
    }
    assert estimators | functions - others <= measured


def test_none_takes_too_long(bench: Any) -> None:
    listed = bench.listed()
    for name, seconds in listed.items():
        assert seconds <= bench.EXCEPTIONS.get(name, bench.LIMIT), name
    assert set(bench.EXCEPTIONS) <= set(listed)
    assert all(seconds > bench.LIMIT for seconds in bench.EXCEPTIONS.values())


def test_slow_calls_are_found_on_slow_machines_too(bench: Any) -> None:
    listed = bench.listed()
    name = "BayesianPCA().fit"
    limit = bench.NOISE * bench.LIMIT
    for factor in (1.0, 3.0):
        found = {bench.YARDSTICK: factor * listed[bench.YARDSTICK]}
        assert not bench.too_slow(found | {name: 0.99 * factor * limit})
        assert bench.too_slow(found | {name: 1.01 * factor * limit}) == [name]
