"""Compilation ahead of use, and the line that announces it."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

import fastvi
from fastvi.base.progress import compiling_announced
from fastvi.cli.main import WARMUPS, main
from fastvi.cli.warmup import FITS

LOG = logging.getLogger("fastvi.kernels")


@pytest.mark.jit
def test_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "logistic"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"logistic: \d+\.\d s\n", out)
    assert "NUMBA_CACHE_DIR" in out


def test_all_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr("fastvi.cli.warmup._folder", lambda: "there")
    for name in FITS:
        monkeypatch.setitem(FITS, name, lambda: None)
    assert [*FITS, "all"] == WARMUPS
    for arguments in ([], ["all"]):
        assert main(["warmup", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines[:-1]] == list(FITS)
        assert lines[-1].startswith("Compiled kernels are kept in there")


def test_it_needs_a_compiler(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert main(["warmup", "gp"]) == 2
    assert "NUMBA_DISABLE_JIT" in capsys.readouterr().err


def test_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["warmup", "networks"])
    assert "'networks'" in capsys.readouterr().err


def test_announcements(capsys: pytest.CaptureFixture[str]) -> None:
    LOG.info("silent without a log")
    with compiling_announced(False):
        LOG.info("silent")
    with compiling_announced(), compiling_announced():
        LOG.info("once")
    LOG.info("silent again")
    assert capsys.readouterr().err == "fastvi: once\n"
    assert (LOG.level, LOG.propagate, LOG.handlers) == (logging.NOTSET, True, [])


def test_a_log_that_is_shown_has_them_itself(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="fastvi"), compiling_announced():
        LOG.info("once")
    assert [record.message for record in caplog.records] == ["once"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_fits_announce(
    verbose: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a kernel were compiled in a step."""
    from fastvi.models.logistic.model import Logistic

    local = Logistic.local

    def compiles(self, *arguments, **options):
        LOG.info("compiling")
        return local(self, *arguments, **options)

    monkeypatch.setattr(Logistic, "local", compiles)
    x = np.random.default_rng(0).normal(size=(20, 2))
    model = fastvi.BayesianLogisticRegression(max_iter=2, tol=0, verbose=verbose)
    model.fit(x, np.arange(20) % 2)
    assert ("fastvi: compiling\n" in capsys.readouterr().err) == bool(verbose)
