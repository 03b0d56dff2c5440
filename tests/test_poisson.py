"""Poisson factorization: plain twins, the evidence, what is recovered, and the estimator."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from naive import poisson as naive
from scipy.optimize import linear_sum_assignment, minimize_scalar
from scipy.special import gammaln
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough
from tolerances import assert_never_falls

import fastvi
from fastvi.base import parallel
from fastvi.core import Batch
from fastvi.gradients import plain
from fastvi.models import counts as documents
from fastvi.models.counts import DocumentSource
from fastvi.models.fits import fit_conjugate
from fastvi.models.poisson import model as poisson_model
from fastvi.models.poisson.estimator import PoissonFactorization
from fastvi.models.poisson.model import Factors, GammaPrior, PoissonFactors
from fastvi.models.poisson.scales import common_scale

BOTH = pytest.mark.parametrize("hierarchical", [False, True])
PRIORS = GammaPrior(0.4, 1.3, 0.0), GammaPrior(0.5, 0.7, 0.0)
LEARNT = GammaPrior(0.4, 1.3, 0.6), GammaPrior(0.5, 0.7, 0.8)


def counts(rng, n_rows=60, n_columns=40, n_components=3, scale=6.0):
    """Counts with an empty row and column, and the factors they come from."""
    theta = rng.gamma(0.3, scale, (n_rows, n_components))
    beta = rng.gamma(0.3, 1.0, (n_columns, n_components))
    X = rng.poisson(theta @ beta.T)
    X[3], X[:, 5] = 0, 0
    return X, theta, beta


def source_of(X, dtype=np.float64):
    X = scipy.sparse.csr_array(X)
    parts = X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(dtype)
    return DocumentSource(*parts, X.shape[1])


def lists(X):
    return [[(i, float(y)) for i, y in enumerate(row) if y] for row in X]


def small_model(hierarchical, n_columns, n_components=3, dtype=np.float64, **options):
    priors = LEARNT if hierarchical else PRIORS
    return PoissonFactors(n_components, *priors, n_columns, dtype=dtype, **options)


def begin(model, X, seed=0):
    return model.start(X.sum(axis=0), len(X), np.random.default_rng(seed))


def whole_bound(model, params, X):
    batch = Batch(source_of(X, model.dtype).all(), np.ones(len(X)))
    return model.local(params, batch, None, None).bound + model.global_bound(params)


# The model


@BOTH
def test_coordinate_ascent_equals_a_plain_one(hierarchical, rng):
    X, _, _ = counts(rng, 30, 12)
    model = small_model(hierarchical, 12, max_iter=8, tol=0.0)
    start = begin(model, X)
    given = [start.shapes.dense()[:, :3], start.popularity.copy(), start.rates[:3].copy()]
    fitted = fit_conjugate(model, source_of(X), start, n_epochs=4)
    table, popularity, shared, bounds = naive.fit(
        lists(X), *given, model.rows, model.columns, n_iter=4, n_local=8
    )
    np.testing.assert_allclose(fitted.params.shapes.dense()[:, :3], table, rtol=1e-8)
    np.testing.assert_allclose(fitted.params.rates[:3], shared, rtol=1e-8)
    if hierarchical:
        np.testing.assert_allclose(fitted.params.popularity, popularity, rtol=1e-8)
    np.testing.assert_allclose(fitted.history["elbo"], bounds, rtol=1e-9)


@BOTH
@pytest.mark.parametrize("max_iter", [1, 3, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_never_falls(hierarchical, max_iter, dtype, rng):
    """Whatever the number of inner iterations. Rows sum about 10 counts of 3 components."""
    X, _, _ = counts(rng)
    model = small_model(hierarchical, 40, 5, dtype, max_iter=max_iter)
    fitted = fit_conjugate(model, source_of(X, dtype), begin(model, X), n_epochs=60)
    bound = fitted.history["elbo"]
    assert_never_falls(bound, dtype, 30, abs(bound[-1]))
    assert bound[-1] > bound[0] + 100


@pytest.mark.parametrize("row", mostly_thorough([[2, 5], [0, 0], [1, 0]]))
@BOTH
def test_the_bound_is_below_the_evidence_of_one_component(hierarchical, row, rng):
    """Integrated numerically; with small shapes the gap is a nat or two."""
    X = np.array([row])
    model = small_model(hierarchical, 2, 1)
    fitted = fit_conjugate(model, source_of(X), begin(model, X), n_epochs=300)
    evidence = naive.log_evidence_of_one_component(row, model.rows, model.columns)
    assert 0 < evidence - fitted.history["elbo"][-1] < 2.5


@pytest.mark.thorough
def test_the_bound_is_below_the_evidence_of_two_components(rng):
    row = [3, 1, 0]
    X = np.array([row])
    model = small_model(False, 3, 2)
    fitted = fit_conjugate(model, source_of(X), begin(model, X), n_epochs=300)
    evidence = naive.log_evidence_of_two_components(row, model.rows, model.columns)
    assert 0 < evidence - fitted.history["elbo"][-1] < 5


@BOTH
def test_statistics_are_weighted_sums_over_rows(hierarchical, rng):
    X, _, _ = counts(rng, 11, 9)
    model = small_model(hierarchical, 9)
    params, source = begin(model, X), source_of(X)
    weights = rng.random(11)
    whole = model.local(params, Batch(source.all(), weights), None, rng, norms=True)
    total, norms = [np.zeros((9, 8)), np.zeros(8)], []
    for i in range(11):
        batch = Batch(source.take(np.array([i])), weights[i : i + 1])
        part = model.local(params, batch, None, rng).statistics
        total[0][part.shapes.rows] += part.shapes.values
        total[1] += part.rates
        squares = np.square(part.shapes.values).sum() + np.square(part.rates).sum()
        norms.append(np.sqrt(squares) / weights[i])
    dense_shapes = np.zeros((9, 8))
    dense_shapes[whole.statistics.shapes.rows] = whole.statistics.shapes.values
    np.testing.assert_allclose(dense_shapes, total[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole.statistics.rates, total[1], rtol=1e-10)
    np.testing.assert_allclose(whole.norms, norms)
    np.testing.assert_allclose(source.norms, np.linalg.norm(X, axis=1))


@BOTH
def test_plain_gradient_against_finite_differences(hierarchical, rng):
    """Of the bound, with rows and q(eta) at their best, along random directions."""
    X, _, _ = counts(rng, 8, 6, 2)
    model = small_model(hierarchical, 6, 2, max_iter=20000, tol=1e-13)
    source = source_of(X)
    batch = Batch(source.all(), np.ones(8))
    params = begin(model, X)
    params = params._replace(rates=params.rates * rng.uniform(0.5, 2, 8))
    if hierarchical:
        params = params._replace(popularity=params.popularity * rng.uniform(0.5, 2, 6))
    free = model.coordinates.free(params)
    estimator = plain(model)
    gradient, _, _ = estimator.estimate(None, free, batch, rng)

    def bound(direction, t):
        moved = Factors(*(part + t * d for part, d in zip(free, direction)))
        return whole_bound(model, model.coordinates.params(moved), X)

    for _ in range(4):
        direction = Factors(*(rng.normal(size=part.shape) for part in free))
        direction.shapes[:, 2:] = 0
        direction.rates[2:] = 0
        slope = sum(np.vdot(*pair) for pair in zip(gradient, direction))
        want = (bound(direction, 1e-5) - bound(direction, -1e-5)) / 2e-5
        assert slope == pytest.approx(want, rel=1e-6, abs=1e-6)


@BOTH
def test_a_batch_of_all_rows_at_rate_one_is_coordinate_ascent(hierarchical, rng):
    X, _, _ = counts(rng)
    model, source = small_model(hierarchical, 40), source_of(X)
    ascent = fit_conjugate(model, source, begin(model, X), n_epochs=5).params
    steps = fit_conjugate(
        model, source, begin(model, X), n_epochs=5, batch_size=60, optimizer=1.0
    ).params
    np.testing.assert_allclose(steps.shapes.dense(), ascent.shapes.dense(), rtol=1e-6)
    np.testing.assert_allclose(steps.rates, ascent.rates, rtol=1e-6)
    np.testing.assert_allclose(steps.popularity, ascent.popularity, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [None, 20])
def test_the_same_bits_for_any_number_of_threads(hierarchical, dtype, batch_size, rng, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_WORK", 400)
    monkeypatch.setattr(poisson_model, "TABLE_CHUNK", 40)
    most, run = [0], parallel.run

    def spy(function, n_tasks, n_threads):
        most[0] = max(most[0], n_tasks)
        run(function, n_tasks, n_threads)

    monkeypatch.setattr(parallel, "run", spy)
    X, _, _ = counts(rng)
    results = set()
    for n_threads in (1, 2, 8):
        model = small_model(hierarchical, 40, dtype=dtype, n_threads=n_threads)
        fitted = fit_conjugate(
            model, source_of(X, dtype), begin(model, X), n_epochs=4, batch_size=batch_size
        )
        shapes, *rest = fitted.params
        results.add(b"".join(part.tobytes() for part in (shapes.dense(), *rest)))
    assert len(results) == 1
    assert most[0] > 4


@BOTH
def test_confined_steps_stay_in_the_domain(hierarchical, rng):
    X, _, _ = counts(rng)
    model = small_model(hierarchical, 40)
    params = begin(model, X)
    away = Factors(-10 * params.shapes.dense(), -10 * params.rates, -10 * params.popularity)
    short = model.confine(params, away)
    assert np.all(params.shapes.dense() + short.shapes >= 0.99 * model.prior.shapes)
    assert np.all(params.rates + short.rates > 0)
    assert np.all(params.popularity + short.popularity >= model.prior.popularity * 0.99)


@BOTH
@pytest.mark.parametrize(
    "options",
    mostly_thorough(
        [
            {},
            {"variance_reduction": "svrg", "optimizer": 0.1},
            {"optimizer": "adaptive"},
            {"optimizer": fastvi.optimizers.adam(0.1)},
            {"sampling": "importance"},
        ],
        2,
    ),
    ids=lambda options: " ".join(map(str, options)),
)  # fmt: skip
def test_mini_batches_come_near(hierarchical, options, rng):
    """Of what coordinate ascent gains over the start they reach 95 %, from the same start."""
    X, _, _ = counts(rng, 200, 30)
    model, source = small_model(hierarchical, 30, max_iter=50), source_of(X)
    first = whole_bound(model, begin(model, X), X)
    best = fit_conjugate(model, source, begin(model, X), n_epochs=60).history["elbo"][-1]
    fitted = fit_conjugate(
        model, source, begin(model, X), n_epochs=30, batch_size=40, seed=1, **options
    )
    bound = whole_bound(model, model.lazy(fitted.params), X)
    assert bound > best - 0.05 * (best - first)


# The estimator


@parametrize_with_checks([PoissonFactorization(2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.jit
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks([PoissonFactorization(2, hierarchical=False, batch_size=10, max_iter=5)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator, check):
    check(estimator)


def matched(found, true):
    """Cosines of the components (K, I) with the true ones, best assignment, smallest first."""
    found, true = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (found, true))
    cosines = found @ true.T
    return np.sort(cosines[linear_sum_assignment(-cosines)])


@BOTH
@pytest.mark.thorough
@pytest.mark.parametrize("batch_size", [None, 50])
def test_factors_are_recovered(hierarchical, batch_size, rng):
    """1000 rows of hundreds of counts: cosines with the truth, and errors of expected counts.

    As many free parameters of a linear fit would take in K (n + I) / (n I) = 7 % of the noise.
    """
    X, theta, beta = counts(rng, 1000, 60, 4, scale=20.0)
    model = PoissonFactorization(
        4, hierarchical=hierarchical, batch_size=batch_size, random_state=0,
        max_iter=20 if batch_size else 200,
    ).fit(X)  # fmt: skip
    beta[5], theta[3] = 0, 0
    assert matched(model.components_, beta.T)[0] > 0.98
    means = model.inverse_transform(model.transform(X))
    noise = np.square(X - theta @ beta.T).sum()
    assert np.square(means - theta @ beta.T).sum() < 0.14 * noise


@BOTH
def test_scores_bound_held_out_rows(hierarchical, rng):
    """Above independent Poisson columns, below the truth's plug-in likelihood; means and sums."""
    X, _, _ = counts(rng, 1200, 40, 3)
    model = PoissonFactorization(3, hierarchical=hierarchical, random_state=0).fit(X[:1000])
    scores = model.score_samples(X[1000:])
    assert model.score(X[1000:]) == pytest.approx(scores.mean())
    mean = X[:1000].mean(axis=0) + 1e-3
    independent = (X[1000:] * np.log(mean) - mean - gammaln(X[1000:] + 1)).sum(axis=1)
    assert scores.mean() > independent.mean() + 3
    found = model._found
    whole = model.score_samples(X[:1000]).sum() + found.model.global_bound(
        found.parameters(found.model)
    )
    assert whole == pytest.approx(model.elbo_, rel=1e-3)  # rows are fitted further here


@BOTH
def test_transform_is_what_the_fit_found(hierarchical, rng):
    X, _, _ = counts(rng)
    model = PoissonFactorization(3, hierarchical=hierarchical, random_state=0).fit(X)
    theta = model.transform(X)
    assert theta.shape == (60, 3)
    assert model.components_.shape == model.component_rates_.shape == (3, 40)
    # at the optimum each row's expected and given totals agree but for the prior
    total = model.inverse_transform(theta).sum(axis=1)
    busy = X.sum(axis=1) > 20
    np.testing.assert_allclose(total[busy], X.sum(axis=1)[busy], rtol=0.15)
    assert model.get_feature_names_out()[0] == "poissonfactorization0"
    np.testing.assert_array_equal(model.transform(scipy.sparse.csr_matrix(X)), theta)
    np.testing.assert_array_equal(model.transform(X[[7, 3]]), theta[[7, 3]])
    with pytest.raises(ValueError, match=r"X has shape \(2, 4\); wanted \(n_rows, 3\)"):
        model.inverse_transform(np.ones((2, 4)))


def test_recommendations_are_the_best_unseen_columns(rng, monkeypatch):
    from fastvi.models.poisson import ranking

    monkeypatch.setattr(ranking, "BLOCK_ENTRIES", 100)  # several blocks
    X, _, _ = counts(rng)
    X[1] = 1  # has seen everything
    X[2] = np.arange(40) >= 4
    model = PoissonFactorization(3, random_state=0).fit(X)
    scores = model.inverse_transform(model.transform(X))
    columns, expected = model.recommend(X, 40, exclude_seen=False)
    np.testing.assert_array_equal(columns, np.argsort(-scores, axis=1, kind="stable"))
    np.testing.assert_allclose(expected, -np.sort(-scores, axis=1), rtol=1e-5)
    columns, expected = model.recommend(X, 6)
    for row, found, value in zip(X, columns, expected):
        assert not row[found[found >= 0]].any()
        assert np.all(np.diff(value[found >= 0]) <= 0)
    assert columns[1].tolist() == [-1] * 6
    assert sorted(columns[2]) == [-1, -1, *np.flatnonzero(X[2] == 0)]
    hidden = np.where(X > 0, -np.inf, scores)
    np.testing.assert_array_equal(columns[7], np.argsort(-hidden[7], kind="stable")[:6])
    with pytest.raises(ValueError, match="n_items is 41; wanted an integer from 1 to 40"):
        model.recommend(X, 41)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool])
@pytest.mark.parametrize(
    "form", mostly_thorough([scipy.sparse.csc_array, scipy.sparse.csr_matrix, np.asarray])
)
def test_every_form_of_counts(dtype, form, rng):
    X, _, _ = counts(rng, 30, 20)
    X = np.minimum(X, 200).astype(dtype)
    given = form(X)
    before = given.copy()
    model = PoissonFactorization(3, random_state=0, max_iter=5, tol=0.0).fit(given)
    assert (given != before).sum() == 0
    wide = np.float64 if dtype == np.float64 else np.float32
    assert model.components_.dtype == model.transform(given).dtype == wide
    same = PoissonFactorization(3, random_state=0, max_iter=5, tol=0.0).fit(X)
    np.testing.assert_array_equal(model.components_, same.components_)


@BOTH
@pytest.mark.parametrize(
    ("n_components", "batch_size"), mostly_thorough([(1, None), (9, 1), (1, 1), (9, None)], 2)
)
@pytest.mark.parametrize(
    "X", [[[0, 0], [0, 0]], [[3]], [[0, 1, 0]], [[1e5, 1], [0, 2]], [[0.5, 0.0], [2.5, 1e-3]]]
)
def test_degenerate_counts(hierarchical, n_components, X, batch_size):
    model = PoissonFactorization(
        n_components, hierarchical=hierarchical, max_iter=10, tol=0.0, batch_size=batch_size
    ).fit(X)
    assert np.all(model.components_ > 0)
    for found in (model.components_, model.transform(X), model.score_samples(X)):
        assert np.all(np.isfinite(found))


@BOTH
def test_partial_fit_comes_near_a_fit(hierarchical, rng):
    """A stream of 3000 rows once: on held-out rows within 5 % of coordinate ascent's score."""
    X, _, _ = counts(rng, 3200, 40, 3)
    train, test = X[:3000], X[3000:]
    options = {"hierarchical": hierarchical, "random_state": 0}
    best = PoissonFactorization(3, **options).fit(train)
    ours = PoissonFactorization(3, batch_size=100, **options)
    for part in np.split(train, 6):
        ours.partial_fit(part)
    assert ours.n_batch_iter_ == 30
    assert ours.score(test) > 1.05 * best.score(test)
    scaled = PoissonFactorization(3, batch_size=100, total_samples=3000, **options)
    scaled.partial_fit(train[:1500])
    before = scaled.components_
    again = pickle.loads(pickle.dumps(scaled))
    np.testing.assert_array_equal(again.components_, before)
    for model in (scaled, again):
        model.partial_fit(train[1500:])
    # The copy begins with the table settled, the other one goes on lazily: float32's rounding.
    np.testing.assert_allclose(again.components_, scaled.components_, rtol=1e-5)
    assert scaled.score(test) > 1.05 * best.score(test)


@pytest.mark.parametrize("n_components", [2, 3, 5, 20])
@pytest.mark.parametrize("begin", ["fit", "partial_fit", "pickle"])
def test_partial_fit_goes_on_from_the_same_form_only(begin, n_components, rng):
    """Another table would be stepped through without checks of bounds."""
    X, _, _ = counts(rng)
    model = PoissonFactorization(4, random_state=0, tol=0.0, max_iter=3)
    model = model.fit(X) if begin == "fit" else model.partial_fit(X)
    model = pickle.loads(pickle.dumps(model)) if begin == "pickle" else model
    before = model.components_
    message = f"partial_fit continues from 4 components of 40 columns; .* ask for {n_components} of"
    with pytest.raises(ValueError, match=message):
        model.set_params(n_components=n_components).partial_fit(X)
    with pytest.raises(ValueError, match=r"n_components is 4\.0; wanted an integer"):
        model.set_params(n_components=4.0).partial_fit(X)
    with pytest.raises(ValueError, match=r"partial_fit continues .* another value of hierarchical"):
        model.set_params(n_components=4, hierarchical=False).partial_fit(X)
    np.testing.assert_array_equal(model.components_, before)
    model.set_params(hierarchical=True).partial_fit(X)


@pytest.mark.parametrize("optimizer", [None, "adam"])
def test_the_order_of_rows_of_partial_fit_is_of_random_state(optimizer, rng):
    """From the same factors; the same seed gives the same bits."""
    X, _, _ = counts(rng)
    begun = PoissonFactorization(3, random_state=0, tol=0.0, max_iter=3, batch_size=10).fit(X)

    def go_on(seed):
        model = copy.deepcopy(begun).set_params(random_state=seed, optimizer=optimizer)
        return model.partial_fit(X)

    one, same, other = go_on(1), go_on(1), go_on(2)
    np.testing.assert_array_equal(one.components_, same.components_)
    assert not np.array_equal(one.components_, other.components_)


def test_partial_fit_keeps_its_history(rng):
    """A row a step and an epoch a call; after `fit` it goes on with that of the fit."""
    X, _, _ = counts(rng)
    model = PoissonFactorization(3, random_state=0, batch_size=20, max_iter=4, tol=0.0)
    for _ in range(2):
        model.partial_fit(X)
    again = pickle.loads(pickle.dumps(model)).partial_fit(X[:20])
    model.partial_fit(X[:20])
    for one in (model, again):
        history = one.history_
        assert history["epoch"].tolist() == [0.0] * 3 + [1.0] * 3 + [2.0]
        assert history["batch_size"].tolist() == [20.0] * 7
        assert np.all(np.diff(history["seconds"]) > 0)
        assert np.isfinite(history["local_elbo"]).all()
        assert history["rate"].tolist() == [(10 + t) ** -0.7 for t in range(1, 8)]
        assert one.n_batch_iter_ == 7
    model.set_params(batch_size=None).fit(X)
    model.partial_fit(X)
    history = model.history_
    assert history["epoch"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert np.isfinite(history["elbo"]).tolist() == [True] * 4 + [False]
    assert np.isfinite(history["local_elbo"]).tolist() == [False] * 4 + [True]
    assert model.n_batch_iter_ == 5


def test_rates_of_a_stream_after_a_fit(rng):
    """New rows get their share, n / (N + n); a rule of rates that is given goes on from the fit."""
    X, _, _ = counts(rng)
    options = {"random_state": 0, "batch_size": 20, "max_iter": 2}
    model = PoissonFactorization(3, **options).fit(X)
    n_rows, n_steps = len(X), model.n_batch_iter_
    model.partial_fit(X[:20])
    assert model.history_["rate"][-1] == pytest.approx(20 / (n_rows + 20))
    model.partial_fit(X[:20])
    assert model.history_["rate"][-1] == pytest.approx(20 / (n_rows + 40))
    given = fastvi.optimizers.robbins_monro(3.0, 0.8)
    model = PoissonFactorization(3, optimizer=given, **options).fit(X).partial_fit(X[:20])
    assert model.history_["rate"][-1] == pytest.approx((3.0 + n_steps + 1) ** -0.8)


def test_partial_fit_refuses_an_unknown_sampling(rng):
    with pytest.raises(ValueError, match="sampling is 'sorted'; wanted one of 'uniform'"):
        PoissonFactorization(3, sampling="sorted").partial_fit(counts(rng)[0])


def test_partial_fit_goes_on_from_a_fit(rng):
    """A batch of new rows among many seen moves little; any optimizer may take the steps."""
    X, _, _ = counts(rng, 1100, 40, 3)
    options = {"random_state": 0, "max_iter": 50, "tol": 0.0}
    model = PoissonFactorization(3, **options).fit(X[:1000])
    score = model.score(X[1000:])
    assert model.partial_fit(X[1000:1050]).score(X[1000:]) > score - 0.02 * abs(score)
    assert not hasattr(model, "elbo_")
    averages = fastvi.optimizers.averaged(fastvi.optimizers.constant(0.1))
    for optimizer in (fastvi.optimizers.adam(0.01), averages):
        model = PoissonFactorization(3, optimizer=optimizer, batch_size=200, **options)
        model.partial_fit(X[:1000])
        first = model.score(X[1000:])
        for _ in range(8):
            model.partial_fit(X[:1000])
        assert model.set_params(total_samples=1000.0).score(X[1000:]) > first


@BOTH
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_plain_gradients_of_all_rows_report_the_bound(optimizer, hierarchical, rng):
    """In the history and as `elbo_`, the bound of the last step's start."""
    X, _, _ = counts(rng)
    optimizer = getattr(fastvi.optimizers, optimizer)(0.1)
    options = {"hierarchical": hierarchical, "random_state": 0, "tol": 0.0, "optimizer": optimizer}
    ours = PoissonFactorization(3, max_iter=30, **options).fit(X)
    bounds = ours.history_["elbo"]
    assert "local_elbo" not in ours.history_
    assert len(bounds) == 30
    assert bounds[-1] > bounds[0]
    assert ours.elbo_ == bounds[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PoissonFactorization(3, **{**options, "tol": 1e9}).fit(X).n_iter_ == 2


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "getstate"])
@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_copying_leaves_the_estimator_alone(begin, how, rng):
    """Its steps under way are not in the copy, but go on in the original."""
    X, _, _ = counts(rng)
    model = getattr(PoissonFactorization(3, random_state=0, tol=0.0, max_iter=3), begin)(X)
    before = dict(model.__dict__)
    if how == "getstate":
        model.__getstate__()
    else:
        (copy.deepcopy if how == "deepcopy" else lambda x: pickle.loads(pickle.dumps(x)))(model)
    assert before.keys() == model.__dict__.keys()
    assert all(model.__dict__[name] is value for name, value in before.items())


@BOTH
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_fit_that_diverges_says_so(hierarchical, rng):
    X, _, _ = counts(rng)
    optimizer = fastvi.optimizers.adam(learning_rate=50.0)
    model = PoissonFactorization(
        3, hierarchical=hierarchical, batch_size=10, max_iter=50, optimizer=optimizer,
        random_state=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="the fit diverged: its parameters are no longer"):
        model.fit(X)


def test_warm_start_goes_on(rng, capsys):
    X, _, _ = counts(rng)
    ours = PoissonFactorization(3, warm_start=True, verbose=1, random_state=0).fit(X)
    assert f"elbo {ours.elbo_:.10g}" in capsys.readouterr().err
    assert ours.converged_
    bound = ours.elbo_
    ours.fit(X)
    assert ours.n_iter_ < 10
    assert ours.elbo_ >= bound - 1e-6 * abs(bound)
    with pytest.raises(ValueError, match="warm_start continues from 3 components of 40 columns"):
        ours.fit(X[:, :30])
    with pytest.raises(ValueError, match="another value of hierarchical"):
        ours.set_params(hierarchical=False).fit(X)


def test_a_fit_that_was_cut_short_says_so(rng):
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        PoissonFactorization(3, max_iter=2).fit(counts(rng)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components is 0; wanted an integer >= 1"),
        ({"a": 0.0}, "a is 0.0; wanted a number >= 1e-10"),
        ({"c_prime": -1}, "c_prime is -1"),
        ({"d_prime": np.nan}, "d_prime is nan"),
        ({"hierarchical": 1}, "hierarchical is 1; wanted True or False"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_row_iter": 0}, "max_row_iter is 0"),
        ({"row_tol": -1}, "row_tol is -1"),
        ({"tol": -1}, "tol is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sampling": "importance"}, "without batch_size"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'"),
    ],
)
def test_parameters_out_of_range(options, message, rng):
    with pytest.raises(ValueError, match=message):
        PoissonFactorization(**{"n_components": 2, **options}).fit(counts(rng)[0])


@pytest.mark.parametrize(
    ("bad", "message"), [(np.nan, "NaN"), (np.inf, "infinity"), (-1.0, "Negative values in data")]
)
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_bad_counts(bad, message, form, rng):
    X = counts(rng)[0].astype(float)
    model = PoissonFactorization(2, max_iter=3, tol=0.0).fit(X)
    X[4, 4] = bad
    for call in (model.fit, model.transform, model.score, model.recommend, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            call(form(X))


@pytest.mark.slow
def test_associated_press(data_dir):
    """Mini-batches reach what coordinate ascent does, on real counts; the bound never falls."""
    with np.load(data_dir / "text" / "ap.npz") as f:
        X = scipy.sparse.csr_matrix((f["data"], f["indices"], f["indptr"]), shape=f["shape"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        batch = PoissonFactorization(20, random_state=0, max_iter=100).fit(X[:2000])
    assert_never_falls(batch.history_["elbo"], np.float32, 100 * 20, abs(batch.elbo_))
    ours = PoissonFactorization(20, random_state=0, max_iter=30, batch_size=128).fit(X[:2000])
    assert ours.score(X[2000:]) > 1.01 * batch.score(X[2000:])


@BOTH
def test_a_fit_begins_at_the_best_scale(hierarchical, rng):
    """No other scale of theta beside beta has a higher bound: against a numerical maximum."""
    priors = LEARNT if hierarchical else PRIORS
    rows, columns, weights = rng.gamma(1, 1, 20), rng.gamma(1, 0.1, 9), rng.random(20)

    def bound(t):
        x = np.exp(t)
        total = 3 * (priors[0].shape * weights.sum() - priors[1].shape * 9) * t
        for prior, sums, counted in (
            (priors[0], rows * x, weights), (priors[1], columns / x, np.ones(9))
        ):  # fmt: skip
            shape, mean_rate, learnt = prior
            for value, weight in zip(sums, counted):
                if learnt:
                    total -= weight * (learnt + 3 * shape) * np.log(learnt / mean_rate + value)
                else:
                    total -= weight * mean_rate * value
        return total

    found = common_scale(*priors, 3, rows, weights, columns)
    best = minimize_scalar(lambda t: -bound(t), bounds=(-9, 9), method="bounded")
    assert np.log(found) == pytest.approx(best.x, abs=1e-4)
    assert bound(np.log(found)) >= -best.fun - 1e-9


@pytest.mark.jit
def test_other_sizes_compile_nothing(rng):
    from fastvi.kernels import poisson, responsibilities

    def solve(n_rows, n_columns):
        X = counts(rng, n_rows, n_columns)[0]
        for dtype in (np.float32, np.float64):
            for hierarchical in (False, True):
                for batch_size in (None, 8):
                    model = PoissonFactorization(
                        3, hierarchical=hierarchical, batch_size=batch_size, max_iter=2, tol=0.0
                    ).fit(X.astype(dtype))
                    model.recommend(X.astype(dtype), 2)

    def compiled():
        kernels = {**vars(poisson), **vars(responsibilities)}
        return {k: len(f.signatures) for k, f in kernels.items() if hasattr(f, "signatures")}

    solve(20, 10)
    before = compiled()
    assert before["local_step"] >= 2
    solve(41, 33)
    assert compiled() == before
