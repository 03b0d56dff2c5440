"""Passes over hidden chains: against every path, and across the borders of blocks."""

import itertools

import numpy as np
import pytest
from naive import chains as naive

from fastvi.kernels import chain_emissions as kernels
from fastvi.models.sequences.chains import REPAIRS, Chain, Weights
from fastvi.models.sequences.exact import exact_posteriors
from fastvi.models.sequences.paths import best_paths, scored_paths
from fastvi.models.sequences.stream import Stream

STAYS = np.eye(3) * (1 - 3e-9) + 1e-9
RIGHT = np.array([[1 - 1e-9, 1e-9, 0.0], [0.0, 1 - 1e-9, 1e-9], [0.0, 0.0, 1.0]])


class Given:
    """Log likelihoods of rows in each state, (n, K)."""

    def __init__(self, stream, logs):
        self._logs, self._stream, self._arranged = logs, stream, stream.arranged(logs)

    def write(self, group, out, *, logs):
        seen, counted = self._stream.seen[group], self._stream.counted[group]
        return kernels.given_likelihoods(self._arranged[group], seen, counted, logs, out)

    def logs(self):
        return np.where(self._stream.is_missing[:, None], 0.0, self._logs)


def passes(logs, start, transitions, lengths, missing=None, n_threads=1):
    missing = np.zeros(len(logs), bool) if missing is None else missing
    stream = Stream(np.array(lengths), missing, n_threads)
    emissions, weights = Given(stream, logs), Weights(start, transitions)
    found = Chain(stream, len(start)).expect(weights, emissions)
    path = best_paths(stream, weights, emissions)
    return found, stream.at(found.posterior), path, stream


def scored_of(logs, start, transitions, lengths):
    stream = Stream(np.array(lengths), np.zeros(len(logs), bool))
    return scored_paths(stream, Weights(start, transitions), Given(stream, logs))


def test_short_sequences_are_summed_over_all_paths():
    rng = np.random.default_rng(0)
    lengths = [6, 1, 2, 5]
    logs = 3 * rng.normal(size=(14, 2))
    missing = np.zeros(14, bool)
    missing[[3, 6, 13]] = True
    start, transitions = np.array([0.3, 0.6]), np.array([[0.7, 0.2], [0.0, 1.0]])  # sums below 1
    found, posterior, path, _ = passes(logs, start, transitions, lengths, missing)
    logs = np.where(missing[:, None], 0.0, logs)
    norm, pairs, starts, at = 0.0, 0.0, 0.0, 0
    for n in lengths:
        one = naive.enumerated(logs[at : at + n], start, transitions)
        norm, pairs, starts = norm + one[0], pairs + one[2], starts + one[1][0]
        np.testing.assert_allclose(posterior[at : at + n], one[1], rtol=1e-12, atol=1e-15)
        assert tuple(path[at : at + n]) == one[3]
        at += n
    np.testing.assert_allclose(found.log_norm, norm, rtol=1e-13)
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.starts, starts, rtol=1e-12)


@pytest.mark.parametrize("lengths", [[1], [300], [4000, 2, 500]])
def test_rows_return_from_the_order_of_a_stream(lengths):
    n, rng = sum(lengths), np.random.default_rng(4)
    X, missing, inside = rng.normal(size=(n, 3)), rng.random(n) < 0.1, rng.random(n) < 0.8
    stream = Stream(np.array(lengths), missing, 1, inside)
    groups, strips, width = stream.shape
    table = np.ascontiguousarray(
        stream.arranged(X).reshape(groups, strips, width, 3).transpose(0, 1, 3, 2)
    )
    assert np.array_equal(stream.at(table), X)
    assert np.array_equal(stream.at(table, np.array([n - 1, 0])), X[[n - 1, 0]])
    begins, after = np.isin(np.arange(n), stream.first), np.append(inside[1:], False)
    flags = {"reset": begins, "real": inside, "seen": ~missing, "counted": inside & ~missing}
    for name, wanted in (flags | {"follows": after}).items():
        found = getattr(stream, name)
        assert np.array_equal(stream.at(found[:, :, None])[:, 0], wanted), name
        padding = found.sum() - wanted.sum()
        assert padding == (name == "reset") * (found.size - n), name
    whole = Stream(np.array(lengths), np.zeros(n, bool))
    assert whole.real.sum() == n
    assert whole.counted is whole.seen is whole.real


CHAINS = {
    "mixes": (np.ones(3) / 3, np.full((3, 3), 0.05) + 0.85 * np.eye(3), 1.0),
    "stays": (np.ones(3) / 3, STAYS, 1.0),
    "stays, rows say nothing": (np.array([0.8, 0.1, 0.1]), STAYS, 1e-6),
    "to the right": (np.array([1.0, 0.0, 0.0]), RIGHT, 1.0),
    "swaps": (np.array([0.7, 0.3]), np.array([[0.0, 1.0], [1.0, 0.0]]), 1.0),
    "never leaves": (np.ones(3) / 3, np.eye(3), 0.01),
    "far from all states but one": (np.ones(3) / 3, np.full((3, 3), 1 / 3), 1500.0),
    "one state": (np.ones(1), np.ones((1, 1)), 1.0),
}


@pytest.mark.thorough
@pytest.mark.jit
@pytest.mark.parametrize("case", CHAINS)
def test_borders_of_blocks_are_exact(case):
    """Also for chains that never forget how a block began."""
    start, transitions, size = CHAINS[case]
    n, k = 4500, len(start)
    logs = size * np.random.default_rng(1).normal(size=(n, k))
    found, posterior, path, stream = passes(logs, start, transitions, [n - 40, 7, 33])
    scored = scored_of(logs, start, transitions, [n - 40, 7, 33])
    assert stream.n_strips * 16 > 17  # several blocks are full
    norm, starts, pairs, expected = naive.in_logs(logs, start, transitions, stream.first)
    np.testing.assert_allclose(found.log_norm, norm, rtol=1e-12, atol=n * np.finfo(float).eps)
    np.testing.assert_allclose(posterior, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.starts, starts, rtol=1e-9, atol=1e-10)
    ends = [*stream.first, n]
    best = [naive.viterbi(logs[a:b], start, transitions) for a, b in itertools.pairwise(ends)]
    assert np.array_equal(path, np.concatenate(best))
    assert np.array_equal(scored[1], path)
    with np.errstate(divide="ignore"):
        moves = np.log(transitions)[path[:-1], path[1:]]
        moves[np.array(ends[1:-1]) - 1] = np.log(start)[path[ends[1:-1]]]
        total = np.log(start[path[0]]) + moves.sum() + logs[np.arange(n), path].sum()
    np.testing.assert_allclose(scored[0], total, rtol=1e-12)


@pytest.mark.jit
def test_a_row_that_no_lively_path_explains_is_weighed_in_logs():
    """The first rows speak for state 2, which a path from 0 to 1 can never reach."""
    logs = np.zeros((300, 3))
    logs[:, 2] = 2000.0
    logs[150:, 1] = 900.0
    start, transitions = (
        np.array([1.0, 0.0, 0.0]),
        np.array([[0.9, 0.1, 0], [0, 1, 0], [0, 0, 1.0]]),
    )
    found, posterior, path, stream = passes(logs, start, transitions, [300])
    expected = naive.in_logs(logs, start, transitions, stream.first)
    np.testing.assert_allclose(found.log_norm, expected[0], rtol=1e-13)
    np.testing.assert_allclose(posterior, expected[3], atol=1e-12)
    assert list(path) == naive.viterbi(logs, start, transitions)


@pytest.mark.jit
def test_a_row_lost_to_underflow_does_not_spoil_other_sequences():
    """The first row of the second sequence has likelihood 0 in all states where it can begin."""
    logs = np.zeros((60, 3))
    logs[20, 2] = 2000.0
    start = np.array([1.0, 0.0, 0.0])
    found, posterior, _, stream = passes(logs, start, RIGHT, [20, 20, 20])
    expected = naive.in_logs(logs, start, RIGHT, stream.first)
    np.testing.assert_allclose(found.log_norm, expected[0], atol=1e-12)
    np.testing.assert_allclose(posterior, expected[3], atol=1e-12)


@pytest.mark.jit
def test_a_sequence_that_no_path_explains_adds_nothing():
    logs = np.random.default_rng(3).normal(size=(9, 2))
    logs[2] = -np.inf
    start, transitions = np.array([0.4, 0.6]), np.array([[0.9, 0.1], [0.2, 0.8]])
    found, posterior, _, _ = passes(logs, start, transitions, [4, 5])
    alone, expected, _, _ = passes(logs[4:], start, transitions, [5])
    assert found.log_norm == -np.inf
    assert np.all(posterior[:4] == 0)
    np.testing.assert_allclose(posterior[4:], expected, rtol=1e-12)
    np.testing.assert_allclose(found.pairs, alone.pairs, rtol=1e-12)


@pytest.mark.jit
@pytest.mark.parametrize(("n_rows", "size"), [(150, 12.5), (15, 90.0)])
def test_a_state_that_was_left_for_good_is_not_entered_again(n_rows, size):
    """Rows go back to what state 0 looks like; every path is very unlikely, but some are possible.

    Each row alone is likely enough for ordinary numbers.
    """
    logs = np.zeros((n_rows, 2))
    middle = slice(n_rows // 3, 2 * n_rows // 3)
    logs[:, 1] = -size
    logs[middle] = [-size, 0.0]
    start, transitions = np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.0, 1.0]])
    found, posterior, _, stream = passes(logs, start, transitions, [n_rows])
    norm, _, pairs, expected = naive.in_logs(logs, start, transitions, stream.first)
    np.testing.assert_allclose(found.log_norm, norm, rtol=1e-12)
    np.testing.assert_allclose(posterior, expected, atol=1e-10)
    np.testing.assert_allclose(found.pairs, pairs, atol=1e-10)


@pytest.mark.jit
def test_threads_change_no_bit():
    rng = np.random.default_rng(2)
    n = 70000  # two groups
    logs = rng.normal(size=(n, 2))
    weights = np.array([0.4, 0.6]), np.array([[0.9, 0.1], [0.2, 0.8]])
    found = [passes(logs, *weights, [n], n_threads=threads)[0] for threads in (1, 2, 8)]
    for other in found[1:]:
        for here, there in zip(found[0], other):
            assert np.asarray(here).tobytes() == np.asarray(there).tobytes()


@pytest.mark.jit
@pytest.mark.parametrize("case", ["stays, rows say nothing", "to the right", "swaps"])
def test_chains_that_never_forget_cost_a_pass_per_state(case, monkeypatch):
    """In two groups of blocks, of which each would be run again as often as there are blocks."""
    start, transitions, size = CHAINS[case]
    n, k, passes_made = 70_000, len(start), []
    logs = 1e-3 * size * np.random.default_rng(4).normal(size=(n, k))
    one_pass = Chain._pass
    monkeypatch.setattr(
        Chain, "_pass", lambda self, *args, **more: passes_made.append(0) or one_pass(
            self, *args, **more)
    )  # fmt: skip
    found, posterior, _, stream = passes(logs, start, transitions, [n - 5000, 5000])
    assert stream.n_groups == 2
    assert len(passes_made) <= 2 * (REPAIRS + 2) + k
    expected = exact_posteriors(logs, start, transitions, stream.first)
    np.testing.assert_allclose(found.log_norm, expected.log_norm, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(posterior, expected.posterior, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.pairs, expected.pairs, rtol=1e-7, atol=1e-7)


@pytest.mark.jit
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_passes_in_logs_are_the_plain_ones(size):
    rng = np.random.default_rng(5)
    logs, first = size * rng.normal(size=(200, 3)), np.array([0, 1, 90])
    logs[100] = -np.inf  # so that the last sequence is impossible
    start = np.array([0.5, 0.5, 0.0])
    found = exact_posteriors(logs, start, RIGHT, first)
    norm, _, pairs, posterior = naive.in_logs(logs, start, RIGHT, first)
    assert found.log_norm == norm == -np.inf
    np.testing.assert_array_equal(found.possible, [True, True, False])
    np.testing.assert_allclose(found.posterior, posterior, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-9, atol=1e-300)


@pytest.mark.jit
@pytest.mark.parametrize("case", CHAINS)
def test_the_norm_alone_is_that_of_both_passes(case):
    start, transitions, size = CHAINS[case]
    logs = size * np.random.default_rng(6).normal(size=(900, len(start)))
    found, _, _, stream = passes(logs, start, transitions, [850, 50])
    alone = Chain(stream, len(start)).log_norm(Weights(start, transitions), Given(stream, logs))
    np.testing.assert_allclose(alone, found.log_norm, rtol=1e-12, atol=1e-12)
