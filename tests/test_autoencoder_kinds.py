"""Autoencoders with posteriors and priors other than the plain ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from stopping import Stopped, stopper

import fastvi
from fastvi import VariationalAutoencoder
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.kernels.networks import BIAS, WEIGHTS
from fastvi.models.autoencoder.kinds import chosen
from fastvi.models.autoencoder.lagging import information
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.rows import Frame, rows_of

pytestmark = pytest.mark.jit

SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "batch_size": 16,
    "max_iter": 3,
    "random_state": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "planar": {"family": "planar", "options": {"n_functions": 3}},
    "radial": {"family": "radial", "options": {"n_functions": 3}},
    "iaf": {"family": "iaf", "options": {"flow_units": (12,), "n_context": 4}},
    "maf": {"family": "maf", "options": {"flow_units": (12,), "n_context": 4}},
    "hamiltonian": {"family": "hamiltonian", "options": {"n_transitions": 2}},
    "langevin": {"family": "langevin", "options": {"n_transitions": 2}},
    "vamp": {"prior": "vamp", "n_parts": 5},
    "categorical": {"family": "categorical", "options": {"n_levels": 2}, "kl": "free_bits"},
    "delta": {"kl": "delta", "options": {"delta": 0.5}},
    "aggressive": {"kl": "aggressive"},
    "aggressive, iaf": {"kl": "aggressive", "family": "iaf", "free_bits": 0.1},
    "iaf under a mixture": {"family": "iaf", "prior": "mixture", "n_parts": 3},
    "planar, pixels": {
        "family": "planar",
        "decoder": "pixelcnn",
        "image_shape": (2, 3),
        "options": {"n_functions": 2, "n_maps": 8, "kernel_sizes": (3,)},
    },
}


def rows_for(likelihood: str, n: int = 60) -> Any:
    rng = np.random.default_rng(5)
    mean = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 6))
    if likelihood == "gaussian":
        return mean + 0.3 * rng.normal(size=mean.shape)
    return (mean + rng.logistic(size=mean.shape) > 0).astype(float)


def bits(model: VariationalAutoencoder) -> tuple[bytes, dict[str, bytes]]:
    columns = {k: v.tobytes() for k, v in model.history_.items() if k != "seconds"}
    return model._params.tobytes(), columns


@pytest.mark.thorough
@pytest.mark.parametrize("family", ["iaf", "maf"])
def test_a_masked_linear_function_is_the_full_rank_gaussian(family: str) -> None:
    """At the posterior of a linear model, which is correlated, the bound is the log likelihood of
    probabilistic PCA, and flat; Gaussians that are independent lose their divergence.

    Expectations of squares are exact for draws at plus and minus sqrt(J) along each axis.
    """
    d, j, variance, n = 6, 3, 0.5, 40
    rng = np.random.default_rng(0)
    W, X = rng.normal(size=(d, j)), rng.normal(size=(n, d))
    kind, choice = chosen({
        "family": family, "prior": "normal", "decoder": "dense",
        "options": {"n_functions": 1, "flow_units": (), "n_context": j},
    })  # fmt: skip
    model: Any = kind(
        Frame("gaussian", d, np.zeros(d), 1.0, 1), j, [], "none", variance**0.5, choice
    )
    S = variance * np.linalg.inv(W.T @ W + variance * np.eye(j))
    L, to_mean = np.linalg.cholesky(S), S @ W.T / variance
    scale = np.diag(L)  # of y = scale x + (1 - scale) m, for x standard normal
    params = np.zeros(model.n_params, np.float32)
    encoder, decoder, flow = (
        net.table[0] for net in (model.form.encoder, model.form.decoder, model.family.flow.layers)
    )
    weights = np.zeros((d, 3 * j))
    weights[:, 2 * j :] = to_mean.T
    params[encoder[WEIGHTS] : encoder[BIAS]] = weights.ravel()
    params[decoder[WEIGHTS] : decoder[BIAS]] = W.T[::-1].ravel()  # the order is reversed
    network = np.zeros((2 * j, 2 * j))
    inverse = np.eye(j), np.tril(L, -1)  # z = mean + L x
    masked = scale[:, None] * np.linalg.inv(L), np.eye(j) - scale[:, None] * np.linalg.inv(L)
    of_mean, of_before = {"iaf": inverse, "maf": masked}[family]
    network[:j, ::2] = of_mean.T / (1 - scale)
    network[j:, ::2] = of_before.T / (1 - scale)
    params[flow[WEIGHTS] : flow[BIAS]] = network.ravel()
    params[flow[BIAS] + 1 : flow[BIAS] + 2 * j : 2] = np.log(scale) - np.log1p(-scale) - 1.5
    points = np.sqrt(j) * np.concatenate([np.eye(j), -np.eye(j)])
    rows = rows_of(model.frame, X)
    objective = kernels.Objective(kernels.SAMPLED, 2 * j, 0.0, 1.0, 0.0)
    work, grads = model.work(rows, n, 2 * j), np.empty_like(params)
    work.eps[...] = np.tile(points, (n, 1)).ravel()
    bound, _, _ = model.step(
        objective, params, rows, np.arange(n), np.uint64(0), steps.STILL,
        np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    covariance = W @ W.T + variance * np.eye(d)
    exact = multivariate_normal(np.zeros(d), covariance).logpdf(X).mean()
    assert bound == pytest.approx(exact, rel=3e-6)
    lost = 0.5 * (np.log(1 / np.diag(np.linalg.inv(S))).sum() - np.linalg.slogdet(S)[1])
    assert abs(lost) > 0.1  # what the best independent Gaussians lose
    of_posterior = np.r_[grads[: decoder[WEIGHTS]], grads[flow[WEIGHTS] :]]
    assert np.abs(of_posterior).max() < 1e-3
    z = work.z.reshape(n, 2 * j, j)[:, :, ::-1]
    np.testing.assert_allclose(z.mean(1), X @ to_mean.T, atol=1e-5)
    centred = z[0] - z[0].mean(0)
    np.testing.assert_allclose(centred.T @ centred / (2 * j), S, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("family", ["hamiltonian", "langevin"])
def test_paths_close_the_gap_of_a_linear_model(family: str) -> None:
    """From the best independent Gaussians the bound rises with transitions to the log likelihood of
    probabilistic PCA; log weights are quadratic, so that noise along each axis is enough.
    """
    d, j, variance, n = 6, 3, 0.5, 8
    rng = np.random.default_rng(0)
    W, X = rng.normal(size=(d, j)), rng.normal(size=(n, d))
    precision = W.T @ W / variance + np.eye(j)
    exact = multivariate_normal(np.zeros(d), W @ W.T + variance * np.eye(d)).logpdf(X).mean()
    bounds = [
        exact - 0.5 * (np.linalg.slogdet(precision)[1] * -1 + np.log(np.diag(precision)).sum())
    ]
    for n_transitions in (1, 4, 16, 64):
        kind, choice = chosen({
            "family": family, "prior": "normal", "decoder": "dense",
            "options": {"n_transitions": n_transitions},
        })  # fmt: skip
        frame = Frame("gaussian", d, np.zeros(d), 1.0, 1)
        model: Any = kind(frame, j, [], "none", variance**0.5, choice)
        rows = rows_of(frame, X)
        params = model.start(rows, rng)
        params[: model.family.first] = np.concatenate([
            np.c_[np.linalg.solve(precision, W.T / variance).T, np.zeros((d, j))].ravel(),
            np.zeros(j), -0.5 * np.log(np.diag(precision)), W.T.ravel(), np.zeros(d),
        ])  # fmt: skip
        params[model.family.first :][:n_transitions] = np.log(0.7)  # lengths of steps
        size = model.n_noise
        points = np.sqrt(size) * np.concatenate([np.eye(size), -np.eye(size)])
        work = model.evaluation_work(params, rows, n, 2 * size)
        work.eps[...] = np.tile(points, (n, 1)).ravel()
        objective = kernels.Objective(kernels.SAMPLED, 2 * size, 0.0, 1.0, 0.0)
        model.evaluate(objective, params, rows, np.arange(n), work)
        bounds.append(work.values.mean())
    assert np.all(np.diff([*bounds, exact]) > 0.0)
    assert exact - bounds[-1] < 0.25 * (exact - bounds[0])


@pytest.mark.thorough
@pytest.mark.parametrize("name", KINDS)
def test_what_each_kind_offers(name: str, tmp_path: Path) -> None:
    """The bound rises; importance sampling is above it; files and resumed fits have the same bits;
    `partial_fit` and warm starts go on.
    """
    X = rows_for("bernoulli")
    options = SMALL | KINDS[name] | {"likelihood": "bernoulli", "learning_rate": 0.01}
    model = VariationalAutoencoder(3, **(options | {"max_iter": 30})).fit(X)
    elbo = model.history_["local_elbo"]
    assert elbo[-8:].mean() > elbo[:8].mean()
    assert np.all(np.isfinite(model.history_["kl"]))
    bound = model.elbo_samples(X, n_draws=200).mean()
    assert bound < model.score_samples(X, n_draws=200).mean() < 0
    Z, drawn, n = model.transform(X), model.sample(50), 6 if "categorical" in name else 3
    assert [part.shape for part in (Z, *drawn)] == [(60, n), (50, 6), (50, n)]
    means, sd = model.posterior(X)
    np.testing.assert_array_equal(means, Z)
    assert np.all(sd > 0)
    assert model.sample_posterior(X).shape == Z.shape
    assert model.active_units_ == n - model.posterior_collapse_.n_collapsed
    model.save(tmp_path / "m.npz")
    twin = fastvi.load(tmp_path / "m.npz")
    assert bits(twin) == bits(model)
    assert twin.get_params() == model.get_params()
    np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))
    many = np.tile(X, (20, 1))  # for two threads
    twin.set_params(n_jobs=2)
    np.testing.assert_array_equal(twin.transform(many), model.transform(many))
    np.testing.assert_array_equal(twin.elbo_samples(many), model.elbo_samples(many))
    short, file = VariationalAutoencoder(3, **options), tmp_path / "c"
    whole = clone(short).fit(X, X_val=X[:20])
    with pytest.raises(Stopped):
        clone(short).fit(
            X, X_val=X[:20], callback=stopper(5), checkpoint=file, checkpoint_interval=0
        )
    again = clone(short).fit(X, X_val=X[:20], checkpoint=file, resume=True)
    assert bits(again) == bits(whole)
    short.set_params(warm_start=True, n_jobs=2).fit(X).fit(X).partial_fit(X)
    assert short.n_batch_iter_ > whole.n_batch_iter_


@pytest.mark.thorough
def test_kinds_of_posteriors_must_stay() -> None:
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, warm_start=True, **SMALL).fit(X)
    with pytest.raises(ValueError, match="family, prior, decoder, n_parts or options was"):
        model.set_params(family="planar").fit(X)
    with pytest.raises(ValueError, match="family is 'planar' and was 'gaussian'"):
        model.partial_fit(X)


@pytest.mark.thorough
def test_pseudo_inputs_find_groups() -> None:
    """Of rows in four groups, whose bound is higher than under a standard normal prior."""
    rng = np.random.default_rng(0)
    centres = 4.0 * np.array([[1.0, 1, 0, 0], [-1, 1, 0, 0], [1, -1, 0, 0], [-1, -1, 0, 0]])
    X = centres[rng.integers(4, size=400)] + 0.3 * rng.normal(size=(400, 4))
    options = {"hidden_layer_sizes": (), "noise": 0.3, "max_iter": 300, "learning_rate": 0.01}
    normal, vamp = (
        VariationalAutoencoder(2, prior=prior, n_parts=8, random_state=0, **options).fit(X)
        for prior in ("normal", "vamp")
    )
    bounds = [model.elbo_samples(X, n_draws=20).mean() for model in (normal, vamp)]
    assert bounds[1] > bounds[0] + 0.3
    drawn, _ = vamp.sample(500)
    assert np.median(np.abs(np.abs(drawn[:, :2]) - 4.0).max(1)) < 1.0


@pytest.mark.slow
def test_relaxed_categories_learn_faster_than_by_the_score_function(data_dir: Path) -> None:
    """Of images, with 20 categories of ten levels, after as many passes."""
    with np.load(data_dir / "images" / "binarized_mnist_larochelle_packed.npz") as file:
        packed = file["train"][np.random.default_rng(0).permutation(50_000)[:10_000]]
    X = np.unpackbits(packed, axis=1)[:, :784].astype(np.float32)
    bounds = [
        VariationalAutoencoder(
            20, likelihood="bernoulli", family="categorical", hidden_layer_sizes=(200,),
            max_iter=15, random_state=0, options={"gradient": gradient},
        ).fit(X).elbo_samples(X[:1000]).mean()
        for gradient in ("relaxed", "score")
    ]  # fmt: skip
    assert bounds[0] > bounds[1] + 10.0


# --- what keeps latent variables in use ----------------------------------------------------------


def test_words_stand_for_numbers() -> None:
    """And numbers that are given hold with any word."""
    X = rows_for("gaussian")

    def params(**given: Any) -> Any:
        return VariationalAutoencoder(2, **SMALL, **given).fit(X)._params

    np.testing.assert_array_equal(params(kl="anneal"), params(kl_warmup=10))
    np.testing.assert_array_equal(params(kl="free_bits"), params(free_bits=0.1))
    both = params(kl_warmup=2, free_bits=0.3)
    np.testing.assert_array_equal(params(kl="free_bits", kl_warmup=2, free_bits=0.3), both)
    assert np.any(both != params())


def test_the_encoder_alone_takes_steps_at_first() -> None:
    """The decoder waits until the encoder's bound is no better, or for 100 steps, and no longer
    after a pass in which the information has fallen.
    """
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, kl="aggressive", **(SMALL | {"max_iter": 40}))
    first = int(np.cumsum([6 * 8 + 8, 8 * 4 + 4])[-1])
    seen: list[Any] = []
    model.fit(X, callback=lambda state: seen.append(state.params.copy()))
    moves = np.diff(seen, axis=0) != 0
    moves = moves[moves.any(axis=1)]  # the end of a pass is not a step
    encoder, decoder = moves[:, :first].any(1), moves[:, first:].any(1)
    assert encoder[:14].all()
    assert not decoder[:14].any()
    assert decoder.any()
    alone = ~encoder
    assert np.all(np.diff(np.flatnonzero(alone)) <= 101)
    together = encoder & decoder
    assert together[np.argmax(together) :].all()


@pytest.mark.parametrize("n_rows", [3, 50])
def test_information_of_latent_variables(n_rows: int) -> None:
    """The logarithm of the number of rows if posteriors are far apart, and 0 if they are one."""
    model, rows = Autoencoder(Frame("gaussian", 1, np.zeros(1), 1.0, 1), 1, [], "none", 1.0), None
    rows = rows_of(model.frame, np.arange(float(n_rows))[:, None])
    for slope, exact in ((1.0, np.log(n_rows)), (0.0, 0.0)):
        params = np.array([slope, 0.0, 0.0, -5.0, 0.0, 0.0], np.float32)
        assert information(model, params, rows) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"options": {"n_functions": 3}},
            "options has 'n_functions'; wanted none with family=",
        ),
        (
            {"family": "iaf", "options": {"n_flows": 3}},
            "options has 'n_flows'; wanted one of 'n_functions', 'flow_units', 'n_context'",
        ),
        (
            {"family": "planar", "options": {"n_functions": 0}},
            "n_functions is 0; wanted",
        ),
        ({"family": "iaf", "options": {"flow_units": 9}}, "flow_units is 9; wanted numbers of"),
        ({"prior": "vamp", "n_parts": 0}, "n_parts is 0; wanted an integer >= 1"),
        ({"family": "categorical", "prior": "vamp"}, "family='categorical' needs prior='normal'"),
        ({"family": "categorical", "kl": "delta"}, "family='categorical', .* do not go together"),
        ({"family": "categorical", "objective": "iwae"}, "objective is 'iwae'; wanted .*'elbo'"),
        ({"family": "categorical", "options": {"n_levels": 1}}, "n_levels is 1; wanted"),
        ({"family": "hamiltonian", "prior": "vamp"}, "family='hamiltonian' needs prior='normal'"),
        ({"family": "langevin", "options": {"n_transitions": 0}}, "n_transitions is 0; wanted"),
        ({"kl": "delta", "options": {"delta": 0.0}}, "delta is 0.0; wanted a number > 0"),
    ],
)
def test_bad_options(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(**(SMALL | parameters)).fit(rows_for("gaussian"))
