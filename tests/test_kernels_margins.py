"""Maps of margins against their plain twin and differences, and compiled steps of copulas."""

import numpy as np
import pytest
from naive import margins as naive
from test_kernels_drivers import algorithms, compare, target_of

from fastvi.families import copula
from fastvi.families.margins import MARGINS, Margins

pytestmark = pytest.mark.usefixtures("quiet")
every_map = pytest.mark.parametrize("name", MARGINS)


def margins_of(name, rng, D=3):
    kind, shapes = Margins.of(name, D)
    return Margins(kind, 0.5 * rng.standard_normal(shapes.shape))


@every_map
def test_maps_are_those_of_the_twin(name, rng):
    margins, x = margins_of(name, rng), 3.0 * rng.standard_normal((6, 3))
    x[0] = 0.0
    wanted = [[naive.MAPS[name](s, v) for s, v in zip(margins.shapes, row)] for row in x]
    bent = margins.bent(x)
    np.testing.assert_allclose(bent.maps, wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(margins.inverse(bent.maps), x, rtol=1e-9, atol=1e-9)


@every_map
def test_slopes_bends_and_gradients_are_differences(name, rng):
    margins, x, h = margins_of(name, rng), 3.0 * rng.standard_normal((5, 3)), 1e-5
    weights, bent = rng.standard_normal(x.shape), margins.bent(x)
    up, down = margins.bent(x + h), margins.bent(x - h)
    atol = 1e-9 * np.abs(bent.maps).max()
    np.testing.assert_allclose(bent.slopes, (up.maps - down.maps) / (2 * h), rtol=1e-6, atol=atol)
    bends = (np.log(up.slopes) - np.log(down.slopes)) / (2 * h)
    np.testing.assert_allclose(bent.bends, bends, rtol=1e-6, atol=1e-8)
    found = margins.pullback(bent, weights)
    for place in np.ndindex(found.shape):
        ends = []
        for sign in (h, -h):
            shapes = margins.shapes.copy()
            shapes[place] += sign
            ends.append(np.sum(weights * margins._replace(shapes=shapes).bent(x).maps))
        slope = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(found[place], slope, rtol=1e-6, atol=10.0 * atol)


@every_map
def test_maps_begin_as_the_identity_and_invert_far_away(name, rng):
    x = np.concatenate((3.0 * rng.standard_normal((4, 2)), [[0.0, 4.0], [-4.0, 30.0]]))
    same = Margins.of(name, 2)
    np.testing.assert_allclose(same.bent(x).maps, x, rtol=1e-14, atol=1e-15)
    far = np.array([[1e6, -1e6, 20.0]])
    margins = margins_of(name, rng)
    x = margins.inverse(far)
    assert np.all(np.isfinite(x))
    np.testing.assert_allclose(margins.bent(x).maps, far, rtol=1e-6)


def bent_member(name, rng, dim, rank=None):
    root = np.tril(rng.normal(size=(dim, dim)), -1) * 0.2 + np.diag(rng.uniform(0.3, 1.5, dim))
    q = copula(name, rank)(0.3 * rng.normal(size=dim), root @ root.T)
    return q._replace(shapes=0.3 * rng.standard_normal(q.shapes.shape))


@pytest.mark.jit
@pytest.mark.parametrize("edge", [np.inf, 0.8])
@every_map
def test_a_block_is_as_many_steps(name, edge, rng):
    """Draws without a density are left out."""
    q = bent_member(name, rng, 3)
    history = compare(*algorithms(target_of(rng, 3, edge), q, 7, 0.05, 9, False), 9, 5)
    assert (history["rejected"].sum() > 0) == (edge < np.inf)
