"""What every solver promises: one line in `cases.CASES` brings all of these tests."""

import hashlib
import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from cases import (
    CASES,
    N_TOPICS,
    SOLVERS,
    Fitted,
    fingerprint,
    from_file,
    in_file,
    restore,
    save,
    settings,
    solve,
    source,
)
from thoroughly import mostly_thorough

from fastvi.base import parallel
from fastvi.loop import History, Position
from fastvi.models.counts import DocumentSource
from fastvi.models.topics import collapsed
from fastvi.models.topics.base import fit
from fastvi.models.topics.settings import IN_MEMORY
from fastvi.models.topics.solvers import make_solver

pytestmark = pytest.mark.jit
every_case = pytest.mark.parametrize("name", CASES)
# Tools have steps and states of their own, which solvers have, and which are resumed. What they do
# to arrays, threads and degenerate data is up to the solver, and to these tools.
OWN_KERNELS = ("svi, all at once", "svi, structured", "svi, window", "scvb0, svrg")
every_solver = pytest.mark.parametrize(
    "name", mostly_thorough(CASES, lambda name: name in OWN_KERNELS or name in SOLVERS)
)
# Tools know nothing of widths: `test_other_sizes_compile_nothing` runs all of them in both.
IN_DOUBLE = [name for name, case in CASES.items() if "svi, " not in name or "learned" in name]
every_case_and_width = pytest.mark.parametrize(
    ("dtype", "name"),
    [*((np.float32, name) for name in CASES), *((np.float64, name) for name in IN_DOUBLE)],
)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of a few documents, as of a large corpus; how many tasks ran at most in one go."""
    most = [0]
    split, run = parallel.split, parallel.run

    def spy(function, n_tasks, n_threads):
        most[0] = max(most[0], n_tasks)
        run(function, n_tasks, n_threads)

    monkeypatch.setattr(parallel, "split", lambda work, target: split(work, target / 2000))
    monkeypatch.setattr(parallel, "run", spy)
    return most


@every_case_and_width
def test_the_same_seed_gives_the_same_bits(name, dtype):
    corpus = source(dtype=dtype)
    first = solve(settings(name, dtype=dtype), corpus)
    assert fingerprint(*first) == fingerprint(*solve(settings(name, dtype=dtype), corpus))
    other, _ = solve(settings(name, dtype=dtype, seed=8), corpus)
    assert not np.array_equal(first[0].table(), other.table())


@every_solver
def test_the_number_of_threads_changes_no_bit(name, small_chunks, monkeypatch):
    monkeypatch.setattr(collapsed, "RECOUNT", 2)
    corpus = source()
    one = fingerprint(*solve(settings(name), corpus, n_threads=1))
    assert small_chunks[0] > 4
    for n_threads in (2, 8):
        assert fingerprint(*solve(settings(name), corpus, n_threads=n_threads)) == one


@pytest.mark.thorough
@every_case
def test_a_fit_resumed_anywhere_ends_with_the_same_bits(name, monkeypatch):
    monkeypatch.setattr(collapsed, "RECOUNT", 2)
    corpus, n_epochs = source(), 5
    saved = []

    def keep(state, position, history):
        columns = {k: list(v) for k, v in history.columns.items()}
        saved.append((position, in_file(save(solver, state)), columns, deepcopy(rng)))

    solver = make_solver(settings(name), corpus, 1)
    start, rng = solver.start(), solver.rng()
    keep(start, Position(), History())
    state, history = fit(solver, n_epochs, start, rng=rng, after_step=keep, after_epoch=keep)
    want = fingerprint(Fitted(solver, state), history)
    assert len(saved) == 1 + len(history) + n_epochs
    for position, file, columns, rng in saved[::5]:  # every kind of place: passes have 1 or 5 steps
        resumed, history = make_solver(settings(name), corpus, 1), History()
        state = restore(resumed, from_file(file))
        history.columns = columns
        state, _ = fit(resumed, n_epochs, state, rng=rng, position=position, history=history)
        assert fingerprint(Fitted(resumed, state), history) == want, position


def hash_of(arrays):
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def passes_from(folder):
    """What the fourth pass makes of the states in a folder: hashes after each step, by case."""
    hashes = {}
    for path in sorted(Path(folder).glob("*.npz")):
        solver = make_solver(settings(path.stem), source(), 1)
        state = restore(solver, from_file(io.BytesIO(path.read_bytes())))
        hashes[path.stem] = []
        for batch in solver.batches.epoch(3):
            state, info = solver.algorithm.step(state, batch, np.random.default_rng(0))
            solver.batches.observe(batch, info)
            hashes[path.stem].append(hash_of(save(solver, state)))
        if solver.algorithm.after_epoch is not None:
            state = solver.algorithm.after_epoch(state)
        hashes[path.stem].append(hash_of(save(solver, state)))
    return hashes


def test_a_step_is_a_function_of_state_and_batch(tmp_path, forks):
    """Learned priors included: copies of a state go the same way in another process."""
    first = {}
    for name in CASES:
        if "learned" in name or name in ("svi, all at once", "svi, adam"):
            fitted, _ = solve(settings(name), source(), 3)
            (tmp_path / f"{name}.npz").write_bytes(in_file(save(*fitted)).getvalue())
            batch = next(iter(fitted.solver.batches.epoch(3)))
            step = fitted.solver.algorithm.step  # which the fit itself goes on with
            state, info = step(fitted.state, batch, np.random.default_rng(0))
            fitted.solver.batches.observe(batch, info)
            first[name] = hash_of(save(fitted.solver, state))
    here = passes_from(tmp_path)
    assert {name: hashes[0] for name, hashes in here.items()} == first
    there = forks.run(f"import test_contract as t; print(t.passes_from({str(tmp_path)!r}))")
    assert there.strip() == str(here)


@every_solver
def test_looking_at_a_fit_changes_no_bit(name):
    corpus = source()

    def look(state, position, history):
        found = solver.read(state)
        found.table.dense()
        found.table.read(np.array([4, 2], np.int32))
        save(solver, state)

    solver = make_solver(settings(name), corpus, 1)
    state, history = fit(solver, 4, after_step=look, after_epoch=look)
    assert fingerprint(Fitted(solver, state), history) == fingerprint(
        *solve(settings(name), corpus)
    )


@every_solver
def test_arrays_given_are_never_written_to(name):
    corpus = source()
    chosen = settings(name, eta=np.full((corpus.n_words, 1), 0.1), learn_eta=False)
    given = corpus.indptr, corpus.indices, corpus.counts, chosen.alpha, chosen.eta
    before = [array.copy() for array in given]
    fitted, _ = solve(chosen, corpus)
    restore(make_solver(chosen, corpus, 1), save(*fitted))
    for array, copy in zip(given, before):
        np.testing.assert_array_equal(array, copy)


def test_arrays_may_be_read_only():
    corpus = source()
    for array in (corpus.indptr, corpus.indices, corpus.counts):
        array.flags.writeable = False
    chosen = settings("svi, priors learned")
    chosen.alpha.flags.writeable = False
    solver, _ = solve(chosen, corpus, n_epochs=1)
    assert fingerprint(solver, History()) == fingerprint(
        solve(settings("svi, priors learned"), source(), n_epochs=1)[0], History()
    )


@every_case_and_width
def test_tables_hold_every_token_and_the_prior(name, dtype):
    corpus = source(dtype=dtype)
    solver, history = solve(settings(name, dtype=dtype), corpus)
    table = solver.table()
    assert table.dtype == dtype
    assert table.shape == (corpus.n_words, 8)
    topics = table[:, :N_TOPICS].astype(np.float64)
    assert np.all(topics > 0)
    assert np.all(np.isfinite(topics))
    assert np.all(solver.alpha > 0)
    assert solver.alpha.shape == (N_TOPICS,)
    rows = solver.found.table.read(np.array([7, 0], np.int32))
    sums = solver.found.table.column_sums
    np.testing.assert_array_equal(rows, table[[7, 0]])
    np.testing.assert_allclose(sums[:N_TOPICS], topics.sum(axis=0), rtol=2e-3)
    if solver.settings.solver in IN_MEMORY and not solver.settings.learn_eta:
        prior = topics.size * solver.eta
        assert topics.sum() - prior == pytest.approx(corpus.counts.sum(), rel=1e-4)
        unused = np.flatnonzero(np.bincount(corpus.indices, minlength=corpus.n_words) == 0)
        np.testing.assert_allclose(topics[unused], solver.eta, rtol=1e-6)
    if solver.settings.solver in IN_MEMORY:
        assert len(history) == 4
    else:
        seen = np.bincount(np.array(history.columns["epoch"], int), history.columns["batch_size"])
        drawn = solver.settings.sampling in ("replacement", "importance", "adaptive")
        assert seen.tolist() == [80 if drawn else corpus.n_rows] * 4
        assert max(history.columns["batch_size"]) < (
            32 if solver.settings.sampling in ("growing", "coupled") else 17
        )
    assert history.columns["epoch"][-1] == 3
    bound = {"vb": "elbo", "svi": "local_elbo"}.get(solver.settings.solver)
    if bound is not None:
        assert np.all(np.isfinite(history.columns[bound]))


CORPORA = {
    "one document of one word": ([0, 1], [0], [3], 1),
    "one token": ([0, 1], [2], [1], 4),
    "only empty documents": ([0, 0, 0], [], [], 3),
    "only counts of zero": ([0, 2], [0, 1], [0, 0], 2),
    "a large count": ([0, 2, 3], [0, 1, 0], [1e5, 1, 2], 2),
}


@every_solver
@pytest.mark.parametrize("n_topics", [1, 9])
def test_degenerate_corpora(name, n_topics):
    for corpus, (indptr, indices, counts, n_words) in CORPORA.items():
        parts = np.array(indptr, np.int64), np.array(indices, np.int32)
        chosen = settings(name, alpha=np.full(n_topics, 0.1), eta=0.01)
        documents = DocumentSource(*parts, np.array(counts, np.float32), n_words)
        solver, _ = solve(chosen, documents)
        table = solver.table()[:, :n_topics]
        assert np.all(np.isfinite(table)), corpus
        assert np.all(table > 0), corpus
        assert np.all(np.isfinite(solver.alpha)), corpus
        assert np.all(np.isfinite(solver.eta)), corpus


def compiled():
    from fastvi.kernels import cvb, cvb0, dirichlet, lazy, lda, optimizers, sparse

    modules = cvb, cvb0, dirichlet, lazy, lda, optimizers, sparse
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in modules
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures")
    }


def solve_every_case(n_documents, n_words):
    for name in CASES:
        for dtype in (np.float32, np.float64):
            solve(settings(name, dtype=dtype), source(n_documents, n_words, dtype=dtype), 3)


def test_other_sizes_compile_nothing():
    solve_every_case(20, 30)
    before = compiled()
    assert before["fastvi.kernels.lda.local_step"] >= 2
    solve_every_case(41, 55)
    assert compiled() == before


def test_kernels_are_compiled_once_for_each_width(forks):
    """In a process that did nothing else: at most one signature for float32 and for float64; two
    where rows decay towards an anchor, which is one number or a table (SVRG's).
    """
    code = (
        "import test_contract as t; t.solve_every_case(20, 30); "
        "most = lambda k: 4 if '.lazy.' in k else 2; "
        "print({k: n for k, n in t.compiled().items() if n > most(k) and '._' not in k})"
    )
    assert forks.run(code).strip() == "{}"
