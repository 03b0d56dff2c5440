"""Implicit posteriors equal their plain twins, and gradients differences."""

import numpy as np
import pytest
from naive import autoencoder as plain
from naive import autoencoder_implicit as naive
from naive.networks import forward, slope

from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.models.autoencoder.kinds import chosen
from fastvi.models.autoencoder.ratios import kernel_ratio
from fastvi.models.autoencoder.rows import frame_of, rows_of

pytestmark = pytest.mark.usefixtures("quiet")

N, D, J, K, BETA = 3, 3, 2, 2, 0.7
SIZES = {"n_context": 3, "n_noise": 2, "n_mixture": 3, "sampler_units": (4,), "critic_units": (5,)}


def made(rng, ratio):
    """An autoencoder, its parameters, and rows, also as its decoder sees them."""
    X = rng.normal(size=(N, D))
    frame = frame_of("gaussian", X)
    kind, choice = chosen({
        "family": "implicit", "prior": "normal", "decoder": "dense",
        "options": SIZES | {"ratio": ratio},
    })  # fmt: skip
    model = kind(frame, J, [3], "tanh", 0.5, choice)
    params = model.start(rows_of(frame, X), rng)
    params += rng.normal(scale=0.3, size=params.shape).astype(np.float32)
    return model, params, rows_of(frame, X), (X - frame.centre) / frame.scale


@pytest.mark.parametrize("ratio", ["semi_implicit", "adversarial"])
def test_bounds_and_gradients(ratio):
    """Of a mixture the whole gradient; with a classifier that along paths of draws."""
    rng = np.random.default_rng(4)
    model, params, rows, seen = made(rng, ratio)
    eps = rng.normal(size=(N, K, model.n_noise)).astype(np.float32)
    objective = kernels.Objective(kernels.SAMPLED, K, 0.0, BETA, 0.0)
    work, grads = model.work(rows, N, K), np.full_like(params, np.nan)
    work.eps[...] = eps.ravel()
    bound, divergence, failed = model.step(
        objective, params, rows, np.arange(N), np.uint64(0), steps.STILL, np.empty(0, np.float32),
        work, grads,
    )  # fmt: skip
    exact, table = params.astype(float), model.form.encoder.table
    log_q = naive.frozen(model.family, exact, forward(table, exact, seen), eps) if (
        ratio == "adversarial"
    ) else None  # fmt: skip

    def function(moved, beta=BETA, likelihoods=plain.likelihoods):
        z, high, _ = naive.draws(model.family, moved, forward(table, moved, seen), eps)
        found = -0.5 * (z**2).sum(-1) - (high if log_q is None else log_q(z))
        return (likelihoods(model.form, moved, seen, z) + beta * found).mean()

    assert failed == steps.FINE
    assert bound == pytest.approx(function(exact), rel=1e-5)
    ratio_alone = function(exact, 1.0, lambda *_: 0.0)
    assert divergence == pytest.approx(-ratio_alone, rel=1e-5)
    want = slope(function, exact)
    want[model.family.ratio.own] = 0.0
    np.testing.assert_allclose(grads, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


def test_densities_are_bracketed():
    """`bracket` is its twin, and the classifier's gradient that of its likelihood."""
    rng = np.random.default_rng(5)
    model, params, _, seen = made(rng, "adversarial")
    family, exact = model.family, params.astype(float)
    eps = rng.normal(size=(N, K, model.n_noise)).astype(np.float32)
    context = forward(model.form.encoder.table, exact, seen)
    tape, z = family.work(N, N * K), np.empty(N * K * J, np.float32)
    high, low = np.empty((2, N * K))
    drawn = family.bracket(
        params, context.astype(np.float32).ravel(), eps.ravel(), tape, z, high, low
    )
    want = naive.draws(family, exact, context, eps)
    np.testing.assert_allclose(z, want[0].ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(high, want[1].ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(low, want[2].ravel(), rtol=1e-4, atol=1e-5)
    all_draws = drawn.all.reshape(N, -1, J).astype(float)
    contrast = eps.reshape(N, -1, family.width)[:, :, -J:].astype(float)
    log_q = naive.frozen(family, exact, context, eps)

    def function(own):
        moved = exact.copy()
        moved[family.ratio.own] = own
        logits = []
        for x, is_away in ((all_draws, False), (contrast, True)):
            logits.append(_logits(family, moved, context, eps, x, is_away))
        return -0.5 * sum(np.logaddexp(0, s * a).mean() for s, a in zip((-1, 1), logits))

    assert log_q(all_draws).shape == all_draws.shape[:2]
    grads = np.zeros_like(params)
    score = family.ratio.learn(params, drawn, grads)
    own = exact[family.ratio.own]
    assert score == pytest.approx(function(own), rel=1e-5)
    np.testing.assert_allclose(grads[family.ratio.own], slope(function, own), rtol=1e-3, atol=1e-5)


def _logits(family, params, context, eps, x, is_away):
    """Logits at draws, or at standard normal numbers."""
    parts, _ = naive.gaussians(family, params, context, eps)
    every = parts.reshape(N, -1, 2 * J)
    mean = every[..., :J].mean(1, keepdims=True)
    variance = (np.exp(2 * every[..., J:]) + (every[..., :J] - mean) ** 2).mean(1, keepdims=True)
    away = x if is_away else (x - mean) / np.sqrt(variance)
    above = np.broadcast_to(context[:, None], (*away.shape[:2], context.shape[1]))
    inputs = np.concatenate([above, away], -1).reshape(-1, context.shape[1] + J)
    return forward(family.ratio.net.table, params, inputs).ravel()


def test_ratio_by_kernels():
    """Its slopes are differences, and the ratio is that of half normal numbers to Gaussian ones,
    shrunk: nearer than none.
    """
    rng = np.random.default_rng(0)
    raw, contrast = np.abs(rng.normal(size=(60, 256, 2))), rng.normal(size=(60, 256, 2))
    mean, sd = np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)
    draws = (raw - mean) / sd
    at = draws[:, :4]
    logs, slopes = kernel_ratio(draws, contrast, at)
    step = 1e-2
    for j in range(2):
        move = step * np.eye(2)[j]
        ends = [kernel_ratio(draws, contrast, at + sign * move)[0] for sign in (1, -1)]
        error = np.abs((ends[0] - ends[1]) / (2 * step) - slopes[..., j])
        assert np.quantile(error, 0.99) < 5e-3  # at some points the ratio is cut off
    true = 2 * np.log(2 * sd) + (-0.5 * raw[:, :4] ** 2 + 0.5 * at**2).sum(2)
    # E log ratio, the divergence, is 0.36 nats
    assert 0.02 < logs.mean() < true.mean()
    assert np.mean((logs - true) ** 2) < np.mean(true**2)
