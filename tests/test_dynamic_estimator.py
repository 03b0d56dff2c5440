"""`fastvi.DynamicTopicModel`: limits, slices of time, streams, files, and what it refuses."""

import datetime
import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from stopping import Stopped, stopper

import fastvi
from fastvi.models.topics import dynamic_ascent as steps
from fastvi.models.topics import dynamic_model as models
from fastvi.models.topics.dynamic_corpus import SlicedCorpus
from fastvi.models.topics.dynamic_times import Timeline, times_of

N_WORDS, N_SLICES = 12, 5


def simulated(seed=0, n_documents=80, length=40):
    """Counts of two topics of six words each, whose first word gives way to the second."""
    rng = np.random.default_rng(seed)
    when = np.sort(rng.integers(0, N_SLICES, n_documents))
    topics = np.full((N_SLICES, 2, N_WORDS), 1e-3)
    share = np.linspace(0.9, 0.1, N_SLICES)
    for k, words in enumerate((range(6), range(6, 12))):
        topics[:, k, words] = 0.15
        topics[:, k, words[0]], topics[:, k, words[1]] = share, 1 - share
    topics /= topics.sum(axis=2, keepdims=True)
    theta = rng.dirichlet([0.3, 0.3], n_documents)
    counts = [rng.multinomial(length, theta[d] @ topics[t]) for d, t in enumerate(when)]
    return np.array(counts), 2000 + when, topics


X, YEARS, TOPICS = simulated()


def made(**options):
    return fastvi.DynamicTopicModel(2, **{"random_state": 0, "max_iter": 4, **options})


def fitted(**options):
    return made(**options).fit(X, YEARS)


def found(model):
    """What a fit came to, as bits, but for the time it took."""
    parts = {k: v.tobytes() for k, v in model.history_.items() if k != "seconds"}
    parts |= {"topics": model.components_.tobytes(), "theta": model.transform(X, YEARS).tobytes()}
    names = ("elbo_", "n_iter_", "converged_", "chain_variance_", "drift_variance_")
    return parts | {name: getattr(model, name, None) for name in names}


# --- what the topics are --------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [False, True])
def test_moving_words_are_found(drift):
    model = fitted(max_iter=20, drift=drift)
    order = [0, 1] if model.components_[:, 0, :6].sum() > N_SLICES / 2 else [1, 0]
    np.testing.assert_allclose(model.components_[:, order], TOPICS, atol=0.12)
    np.testing.assert_allclose(model.components_.sum(axis=2), 1.0, rtol=1e-5)
    rising, falling = model.rising_words(1), model.falling_words(1)
    assert [rising[k][0][0] for k in order] == ["1", "7"]
    assert [falling[k][0][0] for k in order] == ["0", "6"]
    assert rising[0][0][1] > 0 > falling[0][0][1]
    assert model.top_words(1, time=2000)[order[0]][0][0] == "0"
    assert model.top_words(1)[order[0]][0][0] == "1"
    np.testing.assert_allclose(model.topic_shares_.sum(axis=1), 1.0)
    static = fastvi.LatentDirichletAllocation(2, random_state=0).fit(X)
    assert model.document_completion(X, YEARS, X) > static.document_completion(X, X) + 0.05


def test_without_steps_it_is_the_static_model():
    """A variance of 0 equals one slice, with the same logistic-normal prior."""
    options = {"max_iter": 10, "tol": 0.0}
    still = fitted(chain_variance=1e-7, **options)
    static = fitted(slices=1, **options)
    for t in range(N_SLICES):
        np.testing.assert_allclose(still.components_[t], static.components_[0], atol=1e-3)
    theta = still.transform(X, YEARS), static.transform(X, YEARS)
    np.testing.assert_allclose(*theta, atol=1e-3)


def test_with_large_steps_slices_do_not_know_of_each_other():
    """The chains of each slice are then those of a model of its own, given the assignments."""
    model = models.DynamicModel
    variance, n_topics = 1e4, 2
    bags = fitted()._counts(X + 1, reset=False)  # each slice has each word
    start = models.start_of(X.sum(axis=0) + 1.0, n_topics, variance, None)
    topics = np.zeros_like(start.mean)
    topics[:, :n_topics] = TOPICS[0].T
    alpha = np.ones(n_topics)
    corpus = SlicedCorpus.of(bags, YEARS - 2000, N_SLICES)
    joint = model(alpha, start, np.ones(N_SLICES - 1), learns=False)
    state = steps.first_state(joint, corpus, topics, variance, 0.0)

    def weights(model, corpus, state):
        pairs, totals = (f(model, corpus, state) for f in (steps.pairs_of, steps.totals_of))
        for _ in range(60):
            state, move = steps.sweep(model, pairs, totals, state, steps.no_move(state))
            state, _ = steps.settle(model, pairs, totals, state, move)
        return (state.chains.weights / state.zeta[:, None])[:, :, :n_topics]

    together = weights(joint, corpus, state)
    for t in range(N_SLICES):
        part = fitted()._counts((X + 1)[2000 + t == YEARS], reset=False)
        one = SlicedCorpus.of(part, np.zeros(len(part.indptr) - 1, np.int64), 1)
        alone = model(alpha, start, np.zeros(0), learns=False)
        first = steps.first_state(alone, one, topics, variance, 0.0)
        np.testing.assert_allclose(together[t], weights(alone, one, first)[0], rtol=5e-3, atol=1e-5)


def test_two_words_and_one_topic_by_quadrature():
    """In two slices; only differences of the two words' chains matter."""
    counts, variance, step = np.array([[30, 10], [12, 24]]), 2.0, 0.3
    model = fastvi.DynamicTopicModel(
        1, chain_variance=step, initial_variance=variance, max_iter=30, tol=0.0, random_state=0
    ).fit(counts, [0, 1])
    grid = np.linspace(-6, 6, 601)
    words = counts.sum(axis=0) + 0.5
    a, b = np.meshgrid(grid, grid, indexing="ij")
    logs = -0.5 * (a - np.log(words[0] / words[1])) ** 2 / (2 * variance)
    logs -= 0.5 * (b - a) ** 2 / (2 * step) + np.log(2 * np.pi * 2 * np.sqrt(variance * step))
    for z, (n, m) in ((a, counts[0]), (b, counts[1])):
        logs += -n * np.log1p(np.exp(-z)) - m * np.log1p(np.exp(z))
    density = np.exp(logs - logs.max())
    evidence = np.log(density.sum() * (grid[1] - grid[0]) ** 2) + logs.max()
    assert evidence - 4.0 < model.elbo_ < evidence  # E[log zeta] <= log E[zeta] costs 1.4 a slice
    for t, z in enumerate((a, b)):
        mean = (density / (1 + np.exp(-z))).sum() / density.sum()
        assert abs(model.components_[t, 0, 0] - mean) < 0.01


@pytest.mark.parametrize("drift", [False, True])
def test_long_gaps_leave_the_topics_finite(drift):
    """An hour among seconds: a step's variance would be thousands of times the usual one."""
    model = made(drift=drift).fit(X, YEARS)
    for gap in (1e3, 1e300):
        times = YEARS + np.where(YEARS > 2001, gap, 0.0)
        far = made(drift=drift).fit(X, times)
        assert np.isfinite(far.components_).all()
        assert model.elbo_ - 300.0 < far.elbo_ < 0.0
    model.partial_fit(X[:9], 1e12)
    assert np.isfinite(model.components_).all()


def test_a_fit_that_diverges_says_so():
    model = fitted()
    with pytest.raises(ValueError, match=r"the fit diverged; lower chain_variance or initial"):
        made(chain_variance=1e10, initial_variance=1e10, drift=True).fit(X[:, :6] // 4, YEARS)
    with pytest.raises(ValueError, match="the fit diverged"):
        model.set_params(chain_variance=1e10, initial_variance=1e10).fit(X // 8, YEARS)
    assert np.isfinite(model.components_).all()


def test_times_with_time_zones_are_those_of_utc(recwarn):
    west = datetime.timezone(datetime.timedelta(hours=-2))
    aware = [datetime.datetime(2001, 1, 1, hour, tzinfo=west) for hour in (10, 23)]
    plain = [datetime.datetime(2001, 1, 1, 12), datetime.datetime(2001, 1, 2, 1)]
    np.testing.assert_array_equal(times_of(aware, 2).numbers, times_of(plain, 2).numbers)
    assert not recwarn


# --- slices ---------------------------------------------------------------------------------------


def test_slices():
    dates = np.array(["1994-11-05", "1995-01-01", "1996-02-29", "2003-07-01"], "datetime64[D]")
    when = times_of(dates, 4)
    assert Timeline.of(when, "values").labels.tolist() == dates.tolist()
    years = Timeline.of(when, "year")
    assert years.labels.astype(str).tolist() == [f"{year}-01-01" for year in range(1994, 2004)]
    assert years.place(when)[0].tolist() == [0, 1, 2, 9]
    decades = Timeline.of(when, "10 years")
    assert decades.labels.astype(str).tolist() == ["1990-01-01", "2000-01-01"]
    later = times_of(["2009-12-31", "2010-01-01", "2031-05-05"], 3)
    assert decades.place(later)[1].tolist() == [0, 1, 3]
    assert Timeline.of(when, "2 months").labels[0] == np.datetime64("1994-11-01")
    numbers = times_of([0.0, 1.0, 9.9, 10.0], 4)
    assert Timeline.of(numbers, 2).place(numbers)[0].tolist() == [0, 0, 1, 1]
    assert Timeline.of(numbers, 2.5).starts.tolist() == [0, 2.5, 5, 7.5, 10]
    uneven = Timeline.of(numbers, "values")
    assert uneven.place(times_of([-3, 0.6, 9.94, 11], 4))[0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(uneven.gaps, np.array([1, 8.9, 0.1]))
    assert Timeline.of(times_of([3, 3], 2), "values").starts.tolist() == [3.0]


@pytest.mark.parametrize(
    "times",
    [
        [datetime.date(2000 + i, 1, 1) for i in range(3)],
        [datetime.datetime(2000 + i, 1, 1) for i in range(3)],
        [f"{2000 + i}-01-01" for i in range(3)],
        np.array([f"{2000 + i}-01-01" for i in range(3)], "datetime64[ns]"),
    ],
    ids=["dates", "datetimes", "strings", "datetime64"],
)
def test_dates_of_all_forms(times):
    assert times_of(times, 3).numbers.tolist() == [10957, 11323, 11688]


def test_a_slice_of_empty_documents_has_no_shares():
    model = made().fit(np.where((YEARS == 2002)[:, None], 0, X), YEARS)
    assert model.topic_shares_.sum(axis=1).round(6).tolist() == [1, 1, 0, 1, 1]
    with pytest.raises(ValueError, match=r"^X has no words to score"):
        model.document_completion(0 * X, YEARS)
    with pytest.raises(ValueError, match=r"^X_scored has no words to score"):
        model.document_completion(X, YEARS, 0 * X)


def test_empty_slices_are_bridged():
    sparse = YEARS != 2002
    model = made(slices=1.0).fit(X[sparse], YEARS[sparse])
    assert model.slice_times_.tolist() == [2000, 2001, 2002, 2003, 2004]
    assert not model.topic_shares_[2].any()
    before, bridge, after = model.components_[1:4]
    assert np.abs(bridge - (before + after) / 2).max() < 0.5 * np.abs(after - before).max() + 1e-3
    assert np.all(np.isfinite(model.components_))
    scores = model.document_completion(X[sparse], YEARS[sparse], by_slice=True, random_state=0)
    assert np.isnan(scores).tolist() == [False, False, True, False, False]
    weights = np.bincount(YEARS[sparse] - 2000, (X[sparse] // 2).sum(axis=1), 5)
    score = model.document_completion(X[sparse], YEARS[sparse], random_state=0)
    np.testing.assert_allclose(np.nansum(scores * weights) / weights.sum(), score, rtol=1e-2)


def test_forecasts_and_times_before_the_first_slice():
    model = fitted(drift=True, max_iter=10)
    assert np.array_equal(model.topics_at(1990), model.components_[0])
    assert np.array_equal(model.topics_at(2006), model.forecast(2006))
    far = model.forecast(2100)
    assert np.abs(far - model.components_[-1]).max() > 1e-4  # the drift has faded
    np.testing.assert_allclose(far, model.forecast(2200), atol=1e-6)
    plain = fitted()
    np.testing.assert_allclose(plain.forecast(2100), plain.components_[-1], atol=1e-7)
    alone = plain.transform(X[:1], [2030])
    assert np.array_equal(alone, plain.transform(X[[0, 5]], [2030, 2001])[:1])


# --- fits -----------------------------------------------------------------------------------------


def test_threads_and_layouts_do_not_change_bits():
    plain = found(fitted(drift=True))
    for n_jobs in (2, 8):
        assert found(fitted(drift=True, n_jobs=n_jobs)) == plain
    sparse = made(drift=True).fit(scipy.sparse.csr_array(X), YEARS)
    assert found(sparse) == plain
    shuffled = made(drift=True).fit(X.astype(np.float32), YEARS.astype(str))
    assert shuffled.components_.dtype == np.float32
    assert fitted().fit(X.astype(float), YEARS).transform(X.astype(float), YEARS).dtype == float


def test_resumed_fits_have_the_same_bits(tmp_path):
    options = {"drift": True, "max_iter": 6, "tol": 0.0}
    whole = made(**options).fit(X, YEARS, X_val=X, times_val=YEARS)
    path = tmp_path / "fit.npz"
    part = made(**options)
    with pytest.raises(Stopped):
        part.fit(
            X, YEARS, X_val=X, times_val=YEARS, checkpoint=path, checkpoint_interval=0.0,
            callback=stopper(5),
        )  # fmt: skip
    part.fit(X, YEARS, X_val=X, times_val=YEARS, checkpoint=path, resume=True)
    assert found(part) == found(whole)
    assert len(whole.history_["held_out"]) == 6
    with pytest.raises(ValueError, match="checkpoint of another fit: data"):
        made(**options).fit(X, YEARS + 1, checkpoint=path, resume=True)


def test_callbacks_and_early_stopping():
    seen = []
    model = made(max_iter=30, tol=0.0, drift=True)
    model.fit(X, YEARS, X_val=X, times_val=YEARS, early_stopping=1, callback=seen.append)
    assert model.n_iter_ < 30
    assert model.best_iter_ == 1 + np.argmax(model.history_["held_out"])
    score = seen[2 * model.best_iter_ - 1].values["held_out"]
    assert score == pytest.approx(model.best_score_)
    assert seen[0].params.means.shape[:2] == (N_SLICES, N_WORDS)
    converged = fitted(max_iter=100)
    assert converged.converged_
    assert converged.n_iter_ < 100
    assert fitted(max_iter=1).n_iter_ == 1


def test_a_stream_of_slices():
    earlier = YEARS < 2004
    model = made(max_iter=10).fit(X[earlier], YEARS[earlier])
    kept = model.components_
    model.partial_fit(X[~earlier], 2004)
    assert model.slice_times_.tolist() == [2000, 2001, 2002, 2003, 2004]
    assert np.array_equal(model.components_[:-1], kept)
    whole = made(max_iter=10).fit(X, YEARS)
    np.testing.assert_allclose(model.components_[-1], whole.components_[-1], atol=0.12)
    assert not hasattr(model, "elbo_")
    assert np.isfinite(model.score(X, YEARS))
    fresh = made()
    for year in (2000, 2002, 2004):
        fresh.partial_fit(X[year == YEARS], year)
    assert fresh.slice_times_.tolist() == [2000, 2002, 2004]
    assert fresh.transform(X, YEARS).shape == (len(X), 2)
    before = fresh.components_
    with pytest.raises(ValueError, match="time is 2003, which is not after the last slice, 2004"):
        fresh.partial_fit(X, 2003)
    assert np.array_equal(fresh.components_, before)
    drifting = made(drift=True).fit(X[earlier], YEARS[earlier]).partial_fit(X[~earlier], 2004)
    assert np.all(np.isfinite(drifting.components_))


@pytest.mark.parametrize("drift", [False, True])
def test_files_and_copies(drift, tmp_path):
    model = made(drift=drift).fit(X, (YEARS - 1970).astype("datetime64[Y]"))
    model.save(tmp_path / "model.npz")
    loaded = fastvi.load(tmp_path / "model.npz")
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.components_, model.components_)
        assert np.array_equal(other.slice_times_, model.slice_times_)
        for name in ("elbo_", "n_iter_", "topic_shares_", "chain_variance_", "doc_topic_prior_"):
            assert np.array_equal(getattr(other, name), getattr(model, name))
        assert np.array_equal(other.forecast("2009-01-01"), model.forecast("2009-01-01"))
        score = model.score(X, (YEARS - 1970).astype("datetime64[Y]"))
        assert score == other.score(X, (YEARS - 1970).astype("datetime64[Y]"))
        other.partial_fit(X[:5], "2005-02-01")
    assert not hasattr(clone(model), "n_iter_")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (None, "times is missing; wanted numbers, dates, or strings"),
        (YEARS[1:], r"times has shape \(79,\); wanted \(80,\), one time per document"),
        (np.where(YEARS == 2001, np.nan, YEARS), r"times\[\d+\] is nan; wanted a time for each"),
        (["soon"] * 80, r"times\[0\] is 'soon'; wanted numbers, dates, or strings"),
        (["2001-01-01"] * 79 + ["soon"], r"times\[79\] is 'soon'; wanted numbers, dates, or"),
        ([None] * 80, r"times\[0\] is None; wanted numbers, dates, or strings"),
        (YEARS > 2001, r"times\[0\] is False; wanted numbers, dates, or strings"),
        (np.array(["NaT"] * 80, "datetime64[D]"), r"times\[0\] is NaT; wanted a time for each"),
        (np.ma.masked_equal(YEARS, 2001), "times has masked entries"),
    ],
    ids=["missing", "too few", "nan", "words", "a word", "nothing", "flags", "NaT", "masked"],
)
def test_bad_times_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        made().fit(X, times)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="every document is empty"):
        made().fit(0 * X, YEARS)
    with pytest.raises(ValueError, match="n_components is 5, more than the 4 tokens in X"):
        fastvi.DynamicTopicModel(5).fit(np.eye(4, dtype=int), range(4))
    with pytest.raises(ValueError, match="'day', but times holds numbers; wanted dates"):
        made(slices="day").fit(X, YEARS)
    with pytest.raises(ValueError, match="slices is 'often'; wanted 'values'"):
        made(slices="often").fit(X, YEARS)
    with pytest.raises(ValueError, match="are too many; wanted at most"):
        made(slices=1e-9).fit(X, YEARS)
    for slices in (0, -1.0, None, True):
        with pytest.raises(ValueError, match=r"slices is .*; wanted"):
            made(slices=slices).fit(X, YEARS)
    for name in ("chain_variance", "initial_variance"):
        with pytest.raises(ValueError, match=f"{name} is -1; wanted a number"):
            made(**{name: -1}).fit(X, YEARS)
    model = fitted()
    with pytest.raises(ValueError, match="times holds dates; wanted numbers, as in the fit"):
        model.transform(X, (YEARS - 1970).astype("datetime64[Y]"))
    with pytest.raises(ValueError, match="times is missing"):
        model.transform(X)
    with pytest.raises(ValueError, match=r"not after the last slice, 2004\.0; use topics_at"):
        model.forecast(2004)
    for call in (made().partial_fit, model.partial_fit):
        for time in (None, [2009], np.nan, "soon"):
            with pytest.raises(ValueError, match=r"^time(\[0\])? is .*wanted"):
                call(X, time)
    for time in (None, [2001, 2002]):
        with pytest.raises(ValueError, match=r"time is .*; wanted one number, date, or string"):
            model.topics_at(time)
    with pytest.raises(ValueError, match="wanted both of X_val and times_val"):
        made().fit(X, YEARS, X_val=X)
    with pytest.raises(ValueError, match="n_components is 3; the topics to continue from are 2"):
        model.set_params(n_components=3).partial_fit(X, 2009)
    with pytest.raises(AttributeError, match="components_ is available only after fit"):
        _ = made().components_
