"""Mini-batches of targets: fits settle, and weights that a density forgets are found."""

import math

import hard_densities
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_targets import regression

import fastvi
from fastvi.fitting.arguments import batches_of
from fastvi.targets import TargetError
from fastvi.targets.checking import screen_weights

Y = np.random.default_rng(0).normal(1.0, 1.0, 2000)


def half_forgotten(z, data, rows, weights):
    value = 0.0
    for m in range(rows.size):
        e = data.y[rows[m]] - z[0]
        value -= weights[m] * 0.5 * e * e * math.exp(-2.0 * z[1]) + z[1]
    return value


def of_sizes(z, data, rows, weights):
    """Weights are only used through their sum."""
    value, total = 0.0, 0.0
    for m in range(rows.size):
        value -= weights[m] * 0.5 * (data.y[rows[m]] - z[0]) ** 2
        total += weights[m]
    return value - total * z[1] ** 2 - 1e6


def test_a_fit_with_mini_batches_settles():
    target = fastvi.target(hard_densities.remembering, data={"y": Y}, dim=1, rows=("y",))
    posterior = fastvi.fit(target, batch_size=100, random_state=0)
    assert posterior.settled
    assert posterior.n_iter < 3000
    assert posterior.mean[0] == pytest.approx(Y.mean(), abs=0.1 / np.sqrt(2000))
    assert posterior.sd[0] == pytest.approx(1.0 / np.sqrt(2000), rel=0.02)


@pytest.mark.parametrize("function", [hard_densities.forgetful, half_forgotten])
def test_forgotten_weights_are_named(function):
    target = fastvi.target(function, data={"y": Y}, dim=2, rows=("y",))
    wanted = rf"{function.__name__}: 20 rows of weight 2 .* multiply each row's term by its weight"
    for fit in (fastvi.fit, lambda *args, **options: fastvi.svgd(args[0], 10, **options)):
        with pytest.raises(TargetError, match=wanted):
            fit(target, batch_size=20, random_state=0)
    fastvi.fit(target, max_iter=20)  # all rows have weight 1


@pytest.mark.parametrize("function", [hard_densities.remembering, of_sizes])
def test_right_targets_raise_no_alarm(function):
    batches_of(fastvi.target(function, data={"y": Y}, dim=2, rows=("y",)), 50, "uniform", 0)


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 4), st.floats(-12, 12))
@settings(max_examples=15)
def test_no_alarm_for_regressions_of_any_scale(seed, n, dim, log_scale):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, dim)), np.exp(log_scale) * rng.normal(size=n)
    target = fastvi.target(regression, data={"X": X, "y": y}, dim=dim, rows=("X", "y"))
    screen_weights(target, n)
