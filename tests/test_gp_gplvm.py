"""`fastvi.BayesianGPLVM`: exact small cases, gradients, digits, and files."""

import numpy as np
import pytest
from naive import latents as naive
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import BayesianGPLVM
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.latent.ascent import ascend
from fastvi.models.gp.latent.bound import Inputs, LatentRegression, divergence
from fastvi.models.gp.latent.expectations import Expectations
from fastvi.models.gp.latent.search import Amortized
from fastvi.models.gp.recognition import fitted
from fastvi.models.gp.sgpr import SparseRegression

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks([BayesianGPLVM(1, inducing_points=5, max_iter=5)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def inputs(rng, n=7, m=5, q=3, t=4):
    kernel = ConstantKernel(1.3) * RBF(np.linspace(0.8, 1.3, q)) + WhiteKernel(0.2)
    covariance = Covariance(kernel, q)
    mean, z = rng.normal(size=(n, q)), rng.normal(size=(m, q))
    start = Inputs(covariance.theta, z, mean, rng.normal(size=(n, q)) - 1)
    return LatentRegression(covariance, rng.normal(size=(n, t))), start


def test_expectations_equal_quadrature(rng):
    mean, z = rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    variance, a = rng.uniform(0.1, 1, size=(4, 2)), np.array([0.5, 1.5])
    first, second = naive.expectations(1.7, a, z, mean, variance)
    found = Expectations(1.7, a, z)
    np.testing.assert_allclose(found.first(mean, variance), first, rtol=1e-9)
    np.testing.assert_allclose(found.second(mean, variance), second.sum(axis=0), rtol=1e-9)


def test_gradient_of_the_bound(rng):
    model, start = inputs(rng)
    found = model.bound(start).gradient
    for name in ("theta", "z", "mean", "log_variance"):
        slope = getattr(found, name)
        want = np.empty_like(slope)
        for at in np.ndindex(slope.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = getattr(start, name).copy()
                moved[at] += step
                near = start._replace(**{name: moved})
                ends.append(model.bound(near, gradient=False).value)
            want[at] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(slope, want, rtol=1e-7, atol=1e-8 * np.abs(want).max())


def test_bound_equals_its_plain_twin_and_without_spread_that_of_regression(rng):
    model, start = inputs(rng, q=2)
    variance = np.exp(start.log_variance)
    a = np.exp(-2 * start.theta[1:3])
    want = naive.bound(1.3, a, 0.2, start.z, start.mean, variance, model.y, 1e-6 * 1.3)
    assert model.bound(start).value == pytest.approx(want, rel=1e-7)
    thin = start._replace(log_variance=np.full(start.mean.shape, -30.0))
    found = model.bound(thin)
    known = SparseRegression(model.covariance, start.mean, model.y).bound(start.theta, start.z)
    kl = divergence(thin.mean, thin.log_variance).sum()
    assert found.value + kl == pytest.approx(known.value, rel=1e-5)
    np.testing.assert_allclose(found.gradient.theta, known.by_theta, rtol=1e-3)
    np.testing.assert_allclose(found.gradient.z, known.by_z, rtol=1e-3, atol=1e-3)


def test_bound_is_near_the_evidence_of_two_rows_and_below_it():
    # q(x) has one of two mirror images, which alone costs log 2
    X = np.array([[-1.0, -0.5, 0.8], [1.0, 0.5, -0.8]])
    kernel = ConstantKernel(1.0, "fixed") * RBF(1.5, "fixed") + WhiteKernel(1.0, "fixed")
    model = BayesianGPLVM(
        1, kernel=kernel, init=np.array([[-0.5], [0.5]]), tol=1e-12,
        inducing_points=np.linspace(-2, 2, 5)[:, None],
    ).fit(X)  # fmt: skip
    y = X / np.sqrt(np.square(X).mean())
    exact = naive.evidence_of_two(1.0, np.array([1 / 1.5**2]), 1.0, y)
    assert exact - 1.0 < model.elbo_ <= exact + 1e-9


def test_many_maxima_at_once_do_not_depend_on_each_other(rng):
    scale = rng.uniform(0.1, 10, size=(20, 3))

    def function(x, rows):
        u = x - 1.0
        values = -np.log1p((scale[rows] * u * u).sum(axis=1))
        return values, -2 * scale[rows] * u * np.exp(values)[:, None]

    start = rng.normal(size=(20, 3))
    x, value = ascend(function, start, 200, 1e-12)
    np.testing.assert_allclose(x, 1.0, atol=1e-4)
    np.testing.assert_allclose(value, 0.0, atol=1e-7)
    alone = ascend(lambda x, rows: function(x, rows + 7), start[7:8], 200, 1e-12)
    np.testing.assert_array_equal(alone[0], x[7:8])


def test_gradient_by_the_weights_of_a_network(rng):
    model, start = inputs(rng, n=12)
    network = fitted(model.y, start.mean, -1.0, 4, rng)
    objective = Amortized(model, start._replace(network=network))
    point = objective.start + 0.1 * rng.normal(size=objective.start.shape)
    direction, step = rng.normal(size=point.shape), 1e-6
    ends = [objective(point + sign * step * direction, False) for sign in (1.0, -1.0)]
    slope = objective(point)[1] @ direction
    assert slope == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-6)


@pytest.mark.thorough
def test_amortized_bound_is_within_a_hundredth_of_the_free_one(tmp_path):
    X = load_digits().data[:120]
    options = {"inducing_points": 12, "max_iter": 150, "random_state": 0}
    free = BayesianGPLVM(2, **options).fit(X)
    model = BayesianGPLVM(2, amortize=True, encoder_units=60, **options).fit(X)
    assert abs(model.elbo_ - free.elbo_) < 0.01 * abs(free.elbo_)
    np.testing.assert_allclose(model.transform(X), model.embedding_, rtol=1e-9, atol=1e-9)
    lacking = np.where(X > 15, np.nan, X)
    assert np.isfinite(model.score_samples(lacking)).all()
    path = tmp_path / "model.fastvi"
    model.save(path)
    np.testing.assert_array_equal(fastvi.load(path).transform(X), model.transform(X))


def curve(rng, n=60, noise=0.05):
    t = rng.uniform(-2, 2, n)
    clean = np.c_[t, t**2, np.sin(2 * t), np.cos(t)]
    return clean + noise * rng.standard_normal(clean.shape), clean, t


def test_latent_variables_without_use_are_switched_off(rng):
    Z, W = rng.standard_normal((60, 2)), rng.normal(size=(2, 8))
    X = np.sin(0.7 * Z @ W) + 0.1 * rng.standard_normal((60, 8))
    model = BayesianGPLVM(4, inducing_points=15, max_iter=250, random_state=0).fit(X)
    relevance = np.sort(model.relevance_)[::-1]
    assert relevance[2] < 0.02 * relevance[1]
    assert np.sort(model.latent_variances_)[1] < 0.01
    assert np.all(np.diff(model.history_["seconds"]) > 0)


def test_rows_of_the_fit_are_where_it_left_them_and_the_rest_is_filled_in(rng, tmp_path):
    X, clean, _ = curve(rng, 40)
    model = BayesianGPLVM(1, inducing_points=12, max_iter=400, tol=1e-9, random_state=0).fit(X)
    mean, std = model.transform(X, return_std=True)
    same = np.abs(mean - model.embedding_)[:, 0] < 0.02  # the others are at another maximum
    assert same.mean() > 0.9
    np.testing.assert_allclose(std[same], model.embedding_std_[same], rtol=0.2)
    lacking = X.copy()
    lacking[:, 2] = np.nan
    filled = model.reconstruct(lacking)
    assert np.sqrt(np.mean(np.square(filled - clean)[:, 2])) < 0.2  # of a deviation of 0.7
    assert np.isfinite(model.score_samples(lacking)).all()
    back = model.inverse_transform(mean)
    assert np.sqrt(np.mean(np.square(back - clean))) < 0.06
    everything = np.full((1, 4), np.nan)  # nothing seen: the prior
    assert model.score_samples(everything) == pytest.approx(0.0, abs=1e-6)
    path = tmp_path / "model.fastvi"
    model.save(path)
    again = fastvi.load(path)
    np.testing.assert_array_equal(again.reconstruct(lacking), model.reconstruct(lacking))
    np.testing.assert_array_equal(again.embedding_, model.embedding_)
    fastvi.plots.plot_latent(model, X, tmp_path / "latent.svg")
    fastvi.plots.plot_reconstructions(model, X[:5], tmp_path / "rows.svg")
    fastvi.plots.plot_samples(model, tmp_path / "samples.svg", n_samples=5)


def test_bits_do_not_depend_on_threads_and_a_fit_can_be_resumed(rng, tmp_path):
    X, _, _ = curve(rng, 200)
    options = {"inducing_points": 20, "max_iter": 8, "random_state": 0}
    one = BayesianGPLVM(**options).fit(X)
    two = BayesianGPLVM(**options, n_jobs=2).fit(X)
    np.testing.assert_array_equal(one.embedding_, two.embedding_)
    path = tmp_path / "checkpoint"
    stopped = BayesianGPLVM(**options)
    stopped.fit(X, callback=lambda state: state.epoch == 4, checkpoint=path)
    again = BayesianGPLVM(**options).fit(X, X_val=X[:3], checkpoint=path, resume=True)
    np.testing.assert_array_equal(one.embedding_, again.embedding_)
    assert len(again.history_["held_out"]) == 8


@pytest.mark.thorough
def test_digits_are_further_apart_than_in_principal_components_and_better_rebuilt():
    X, y = load_digits(return_X_y=True)
    train, test = X[:300], X[1000:1150]
    model = BayesianGPLVM(2, inducing_points=25, max_iter=150, random_state=0).fit(train)
    pca = PCA(2).fit(train)

    def errors(rows):
        near = NearestNeighbors(n_neighbors=2).fit(rows).kneighbors(return_distance=False)[:, 1]
        return np.mean(y[:300][near] != y[:300])

    assert errors(model.embedding_) < 0.5 * errors(pca.transform(train))
    ours = np.mean(np.square(model.reconstruct(test) - test))
    linear = np.mean(np.square(pca.inverse_transform(pca.transform(test)) - test))
    assert ours < 0.7 * linear


def pipes(n, rng):
    """Two beams of X-rays, each along six paths, through oil, water and gas in a pipe.

    As in the data of Bishop and James (1993): layers, rings, or a mixture. Rows have variance 1.
    """
    kinds, grid = rng.integers(3, size=n), np.linspace(-1, 1, 61)
    x, y = np.meshgrid(grid, grid)
    inside = x * x + y * y < 1
    paths = [np.abs(grid - at).argmin() for at in (-0.8, 0.0, 0.8)]
    X = np.empty((n, 12))
    for i, kind in enumerate(kinds):
        oil = rng.uniform(0.1, 0.6)
        water = 0.8 * rng.uniform(0.1, 1.0) * (1 - oil)
        height = y if kind == 0 else 1 - x * x - y * y
        ends = np.quantile(height[inside], (water, water + oil))
        matter = np.searchsorted(ends, height)
        for j, weights in enumerate(([1.0, 0.8, 0.1], [0.5, 0.45, 0.05])):
            mixed = np.dot(weights, (water, oil, 1 - oil - water))
            field = inside * (np.full(x.shape, mixed) if kind == 2 else np.array(weights)[matter])
            X[i, 6 * j : 6 * j + 3] = field[:, paths].sum(axis=0) / 30
            X[i, 6 * j + 3 : 6 * j + 6] = field[paths].sum(axis=1) / 30
    X += 0.01 * rng.standard_normal(X.shape)
    return (X - X.mean(axis=0)) / X.std(axis=0), kinds


@pytest.mark.thorough
def test_kinds_of_flow_in_pipes_are_apart_in_the_two_latent_variables_that_matter(rng):
    X, kinds = pipes(200, rng)
    model = BayesianGPLVM(5, inducing_points=25, max_iter=250, random_state=0).fit(X)

    def errors(rows):
        near = NearestNeighbors(n_neighbors=2).fit(rows).kneighbors(return_distance=False)[:, 1]
        return np.mean(kinds[near] != kinds)

    order = np.argsort(-model.relevance_)
    assert model.relevance_[order[2]] < 0.5 * model.relevance_[order[1]]
    assert errors(model.embedding_[:, order[:2]]) < 0.5 * errors(PCA(2).fit_transform(X))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel": Matern()}, "wanted an RBF"),
        ({"init": "umap"}, "init is 'umap'; wanted 'pca' or an array of shape"),
        ({"init": np.zeros((3, 1))}, r"init has shape \(3, 1\)"),
        ({"n_components": 0}, "n_components"),
        ({"inducing_points": np.zeros((4, 5))}, "inducing_points has shape"),
    ],
)
def test_bad_options(rng, options, text):
    X, _, _ = curve(rng, 10)
    with pytest.raises(ValueError, match=text):
        BayesianGPLVM(**options).fit(X)


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_warns_where_it_has_not_converged(rng):
    X, _, _ = curve(rng, 20)
    with pytest.warns(ConvergenceWarning, match="L-BFGS stopped after 2 iterations"):
        BayesianGPLVM(inducing_points=5, max_iter=2, random_state=0).fit(X)
    constant = np.ones((5, 2))
    BayesianGPLVM(inducing_points=3, max_iter=3, random_state=0).fit(constant).transform(constant)
