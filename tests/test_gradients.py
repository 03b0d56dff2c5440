"""Estimators of the gradient: without bias, and with less noise than uniform mini-batches.

Documents of very different lengths, topics held fixed: hundreds of estimates of one gradient.
"""

import numpy as np
import pytest
from scipy.stats import norm
from simulated import simulate
from test_core import PRECISION, NormalMean

from fastvi.batches import AdaptiveImportance, InMemory, ShuffledEpochs, WithReplacement
from fastvi.core import Batch, Gradient, LazyTable, ascend, dense
from fastvi.gradients import averaged, corrected, natural, plain
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.model import LDA
from fastvi.optimizers import constant

pytestmark = pytest.mark.jit

N_REPEATS, BATCH_SIZE, N_DIRECTIONS = 400, 16, 20
# Largest of 20 |z| is below this in 99.9 % of the cases where there is no bias; a bias of 0.4
# standard deviations of one estimate, in one direction, gives z = 8 and is found with probability
# above 0.999.
LIMIT = norm.isf(0.001 / 2 / N_DIRECTIONS)


class Setting:
    """Topics after a few steps, those of a few steps before, and the whole gradient."""

    def __init__(self, alpha=0.2, eta=0.1):
        parts = [
            simulate(1, 40, 4, int(n), seed=i) for i, n in enumerate(np.geomspace(4, 900, 160))
        ]
        rows = [part.counts.toarray()[0] for part in parts]
        counts = np.random.default_rng(1).permutation(np.array(rows))
        indptr = np.append(0, np.cumsum((counts > 0).sum(axis=1)))
        columns = np.nonzero(counts)[1].astype(np.int32)
        self.source = DocumentSource(indptr, columns, counts[counts > 0].astype(float), 40)
        self.model = LDA(np.full(4, alpha), eta, dtype=np.float64, tol=1e-10, max_iter=500)
        self.all = Batch(self.source.all(), np.ones(160))
        start = np.random.default_rng(2).gamma(50.0, 0.02, (40, 8)) * (np.arange(8) < 4)
        algorithm = ascend(natural(self.model), constant(0.3))
        state = algorithm.init(LazyTable(start, self.model.prior))
        self.tables = []
        for _ in range(8):
            state, _ = algorithm.step(state, self.all, None)
            self.tables.append(state.params.dense())
        self.gradient = natural(self.model, noise=True)
        self.before, self.params = self.table(-2), self.table(-1)
        self.whole = self.one(self.gradient, None, self.all)

    def table(self, i):
        return LazyTable(self.tables[i].copy(), self.model.prior)

    def one(self, gradient, state, batch):
        """An estimate at the last topics, as a vector."""
        direction, _, self.info = gradient.estimate(
            state, self.params, batch, np.random.default_rng(0)
        )
        return dense(direction, self.params)[:, :4].ravel()

    def estimates(self, plan, gradient=None, state=None):
        """Of the first batches of many epochs, which are independent."""
        gradient = self.gradient if gradient is None else gradient
        batches = (next(plan.epoch(e)) for e in range(N_REPEATS))
        return np.array([self.one(gradient, state, batch) for batch in batches])

    def svrg(self, at):
        """The corrected gradient, and its state once it has a snapshot at some topics."""
        gradient = corrected(self.gradient, lambda: self.all, every=5)
        state = gradient.init(at)
        batch = Batch(self.source.take(np.arange(3)), np.ones(3))
        _, state, _ = gradient.estimate(state, at, batch, np.random.default_rng(0))
        return gradient, state


@pytest.fixture(scope="module")
def setting():
    return Setting()


@pytest.fixture(scope="module")
def found(setting):
    """Estimates (repeats, coordinates) by each way of drawing and correcting."""
    source = setting.source
    learnt = AdaptiveImportance(source, BATCH_SIZE, 3, source.norms)
    for number in range(3):
        for batch in learnt.epoch(number):
            setting.one(setting.gradient, None, batch)
            learnt.observe(batch, setting.info)
    uniform = ShuffledEpochs(source, BATCH_SIZE, 4)
    importance = WithReplacement(source, BATCH_SIZE, 5, source.norms)
    return {
        "uniform": setting.estimates(uniform),
        "replacement": setting.estimates(WithReplacement(source, BATCH_SIZE, 6)),
        "importance": setting.estimates(importance),
        "learnt importance": setting.estimates(learnt),
        "svrg": setting.estimates(uniform, *setting.svrg(setting.before)),
        "svrg, importance": setting.estimates(importance, *setting.svrg(setting.before)),
    }


def z_scores(estimates, whole):
    """Of the mean of estimates in random directions."""
    directions = np.random.default_rng(7).standard_normal((N_DIRECTIONS, len(whole)))
    along = (estimates - whole) @ directions.T
    return along.mean(axis=0) / (along.std(axis=0, ddof=1) / np.sqrt(len(along)))


def trace(estimates):
    """Of the covariance of one estimate."""
    return estimates.var(axis=0, ddof=1).sum()


NAMES = ["uniform", "replacement", "importance", "learnt importance", "svrg", "svrg, importance"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_unbiased(name, found, setting):
    assert np.abs(z_scores(found[name], setting.whole)).max() < LIMIT


def test_a_bias_would_be_seen(setting):
    """Importance sampling with the weights of uniform sampling; a snapshot's gradient left out."""
    plan = WithReplacement(setting.source, BATCH_SIZE, 5, setting.source.norms)
    batches = (next(plan.epoch(e)) for e in range(N_REPEATS))
    wrong = np.full(BATCH_SIZE, 160 / BATCH_SIZE)
    biased = [setting.one(setting.gradient, None, Batch(b.rows, wrong)) for b in batches]
    assert np.abs(z_scores(np.array(biased), setting.whole)).max() > 2 * LIMIT


@pytest.mark.parametrize(
    ("name", "least"),
    [("importance", 2.0), ("learnt importance", 2.0), ("svrg", 10.0), ("svrg, importance", 30.0)],
)
def test_noise_is_below_that_of_uniform_batches(name, least, found):
    """Traces of the covariance; those of 400 estimates are known to about 10 %."""
    assert trace(found["uniform"]) > least * trace(found[name])


def test_learnt_norms_draw_no_worse_than_bounds(found):
    assert trace(found["learnt importance"]) < 1.2 * trace(found["importance"])


@pytest.mark.parametrize("name", ["replacement", "importance"])
def test_the_noise_reported_is_the_noise_there_is(name, found, setting):
    """Its mean over batches against the trace of the estimates' covariance, within 20 %."""
    norms = setting.source.norms if name == "importance" else None
    plan = WithReplacement(setting.source, BATCH_SIZE, 8, norms)
    reported = []
    for number in range(N_REPEATS):
        setting.one(setting.gradient, None, next(plan.epoch(number)))
        reported.append(setting.info["noise"])
    assert np.mean(reported) == pytest.approx(trace(found[name]), rel=0.2)


@pytest.mark.thorough
def test_the_noise_of_svrg_vanishes_at_the_snapshot(setting):
    """And grows with the way from there, as its square."""
    plan = ShuffledEpochs(setting.source, BATCH_SIZE, 4)
    at = setting.estimates(plan, *setting.svrg(setting.table(-1)))
    np.testing.assert_allclose(at, np.broadcast_to(setting.whole, at.shape), rtol=1e-8, atol=1e-8)
    traces = [trace(setting.estimates(plan, *setting.svrg(setting.table(i)))) for i in (-2, -4)]
    assert 0 < traces[0] < traces[1]


def test_svrg_takes_a_snapshot_every_so_many_steps(rng):
    """And converges at a constant rate, where uniform batches go on to scatter."""
    x = rng.standard_normal((60, 3))
    x[:3] *= 20
    source, model = InMemory(x), NormalMean(PRECISION)
    want = natural(model).estimate(None, model.zeros(), Batch(x, np.ones(60)), rng)[0]
    ends = {}
    for name in ("uniform", "svrg"):
        gradient = natural(model)
        if name == "svrg":
            gradient = corrected(gradient, lambda: Batch(source.all(), np.ones(60)), every=4)
        algorithm = ascend(gradient, constant(0.2))
        state, snapshots = algorithm.init(model.zeros()), []
        for number in range(10):
            for batch in ShuffledEpochs(source, 6, 1).epoch(number):
                state, info = algorithm.step(state, batch, rng)
                snapshots.append(info.get("snapshot"))
        ends[name] = np.abs(state.params.linear - want.linear).max() / np.abs(want.linear).max()
    assert snapshots[:9] == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert ends["svrg"] < 1e-8
    assert ends["uniform"] > 0.01


def test_svrg_is_refused_for_score_functions():
    noisy = Gradient(lambda params: None, lambda *_: None, pathwise=False)
    with pytest.raises(ValueError, match="score-function gradient's is not"):
        corrected(noisy, lambda: None, 3)
    with pytest.raises(ValueError, match="every is 0; wanted a number of steps >= 1"):
        corrected(natural(NormalMean(PRECISION)), lambda: None, 0)


def test_svrg_hands_both_calls_the_same_random_numbers(rng):
    drawn = []

    def estimate(state, params, batch, rng):
        drawn.append(rng.random())
        return np.zeros(1), state, {}

    gradient = corrected(Gradient(lambda params: None, estimate), lambda: None, 2)
    state = gradient.init(np.zeros(1))
    for _ in range(2):
        _, state, _ = gradient.estimate(state, np.zeros(1), None, rng)
    assert drawn[1] == drawn[2]  # after that of the snapshot
    assert drawn[3] == drawn[4] != drawn[1]


# Sliding windows


THOROUGH = pytest.param(1, marks=pytest.mark.thorough)


@pytest.mark.thorough
@pytest.mark.parametrize("length", [THOROUGH, 4, pytest.param(10, marks=pytest.mark.slow)])
def test_a_window_divides_the_noise_by_its_length_where_nothing_moves(length, setting):
    """Independent batches at fixed topics: unbiased, and 1 / length of the trace within 30 %."""
    gradient = averaged(natural(setting.model), length)
    plan = WithReplacement(setting.source, BATCH_SIZE, 9)
    state, estimates, rng = gradient.init(setting.params), [], np.random.default_rng(0)
    for t in range(N_REPEATS * length):
        direction, state, info = gradient.estimate(state, setting.params, next(plan.epoch(t)), rng)
        assert info["window"] == min(t + 1, length)
        if (t + 1) % length == 0:
            estimates.append(dense(direction, setting.params)[:, :4].ravel())
    estimates = np.array(estimates)
    assert np.abs(z_scores(estimates, setting.whole)).max() < LIMIT
    alone = trace(setting.estimates(WithReplacement(setting.source, BATCH_SIZE, 6)))
    assert trace(estimates) == pytest.approx(alone / length, rel=0.3)


def moving_bias(setting, length, rate, n_steps=12):
    """Error of windowed statistics of all documents, which have no noise, on the move.

    Relative to the movement of the statistics since the start.
    """
    gradient = averaged(natural(setting.model), length)
    algorithm = ascend(gradient, constant(rate))
    state, rng = algorithm.init(setting.table(0)), np.random.default_rng(0)
    for _ in range(n_steps):
        last = state._replace(params=LazyTable(state.params.dense(), setting.model.prior))
        state, _ = algorithm.step(state, setting.all, rng)
    smooth, exact, first = (
        dense(g.estimate(s, p, setting.all, rng)[0], p) + p.dense()
        for g, s, p in (
            (gradient, last.gradient, last.params),
            (setting.gradient, None, last.params),
            (setting.gradient, None, setting.table(0)),
        )
    )
    return np.linalg.norm(smooth - exact) / np.linalg.norm(first - exact)


def test_the_bias_of_a_window_grows_with_its_length_and_falls_as_the_fit_settles(setting):
    """Older batches were fitted to older topics; a window of one has no bias. A window of L lags
    behind by (L - 1) / 2 steps: at most that share of the way of n steps, doubled for ways that
    bend.
    """
    for rate in (0.02, 0.1):
        assert moving_bias(setting, 1, rate) < 1e-10
        short, long = (moving_bias(setting, length, rate) for length in (3, 10))
        assert 0.01 < short < 2 / 11
        assert short < long < 9 / 11
        assert moving_bias(setting, 10, rate, n_steps=30) < 0.5 * long


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="length is 0; wanted a number of batches >= 1"):
        averaged(natural(NormalMean(PRECISION)), 0)


# Plain gradients


def test_the_plain_gradient_is_that_of_the_bound(setting):
    """Central differences of the bound of all documents in log lambda; local steps are at their
    optimum, so that they do not count.
    """
    model = setting.model
    gradient, free = plain(model), model.coordinates.free(setting.table(3))
    found, _, _ = gradient.estimate(None, free, setting.all, None)

    def bound(free):
        params = model.coordinates.params(free)
        return model.local(params, setting.all, None, None).bound + model.global_bound(params)

    step = 1e-4
    for v, k in ((0, 0), (7, 2), (39, 3), (12, 1)):
        shift = np.zeros_like(free)
        shift[v, k] = step
        difference = (bound(free + shift) - bound(free - shift)) / (2 * step)
        assert found[v, k] == pytest.approx(difference, rel=1e-3, abs=1e-3)
    assert np.all(found[:, 4:] == 0)


def test_a_model_without_coordinates_has_no_plain_gradient():
    """A collapsed model has no bound that it could be the gradient of."""
    model = LDA(np.full(3, 0.2), 0.1, collapsed=True)
    with pytest.raises(ValueError, match="LDA has no unconstrained coordinates"):
        plain(model)
