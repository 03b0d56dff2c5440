"""Recurrent autoencoders that paint an image in steps (Gregor et al. 2015, "DRAW").

At each of T steps, an encoder reads the image and what the canvas still lacks, and draws J latent
variables, from which a decoder adds to the canvas of logits; both are LSTM cells. They see and
paint the whole image, or windows of it (`windows.py`). Shapes: n rows, K draws of each, R = n K, E
pixels, H units, S numbers read. Arrays are flat, of all steps one after another, so that products
for gradients are one for all steps.
"""

from typing import NamedTuple

import numpy as np

from ._blas import product
from ._jit import kernel
from .draw_windows import read_windows, write_windows
from .lstm import cells, sigmoid
from .networks import ITEM
from .special import exp
from .targets import address_of
from .vectors import fill


class Draw(NamedTuple):
    """The form: sizes, and places of parameters."""

    n_steps: int
    n_units: int
    n_latent: int  # J, of a step
    height: int
    width: int
    n_read: int  # S; 2 N^2 with a window of N x N, else E
    read_size: int  # N, or 0 for the whole image
    write_size: int
    whole: int  # (E, 4 H) from the image to the encoder's gates, without a window
    encoder: int  # (S + 2 H, 4 H) from what is read, the decoder's and the encoder's outputs
    encoder_bias: int  # (4 H,)
    posterior: int  # (H, 2 J), and (2 J,)
    decoder: int  # (J + H, 4 H) from latent variables and its own outputs
    decoder_bias: int
    painter: int  # (H, N^2) and (N^2,), or (H, E)
    reader_window: int  # (H, 5) and (5,)
    writer_window: int
    canvas: int  # (E,) at the start


class Work(NamedTuple):
    """Scratch, flat float32 if nothing else is said; steps are 0 ... T where there is one more."""

    x: np.ndarray  # (n E)
    eps: np.ndarray  # (R T J)
    z: np.ndarray  # (R T J)
    values: np.ndarray  # (R,) float64
    weights: np.ndarray  # (R,)
    ratios: np.ndarray  # (R,)
    divergences: np.ndarray  # (n T J)
    betas: np.ndarray  # (T J,)
    noise: np.ndarray  # (2 E)
    whole: np.ndarray  # (n 4 H) the image's part of the encoder's gates
    seen: np.ndarray  # (T + 1, R, S + 2 H)
    encoder_gates: np.ndarray  # (T, R, 4 H)
    encoder_cells: np.ndarray  # (T + 1, R, H)
    posterior: np.ndarray  # (T, R, 2 J) means and logs of standard deviations
    told: np.ndarray  # (T + 1, R, J + H)
    decoder_gates: np.ndarray
    decoder_cells: np.ndarray
    painted: np.ndarray  # (T, R, N^2), or (0,)
    windows: np.ndarray  # (2, T, R, 5) numbers of windows that are read, then of those written
    canvases: np.ndarray  # (T + 1, R, E)
    spare: np.ndarray


@kernel
def step_of(x, t, n_steps):
    """The part of step t of an array of so many."""
    size = x.size // n_steps
    return x[t * size : (t + 1) * size]


@kernel
def affine(blas, n, inputs, outputs, x, width, params, place, out):
    """Out (n O) = x W + b, for the address of x, rows `width` apart, and W and b at a place."""
    bias = params[place + inputs * outputs : place + (inputs + 1) * outputs]
    for i in range(n):
        row = out[i * outputs : (i + 1) * outputs]
        for j in range(outputs):
            row[j] = bias[j]
    product(
        blas, n, outputs, inputs, x, width, False, address_of(params) + ITEM * place, outputs,
        False, True, address_of(out), outputs,
    )  # fmt: skip


@kernel
def missing(x, canvas, n_draws, width, out, out_width):
    """Out: the image less what the canvas shows, per draw."""
    for r in range(canvas.size // width):
        row, seen = canvas[r * width : (r + 1) * width], x[r // n_draws * width :]
        to = out[r * out_width :]
        for j in range(width):
            to[j] = seen[j] - sigmoid(row[j])


@kernel
def spread(source, n_draws, width, out):
    """Out: rows of the source (n width), each as often as there are draws."""
    for r in range(out.size // width):
        row, to = source[r // n_draws * width :], out[r * width : (r + 1) * width]
        for j in range(width):
            to[j] = row[j]


@kernel
def start(blas, form, params, n, work):
    """Zero states, the first canvas, and the image's part of gates."""
    E, H, T1 = form.height * form.width, form.n_units, form.n_steps + 1
    fill(step_of(work.seen, 0, T1), np.float32(0.0))
    fill(step_of(work.told, 0, T1), np.float32(0.0))
    fill(step_of(work.encoder_cells, 0, T1), np.float32(0.0))
    fill(step_of(work.decoder_cells, 0, T1), np.float32(0.0))
    spread(
        params[form.canvas : form.canvas + E], work.values.size, E, step_of(work.canvases, 0, T1)
    )
    if form.read_size == 0:
        product(
            blas, n, 4 * H, E, address_of(work.x), E, False, address_of(params) + ITEM * form.whole,
            4 * H, False, False, address_of(work.whole), 4 * H,
        )  # fmt: skip


@kernel
def encode_step(blas, form, params, t, n_draws, work):
    """What is read, the encoder's state, and posterior and draws of a step."""
    R, H, J, T1 = work.values.size, form.n_units, form.n_latent, form.n_steps + 1
    width = form.n_read + 2 * H
    seen, after = step_of(work.seen, t, T1), step_of(work.seen, t + 1, T1)
    canvas, gates = step_of(work.canvases, t, T1), step_of(work.encoder_gates, t, form.n_steps)
    if form.read_size > 0:
        numbers = step_of(work.windows, t, 2 * form.n_steps)
        affine(
            blas, R, H, 5, address_of(seen) + ITEM * form.n_read, width, params,
            form.reader_window, numbers,
        )  # fmt: skip
        read_windows(form, n_draws, numbers, work.x, canvas, work.spare, seen, width)
        fill(gates, np.float32(0.0))
    else:
        missing(work.x, canvas, n_draws, form.height * form.width, seen, width)
        spread(work.whole, n_draws, 4 * H, gates)
    product(
        blas, R, 4 * H, width, address_of(seen), width, False,
        address_of(params) + ITEM * form.encoder, 4 * H, False, True, address_of(gates), 4 * H,
    )  # fmt: skip
    cells(
        gates, params[form.encoder_bias : form.encoder_bias + 4 * H],
        step_of(work.encoder_cells, t, T1), step_of(work.encoder_cells, t + 1, T1),
        after[form.n_read + H :], width,
    )  # fmt: skip
    q = step_of(work.posterior, t, form.n_steps)
    affine(
        blas, R, H, 2 * J, address_of(after) + ITEM * (form.n_read + H), width, params,
        form.posterior, q,
    )  # fmt: skip
    for r in range(R):
        row, at = q[2 * r * J :], (r * form.n_steps + t) * J
        eps, z = work.eps[at : at + J], work.z[at : at + J]
        for j in range(J):
            z[j] = row[j] + exp(row[J + j]) * eps[j]


@kernel
def decode_step(blas, form, params, t, work):
    """The decoder's state, and the canvas, of latent variables z."""
    R, H, J, T1 = work.values.size, form.n_units, form.n_latent, form.n_steps + 1
    width, E = J + H, form.height * form.width
    told, after = step_of(work.told, t, T1), step_of(work.told, t + 1, T1)
    gates, seen = step_of(work.decoder_gates, t, form.n_steps), step_of(work.seen, t + 1, T1)
    for r in range(R):
        row, z = told[r * width :], work.z[(r * form.n_steps + t) * J :]
        for j in range(J):
            row[j] = z[j]
    product(
        blas, R, 4 * H, width, address_of(told), width, False,
        address_of(params) + ITEM * form.decoder, 4 * H, False, False, address_of(gates), 4 * H,
    )  # fmt: skip
    cells(
        gates, params[form.decoder_bias : form.decoder_bias + 4 * H],
        step_of(work.decoder_cells, t, T1), step_of(work.decoder_cells, t + 1, T1), after[J:],
        width,
    )  # fmt: skip
    for r in range(R):
        row, to = after[r * width + J :], seen[r * (form.n_read + 2 * H) + form.n_read :]
        for j in range(H):
            to[j] = row[j]
    canvas, source = step_of(work.canvases, t + 1, T1), address_of(after) + ITEM * J
    before = step_of(work.canvases, t, T1)
    for i in range(canvas.size):
        canvas[i] = before[i]
    if form.write_size > 0:
        numbers = step_of(work.windows, form.n_steps + t, 2 * form.n_steps)
        patches = step_of(work.painted, t, form.n_steps)
        affine(blas, R, H, 5, source, width, params, form.writer_window, numbers)
        affine(blas, R, H, form.write_size**2, source, width, params, form.painter, patches)
        write_windows(form, numbers, patches, work.spare, canvas)
        return
    product(
        blas, R, E, H, source, width, False, address_of(params) + ITEM * form.painter, E, False,
        True, address_of(canvas), E,
    )  # fmt: skip


@kernel
def paint(blas, form, params, work):
    """Out: the last canvas, of given z."""
    start(blas, form, params, 0, work)
    for t in range(form.n_steps):
        decode_step(blas, form, params, t, work)


@kernel
def forward(blas, form, params, n_draws, work):
    """Out: draws z of given eps, posteriors and canvases."""
    start(blas, form, params, work.values.size // n_draws, work)
    for t in range(form.n_steps):
        encode_step(blas, form, params, t, n_draws, work)
        decode_step(blas, form, params, t, work)
