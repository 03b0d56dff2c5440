"""`fastvi.kernels.autoencoder` equals its plain twins, and its gradients their differences."""

import numpy as np
import pytest
from naive import autoencoder as naive
from naive.networks import slope
from scipy.sparse import csr_array
from scipy.special import logsumexp

from fastvi.base.blas import sgemm
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.models.autoencoder.choice import PLAIN
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.pixels import Pixels
from fastvi.models.autoencoder.pyramids import Pyramid
from fastvi.models.autoencoder.rows import Frame, frame_of, rows_of

pytestmark = pytest.mark.usefixtures("quiet")

N, D, J = 5, 4, 2
ELBO = kernels.Objective(kernels.ELBO, 2, 0.0, 0.7, 0.0)
OBJECTIVES = {
    "elbo": ELBO,
    "free": ELBO._replace(n_draws=1, free=0.6),
    "iwae": kernels.Objective(kernels.WEIGHTED, 4, 0.0, 1.0, 0.0),
    "vr": kernels.Objective(kernels.WEIGHTED, 3, 0.4, 0.8, 0.0),
}
NOISES = ("shared", "per_feature", "network", 0.7)
CASES = {
    **{f"gaussian, {noise}": ("gaussian", noise) for noise in NOISES},
    **{name: (name, "shared") for name in ("bernoulli", "poisson", "multinomial", "categorical")},
}


def made(case, rng, n=N, sparse=False, n_parts=0, plain=PLAIN):
    """An autoencoder, its parameters, rows in its frame, and these as networks see them."""
    likelihood, noise = CASES[case]
    X = {
        "gaussian": rng.normal(1.0, 3.0, (n, D)),
        "bernoulli": rng.uniform(size=(n, D)) * rng.integers(2, size=(n, D)),
        "categorical": rng.integers(3, size=(n, D)).astype(float),
    }.get(likelihood, rng.poisson(1.5, (n, D)).astype(float))
    frame = frame_of(likelihood, X)
    rows = rows_of(frame, csr_array(X) if sparse else X)
    choice = plain._replace(options={"n_parts": n_parts, **plain.options})
    model = Autoencoder(frame, J, [3], "tanh", noise, choice)
    params = model.start(rows, rng)
    params += rng.normal(scale=0.3, size=params.shape).astype(np.float32)
    if likelihood == "categorical":
        seen = np.eye(frame.n_levels)[X.astype(int)].reshape(n, -1)
    else:
        seen = (X - frame.centre) / frame.scale
    return model, params, rows, seen


def found(model, objective, params, rows, eps):
    """Bound, divergence and gradient."""
    work = model.work(rows, rows.n_rows, objective.n_draws)
    work.eps[...] = eps.ravel()
    grads = np.full_like(params, np.nan)
    bound, divergence, failed = steps.step(
        sgemm(), model.form_of(rows), objective, params, rows.data, np.arange(rows.n_rows),
        np.uint64(0), steps.STILL, np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    assert failed == steps.FINE
    return bound, divergence, grads


def check(case, objective, sparse=False, n_parts=0, plain=PLAIN):
    rng = np.random.default_rng(4)
    model, params, rows, seen = made(case, rng, sparse=sparse, n_parts=n_parts, plain=plain)
    eps = rng.normal(size=(N, objective.n_draws, J)).astype(np.float32)
    bound, divergence, grads = found(model, objective, params, rows, eps)
    exact, form = params.astype(float), model.form
    assert bound == pytest.approx(naive.bound(form, objective, exact, seen, eps), rel=1e-5)
    mean, log_sd = naive.posterior(form, exact, seen)
    kl = naive.divergences(mean, log_sd).sum(1).mean()
    if n_parts:
        z = mean[:, None] + np.exp(log_sd)[:, None] * eps
        q = -(0.5 * eps**2 + log_sd[:, None]).sum(-1)
        kl = (q - naive.log_prior(form, exact, z)).mean()
    assert divergence == pytest.approx(kl, rel=1e-5)
    want = slope(naive.ascended(form, objective, exact, seen, eps), exact)
    np.testing.assert_allclose(grads, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("case", CASES)
def test_bounds_and_gradients_of_likelihoods(case):
    check(case, ELBO)


@pytest.mark.parametrize("case", ["bernoulli", "poisson", "multinomial"])
def test_bounds_and_gradients_of_sparse_rows(case):
    check(case, OBJECTIVES["iwae"], sparse=True)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("case", ["gaussian, per_feature", "bernoulli"])
def test_bounds_and_gradients_of_objectives(case, name):
    check(case, OBJECTIVES[name])


@pytest.mark.parametrize("name", ["sampled", "iwae", "vr"])
def test_bounds_and_gradients_of_mixture_priors(name):
    sampled = ELBO._replace(kind=kernels.SAMPLED)
    check("gaussian, per_feature", OBJECTIVES.get(name, sampled), n_parts=3)


@pytest.mark.parametrize("case", ["bernoulli", "gaussian, network", "categorical", "poisson"])
def test_bounds_and_gradients_of_convolutions(case):
    options = {"image_shape": (1, 4, 1), "n_maps": (8,), "kernel_size": 2, "stride": 2}
    plain = PLAIN._replace(parts={"decoder": Pyramid}, options=options)
    check(case, OBJECTIVES["iwae"]._replace(n_draws=2), sparse=case == "poisson", plain=plain)


@pytest.mark.parametrize("case", ["bernoulli", "gaussian, network", "categorical"])
def test_bounds_and_gradients_of_decoders_that_read_pixels(case):
    options = {"image_shape": (2, 2, 1), "n_maps": 8, "kernel_sizes": (3, 1)}
    plain = PLAIN._replace(parts={"decoder": Pixels}, options=options)
    check(case, OBJECTIVES["iwae"]._replace(n_draws=2), plain=plain)


def test_a_mixture_of_one_standard_normal(rng):
    model, params, rows, _ = made("bernoulli", rng)
    other = made("bernoulli", np.random.default_rng(0), n_parts=1)[0]
    eps, objective = rng.normal(size=(N, 4, J)), OBJECTIVES["iwae"]
    longer = np.append(params, np.zeros(1 + 2 * J, np.float32))
    for here, there in zip(
        found(model, objective, params, rows, eps)[::2],
        found(other, objective, longer, rows, eps)[::2],
    ):
        np.testing.assert_allclose(np.atleast_1d(there)[: np.size(here)], here, rtol=1e-4)


def test_constants_of_counts_are_those_of_all_ways(rng):
    """A Poisson row's chance, and a multinomial one's, sum to 1 over counts."""
    grid = np.stack(np.meshgrid(*[np.arange(25.0)] * 2), -1).reshape(-1, 2)
    for likelihood, rows_at in (("poisson", grid), ("multinomial", grid[grid.sum(1) == 6])):
        frame = Frame(likelihood, 2, np.zeros(2), 1.0, 2)
        for given in (rows_at, csr_array(rows_at)):
            constants = rows_of(frame, given).constants
            logits = np.array([0.4, -0.3])
            logs = rows_at @ logits - np.exp(logits).sum()
            if likelihood == "multinomial":
                logs = rows_at @ (logits - logsumexp(logits))
            assert logsumexp(logs + constants) == pytest.approx(0.0, abs=1e-6)


def test_the_last_step_of_the_kernel_is_adam(rng):
    """And its noise is that of the key."""
    model, params, rows, _ = made("bernoulli", rng)
    work = model.work(rows, N, 2)
    grads, moments, before = (np.zeros(k * params.size, np.float32) for k in (1, 2, 1))
    before[...] = params
    adam = steps.Adam(0.9, 0.999, 0.01 / (1 - 0.9), 1 / (1 - 0.999), 1e-8)
    bound, _, failed = steps.step(
        sgemm(), model.form_of(rows), ELBO, params, rows.data, np.arange(N), np.uint64(5), adam,
        moments, work, grads,
    )  # fmt: skip
    assert failed == steps.FINE
    eps = work.eps.reshape(N, 2, J).copy()
    again, _, slopes = found(model, ELBO, before, rows, eps)
    assert bound == again
    np.testing.assert_array_equal(grads, slopes)
    moved = np.abs(grads) > 1e-4
    np.testing.assert_allclose((params - before)[moved], 0.01 * np.sign(grads[moved]), rtol=2e-3)


def test_a_bound_that_is_not_finite_changes_nothing(rng):
    model, params, rows, _ = made("poisson", rng)
    work = model.work(rows, N, 1)
    grads, moments = np.zeros_like(params), np.zeros(2 * params.size, np.float32)
    params[model.form.decoder.table[0, 3]] = np.nan
    before = params.copy()
    adam = steps.Adam(0.9, 0.999, 0.1, 1.0, 1e-8)
    _, _, failed = steps.step(
        sgemm(), model.form_of(rows), ELBO._replace(n_draws=1), params, rows.data, np.arange(N),
        np.uint64(5), adam, moments, work, grads,
    )  # fmt: skip
    assert model.layer_name(failed) == "layer 1 of 2 of the decoder"
    np.testing.assert_array_equal(params, before)
    assert not moments.any()
