"""Checkpoints, callbacks and seeds of fits of targets: the same bits after an end at any time."""

import functools
import os
import signal
import time

import numpy as np
import pytest
from stopping import Stopped, stopper

import fastvi
from fastvi.checkpoints import Watching
from fastvi.families import blocks, sample

pytestmark = pytest.mark.jit
ROWS = np.random.default_rng(3).normal(size=(40, 2))


def bent(z, data, rows, weights, grad):
    """A normal mean, and a fourth power that keeps noise in every gradient."""
    value = -20.0 * z[0] ** 4 - 0.5 * z[1] ** 2
    grad[0] = -80.0 * z[0] ** 3
    grad[1] = -z[1]
    for i in range(rows.size):
        for j in range(2):
            away = data.X[rows[i], j] - z[j]
            value -= 0.5 * weights[i] * away * away
            grad[j] += weights[i] * away
    return value


@functools.cache
def target():
    """Compiled at its first use: not by each process that collects tests."""
    return fastvi.target(bent, data={"X": ROWS}, dim=2, rows="X")


def bits(posterior):
    columns = {k: v.tobytes() for k, v in posterior.history.items() if k != "seconds"}
    return posterior.mean.tobytes(), posterior.sample(3, 0).tobytes(), columns


FITS = {
    "natural": lambda **o: fastvi.fit(target(), tol=1e-9, n_draws=2, max_iter=300, **o),
    "rows": lambda **o: fastvi.fit(target(), batch_size=7, max_iter=60, **o),
    "plain": lambda **o: fastvi.fit(target(), "lowrank", tol=1e-6, max_iter=500, **o),
    "svrg": lambda **o: fastvi.fit(
        target(), method="plain", batch_size=7, variance_reduction="svrg", tol=1e-6, max_iter=500,
        **o,
    ),
    "score": lambda **o: fastvi.fit(
        target(), blocks(gaussian=2), tol=1e-6, max_iter=500, n_draws=8,
        variance_reduction=["control", "baseline", "overdispersion"], **o
    ),
    "sgd": lambda **o: fastvi.fit(
        target(), method="sgd", batch_size=8, tol=0.2, verdict=False, **o
    ),
    "svgd": lambda **o: fastvi.svgd(target(), 10, 30, **o),
    "svgd, rows": lambda **o: fastvi.svgd(
        target(), 10, 250, batch_size=7, optimizer="adagrad", dtype="float32", **o
    ),
    "svgd, sliced": lambda **o: fastvi.svgd(target(), 10, 20, method="sliced", **o),
    "operator": lambda **o: fastvi.operator_vi(target(), max_iter=350, n_draws=20, **o),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_an_interrupted_fit_goes_on_with_the_same_bits(name, tmp_path):
    fit, path = FITS[name], tmp_path / "fit.npz"
    whole = bits(fit(random_state=1))
    with pytest.raises(Stopped):
        fit(random_state=1, checkpoint=path, checkpoint_interval=0.0, callback=stopper(2))
    seen = []
    again = fit(random_state=1, checkpoint=path, resume=True, callback=seen.append)
    assert bits(again) == whole
    assert len(seen) > 0
    finished = fit(random_state=None, checkpoint=path, resume=True)  # the seed of the file
    assert bits(finished) == whole


PROGRAM = """
import fastvi
from test_fits_resumed import target, bits
p = fastvi.fit(target(), "lowrank", tol=1e-9, max_iter=1_000, random_state=2, checkpoint={path!r},
               checkpoint_interval=0.0, resume=True)
print(p.mean.tobytes().hex())
"""


def test_a_fit_that_was_killed_goes_on_with_the_same_bits(tmp_path, forks):
    """SIGKILL in another process, at no time of its choice."""
    path = tmp_path / "fit.npz"
    code = PROGRAM.format(path=str(path))
    process = forks.start(code, environment=os.environ, path=[os.path.dirname(__file__)])
    for _ in range(6000):
        if path.exists():
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    status, out, err = forks.finish(process)
    assert path.exists(), err
    assert (status, out) == (-signal.SIGKILL, "")
    again = forks.run(code)
    whole = fastvi.fit(target(), "lowrank", tol=1e-9, max_iter=1_000, random_state=2)
    assert again.split()[-1] == whole.mean.tobytes().hex()


def test_other_fits_are_refused(tmp_path):
    path = tmp_path / "fit.npz"
    fastvi.fit(target(), random_state=0, checkpoint=path)
    other = fastvi.target(bent, data={"X": ROWS + 1.0}, dim=2, rows="X")
    for of, options, what in (
        (target(), {"random_state": 1}, "seed"),
        (target(), {"family": "meanfield"}, "family"),
        (target(), {"tol": 0.1}, "tol"),
        (other, {}, "density"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint of another fit: {what} was"):
            fastvi.fit(of, **{"random_state": 0, "checkpoint": path, "resume": True, **options})
    with pytest.raises(ValueError, match="another fit"):
        fastvi.svgd(target(), 5, 3, random_state=0, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="resume=True needs checkpoint"):
        fastvi.fit(target(), resume=True)
    with pytest.raises(ValueError, match="which has no steps"):
        fastvi.fit(target(), method="laplace", checkpoint=path)
    assert Watching().seed(5) == 5


def test_a_callback_sees_the_fit_and_stops_it():
    seen = []

    def callback(state):
        seen.append(state)
        return len(seen) == 2

    p = fastvi.fit(target(), tol=1e-9, random_state=0, callback=callback)
    assert len(seen) == 2
    assert not p.settled
    assert seen[-1].n_steps == p.n_iter
    np.testing.assert_array_equal(seen[-1].params.mean, p.mean)
    assert set(seen[0].values) >= {"elbo", "rate", "rejected"}
    seen.clear()
    q = fastvi.svgd(target(), 10, 30, random_state=0, callback=callback)  # a step is a pass
    assert (len(seen), q.n_iter) == (2, 1)
    np.testing.assert_array_equal(seen[-1].params, q.particles)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng, int])
def test_every_seed_is_taken(make):
    p = fastvi.fit(target(), random_state=make(3))
    for function in (
        lambda: p.sample(2, make(3)),
        lambda: p.sample_parameters(2, make(3))["z"],
        lambda: sample(p.member, 2, make(3)),
        lambda: fastvi.fit(target(), random_state=make(3), max_iter=5).mean,
        lambda: fastvi.svgd(target(), 5, 2, random_state=make(3)).particles,
        lambda: fastvi.ksd(target(), p, n_draws=20, random_state=make(3)).value,
        lambda: fastvi.ksd_test(target(), p, n_draws=20, random_state=make(3)).replicates,
        lambda: target().check_gradient(random_state=make(3)),
    ):
        np.testing.assert_array_equal(function(), function())
