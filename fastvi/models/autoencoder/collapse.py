"""Latent variables that are not in use, and why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.kernels.autoencoder_likelihoods import GAUSSIAN
from fastvi.models.autoencoder import evaluation
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.painting import expected

__all__ = ["ACTIVE", "Collapse", "Latents"]

ACTIVE = 0.01  # variance of a latent variable's posterior means, over rows
LEAST_EFFECT = 0.1  # nats; less is the noise of steps
N_PLACES = 64  # rows at which effects are taken


class Latents(NamedTuple):
    """What the posteriors of the rows of a fit say of the J latent variables.

    Attributes
    ----------
    variances : (J,) array
        Of posterior means.
    centres, spreads : (J,) arrays
        Means and standard deviations of all rows' posteriors together.
    information : (J,) array
        An upper bound of what they tell of rows, in nats: half the logarithm of the ratio of
        spread to a row's own variance, in the mean.
    places : (64, J) array
        Posterior means of rows.
    """

    variances: Array
    centres: Array
    spreads: Array
    information: Array
    places: Array

    @classmethod
    def of(cls, posteriors: Single) -> Latents:
        """Return those of means and logs of standard deviations (N, 2 J)."""
        means, log_sd = np.split(posteriors.astype(np.float64), 2, axis=1)
        variances = means.var(axis=0)
        whole = variances + np.exp(2.0 * log_sd).mean(axis=0)
        rows = np.linspace(0, len(means) - 1, N_PLACES).astype(int)
        information = 0.5 * np.log(whole) - log_sd.mean(axis=0)
        return cls(variances, means.mean(axis=0), np.sqrt(whole), information, means[rows])

    @classmethod
    def shapes(cls, n_latent: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays."""
        one = (n_latent,)
        return dict(zip(cls._fields, (one, one, one, one, (N_PLACES, n_latent))))


class Collapse(NamedTuple):
    """Which latent variables collapsed to their prior, and why; printed as a table.

    Attributes
    ----------
    causes : tuple of str
        For each latent variable ``""`` if it is in use: its posterior means vary by more than 0.01
        over rows. Otherwise ``"decoder"``, if the decoder hardly reacts to it, so that there is
        nothing to gain from it: the data have no further direction, or the decoder does without
        it. ``"divergence"``, if the decoder reacts, but the posterior stays at its prior to save
        the divergence: try another `kl`.
    information : (n_components,) array
        An upper bound of the information of posteriors about rows, in nats.
    effects : (n_components,) array
        How far rows' distributions move between two values of a latent variable, one standard
        deviation either side of its mean: symmetrised KL divergence in nats, halved, the mean
        over 64 rows.
    """

    causes: tuple[str, ...]
    information: Array
    effects: Array

    @classmethod
    def of(cls, latents: Latents, model: Autoencoder, params: Single, n_threads: int) -> Collapse:
        """Return the report of a fit."""
        effects = np.array([
            _effect(latents, j, model, params, n_threads) for j in range(model.n_latent)
        ])  # fmt: skip
        causes = tuple(
            "" if variance > ACTIVE else "decoder" if effect < LEAST_EFFECT else "divergence"
            for variance, effect in zip(latents.variances, effects)
        )
        return cls(causes, latents.information, effects)

    @property
    def n_collapsed(self) -> int:
        """Number of latent variables that are not in use."""
        return sum(map(bool, self.causes))

    def __str__(self) -> str:
        lines = ["unit  information  effect  collapsed by"]
        for j, cause in enumerate(self.causes):
            lines.append(f"{j:4}  {self.information[j]:11.3f}  {self.effects[j]:6.3f}  {cause}")
        return "\n".join(line.rstrip() for line in lines)


def _effect(latents: Latents, j: int, model: Autoencoder, params: Single, n_threads: int) -> float:
    """Half the symmetrised divergence of rows' distributions between two values of number j."""
    z = np.concatenate([latents.places, latents.places])
    z[:N_PLACES, j] = latents.centres[j] - latents.spreads[j]
    z[N_PLACES:, j] = latents.centres[j] + latents.spreads[j]
    outputs = evaluation.decoded(model, params, z, n_threads)
    if model.form.likelihood == GAUSSIAN:
        means = evaluation.means_of(model, outputs)
        noise = evaluation.noise_sd(model, params, outputs)
        sd = np.broadcast_to(noise, means.shape)
        return float(_of_gaussians(*np.split(means, 2), *np.split(sd, 2)))
    means = expected(model, outputs)
    logits = outputs[:, : means.shape[1]].astype(np.float64)
    (low, high), (a, b) = np.split(means, 2), np.split(logits, 2)
    return 0.5 * float(((high - low) * (b - a)).sum(axis=1).mean())


def _of_gaussians(a: AnyArray, b: AnyArray, sd_a: AnyArray, sd_b: AnyArray) -> float:
    square, va, vb = np.square(a - b), np.square(sd_a), np.square(sd_b)
    both = (va + square) / vb + (vb + square) / va - 2.0
    return 0.25 * float(both.sum(axis=1).mean())
