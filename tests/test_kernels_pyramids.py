"""`fastvi.kernels.pyramids` and `pyramid_heads` equal their plain twins, with exact gradients."""

import numpy as np
import pytest
from naive import pyramids as naive
from naive.networks import ACTIVATIONS, slope
from tolerances import rounding

from fastvi.kernels import pixel_calls, pyramid_heads, pyramids
from fastvi.models.autoencoder.pyramids import Pyramid

pytestmark = pytest.mark.usefixtures("quiet")

# Shape, kinds of outputs, maps, kernel size, stride, activation: sizes that are no powers of two,
# odd and even; widths below, at and above a tile of six pixels, and one pixel; strides of 1 and 3;
# channels and maps that are and are not multiples of four and sixteen.
CASES = [
    ((5, 7, 1), 1, (8, 16), 4, 2, 2),
    ((6, 13, 3), 2, (24,), 3, 2, 1),
    ((4, 6, 2), 1, (8, 8), 3, 1, 4),
    ((7, 1, 1), 1, (8, 8, 8), 3, 3, 2),
    ((1, 20, 5), 1, (16, 8), 2, 2, 1),
]
FIRST = 3  # parameters of others before


class Net:
    """A network with random parameters, and how to run it."""

    def __init__(self, case, is_decoder, seed=0):
        shape, n_kinds, n_maps, size, stride, activation = case
        rng = np.random.default_rng(seed)
        kinds = n_kinds if is_decoder else 0
        self.made = Pyramid(shape, kinds, n_maps, size, stride, activation, FIRST)
        self.params = rng.normal(scale=0.3, size=self.made.end).astype(np.float32)
        self.made.start(rng, self.params)
        self.x = rng.normal(size=(2, int(np.prod(shape)))).astype(np.float32)
        u = rng.normal(size=(3, self.made.n_top))
        self.u = ACTIVATIONS[activation](u).astype(np.float32)
        self.n_outputs = kinds * int(np.prod(shape)) if is_decoder else self.made.n_top
        self.rng, self.tape = rng, np.zeros(3 * self.made.slot, np.float32)
        self.spare = self.made.spare()

    def run(self, what, n, u, out, grads, n_slots=3):
        """Call the network."""
        table, plan = np.zeros(9, np.int64), self.made.plan
        arrays = (self.params, u, self.tape, out, self.spare, grads)
        table[0] = n
        table[1:7] = [array.ctypes.data for array in arrays]
        table[pixel_calls.N_TAPE] = n_slots * self.made.slot
        table[pixel_calls.N_SPARE] = self.spare.size
        addresses = self.x.ctypes.data, plan.ctypes.data, table.ctypes.data
        return pyramid_heads.pyramids(what, n, *addresses, 0)

    def differences(self, loss, exact, n=60):
        """Some parameters, and slopes by them."""
        chosen = np.arange(len(exact))
        if len(exact) > n:
            chosen = self.rng.choice(len(exact), n, replace=False)

        def moved(some):
            there = exact.copy()
            there[chosen] = some
            return loss(there)

        return chosen, slope(moved, exact[chosen])


@pytest.mark.parametrize("case", CASES)
def test_features_and_gradients(case):
    net = Net(case, is_decoder=False)
    u, told = np.full((2, net.made.n_top), np.nan, np.float32), np.empty(0, np.float32)
    net.run(pixel_calls.FORWARD, 2, u, told, net.params, n_slots=1)
    again = np.full_like(u, np.nan)
    net.run(pixel_calls.FORWARD, 2, again, told, net.params)
    np.testing.assert_array_equal(again, u)
    exact, slack = net.params.astype(float), rounding(np.float32, 16 * 24, 30.0)
    want = [naive.features(net.made.plan, exact, x) for x in net.x]
    np.testing.assert_allclose(u, want, rtol=slack, atol=slack)
    told, grads = net.rng.normal(size=u.shape).astype(np.float32), np.full_like(exact, np.nan, "f4")
    grads[:FIRST] = 0.0
    net.run(pixel_calls.REVERSE, 2, u, told, grads)

    def loss(params):
        found = [naive.features(net.made.plan, params, x) for x in net.x]
        return (told * found).sum()

    chosen, want = net.differences(loss, exact)
    np.testing.assert_allclose(grads[chosen], want, rtol=2e-3, atol=1e-4 * np.abs(want).max())
    assert not grads[:FIRST].any()
    assert np.isfinite(grads).all()


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients(case):
    net = Net(case, is_decoder=True)
    out = np.full((3, net.n_outputs), np.nan, np.float32)
    net.run(pixel_calls.FORWARD, 3, net.u, out, net.params, n_slots=1)
    again = np.full_like(out, np.nan)
    net.run(pixel_calls.FORWARD, 3, net.u, again, net.params)
    np.testing.assert_array_equal(again, out)
    plan, exact, slack = net.made.plan, net.params.astype(float), rounding(np.float32, 400, 30.0)
    want = [naive.outputs(plan, exact, u.astype(float)) for u in net.u]
    np.testing.assert_allclose(out, want, rtol=slack, atol=slack)
    slopes, back = net.rng.normal(size=out.shape).astype(np.float32), net.u.copy()
    grads = np.full_like(net.params, np.nan)
    grads[:FIRST] = 0.0
    net.run(pixel_calls.REVERSE, 3, back, slopes.copy(), grads)

    def loss(params, features=net.u):
        found = [naive.outputs(plan, params, u.astype(float)) for u in features]
        return (slopes * found).sum()

    chosen, want = net.differences(loss, exact)
    np.testing.assert_allclose(grads[chosen], want, rtol=2e-3, atol=1e-4 * np.abs(want).max())
    assert np.isfinite(grads).all()
    activate, inner = ACTIVATIONS[plan[pyramids.ACTIVATION]], net.rng.normal(size=net.u.shape)
    net.u = activate(inner).astype(np.float32)
    net.run(pixel_calls.FORWARD, 3, net.u, out, net.params)
    net.run(pixel_calls.REVERSE, 3, net.u, slopes.copy(), grads)
    some, want = net.differences(
        lambda flat: loss(exact, activate(flat.reshape(inner.shape))), inner.ravel(), 6
    )
    np.testing.assert_allclose(net.u.ravel()[some], want, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_up_is_the_transpose_of_down(case):
    """<down(x), y> = <x, up(y)>, for each level, to rounding."""
    made, rng = Pyramid(*case[:1], 0, *case[2:], 0), np.random.default_rng(1)
    plan, spare = made.plan, made.spare()
    params = rng.normal(size=made.end).astype(np.float32)
    back, products, there, _ = pyramid_heads.parts_of(plan, spare)
    pyramids.turn(plan, params, back)
    for level in range(1, plan[pyramids.N_LEVELS]):
        below, form = pyramids.level_of(plan, level - 1), pyramids.level_of(plan, level)
        shapes = [tuple(row[[pyramids.HEIGHT, pyramids.WIDTH]]) for row in (below, form)]
        fine, coarse = (np.zeros(row[pyramids.ROOM], np.float32) for row in (below, form))
        x, y = (
            rng.normal(size=(*shape, row[pyramids.CHANNELS])).astype(np.float32)
            for shape, row in zip(shapes, (below, form))
        )
        put(below, fine, x)
        pyramids.down(plan, level, fine, pyramids.weights_of(plan, level, params), coarse)
        one = (taken(form, coarse) * y).sum(dtype=np.float64)
        put(form, coarse, y)
        there = np.zeros_like(fine)
        turned = pyramids.turned_weights(plan, level, back)
        pyramids.up(plan, level, coarse, turned, products, there)
        other = (taken(below, there) * x).sum(dtype=np.float64)
        scale = np.sqrt(x.size * y.size)
        assert one == pytest.approx(other, abs=rounding(np.float32, 400, scale))


def put(form, image, pixels):
    """Write pixels (H, W, C) into an image."""
    for r, row in enumerate(pixels):
        start, n = pyramids.line(form, r)
        image[start : start + n] = row.ravel()


def taken(form, image):
    """Pixels (H, W, C) of an image."""
    lines = [pyramids.line(form, r) for r in range(form[pyramids.HEIGHT])]
    flat = np.array([image[start : start + n] for start, n in lines])
    return flat.reshape(form[pyramids.HEIGHT], form[pyramids.WIDTH], -1)
