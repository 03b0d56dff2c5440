"""Optimizers: their papers' rules worked by hand, their plain twins, and what they refuse."""

import re
from typing import NamedTuple

import numpy as np
import pytest
from naive import optimizers as naive

from fastvi import optimizers
from fastvi.base import tree
from fastvi.core import Gradient as GradientNoun
from fastvi.core import LazyTable, RowGradient, add, ascend


class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray


def steps(optimizer, gradients, params=None):
    """Steps and rates along given gradients; parameters move."""
    params = np.zeros_like(gradients[0]) if params is None else params
    state, found, rates = optimizer.init(params), [], []
    for g in gradients:
        step, state, rate = optimizer.update(np.array(g), state, params)
        found.append(np.array(step))
        params = add(params, step)
        rates.append(rate)
    return np.array(found), rates


RULES = {
    "adagrad": (optimizers.adagrad(0.3, 1e-6), lambda g: naive.adagrad(g, 0.3, 1e-6)),
    "rmsprop": (optimizers.rmsprop(0.3, 0.8, 1e-6), lambda g: naive.rmsprop(g, 0.3, 0.8, 1e-6)),
    "adam": (optimizers.adam(0.3, 0.8, 0.9, 1e-6), lambda g: naive.adam(g, 0.3, 0.8, 0.9, 1e-6)),
    "amsgrad": (
        optimizers.amsgrad(0.3, 0.8, 0.9, 1e-6),
        lambda g: naive.adam(g, 0.3, 0.8, 0.9, 1e-6, largest=True),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_per_coordinate_rules_equal_their_twins(name, rng):
    optimizer, twin = RULES[name]
    g = rng.standard_normal((30, 3, 4))
    found, rates = steps(optimizer, list(g))
    want = [list(twin(g[:, i, j])) for i in range(3) for j in range(4)]
    np.testing.assert_allclose(found.reshape(30, 12).T, want, rtol=1e-10)
    np.testing.assert_allclose(rates, np.sqrt(np.square(found).mean(axis=(1, 2))))


@pytest.mark.parametrize("name", RULES)
def test_leaves_of_any_shape_and_order_keep_their_moments(name, rng):
    """A number, columns before rows and a table together give what each gives alone."""
    optimizer, _ = RULES[name]
    whole = Pair(np.zeros(()), np.zeros((4, 3)).T)
    state = optimizer.init(whole)
    g = [Pair(rng.standard_normal(()), rng.standard_normal((4, 3)).T) for _ in range(5)]
    for pair in g:
        step, state, _ = optimizer.update(pair, state, whole)
        assert step.first.shape == ()
        assert step.second.shape == (3, 4)
    for part in range(2):
        alone, _ = steps(optimizer, [pair[part] for pair in g])
        np.testing.assert_allclose(step[part], alone[-1], rtol=1e-12)


def test_adam_by_hand():
    """Algorithm 1 of Kingma and Ba with alpha 0.1, beta 0.9 and 0.999 on gradients 2 and -1.

    t = 1: corrected moments are g and g^2, so the step is alpha sign(g). t = 2: m = 0.9 * 0.2 - 0.1
    = 0.08, over 0.19; v = 0.999 * 0.004 + 0.001 = 0.004996, over 0.001999.
    """
    found, _ = steps(optimizers.adam(0.1, epsilon=1e-12), [np.array([2.0]), np.array([-1.0])])
    second = 0.1 * (0.08 / 0.19) / np.sqrt(0.004996 / 0.001999)
    np.testing.assert_allclose(found.ravel(), [0.1, second], rtol=1e-9)


def test_adagrad_and_rmsprop_by_hand():
    g = [np.array([3.0]), np.array([4.0])]
    found, _ = steps(optimizers.adagrad(0.5, 1e-12), g)  # 3 / 3 and 4 / 5
    np.testing.assert_allclose(found.ravel(), [0.5, 0.4], rtol=1e-9)
    found, _ = steps(optimizers.rmsprop(0.5, 0.5, 1e-12), g)  # v = 4.5 and 10.25
    np.testing.assert_allclose(found.ravel(), [1.5 / np.sqrt(4.5), 2 / np.sqrt(10.25)], rtol=1e-9)


def test_amsgrad_converges_where_adam_does_not():
    """Reddi et al. (2018), section 3: gradients of C at every third step and -1 else, on [-1, 1].

    Their mean is (C - 2) / 3 > 0, so the optimum of ascent is 1; with beta_1 = 0 and
    beta_2 = 1 / (1 + C^2) Adam ends at -1. C = 3, rate 0.5 / sqrt(t).
    """
    ends = {}
    for name in ("adam", "amsgrad"):
        C, x = 3.0, np.zeros(1)
        optimizer = getattr(optimizers, name)(1.0, 1e-9, 1 / (1 + C**2), 1e-12)
        state = optimizer.init(x)
        for t in range(1, 3001):
            g = np.array([C if t % 3 == 1 else -1.0])
            step, state, _ = optimizer.update(g, state, x)
            x = np.clip(x + 0.5 / np.sqrt(t) * step, -1, 1)
        ends[name] = float(x[0])
    assert ends["adam"] < -0.9
    assert ends["amsgrad"] > 0.9


@pytest.mark.parametrize("n_warm", [2, 5])
def test_the_adaptive_rate_equals_its_twin(n_warm, rng):
    g = rng.standard_normal((40, 6)) + 1.0
    g[20:] *= 0.1
    found, rates = steps(optimizers.adaptive(n_warm), list(g))
    want = naive.adaptive(g.tolist(), n_warm)
    np.testing.assert_allclose(rates, want, rtol=1e-9, atol=1e-12)
    floor = 1 / (50 + np.arange(1, 41))
    assert 0.1 < np.mean(np.array(rates) > 1.001 * floor) < 1
    np.testing.assert_allclose(found, np.array(rates)[:, None] * g, rtol=1e-10)


def test_the_adaptive_rate_is_one_without_noise_and_small_at_the_optimum(rng):
    """Gradients that are all noise: |mean|^2 scatters about its expectation by w tr Sigma
    sqrt(2 / d), which w = 1 / tau of about t steps makes small: the least rate is left.
    """
    _, rates = steps(optimizers.adaptive(5), [np.full(3, 2.0)] * 10)
    np.testing.assert_allclose(rates, [0.0] * 4 + [1.0] * 6)
    _, rates = steps(optimizers.adaptive(5), list(rng.standard_normal((2000, 50))))
    assert rates[-1] < 1 / 2000


def test_adaptive_finds_a_mean_as_fast_as_the_best_rate(rng):
    """Natural gradients x_t - lambda with x_t ~ N(mu, 1): the best rates are 1 / t, whose error
    after t steps is d / t. Five times that is allowed, of 2000 steps in 20 dimensions.
    """
    mu, d, n = 3.0, 20, 2000
    params = np.zeros(d)
    optimizer = optimizers.adaptive()
    state = optimizer.init(params)
    for _ in range(n):
        step, state, _ = optimizer.update(mu + rng.standard_normal(d) - params, state, params)
        params += step
    assert np.square(params - mu).sum() < 5 * d / n


@pytest.mark.parametrize("burn_in", [0, 3, 50])
def test_averages_of_iterates(burn_in, rng):
    """The mean of the iterates after the burn-in; before its end, the last one."""
    g = rng.standard_normal((12, 3))
    optimizer = optimizers.averaged(optimizers.constant(0.5), burn_in)
    algorithm = ascend(_given(g), optimizer)
    state, iterates = algorithm.init(np.ones(3)), []
    for t in range(12):
        state, info = algorithm.step(state, None, None)
        iterates.append(state.params.copy())
        assert info["rate"] == 0.5
        want = np.mean(iterates[burn_in:], axis=0) if t >= burn_in else iterates[-1]
        np.testing.assert_allclose(optimizer.read(state.optimizer, state.params), want, rtol=1e-12)
    np.testing.assert_allclose(iterates, 1 + 0.5 * np.cumsum(g, axis=0))


def _given(gradients):
    """A gradient estimator that says what it was told."""
    told = iter(gradients)
    return GradientNoun(lambda params: None, lambda *_: (next(told).copy(), None, {}))


def test_averages_are_of_iterates_that_were_confined():
    """A step that is cut back is averaged as it was taken."""
    optimizer = optimizers.averaged(optimizers.constant(1.0))
    algorithm = ascend(_given([np.ones(1)] * 4), optimizer, lambda params, step: 0.5 * step)
    state = algorithm.init(np.zeros(1))
    for _ in range(4):
        state, _ = algorithm.step(state, None, None)
    assert optimizer.read(state.optimizer, state.params).tolist() == [np.mean([0.5, 1.0, 1.5, 2.0])]


def test_averages_of_a_lazy_table(rng):
    start = rng.random((5, 8))
    optimizer = optimizers.averaged(optimizers.constant(0.25))
    rows = [np.array([0, 2]), np.array([1, 2])]
    told = [RowGradient(r, rng.random((2, 8)), np.asarray(0.1)) for r in rows]
    algorithm = ascend(GradientNoun(lambda p: None, lambda *_: (told.pop(0), None, {})), optimizer)
    state, iterates = algorithm.init(LazyTable(start.copy(), np.asarray(0.1))), []
    for _ in range(2):
        state, _ = algorithm.step(state, None, None)
        iterates.append(state.params.dense())
    mean = optimizer.read(state.optimizer, state.params)
    np.testing.assert_allclose(mean.dense(), np.mean(iterates, axis=0), rtol=1e-12)


@pytest.mark.parametrize("norm", [1.0, 5.0, 20.0])
def test_clip(norm):
    """A gradient of length 13, over the parts of a tuple."""
    g = Pair(np.array([3.0, 4.0]), np.array([[12.0]]))
    step, _, rate = optimizers.clip(norm).update(g, 1, None)
    assert rate == min(norm / 13, 1)
    for part, whole in zip(step, g):
        np.testing.assert_allclose(part, min(norm / 13, 1) * whole)


def test_chain_is_one_after_another():
    chained = optimizers.chain(
        optimizers.clip(1.0), optimizers.robbins_monro(1.0, 1.0), optimizers.constant(0.5)
    )
    found, rates = steps(chained, [np.array([3.0, 4.0])] * 3)
    want = [0.5 / (1 + t) for t in (1, 2, 3)]
    np.testing.assert_allclose(rates, np.array(want) / 5)
    np.testing.assert_allclose(found, np.outer(want, [0.6, 0.8]))


def test_what_a_chain_takes_is_what_all_of_it_take():
    plain, clipped = optimizers.constant(0.5), optimizers.clip(1.0)
    assert optimizers.chain(plain, plain).takes_rows
    assert not optimizers.chain(clipped, plain).takes_rows
    assert optimizers.chain(clipped, plain).convex
    assert not optimizers.chain(clipped, optimizers.adam()).convex
    assert optimizers.constant(1.0).convex
    assert not optimizers.constant(1.5).convex
    assert optimizers.averaged(optimizers.adam()).convex is False


OPTIMIZERS = {
    **{name: rule for name, (rule, _) in RULES.items()},
    "constant": optimizers.constant(0.1),
    "robbins_monro": optimizers.robbins_monro(),
    "adaptive": optimizers.adaptive(2),
    "averaged": optimizers.averaged(optimizers.adam(), 2),
    "chain": optimizers.chain(optimizers.clip(1.0), optimizers.amsgrad()),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_state_saved_and_restored_goes_on_with_the_same_bits(name, dtype, rng):
    """And gradients are not written to, and steps are of the parameters' dtype."""
    optimizer = OPTIMIZERS[name]
    g = rng.standard_normal((9, 3, 2)).astype(dtype)
    g.flags.writeable = False
    params = np.zeros((3, 2), dtype)
    fresh = optimizer.init(params)
    state, found = optimizer.init(params), []
    for t in range(9):
        saved = {key: np.array(value) for key, value in tree.save(state, "s").items()}
        found.append((tree.restore(fresh, saved, "s"), params.copy()))
        step, state, _ = optimizer.update(g[t], state, params)
        assert step.dtype == dtype
        params = params + step
    for begin in (0, 4, 8):
        state, again = found[begin]
        for t in range(begin, 9):
            step, state, _ = optimizer.update(g[t], state, again)
            again = again + step
        np.testing.assert_array_equal(again, params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.constant(0.0), "rate is 0.0; wanted a number > 0"),
        (lambda: optimizers.constant(np.nan), "rate is nan"),
        (lambda: optimizers.constant(np.inf), "rate is inf"),
        (lambda: optimizers.adaptive(1), "n_warm is 1; wanted an integer >= 2"),
        (lambda: optimizers.adaptive(1.5), "n_warm is 1.5"),
        (lambda: optimizers.adagrad(-1.0), "rate is -1.0"),
        (lambda: optimizers.rmsprop(decay=1.0), "decay is 1.0; wanted a number >= 0 and < 1"),
        (lambda: optimizers.adam(decay=-0.1), r"decay is -0\.1; wanted a number >= 0 and < 1"),
        (lambda: optimizers.adam(decay_square=1.0), "decay_square is 1.0"),
        (lambda: optimizers.amsgrad(epsilon=0.0), "epsilon is 0.0"),
        (lambda: optimizers.clip(0.0), "norm is 0.0"),
        (lambda: optimizers.chain(), "no optimizers"),
        (lambda: optimizers.averaged(optimizers.constant(), -1), "burn_in is -1"),
        (
            lambda: optimizers.chain(optimizers.averaged(optimizers.constant())),
            r"averaged\(...\) must be outside of chain",
        ),
        (
            lambda: optimizers.averaged(optimizers.averaged(optimizers.constant())),
            r"averaged\(...\) of averaged",
        ),
        (
            lambda: optimizers.chain(
                optimizers.averaged(optimizers.constant()),
                optimizers.averaged(optimizers.constant()),
            ),
            r"averaged\(...\) must be outside of chain",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "0.5", None, [0.5], 0.5j, True])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        *((optimizers.robbins_monro, name) for name in ("delay", "exponent")),
        *((optimizers.adagrad, name) for name in ("learning_rate", "epsilon")),
        *((optimizers.rmsprop, name) for name in ("learning_rate", "decay")),
        *((optimizers.adam, name) for name in ("learning_rate", "decay")),
        *((optimizers.amsgrad, name) for name in ("decay_square", "epsilon")),
        (optimizers.constant, "learning_rate"),
        (optimizers.adaptive, "n_warm"),
        (optimizers.clip, "norm"),
        (lambda burn_in: optimizers.averaged(optimizers.constant(), burn_in), "burn_in"),
    ],
)
def test_what_is_no_finite_number_is_refused(make, name, bad):
    with pytest.raises(ValueError, match=rf"^{name} is {re.escape(repr(bad))}; "):
        make(**{name: bad})


@pytest.mark.parametrize("name", ["rmsprop", "adam", "amsgrad"])
def test_a_decay_of_zero_forgets_at_once(name, rng):
    """What is left of rmsprop and Adam is the sign of the gradient."""
    decays = {"decay": 0.0} if name == "rmsprop" else {"decay": 0.0, "decay_square": 0.0}
    g = rng.standard_normal((6, 4))
    found, _ = steps(getattr(optimizers, name)(0.1, epsilon=1e-12, **decays), list(g))
    top = np.maximum.accumulate(np.abs(g), axis=0) if name == "amsgrad" else np.abs(g)
    np.testing.assert_allclose(found, 0.1 * g / top, rtol=1e-9)
