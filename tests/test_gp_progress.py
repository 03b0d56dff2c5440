"""Progress bars of Gaussian processes and of fits of targets: what they count, and their end."""

import numpy as np
import pytest
import tqdm
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import fastvi
from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor
from fastvi.base.progress import Bar
from fastvi.core import Optimizer
from fastvi.loop import History

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
OPTIONS = {"inducing_points": 5, "max_iter": 7, "random_state": 0}
ESTIMATORS = [SparseGPRegressor(**OPTIONS), SVGP(**OPTIONS), SparseGPClassifier(**OPTIONS)]


@pytest.fixture
def bars(monkeypatch):
    """All bars that are made."""
    made = []

    class Bar(tqdm.tqdm):
        def __init__(self, *args, **kwargs):
            self.n_closed = 0
            made.append(self)
            super().__init__(*args, **kwargs)

        def close(self):
            self.n_closed += not self.disable
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return made


def data(rng, n=60):
    X = rng.normal(size=(n, 2))
    return X, (X.sum(axis=1) + 0.1 * rng.normal(size=n) > 0).astype(int)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_shows_a_bar(estimator, bars, capsys, rng):
    X, y = data(rng)
    quiet = clone(estimator).fit(X, y)
    assert not bars
    assert capsys.readouterr() == ("", "")
    model = clone(estimator).set_params(verbose=1).fit(X, y)
    (bar,) = bars
    assert bar.n == model.n_iter_ == 7
    assert bar.total == (None if isinstance(estimator, SparseGPRegressor) else 7)
    assert bar.n_closed == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"elbo {model.history_['elbo'][-1]:.10g}" in err
    np.testing.assert_array_equal(model.predict(X), quiet.predict(X))


def test_several_starts_have_one_bar(bars, rng):
    kernel = ConstantKernel(1.0, (0.1, 10.0)) * RBF(1.0, (0.1, 10.0))
    model = SparseGPRegressor(
        kernel, alpha=0.1, n_restarts_optimizer=2, verbose=1, inducing_points=5, random_state=0
    ).fit(*data(rng))
    (bar,) = bars
    assert bar.n_closed == 1
    assert bar.n > model.n_iter_


def interrupting(after):
    """An optimizer whose step of this number is interrupted."""

    def update(gradient, state, params):
        if state == after:
            raise KeyboardInterrupt
        return gradient._replace(**{k: 0 * v for k, v in gradient._asdict().items()}), state + 1, 0

    return Optimizer(lambda params: 0, update)


@pytest.mark.parametrize("estimator", [SVGP(**OPTIONS), SparseGPClassifier(**OPTIONS)])
def test_bars_of_steps_that_are_interrupted_are_closed(estimator, bars, rng):
    model = clone(estimator).set_params(verbose=1, optimizer=interrupting(3))
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(rng))
    assert [(bar.n, bar.n_closed) for bar in bars] == [(3, 1)]
    assert not hasattr(model, "kernel_")


def test_bars_of_iterations_that_are_interrupted_are_closed(bars, rng, monkeypatch):
    model = SparseGPRegressor(**OPTIONS, verbose=1)

    def update(self, n=1):
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm.tqdm, "update", update)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(rng))
    assert [bar.n_closed for bar in bars] == [1]
    assert not hasattr(model, "kernel_")


def test_there_is_no_bar_before_the_first_step(bars):
    """And what is known stays on it, where later steps do not report it."""
    bar = Bar(3, "steps")
    assert not bars
    bar.close()
    history = History()
    for values in ({"elbo": 1.0, "held_out": 2.0}, {"elbo": 3.0}):
        history.append(**values)
        bar.show(len(history), history.last())
    assert [bar.n for bar in bars] == [2]
    assert bar._bar.postfix == "elbo 3, held_out 2"
    bar.close()


def test_bars_of_targets_are_closed(bars):
    def bell(z, grad):
        grad[0], grad[1] = -z[0], -z[1]
        return -0.5 * (z[0] * z[0] + z[1] * z[1])

    target = fastvi.target(bell, dim=2)
    fastvi.fit(target, random_state=0, verbose=True)
    fastvi.svgd(target, n_particles=10, max_iter=5, random_state=0, verbose=True)
    assert [bar.n_closed for bar in bars] == [1, 1]
