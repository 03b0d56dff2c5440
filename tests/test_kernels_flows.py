"""Flows: maps, log determinants, gradients and steps, against their plain twin."""

import numpy as np
import pytest
from naive import flows as naive

import fastvi
from fastvi.families.flow_plans import Sizes, begin
from fastvi.families.flows import MEMBERS
from fastvi.kernels import drivers

pytestmark = pytest.mark.usefixtures("quiet")

D = 3
SIZES = {
    "planar": Sizes(2, 0, 0), "radial": Sizes(2, 0, 0), "realnvp": Sizes(2, 3, 0),
    "iaf": Sizes(2, 5, 0), "maf": Sizes(2, 5, 0), "nsf": Sizes(2, 2, 3),
}  # fmt: skip
every_flow = pytest.mark.parametrize("name", list(SIZES))


def member(name, rng, dim=D):
    """A flow that bends as strongly as fits make them."""
    q = MEMBERS[name].of(np.zeros(dim), np.eye(dim), SIZES[name])
    return q._replace(params=q.params + 0.6 * rng.standard_normal(len(q.params)))


@every_flow
@pytest.mark.parametrize("dim", [1, 3])
def test_draws_and_log_determinants_are_those_of_the_twin(name, dim, rng):
    q, eps = member(name, rng, dim), 2.0 * rng.standard_normal((3, dim))
    draws = q.at(eps)
    for s in range(3):
        z, log_det = naive.forward(name, SIZES[name], q.params, eps[s])
        np.testing.assert_allclose(draws.points[s], z.real, rtol=1e-12, atol=1e-12)
        normal = -0.5 * eps[s] @ eps[s] - 0.5 * dim * np.log(2 * np.pi)
        np.testing.assert_allclose(q.log_prob_of(draws)[s], normal - log_det.real, rtol=1e-11)


@every_flow
def test_the_identity_at_first(name):
    q = MEMBERS[name].of(np.zeros(D), np.eye(D), SIZES[name])
    eps = 2.0 * np.random.default_rng(0).standard_normal((3, D))
    np.testing.assert_allclose(q.at(eps).points, eps, atol=1e-12)
    assert len(begin(name, D, SIZES[name])) == len(q.params)


@every_flow
def test_log_determinants_are_those_of_differences(name, rng):
    q, h = member(name, rng), 1e-3
    eps = rng.standard_normal((3, D))
    log_det = -q.log_prob_of(q.at(eps)) - 0.5 * np.square(eps).sum(axis=1)
    log_det -= 0.5 * D * np.log(2 * np.pi)
    shifts = h * np.eye(D)
    points = [(8.0, s) for s in shifts]
    columns = []
    for _, s in points:  # of fourth order
        near = q.at(eps + s).points - q.at(eps - s).points
        far = q.at(eps + 2 * s).points - q.at(eps - 2 * s).points
        columns.append((8.0 * near - far) / (12.0 * h))
    jacobians = np.stack(columns, axis=2)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], atol=1e-7)


@every_flow
@pytest.mark.parametrize("dim", [1, 3])
def test_inverse_of_forward_is_the_noise(name, dim, rng):
    q, eps = member(name, rng, dim), 3.0 * rng.standard_normal((4, dim))
    draws = q.at(eps)
    back, log_q = q.inverse(draws.points)
    np.testing.assert_allclose(back, eps, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(log_q, q.log_prob_of(draws), rtol=1e-6, atol=1e-6)


@every_flow
def test_path_gradients_are_those_of_complex_steps(name, rng):
    q, eps = member(name, rng), rng.standard_normal((2, D))
    of_points, of_log_q = rng.standard_normal((2, D)), rng.standard_normal(2)
    wanted = naive.path_gradient(name, SIZES[name], q.params, eps, of_points, of_log_q)
    (got,) = q.pullback(q.at(eps), of_points, of_log_q, np.ones(2))
    np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)


@every_flow
def test_other_units(name, rng):
    """Gradients and densities of a flow that is shifted and scaled."""
    q = member(name, rng)
    units, centre = np.tril(rng.standard_normal((D, D)), -1) + 2.0 * np.eye(D), np.ones(D)
    moved, eps = q.mapped(centre, units), rng.standard_normal((2, D))
    draws, slopes = moved.at(eps), rng.standard_normal((2, D))
    np.testing.assert_allclose(draws.points, centre + q.at(eps).points @ units.T)
    np.testing.assert_allclose(
        moved.log_prob(draws.points), q.log_prob_of(q.at(eps)) - D * np.log(2.0)
    )
    (got,) = moved.pullback(draws, slopes, -1.0, np.array([0.3, 0.7]))
    (wanted,) = q.pullback(q.at(eps), slopes @ units, -1.0, np.array([0.3, 0.7]))
    np.testing.assert_allclose(got, wanted)


def bent(z, data):
    u = z[1] + data.b * z[0] * z[0]
    return -0.125 * z[0] * z[0] - 0.5 * u * u


def log_p(Z, b):
    u = Z[:, 1] + b * Z[:, 0] ** 2
    grads = np.stack([-0.25 * Z[:, 0] - 2.0 * b * u * Z[:, 0], -u], axis=1)
    return -0.125 * Z[:, 0] ** 2 - 0.5 * u**2, grads


@pytest.mark.jit
@every_flow
def test_steps_are_those_of_the_twin(name, rng):
    h, n = 3, 6
    target = fastvi.target(bent, data={"b": 0.3}, names={"z": 2})
    target.require_gradient("this test needs")
    q, noise = member(name, rng, 2), rng.standard_normal((1, h, 2))
    flat = q.params.copy()
    P = flat.size
    work = drivers.Work(*np.empty((2, n, 2)), np.empty((n, 1)), np.empty((n, 2)), np.empty(P))
    sums = drivers.Sums(np.zeros(P), np.zeros(1), np.zeros(P))
    trace, moments = drivers.Trace(*np.empty((4, 1))), np.zeros((2, P))
    run, table = q.driver(natural=False).run, target.data_table
    assert run(target.address, table, noise, 1.0, 0.1, flat, work, sums, trace, 1, moments) == 1
    wanted, bound = naive.step(
        lambda Z: log_p(Z, 0.3), name, SIZES[name], q.params, noise[0], 0.1
    )  # fmt: skip
    np.testing.assert_allclose(trace.elbo[0], bound, rtol=1e-10)
    np.testing.assert_allclose(flat, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(sums.params, q.params)
