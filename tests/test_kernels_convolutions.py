"""`fastvi.kernels.convolutions` and `pixels` equal their plain twins, and are causal."""

import numpy as np
import pytest
from naive import convolutions as naive
from naive.networks import slope
from tolerances import rounding

from fastvi.kernels import convolutions as kernels
from fastvi.kernels import pixel_calls, pixels
from fastvi.models.autoencoder.pixels import Pixels

pytestmark = pytest.mark.usefixtures("quiet")

# Shape, kinds of outputs, maps, sizes, activation: widths below, at and above a tile of six pixels,
# numbers of channels and maps that are and are not multiples of four and sixteen.
CASES = [
    ((2, 3, 1), 1, 8, (3, 3), 2),
    ((3, 7, 4), 1, 16, (5, 3, 1), 1),
    ((4, 6, 5), 2, 24, (3,), 4),
    ((1, 1, 1), 1, 8, (1,), 3),
]
FIRST = 3  # parameters of others before


class Net:
    """A network with random parameters, and how to run it."""

    def __init__(self, shape, n_kinds, n_maps, sizes, activation, seed=0):
        self.shape, self.sizes, rng = shape, sizes, np.random.default_rng(seed)
        self.made = Pixels(shape, n_kinds, n_maps, sizes, activation, FIRST)
        self.params = rng.normal(scale=0.5, size=self.made.end).astype(np.float32)
        self.made.start(rng, self.params)
        self.table = np.zeros(9, np.int64)
        self.rng = rng

    def draws(self, n_rows, n_draws):
        """Images and features."""
        h, w, _ = self.shape
        x = self.rng.normal(size=(n_rows, *self.shape)).astype(np.float32)
        u = self.rng.normal(size=(n_rows * n_draws, h, w, self.made.plan[kernels.MAPS]))
        return x, u.astype(np.float32)

    def arguments(self, what, x, u, tape, out, grads):
        n_draws, table = len(u) // len(x), self.table
        numbers = (len(x), self.params, u, tape, out, self.made.spare(), grads)
        for k, value in enumerate(numbers):
            table[k] = value if k == 0 else value.ctypes.data
        table[pixel_calls.N_TAPE] = tape.size
        table[pixel_calls.N_SPARE] = numbers[5].size
        self.kept = numbers, x
        plan = self.made.plan
        return what, len(x) * n_draws, x.ctypes.data, plan.ctypes.data, table.ctypes.data, 0

    def run(self, what, *arrays):
        return pixels.pixels(*self.arguments(what, *arrays))

    def forward(self, x, u, n_slots=None):
        """Outputs and the tape."""
        plan = self.made.plan
        n_out = plan[kernels.N_OUTPUTS] * plan[kernels.HEIGHT] * plan[kernels.WIDTH]
        out = np.full((len(u), n_out), np.nan, np.float32)
        tape = np.zeros((n_slots or len(u)) * self.made.slot, np.float32)
        self.run(pixel_calls.FORWARD, x, u, tape, out, self.params)
        return out, tape

    def twin(self, params, x, u):
        n_draws, plan = len(u) // len(x), self.made.plan
        return np.array([
            naive.outputs(plan, params, x[r // n_draws].astype(float), u[r]).ravel()
            for r in range(len(u))
        ])  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients(case):
    net = Net(*case)
    x, u = net.draws(2, 2)
    out, tape = net.forward(x, u)
    exact = net.params.astype(float)
    slack = rounding(np.float32, 13 * 24, 30.0)
    np.testing.assert_allclose(out, net.twin(exact, x, u), rtol=slack, atol=slack)
    np.testing.assert_array_equal(net.forward(x, u, n_slots=1)[0], out)
    weights = net.rng.normal(size=out.shape).astype(np.float32)
    grads, back = np.zeros_like(net.params), u.copy()
    net.run(pixel_calls.REVERSE, x, back, tape, weights.copy(), grads)
    if case is CASES[1]:  # too many parameters for all of them
        chosen = net.rng.choice(len(exact), 60, replace=False)
    else:
        chosen = np.arange(len(exact))

    def loss(some, features=u):
        moved = exact.copy()
        moved[chosen] = some
        return (weights * net.twin(moved, x, features)).sum()

    want = slope(loss, exact[chosen])
    np.testing.assert_allclose(grads[chosen], want, rtol=2e-3, atol=1e-4 * np.abs(want).max())
    assert not grads[:FIRST].any()
    flat = u.astype(float).ravel()
    some = net.rng.choice(len(flat), 6, replace=False) if len(flat) > 6 else np.arange(len(flat))

    def of_features(values):
        moved = flat.copy()
        moved[some] = values
        return loss(exact[chosen], moved.reshape(u.shape))

    want = slope(of_features, flat[some])
    np.testing.assert_allclose(back.ravel()[some], want, rtol=2e-3, atol=1e-4)


def test_outputs_of_a_pixel_depend_on_pixels_before_it_alone():
    """To the last bit, and on all of them within its field."""
    net = Net((4, 7, 1), 1, 8, (3, 3), 1)
    x, u = net.draws(1, 1)
    out = net.forward(x, u)[0][0]
    steps = [np.array(naive.seen(3, with_own)) for with_own in (False, True)]
    reached = {tuple(int(v) for v in a + b) for a in steps[0] for b in steps[1]}
    for j in range(28):
        moved = x.copy()
        moved.reshape(-1)[j] += 1.0
        changed = np.flatnonzero(net.forward(moved, u)[0][0] != out)
        inside = [i for i in range(28) if (j // 7 - i // 7, j % 7 - i % 7) in reached]
        np.testing.assert_array_equal(changed, inside)


def test_probabilities_of_all_images_sum_to_one():
    net = Net((2, 3, 1), 1, 8, (3, 3), 2)
    x = np.array(list(np.ndindex(*(2,) * 6)), np.float32)
    u = np.repeat(net.draws(1, 1)[1], len(x), axis=0)
    logits = net.forward(x.reshape(-1, 2, 3, 1), u)[0].astype(float)
    logs = (x * logits - np.logaddexp(logits, 0.0)).sum(axis=1)
    assert np.exp(logs).sum() == pytest.approx(1.0, abs=rounding(np.float32, 64, 1.0))


@pytest.mark.parametrize("case", CASES)
def test_pixels_one_by_one(case):
    net = Net(*case)
    x, u = net.draws(1, 1)
    out, tape = net.forward(x, u)
    again, cache = np.full_like(out[0], np.nan), np.zeros(net.made.slot, np.float32)
    h, w, c = net.shape
    pad = net.made.pad
    image = np.zeros((h + 2 * pad, w + 2 * pad, c), np.float32)
    for pixel in range(h * w):
        kernels.next_pixel(
            net.made.plan, net.params, pixel, image.reshape(-1), u.reshape(-1), cache, again
        )
        image[pad + pixel // w, pad + pixel % w] = x[0, pixel // w, pixel % w]
    slack = rounding(np.float32, 13 * 24, 30.0)
    np.testing.assert_allclose(again, out[0], rtol=slack, atol=slack)
    np.testing.assert_allclose(cache, tape, rtol=slack, atol=slack)
