"""Steps of stochastic gradient descent in machine code, against a plain twin."""

import numpy as np
import pytest
from naive import sgd as naive
from toy_targets import regression

import fastvi
from fastvi.core import Batch

pytestmark = [pytest.mark.usefixtures("quiet")]


def broken(z, data, rows, weights, grad):
    """Row 3 has no density."""
    for m in range(rows.size):
        if rows[m] == 3:
            return np.nan
        for j in range(z.size):
            grad[j] -= weights[m] * (z[j] - data.X[rows[m], j])
    return 0.0


@pytest.fixture(scope="module")
def target():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    return fastvi.target(regression, dim=3, data={"X": X, "y": X[:, 0] + 1.0}, rows="X")


@pytest.mark.parametrize("form", ["matrix", "diagonal"])
def test_a_walk_is_that_of_the_twin(target, form, rng):
    from fastvi.kernels import sgd

    rows, weights = rng.integers(0, 30, (7, 4)), np.full(4, 30 / 4)
    centre, start = rng.normal(size=(2, 3))
    rate = 0.002 * (np.eye(3) + 0.2)
    if form == "diagonal":
        rate = np.diag(np.diag(rate))
    kept = np.diag(rate)[None].copy() if form == "diagonal" else rate
    place, (total, outer) = sgd.at(start, target.n_terms), (np.zeros(3), np.zeros((3, 3)))
    words = target.data_table.copy()
    done = sgd.walk(target.address, words, rows, weights, kept, centre, place, total, outer)
    wanted = naive.walk(
        lambda z, batch: target.log_prob_and_grad(z, Batch(batch, weights))[1], rows, rate, start
    )
    assert done == 7
    np.testing.assert_allclose(place.z[0], wanted[-1], rtol=1e-12)
    np.testing.assert_allclose(total, (wanted - centre).sum(axis=0), rtol=1e-11)
    np.testing.assert_allclose(outer, (wanted - centre).T @ (wanted - centre), rtol=1e-11)
    none = np.zeros((0, 0))
    again = sgd.at(start, target.n_terms)
    sgd.walk(target.address, words, rows, weights, kept, centre, again, np.zeros(3), none)
    assert np.array_equal(again.z, place.z)


def test_moments_of_rows_are_those_of_their_gradients(target, rng):
    from fastvi.posteriors.sandwich import row_covariance

    z = rng.normal(size=3)
    one = np.ones(1)
    grads = [target.log_prob_and_grad(z, Batch(np.array([i]), one))[1] for i in range(30)]
    np.testing.assert_allclose(row_covariance(target, z), np.cov(np.array(grads).T, ddof=0))


def test_it_ends_where_there_is_no_gradient():
    from fastvi.kernels import sgd

    target = fastvi.target(broken, dim=2, data={"X": np.ones((5, 2))}, rows="X")
    rows, place = np.array([[0], [1], [3], [0]]), sgd.at(np.zeros(2), target.n_terms)
    total, words = np.zeros(2), target.data_table.copy()
    outer, rate = np.zeros((2, 2)), np.full((1, 2), 0.1)
    options = words, rows, np.ones(1), rate, np.zeros(2), place, total, outer
    assert sgd.walk(target.address, *options) == 2
    with pytest.raises(fastvi.targets.TargetError):
        fastvi.posteriors.sandwich.row_covariance(target, np.zeros(2))
