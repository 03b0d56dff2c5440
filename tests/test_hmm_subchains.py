"""Stochastic variational inference on sub-chains with buffers, and batches that arrive in turn."""

import numpy as np
import pytest
from naive import chains as naive
from test_hmm import COUNTS, LENGTHS, SYMBOLS, X

import fastvi
from fastvi.base import tree
from fastvi.core import Batch
from fastvi.models.sequences.stream import Stream

pytestmark = pytest.mark.jit

MODELS = {
    "Gaussian": (fastvi.VariationalGaussianHMM, X),
    "Poisson": (fastvi.VariationalPoissonHMM, COUNTS),
    "categorical": (fastvi.VariationalCategoricalHMM, SYMBOLS),
}
every_model = pytest.mark.parametrize("name", MODELS)


def local_steps(name, buffer, chosen=None, **options):
    """The local step of all rows, and the sum of those of sub-chains."""
    cls, rows = MODELS[name]
    estimator = cls(3, random_state=0, **options)
    checked = estimator._checked(rows, reset=True)
    laid = estimator._arranged(estimator._stream(checked, LENGTHS), checked)
    model, params = estimator._begin(laid, checked, {}, 0)
    whole = model.local(params, Batch(laid, np.ones(1)), None, None)
    estimator.set_params(subchain_length=9, buffer=buffer)
    source = estimator._source(laid)
    assert source.n_rows == 8 + 1 + 6
    batches = np.array_split(np.arange(source.n_rows), 4)
    parts = [
        model.local(params, Batch(source.take(b), np.ones(len(b))), None, None) for b in batches
    ]
    return whole, parts


@every_model
def test_sums_over_sub_chains_are_those_of_all_rows(name):
    """With buffers in which chains forget; the bound is a sum of predictive densities."""
    whole, parts = local_steps(name, 120)
    np.testing.assert_allclose(sum(part.bound for part in parts), whole.bound, rtol=1e-9)
    for expected, *found in zip(
        tree.leaves(whole.statistics), *(tree.leaves(part.statistics) for part in parts)
    ):
        np.testing.assert_allclose(sum(found), expected, rtol=1e-8, atol=1e-10)


def test_short_buffers_come_close():
    whole, parts = local_steps("Gaussian", 3)
    assert abs(sum(part.bound for part in parts) / whole.bound - 1) < 0.02


def test_a_part_of_a_sequence_begins_at_the_stationary_distribution():
    from test_chains import Given

    from fastvi.models.sequences.borders import stationary
    from fastvi.models.sequences.chains import Chain, Weights

    rng = np.random.default_rng(0)
    logs, moves = rng.normal(size=(11, 2)), np.array([[0.9, 0.1], [0.3, 0.7]])
    start, inside = np.array([1.0, 0.0]), np.ones(11, bool)
    inside[[0, 4, 10]] = False
    lengths, middle = np.array([5, 6]), np.array([True, False])
    stream = Stream(lengths, np.zeros(11, bool), 1, inside, middle)
    found = Chain(stream, 2).expect(Weights(start, moves), Given(stream, logs))
    one = naive.enumerated(logs[:5], stationary(moves), moves)
    other = naive.enumerated(logs[5:], start, moves)
    np.testing.assert_allclose(
        stream.at(found.posterior), np.vstack((one[1], other[1])), rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(found.starts, other[1][0], atol=1e-14)
    np.testing.assert_allclose(stationary(moves), [0.75, 0.25], rtol=1e-5)
    pairs = sum(
        naive.pair(logs[a:b], *args, moves, t)
        for a, b, args in ((0, 5, (stationary(moves),)), (5, 11, (start,)))
        for t in range(1, b - a)
        if inside[a + t]
    )
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-9, atol=1e-14)
    exact = Chain(stream, 2)._exactly(*Chain(stream, 2)._joined(
        Weights(start, moves), Given(stream, logs)
    ))  # fmt: skip
    for a, b in zip(found[:3], exact[:3]):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_buffers_grow_until_posteriors_at_borders_stop_changing():
    """So that sums are those of all rows, to about the tolerance."""
    whole, parts = local_steps("Gaussian", 1, buffer_tol=1e-7)
    _, narrow = local_steps("Gaussian", 1)
    errors = [
        np.abs(sum(part.statistics.transitions for part in found) - whole.statistics.transitions)
        for found in (parts, narrow)
    ]
    assert errors[0].max() < 1e-5
    assert errors[1].max() > 1e-3
    borders = Stream(
        np.array([3, 4]), np.zeros(7, bool), 1, np.array([0, 1, 1, 1, 1, 1, 0], bool),
        np.array([True, False]),
    ).borders  # fmt: skip
    np.testing.assert_array_equal(borders, [1, 2, 3, 5])


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    states = np.cumsum(rng.random(n) < 0.1) % 3
    return np.array([[0.0, 0.0], [6, 0], [0, 6]])[states] + rng.normal(size=(n, 2))


def test_a_pass_over_sub_chains_comes_close_to_coordinate_ascent():
    rows = drawn(20_000)
    batch = fastvi.VariationalGaussianHMM(3, random_state=2, n_iter=30).fit(rows)
    options = {"batch_size": 10, "subchain_length": 100, "buffer": 20}
    model = fastvi.VariationalGaussianHMM(3, random_state=2, n_iter=3, **options).fit(rows)
    assert model.elbo_ > batch.elbo_ - 2e-3 * abs(batch.elbo_)
    assert len(model.history_["local_elbo"]) == 3 * 20
    order = np.argsort(model.means_.sum(axis=1) + 2 * model.means_[:, 0])
    np.testing.assert_allclose(model.means_[order], [[0, 0], [0, 6], [6, 0]], atol=0.1)
    again = fastvi.VariationalGaussianHMM(3, random_state=2, n_iter=3, **options).fit(rows)
    assert again.transmat_.tobytes() == model.transmat_.tobytes()


@every_model
def test_fits_on_sub_chains_can_be_resumed_and_saved(name, tmp_path):
    cls, rows = MODELS[name]
    options = {"random_state": 1, "batch_size": 2, "subchain_length": 20, "buffer": 5}
    path = tmp_path / "checkpoint"
    cls(3, n_iter=2, **options).fit(rows, LENGTHS, checkpoint=path)
    resumed = cls(3, n_iter=4, **options).fit(rows, LENGTHS, checkpoint=path, resume=True)
    whole = cls(3, n_iter=4, **options).fit(rows, LENGTHS)
    assert resumed.transmat_.tobytes() == whole.transmat_.tobytes()
    whole.save(tmp_path / "model")
    loaded = fastvi.load(tmp_path / "model")
    assert loaded.score(rows) == whole.score(rows)
    assert loaded.partial_fit(rows).n_rows_seen_ == 2 * len(rows)


@every_model
def test_batches_that_arrive_in_turn(name):
    cls, rows = MODELS[name]
    options = {"n_features": 4} if name == "categorical" else {}
    model = cls(3, random_state=0, batch_size=3, subchain_length=20, buffer=5, **options)
    for _ in range(4):
        for part in np.array_split(rows, 3):
            model.partial_fit(part)
    assert model.n_rows_seen_ == 4 * len(rows)
    assert np.isfinite(model.score(rows))
    one = cls(3, random_state=0, n_iter=2, **options).fit(rows)
    assert model.score(rows) > one.score(rows) - 30


def test_a_step_that_fails_changes_nothing():
    model = fastvi.VariationalGaussianHMM(3, random_state=0).partial_fit(X)
    before = model.transmat_.tobytes()
    with pytest.raises(ValueError, match="X has 1 features"):
        model.partial_fit(X[:, :1])
    assert model.transmat_.tobytes() == before
    other = fastvi.VariationalGaussianHMM(3, random_state=0).partial_fit(X)
    other.partial_fit(X)
    assert model.partial_fit(X).transmat_.tobytes() == other.transmat_.tobytes()
    for name, value, given in (
        ("n_components", 4, 3), ("covariance_type", "diag", "full"), ("beta_prior", 2.0, None),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=f"^{name} is {value!r} and was {given!r} in the steps"
        ):
            model.set_params(**{name: value}).partial_fit(X)
        model.set_params(**{name: given})
    model.set_params(subchain_length=50, batch_size=2).partial_fit(X)


def test_rows_to_come_can_be_said():
    few = fastvi.VariationalPoissonHMM(2, random_state=0).partial_fit(COUNTS)
    many = fastvi.VariationalPoissonHMM(2, random_state=0, total_samples=12_000).partial_fit(COUNTS)
    assert many.transmat_posterior_.sum() > 10 * few.transmat_posterior_.sum()


def test_gaps_in_sub_chains():
    rows = drawn(3000)
    rows[np.random.default_rng(1).random(rows.shape) < 0.2] = np.nan
    options = {"batch_size": 5, "subchain_length": 50, "buffer": 10}
    model = fastvi.VariationalGaussianHMM(3, random_state=2, n_iter=5, **options).fit(rows)
    order = np.argsort(model.means_.sum(axis=1) + 2 * model.means_[:, 0])
    np.testing.assert_allclose(model.means_[order], [[0, 0], [0, 6], [6, 0]], atol=0.3)


REFUSED = {
    "no rows": ({"subchain_length": 0}, "subchain_length is 0; wanted"),
    "a buffer": ({"buffer": -1}, "buffer is -1; wanted"),
    "a tolerance": ({"buffer_tol": -1.0, "batch_size": 1}, "buffer_tol is -1.0; wanted"),
    "a batch": ({"batch_size": 0}, "batch_size is 0; wanted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_are_checked(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        fastvi.VariationalGaussianHMM(2, random_state=0, **options).fit(X)
