"""Fits with a held-out score, checkpoints and resumption."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from forked import Forks
from simulated import simulate
from stopping import Stopped, stopper

from fastvi.base import archive
from fastvi.base.bags import bags_of_words
from fastvi.checkpoints import KIND, Watching
from fastvi.corpus.shards import read_sharded
from fastvi.models.counts import DocumentSource, ShardedEpochs, ShardedSource
from fastvi.models.topics import held_out as topics_held_out
from fastvi.models.topics import training as topics_training
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.inference import Topics
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import make_solver
from fastvi.models.topics.training import Training

pytestmark = pytest.mark.jit

SOLVERS = ["scvb0", "cvb0", "svi", "vb"]
ALPHA = np.array([0.1, 0.2, 0.3, 0.4])
COUNTS = simulate(190).counts
TRAIN, UNSEEN = COUNTS[:150], COUNTS[150:]


def settings_for(solver: str, learned: bool = False, **changes: Any) -> Settings:
    plain = Settings(
        solver, alpha=ALPHA, eta=0.1, learn_alpha=learned, learn_eta=learned, batch_size=32, seed=5
    )
    return replace(plain, **changes)


def source_of(counts: Any) -> DocumentSource:
    return DocumentSource(*bags_of_words(counts))


@pytest.fixture(scope="module")
def source() -> DocumentSource:
    return source_of(TRAIN)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut.of(UNSEEN, np.random.default_rng(0))


@pytest.fixture(scope="module")
def ldac(tmp_path_factory: Any) -> Path:
    """150 documents as LDA-C."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.ldac"
    dense = TRAIN.toarray()
    lines = []
    for row in dense:
        words = np.flatnonzero(row)
        lines.append(" ".join([str(len(words)), *(f"{v}:{row[v]}" for v in words)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def sharded(ldac: Path) -> Iterator[Any]:
    with shards_of(ldac) as corpus:
        yield corpus


def shards_of(path: Path, seed: int = 1) -> Any:
    return read_sharded([path], batch_size=40, random_state=np.random.default_rng(seed))


def train(settings: Settings, source: Any, n_epochs: int, **options: Any) -> Training:
    """As the command line does: scored early too."""
    watching = {k: options.pop(k) for k in Watching._fields if k in options}
    return topics_training.train(
        settings, source, n_epochs, early=True, watching=Watching(**watching), **options
    )


def assert_same(a: Training, b: Training) -> None:
    """All but the time it took."""
    for name in ("table", "alpha", "eta"):
        one, other = (np.asarray(getattr(t.model, name)) for t in (a, b))
        assert one.tobytes() == other.tobytes(), name
    assert a.model.history.keys() == b.model.history.keys()
    for name in set(a.model.history) - {"seconds"}:
        np.testing.assert_array_equal(a.model.history[name], b.model.history[name])


# --- the held-out score ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_score_is_document_completion(
    solver: str, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all halves together, though each group is scored over its own words."""
    whole = HeldOut.of(UNSEEN[:5], np.random.default_rng(0))
    monkeypatch.setattr(topics_held_out, "GROUP_DOCUMENTS", 2)
    held_out = HeldOut.of(UNSEEN[:5], np.random.default_rng(0))
    assert len(held_out.groups) == 3
    assert len(held_out.groups[0].rows) < source.n_words
    fit = make_solver(settings_for(solver), source, 1)
    found, form = fit.read(fit.start()), fit.settings.collapsed
    topics = Topics.of(found.table.dense(), found.alpha, collapsed=form)

    (group,) = whole.groups
    halves = (
        (indptr, group.rows[words], counts)
        for indptr, words, counts in (group.observed, group.scored)
    )
    wanted = topics.completion(*halves)
    assert held_out.score(found, form, 1) == pytest.approx(wanted, rel=1e-6)
    assert whole.score(found, form, 1) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_history_and_callbacks(solver: str, source: Any, held_out: HeldOut) -> None:
    """Scores after steps 1, 2, 4 of the first pass and after every pass."""
    reports = []
    training = train(settings_for(solver), source, 3, held_out=held_out, callback=reports.append)
    score = training.model.history["held_out"]
    stochastic = solver in ("scvb0", "svi")
    n_steps = 5 if stochastic else 1
    assert len(score) == 3 * n_steps
    known = [0, 1, 3, 4, 9, 14] if stochastic else [0, 1, 2]
    assert np.flatnonzero(np.isfinite(score)).tolist() == known
    assert score[-1] > -np.log(60)  # better than nothing
    assert reports[-1][:3] == (3, 0, 3 * n_steps)
    assert reports[-1].values["held_out"] == score[-1]
    assert sum(state.step > 0 for state in reports) == 3 * n_steps
    assert training.n_documents_seen == 3 * 150
    assert training.seconds > 0


def test_without_held_out_documents(source: Any) -> None:
    reports = []
    training = train(settings_for("scvb0"), source, 1, callback=reports.append)
    assert "held_out" not in training.model.history
    assert not any("held_out" in state.values for state in reports)


def test_threads_change_nothing(source: Any, held_out: HeldOut) -> None:
    for solver in SOLVERS:
        settings = settings_for(solver, learned=True)
        one, two = (train(settings, source, 4, n_threads=n, held_out=held_out) for n in (1, 2))
        assert_same(one, two)


# --- streams from disk ----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [7, 40, 1000])
def test_an_epoch_of_shards_has_every_document_once(sharded: Any, batch_size: int) -> None:
    marker = np.full(sharded.n_words, -1, np.int32)
    epochs = ShardedEpochs(sharded, batch_size, 3, marker)
    wanted = TRAIN.toarray()
    firsts = []
    for number in (0, 1):
        rows = []
        for batch in epochs.epoch(number):
            documents = batch.rows
            assert documents.n_documents <= max(batch_size, 40)
            np.testing.assert_allclose(batch.weights.sum(), 150)
            words = documents.rows[documents.words]
            part = scipy.sparse.csr_array(
                (documents.counts, words, documents.indptr),
                shape=(documents.n_documents, sharded.n_words),
            )
            rows.append(part.toarray())
        found = np.concatenate(rows)
        firsts.append(found[0])
        assert sorted(map(tuple, found)) == sorted(map(tuple, wanted))
    assert not np.array_equal(*firsts)
    assert np.all(marker == -1)


@pytest.mark.parametrize("skip", [0, 1, 4, 30])
def test_an_epoch_of_shards_entered_later(sharded: Any, skip: int) -> None:
    epochs = ShardedEpochs(sharded, 16, 3, np.full(sharded.n_words, -1, np.int32))
    whole = [batch.rows.counts.tobytes() for batch in epochs.epoch(2)]
    late = [batch.rows.counts.tobytes() for batch in epochs.epoch(2, skip)]
    assert late == whole[skip:]


def test_a_streamed_fit_is_as_good(sharded: Any, source: Any, held_out: HeldOut) -> None:
    for solver in ("scvb0", "svi"):
        settings = settings_for(solver)
        memory, disk = (
            train(settings, c, 10, held_out=held_out) for c in (source, ShardedSource(sharded))
        )
        last = [training.model.history["held_out"][-1] for training in (memory, disk)]
        assert abs(last[0] - last[1]) < 0.1
        assert disk.n_documents_seen == 1500


def test_batch_solvers_want_the_corpus_in_memory(sharded: Any) -> None:
    for solver in ("vb", "cvb0"):
        with pytest.raises(ValueError, match=f"'{solver}' needs the corpus in memory"):
            train(settings_for(solver), ShardedSource(sharded), 1)


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_resume_ends_with_the_same_bits(
    solver: str, learned: bool, source: Any, held_out: HeldOut, tmp_path: Path
) -> None:
    """Stopped at the first step, in the middle of a pass, and between passes."""
    settings = settings_for(solver, learned)
    whole = train(settings, source, 6, held_out=held_out)
    stochastic = solver in ("scvb0", "svi")
    for n_steps in (1, 2, 9, 18, 19, 20) if stochastic else (1, 2, 7, 8):
        path = tmp_path / f"{n_steps}.npz"
        common: dict[str, Any] = {"held_out": held_out, "checkpoint": path}
        with pytest.raises(Stopped):
            train(settings, source, 6, checkpoint_interval=0.0, callback=stopper(n_steps), **common)
        assert path.exists()
        assert_same(train(settings, source, 6, resume=True, n_threads=2, **common), whole)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("solver", ["scvb0", "svi"])
def test_resume_of_a_stream(
    solver: str, learned: bool, ldac: Path, held_out: HeldOut, tmp_path: Path
) -> None:
    """The shards are made anew, from the same seed."""
    settings = settings_for(solver, learned, batch_size=16)
    common: dict[str, Any] = {"held_out": held_out, "checkpoint": tmp_path / "c.npz"}
    with shards_of(ldac) as corpus:
        whole = train(settings, ShardedSource(corpus), 3, held_out=held_out)
    with shards_of(ldac) as corpus, pytest.raises(Stopped):
        train(
            settings,
            ShardedSource(corpus),
            3,
            checkpoint_interval=0.0,
            callback=stopper(17),
            **common,
        )
    with shards_of(ldac) as corpus:
        assert_same(train(settings, ShardedSource(corpus), 3, resume=True, **common), whole)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_finished_fit_can_go_on_for_more_passes(
    solver: str, source: Any, held_out: HeldOut, tmp_path: Path
) -> None:
    settings = settings_for(solver, learned=True)
    common: dict[str, Any] = {"held_out": held_out, "checkpoint": tmp_path / "c.npz"}
    short = train(settings, source, 3, **common)
    again = train(settings, source, 3, resume=True, **common)
    assert_same(again, short)
    assert again.n_documents_seen == 0
    assert again.seconds == 0.0
    longer = train(settings, source, 6, resume=True, **common)
    assert_same(longer, train(settings, source, 6, held_out=held_out))
    assert longer.n_documents_seen == 3 * 150
    before = (tmp_path / "c.npz").read_bytes()
    with pytest.raises(ValueError, match=r"c\.npz: the checkpoint is beyond 5 passes"):
        train(settings, source, 5, resume=True, **common)
    assert (tmp_path / "c.npz").read_bytes() == before


def test_resume_without_a_file_starts_anew(source: Any, tmp_path: Path) -> None:
    settings = settings_for("scvb0")
    path = tmp_path / "c.npz"
    fresh = train(settings, source, 2, checkpoint=path, resume=True)
    assert_same(fresh, train(settings, source, 2))
    assert path.exists()


def test_without_resume_a_checkpoint_is_replaced(source: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    train(settings_for("scvb0"), source, 1, checkpoint=path)
    other = settings_for("svi", seed=9)
    assert_same(train(other, source, 2, checkpoint=path), train(other, source, 2))
    train(other, source, 2, checkpoint=path, resume=True)


def test_checkpoints_come_at_intervals(source: Any, tmp_path: Path, monkeypatch: Any) -> None:
    saves = []
    monkeypatch.setattr(
        archive, "save", lambda path, kind, header, arrays: saves.append(header["position"])
    )
    for interval, wanted in ((1e9, [[2, 0]]), (0.0, None)):
        saves.clear()
        train(
            settings_for("scvb0"),
            source,
            2,
            checkpoint=tmp_path / "c",
            checkpoint_interval=interval,
        )
        steps = [[epoch, step] for epoch in (0, 1) for step in range(1, 6)]
        assert saves == (wanted or [*steps[:5], [1, 0], *steps[5:], [2, 0]])


# --- checkpoints that are refused -----------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(source: Any, tmp_path_factory: Any) -> dict[str, Path]:
    """A checkpoint in the middle of a fit for each solver."""
    folder = tmp_path_factory.mktemp("stopped")
    paths = {}
    for solver in SOLVERS:
        paths[solver] = folder / f"{solver}.npz"
        with pytest.raises(Stopped):
            train(
                settings_for(solver), source, 6, callback=stopper(4), checkpoint=paths[solver],
                checkpoint_interval=0.0,
            )  # fmt: skip
    return paths


OTHER_SETTINGS = [
    ("alpha", {"alpha": ALPHA * 2}),
    ("eta", {"eta": 0.2}),
    ("learn_alpha", {"learn_alpha": True}),
    ("learn_eta", {"learn_eta": True}),
    ("batch_size", {"batch_size": 31}),
    ("learning_offset", {"learning_offset": 3.0}),
    ("learning_decay", {"learning_decay": 0.8}),
    ("max_doc_update_iter", {"max_doc_update_iter": 5}),
    ("mean_change_tol", {"mean_change_tol": 0.1}),
    ("seed", {"seed": 6}),
    ("dtype", {"dtype": np.float64}),
    ("alpha", {"alpha": np.full(9, 0.1)}),
]


@pytest.mark.parametrize(("name", "changes"), OTHER_SETTINGS)
def test_other_settings(name: str, changes: Any, source: Any, stopped: Any) -> None:
    settings = settings_for("scvb0", **changes)
    with pytest.raises(ValueError, match=rf"scvb0\.npz: checkpoint of another fit: {name} was"):
        train(settings, source, 6, checkpoint=stopped["scvb0"], resume=True)


def test_another_corpus(stopped: Any, sharded: Any) -> None:
    more, swapped = TRAIN.copy(), TRAIN[::-1]
    more.data[3] += 1
    for other in (more, swapped, TRAIN[:149]):
        with pytest.raises(ValueError, match="checkpoint of another fit: corpus"):
            train(
                settings_for("scvb0"), source_of(other), 6, checkpoint=stopped["scvb0"], resume=True
            )
    with pytest.raises(ValueError, match="checkpoint of another fit: corpus"):
        train(
            settings_for("scvb0"),
            ShardedSource(sharded),
            6,
            checkpoint=stopped["scvb0"],
            resume=True,
        )


@pytest.mark.parametrize("solver", SOLVERS)
def test_damaged_checkpoints(solver: str, source: Any, stopped: Any, tmp_path: Path) -> None:
    raw = stopped[solver].read_bytes()
    path = tmp_path / "c.npz"
    rng = np.random.default_rng(0)
    for cut in (0, 10, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(ValueError, match=r"c\.npz: "):
            train(settings_for(solver), source, 6, checkpoint=path, resume=True)
    for at in rng.integers(len(raw), size=10):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        try:
            train(settings_for(solver), source, 6, checkpoint=path, resume=True)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017  a bit that means nothing may pass
    path.unlink()
    with pytest.raises(IsADirectoryError):
        train(settings_for(solver), source, 6, checkpoint=tmp_path, resume=True)


CHANGES: dict[str, Any] = {
    "longer": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
    "shorter": lambda a: np.atleast_1d(a)[:-1],
    "another type": lambda a: np.zeros(a.shape, np.int8),
    "another shape": lambda a: a[None],
    "gone": None,
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("change", CHANGES)
def test_arrays_that_do_not_fit(
    solver: str, change: str, source: Any, stopped: Any, tmp_path: Path
) -> None:
    """Rows are looked up unchecked later on, so that a wrong length would end in a crash."""
    header, arrays = archive.load(stopped[solver], KIND)
    path = tmp_path / "c.npz"
    for name in arrays:
        if name == "state.ascent.gradient.0":  # gamma, checked by the step that goes on from it
            continue
        changed = dict(arrays)
        if CHANGES[change] is None:
            del changed[name]
            if name.startswith("history."):
                continue
        else:
            changed[name] = CHANGES[change](arrays[name])
        if name.startswith("history.") and change in ("another type", "another shape"):
            continue
        archive.save(path, KIND, header, changed)
        with pytest.raises(ValueError, match=r"c\.npz: "):
            train(settings_for(solver), source, 6, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": [-1, 0]},
        {"position": [0, -3]},
        {"position": ["x", 0]},
        {"position": [1.5, 0]},
        {"position": [1]},
        {"position": None},
        {"position": [99, 0]},
        {"position": [6, 1]},
        {"identity": None},
        {"identity": []},
        {"identity": {}},
    ],
)
def test_headers_that_do_not_fit(changes: Any, source: Any, stopped: Any, tmp_path: Path) -> None:
    header, arrays = archive.load(stopped["scvb0"], KIND)
    path = tmp_path / "c.npz"
    archive.save(path, KIND, {**header, **changes}, arrays)
    with pytest.raises(ValueError, match=r"c\.npz: "):
        train(settings_for("scvb0"), source, 6, checkpoint=path, resume=True)


def test_leftovers_of_killed_saves(source: Any, stopped: Any, tmp_path: Path) -> None:
    """Those of this checkpoint go, files of other names stay."""
    path = tmp_path / "c.npz"
    path.write_bytes(stopped["vb"].read_bytes())
    (tmp_path / "c.npz.123-0123abcd.tmp").write_text("half")
    for name in ("d.npz.123-0123abcd.tmp", "c.npz.tmp", "c.npz.123-0123abcd.tmp.mine"):
        (tmp_path / name).write_text("another's")
    train(settings_for("vb"), source, 6, checkpoint=path, resume=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "c.npz", "c.npz.123-0123abcd.tmp.mine", "c.npz.tmp", "d.npz.123-0123abcd.tmp",
    ]  # fmt: skip


def test_a_model_is_no_checkpoint(source: Any, tmp_path: Path) -> None:
    train(settings_for("scvb0"), source, 1).model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="holds 'lda-model'; wanted 'checkpoint'"):
        train(settings_for("scvb0"), source, 1, checkpoint=tmp_path / "m.npz", resume=True)


# --- kill -9 --------------------------------------------------------------------------------------

KILLED = """if True:
    import os, signal, sys, time
    from pathlib import Path
    import numpy as np
    import test_training as t

    case, folder, corpus, seed = sys.argv[1:]
    solver, learned, streamed = case.split()
    settings = t.settings_for(solver, learned == "learned")
    unseen = t.HeldOut.of(t.UNSEEN, np.random.default_rng(0))
    path = Path(folder, "c.npz")
    rng = np.random.default_rng(int(seed))

    def fit(**options):
        if streamed == "memory":
            return t.train(settings, t.source_of(t.TRAIN), 40, held_out=unseen,
                           **options)
        with t.shards_of(Path(corpus)) as shards:
            return t.train(settings, t.ShardedSource(shards), 40, held_out=unseen, **options)

    whole = fit()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            fit(checkpoint=path, checkpoint_interval=0.0, resume=True)
            os._exit(0)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        position = t.archive.load(path, t.KIND)[0]["position"]
        print("killed" if os.WIFSIGNALED(status) else "ended", position, flush=True)
    t.assert_same(fit(checkpoint=path, resume=True), whole)
    print("same")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    "case",
    [
        "cvb0 learned memory",
        "svi learned disk",
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in (
                "scvb0 learned memory", "vb learned memory",
                "scvb0 fixed memory", "cvb0 fixed memory", "svi fixed memory",
                "svi learned memory", "vb fixed memory", "scvb0 fixed disk",
                "scvb0 learned disk", "svi fixed disk",
            )
        ),
    ],
)  # fmt: skip
def test_kill_9(case: str, ldac: Path, tmp_path: Path, forks: Forks) -> None:
    """Killed three times at any moment, most often while it saves; then resumed."""
    place = str(tmp_path)  # of shards too, which nobody is left to remove
    lines = forks.run(KILLED, case, place, str(ldac), "7", TMPDIR=place).splitlines()
    assert lines[-1] == "same"
    assert lines[0].startswith("killed")
    assert [path.name for path in tmp_path.glob("c.npz*")] == ["c.npz"]
