"""What a fitted autoencoder says of rows: posteriors, bounds, probabilities, reconstructions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels.autoencoder_likelihoods import GAUSSIAN
from fastvi.kernels.networks import OUTPUTS
from fastvi.kernels.noise import normals
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.painting import drawn, expected, painted
from fastvi.models.autoencoder.rows import Rows

__all__ = [
    "bounds", "decoded", "log_weights", "means_of", "noise_sd", "posteriors",
    "resampled", "shares", "simulated",
]  # fmt: skip

CHUNK = 256  # rows, or draws of few rows
MOST_DRAWS = 2048  # of one row at a time


def _by_chunks(
    n_rows: int, n_chunk: int, n_threads: int, work: Callable[[], Any], task: Callable[..., None]
) -> None:
    """Call ``task(work, first, last)`` for chunks of rows, with one scratch per thread."""
    scratch: dict[int, Any] = {}

    def chunk(i: int) -> None:
        thread = threading.get_ident()
        if thread not in scratch:
            scratch[thread] = work()
        task(scratch[thread], i * n_chunk, min((i + 1) * n_chunk, n_rows))

    with parallel.single_threaded_blas():
        parallel.run(chunk, -(-n_rows // n_chunk), n_threads)


def posteriors(model: Autoencoder, params: Single, rows: Rows, n_threads: int) -> Single:
    """Return means and logs of standard deviations of q, (N, 2 J)."""
    out = np.empty((rows.n_rows, 2 * model.n_latent), np.float32)

    def task(work: Single, first: int, last: int) -> None:
        out[first:last] = model.encode(params, rows, first, last, work)

    _by_chunks(rows.n_rows, CHUNK, n_threads, lambda: model.encoder_work(CHUNK), task)
    return out


def shares(model: Any, params: Single, rows: Rows, n_threads: int) -> Array:
    """Return chances of the parts of a structured prior (N, C)."""
    out = np.empty((rows.n_rows, model.mixture.n_components))

    def task(work: Any, first: int, last: int) -> None:
        found = model.infer(params, rows, first, last, work)
        out[first:last] = found.shares[: last - first]

    _by_chunks(rows.n_rows, CHUNK, n_threads, lambda: model.encoder_work(CHUNK), task)
    return out


def _evaluated(
    model: Autoencoder,
    params: Single,
    rows: Rows,
    kind: int,
    n_draws: int,
    seed: int,
    n_threads: int,
    drawn: Callable[[Any, int, int], None] | None = None,
) -> tuple[Array, Array]:
    """Return log likelihoods, or log weights, of draws (N, K) and divergences (N,).

    The noise of a row depends on the seed and on the row alone. With ``drawn(work, first, last)``,
    which is called after each chunk of rows, it depends on the place of the row instead.
    """
    values, divergences = np.empty((rows.n_rows, n_draws)), np.empty(rows.n_rows)
    objective = kernels.Objective(kind, n_draws, 0.0, 1.0, 0.0)
    n_chunk = max(1, CHUNK // n_draws)

    def task(work: Any, first: int, last: int) -> None:
        n, j = last - first, model.n_latent
        numbers, x = np.arange(first, last), work.x[: n * model.frame.n_entries]
        eps, bits = work.eps[: n * n_draws * model.n_noise], x.view(np.uint32)
        if drawn is None:
            kernels.row_noise(rows.data, numbers, np.uint64(seed % 2**64), x, bits, eps)
        else:
            normals(np.uint64((seed << 32 | first) % 2**64), eps)
        model.evaluate(objective, params, rows, numbers, work)
        values[first:last] = work.values[: n * n_draws].reshape(n, n_draws)
        divergences[first:last] = work.divergences[: n * j].reshape(n, j).sum(axis=1)
        if drawn is not None:
            drawn(work, first, last)

    def scratch() -> Any:
        return model.evaluation_work(params, rows, n_chunk, n_draws)

    _by_chunks(rows.n_rows, n_chunk, n_threads, scratch, task)
    return values + rows.constants[:, None], divergences


def resampled(
    model: Autoencoder, params: Single, rows: Rows, n_draws: int, seed: int, n_threads: int
) -> Single:
    """Return one of K draws from q of each row (N, J), chosen by its importance weight."""
    out = np.empty((rows.n_rows, model.n_latent), np.float32)
    uniform = np.random.default_rng(seed).uniform(size=(rows.n_rows, 1))

    def keep(work: Any, first: int, last: int) -> None:
        n = last - first
        shares = softmax(work.values[: n * n_draws].reshape(n, n_draws), axis=1).cumsum(axis=1)
        chosen = (shares < uniform[first:last] * shares[:, -1:]).sum(axis=1)
        z = work.z[: n * n_draws * model.n_latent].reshape(n, n_draws, -1)
        out[first:last] = z[np.arange(n), np.minimum(chosen, n_draws - 1)]

    _evaluated(model, params, rows, kernels.WEIGHTED, n_draws, seed, n_threads, keep)
    return out


def bounds(
    model: Autoencoder, params: Single, rows: Rows, n_draws: int, seed: int, n_threads: int
) -> Array:
    """Return evidence lower bounds of rows (N,), by draws for the likelihood, in nats."""
    kind = kernels.SAMPLED if model.is_sampled else kernels.ELBO
    values, divergences = _evaluated(model, params, rows, kind, n_draws, seed, n_threads)
    bound = values.mean(axis=1)
    return np.asarray(bound if model.is_sampled else bound - divergences)


def log_weights(
    model: Autoencoder, params: Single, rows: Rows, n_draws: int, seed: int, n_threads: int
) -> Array:
    """Return log p(x) of rows (N,) by importance sampling, in nats."""
    done, total = 0, np.full(rows.n_rows, -np.inf)
    while done < n_draws:
        n = min(n_draws - done, MOST_DRAWS)
        values, _ = _evaluated(model, params, rows, kernels.WEIGHTED, n, seed + done, n_threads)
        total = np.logaddexp(total, logsumexp(values, axis=1))
        done += n
    return np.asarray(total - np.log(n_draws))


def decoded(model: Autoencoder, params: Single, z: AnyArray, n_threads: int) -> Single:
    """Return the last outputs (n, O) for latent variables z (n, J), of a decoder that reads pixels
    with the mean of each pixel in its place.
    """
    features = _features(model, params, z, n_threads)
    if not model.pixels:
        return features
    return painted(model, params, features, lambda out, columns: expected(model, out))[1]


def _features(model: Autoencoder, params: Single, z: AnyArray, n_threads: int) -> Single:
    """Return outputs (n, O) for latent variables z (n, J), or features of decoders that read
    pixels.
    """
    width = model.form.decoder.table[-1, OUTPUTS] if model.pixels else model.n_outputs
    out = np.empty((len(z), int(width)), np.float32)
    z = np.ascontiguousarray(z, np.float32)

    def task(work: Single, first: int, last: int) -> None:
        out[first:last] = model.decode(params, z[first:last], work)

    _by_chunks(len(z), CHUNK, n_threads, lambda: model.decoder_work(CHUNK), task)
    return out


def means_of(model: Autoencoder, outputs: Single) -> AnyArray:
    """Return means of rows (n, n_features) in the units of X; of categories the likeliest."""
    frame, likelihood = model.frame, model.form.likelihood
    outputs = outputs[:, : frame.n_entries].astype(np.float64)
    if likelihood == GAUSSIAN:
        return np.asarray(frame.centre + frame.scale * outputs)
    if frame.likelihood == "categorical":
        groups = outputs.reshape(len(outputs), -1, frame.n_levels)
        return np.asarray(groups.argmax(axis=2), np.float64)
    return expected(model, outputs)


def noise_sd(model: Autoencoder, params: Single, outputs: Single | None = None) -> AnyArray:
    """Return standard deviations of Gaussian noise, in the units of X: one, (n_features,), or
    those of rows if a network finds them.
    """
    form, width = model.form, model.frame.n_entries
    if form.noise == kernels.NETWORK_SD:
        assert outputs is not None
        log_sd = outputs[:, width:].astype(np.float64)
    elif form.noise == kernels.FIXED:
        log_sd = np.asarray(form.log_sd)
    else:
        found = params[form.noise_at : form.prior_at].astype(np.float64)
        log_sd = found if form.noise == kernels.EACH_SD else found[0]
    return np.asarray(model.frame.scale * np.exp(log_sd))


def simulated(
    model: Autoencoder, params: Single, z: AnyArray, rng: np.random.RandomState, n_threads: int
) -> AnyArray:
    """Draw rows (n, n_features) given latent variables; a multinomial row is one draw."""
    frame, features = model.frame, _features(model, params, z, n_threads)
    if model.pixels:
        entries, _ = painted(
            model, params, features, lambda out, columns: drawn(model, params, out, rng, columns)
        )
    else:
        entries = drawn(model, params, features, rng)
    if frame.likelihood == "gaussian":
        return np.asarray(frame.centre + frame.scale * entries)
    if frame.likelihood == "categorical":
        levels = entries.reshape(len(entries), -1, frame.n_levels).argmax(axis=2)
        return np.asarray(levels, np.float64)
    return np.asarray(entries, np.float64)
