"""The Gaussian mixture: closed forms, exact evidence, scikit-learn's fits, and the estimator."""

import warnings

import numpy as np
import pytest
from naive import mixture as naive
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture as Peer
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough
from tolerances import assert_never_falls

from fastvi import loop
from fastvi.core import Batch
from fastvi.kernels import mixture as kernels
from fastvi.models.fits import fit_conjugate
from fastvi.models.mixture import model as mixture_model
from fastvi.models.mixture import rows as mixture_rows
from fastvi.models.mixture.estimator import BayesianGaussianMixture
from fastvi.models.mixture.model import Mixture, Parameters, Prior, RowsInMemory
from fastvi.models.mixture.rows import Frame

TYPES = ["full", "tied", "diag", "spherical"]
PROCESS = [True, False]
WEIGHT_PRIORS = ["dirichlet_process", "dirichlet_distribution"]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
every_type = pytest.mark.parametrize("kind", TYPES)
both_weights = pytest.mark.parametrize("process", PROCESS)


def clusters(rng, n=300, shift=0.0):
    """Rows of three correlated clusters of unequal sizes in three dimensions."""
    means = np.array([[0.0, 0, 0], [4, 1, 2], [-3, 5, 1]])
    z = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    mixing = np.array([[1.0, 0, 0], [0.5, 1.5, 0], [0.2, 0, 0.4]])
    return means[z] + rng.normal(size=(n, 3)) @ mixing.T + shift


def small_prior(kind, d, process=False, concentration=0.7):
    """A prior, and the same with a full matrix as the twins take it."""
    scatter = np.eye(d) * 1.5 + 0.3
    if kind in ("diag", "spherical"):
        scatter = np.diag(1.0 + np.arange(d)) if kind == "diag" else 2.0 * np.eye(d)
    own = {"diag": np.diag(scatter), "spherical": scatter[0, 0]}.get(kind, scatter)
    mean = np.linspace(-1, 1, d)
    prior = Prior(concentration, process, 0.6, mean, d + 1.5, own)
    return prior, (concentration, 0.6, mean, d + 1.5, scatter)


def frame_of(kind, d):
    """Coordinates that are not the data's, so that tests see the way there and back."""
    scale = np.full(d, 2.0) if kind == "spherical" else 2.0 ** (np.arange(d) - 1)
    return Frame(np.linspace(0.5, 2.5, d), scale)


def small_model(kind, d, k, process=False, **options):
    prior, plain = small_prior(kind, d, process)
    return Mixture(prior, frame_of(kind, d), k, kind, **options), plain


def components_of(model, params):
    """The factors in the coordinates of the data, with full matrices, as the twins have them."""
    posterior, (centre, scale), d = model.posterior(params), model.frame, model.n_features
    k = model.n_components
    out = []
    for i in range(k):
        g = 0 if model.tied else i
        packed = posterior.scatter[g : g + 1]
        if model.covariance_type in ("full", "tied"):
            A = model.shape.unpack(packed)[0]
        else:
            A = np.diag(np.broadcast_to(packed[0], d))
        A = A * np.outer(scale, scale)
        out.append((posterior.kappa[i], centre + scale * posterior.means[i], posterior.dof[g], A))
    return out


def total_bound(model, params, X, rng):
    local = model.local(params, Batch(X, np.ones(len(X))), None, rng)
    return local.bound + model.global_bound(params)


def random_responsibilities(rng, n, k):
    return rng.dirichlet(np.ones(k), n)


# The model


@every_type
@both_weights
def test_coordinate_ascent_equals_a_plain_one(kind, process, rng):
    """Parameters, responsibilities and the whole bound, after one pass and after seven."""
    X, k = clusters(rng, 40), 4
    r = random_responsibilities(rng, len(X), k)
    model, plain = small_model(kind, 3, k, process)
    for n_iter in (0, 1, 7):
        fitted = fit_conjugate(model, RowsInMemory(X, model.frame), model.gather(X, r),
                               n_epochs=n_iter)  # fmt: skip
        want, counts, resp, bounds = naive.fit(X, r, plain, process, kind, n_iter)
        for (kappa, m, nu, A), other in zip(components_of(model, fitted.params), want):
            np.testing.assert_allclose(kappa, other[0], rtol=1e-9)
            np.testing.assert_allclose(m, other[1], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(nu, other[2], rtol=1e-9)
            np.testing.assert_allclose(A, other[3], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(fitted.params.counts, counts, rtol=1e-9, atol=1e-12)
        out = np.empty((len(X), k))
        model.predict(fitted.params, X, responsibilities=out)
        np.testing.assert_allclose(out, resp, atol=1e-9)
        np.testing.assert_allclose(total_bound(model, fitted.params, X, rng), bounds[-1])
        if n_iter:
            np.testing.assert_allclose(fitted.history["elbo"], bounds[:-1], rtol=1e-10)
            assert np.all(np.diff(bounds) > 0)


@every_type
@both_weights
def test_the_bound_is_stationary_within_its_family(kind, process, rng):
    """Of all posteriors of the type, the update is the best: no step near it raises the bound."""
    X, k = clusters(rng, 30), 2
    r = random_responsibilities(rng, len(X), k)
    model, plain = small_model(kind, 3, k, process)
    best = model.gather(X, r)
    components = components_of(model, best)
    top = naive.elbo(X, r, components, best.counts, plain, process)
    for _ in range(20):
        step = [0.03 * rng.normal(size=part.shape) * (1 + np.abs(part)) for part in best[1:]]
        moved = Parameters(best.counts, *(a + b for a, b in zip(best[1:], step)))
        near = components_of(model, moved)
        if all(np.linalg.eigvalsh(A)[0] > 0 for _, _, _, A in near):
            assert naive.elbo(X, r, near, best.counts, plain, process) < top


@every_type
@both_weights
def test_the_bound_is_below_the_evidence(kind, process, rng):
    """Exactly, by a sum over all assignments with Normal-Wishart marginals in closed form."""
    X = np.concatenate((rng.normal(size=(2, 2)), rng.normal(size=(2, 2)) + 6))
    prior, plain = small_prior(kind, 2, process)
    model = Mixture(prior, frame_of(kind, 2), 3, kind)
    evidence = naive.log_evidence(X, 3, plain, process)
    gaps = []
    for _ in range(3):
        start = model.gather(X, random_responsibilities(rng, len(X), 3))
        fitted = fit_conjugate(model, RowsInMemory(X, model.frame), start, n_epochs=50)
        gaps.append(evidence - total_bound(model, fitted.params, X, rng))
    assert min(gaps) > 0
    assert min(gaps) < (5 if kind == "full" else 15)  # 1.8 of it for the other orders of labels


def test_one_component_is_exact(rng):
    """With one component and a full matrix, the bound is the evidence itself."""
    X = clusters(rng, 25)
    model, plain = small_model("full", 3, 1)
    params = model.gather(X, np.zeros(len(X), int))
    np.testing.assert_allclose(total_bound(model, params, X, rng), naive.log_marginal(X, plain))


@every_type
@pytest.mark.parametrize("reg_covar", [0.0, 0.3])
def test_statistics_are_weighted_sums_over_rows(kind, reg_covar, rng):
    X, k = clusters(rng, 11), 3
    model, _ = small_model(kind, 3, k, reg_covar=reg_covar)
    params = model.gather(X, random_responsibilities(rng, 11, k))
    weights = rng.random(11)
    whole = model.local(params, Batch(X, weights), None, rng, norms=True)
    ones = [model.local(params, Batch(X[i : i + 1], np.ones(1)), None, rng) for i in range(11)]
    for name in Parameters._fields:
        total = sum(w * getattr(one.statistics, name) for w, one in zip(weights, ones))
        np.testing.assert_allclose(getattr(whole.statistics, name), total, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.bound, sum(w * one.bound for w, one in zip(weights, ones)))
    lengths = [np.sqrt(sum(np.square(part).sum() for part in one.statistics)) for one in ones]
    np.testing.assert_allclose(whole.norms, lengths)
    if reg_covar == 0:
        assert np.all(lengths <= RowsInMemory(X, model.frame).norms * (1 + 1e-12))


@pytest.mark.parametrize("kind", [*TYPES, "full by roots"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_any_number_of_threads(kind, dtype, rng, monkeypatch):
    if kind == "full by roots":
        kind = "full"
        monkeypatch.setattr(mixture_rows, "FEW", -100)
    monkeypatch.setattr(mixture_rows, "TASK_FLOPS", 1e4)
    monkeypatch.setattr(mixture_rows, "BLOCK_ENTRIES", 100)
    X = clusters(rng, 1000).astype(dtype)
    results = set()
    for n_threads in (1, 2, 8):
        model, _ = small_model(kind, 3, 5, dtype=dtype, n_threads=n_threads)
        start = model.gather(X, np.arange(1000) % 5)
        assert len(model._tasks(X, dtype).bounds) > 10
        fitted = fit_conjugate(model, RowsInMemory(X, model.frame), start, n_epochs=4)
        out = np.empty(1000, dtype)
        model.predict(fitted.params, X, log_norm=out)
        results.add(b"".join(part.tobytes() for part in (*fitted.params, out)))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_products_of_each_component(dtype, rng, monkeypatch):
    """What many features and few components take gives what products as features do."""
    X, k = clusters(rng, 200).astype(dtype), 3
    r, weights, results = random_responsibilities(rng, 200, k), rng.random(200), []
    for few in (16, -100):
        monkeypatch.setattr(mixture_rows, "FEW", few)
        model, _ = small_model("full", 3, k, reg_covar=0.1, dtype=dtype)
        assert model.by_roots == (few < 0)
        params = model.gather(X, r)
        local = model.local(params, Batch(X, weights), None, rng, norms=True)
        density = np.empty(200)
        model.predict(params, X, log_norm=density)
        results.append([*params, *local.statistics, local.bound, local.norms, density])
    tolerance = 1e-11 if dtype == np.float64 else 1e-4
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(a).max())


@every_type
@pytest.mark.parametrize("n", mostly_thorough([1, 65, 63, 64, 129], 2))
def test_sizes_of_blocks_change_no_sum(kind, n, rng, monkeypatch):
    X = clusters(rng, n)
    model, _ = small_model(kind, 3, 2)
    params = model.gather(X, np.arange(n) % 2)
    whole = model.local(params, Batch(X, np.ones(n)), None, rng)
    monkeypatch.setattr(mixture_rows, "BLOCK_ENTRIES", 1)
    monkeypatch.setattr(mixture_rows, "TASK_FLOPS", 1e4)
    parts = model.local(params, Batch(X, np.ones(n)), None, rng)
    for a, b in zip(whole.statistics, parts.statistics):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.jit
def test_other_sizes_compile_nothing(rng):
    def signatures():
        return {
            name: kernel.signatures.copy()
            for name, kernel in vars(kernels).items()
            if hasattr(kernel, "signatures")
        }

    def fit_every_type(n, d):
        X = rng.normal(size=(n, d))
        for kind in TYPES:
            for dtype in (np.float32, np.float64):
                for options in ({}, {"batch_size": n // 3, "sampling": "adaptive"}):
                    ours = quick(covariance_type=kind, max_iter=2, **options).fit(X.astype(dtype))
                    ours.predict_proba(X)

    fit_every_type(30, 2)
    before = signatures()
    fit_every_type(41, 5)
    assert signatures() == before
    assert len(before["responsibilities"]) == 2


@every_type
def test_confined_steps_stay_in_the_domain(kind, rng):
    X = clusters(rng, 50)
    model, _ = small_model(kind, 3, 3)
    params = model.gather(X, np.arange(50) % 3)
    away = Parameters(*(-10 * part for part in params))
    short = model.confine(params, away)
    moved = Parameters(*(part + change for part, change in zip(params, short)))
    assert moved.counts.min() > 0
    assert np.all(model.shape.is_positive(model.posterior(moved).scatter))
    assert np.isfinite(total_bound(model, moved, X, rng))
    inside = Parameters(*(0.5 * part for part in params))
    for part, change in zip(inside, model.confine(params, inside)):
        np.testing.assert_array_equal(part, change)
    empty = model.gather(X, np.zeros(50, int))  # components 1 and 2 have no rows
    minus = Parameters(*(np.full_like(part, -0.1) for part in empty))
    assert model.confine(empty, minus).counts[1] == 0


@pytest.mark.thorough
def test_svrg_converges_linearly_where_plain_steps_stall(rng):
    """Seed of `rng`, steps of rate 0.1 on 40 of 800 rows; distances in units of the optimum.

    The decay is 0.1 (1 - missing information) a step, in four epochs of 20 steps by exp(-8) at
    best; here at least by 10, down to rounding. Plain steps have a noise of about
    sqrt(rate / 2 / 40) of a row's spread, 1e-3 of the parameters' size at the very least.
    """
    X = clusters(rng, 800)
    model, _ = small_model("full", 3, 3)
    source = RowsInMemory(X, model.frame)
    labels = np.argmin(
        ((X[:, None] - np.array([[0.0, 0, 0], [4, 1, 2], [-3, 5, 1]])) ** 2).sum(2), 1
    )
    best = fit_conjugate(model, source, model.gather(X, labels), n_epochs=500).params

    def distance(params):
        apart = sum(np.square(a - b).sum() for a, b in zip(params, best))
        return np.sqrt(apart / sum(np.square(b).sum() for b in best))

    def distances(reduction):
        far = []

        def look(state):
            if state.step == 0:
                far.append(distance(state.params))

        fit_conjugate(
            model, source, model.gather(X, labels), n_epochs=40, seed=5, batch_size=40,
            optimizer=0.1, variance_reduction=reduction,
            watch=loop.Watch(callback=look),
        )  # fmt: skip
        return far

    plain, reduced = distances(None), distances("svrg")
    assert min(plain) > 1e-3
    assert reduced[-1] < 1e-12
    decay = np.array(reduced[::4])
    decay = decay[decay > 1e-12]
    assert len(decay) > 4
    assert np.all(decay[1:] < decay[:-1] / 10)


# Beside scikit-learn


STARTS = ["kmeans", "random", "k-means++", "random_from_data"]


@pytest.mark.parametrize(
    ("kind", "init_params"),
    [(kind, start) for kind in TYPES for start in (STARTS[:2] if kind == "tied" else STARTS)],
)
def test_scikit_learn_has_the_same_parameters(kind, init_params, rng):
    """After 12 iterations from the same seed, with its default priors; the next test has others.

    scikit-learn starts tied covariances from the squares of all rows, with the means of those few
    that k-means++ and "random_from_data" choose, and so depends on where 0 is: not compared.
    """
    X = clusters(rng, 300, shift=np.array([30.0, 0, -5]))
    options = {
        "n_components": 5, "covariance_type": kind, "init_params": init_params, "random_state": 3,
        "max_iter": 12, "tol": 0.0, "reg_covar": 1e-3,
    }  # fmt: skip
    compare(Peer(**options).fit(X), BayesianGaussianMixture(**options).fit(X), X)


@pytest.mark.parametrize("weights", WEIGHT_PRIORS)
@every_type
def test_scikit_learn_has_the_same_parameters_with_priors_given(kind, weights, rng):
    X = clusters(rng, 200)
    options = {
        "n_components": 4, "covariance_type": kind, "weight_concentration_prior_type": weights,
        "weight_concentration_prior": 2.5, "mean_precision_prior": 0.3, "random_state": 1,
        "mean_prior": np.array([1.0, 2.0, -9.0]), "degrees_of_freedom_prior": 2.4,
        "covariance_prior": small_prior(kind, 3)[0].scatter, "max_iter": 9, "tol": 0.0,
        "init_params": "random",
    }  # fmt: skip
    compare(Peer(**options).fit(X), BayesianGaussianMixture(**options).fit(X), X)


def compare(peer, ours, X, draws=True):
    for name in (
        "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
        "mean_precision_", "degrees_of_freedom_", "weight_concentration_", "mean_prior_",
        "mean_precision_prior_", "covariance_prior_", "degrees_of_freedom_prior_",
        "weight_concentration_prior_",
    ):  # fmt: skip
        want, result = np.asarray(getattr(peer, name)), np.asarray(getattr(ours, name))
        assert want.shape == result.shape
        np.testing.assert_allclose(result, want, rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))
    assert ours.score(X) == pytest.approx(peer.score(X), rel=1e-6)
    if draws:
        for a, b in zip(ours.sample(50), peer.sample(50)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert len(ours.lower_bounds_) == ours.n_iter_ == peer.n_iter_
    # theirs lacks constants only, and is taken before the E step of the next pass
    if ours.reg_covar < 1e-5:
        rises = np.diff([*ours.lower_bounds_, ours.lower_bound_])
        assert np.all(rises > -1e-5)


# The estimator


@parametrize_with_checks([BayesianGaussianMixture()])
@pytest.mark.jit
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [
        BayesianGaussianMixture(n_components=2, covariance_type="tied"),
        BayesianGaussianMixture(n_components=2, covariance_type="diag", batch_size=10),
    ]
)
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator, check):
    check(estimator)


def quick(**options):
    """An estimator with three components and starts that are drawn at random."""
    plain = {"n_components": 3, "init_params": "k-means++", "random_state": 0}
    return BayesianGaussianMixture(**(plain | options))


@every_type
@pytest.mark.parametrize("weights", WEIGHT_PRIORS)
def test_the_bound_never_falls(kind, weights, rng):
    X = clusters(rng, 400)
    ours = quick(
        n_components=8, covariance_type=kind, reg_covar=0.0, tol=1e-7, max_iter=400,
        weight_concentration_prior_type=weights, init_params="random",
    ).fit(X)  # fmt: skip
    bounds = [*ours.lower_bounds_, ours.lower_bound_]
    assert_never_falls(bounds, np.float64, X.size * 8, abs(bounds[-1]))
    assert len(ours.lower_bounds_) == ours.n_iter_ > 5


@every_type
def test_single_precision_comes_to_the_same(kind, rng):
    """Within what 24 bits leave of 12 passes: 1e-3 of the parameters."""
    X = clusters(rng, 500, shift=np.array([50.0, -20, 0]))
    options = {"covariance_type": kind, "max_iter": 12, "tol": 0.0}
    double, single = quick(**options).fit(X), quick(**options).fit(X.astype(np.float32))
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        result = getattr(single, name)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, getattr(double, name), rtol=1e-3, atol=1e-3)
    narrow = X.astype(np.float32)
    assert single.predict_proba(narrow).dtype == single.score_samples(narrow).dtype == np.float32
    assert single.predict_proba(X).dtype == np.float64
    assert np.mean(single.predict(narrow) == double.predict(X)) > 0.99


@every_type
def test_narrow_clusters_far_apart_in_single_precision(kind, rng):
    """Features x x' would lose all digits of the clusters' widths; float64 steps in for them."""
    X = rng.normal(size=(200, 2)) * 1e-3 + np.where(np.arange(200) % 2, 10.0, -10.0)[:, None]
    ours = quick(n_components=2, covariance_type=kind, covariance_prior=None, init_params="kmeans")
    model_dtypes = set()
    choose = Mixture._dtype

    def spy(self, posterior):
        model_dtypes.add(choose(self, posterior))
        return choose(self, posterior)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mixture, "_dtype", spy)
        prior = {"full": np.eye(2), "tied": np.eye(2), "diag": np.ones(2), "spherical": 1.0}[kind]
        ours.set_params(covariance_prior=1e-6 * prior, reg_covar=0.0)
        ours.fit(X.astype(np.float32))
        want = quick(**ours.get_params()).fit(X.astype(np.float32).astype(np.float64))
    assert np.dtype(np.float64) in model_dtypes
    np.testing.assert_allclose(ours.covariances_, want.covariances_, rtol=0.1, atol=1e-7)
    assert sorted(np.bincount(ours.predict(X.astype(np.float32)))) == [100, 100]


@every_type
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("dtype", mostly_thorough([np.float32, np.float64]))
def test_scales_of_columns(kind, scale, dtype, rng):
    X = clusters(rng, 200)
    options = {"covariance_type": kind, "max_iter": 20, "tol": 0.0}
    same = quick(**options, reg_covar=1e-4).fit(X)
    ours = quick(**options, reg_covar=1e-4 * scale**2).fit((X * scale).astype(dtype))
    atol = 1e-6 if dtype == np.float64 else 1e-2
    np.testing.assert_allclose(
        ours.predict_proba((X * scale).astype(dtype)), same.predict_proba(X), atol=atol
    )
    moved = same.lower_bound_ - X.size * np.log(scale)
    np.testing.assert_allclose(ours.lower_bound_, moved, rtol=1e-9 if atol < 1e-5 else 1e-4)


DEGENERATE = {
    "all rows the same": lambda rng: np.ones((10, 2)),
    "duplicates of three rows": lambda rng: np.repeat(rng.normal(size=(3, 2)), 5, axis=0),
    "a constant column": lambda rng: np.column_stack((rng.normal(size=12), np.full(12, 1e3))),
    "one feature": lambda rng: rng.normal(size=(12, 1)),
    "fewer rows than features": lambda rng: rng.normal(size=(4, 9)),
    "a copied column": lambda rng: np.repeat(rng.normal(size=(12, 1)), 2, axis=1),
    "an outlier": lambda rng: np.append(rng.normal(size=(12, 2)), [[1e6, -1e6]], axis=0),
}


@every_type
@pytest.mark.parametrize("data", DEGENERATE)
@pytest.mark.parametrize("dtype", mostly_thorough([np.float32, np.float64]))
def test_degenerate_data(kind, data, dtype, rng):
    X = DEGENERATE[data](rng).astype(dtype)
    for init_params in ("random", "random_from_data"):
        ours = quick(covariance_type=kind, init_params=init_params, max_iter=10).fit(X)
        for value in (
            ours.weights_, ours.means_, ours.covariances_, ours.precisions_cholesky_,
            ours.lower_bound_, ours.predict_proba(X), ours.score_samples(X),
        ):  # fmt: skip
            assert np.all(np.isfinite(value))
        np.testing.assert_allclose(ours.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@every_type
def test_fewer_rows_than_components(kind, rng):
    """Not for the estimator, as in scikit-learn, but for the model."""
    X = rng.normal(size=(2, 3))
    model, _ = small_model(kind, 3, 7, process=True)
    params = model.gather(X, np.array([0, 1]))
    fitted = fit_conjugate(model, RowsInMemory(X, model.frame), params, n_epochs=10)
    bounds = fitted.history["elbo"]
    assert_never_falls(bounds, np.float64, X.size * 7, abs(bounds[-1]))
    with pytest.raises(ValueError, match="Expected n_samples >= n_components"):
        quick(n_components=7).fit(X)


@pytest.mark.parametrize(
    ("kind", "reduction"),
    [*((kind, None) for kind in TYPES), ("full", "svrg"), ("tied", "svrg"), ("diag", "window")],
)
def test_mini_batches_come_near(kind, reduction, rng):
    """Within 0.01 nats a row of the bound of coordinate ascent from the same start."""
    X = clusters(rng, 600)
    options = {"covariance_type": kind, "init_params": "kmeans"}
    best = quick(**options, max_iter=300).fit(X)
    ours = quick(
        **options, batch_size=50, max_iter=20, variance_reduction=reduction,
        optimizer=None if reduction != "svrg" else 0.1,
    ).fit(X)  # fmt: skip
    assert ours.lower_bound_ > best.lower_bound_ - 0.01 * len(X)
    assert ours.lower_bounds_ == []
    assert not ours.converged_


@pytest.mark.parametrize(
    ("sampling", "optimizer"),
    [("replacement", None), ("importance", 0.02), ("adaptive", None), ("growing", None),
     ("uniform", "adaptive")],
)  # fmt: skip
def test_samplings_come_near(sampling, optimizer, rng):
    X = clusters(rng, 1000)
    best = quick(init_params="kmeans").fit(X)
    ours = quick(
        init_params="kmeans", batch_size=50, max_iter=15, sampling=sampling, optimizer=optimizer
    ).fit(X)
    assert ours.lower_bound_ > best.lower_bound_ - 0.03 * len(X)


def test_superfluous_components_are_switched_off(rng):
    X = clusters(rng, 1000)
    ours = quick(
        n_components=10, weight_concentration_prior=0.01, max_iter=500, init_params="kmeans"
    ).fit(X)
    assert np.sum(ours.weights_ > 0.02) == 3
    assert ours.weights_.sum() == pytest.approx(1)
    assert ours.converged_


def test_starts(rng):
    """The best of several starts has the largest bound; labels are those of `predict`."""
    X = clusters(rng, 200)
    one = [quick(init_params="random", n_init=n, max_iter=5).fit(X) for n in (1, 6)]
    assert one[1].lower_bound_ >= one[0].lower_bound_
    ours = quick()
    np.testing.assert_array_equal(ours.fit_predict(X), ours.predict(X))
    assert ours.score_samples(X).sum() + ours._model.global_bound(ours._params) == pytest.approx(
        ours.lower_bound_, rel=1e-12
    )
    start = quick(max_iter=0).fit(X)
    assert start.n_iter_ == 0
    assert np.isfinite(start.lower_bound_)


def test_warm_start_goes_on(rng, capsys):
    X = clusters(rng, 300)
    ours = quick(warm_start=True, verbose=1, verbose_interval=2, max_iter=4).fit(X)
    assert f"elbo {ours.lower_bounds_[-1]:.10g}" in capsys.readouterr().err
    bound = ours.lower_bound_
    ours.fit(X)
    assert ours.lower_bounds_[0] == pytest.approx(bound, rel=1e-12)
    whole = quick(max_iter=8, tol=0.0).fit(X)
    np.testing.assert_allclose(ours.means_, whole.means_, rtol=1e-9)
    with pytest.raises(ValueError, match="continues from 3 components, 'full', of 3 features"):
        ours.fit(X[:, :2])


def test_arguments_are_not_written_to(rng):
    X = np.asfortranarray(clusters(rng, 50))
    X.flags.writeable = False
    before = X.copy()
    mean = np.zeros(3)
    ours = quick(mean_prior=mean).fit(X)
    ours.predict(X)
    np.testing.assert_array_equal(X, before)
    assert not mean.any()
    assert ours.fit(X.tolist()).means_.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components is 0; wanted an integer >= 1"),
        ({"covariance_type": "banded"}, "covariance_type is 'banded'; wanted one of"),
        ({"init_params": "best"}, "init_params is 'best'"),
        ({"weight_concentration_prior_type": "flat"}, "weight_concentration_prior_type is 'flat'"),
        ({"weight_concentration_prior": 0.0}, r"weight_concentration_prior is 0.0; wanted a num"),
        ({"mean_precision_prior": -1.0}, "mean_precision_prior is -1.0"),
        ({"degrees_of_freedom_prior": 2.0}, "degrees_of_freedom_prior is 2.0; wanted a number > 2"),
        ({"mean_prior": [1.0, 2.0]}, r"mean_prior has shape \(2,\); wanted \(3,\)"),
        ({"mean_prior": [1.0, 2.0, np.nan]}, "mean_prior holds NaN"),
        ({"covariance_prior": np.eye(2)}, r"covariance_prior has shape \(2, 2\)"),
        ({"covariance_prior": -np.eye(3)}, "must be symmetric and positive definite"),
        ({"covariance_prior": np.array([1.0, 0, 1]), "covariance_type": "diag"}, "variances > 0"),
        ({"covariance_prior": 0, "covariance_type": "spherical"}, "covariance_prior is 0"),
        ({"reg_covar": -1.0}, "reg_covar is -1.0"),
        ({"tol": -1.0}, "tol is -1.0"),
        ({"max_iter": -1}, "max_iter is -1"),
        ({"n_init": 0}, "n_init is 0"),
        ({"verbose_interval": 0}, "verbose_interval is 0"),
        ({"mean_prior": [1e200] * 3}, "mean_prior is .* standard deviations away"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sampling": "importance"}, "without batch_size"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_parameters_out_of_range(options, message, rng):
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(clusters(rng, 20))


def test_bad_data(rng):
    X = clusters(rng, 20)
    for scale, dtype in ((1e160, np.float64), (1e20, np.float32)):
        with pytest.raises(ValueError, match="squares overflow"):
            quick().fit((X * scale).astype(dtype))
    with pytest.raises(ValueError, match="reg_covar > 0"):
        quick(reg_covar=0.0).fit(np.column_stack((X, X)))
    ours = quick().fit(X)
    with pytest.raises(ValueError, match="squares overflow"):
        ours.predict(X * 1e200)
    with pytest.raises(ValueError, match="n_samples is 0"):
        ours.sample(0)
    far = ours.score_samples((X * 1e15).astype(np.float32))
    assert np.all(np.isfinite(far))


@every_type
@pytest.mark.parametrize("batch_size", mostly_thorough([None, 7]))
def test_rows_too_large_for_a_warm_start(kind, batch_size, rng):
    X, options = clusters(rng, 20), {"covariance_type": kind, "warm_start": True}
    if batch_size is not None:  # which would take all passes
        options |= {"batch_size": batch_size, "max_iter": 5}
    for first, second in ((1.0, 1e200), (1e-100, 1e100)):
        ours = quick(**options).fit(X * first)
        with pytest.raises(ValueError, match=r"squares overflow|times as large as"):
            ours.fit(X * second)
    large = quick(**options).fit(X)
    assert np.isfinite(large.fit(X * 1e70).lower_bound_)


@every_type
@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1e100), (np.float32, 1e12)])
def test_a_prior_mean_far_away(kind, dtype, far, rng):
    X = clusters(rng, 50).astype(dtype)
    ours = quick(covariance_type=kind, mean_prior=[far] * 3, max_iter=5).fit(X)
    assert np.isfinite(ours.lower_bound_)
    with pytest.raises(ValueError, match="mean_prior"):
        quick(covariance_type=kind, mean_prior=[float(np.finfo(dtype).max)] * 3).fit(X)


@pytest.mark.filterwarnings("error")
def test_a_fit_that_was_cut_short_says_so(rng):
    X = clusters(rng, 100)
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        quick(max_iter=1).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(max_iter=1, tol=1e9, batch_size=20).fit(X)


@pytest.mark.slow
def test_real_digits():
    """Within 1e-6 of scikit-learn on real data, with 20 components of 64 features.

    Three columns are constant, where scikit-learn's default prior is improper and ours is not:
    both are given ours. Draws turn on signs of singular vectors, which rounding may change here.
    """
    X = load_digits().data
    options = {
        "n_components": 20, "random_state": 0, "max_iter": 20, "tol": 0.0,
        "covariance_prior": BayesianGaussianMixture(max_iter=1).fit(X).covariance_prior_,
    }  # fmt: skip
    compare(Peer(**options).fit(X), BayesianGaussianMixture(**options).fit(X), X, draws=False)


@every_type
@pytest.mark.parametrize("away", [1.0, 100.0, 1e4])
def test_loss_of_digits_is_foreseen(kind, away, rng):
    """Where float32 is taken, it costs a logit no more than ten times the limit, in nats."""
    z = np.arange(300) % 3
    mixing = np.eye(6) + rng.normal(size=(6, 6))
    X = (rng.normal(size=(300, 6)) @ mixing + away * rng.normal(size=(3, 6))[z]).astype(np.float32)
    model, _ = small_model(kind, 6, 3, dtype=np.float32)
    params = model.gather(X.astype(np.float64), z)
    single, double = np.empty(300, np.float32), np.empty(300)
    model.predict(params, X, log_norm=single)
    model.predict(params, X.astype(np.float64), log_norm=double)
    assert np.all(np.abs(single - double) < 10 * mixture_model.LOSS + 1e-5 * np.abs(double))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_units_in_which_single_precision_does_not_reach(rng):
    """Precisions of such data overflow float32, but not float64."""
    X = 1e-40 * (rng.normal(size=(200, 2)) + 6.0 * rng.integers(0, 2, (200, 1)))
    model = BayesianGaussianMixture(n_components=2, random_state=0)
    with pytest.raises(ValueError, match=r"X is float32 in units.*wanted X as float64, or in oth"):
        model.fit(X.astype(np.float32))
    assert not hasattr(model, "means_")
    model.fit(X)
    for value in vars(model).values():
        if isinstance(value, np.ndarray):
            assert np.all(np.isfinite(value))
