"""Steps of recurrent autoencoders: the objective, the reverse pass of all steps, and Adam.

Shapes as in `draw`, objectives as in `autoencoder_steps`, with importance weights without double
reparameterisation: posteriors of later steps depend on earlier draws.
"""

import numpy as np

from ._blas import product
from ._jit import kernel
from .autoencoder import ELBO, gather
from .autoencoder_likelihoods import HALF, TWO, bernoulli
from .autoencoder_steps import FINE, scale_rows, weigh
from .draw import forward, step_of
from .draw_windows import read_windows_reverse, write_windows_reverse
from .lstm import cells_reverse, sigmoid
from .networks import ITEM, ONE, ZERO, column_sums
from .noise import normals
from .optimizers import adam_in_place
from .special import exp
from .targets import address_of
from .vectors import fill, sum_of


@kernel
def copy(source, to):
    """To = source."""
    for i in range(source.size):
        to[i] = source[i]


@kernel
def divergences(form, work, n_draws):
    """Out: divergences of posteriors from the prior (n T J), means over draws."""
    T, J = form.n_steps, form.n_latent
    share = np.float32(1.0 / n_draws)
    fill(work.divergences, ZERO)
    for t in range(T):
        q = step_of(work.posterior, t, T)
        for r in range(work.values.size):
            row, to = q[2 * r * J :], work.divergences[(r // n_draws * T + t) * J :]
            for j in range(J):
                square = row[j] * row[j] + exp(TWO * row[J + j])
                to[j] += share * (HALF * (square - ONE) - row[J + j])


@kernel
def add_log_ratios(form, work, beta):
    """Values (R,) += beta log p(z) / q(z)."""
    T, J = form.n_steps, form.n_latent
    for t in range(T):
        q = step_of(work.posterior, t, T)
        for r in range(work.values.size):
            row, at, total = q[2 * r * J :], (r * T + t) * J, 0.0
            eps, z = work.eps[at : at + J], work.z[at : at + J]
            for j in range(J):
                total += HALF * (eps[j] * eps[j] - z[j] * z[j]) + row[J + j]
            work.values[r] += beta * total


@kernel
def evaluate(blas, form, objective, params, data, rows, work):
    """Out: log likelihoods, or log weights, in values (R,), divergences, and slopes of the
    likelihood in place of the last canvas; of given eps.
    """
    gather(data, rows, work.x)
    forward(blas, form, params, objective.n_draws, work)
    canvas = step_of(work.canvases, form.n_steps, form.n_steps + 1)
    bernoulli(work.x, canvas, work.noise[work.noise.size // 2 :], work.values)
    divergences(form, work, objective.n_draws)
    if objective.kind != ELBO:
        add_log_ratios(form, work, objective.beta)


@kernel
def posterior_slopes(form, kind, beta, t, of_told, work):
    """Means and logs of standard deviations of a step become the gradient by them, given that by
    z, the first J of rows of `of_told` (R, J + H).
    """
    T, J, width = form.n_steps, form.n_latent, form.n_latent + form.n_units
    q = step_of(work.posterior, t, T)
    for r in range(work.values.size):
        row, given, at = q[2 * r * J :], of_told[r * width :], (r * T + t) * J
        eps, z, weight = work.eps[at:], work.z[at:], work.weights[r]
        betas = work.betas[t * J :]
        for j in range(J):
            sd = exp(row[J + j])
            if kind == ELBO:
                scaled = weight * betas[j]
                row[J + j] = given[j] * eps[j] * sd - scaled * (sd * sd - ONE)
                row[j] = given[j] - scaled * row[j]
            else:
                of_z = given[j] - weight * beta * z[j]
                row[J + j] = of_z * eps[j] * sd + weight * beta
                row[j] = of_z


@kernel
def add_back(blas, n, inputs, outputs, adjoint, params, place, add, out):
    """Out (n I) = adjoint (n O) W', or += if `add`, for W (I, O) at a place."""
    product(
        blas, n, inputs, outputs, address_of(adjoint), outputs, False,
        address_of(params) + ITEM * place, outputs, True, add, address_of(out), inputs,
    )  # fmt: skip


@kernel
def writer_reverse(blas, form, params, t, of_dec, work, spare):
    """Add to adjoints of the decoder's outputs (R H) what the canvas after a step asks."""
    R, H, T, E = work.values.size, form.n_units, form.n_steps, form.height * form.width
    of_canvas = step_of(work.canvases, t + 1, T + 1)
    if form.write_size == 0:
        add_back(blas, R, H, E, of_canvas, params, form.painter, True, of_dec)
        return
    n = form.write_size**2
    numbers, patches = step_of(work.windows, T + t, 2 * T), step_of(work.painted, t, T)
    of_numbers, of_patches = spare[: 5 * R], spare[5 * R : (5 + n) * R]
    write_windows_reverse(
        form, numbers, patches, spare[(5 + n) * R :], of_canvas, of_numbers, of_patches
    )
    copy(of_numbers, numbers)
    copy(of_patches, patches)
    add_back(blas, R, H, 5, numbers, params, form.writer_window, True, of_dec)
    add_back(blas, R, H, n, patches, params, form.painter, True, of_dec)


@kernel
def reader_reverse(blas, form, params, t, n_draws, of_seen, of_dec, work, spare):
    """The canvas before a step becomes its adjoint, and those of the decoder's outputs are added
    to, given those of what was read.
    """
    R, T, E, S = work.values.size, form.n_steps, form.height * form.width, form.n_read
    canvas, of_after = step_of(work.canvases, t, T + 1), step_of(work.canvases, t + 1, T + 1)
    width = S + 2 * form.n_units
    if form.read_size == 0:
        for r in range(R):
            row, after, slopes = canvas[r * E :], of_after[r * E :], of_seen[r * width :]
            for j in range(E):
                shown = sigmoid(row[j])
                row[j] = after[j] - slopes[j] * shown * (ONE - shown)
        return
    numbers, of_numbers, of_canvas = (
        step_of(work.windows, t, 2 * T), spare[: 5 * R], spare[5 * R : (5 + E) * R],
    )  # fmt: skip
    copy(of_after, of_canvas)
    read_windows_reverse(
        form, n_draws, numbers, work.x, canvas, spare[(5 + E) * R :], step_of(work.seen, t, T + 1),
        of_seen, width, of_numbers, of_canvas,
    )  # fmt: skip
    copy(of_numbers, numbers)
    copy(of_canvas, canvas)
    add_back(blas, R, form.n_units, 5, numbers, params, form.reader_window, True, of_dec)


@kernel
def outputs_before(form, of_told, of_seen, of_dec, of_enc):
    """Out: adjoints of outputs (R H) of the step before, of what the decoder and encoder saw."""
    H, J, S = form.n_units, form.n_latent, form.n_read
    for r in range(of_dec.size // H):
        told, seen = of_told[r * (J + H) + J :], of_seen[r * (S + 2 * H) + S :]
        dec, enc = of_dec[r * H : (r + 1) * H], of_enc[r * H : (r + 1) * H]
        for j in range(H):
            dec[j] = told[j] + seen[j]
            enc[j] = seen[H + j]


@kernel
def reverse_steps(blas, form, objective, params, work):
    """From slopes of the last canvas back: gates, posteriors, patches, windows and canvases become
    adjoints.
    """
    R, H, J, S, T = work.values.size, form.n_units, form.n_latent, form.n_read, form.n_steps
    size = R * H
    of_dec, of_enc, dec_cells, enc_cells = (
        work.spare[:size], work.spare[size : 2 * size], work.spare[2 * size : 3 * size],
        work.spare[3 * size : 4 * size],
    )  # fmt: skip
    fill(work.spare[: 4 * size], ZERO)
    of_told = work.spare[4 * size : 5 * size + R * J]
    of_seen = work.spare[5 * size + R * J : 7 * size + R * (J + S)]
    spare = work.spare[7 * size + R * (J + S) :]
    for t in range(T - 1, -1, -1):
        writer_reverse(blas, form, params, t, of_dec, work, spare)
        gates = step_of(work.decoder_gates, t, T)
        cells_reverse(
            H, gates, step_of(work.decoder_cells, t, T + 1),
            step_of(work.decoder_cells, t + 1, T + 1), of_dec, dec_cells,
        )  # fmt: skip
        add_back(blas, R, J + H, 4 * H, gates, params, form.decoder, False, of_told)
        posterior_slopes(form, objective.kind, np.float32(objective.beta), t, of_told, work)
        q = step_of(work.posterior, t, T)
        add_back(blas, R, H, 2 * J, q, params, form.posterior, True, of_enc)
        gates = step_of(work.encoder_gates, t, T)
        cells_reverse(
            H, gates, step_of(work.encoder_cells, t, T + 1),
            step_of(work.encoder_cells, t + 1, T + 1), of_enc, enc_cells,
        )  # fmt: skip
        add_back(blas, R, S + 2 * H, 4 * H, gates, params, form.encoder, False, of_seen)
        outputs_before(form, of_told, of_seen, of_dec, of_enc)
        reader_reverse(blas, form, params, t, objective.n_draws, of_seen, of_dec, work, spare)


@kernel
def gradient(blas, n, inputs, outputs, x, width, adjoint, place, bias, grads):
    """Gradients of W (I, O) and of a bias, of n rows at the address of x, `width` apart."""
    product(
        blas, inputs, outputs, n, x, width, True, address_of(adjoint), outputs, False, False,
        address_of(grads) + ITEM * place, outputs,
    )  # fmt: skip
    if bias >= 0:
        column_sums(adjoint, grads[bias : bias + outputs])


@kernel
def gradients(blas, form, n, work, grads):
    """Of all parameters, each by one product for all steps."""
    R, H, J, S, T = work.values.size, form.n_units, form.n_latent, form.n_read, form.n_steps
    E, a, b = form.height * form.width, S + 2 * H, J + H
    seen, told = address_of(work.seen), address_of(work.told)
    encoded, outputs = seen + ITEM * (R * a + S + H), told + ITEM * (R * b + J)
    column_sums(work.canvases[: R * E], grads[form.canvas : form.canvas + E])
    gradient(
        blas, T * R, a, 4 * H, seen, a, work.encoder_gates, form.encoder, form.encoder_bias, grads
    )
    gradient(
        blas, T * R, b, 4 * H, told, b, work.decoder_gates, form.decoder, form.decoder_bias, grads
    )
    q, first = 2 * J, form.posterior
    gradient(blas, T * R, H, q, encoded, a, work.posterior, first, first + H * q, grads)
    if form.write_size > 0:
        m, first = form.write_size**2, form.painter
        gradient(blas, T * R, H, m, outputs, b, work.painted, first, first + H * m, grads)
        numbers, first = work.windows[5 * T * R :], form.writer_window
        gradient(blas, T * R, H, 5, outputs, b, numbers, first, first + 5 * H, grads)
    else:
        gradient(blas, T * R, H, E, outputs, b, work.canvases[R * E :], form.painter, -1, grads)
    if form.read_size > 0:
        numbers, first, source = work.windows[: 5 * T * R], form.reader_window, seen + ITEM * S
        gradient(blas, T * R, H, 5, source, a, numbers, first, first + 5 * H, grads)
        return
    fill(work.whole, ZERO)
    for i in range(work.encoder_gates.size // (4 * H)):
        row, to = work.encoder_gates[i * 4 * H :], work.whole[i % R // (R // n) * 4 * H :]
        for j in range(4 * H):
            to[j] += row[j]
    gradient(blas, n, E, 4 * H, address_of(work.x), E, work.whole, form.whole, -1, grads)


@kernel
def step(blas, form, objective, params, data, rows, key, adam, moments, work, grads):
    """As `autoencoder_steps.step`, for scratch of exactly these rows."""
    kind = np.float32
    if key != 0:
        normals(key, work.eps)
    evaluate(blas, form, objective, params, data, rows, work)
    bound = weigh(objective, rows.size, work, work.divergences, work.values)
    divergence = sum_of(work.divergences) / rows.size
    if not np.isfinite(bound):
        return bound, divergence, 0
    slopes = step_of(work.canvases, form.n_steps, form.n_steps + 1)
    scale_rows(work.weights, slopes)
    reverse_steps(blas, form, objective, params, work)
    gradients(blas, form, rows.size, work, grads)
    if adam.rate > 0.0:
        adam_in_place(
            grads, moments[: grads.size], moments[grads.size :], kind(adam.decay),
            kind(adam.decay_square), kind(adam.rate), kind(adam.correction), kind(adam.epsilon),
            params,
        )  # fmt: skip
    return bound, divergence, FINE
