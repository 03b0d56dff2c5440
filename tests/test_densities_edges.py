"""Densities at the edge of what they are defined for: NaN, empty intervals, several rows."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from test_densities import CASES, EACH, models  # noqa: F401  (a fixture)
from test_derivatives_models import Interpreted, derived, slopes

import fastvi
from fastvi import densities
from fastvi.densities import ode
from fastvi.targets import TargetError

NAMES = sorted({name for name, _ in EACH})


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_is_nan_out(models, name):  # noqa: F811
    arguments = CASES[name][1][-1 if name.startswith("hurdle") else 0]
    with np.errstate(invalid="ignore"):
        for i in range(len(arguments)):
            at = [math.nan if k == i else float(a) for k, a in enumerate(arguments)]
            data = {f"k{k}": at[k] for k, a in enumerate(arguments) if isinstance(a, int)}
            assert math.isnan(derived(getattr(models, name), np.array(at), data)[0]), (name, i)


def intervals(z, data):
    total = densities.truncated_normal(data.low, data.low, data.high, z[0], 1.0)
    return total + densities.uniform(data.low, data.low, data.high)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (1.0, 0.0), (-np.inf, -np.inf)])
def test_an_interval_without_length_has_no_density(bounds):
    value, grad = derived(intervals, np.zeros(1), dict(zip(("low", "high"), bounds)))
    assert value == -math.inf
    assert grad[0] == 0.0


def choices(z, data):
    B = z[:6].reshape(2, 3)
    total = densities.categorical_logit(data.k, data.X @ B) + densities.categorical_logit(1, z)
    p = np.exp(z[:3]) / np.sum(np.exp(z[:3]))
    total += densities.categorical(data.k, p)
    cuts = np.array([z[0], z[0] + np.exp(z[1])])
    total += densities.ordered_logistic(data.k, data.X @ z[2:4], cuts)
    return total + densities.ordered_logistic(data.k, z[2], cuts)


def choices_by_loops(z, data):
    total = densities.categorical_logit(1, z)
    p, B = np.exp(z[:3]) / np.sum(np.exp(z[:3])), z[:6].reshape(2, 3)
    cuts = np.array([z[0], z[0] + np.exp(z[1])])
    for k, x in zip(data.k, data.X):
        total += densities.categorical_logit(k, x @ B) + densities.categorical(k, p)
        total += densities.ordered_logistic(k, x @ z[2:4], cuts)
        total += densities.ordered_logistic(k, z[2], cuts)
    return total


CHOICES = {"k": np.array([0, 2, 1, 2]), "X": np.arange(8.0).reshape(4, 2) / 4.0 - 1.0}


def test_choices_of_several_rows(rng):
    z = rng.normal(size=6)
    value, grad = derived(choices, z, CHOICES)
    by_loops = Interpreted(choices_by_loops, CHOICES)
    assert value == pytest.approx(by_loops(z)[0], rel=1e-13)
    wanted = slopes(lambda x: by_loops(x)[0], z)
    np.testing.assert_allclose(grad, wanted, rtol=1e-9, atol=1e-9)


def ordered(z, data):
    cuts = np.array([z[0], z[0] + np.exp(z[1])])
    return densities.ordered_logistic(data.k, data.X @ z[2:4], cuts)


@pytest.mark.jit
def test_choices_of_several_rows_compiled(rng):
    z = rng.normal(size=4)
    target = fastvi.target(ordered, data=CHOICES, dim=4, gradient=None)
    assert target.log_prob(z) == pytest.approx(derived(ordered, z, CHOICES)[0], rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ((CHOICES["k"], np.zeros((3, 3))), r"k \(4,\), logits \(3, 3\)"),
        ((CHOICES["X"], np.zeros(3)), r"k \(4, 2\), logits \(3,\)"),
        (([1], np.zeros((3, 3))), r"k \(1,\), logits \(3, 3\)"),  # as compiled code does
        ((1, 0.5), r"k \(\), logits \(\)"),
    ],
)
def test_choices_of_other_shapes_are_refused(arguments, shapes):
    with pytest.raises(ValueError, match=rf"categorical_logit is given shapes {shapes}; wanted"):
        densities.categorical_logit(*arguments)


@numba.njit
def decay(t, y, rate):
    return np.array([-rate * y[0]])


def test_solutions_without_times_or_steps():
    none = np.zeros(0)
    assert ode.ode_rk45.py_func(decay.py_func, np.ones(1), 0.0, none, 0.5).shape == (0, 1)
    assert ode.ode_rk4.py_func(decay.py_func, np.ones(1), 0.0, none, 0.5, 3).shape == (0, 1)
    with pytest.raises(ValueError, match="n_steps of ode_rk4 is below 1; wanted"):
        ode.ode_rk4.py_func(decay.py_func, np.ones(1), 0.0, np.ones(1), 0.5, 0)


def too_few(z, data):
    if data.n < 1:
        raise ValueError("n is below 1; wanted 1")
    return -(z[0] ** 2)


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_target_says_what_its_density_raised():
    target = fastvi.target(too_few, data={"n": 0}, dim=1, gradient=None)
    with pytest.raises(TargetError, match=r"at z\[0\]=1: ValueError, line \d+: n is below 1"):
        target.log_prob(np.ones(1))
