"""Our side of every benchmark still runs: each function at toy size, by the public interface."""

import importlib
import os
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,  # `.ci/run` runs them apart
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # few iterations
]
BENCH = Path(__file__).parent.parent / "bench"
DATA = os.environ.get("FASTVI_TEST_DATA")
CASES = [
    ("ep", "cost", {"n": 200, "d": 3, "repeats": 1}),
    ("ep", "spread", {"n": 50, "d": 3, "n_draws": 10_000}),
    ("ep", "hard", {"n_sets": 2}),
    ("ep_gp", "evidence", {"n": 40, "repeats": 1}),
    ("ep_gp", "quality", {"name": "iris", "splits": 2}),
    ("derived", "run", {"repeats": 1, "quick": True}),
    ("ours_amortized", "transform", {"n": 200}),
    ("ours_features", "iteration", {"n": 50, "k": 3, "repeats": 1}),
    ("ours_features", "digits", {"bits": 2}),
    ("ours_generic", "logistic_step", {"n_draws": 4, "n": 50, "d": 3}),
    ("ours_generic", "schools_step", {}),
    ("ours_gp", "sgpr", {"n": 60, "m": 6}),
    ("ours_gp", "svgp", {"n": 60, "m": 6}),
    ("ours_gp", "matrix", {"n": 60, "m": 6}),
    ("ours_gp", "large", {"n": 500, "m": 6}),
    ("ours_gp", "point", {"n": 60, "m": 6}),
    ("ours_gp", "deep_step", {"n": 20, "m": 6, "layers": 2}),
    ("ours_hmm", "iteration", {"method": "EM", "n": 300, "k": 2, "d": 2}),
    ("ours_hmm", "iteration", {"method": "VB", "n": 300, "k": 2, "d": 1, "length": 100}),
    ("ours_hmm", "viterbi", {"n": 300, "k": 2, "d": 2}),
    ("ours_hmm", "online", {"k": 2, "d": 2, "n": 20, "gaps": True}),
    ("ours_lda", "svi_step", {"n_words": 20_000, "k": 4, "steps": 8}),
    ("ours_mixture", "iteration", {"n": 200, "d": 2, "k": 2, "iterations": 3}),
    ("ours_score", "gradient", {"n": 50, "d": 3, "n_draws": 8}),
    ("ours_statespace", "passes", {"n": 60, "k": 2, "d": 2}),
    ("ours_statespace", "iteration", {"n": 60, "k": 2, "d": 2, "solver": "vb"}),
    ("ours_statespace", "online", {"k": 2, "d": 2, "n": 20}),
    ("ours_stein", "iteration", {"n": 20, "d": 3}),
    ("ours_stein", "direction", {"n": 20, "d": 3}),
    ("ours_temporal", "likelihood", {"kernel": "matern32", "n": 50}),
    ("ours_stochastic", "overhead", {"n_steps": 200}),
    ("ours_stochastic", "mixture_curve", {"n": 400, "d": 2, "k": 2, "passes": (1, 2)}),
]
ON_DATA = [
    ("ours_generic", "accuracy", {}),
    ("ours_gp", "fit", {"name": "boston", "m": 6, "iterations": 3}),
    ("ours_gp", "stochastic", {"name": "boston", "m": 6, "batch": 50, "steps": 3}),
    ("ours_gp", "deep", {"name": "boston", "m": 6, "batch": 50, "steps": 3, "layers": 2}),
    ("ours_lda", "curve", {"corpus": "ap", "k": 4, "passes": (1, 2)}),
    ("ours_lda", "infer", {"corpus": "ap", "k": 4, "passes": 1}),
    (
        "ours_lda",
        "threads",
        {"corpus": "ap", "k": 4, "solver": "cvb0", "n_threads": 2, "passes": 2},
    ),
    ("ours_topics_correlated", "sweeps", {"corpus": "ap", "k": 3, "n": 2}),
    ("ours_topics_correlated", "held_out", {"corpus": "ap", "k": 3}),
    ("ours_topics_discrete", "svi", {"k": 4, "passes": 1, "structured": True}),
    ("ours_topics_discrete", "hdp", {"passes": 1, "n_topics": 4}),
    ("ours_poisson", "passes", {"corpus": "ap", "k": 4, "iterations": 2, "repeats": 1}),
    ("ours_poisson", "curve", {"corpus": "ap", "k": 4, "max_iter": 2}),
    ("ours_topics_dynamic", "iteration", {"k": 3, "width": 30, "iterations": 6}),
    ("ours_topics_dynamic", "forecasts", {"k": 3, "years": (1960,)}),
]


def run(monkeypatch, module, function, arguments):
    monkeypatch.syspath_prepend(BENCH)
    return getattr(importlib.import_module(module), function)(**arguments)


@pytest.mark.parametrize(("module", "function", "arguments"), CASES)
def test_toy_sizes(module, function, arguments, monkeypatch):
    assert run(monkeypatch, module, function, arguments)


@pytest.mark.skipif(not DATA, reason="FASTVI_TEST_DATA is not set")
@pytest.mark.parametrize(("module", "function", "arguments"), ON_DATA)
def test_toy_sizes_on_real_data(module, function, arguments, monkeypatch):
    assert run(monkeypatch, module, function, arguments)
