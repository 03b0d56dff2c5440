"""Variational autoencoders: exact cases, the estimator, and what it refuses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import expit, log_softmax
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from stopping import Stopped, stopper

import fastvi
from fastvi import VariationalAutoencoder, optimizers
from fastvi.base.blas import sgemm
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.models.autoencoder.collapse import Collapse, Latents
from fastvi.models.autoencoder.evaluation import decoded, resampled
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.rows import Frame, rows_of

pytestmark = pytest.mark.jit

ELBO = kernels.Objective(kernels.ELBO, 1, 0.0, 1.0, 0.0)
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "batch_size": 16,
    "max_iter": 3,
    "random_state": 1,
}


def evaluated(model: Autoencoder, params: Any, X: Any, objective: Any, eps: Any) -> Any:
    """Bound per row and gradient for noise (n, K, J)."""
    rows = rows_of(model.frame, X)
    work = model.work(rows, len(X), objective.n_draws)
    work.eps[...] = eps.ravel()
    grads = np.empty_like(params)
    bound, _, _ = steps.step(
        sgemm(), model.form_of(rows), objective, params, rows.data, np.arange(len(X)), np.uint64(0),
        steps.STILL, np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    return bound + rows.constants.mean(), grads


def linear(d: int, j: int, sd: float) -> Autoencoder:
    """Without hidden layers, of data in their own units."""
    return Autoencoder(Frame("gaussian", d, np.zeros(d), 1.0, 1), j, [], "none", sd)


# --- probabilistic PCA ----------------------------------------------------------------------------

SPECTRUM = np.array([10.0, 5.0, 1.0, 0.4, 0.35, 0.3, 0.1, 0.1])
ACTIVE = {0.2: 6, 0.5: 3, 3.0: 2, 8.0: 1}


def normal_rows(n: int = 500) -> Any:
    """Rows whose covariance is exactly that of the spectrum, and whose mean is 0."""
    rng = np.random.default_rng(0)
    white = np.linalg.qr(rng.normal(size=(n, 8)) @ np.eye(8))[0]
    white = np.linalg.qr(white - white.mean(0))[0] * np.sqrt(n)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    return white * np.sqrt(SPECTRUM) @ axes.T, axes


@pytest.mark.parametrize("variance", ACTIVE)
def test_a_linear_autoencoder_is_probabilistic_pca(variance: float) -> None:
    """At its optimum (Tipping and Bishop 1999) the bound is the log likelihood, and flat.

    Expectations of squares are exact for draws at plus and minus sqrt(J) along each axis.
    """
    X, axes = normal_rows()
    j = 6
    model = linear(8, j, np.sqrt(variance))
    W = axes[:, :j] * np.sqrt(np.maximum(SPECTRUM[:j] - variance, 0.0))
    m = np.square(W).sum(0) + variance
    encoder, decoder = model.form.encoder.table[0], model.form.decoder.table[0]
    params = np.zeros(model.n_params, np.float32)
    weights = np.concatenate([W / m, np.zeros((8, j))], axis=1)
    params[encoder[3] : encoder[4]] = weights.ravel()
    params[encoder[4] + j : decoder[3]] = 0.5 * np.log(variance / m)
    params[decoder[3] : decoder[4]] = W.T.ravel()
    points = np.sqrt(j) * np.concatenate([np.eye(j), -np.eye(j)])
    eps = np.broadcast_to(points, (len(X), 2 * j, j))
    bound, slope = evaluated(model, params, X, ELBO._replace(n_draws=2 * j), eps)
    covariance = W @ W.T + variance * np.eye(8)
    exact = multivariate_normal(np.zeros(8), covariance).logpdf(X).mean()
    assert bound == pytest.approx(exact, rel=2e-6)
    assert np.abs(slope).max() < 1e-4
    assert np.sum(variance < SPECTRUM) == ACTIVE[variance]


@pytest.mark.parametrize("variance", ACTIVE)
def test_units_die_where_the_noise_is_larger(variance: float) -> None:
    """A trained linear autoencoder uses as many as there are eigenvalues above the noise."""
    X, axes = normal_rows()
    model = VariationalAutoencoder(
        6, hidden_layer_sizes=(), noise=np.sqrt(variance), learning_rate=0.01, max_iter=400,
        random_state=0,
    ).fit(X)  # fmt: skip
    assert model.active_units_ == ACTIVE[variance]
    report, units = model.posterior_collapse_, np.eye(6)
    n_dead = 6 - ACTIVE[variance]
    assert sorted(report.causes) == [""] * ACTIVE[variance] + ["decoder"] * n_dead
    assert report.n_collapsed == n_dead
    W = model.inverse_transform(units) - model.inverse_transform(0 * units)
    spread = np.square(model._latents.spreads)
    np.testing.assert_allclose(
        report.effects, 2.0 * spread * np.square(W).sum(axis=1) / variance, rtol=1e-3, atol=1e-6
    )
    exact = 0.5 * np.log(np.maximum(SPECTRUM[:6] / variance, 1.0))  # of pPCA's posteriors
    np.testing.assert_allclose(np.sort(report.information), exact[::-1], atol=0.1)
    kept = np.maximum(SPECTRUM, variance)
    kept[6:] = variance
    exact = multivariate_normal(np.zeros(8), axes * kept @ axes.T).logpdf(X).mean()
    # Adam's steps settle at a tenth of the rate, but between eigenvalues that are nearly the same
    model.set_params(warm_start=True, learning_rate=1e-3, max_iter=100).fit(X)
    bounds = model.elbo_samples(X, n_draws=50)
    assert bounds.mean() == pytest.approx(exact, abs=0.06)
    assert bounds.mean() < exact + 4 * bounds.std() / np.sqrt(50 * len(X))


# --- importance weights ---------------------------------------------------------------------------


def toy() -> tuple[Autoencoder, Any]:
    """z ~ N(0, 1), x given z ~ N(z, 1), q = N(0.3, 0.9^2) of all rows."""
    return linear(1, 1, 1.0), np.array([0.0, 0.0, 0.3, np.log(0.9), 1.0, 0.0], np.float32)


@pytest.mark.parametrize(
    ("n_draws", "exact"), [(1, -1.624299), (2, -1.5546), (5, -1.5289), (10, -1.5218), (64, -1.5164)]
)
def test_bounds_of_an_exact_case(n_draws: int, exact: float, rng: np.random.Generator) -> None:
    """Those of one draw in closed form, the others by quadrature to 1e-3; log p(1) = -1.515512."""
    n = 50_000
    model, params = toy()
    eps = rng.standard_normal((n, n_draws, 1), np.float32)
    objective = kernels.Objective(kernels.WEIGHTED, n_draws, 0.0, 1.0, 0.0)
    bound, _ = evaluated(model, params, np.ones((n, 1)), objective, eps)
    deviation = np.sqrt(2 * (-1.515512 - exact) / n)  # the gap is half the variance of log weights
    assert bound == pytest.approx(exact, abs=1e-3 + 4 * deviation)


def test_resampled_draws_approach_the_posterior() -> None:
    """N(1/2, 1/2) in the exact case: the error of the mean falls as one over the draws."""
    n, (model, params) = 40_000, toy()
    rows = rows_of(model.frame, np.ones((n, 1)))
    errors = []
    for n_draws in (1, 8, 64):
        z = resampled(model, params, rows, n_draws, 3, 1).astype(float)
        errors.append(0.5 - z.mean())
        noise = 4 * np.sqrt(0.81 / n)
        assert abs(errors[-1]) < 0.25 / n_draws + noise
    assert errors[0] == pytest.approx(0.2, abs=noise)
    assert z.var() == pytest.approx(0.5, rel=0.05)


def test_bounds_rise_with_draws_and_fall_with_alpha() -> None:
    X = np.tanh(np.random.default_rng(2).normal(size=(300, 4)) @ np.ones((4, 6)))
    model = VariationalAutoencoder(3, **SMALL).fit(X)
    scores = [model.score_samples(X, n_draws=k).mean() for k in (1, 5, 50, 3000)]
    assert np.all(np.diff(scores) > 0)
    assert model.elbo_samples(X, n_draws=100).mean() < scores[1]
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())
    rng = np.random.default_rng(0)
    eps = rng.normal(size=(300, 5, 3))
    bounds = [
        evaluated(
            model._model, model._params.copy(), X,
            kernels.Objective(kernels.WEIGHTED, 5, alpha, 1.0, 0.0), eps,
        )[0]
        for alpha in (-2.0, 0.0, 0.5, 0.99)
    ]  # fmt: skip
    assert np.all(np.diff(bounds) < 0)


# --- the estimator --------------------------------------------------------------------------------


@parametrize_with_checks([VariationalAutoencoder(2, hidden_layer_sizes=(8,), max_iter=2)])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    if getattr(check, "func", check).__name__ == "check_array_api_input":
        pytest.skip("wants SCIPY_ARRAY_API=1 set before SciPy is imported")
    check(estimator)


def rows_for(likelihood: str, n: int = 60) -> Any:
    rng = np.random.default_rng(5)
    z = rng.normal(size=(n, 2))
    mean = z @ rng.normal(size=(2, 6))
    return {
        "gaussian": mean + 0.3 * rng.normal(size=mean.shape),
        "bernoulli": (mean + rng.logistic(size=mean.shape) > 0).astype(float),
        "categorical": np.clip(np.round(mean) + 2, 0, 4),
    }.get(likelihood, rng.poisson(np.exp(0.5 * mean)).astype(float))


LIKELIHOODS = ("gaussian", "bernoulli", "poisson", "multinomial", "categorical")


def bits(model: VariationalAutoencoder) -> tuple[bytes, dict[str, bytes]]:
    columns = {k: v.tobytes() for k, v in model.history_.items() if k != "seconds"}
    return model._params.tobytes(), columns


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_what_each_likelihood_offers(likelihood: str, tmp_path: Path) -> None:
    """The bound rises; shapes, ranges and dtypes; files and copies with the same bits."""
    X = rows_for(likelihood)
    options = SMALL | {"max_iter": 30, "learning_rate": 0.01}
    model = VariationalAutoencoder(2, likelihood=likelihood, **options).fit(X)
    elbo = model.history_["local_elbo"]
    assert elbo[-8:].mean() > elbo[:8].mean()
    assert model.elbo_ == pytest.approx(elbo[-4:].mean())
    Z, drawn = model.transform(X), model.sample(50)
    assert Z.shape == (60, 2)
    assert [part.shape for part in drawn] == [(50, 6), (50, 2)]
    back = model.reconstruct(X)
    np.testing.assert_array_equal(back, model.inverse_transform(Z))
    means, sd = model.posterior(X)
    np.testing.assert_array_equal(means, Z)
    assert np.all(sd > 0)
    draws = [clone_of.sample_posterior(X) for clone_of in (model, model)]
    np.testing.assert_array_equal(*draws)  # random_state is a number
    assert np.abs(draws[0] - means).max() > 0
    if likelihood != "gaussian":
        assert np.all(back >= 0)
        assert np.all(drawn[0] == np.floor(drawn[0]))
    if likelihood == "multinomial":
        np.testing.assert_allclose(back.sum(1), 1.0, rtol=1e-6)
    if likelihood == "categorical":
        assert set(np.unique(drawn[0])) <= set(range(5))
        assert (back == X).mean() > 0.4
    model.save(tmp_path / "m.npz")
    for twin in (fastvi.load(tmp_path / "m.npz"), pickle.loads(pickle.dumps(model))):
        assert bits(twin) == bits(model)
        np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))
        assert twin.get_params() == model.get_params()
        assert twin.active_units_ == model.active_units_
    single = clone(model).fit(X.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32


def divergence(likelihood: str, a: Any, b: Any) -> float:
    """KL(a || b), in nats, of the distributions with these outputs of a decoder."""
    if likelihood == "gaussian":
        (m, log_s), (n, log_t) = np.split(a, 2), np.split(b, 2)
        ratio = (np.exp(2 * log_s) + (m - n) ** 2) / np.exp(2 * log_t)
        return float(np.sum(0.5 * (ratio - 1) + log_t - log_s))
    if likelihood == "bernoulli":
        p, q = expit(a), expit(b)
        return float(np.sum(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))
    if likelihood == "poisson":
        return float(np.sum(np.exp(a) * (a - b) - np.exp(a) + np.exp(b)))
    width = 5 if likelihood == "categorical" else len(a)
    p, q = (log_softmax(x.reshape(-1, width), axis=1) for x in (a, b))
    return float(np.sum(np.exp(p) * (p - q)))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_why_latent_variables_are_not_used(likelihood: str) -> None:
    """An encoder that ignores rows is told from a decoder that ignores latent variables."""
    noise: dict[str, Any] = {"noise": "network"} if likelihood == "gaussian" else {}
    model = VariationalAutoencoder(2, likelihood=likelihood, **SMALL, **noise)
    model.fit(rows_for(likelihood))
    latents = Latents.of(np.zeros((60, 4), np.float32))
    report = Collapse.of(latents, model._model, model._params, 1)
    named = ["divergence" if effect > 0.1 else "decoder" for effect in report.effects]
    assert list(report.causes) == named
    np.testing.assert_allclose(report.information, 0.0, atol=1e-12)
    z = np.array([[-1.0, 0.0], [1.0, 0.0]])
    a, b = decoded(model._model, model._params, z, 1).astype(float)
    wanted = 0.5 * (divergence(likelihood, a, b) + divergence(likelihood, b, a))
    assert report.effects[0] == pytest.approx(wanted, rel=1e-4)
    assert [line.split()[-1] for line in str(report).splitlines()[1:]] == named


@pytest.mark.parametrize("noise", ["shared", "per_feature", "network", 0.5])
def test_units_of_the_data_do_not_matter(noise: Any) -> None:
    """Gaussian data are centred and scaled: log densities shift by the logarithm of the unit."""
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, noise=noise, **SMALL).fit(X)
    large = 1e4
    other = clone(model).set_params(noise=noise if isinstance(noise, str) else noise * large)
    other.fit(large * X + 3e6)
    shift = 6 * np.log(large)
    np.testing.assert_allclose(other.transform(large * X + 3e6), model.transform(X), atol=1e-3)
    np.testing.assert_allclose(
        other.score_samples(large * X + 3e6) + shift, model.score_samples(X), atol=2e-2
    )
    if noise == "network":
        assert not hasattr(model, "noise_sd_")
    else:
        np.testing.assert_allclose(other.noise_sd_, large * np.asarray(model.noise_sd_), rtol=1e-3)


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson", "multinomial"])
def test_sparse_rows_find_the_same(likelihood: str) -> None:
    X = rows_for(likelihood)
    dense, sparse = (
        VariationalAutoencoder(2, likelihood=likelihood, **SMALL).fit(x) for x in (X, csr_array(X))
    )
    np.testing.assert_allclose(sparse._params, dense._params, atol=1e-3)
    np.testing.assert_allclose(dense.transform(csr_array(X)), dense.transform(X), atol=1e-5)
    np.testing.assert_allclose(sparse.score_samples(X), dense.score_samples(X), atol=1e-2)


OBJECTIVES = [
    {"objective": "iwae", "n_draws": 3},
    {"objective": "vr", "n_draws": 3, "alpha": 0.3},
    {"kl_warmup": 2, "free_bits": 0.1},
    {"optimizer": optimizers.rmsprop(0.01)},
]


@pytest.mark.parametrize("options", OBJECTIVES)
def test_a_fit_resumed_anywhere_has_the_same_bits(options: Any, tmp_path: Path) -> None:
    X = rows_for("bernoulli")
    model = VariationalAutoencoder(2, likelihood="bernoulli", **SMALL, **options)
    whole = clone(model).fit(X, X_val=X[:20])
    file = tmp_path / "c"
    for n_calls in (2, 9):
        with pytest.raises(Stopped):
            clone(model).fit(
                X, X_val=X[:20], callback=stopper(n_calls), checkpoint=file, checkpoint_interval=0
            )
        again = clone(model).fit(X, X_val=X[:20], checkpoint=file, resume=True)
        assert bits(again) == bits(whole)
        file.unlink()


def test_held_out_rows_stop_the_fit_at_its_best() -> None:
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, **(SMALL | {"max_iter": 60, "learning_rate": 0.03}))
    model.fit(X[:30], X_val=X[30:], early_stopping=3)
    assert model.best_iter_ == model.n_iter_ - 3
    assert model.best_score_ == pytest.approx(model.elbo_samples(X[30:]).mean())


def test_threads_do_not_matter() -> None:
    X = np.random.default_rng(0).normal(size=(1500, 6))
    results = []
    for n_jobs in (1, 2, 8):
        model = VariationalAutoencoder(2, n_jobs=n_jobs, **SMALL).fit(X)
        found = model.transform(X), model.score_samples(X, n_draws=7), model.reconstruct(X)
        results.append((bits(model), *(part.tobytes() for part in found)))
    assert results[0] == results[1] == results[2]


def test_streams() -> None:
    """Go on where they were; a call that fails changes nothing."""
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, **SMALL)
    for _ in range(3):
        model.partial_fit(X[:30]).partial_fit(X[30:])
    assert model.n_batch_iter_ == 12
    assert model.history_["epoch"][-1] == 5
    twin = clone(model)
    for _ in range(3):
        twin.partial_fit(X[:30])
        with pytest.raises(ValueError, match="NaN"):
            twin.partial_fit(np.full((3, 6), np.nan))
        twin.partial_fit(X[30:])
    assert bits(twin) == bits(model)
    fitted = VariationalAutoencoder(2, **SMALL).fit(X)
    before = fitted.history_["local_elbo"].copy()
    fitted.partial_fit(X)
    np.testing.assert_array_equal(fitted.history_["local_elbo"][: len(before)], before)
    assert not hasattr(fitted, "elbo_")
    with pytest.raises(ValueError, match="n_components is 3 and was 2"):
        fitted.set_params(n_components=3).partial_fit(X)


def test_warm_starts_go_on() -> None:
    X = rows_for("gaussian")
    model = VariationalAutoencoder(2, warm_start=True, **SMALL).fit(X)
    first = model.elbo_
    for _ in range(5):
        model.fit(X)
    assert model.elbo_ > first
    with pytest.raises(
        ValueError, match="warm_start continues from another model: hidden_layer_sizes"
    ):
        model.set_params(hidden_layer_sizes=(9,)).fit(X)


def test_a_fit_that_diverges_keeps_the_last_good_pass() -> None:
    X = rows_for("poisson")
    model = VariationalAutoencoder(
        2, likelihood="poisson", **(SMALL | {"learning_rate": 30.0, "max_iter": 50})
    )
    with pytest.raises(FloatingPointError, match=r"not finite in pass 1, from layer . of 2 of the"):
        clone(model).fit(1000 * X)
    calls = []

    def spoil(state: Any) -> None:
        calls.append(state)
        if state.epoch == 2 and state.step == 1:
            state.params[-1] = np.nan

    model.set_params(learning_rate=1e-3)
    with pytest.warns(
        RuntimeWarning, match=r"pass 3, from layer 2 of 2 of the decoder.*pass 2 are"
    ):
        model.fit(X, callback=spoil)
    assert model.n_iter_ == 3
    good = clone(model).set_params(max_iter=2).fit(X)
    np.testing.assert_array_equal(model._params, good._params)
    assert model.elbo_ == good.elbo_


def test_mixtures_as_priors_find_groups(tmp_path: Path) -> None:
    """Of rows in four groups, whose bound is higher; files and draws as of other priors."""
    rng = np.random.default_rng(0)
    centres = 4.0 * np.array([[1.0, 1, 0, 0], [-1, 1, 0, 0], [1, -1, 0, 0], [-1, -1, 0, 0]])
    X = centres[rng.integers(4, size=400)] + 0.3 * rng.normal(size=(400, 4))
    options = {"hidden_layer_sizes": (), "noise": 0.3, "max_iter": 300, "learning_rate": 0.01}
    normal, mixture = (
        VariationalAutoencoder(2, prior=prior, n_parts=8, random_state=0, **options).fit(X)
        for prior in ("normal", "mixture")
    )
    bounds = [model.elbo_samples(X, n_draws=20).mean() for model in (normal, mixture)]
    assert bounds[1] > bounds[0] + 0.3
    assert mixture.score_samples(X).mean() > bounds[1] - 0.01
    drawn, _ = mixture.sample(500)
    assert np.median(np.abs(np.abs(drawn[:, :2]) - 4.0).max(1)) < 1.0
    mixture.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(fastvi.load(tmp_path / "m.npz").score(X), mixture.score(X))


BAD = [
    ({"prior": "gamma"}, "prior is 'gamma'; wanted one of 'normal', 'mixture'"),
    ({"prior": "mixture", "n_parts": 0}, "n_parts is 0; wanted an integer >= 1"),
    ({"prior": "mixture", "free_bits": 1.0}, "free_bits=1 needs another prior"),
    ({"kl": "delta", "n_components": 1}, "kl='delta' needs n_components >= 2; it is 1"),
    ({"kl": "delta", "prior": "mixture"}, "kl='delta' needs prior='normal'; it is 'mixture'"),
    ({"kl": "aggressive", "optimizer": 0.1}, "kl='aggressive' needs optimizer=None"),
    ({"kl": "beta"}, "kl is 'beta'; wanted one of 'plain', 'anneal', 'free_bits', 'delta', 'agg"),
    ({"family": "normal"}, "family is 'normal'; wanted one of 'gaussian'"),
    ({"decoder": "mlp"}, "decoder is 'mlp'; wanted one of 'dense'"),
    (
        {"options": {"n_parts": 3}},
        "options has 'n_parts'; wanted none with family='gaussian'",
    ),
    ({"options": 3}, "options is 3; wanted a dict of names and values, or None"),
    ({"n_components": 0}, "n_components is 0; wanted an integer >= 1"),
    ({"likelihood": "normal"}, "likelihood is 'normal'; wanted one of 'gaussian'"),
    ({"hidden_layer_sizes": 200}, "hidden_layer_sizes is 200; wanted the number of units of each"),
    ({"hidden_layer_sizes": (5, 0)}, "a number in hidden_layer_sizes is 0"),
    ({"activation": "gelu"}, "activation is 'gelu'; wanted one of"),
    ({"noise": 0.0}, "noise is 0.0; wanted a number > 0"),
    ({"noise": "learned"}, "noise is 'learned'; wanted one of 'shared'"),
    ({"objective": "aevb"}, "objective is 'aevb'"),
    ({"objective": "vr", "alpha": 1.0}, "alpha is 1.0; wanted a number"),
    ({"objective": "iwae", "free_bits": 1.0}, "free_bits=1 needs objective='elbo'"),
    ({"n_draws": 0}, "n_draws is 0"),
    ({"kl_warmup": -1.0}, "kl_warmup is -1.0"),
    ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"max_iter": 0}, "max_iter is 0"),
    ({"optimizer": "sgd"}, "optimizer is 'sgd'"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD)
def test_bad_parameters(parameters: Any, message: str) -> None:
    model = VariationalAutoencoder(**(SMALL | parameters))
    with pytest.raises(ValueError, match=message):
        model.fit(rows_for("gaussian"))
    with pytest.raises(NotFittedError):
        model.transform(rows_for("gaussian"))


@pytest.mark.parametrize(
    ("likelihood", "bad", "message"),
    [
        ("bernoulli", [[0.5, 1.5]], r"X holds numbers from 0.5 to 1.5; wanted numbers in \[0, 1\]"),
        ("poisson", [[1.0, -1.0]], "X must hold integers >= 0 for counts; it holds -1"),
        ("multinomial", [[1.0, 0.5]], "it holds 0.5"),
        ("categorical", [[1.0, -2.0]], "integers from 0 to 65535"),
        ("gaussian", [[1.0, np.nan]], "NaN"),
        ("gaussian", [[1e300, 0.0]], "squares overflow"),
    ],
)
def test_bad_rows(likelihood: str, bad: Any, message: str) -> None:
    model = VariationalAutoencoder(2, likelihood=likelihood, **SMALL)
    with pytest.raises(ValueError, match=message):
        model.fit(np.array(bad * 3))


def test_new_rows_must_fit() -> None:
    model = VariationalAutoencoder(2, likelihood="categorical", **SMALL)
    model.fit(rows_for("categorical"))
    with pytest.raises(ValueError, match="integers from 0 to 4"):
        model.transform(np.full((1, 6), 5.0))
    with pytest.raises(ValueError, match="expecting 6"):
        model.transform(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="X has 3 columns; wanted 2"):
        model.inverse_transform(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="n_draws is 0"):
        model.score_samples(rows_for("categorical"), n_draws=0)


# --- images ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(data_dir: Path) -> Any:
    """Training and test images of MNIST with fixed binarisation."""
    with np.load(data_dir / "images" / "binarized_mnist_larochelle_packed.npz") as file:
        train, test = (np.unpackbits(file[k], axis=1)[:, :784] for k in ("train", "test"))
    return train.astype(np.float32), test.astype(np.float32)


@pytest.mark.slow
def test_digits(digits: Any) -> None:
    """AEVB's figure 2 has about -105 for 784-500-20 after as many rows."""
    train, test = digits
    model = VariationalAutoencoder(
        20, likelihood="bernoulli", hidden_layer_sizes=(500,), max_iter=20, random_state=0
    ).fit(train)
    bounds = model.elbo_samples(test)
    assert bounds.mean() > -105.0
    some = slice(None, None, 10)  # the images are sorted
    assert model.score_samples(test[some], n_draws=100).mean() > bounds[some].mean() + 3.0
