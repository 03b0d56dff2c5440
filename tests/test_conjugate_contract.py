"""What every conjugate model promises with every tool: an entry in `conjugate.MODELS` brings these
tests.
"""

import functools
from copy import copy as copied

import numpy as np
import pytest
from cases import from_file, in_file
from conjugate import MODELS
from thoroughly import mostly_thorough

from fastvi import gradients, loop, optimizers
from fastvi.base import parallel, tree
from fastvi.core import Batch, LazyTable
from fastvi.gradients import plain
from fastvi.models.acceleration import accelerated
from fastvi.models.fits import fit_conjugate
from fastvi.models.plan import SAMPLING, plan
from fastvi.models.streaming import streaming

pytestmark = pytest.mark.jit

BATCH_SIZE = 16
TOOLS = {
    "Robbins-Monro": {},
    "constant": {"optimizer": 0.1},
    "adaptive": {"optimizer": "adaptive"},
    "averaged": {"optimizer": optimizers.averaged(optimizers.constant(0.1), 5)},
    "clipped": {"optimizer": optimizers.chain(optimizers.clip(1e3), optimizers.constant(0.1))},
    **{name: {"sampling": name} for name in SAMPLING[1:]},
    "window": {"variance_reduction": "window"},
    "svrg": {"variance_reduction": "svrg", "optimizer": 0.1},
    "window of 3": {"variance_reduction": gradients.window(3)},
    "svrg, importance": {"variance_reduction": "svrg", "sampling": "importance", "optimizer": 0.1},
    "noise traced": {"trace_noise": True},
}
TOOLS = {name: {"batch_size": BATCH_SIZE} | tools for name, tools in TOOLS.items()}
TOOLS["coordinate ascent"] = {}
TOOLS["all rows, a short step"] = {"optimizer": 0.5}
ACCELERATED = {"accelerated": {"ascent": accelerated}}  # for models that have units
PER_COORDINATE = {
    name: {"batch_size": BATCH_SIZE, "optimizer": getattr(optimizers, name)(rate)}
    for name, rate in (("adagrad", 0.5), ("rmsprop", 0.05), ("adam", 0.05), ("amsgrad", 0.05))
}
# Tools know of a model only whether its parameters are whole arrays or lazy tables, so one model of
# each form meets all of them. The others meet those that ask something of the model: its own steps,
# norms and snapshots, noise, and coordinates.
EVERY_TOOL = [*TOOLS, *PER_COORDINATE]
EVERY_TOOL_MODELS = ("mixture, diagonal", "poisson")
ASKING = ["coordinate ascent", "svrg, importance", "coupled", "adam"]
PAIRS = [
    (model, tool)
    for model, entry in MODELS.items()
    for tool in (EVERY_TOOL if model in EVERY_TOOL_MODELS else ASKING)
    if entry.coordinates or tool not in PER_COORDINATE
]
PAIRS += [(model, "accelerated") for model in MODELS if model.startswith("logistic")]
# Variants that share all but their priors or their covariances with another model.
VARIANTS = (
    "logistic, ard", "logistic, classes, ard", "mixture, tied", "mixture, spherical",
    "factor analysis", "poisson, hierarchical",
)  # fmt: skip
OF_VARIANTS = ("coordinate ascent", "svrg, importance", "accelerated")
every_model = pytest.mark.parametrize("model", MODELS)
every_pair = pytest.mark.parametrize(
    ("model", "tool"),
    mostly_thorough(PAIRS, lambda pair: pair[0] not in VARIANTS or pair[1] in OF_VARIANTS),
)
# Plain gradients of each model are compared with its bound; what rates then do is up to no model.
every_pair_with_long_ones_thorough = pytest.mark.parametrize(
    ("model", "tool"),
    mostly_thorough(
        PAIRS,
        lambda pair: (
            (pair[1] not in PER_COORDINATE or pair[0] in EVERY_TOOL_MODELS)
            and (pair[0] not in VARIANTS or pair[1] == "coordinate ascent")
        ),
    ),
)


def options_of(tool):
    return (TOOLS | PER_COORDINATE | ACCELERATED)[tool]


def dense(params):
    return tree.map_leaves(lambda x: x.dense() if isinstance(x, LazyTable) else np.array(x), params)


def bits(params, history):
    parts = [leaf.tobytes() for leaf in tree.leaves(dense(params))]
    columns = [np.array(v).tobytes() for name, v in sorted(history.items()) if name != "seconds"]
    return b"".join(parts + columns)


def fitted(name, options, n_epochs=4, n_threads=1, seed=3):
    model, source, start = MODELS[name].make(n_threads)
    return fit_conjugate(model, source, start, n_epochs=n_epochs, seed=seed, **options)


def everything(source):
    return Batch(source.all(), np.ones(source.n_rows))


@every_pair
def test_the_same_bits_for_one_seed_and_any_number_of_threads(model, tool, monkeypatch):
    split, most = parallel.split, []

    def finer(work, target):
        bounds = split(work, target / 20000)
        most.append(len(bounds) - 1)
        return bounds

    monkeypatch.setattr(parallel, "split", finer)
    options = options_of(tool)
    results = {
        bits(fit.params, fit.history)
        for fit in (fitted(model, options, n_epochs=3, n_threads=n) for n in (1, 8))
    }
    assert len(results) == 1
    assert max(most) > 1
    if "batch_size" in options:
        other = fitted(model, options, n_epochs=3, seed=4)
        assert bits(other.params, other.history) not in results


@functools.cache
def after_ascent(model):
    """Parameters after 15 passes of coordinate ascent; not to be changed."""
    return fitted(model, {}, n_epochs=15).params


@every_pair_with_long_ones_thorough
def test_the_bound_rises(model, tool):
    """By at least half of what 15 passes of coordinate ascent gain; rates for each coordinate,
    which know nothing of the model, have four times as many, in the plain run on two models.
    """
    entry, options = MODELS[model], options_of(tool)
    if not entry.bound:
        pytest.skip("the model has no bound")
    instance, source, start = entry.make(1)
    rng = np.random.default_rng(0)

    def bound(params):
        local = instance.local(params, everything(source), None, rng)
        return local.bound + instance.global_bound(params)

    before = bound(start)
    best = bound(after_ascent(model))
    n_epochs = 60 if tool in PER_COORDINATE else 15
    found = bound(fitted(model, options, n_epochs=n_epochs).params)
    assert found - before > 0.5 * (best - before) > 0


@pytest.mark.thorough
@every_pair
def test_a_fit_resumed_ends_with_the_same_bits(model, tool):
    """After its first step, and in the midst of an epoch; solvers of topics go on from anywhere."""
    options = options_of(tool)
    saved = []

    def begun():
        instance, source, start = MODELS[model].make(1)
        chosen = plan(instance, source, seed=3, **options)
        return chosen, chosen.algorithm.init(chosen.begin(start))

    def run(chosen, state, **more):
        return loop.run(
            chosen.algorithm, state, chosen.batches, n_epochs=3, rng=np.random.default_rng(0),
            **more,
        )  # fmt: skip

    def save(state, position, history):
        columns = {k: list(v) for k, v in history.columns.items()}
        learnt = in_file(chosen.batches.save())
        saved.append((position, in_file(tree.save(state, "s")), learnt, columns))

    chosen, state = begun()
    state, history = run(chosen, state, after_step=save)
    want = bits(chosen.read(state), history.columns)
    for position, file, learnt, columns in (saved[0], saved[len(saved) // 2]):
        again, state = begun()
        again.batches.restore(from_file(learnt))
        history = loop.History()
        history.columns = columns
        state, history = run(
            again, tree.restore(state, from_file(file), "s"), position=position, history=history
        )
        assert bits(again.read(state), history.columns) == want, position


@every_model
def test_statistics_are_sums_over_rows_and_so_are_their_norms(model):
    """Statistics of weighted rows are the weighted sum of theirs: with it, every batch whose
    weights are 1 / (expected number of draws) is unbiased.
    """
    entry = MODELS[model]
    instance, source, start = entry.make(1)
    rng = np.random.default_rng(0)
    weights = rng.gamma(0.5, size=source.n_rows)
    whole = instance.local(start, Batch(source.all(), weights), None, rng, norms=True)
    total, bound = None, 0.0
    for i in range(source.n_rows):
        batch = Batch(source.take(np.array([i])), weights[i : i + 1])
        one = instance.local(start, batch, None, rng)
        parts = entry.sums(one.statistics)
        total = parts if total is None else [a + b for a, b in zip(total, parts)]
        bound += one.bound
        norm = np.sqrt(sum(np.square(part).sum() for part in parts)) / weights[i]
        assert whole.norms[i] == pytest.approx(norm, rel=1e-6, abs=1e-12)
    for ours, want in zip(entry.sums(whole.statistics), total):
        np.testing.assert_allclose(ours, want, rtol=1e-8, atol=1e-10)
    if entry.bound:
        assert whole.bound == pytest.approx(bound)
    if entry.norms:
        assert np.all(whole.norms <= source.norms * (1 + 1e-6))


@every_model
def test_the_batches_of_an_epoch_average_to_the_whole(model):
    entry = MODELS[model]
    instance, source, start = entry.make(1)
    rng = np.random.default_rng(0)
    want = entry.sums(instance.local(start, everything(source), None, rng).statistics)
    batches = list(plan(instance, source, batch_size=BATCH_SIZE, seed=1).batches.epoch(0))
    total = [np.zeros_like(part) for part in want]
    for batch in batches:
        share = len(batch.weights) / source.n_rows
        parts = entry.sums(instance.local(start, batch, None, rng).statistics)
        total = [a + share * b for a, b in zip(total, parts)]
    for ours, theirs in zip(total, want):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


@every_pair
def test_nothing_given_is_written_to(model, tool):
    options = options_of(tool)
    instance, source, start = MODELS[model].make(1)
    arrays = [*MODELS[model].data(source), *tree.leaves(instance.prior)]
    before = [array.copy() for array in arrays]
    fit_conjugate(instance, source, start, n_epochs=2, **options)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)


REFUSED = {
    "optimizer": ({"optimizer": "sgd"}, "optimizer is 'sgd'; wanted"),
    "rate": ({"batch_size": 8, "optimizer": 1.5}, "optimizer is 1.5; wanted a rate"),
    "sampling": ({"batch_size": 8, "sampling": "often"}, "sampling is 'often'; wanted one of"),
    "a pair": (
        {"batch_size": 8, "variance_reduction": ("svrg", 100)},
        r"variance_reduction is \('svrg', 100\); wanted",
    ),
    "a tool for scores": (
        {"batch_size": 8, "variance_reduction": gradients.control()},
        r"variance_reduction is fastvi.gradients.control\(\); wanted None, 'svrg', 'window', or",
    ),
    "reduction": ({"batch_size": 8, "variance_reduction": "saga"}, "variance_reduction is 'saga'"),
    "gradient": ({"gradient": "steep"}, "gradient is 'steep'"),
    "batch size": ({"batch_size": 0}, "batch_size is 0; wanted a number of rows >= 1"),
    "sampling all": ({"sampling": "importance"}, "every row is in each step"),
    "reducing nothing": ({"variance_reduction": "svrg"}, "has no noise"),
    "plain window": (
        {"batch_size": 8, "variance_reduction": "window", "optimizer": "adam"},
        "works on natural gradients",
    ),
    "growing with what is reduced": (
        {"batch_size": 8, "variance_reduction": "svrg", "sampling": "growing"},
        "leaves noise that one batch cannot estimate",
    ),
    "traced noise of what is reduced": (
        {"batch_size": 8, "variance_reduction": "window", "trace_noise": True},
        "leaves noise that one batch cannot estimate",
    ),
    "coupled to many rates": (
        {"batch_size": 8, "optimizer": "adam", "sampling": "coupled"},
        "needs one rate for all coordinates",
    ),
}


@every_model
def test_nonsense_is_refused_with_a_reason(model):
    instance, source, _ = MODELS[model].make(1)
    for options, message in REFUSED.values():
        with pytest.raises(ValueError, match=message):
            plan(instance, source, **options)


@every_model
def test_a_rate_still_to_be_found_is_no_convergence(model):
    """The adaptive rate's first steps are of length 0."""
    if not MODELS[model].bound:
        pytest.skip("the model has no bound")
    instance, source, start = MODELS[model].make(1)
    fit = fit_conjugate(instance, source, start, n_epochs=8, tol=1e-12, optimizer="adaptive")
    assert fit.n_iter == 8
    assert not fit.converged


@every_model
def test_streams_refuse_what_is_no_sum_over_rows(model):
    instance, source, start = MODELS[model].make(1)
    rng = np.random.default_rng(0)
    if not instance.local(start, everything(source), None, rng).common:
        pytest.skip("all of its statistics are sums over rows")
    algorithm = streaming(instance)
    with pytest.raises(ValueError, match="statistics that are not sums over rows"):
        algorithm.step(algorithm.init(start), everything(source), rng)


@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if not entry.coordinates])
def test_rates_for_each_coordinate_need_coordinates(model):
    instance, source, _ = MODELS[model].make(1)
    for options in ({"optimizer": "adam"}, {"gradient": "plain"}):
        with pytest.raises(ValueError, match="has no unconstrained coordinates"):
            plan(instance, source, batch_size=8, **options)


def test_snapshots_are_taken_as_often_as_asked():
    for number, period in ((None, 16), (5, 5)):
        reduction = gradients.svrg(number)
        options = {"batch_size": BATCH_SIZE, "optimizer": 0.1, "variance_reduction": reduction}
        history = fitted("logistic", options, n_epochs=4).history
        taken = np.flatnonzero(history["snapshot"])
        assert np.all(np.diff(taken) == period)


@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if entry.coordinates])
def test_the_plain_gradient_is_that_of_the_bound(model):
    """Central differences of the bound of all rows in random directions, at the start and near it;
    local steps are at their optimum, so that they do not count.
    """
    instance, source, start = MODELS[model].make(1)
    coordinates, rng = instance.coordinates, np.random.default_rng(5)
    rows, step = everything(source), 1e-5
    if hasattr(instance, "tol"):  # its local steps are iterations
        instance = copied(instance)
        vars(instance).update(tol=1e-13, max_iter=20000)

    def bound(free):
        params = coordinates.params(free)
        return instance.local(params, rows, None, rng).bound + instance.global_bound(params)

    free = coordinates.free(start)
    for _ in range(3):
        found = plain(instance).estimate(None, free, rows, rng)[0]
        for _ in range(5):
            way = tree.map_leaves(lambda x, y: rng.normal(size=x.shape) * (y != 0), free, found)
            ends = [
                bound(tree.map_leaves(lambda x, y, s=s: x + s * y, free, way))
                for s in (step, -step)
            ]
            along = sum(np.vdot(a, b) for a, b in zip(tree.leaves(found), tree.leaves(way)))
            size = np.sqrt(sum(np.vdot(a, a) for a in tree.leaves(found)))
            assert along == pytest.approx(
                (ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-3 * size
            )
        free = tree.map_leaves(lambda x, y: x + 0.05 * rng.normal(size=x.shape), free, free)


@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if entry.coordinates])
def test_coordinates_go_there_and_back(model):
    instance, source, start = MODELS[model].make(1)
    coordinates, rng = instance.coordinates, np.random.default_rng(5)

    def bound(params):
        local = instance.local(params, everything(source), None, rng)
        return local.bound + instance.global_bound(params)

    free = coordinates.free(start)
    again = coordinates.free(coordinates.params(free))
    for ours, want in zip(tree.leaves(again), tree.leaves(free)):
        np.testing.assert_allclose(ours, want, rtol=1e-8, atol=1e-8)
    assert bound(coordinates.params(free)) >= bound(start) - 1e-8 * abs(bound(start))
