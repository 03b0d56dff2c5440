"""Posteriors and priors of autoencoders equal their plain twins, and gradients differences."""

import numpy as np
import pytest
from naive import autoencoder as plain
from naive import autoencoder_kinds as naive
from naive.networks import slope
from scipy.sparse import csr_array
from scipy.special import log_softmax, logsumexp

from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.kernels.networks import BIAS, KIND, MASKED, WEIGHTS
from fastvi.models.autoencoder.kinds import chosen
from fastvi.models.autoencoder.priors import correlation
from fastvi.models.autoencoder.rows import frame_of, rows_of

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.thorough]  # they compile for 30 s

N, D, J = 4, 4, 3
SAMPLED = kernels.Objective(kernels.SAMPLED, 2, 0.0, 0.7, 0.0)
WEIGHTED = kernels.Objective(kernels.WEIGHTED, 3, 0.3, 0.8, 0.0)
FAMILIES = {
    "planar": {"n_functions": 2},
    "radial": {"n_functions": 2},
    "iaf": {"n_functions": 2, "flow_units": (7, 5), "n_context": 2},
    "maf": {"n_functions": 2, "flow_units": (7, 2), "n_context": 2},
    "hamiltonian": {"n_transitions": 3},
    "langevin": {"n_transitions": 2},
}


def made(
    rng, family="gaussian", prior="normal", likelihood="gaussian", sparse=False, kl="plain",
    **options,
):  # fmt: skip
    """An autoencoder, its parameters, rows in its frame, and these as its decoder sees them."""
    X = rng.normal(size=(N, D)) if likelihood == "gaussian" else rng.poisson(1.0, (N, D)) * 1.0
    X = np.minimum(X, 1.0) if likelihood == "bernoulli" else X
    frame = frame_of(likelihood, X)
    rows = rows_of(frame, csr_array(X) if sparse else X)
    kind, choice = chosen({
        "family": family, "prior": prior, "decoder": "dense", "n_parts": 3, "kl": kl,
        "options": options,
    })  # fmt: skip
    model = kind(frame, J, [3], "tanh", "shared", choice)
    params = model.start(rows, rng)
    params += rng.normal(scale=0.3, size=params.shape).astype(np.float32)
    params[~there(model)] = 0.0
    return model, params, rows, (X - frame.centre) / frame.scale


def found(model, objective, params, rows, eps):
    """Bound, divergence and gradient."""
    work = model.work(rows, rows.n_rows, objective.n_draws)
    work.eps[...] = eps.ravel()
    grads = np.full_like(params, np.nan)
    bound, divergence, failed = model.step(
        objective, params, rows, np.arange(rows.n_rows), np.uint64(0), steps.STILL,
        np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    assert failed == steps.FINE
    return bound, divergence, grads


def there(model):
    """Which parameters are not weights that masks leave out."""
    free = np.ones(model.n_params, bool)
    if hasattr(model.family, "flow"):
        layers = model.family.flow.layers
        for row in layers.table:
            assert row[KIND] == MASKED
            free[row[WEIGHTS] : row[BIAS]] = naive.mask(row, layers.reach).ravel()
    return free


def check(objective, **kinds):
    rng = np.random.default_rng(4)
    model, params, rows, seen = made(rng, **kinds)
    eps = rng.normal(size=(N, objective.n_draws, model.n_noise)).astype(np.float32)
    bound, divergence, grads = found(model, objective, params, rows, eps)
    exact = params.astype(float)
    assert bound == pytest.approx(naive.bound(model, objective, exact, seen, eps), rel=1e-5)
    ratio, _ = naive.log_ratios(model, exact, seen, eps)
    assert divergence == pytest.approx(-ratio.mean(), rel=1e-5)

    def function(moved):
        return naive.bound(model, objective, moved, seen, eps)

    if model.choice.words["family"] == "gaussian":
        function = naive.along_paths(model, objective, exact, seen, eps)
    want = slope(function, exact)
    free = there(model)
    np.testing.assert_allclose(grads[~free], 0.0)
    np.testing.assert_allclose(grads[free], want[free], rtol=1e-3, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("objective", [SAMPLED, WEIGHTED], ids=["elbo", "vr"])
@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_and_gradients_of_flows(family, objective):
    check(objective, family=family, **FAMILIES[family])


def test_bounds_and_gradients_of_relaxed_categories():
    check(SAMPLED, family="categorical", n_levels=3, temperature=0.8)


def enumerated(model, params, seen):
    """All one hot z (n, S, J), log likelihoods, log p(z) and log q(z) (n, S)."""
    n_levels, n = model.family.n_levels, model.n_latent // model.family.n_levels
    states = np.stack(np.meshgrid(*[np.arange(n_levels)] * n), -1).reshape(-1, n)
    one_hot = np.eye(n_levels)[states].reshape(len(states), -1)
    z = np.broadcast_to(one_hot, (N, *one_hot.shape))
    logits = naive.encoded(model, params, seen).reshape(N, n, n_levels)
    log_q = (z * log_softmax(logits, axis=-1).reshape(N, 1, -1)).sum(-1)
    likelihoods = plain.likelihoods(model.form, params, seen, z)
    return z, likelihoods, naive.log_prior(model, params, z), log_q


@pytest.mark.parametrize("gradient", ["score", "straight_through"])
def test_gradients_of_hard_categories(gradient):
    """By the score function they are, in the mean, those of the exact bound, of all parameters; of
    the decoder those of straight-through draws are, too. Draws have the chances of q.
    """
    rng = np.random.default_rng(3)
    model, params, rows, seen = made(rng, family="categorical", n_levels=2, gradient=gradient)
    n_draws, n_times = 500, 20
    objective = SAMPLED._replace(n_draws=n_draws)
    results = []
    for _ in range(n_times):
        eps = rng.normal(size=(N, n_draws, model.n_noise)).astype(np.float32)
        results.append(found(model, objective, params, rows, eps)[2].astype(float))

    def exact(moved):
        _, likelihoods, log_p, log_q = enumerated(model, moved, seen)
        weights = np.exp(log_q)
        return (weights * (likelihoods + objective.beta * (log_p - log_q))).sum(1).mean()

    want = slope(exact, params.astype(float))
    mean, error = np.mean(results, axis=0), np.std(results, axis=0, ddof=1) / np.sqrt(n_times)
    first = 0 if gradient == "score" else model.form.decoder.table[0, WEIGHTS]
    off = np.abs(mean - want) / (error + 1e-5 * np.abs(want).max())
    assert off[first:].max() < 5.0


def test_log_weights_of_categories():
    """log p(x) by enumeration, in the mean over draws of weights."""
    rng = np.random.default_rng(3)
    model, params, rows, seen = made(rng, family="categorical", n_levels=2)
    n_draws = 4000
    work = model.evaluation_work(params, rows, N, n_draws)
    work.eps[...] = rng.normal(size=work.eps.shape)
    objective = kernels.Objective(kernels.WEIGHTED, n_draws, 0.0, 1.0, 0.0)
    model.evaluate(objective, params, rows, np.arange(N), work)
    z = work.z.reshape(N, n_draws, -1)
    assert set(np.unique(z)) == {0.0, 1.0}
    first, likelihoods, log_p, log_q = enumerated(model, params.astype(float), seen)
    exact = logsumexp(likelihoods + log_p, axis=1)
    weights = np.exp(work.values.reshape(N, n_draws) - exact[:, None])
    error = weights.std(axis=1) / np.sqrt(n_draws)
    assert np.all(np.abs(weights.mean(axis=1) - 1.0) < 5.0 * error + 1e-4)
    chances = (np.exp(log_q)[..., None] * first).sum(1)
    np.testing.assert_allclose(z.mean(axis=1), chances, atol=5.0 * 0.5 / np.sqrt(n_draws))


def test_flows_under_a_mixture():
    check(SAMPLED, family="radial", prior="mixture", n_functions=1)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("objective", [SAMPLED, WEIGHTED], ids=["elbo", "vr"])
def test_bounds_and_gradients_of_pseudo_inputs(likelihood, objective):
    check(objective, prior="vamp", likelihood=likelihood)


@pytest.mark.parametrize("objective", [SAMPLED, WEIGHTED], ids=["elbo", "vr"])
def test_bounds_and_gradients_under_a_chain(objective):
    check(objective, kl="delta", delta=0.7)


@pytest.mark.parametrize(("delta", "n_latent"), [(0.3, 2), (1.0, 5), (10.0, 2)])
def test_the_least_divergence_from_a_chain(delta, n_latent):
    """Of independent Gaussians: that of variances which invert the diagonal of its precision."""
    covariance = naive.chain(correlation(delta, n_latent), n_latent)
    diagonal = np.diag(np.linalg.inv(covariance))
    least = 0.5 * (np.log(diagonal).sum() + np.linalg.slogdet(covariance)[1])
    assert least == pytest.approx(delta, rel=1e-5)


def test_free_bits_of_all_latent_variables_together(rng):
    """Below them the gradient is that without the divergence."""
    model, params, rows, _ = made(rng, family="radial", n_functions=1)
    eps = rng.normal(size=(N, 2, J)).astype(np.float32)
    whole, without = SAMPLED, SAMPLED._replace(beta=0.0)
    _, divergence, _ = found(model, whole, params, rows, eps)
    for share, like in ((0.9, whole), (1.1, without)):
        objective = whole._replace(free=share * divergence / J)
        grads = found(model, objective, params, rows, eps)[2]
        np.testing.assert_array_equal(grads, found(model, like, params, rows, eps)[2])


def test_pseudo_inputs_of_sparse_rows():
    """As those of dense rows; their start is rows as the encoder sees them."""
    results = []
    for sparse in (False, True):
        rng = np.random.default_rng(1)
        model, params, rows, seen = made(rng, prior="vamp", likelihood="poisson", sparse=sparse)
        start = model.prior.pseudo_inputs(model.start(rows, np.random.default_rng(2)))
        known = {row.tobytes() for row in np.log1p(seen).astype(np.float32)}
        assert {row.tobytes() for row in start} <= known
        eps = rng.normal(size=(N, 2, J)).astype(np.float32)
        results.append(found(model, SAMPLED, params, rows, eps))
    for dense, other in zip(*results):
        np.testing.assert_allclose(other, dense, rtol=1e-4, atol=1e-5)


def test_a_flow_that_is_not_finite_is_named(rng):
    model, params, rows, _ = made(rng, family="iaf", **FAMILIES["iaf"])
    params[model.family.flow.layers.table[0, WEIGHTS]] = np.nan
    work, grads = model.work(rows, N, 1), np.zeros_like(params)
    *_, failed = model.step(
        SAMPLED._replace(n_draws=1), params, rows, np.arange(N), np.uint64(5), steps.STILL,
        np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    assert model.layer_name(failed) == "the draws of posteriors"
