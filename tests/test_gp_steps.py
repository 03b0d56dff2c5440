"""Steps of Gaussian processes are functions, fits are all or nothing, likelihoods a protocol."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from stopping import Stopped, stopper
from thoroughly import mostly_thorough

import fastvi
from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor, optimizers
from fastvi.base import tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.batches import Everything, InMemory
from fastvi.core import Batch
from fastvi.loop import run
from fastvi.models.gp import model as gp_model
from fastvi.models.gp import sgpr
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.learner import HyperMoves, LearnSettings, learn
from fastvi.models.gp.likelihood import Expectation, Likelihood
from fastvi.models.gp.likelihoods import Gaussian
from fastvi.models.gp.model import SparseVariational
from fastvi.models.gp.rows import Points

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
OPTIONS = {"inducing_points": 6, "batch_size": 20, "max_iter": 8, "random_state": 0}
ESTIMATORS = {
    "gaussian": SVGP(),
    "counts": SVGP(likelihood="poisson"),
    "averages": SVGP(
        likelihood="student-t",
        optimizer=optimizers.averaged(optimizers.rmsprop()),
        natural_learning_rate=optimizers.adaptive(),
    ),
    "fixed": SVGP(learn_kernel=False, learn_inducing_points=False),
    "classes": SparseGPClassifier(),
}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def data(rng, name="gaussian", n=60):
    X = rng.uniform(-2, 2, size=(n, 2))
    f = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
    return X, np.digitize(f, [-0.5, 0.5]) if name in ("classes", "counts") else f


# Steps

STEPS = """
import pickle, sys
from fastvi.base import tree
from fastvi.base.parallel import single_threaded_blas

found = {}
for name, given in pickle.loads(bytes.fromhex(open(sys.argv[1]).read())).items():
    algorithm, state, batch, rng = pickle.loads(given)
    with single_threaded_blas():
        state, info = algorithm.algorithm().step(state, batch, rng)
    found[name] = tree.leaves(state), info
print(pickle.dumps(found).hex())
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, forks):
    """Of each estimator its fit and a batch, and what another process makes of copies of them."""
    fits, given = {}, {}
    for name, estimator in ESTIMATORS.items():
        X, y = data(np.random.default_rng(1), name)
        model = clone(estimator).set_params(**OPTIONS).fit(X, y)
        batch = Batch(Points(X[:20], y[:20].astype(float), np.ones(20)), np.full(20, 3.0))
        fits[name] = model, X, batch
        parts = model._learner, model._state, batch, np.random.default_rng(5)
        given[name] = pickle.dumps(parts)
    file = tmp_path_factory.mktemp("steps") / "given"
    file.write_text(pickle.dumps(given).hex())
    found = pickle.loads(bytes.fromhex(forks.run(STEPS, str(file))))
    return {name: (*fits[name], *found[name]) for name in ESTIMATORS}


def leaves_of(state):
    return [np.asarray(leaf).tobytes() for leaf in tree.leaves(state)]


@every_estimator
def test_a_step_is_a_function_of_state_batch_and_seed(name, elsewhere):
    """The same bits from a copy in another process, whatever was asked of the model before."""
    model, X, batch, want, told = elsewhere[name]
    learner, state = model._learner, model._state
    params = leaves_of(state.params)
    with single_threaded_blas():
        learner.model.at(learner.model.start(X[:6]).hyper)
        got, info = learner.algorithm().step(tree.copy(state), batch, np.random.default_rng(5))
    assert leaves_of(got) == leaves_of(tuple(want))
    assert info == told
    assert leaves_of(state.params) == params
    assert leaves_of(got) != leaves_of(state)


def test_draws_of_several_tasks_follow_from_the_generators_state(rng, monkeypatch):
    """Its state is all that a checkpoint keeps of a generator."""
    monkeypatch.setattr(gp_model, "TASK_FLOPS", 1e3)
    monkeypatch.setattr(gp_model, "chunk_rows", lambda m: 16)
    X, y = data(rng, "classes")
    model = SparseGPClassifier(**OPTIONS).fit(X, y)
    batch = Batch(Points(X, y.astype(float), np.ones(len(X))), np.ones(len(X)))
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    first.spawn(3)
    step = model._learner.algorithm().step
    bounds = [step(tree.copy(model._state), batch, each)[1]["elbo"] for each in (first, second)]
    assert bounds[0] == bounds[1]


# All or nothing


def everything_of(model):
    """What a user sees and files hold, and all that it has learned."""
    inner = [np.asarray(leaf).copy() for leaf in tree.leaves(getattr(model, "_state", ()))]
    shown = {
        key: value for key, value in vars(model).items()
        if key.endswith("_") and key not in ("history_", "kernel_")
    }  # fmt: skip
    shown = {key: np.array(value) for key, value in shown.items()}
    columns = {key: column.copy() for key, column in model.history_.items()}
    return shown, inner, columns, model.kernel_.theta.copy(), sorted(vars(model))


def interrupted(monkeypatch, owner, name, n_calls, run):
    """Run something in which a function is interrupted after so many calls."""
    calls, inner = iter(range(n_calls)), getattr(owner, name)

    def interrupting(*args, **kwargs):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return inner(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting)
        with pytest.raises(KeyboardInterrupt):
            run()


@every_estimator
@pytest.mark.parametrize(
    ("method", "n_calls"),
    mostly_thorough([("fit", 5), ("partial_fit", 2), ("fit", 0), ("fit", 9)], 2),
)
def test_an_interrupted_fit_leaves_what_was(name, method, n_calls, rng, tmp_path, monkeypatch):
    """Before the first step, between two, in the last pass over all rows; and in a stream."""
    X, y = data(rng, name)
    ours = clone(ESTIMATORS[name]).set_params(**OPTIONS)
    names, where = sorted(vars(ours)), (monkeypatch, gp_model.Prepared, "expect", n_calls)
    classes = {"classes": [0, 1, 2]} if (name, method) == ("classes", "partial_fit") else {}
    interrupted(*where, lambda: getattr(ours, method)(X, y, **classes))
    assert sorted(vars(ours)) == names
    want = everything_of(ours.fit(X, y))
    other = X[::-1].copy(), y[::-1].copy()
    interrupted(*where, lambda: getattr(ours, method)(*other))
    np.testing.assert_equal(everything_of(ours), want)
    again = clone(ours).fit(X, y)
    for model in (ours, again):
        model.partial_fit(*other)
    np.testing.assert_array_equal(ours.predict(X), again.predict(X))
    np.testing.assert_array_equal(ours.history_["elbo"], again.history_["elbo"])
    if name != "averages":  # no file holds an optimizer
        ours.save(tmp_path / "gp.npz")
        np.testing.assert_array_equal(fastvi.load(tmp_path / "gp.npz").predict(X), ours.predict(X))


@pytest.mark.parametrize("n_calls", [0, 1, 4])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_interrupted_regression_leaves_what_was(n_calls, rng, monkeypatch):
    X, y = data(rng)
    ours = SparseGPRegressor(inducing_points=6, max_iter=5, random_state=0)
    names, where = sorted(vars(ours)), (monkeypatch, sgpr.SparseRegression, "bound", n_calls)
    other = X[:, :1], np.column_stack((y, y))
    interrupted(*where, lambda: ours.fit(*other))
    assert sorted(vars(ours)) == names
    want = everything_of(ours.fit(X, y))
    interrupted(*where, lambda: ours.fit(*other))
    np.testing.assert_equal(everything_of(ours), want)
    assert ours.predict(X).shape == (60,)


# Checkpoints and those who watch

WATCHED = {
    **{name: estimator.set_params(**OPTIONS) for name, estimator in ESTIMATORS.items()},
    "growing": SVGP(sampling="growing", **OPTIONS),
    "adaptive": SVGP(sampling="adaptive", **OPTIONS),
    "collapsed": SparseGPRegressor(inducing_points=6, max_iter=9, random_state=0),
    "restarts": SparseGPRegressor(
        ConstantKernel(1.0, (0.1, 9.0)) * RBF(1.0, (0.1, 9.0)) + WhiteKernel(0.1, (1e-3, 1.0)),
        inducing_points=6, max_iter=6, n_restarts_optimizer=2, random_state=0,
    ),
}  # fmt: skip
every_watched = pytest.mark.parametrize("name", WATCHED)


def found(model, X):
    """What a fit came to, as bits, but for the time it took."""
    columns = {k: v.tobytes() for k, v in model.history_.items() if k != "seconds"}
    return model.predict(X).tobytes(), model.elbo_, model.n_iter_, columns


@every_watched
@pytest.mark.parametrize("scored", mostly_thorough([True, False]))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_stopped_fit_goes_on_with_the_same_bits(name, scored, rng, tmp_path):
    X, y = data(rng, name)
    val = {"X_val": X[:9], "y_val": y[:9]} if scored else {}
    whole, path = clone(WATCHED[name]).fit(X, y, **val), tmp_path / "fit.npz"
    for n_calls in (5,) if scored else (1, 5, 8):
        options = {"checkpoint": path, "checkpoint_interval": 0.0, **val}
        with pytest.raises(Stopped):
            clone(WATCHED[name]).fit(X, y, callback=stopper(n_calls), **options)
        seen = []
        again = clone(WATCHED[name]).fit(X, y, resume=True, callback=seen.append, **options)
        assert found(again, X) == found(whole, X)
        assert min(state.n_steps for state in seen) >= n_calls - 1
        assert np.all(np.diff(again.history_["seconds"]) >= 0)
        done = clone(WATCHED[name]).fit(X, y, resume=True, **options)
        assert found(done, X) == found(whole, X)


@pytest.mark.parametrize("name", ["gaussian", "collapsed"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_may_go_on_for_longer_but_not_with_others(name, rng, tmp_path):
    (X, y), path = data(rng), tmp_path / "fit.npz"
    clone(WATCHED[name]).set_params(max_iter=5).fit(X, y, checkpoint=path)
    whole = clone(WATCHED[name]).fit(X, y)
    longer = clone(WATCHED[name]).fit(X, y, checkpoint=path, resume=True)
    assert found(longer, X) == found(whole, X)
    for changes in ({"max_iter": 2}, {"kernel": RBF(1.0 + 1e-9) + WhiteKernel()},
                    {"inducing_points": 5}, {"random_state": 1}):  # fmt: skip
        with pytest.raises(ValueError, match="checkpoint"):
            clone(WATCHED[name]).set_params(**changes).fit(X, y, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="another fit: data was"):
        clone(WATCHED[name]).fit(X[1:], y[1:], checkpoint=path, resume=True)


@every_watched
def test_a_callback_sees_and_stops(name, rng, caplog):
    X, y = data(rng, name)
    seen = []

    def callback(state):
        seen.append((state.n_steps, state.values["elbo"], len(tree.leaves(state.params))))
        return state.n_steps == 4

    with caplog.at_level("INFO", "fastvi"):
        model = clone(WATCHED[name]).fit(X, y, callback=callback)
    assert model.n_iter_ == 4
    assert {n for n, *_ in seen} == {1, 2, 3, 4}
    assert seen[-1][1] == model.history_["elbo"][-1]
    assert seen[-1][2] == (2 if isinstance(model, SparseGPRegressor) else 5)
    assert np.isfinite(model.elbo_)
    assert any(record.message.startswith("pass 1: elbo") for record in caplog.records)
    if isinstance(model, SparseGPRegressor):
        assert not model.converged_


def test_held_out_rows_of_the_collapsed_bound(rng):
    X, y = data(rng)
    model = SparseGPRegressor(inducing_points=6, random_state=0).fit(X, y, X_val=X, y_val=y)
    assert len(model.history_["held_out"]) == model.n_iter_
    assert model.history_["held_out"][-1] == pytest.approx(model.score(X, y), abs=1e-12)


@every_watched
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_documentation_is_filled_in_and_any_random_state_will_do(name, rng):
    model = clone(WATCHED[name])
    for text in (model.__doc__, model.fit.__doc__):
        assert not any(line.strip().startswith("{") for line in text.splitlines())
    assert all(option in model.__doc__ for option in model.get_params(deep=False))
    X, y = data(rng, name)
    for random_state in (np.random.default_rng(3), np.random.RandomState(3), None):
        model.set_params(random_state=random_state, max_iter=2).fit(X, y)


# A likelihood from outside


class OwnNoise(Likelihood):
    """Gaussian noise that is no part of the kernel: the log of its variance is its own."""

    name = "own-noise"
    n_latents = 1
    own = np.log([0.5])
    is_conjugate = True

    def expect(self, y, mean, variance, values, rng):
        noise = np.exp(values.own[0])
        square = np.square(y - mean[:, 0]) + variance[:, 0]
        by_mean = ((y - mean[:, 0]) / noise)[:, None]
        return Expectation(
            -0.5 * (np.log(2 * np.pi * noise) + square / noise), by_mean,
            np.full((len(y), 1), -0.5 / noise), np.zeros(len(y)),
            (0.5 * (square / noise - 1.0))[:, None],
        )  # fmt: skip


def test_parameters_of_a_likelihood_are_learned_as_noise_is(rng):
    """The same fit as with white noise of that variance in the kernel, to rounding."""
    X, f = data(rng, n=100)
    y = f + 0.2 * rng.normal(size=100)
    kernel, found = ConstantKernel(1.5) * RBF([0.8, 1.3]), []
    for likelihood, each in ((OwnNoise(), kernel), (Gaussian(), kernel + WhiteKernel(0.5))):
        covariance = Covariance(each, 2)
        model = SparseVariational(covariance, likelihood, X.mean(axis=0))
        bounds = np.tile([-9.0, 9.0], (len(covariance.theta), 1))
        settings = LearnSettings(optimizers.constant(0.5), optimizers.adam(0.05))
        algorithm = learn(model, settings, HyperMoves(np.ones(2), bounds))
        state = algorithm.init(model.start(X[:9]))
        state, _ = run(
            algorithm,
            state,
            Everything(InMemory(Points(X, y, np.ones(len(X))))),
            n_epochs=20,
            rng=rng,
        )
        hyper = state.params.hyper
        found.append((np.concatenate((hyper.theta, hyper.own)), hyper.z, state.params.sites.linear))
    for ours, want in zip(*found):
        np.testing.assert_allclose(ours, want, rtol=1e-6, atol=1e-8)
    assert found[0][0][-1] != np.log(0.5)
