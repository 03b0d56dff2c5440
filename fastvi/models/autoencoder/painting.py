"""Entries of rows from a decoder's outputs: drawn or expected, at once or pixel by pixel.

Entries are in the units of networks. Shapes: n rows, O outputs of a row, E entries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, softmax

from fastvi.base.typing import AnyArray
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels.autoencoder_likelihoods import BERNOULLI, CATEGORICAL, GAUSSIAN, POISSON
from fastvi.kernels.convolutions import next_pixels
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.pixels import Pixels

__all__ = ["drawn", "expected", "painted"]

ALL = slice(None)
CHUNK = 256  # images at a time


def expected(model: Autoencoder, outputs: AnyArray) -> AnyArray:
    """Return expectations (n, E) of entries: numbers, or indicators of levels or words."""
    likelihood = model.form.likelihood
    outputs = outputs.astype(np.float64)
    if likelihood == BERNOULLI:
        return np.asarray(expit(outputs))
    if likelihood == CATEGORICAL:
        groups = outputs.reshape(len(outputs), -1, model.frame.n_levels)
        return np.asarray(softmax(groups, axis=2).reshape(outputs.shape))
    if likelihood == POISSON:
        return np.asarray(np.exp(outputs))
    return np.asarray(_halves(model, outputs)[0])


def drawn(
    model: Autoencoder,
    params: Single,
    outputs: AnyArray,
    rng: np.random.RandomState,
    columns: slice = ALL,
) -> AnyArray:
    """Draw entries (n, E), or those of some columns from outputs for these; of words one a row."""
    likelihood = model.form.likelihood
    outputs = outputs.astype(np.float64)
    if likelihood == BERNOULLI:
        return np.asarray(rng.uniform(size=outputs.shape) < expit(outputs), np.float64)
    if likelihood == POISSON:
        return np.asarray(rng.poisson(np.exp(outputs)), np.float64)
    if likelihood == GAUSSIAN:
        means, log_sd = _halves(model, outputs)
        if model.form.noise == kernels.FIXED:
            log_sd = np.asarray(model.form.log_sd)
        elif model.form.noise != kernels.NETWORK_SD:
            log_sd = params[model.form.noise_at : model.form.prior_at].astype(np.float64)
            log_sd = log_sd[columns] if len(log_sd) > 1 else log_sd
        return np.asarray(means + np.exp(log_sd) * rng.standard_normal(means.shape))
    groups = outputs.reshape(len(outputs), -1, model.frame.n_levels)
    chosen = (groups + rng.gumbel(size=groups.shape)).argmax(axis=2)
    return np.asarray(np.eye(model.frame.n_levels)[chosen].reshape(outputs.shape))


def _halves(model: Autoencoder, outputs: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return means, and logs of standard deviations if a network finds them."""
    if model.form.noise != kernels.NETWORK_SD:
        return outputs, outputs[:0]
    means, log_sd = np.split(outputs, 2, axis=1)
    return means, log_sd


def painted(
    model: Autoencoder,
    params: Single,
    features: Single,
    chosen: Callable[[AnyArray, slice], AnyArray],
) -> tuple[Single, Single]:
    """Return entries (n, E) and outputs (n, O) for features of images (n, H W M), pixel by pixel.

    Entries of a pixel are ``chosen(outputs, columns)``, given its outputs and their columns.
    """
    assert model.pixels
    parts = [
        _painted(model, model.pixels, params, features[first : first + CHUNK], chosen)
        for first in range(0, len(features), CHUNK)
    ]
    entries, outputs = (np.concatenate(arrays) for arrays in zip(*parts))
    return entries, outputs


def _painted(
    model: Autoencoder,
    net: Pixels,
    params: Single,
    features: Single,
    chosen: Callable[[AnyArray, slice], AnyArray],
) -> tuple[Single, Single]:
    n, (height, width, channels) = len(features), net.shape
    edge = net.pad
    images = np.zeros((n, height + 2 * edge, width + 2 * edge, channels), np.float32)
    tapes = np.zeros((n, net.slot), np.float32)
    outputs = np.empty((n, model.n_outputs), np.float32)
    entries = np.empty((n, height * width * channels), np.float32)
    by_kind = outputs.reshape(n, -1, height * width, channels)
    for pixel in range(height * width):
        next_pixels(net.plan, params, pixel, images.reshape(n, -1), features, tapes, outputs)
        columns = slice(pixel * channels, (pixel + 1) * channels)
        found = chosen(by_kind[:, :, pixel].reshape(n, -1), columns)
        entries[:, columns] = found
        images[:, edge + pixel // width, edge + pixel % width] = found
    return entries, outputs
