"""Checkpoints, callbacks, scores and logs of fits, on the normal mean of `test_core`."""

import logging
from typing import NamedTuple

import numpy as np
import pytest
from stopping import Stopped, stopper
from test_core import PRECISION, NormalMean

from fastvi import gradients, loop, optimizers
from fastvi.base import archive
from fastvi.batches import AdaptiveImportance, InMemory, ShuffledEpochs
from fastvi.checkpoints import KIND, Checkpoints, described, digest
from fastvi.core import Algorithm, ascend
from fastvi.gradients.natural import natural

N_EPOCHS = 4
ROWS = InMemory(np.random.default_rng(5).normal(size=(60, 3)))


class Noisy(NamedTuple):
    """A state around another, and what its steps drew."""

    inner: object
    drawn: float


def algorithm():
    """Steps that use the generator, with a state of several levels."""
    model = NormalMean(PRECISION)
    optimizer = optimizers.averaged(optimizers.robbins_monro(), 3)
    inner = ascend(gradients.averaged(natural(model, noise=True), 3), optimizer)

    def step(state, batch, rng):
        new, info = inner.step(state.inner, batch, rng)
        drawn = float(rng.normal())
        return Noisy(new, drawn), info | {"drawn": drawn, "norms": natural_norms(batch)}

    return Algorithm(lambda params: Noisy(inner.init(params), 0.0), step)


def natural_norms(batch):
    return np.abs(batch.rows).sum(axis=1) + 1.0


def first_number(state):
    return float(state.inner.params.linear[0])


def fit(n_epochs=N_EPOCHS, stop=None, plan=AdaptiveImportance, **options):
    """Its last state's numbers and its history but for the time."""
    chosen, batches, rng = algorithm(), plan(ROWS, 16, 3), np.random.default_rng(7)
    watch = loop.Watch(**options)
    with watch:
        state = chosen.init(NormalMean(PRECISION).zeros())
        state, position, history = watch.begin(state, batches, rng, n_epochs)
        state, history = loop.run(
            chosen, state, batches, n_epochs=n_epochs, rng=rng, position=position,
            history=history, watch=watch,
        )  # fmt: skip
    columns = {k: v for k, v in history.arrays().items() if k != "seconds"}
    return np.concatenate([*state.inner.params]).tobytes(), {
        k: v.tobytes() for k, v in columns.items()
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.npz"


@pytest.mark.parametrize("plan", [AdaptiveImportance, ShuffledEpochs])
@pytest.mark.parametrize("at", [1, 4, 5, 6, 20])
def test_a_killed_fit_goes_on_with_the_same_bits(plan, at, path):
    whole = fit(plan=plan, held_out=first_number)
    options = {"plan": plan, "held_out": first_number}
    with pytest.raises(Stopped):
        fit(checkpoints=Checkpoints(path, {}, 0.0), callback=stopper(at), **options)
    assert path.exists()
    assert fit(checkpoints=Checkpoints(path, {}), resume=True, **options) == whole


def test_a_finished_fit_goes_on_for_more_passes(path):
    short = fit(2, checkpoints=Checkpoints(path, {}))
    assert fit(2, checkpoints=Checkpoints(path, {}), resume=True) == short
    assert fit(checkpoints=Checkpoints(path, {}), resume=True) == fit()
    with pytest.raises(ValueError, match="is beyond 2 passes"):
        fit(2, checkpoints=Checkpoints(path, {}), resume=True)


def test_without_resume_a_fit_starts_at_the_beginning(path):
    fit(2, checkpoints=Checkpoints(path, {}))
    assert fit(checkpoints=Checkpoints(path, {})) == fit()
    path.unlink()
    assert fit(checkpoints=Checkpoints(path, {}), resume=True) == fit()


def test_saves_come_at_intervals(path, monkeypatch):
    saved = []
    monkeypatch.setattr(archive, "save", lambda path, kind, header, arrays: saved.append(header))
    fit(2, checkpoints=Checkpoints(path, {}, 1e9))
    assert [header["position"] for header in saved] == [[2, 0]]
    saved.clear()
    fit(1, checkpoints=Checkpoints(path, {}, 0.0))
    assert [header["position"] for header in saved] == [[0, 1], [0, 2], [0, 3], [0, 4], [1, 0]]


def test_a_checkpoint_of_another_fit_is_refused(path):
    fit(1, checkpoints=Checkpoints(path, {"seed": 3, "rate": [1, 2]}))
    with pytest.raises(ValueError, match="another fit: seed was 3 and is 4"):
        fit(checkpoints=Checkpoints(path, {"seed": 4}), resume=True)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another fit: more was None and is 1"):
        fit(checkpoints=Checkpoints(path, {"seed": 3, "more": 1}), resume=True)
    assert path.read_bytes() == before


CHANGES = {
    "longer": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
    "another type": lambda a: np.zeros(a.shape, np.int8),
    "another shape": lambda a: a[None],
    "gone": None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_arrays_that_do_not_fit_are_refused(change, path):
    fit(1, checkpoints=Checkpoints(path, {}))
    header, arrays = archive.load(path, KIND)
    for name in arrays:
        changed = dict(arrays)
        if CHANGES[change] is None:
            if name.startswith("history."):
                continue
            del changed[name]
        else:
            changed[name] = CHANGES[change](arrays[name])
        archive.save(path, KIND, header, changed)
        with pytest.raises(ValueError, match=r"fit\.npz: "):
            fit(checkpoints=Checkpoints(path, {}), resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": [-1, 0]}, {"position": ["x", 0]}, {"position": [1]}, {"position": None},
        {"position": [99, 0]}, {"identity": None}, {"generator": None}, {"generator": {}},
        {"generator": {"bit_generator": "PCG64", "state": {"state": 2**200, "inc": 1}}},
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_are_refused(changes, path):
    fit(1, checkpoints=Checkpoints(path, {"a": 1}))
    header, arrays = archive.load(path, KIND)
    archive.save(path, KIND, {**header, **changes}, arrays)
    with pytest.raises(ValueError, match=r"fit\.npz: "):
        fit(checkpoints=Checkpoints(path, {"a": 1}), resume=True)


def test_damaged_files_are_refused(path):
    fit(1, checkpoints=Checkpoints(path, {}))
    raw = path.read_bytes()
    for cut in (0, 10, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(ValueError, match=r"fit\.npz: "):
            fit(checkpoints=Checkpoints(path, {}), resume=True)


def test_leftovers_of_killed_saves_are_removed(path):
    fit(1, checkpoints=Checkpoints(path, {}))
    (path.parent / "fit.npz.123-0123abcd.tmp").write_text("half")
    (path.parent / "other.npz.123-0123abcd.tmp").write_text("another's")
    fit(checkpoints=Checkpoints(path, {}), resume=True)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "fit.npz", "other.npz.123-0123abcd.tmp",
    ]  # fmt: skip


def test_descriptions_are_the_same_in_each_process():
    adam, other = optimizers.adam(0.1), optimizers.adam(0.2)
    assert described(adam) == described(optimizers.adam(0.1)) != described(other)
    assert "0x" not in str(described(optimizers.averaged(optimizers.chain(adam))))
    assert described(gradients.svrg(5)) != described(gradients.svrg(6))
    assert described({"a": np.float32(1.5)}) == {"a": 1.5}
    x = np.arange(12.0).reshape(3, 4)
    assert described(x) == digest(x) == digest(np.asfortranarray(x)) != digest(x.T)
    assert digest(x) != digest(x.astype("f4"))


# --- callbacks, scores, logs ----------------------------------------------------------------------


def test_callbacks_see_each_step_and_each_pass():
    seen = []
    fit(2, callback=seen.append, held_out=lambda params: float(len(seen)))
    assert [(s.epoch, s.step, s.n_steps) for s in seen] == [
        (0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 4), (1, 0, 4),
        (1, 1, 5), (1, 2, 6), (1, 3, 7), (1, 4, 8), (2, 0, 8),
    ]  # fmt: skip
    assert [s.values.get("held_out") for s in seen] == [*[None] * 4, 4.0, *[None] * 4, 9.0]
    assert {"rate", "drawn", "batch_size"} < set(seen[0].values)
    assert [s.seconds for s in seen] == sorted(s.seconds for s in seen)


def test_a_callback_stops_the_fit(path):
    watch = {"callback": lambda state: state.n_steps == 3, "held_out": lambda params: 1.5}
    _, history = fit(checkpoints=Checkpoints(path, {}), **watch)
    assert len(np.frombuffer(history["rate"])) == 3
    assert np.frombuffer(history["held_out"])[-1] == 1.5  # though the pass is not over
    assert archive.load(path, KIND)[0]["position"] == [0, 3]


def test_passes_are_logged(caplog):
    with caplog.at_level(logging.INFO, "fastvi"):
        fit(2, held_out=lambda params: -1.25)
        fit(2, log_passes=False)
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("pass 1: local_elbo 0, held_out -1.25, ")


def test_steps_are_limited():
    history = loop.History()
    for limit in (3, 5, 5):
        loop.run(
            Algorithm(list, lambda state, batch, rng: (state, {"n": 1.0})), [],
            ShuffledEpochs(ROWS, 20, 0), n_epochs=9, rng=np.random.default_rng(0),
            position=loop.Position(len(history) // 3, len(history) % 3), history=history,
            max_steps=limit,
        )  # fmt: skip
        assert len(history) == limit


def test_scores_that_are_nan_are_not_the_best():
    """They count as passes without a better one, once there is one."""
    nan = float("nan")

    def stopped(*scores):
        left = iter(scores)
        options = {"plan": ShuffledEpochs, "held_out": lambda _: next(left), "patience": 2}
        return fit(9, **options)[0]

    assert stopped(nan, 1.0, nan, nan, 9.0) == fit(2, plan=ShuffledEpochs)[0]
    assert stopped(*[nan] * 10) == fit(9, plan=ShuffledEpochs)[0]


def test_early_stopping_returns_the_best_state_and_resumes(path):
    """The score is best after the second pass; a killed fit resumes to the same best state."""

    def options(scores, **more):
        return {"plan": ShuffledEpochs, "held_out": lambda _: next(scores)} | more

    two = fit(2, plan=ShuffledEpochs)[0]
    best, history = fit(9, **options(iter([1.0, 3.0, 2.0, 2.5, 9.0]), patience=2))
    assert best == two
    assert np.nanmax(np.frombuffer(history["held_out"])) == 3.0
    kept = {"checkpoints": Checkpoints(path, {"seed": 1}), "resume": True, "patience": 2}
    fit(3, **options(iter([1.0, 3.0, 2.0]), **kept))
    assert fit(9, **options(iter([2.5]), **kept)) == (best, history)
    assert fit(9, **options(iter([]), **kept)) == (best, history)  # it had stopped
    with pytest.raises(ValueError, match="early_stopping was True and is False"):
        fit(9, plan=ShuffledEpochs, **kept | {"patience": None})
