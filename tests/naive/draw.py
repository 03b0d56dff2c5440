"""Plain twins of `fastvi.kernels.draw`, `draw_windows` and `windows`, in float64."""

import numpy as np
from scipy.special import expit, logsumexp

from fastvi.kernels.autoencoder import ELBO


def bank(centre, log_variance, log_distance, n, size, largest):
    """Filters (n, size), eqs. 19-26 of Gregor et al. 2015."""
    middle = (size + 1) / 2 * (centre + 1)
    step = (largest - 1) / max(n - 1, 1) * np.exp(log_distance)
    means = middle + (np.arange(1, n + 1) - n / 2 - 0.5) * step
    pixels = np.arange(1, size + 1)
    filters = np.exp(-((pixels - means[:, None]) ** 2) / (2 * np.exp(log_variance)))
    return filters / (filters.sum(axis=1, keepdims=True) + 1e-8)


def banks(numbers, n, height, width):
    down, across, variance, distance, intensity = numbers
    largest = max(height, width)
    return (
        bank(down, variance, distance, n, height, largest),
        bank(across, variance, distance, n, width, largest), np.exp(intensity),
    )  # fmt: skip


def read(numbers, n, image):
    """Window (n, n) of an image, eq. 27."""
    down, across, intensity = banks(numbers, n, *image.shape)
    return intensity * down @ image @ across.T


def written(numbers, patch, height, width):
    """Image of a window, eq. 29."""
    down, across, intensity = banks(numbers, len(patch), height, width)
    return down.T @ patch @ across / intensity


def lstm(gates, cell):
    i, f, o, u = np.split(gates, 4, axis=-1)
    cell = expit(f) * cell + expit(i) * np.tanh(u)
    return expit(o) * np.tanh(cell), cell


def run(form, params, x, eps):
    """Last canvases (R, E), means, logs of standard deviations and draws (R, T, J) each, for one
    row x (E,) and noise (T, J) of each of R draws.
    """
    H, J, E, shape = form.n_units, form.n_latent, x.shape[1], (form.height, form.width)

    def matrix(place, inputs, outputs):
        return params[place : place + inputs * outputs].reshape(inputs, outputs)

    def affine(h, place, outputs):
        bias = params[place + H * outputs :][:outputs]
        return h @ matrix(place, H, outputs) + bias

    R = len(x)
    canvas = np.tile(params[form.canvas : form.canvas + E], (R, 1))
    h_enc, h_dec, c_enc, c_dec = np.zeros((4, R, H))
    found = []
    for t in range(form.n_steps):
        lack = x - expit(canvas)
        seen, gates = lack, 0.0
        if form.read_size:
            numbers = affine(h_dec, form.reader_window, 5)
            seen = np.array([
                [read(w, form.read_size, image.reshape(shape)) for image in pair]
                for w, pair in zip(numbers, zip(x, lack))
            ]).reshape(R, -1)  # fmt: skip
        else:
            gates = x @ matrix(form.whole, E, 4 * H)
        inputs = np.concatenate([seen, h_dec, h_enc], axis=1)
        gates = gates + inputs @ matrix(form.encoder, inputs.shape[1], 4 * H)
        h_enc, c_enc = lstm(gates + params[form.encoder_bias :][: 4 * H], c_enc)
        mean, log_sd = np.split(affine(h_enc, form.posterior, 2 * J), 2, axis=1)
        z = mean + np.exp(log_sd) * eps[:, t]
        gates = np.concatenate([z, h_dec], axis=1) @ matrix(form.decoder, J + H, 4 * H)
        h_dec, c_dec = lstm(gates + params[form.decoder_bias :][: 4 * H], c_dec)
        if form.write_size:
            m = form.write_size
            patches = affine(h_dec, form.painter, m * m).reshape(-1, m, m)
            numbers = affine(h_dec, form.writer_window, 5)
            canvas = canvas + np.array([
                written(w, patch, *shape).ravel() for w, patch in zip(numbers, patches)
            ])  # fmt: skip
        else:
            canvas = canvas + h_dec @ matrix(form.painter, H, E)
        found.append((mean, log_sd, z))
    return canvas, *(np.stack(parts, axis=1) for parts in zip(*found))


def bound(form, objective, params, x, eps):
    """Mean over rows x (n, E), for noise eps (n, K, T, J)."""
    n, K = eps.shape[:2]
    rows, noise = np.repeat(x, K, axis=0), eps.reshape(n * K, *eps.shape[2:])
    canvas, mean, log_sd, z = run(form, params, rows, noise)
    values = (rows * canvas - np.logaddexp(canvas, 0)).sum(axis=1)
    if objective.kind == ELBO:
        kl = (0.5 * (mean**2 + np.exp(2 * log_sd) - 1) - log_sd).mean(axis=0)
        return values.mean() - objective.beta * np.maximum(kl, objective.free).sum()
    ratios = (0.5 * (noise**2 - z**2) + log_sd).sum(axis=(1, 2))
    power = 1 - objective.alpha
    w = power * (values + objective.beta * ratios).reshape(n, K)
    return np.mean(logsumexp(w, axis=1) - np.log(K)) / power
