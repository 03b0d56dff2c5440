"""What every estimator promises, whatever it fits: an entry in `CASES` brings these tests."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from stopping import Stopped, stopper

import fastvi
from fastvi import gradients, optimizers
from fastvi.base import archive, tree
from fastvi.checkpoints import KIND
from fastvi.core import Batch
from fastvi.models.estimator import Estimator
from fastvi.models.fits import fit_conjugate
from fastvi.models.plan import plan
from fastvi.models.topics import base

pytestmark = pytest.mark.jit
BATCHES = {"batch_size": 16, "max_iter": 3, "random_state": 1}
ASCENT = {"max_iter": 6, "tol": 0.0, "random_state": 1}
COUNTS = {"n_components": 3, "hierarchical": False}
PROCESS = {"n_components": 4}
CASES = {
    "mixture": (fastvi.BayesianGaussianMixture, {"n_components": 2} | ASCENT),
    "mixture, batches": (fastvi.BayesianGaussianMixture, {"n_components": 2} | BATCHES),
    "PCA": (fastvi.BayesianPCA, {"n_components": 2} | ASCENT),
    "factors, svrg": (
        fastvi.BayesianFactorAnalysis,
        {"n_components": 2, "variance_reduction": gradients.svrg(4)} | BATCHES,
    ),
    "features": (fastvi.BetaBernoulliFeatures, {"n_components": 2, "n_init": 1} | ASCENT),
    "features, batches": (
        fastvi.BetaBernoulliFeatures,
        {"n_components": 2, "n_init": 1, "variance_reduction": gradients.svrg(4)} | BATCHES,
    ),
    "logistic": (fastvi.BayesianLogisticRegression, {"prior": "ard"} | ASCENT),
    "logistic, window": (
        fastvi.BayesianLogisticRegression,
        {"variance_reduction": "window", "sampling": "adaptive"} | BATCHES,
    ),
    "Poisson": (fastvi.PoissonFactorization, {"n_components": 3} | ASCENT),
    "Poisson, batches": (
        fastvi.PoissonFactorization,
        COUNTS | BATCHES | {"variance_reduction": "window"},
    ),
    "HDP": (fastvi.HierarchicalDirichletProcess, PROCESS | ASCENT | {"batch_size": None}),
    "HDP, batches": (
        fastvi.HierarchicalDirichletProcess,
        PROCESS | BATCHES | {"variance_reduction": gradients.svrg(4)},
    ),
}
TOPICS = {"n_components": 3, "random_state": 1, "max_iter": 4, "learn_doc_topic_prior": True}
FITS = CASES | {  # what has its own files, or no steps of the toolbox
    "logistic, EP": (
        fastvi.BayesianLogisticRegression,
        {"solver": "ep", "prior": "ard"} | ASCENT,
    ),
    "topics": (fastvi.LatentDirichletAllocation, TOPICS | {"learn_topic_word_prior": True}),
    "topics, batches": (
        fastvi.LatentDirichletAllocation,
        TOPICS | {"solver": "svi", "batch_size": 16, "variance_reduction": "svrg"},
    ),
    "topics, structured": (
        fastvi.LatentDirichletAllocation,
        TOPICS | {"solver": "svi", "batch_size": 16, "structured": True},
    ),
    "correlated topics": (
        fastvi.CorrelatedTopicModel,
        {"n_components": 3, "random_state": 1, "max_iter": 5, "tol": 0.0},
    ),
    "neural topics": (
        fastvi.NeuralTopicModel,
        {"n_components": 3, "random_state": 1, "max_iter": 5, "batch_size": 16},
    ),
    "topics with labels": (
        fastvi.TopicClassifier,
        {"n_components": 3, "random_state": 1, "max_iter": 5, "tol": 0.0},
    ),
}
every_case = pytest.mark.parametrize("case", CASES)
every_fit = pytest.mark.parametrize("case", FITS)


def data():
    rng = np.random.default_rng(8)
    y = np.repeat([0, 1], 30)
    return np.floor(np.abs(rng.normal(size=(60, 4)) + 2 * y[:, None]) * 3), y


def made(case, **more):
    cls, options = FITS[case]
    return cls(**(options | more))


def fit(model, **options):
    X, y = data()
    if isinstance(model, (fastvi.BayesianLogisticRegression, fastvi.TopicClassifier)):
        return model.fit(X, y, **options)
    return model.fit(X, **options)


def found(model):
    """What a fit came to, as bits, but for the time it took."""
    method = "predict_proba" if hasattr(model, "predict_proba") else "transform"
    parts = {"predictions": getattr(model, method)(data()[0]).tobytes()}
    parts |= {k: v.tobytes() for k, v in model.history_.items() if k != "seconds"}
    names = ("means_", "covariances_", "components_", "coef_", "covariance_", "lambda_", "mean_")
    parts |= {name: np.asarray(getattr(model, name, 0)).tobytes() for name in names}
    for name in ("elbo_", "log_evidence_", "n_iter_", "converged_"):
        parts[name] = getattr(model, name, None)
    return parts


def calls(case):
    """How often a callback is called in a fit."""
    seen = []
    fit(made(case), callback=seen.append)
    return len(seen)


@every_case
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_noise_is_traced_where_it_is_asked_for(case):
    """Only the order of sums may differ: rows are then not summed up beforehand."""
    options = {"variance_reduction": None}  # the noise it leaves is not known
    traced, plain = (fit(made(case, trace_noise=flag, **options)) for flag in (True, False))
    assert np.all(traced.history_["noise"] > 0)
    assert ("noise" in plain.history_) == (plain.sampling == "adaptive")
    here, there = (np.frombuffer(found(model)["predictions"]) for model in (traced, plain))
    np.testing.assert_allclose(here, there, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="trace_noise is 1; wanted True or False"):
        fit(made(case, trace_noise=1))


# --- fits that fail change nothing ----------------------------------------------------------------


@every_fit
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_interrupted_fit_leaves_the_estimator_as_it_was(case):
    has_warm_start = "warm_start" in made(case).get_params()
    for options in ({}, {"warm_start": True})[: 1 + has_warm_start]:
        model = fit(made(case, **options))
        before, attributes = found(model), dict(vars(model))
        for n in (1, calls(case)):
            with pytest.raises(Stopped):
                fit(model, callback=stopper(n))
            assert vars(model) == attributes or found(model) == before
            assert vars(model).keys() == attributes.keys()
            assert all(vars(model)[k] is v for k, v in attributes.items())
        assert found(model) == before
    fresh = made(case)
    with pytest.raises(Stopped):
        fit(fresh, callback=stopper(2))
    assert vars(fresh) == vars(clone(fresh))


@every_fit
def test_a_fit_that_is_refused_leaves_the_estimator_as_it_was(case):
    model = fit(made(case))
    before = found(model)
    name = next(n for n in ("sampling", "solver", "max_iter") if n in model.get_params())
    model.set_params(**{name: "nonsense"})
    with pytest.raises(ValueError, match=f"{name} is 'nonsense'"):
        fit(model)
    assert found(model) == before


def test_an_interrupted_stream_leaves_the_estimator_as_it_was(monkeypatch):
    X = data()[0]
    model = made("Poisson, batches", variance_reduction=None).partial_fit(X).partial_fit(X)
    before, step = found(model), gradients.natural
    assert step is not None
    with pytest.raises(ValueError, match="Negative"):
        model.partial_fit(-X)
    stream, plan = model._stream, model._stream.plan
    n_steps = 0

    def failing(*args):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:
            raise KeyboardInterrupt
        return plan.algorithm.step(*args)

    algorithm = plan.algorithm._replace(step=failing)
    model._stream = stream._replace(plan=plan._replace(algorithm=algorithm))
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X)
    assert found(model) == before
    model._stream = stream
    whole = made("Poisson, batches", variance_reduction=None)
    assert found(model.partial_fit(X)) == found(whole.partial_fit(X).partial_fit(X).partial_fit(X))


@pytest.mark.parametrize("solver", ["svi", "scvb0"])
@pytest.mark.parametrize("more", [{}, {"optimizer": "adaptive"}, {"variance_reduction": "window"}])
def test_an_interrupted_stream_of_documents(solver, more, monkeypatch):
    """Its steps write into the rows of the topics there are, and these are put back."""
    X, original = data()[0], base.fit
    options = {"n_components": 3, "solver": solver, "batch_size": 16, "random_state": 1} | more
    model = fastvi.LatentDirichletAllocation(**options).partial_fit(X[:30]).partial_fit(X[30:])
    wanted = model.components_.tobytes()
    for n in (1, 3):

        def interrupted(*args, n=n, **options):
            def after_step(state, position, history):
                if len(history) == n:
                    raise KeyboardInterrupt

            return original(*args, after_step=after_step, **options)

        monkeypatch.setattr(base, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X)
        monkeypatch.setattr(base, "fit", original)
        del model._cached_model
        assert model.components_.tobytes() == wanted
    whole = fastvi.LatentDirichletAllocation(**options)
    for rows in (X[:30], X[30:], X):
        whole.partial_fit(rows)
    assert model.partial_fit(X).components_.tobytes() == whole.components_.tobytes()


@every_fit
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_a_fit_found_cannot_be_written_to(case):
    """Predictions would not change, whereas those of a file, or of a stream, might."""
    model = fit(made(case))
    names = [name for name in dir(model) if name.endswith("_") and not name.startswith("_")]
    arrays = [getattr(model, name) for name in names]
    arrays = [array for array in arrays if isinstance(array, np.ndarray)]
    assert arrays
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array


# --- steps are functions --------------------------------------------------------------------------


def step_of(case):
    """The bits of a step from fixed parameters, batch and seed."""
    kept = {}

    def spy(model, source, params, **options):
        options.pop("watch")
        options.pop("before", None)
        n_epochs, tol, seed = (options.pop(name) for name in ("n_epochs", "tol", "seed"))
        assert n_epochs
        assert tol is not None
        chosen = plan(model, source, seed=seed, **options)
        start = chosen.algorithm.init(chosen.begin(params))
        batch = Batch(source.all(), np.ones(source.n_rows))
        if options["batch_size"] is not None:
            batch = Batch(source.take(np.arange(9)), np.full(9, 3.0))
        results = []
        for _ in range(3):  # the second and third from copies, after others have been made
            state, _ = chosen.algorithm.step(tree.copy(start), batch, np.random.default_rng(3))
            results.append({k: np.asarray(v).tobytes() for k, v in tree.save(state).items()})
        kept.update(results[0])
        assert results[0] == results[1] == results[2]
        raise Stopped

    from fastvi.models import estimator

    estimator.fit_conjugate = spy
    try:
        fit(made(case))
    except Stopped:
        pass
    finally:
        estimator.fit_conjugate = fit_conjugate
    return kept


def print_steps():
    """All steps of all cases, for a process of its own."""
    print(pickle.dumps({case: step_of(case) for case in CASES}).hex())


def test_a_step_is_a_function_of_parameters_batch_and_seed(forks):
    """Here from copies, and in two other processes, which load kernels as every later one does.

    The process that compiles a kernel may round otherwise than those that load it.
    """
    for case in CASES:
        assert step_of(case)
    code = "import test_estimator_base as t; t.print_steps()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=os.path.dirname(__file__), capture_output=True, check=True, text=True,
    )  # fmt: skip
    first, second = (pickle.loads(bytes.fromhex(o)) for o in (done.stdout, forks.run(code)))
    for case in CASES:
        assert first[case] == second[case], case


# --- checkpoints ----------------------------------------------------------------------------------


@every_fit
def test_a_stopped_fit_goes_on_with_the_same_bits(case, tmp_path):
    whole, path = found(fit(made(case))), tmp_path / "fit.npz"
    for n in (2, calls(case)):
        options = {"checkpoint": path, "checkpoint_interval": 0.0}
        with pytest.raises(Stopped):
            fit(made(case), callback=stopper(n), **options)
        assert found(fit(made(case), checkpoint=path, resume=True)) == whole
        assert found(fit(made(case), checkpoint=path, resume=True)) == whole  # of a finished fit


def test_a_fit_may_go_on_for_more_passes_and_from_no_seed(tmp_path):
    path = tmp_path / "fit.npz"
    for case, seed in (("logistic, window", 1), ("logistic, window", None), ("mixture", None)):
        options = {"random_state": seed, "init_params": "random"} if case == "mixture" else {
            "random_state": seed
        }  # fmt: skip
        fit(made(case, **options, max_iter=2), checkpoint=path)
        longer = fit(made(case, **options, max_iter=4), checkpoint=path, resume=True)
        assert longer.n_iter_ == 4
        if seed is not None:
            assert found(longer) == found(fit(made(case, **options, max_iter=4)))


def test_checkpoints_of_other_fits_are_refused(tmp_path):
    path = tmp_path / "fit.npz"
    fit(made("logistic"), checkpoint=path)
    before = path.read_bytes()
    for changes, name in (({"prior": "gamma"}, "prior"), ({"random_state": 9}, "seed")):
        with pytest.raises(ValueError, match=f"fit.npz: checkpoint of another fit: {name} was"):
            fit(made("logistic", **changes), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="checkpoint of another fit: class was"):
        fit(made("PCA"), checkpoint=path, resume=True)
    X, y = data()
    with pytest.raises(ValueError, match="checkpoint of another fit: data was"):
        made("logistic").fit(X[:-1], y[:-1], checkpoint=path, resume=True)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="resume=True needs checkpoint"):
        fit(made("logistic"), resume=True)
    with pytest.raises(ValueError, match="checkpoint_interval is -1"):
        fit(made("logistic"), checkpoint=path, checkpoint_interval=-1)
    with pytest.raises(ValueError, match="wanted n_init=1"):
        fit(made("mixture", n_init=2), checkpoint=path)


def test_kill_9(tmp_path, forks):
    """A process that is killed in the middle of its steps, which save each time."""
    path, case = tmp_path / "fit.npz", "logistic, window"
    code = (
        "import sys, test_estimator_base as t\n"
        f"t.fit(t.made({case!r}, max_iter=10**6), checkpoint={str(path)!r},"
        " checkpoint_interval=0.0, callback=lambda s: print(s.n_steps, flush=True))"
    )
    child = forks.start(code, environment=os.environ, path=[os.path.dirname(__file__)])
    until = time.monotonic() + 60
    while not os.path.exists(child.out) or os.path.getsize(child.out) < 20:  # some ten steps
        assert time.monotonic() < until
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    assert forks.finish(child)[0] == -signal.SIGKILL
    n_passes = archive.load(path, KIND)[0]["position"][0] + 3
    whole = found(fit(made(case, max_iter=n_passes)))
    assert found(fit(made(case, max_iter=n_passes), checkpoint=path, resume=True)) == whole


# --- files ----------------------------------------------------------------------------------------


@every_case
def test_files(case, tmp_path):
    model, path = fit(made(case)), tmp_path / "model.npz"
    model.save(path)
    again = fastvi.load(path)
    assert type(again) is type(model)
    assert found(again) == found(model)
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()
    fit(again.set_params(warm_start=True))


@every_case
def test_files_that_do_not_fit_are_refused(case, tmp_path):
    path = tmp_path / "model.npz"
    fit(made(case)).save(path)
    header, arrays = archive.load(path, "estimator")
    changes = {
        "longer": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
        "another type": lambda a: np.zeros(a.shape, np.int8),
        "another shape": lambda a: a[None],
        "not a number": lambda a: np.full_like(a, np.nan),
    }
    n_columns = sum(name.startswith("history.") for name in arrays)
    for name, array in arrays.items():
        if name.startswith("compiled."):  # which the C library checks
            continue
        is_column = name.startswith("history.")
        for what, change in changes.items():
            if not array.size or (is_column and (what == "not a number" or n_columns == 1)):
                continue
            if name == "classes_" and what in ("another type", "not a number"):
                continue
            archive.save(path, "estimator", header, arrays | {name: change(array)})
            with pytest.raises(ValueError, match=r"model\.npz: "):
                fastvi.load(path)
        if not is_column:
            archive.save(path, "estimator", header, {k: v for k, v in arrays.items() if k != name})
            with pytest.raises(ValueError, match=r"model\.npz: "):
                fastvi.load(path)
    for key, value in (
        ("class", "os.system"), ("class", None), ("parameters", None), ("values", []),
        ("n_features", 0), ("n_features", 10**12), ("parameters", {"nonsense": 1}),
    ):  # fmt: skip
        archive.save(path, "estimator", header | {key: value}, arrays)
        with pytest.raises(ValueError, match=r"model\.npz: "):
            fastvi.load(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match=r"model\.npz"):
        fastvi.load(path)


CHOICES = {"prior": "gamma", "covariance_type": "diag", "init_params": "random", "solver": "ep"}
SAVED = [case for case, (cls, _) in FITS.items() if cls.save is Estimator.save]
CHOICES_OF = {"features": {"prior": "sticks"}, "correlated topics": {"solver": "bound"}}


def others(case, parameters):
    """Another value of each parameter that is a number, a flag, or a choice from above."""
    changed = CHOICES | CHOICES_OF.get(case, {})
    changed = {name: value for name, value in changed.items() if name in parameters}
    for name, value in parameters.items():
        if isinstance(value, bool):
            changed[name] = not value
        elif isinstance(value, (int, float)):
            changed[name] = value + 1
    return changed


@pytest.mark.parametrize("case", SAVED)
def test_files_hold_the_parameters_of_the_fit(case, tmp_path):
    """Those that are set later would not fit its arrays; they are set again after reading."""
    model, path = fit(made(case)), tmp_path / "model.npz"
    given, before = model.get_params(), found(model)
    changed = others(case, given)
    model.set_params(**changed).save(path)
    again = fastvi.load(path)
    assert again.get_params() == given | changed
    again.save(path)
    again = fastvi.load(path)
    assert again.get_params() == given | changed
    assert found(again.set_params(**given)) == before


def test_files_hold_arrays_of_the_fit_and_since(tmp_path):
    prior, since = np.arange(4.0), np.ones(4)
    model = fit(made("mixture", mean_prior=prior))
    model.set_params(mean_prior=since).save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.mean_prior, since)
    assert found(again) == found(model)
    assert archive.load(tmp_path / "m.npz", "estimator")[1]["parameters.mean_prior"][3] == 3.0


STREAMS = {
    "features": {"n_components": 3, "alpha": 2.0, "prior": "sticks", "optimizer": "adam"},
    "Poisson": {"a": 1.0, "row_tol": 0.1, "optimizer": "adam"},
    "HDP": {"n_components": 5, "concentration": 2.0},
}


@pytest.mark.parametrize("case", STREAMS)
def test_what_a_stream_rests_upon_must_not_change(case):
    """It would go on with what it was, and the estimator would say otherwise."""
    X, _ = data()
    options = {"batch_size": 30, "max_iter": 4}
    model = made(case, **options).partial_fit(X)
    given, before = model.get_params(), model.components_
    for name, value in STREAMS[case].items():
        with pytest.raises(ValueError, match=f"^{name} is {value!r} and was {given[name]!r} in "):
            model.set_params(**{name: value}).partial_fit(X)
        model.set_params(**{name: given[name]})
    np.testing.assert_array_equal(model.components_, before)
    model.set_params(batch_size=20, n_jobs=2).partial_fit(X)


def test_files_keep_names_and_labels(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = made("logistic").fit(frame, np.array(["no", "yes"])[y])
    model.save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz")
    assert again.predict(frame).tolist() == model.predict(frame).tolist()
    assert again.feature_names_in_.tolist() == list("abcd")


def test_what_a_file_cannot_hold(tmp_path):
    model = fit(made("logistic, window", optimizer=optimizers.constant(0.1)))
    with pytest.raises(ValueError, match=r"optimizer is .* which a file cannot hold"):
        model.save(tmp_path / "m.npz")
    model.set_params(optimizer=None, random_state=np.random.default_rng(0)).save(tmp_path / "m.npz")
    assert fastvi.load(tmp_path / "m.npz").random_state is None


# --- who is told ----------------------------------------------------------------------------------


@every_fit
def test_callbacks_and_logs(case, caplog):
    seen = []

    def callback(state):
        seen.append((state.epoch, state.step, len(state.values), state.n_steps))
        return state.epoch == 2

    with caplog.at_level(logging.INFO, "fastvi"):
        model = fit(made(case), callback=callback)
    assert model.n_iter_ == 2
    assert not getattr(model, "converged_", False)
    assert seen[-1][:2] == (2, 0)
    assert seen[-1][3] == len(model.history_["epoch"])
    assert [record.message.split(":")[0] for record in caplog.records] == ["pass 1", "pass 2"]


@pytest.mark.parametrize("random_state", [3, np.int64(3), np.random.default_rng(3), None])
def test_any_random_state(random_state):
    for case in ("mixture, batches", "Poisson, batches"):
        fit(made(case, random_state=random_state))


def test_documentation_is_filled_in():
    for cls, _ in FITS.values():
        for text in (cls.__doc__, cls.fit.__doc__):
            assert not any(line.strip().startswith("{") for line in text.splitlines())
        for name in cls().get_params():
            assert name in cls.__doc__, (cls, name)
        assert "checkpoint_interval" in cls.fit.__doc__


@pytest.mark.parametrize("name", ["mixture", "factors", "logistic", "poisson"])
def test_single_passes_that_go_on_converge(name):
    """Where one fit of many passes does: the bound of the pass before is remembered."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    estimator, data = {
        "mixture": (fastvi.BayesianGaussianMixture(n_components=1), (X,)),
        "factors": (fastvi.BayesianPCA(), (X,)),
        "logistic": (fastvi.BayesianLogisticRegression(), (X, X[:, 0] + rng.normal(size=200) > 0)),
        "poisson": (fastvi.PoissonFactorization(n_components=2), (rng.poisson(2.0, (60, 8)),)),
    }[name]
    estimator.set_params(warm_start=True, max_iter=1, tol=1e-3)
    if name != "logistic":
        estimator.set_params(random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first = next(i for i in range(1, 501) if estimator.fit(*data).converged_)
        at_once = clone(estimator).set_params(max_iter=500).fit(*data)
    assert first > 1
    assert abs(first - at_once.n_iter_) <= 1
