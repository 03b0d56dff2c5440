"""Implicit posteriors of autoencoders: noise that a network bends, and the model of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder_implicit as kernels
from fastvi.kernels.autoencoder import Objective, Work, encode_rows
from fastvi.kernels.autoencoder_stages import add_prior
from fastvi.kernels.autoencoder_steps import Adam
from fastvi.kernels.networks import BIAS, INPUTS, OUTPUTS, forward, reverse
from fastvi.kernels.noise import normals
from fastvi.kernels.optimizers import adam_in_place
from fastvi.models.autoencoder.choice import Choice, Option, count, sizes
from fastvi.models.autoencoder.priors import NO_ROWS
from fastvi.models.autoencoder.ratios import RATIOS, Ratio
from fastvi.models.autoencoder.rows import Frame, Rows
from fastvi.models.autoencoder.staged import Staged
from fastvi.networks.layers import dense, initial, n_parameters

__all__ = ["IMPLICIT", "Implicit", "Sampler"]

Single = NDArray[np.float32]

N_DRAWS = 64  # Gaussians for means and standard deviations
START = -1.0  # logs of standard deviations of a new sampler's Gaussians, about
GOLDEN = 0x9E3779B97F4A7C15


def _ratio(value: Any, name: str) -> str:
    return checks.choice(value, name, tuple(RATIOS))


def _times(value: Any, name: str) -> float:
    return checks.number(value, name, 0.0, open_low=True)


IMPLICIT = {
    "ratio": Option("adversarial", _ratio),
    "n_context": count(32),
    "n_noise": count(16),
    "n_mixture": count(32, 2),
    "least_sd": Option(0.1, _times),
    "sampler_units": sizes(64, 64),
    "critic_units": sizes(64, 64),
    "critic_steps": count(2),
    "critic_rate": Option(4.0, _times),
}


class Tape:
    """What draws leave for the reverse pass, and scratch of the ratio."""

    def __init__(self, family: Sampler, n: int, n_all: int) -> None:
        table, n_parts = family.net.table, n_all * family.n_mixture
        self.inputs = np.empty(n_parts * int(table[0, INPUTS]), np.float32)
        self.outs = np.empty(n_parts * int(table[:, OUTPUTS].sum()), np.float32)
        self.spare = np.empty(n_parts * int(table[:, INPUTS].max()), np.float32)
        self.z = np.empty(n_parts * family.n_latent, np.float32)
        self.slopes = np.empty(n_parts * 2 * family.n_latent, np.float32)
        self.back = np.empty_like(self.inputs)
        self.shares = np.empty(n_all, np.float32)
        self.ratio = family.ratio.work(n, n_all)
        self.drawn: Drawn  # of the last `Sampler.draw`


class Drawn:
    """Gaussians of a batch, views of its tape, and a draw of each."""

    def __init__(
        self, family: Sampler, posterior: Single, eps: Single, tape: Tape, n_all: int
    ) -> None:
        self.n, self.n_all, self.context = len(posterior) // family.n_context, n_all, posterior
        n_parts, j = n_all * family.n_mixture, family.n_latent
        wide = family.n_context + family.n_noise_units
        self.eps = eps
        self.inputs = tape.inputs[: n_parts * wide]
        self.outs = tape.outs[: n_parts * int(family.net.table[:, OUTPUTS].sum())]
        self.gaussians = self.outs[len(self.outs) - n_parts * 2 * j :]
        self.all = tape.z[: n_parts * j]
        self.work = tape.ratio


class Sampler:
    """Draws whose density is not known, see `fastvi.kernels.autoencoder_implicit`.

    The log density of a draw is estimated by a ratio, see `ratios`, for steps, and bounded by the
    mixture of all Gaussians of the row's noise for whatever is said of rows.
    """

    objectives: tuple[str, ...] = ("elbo",)

    def __init__(self, n_latent: int, options: Mapping[str, Any]) -> None:
        self.n_latent = n_latent
        self.n_outputs = self.n_context = int(options["n_context"])
        self.n_noise_units = int(options["n_noise"])
        self.n_mixture = int(options["n_mixture"])
        self.width = self.n_noise_units + 2 * n_latent  # of noise
        self.n_noise = self.n_mixture * self.width
        self.least = np.float32(np.log(options["least_sd"]))
        self._units = tuple(options["sampler_units"])
        self.ratio: Ratio = RATIOS[options["ratio"]](self, options)

    def settle(self, first: int) -> int:
        """See `Family`."""
        sizes = [self.n_context + self.n_noise_units, *self._units, 2 * self.n_latent]
        self.net = dense(sizes, "elu", first=first)
        size = n_parameters(self.net)
        return size + self.ratio.settle(first + size)

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""
        initial(self.net, rng, params)
        bias = params[int(self.net.table[-1, BIAS]) :][: 2 * self.n_latent]
        bias[self.n_latent :] = START
        self.ratio.start(params, rng)

    def work(self, n: int, n_all: int) -> Tape:
        """See `Family`."""
        return Tape(self, n, n_all)

    def run(self, params: Single, posterior: Single, eps: Single, tape: Tape, n_all: int) -> Drawn:
        """Make Gaussians of the context of rows and of noise, and draw from all."""
        drawn = Drawn(self, posterior, eps, tape, n_all)
        kernels.beside(posterior, self.n_context, eps, self.n_noise_units, self.width, drawn.inputs)
        n_parts = n_all * self.n_mixture
        forward(sgemm(), self.net, params, drawn.inputs, NO_ROWS, n_parts, drawn.outs)
        kernels.hold_open(drawn.gaussians, self.n_latent, self.least)
        kernels.implicit_draws(drawn.gaussians, self.n_latent, eps, self.width, drawn.all)
        return drawn

    def _own(self, drawn: Drawn, z: Single) -> None:
        """Out: the first of each draw's Gaussians' draws."""
        z.reshape(-1, self.n_latent)[...] = drawn.all.reshape(-1, self.n_latent)[:: self.n_mixture]

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: Tape, z: Single, log_q: Array
    ) -> None:
        """See `Family`; log densities are estimates by the ratio."""
        work.drawn = self.run(params, posterior, eps, work, len(log_q))
        self._own(work.drawn, z)
        self.ratio.estimate(params, work.drawn, z, log_q)

    def exact(
        self, params: Single, posterior: Single, eps: Single, work: Tape, z: Single, log_q: Array
    ) -> None:
        """See `Family`: densities of the mixture with the draw's own Gaussian, so that bounds are
        lower ones and importance weights have the right mean.
        """
        self.bracket(params, posterior, eps, work, z, log_q, np.empty_like(log_q))

    def bracket(
        self, params: Single, posterior: Single, eps: Single, work: Tape, z: Single, high: Array,
        low: Array,
    ) -> Drawn:  # fmt: skip
        """Draw z; out: numbers at least, and at most, log q in expectation (R,)."""
        n_all = len(high)
        drawn = self.run(params, posterior, eps, work, n_all)
        self._own(drawn, z)
        logs = np.empty(n_all * n_all // drawn.n * self.n_mixture, np.float32)
        kernels.mixture_of_draws(
            drawn.gaussians, self.n_latent, drawn.n, z, 1e-300, logs, high, low
        )
        return drawn

    def moments(self, params: Single, found: Single) -> Single:
        """Those of the mixture of 64 Gaussians of each row, the same noise for all."""
        half = np.random.default_rng(0).standard_normal((N_DRAWS // 2, self.width), np.float32)
        points = np.concatenate([half, -half])
        out = np.empty((len(found), 2 * self.n_latent), np.float32)
        for i, row in enumerate(found):
            inputs = np.concatenate(
                [np.tile(row, (N_DRAWS, 1)), points[:, : self.n_noise_units]], axis=1
            ).ravel()
            outs = np.empty(N_DRAWS * int(self.net.table[:, OUTPUTS].sum()), np.float32)
            forward(sgemm(), self.net, params, inputs, NO_ROWS, N_DRAWS, outs)
            gaussians = outs[len(outs) - N_DRAWS * 2 * self.n_latent :]
            kernels.hold_open(gaussians, self.n_latent, self.least)
            kernels.implicit_moments(gaussians, self.n_latent, 1, out[i])
        return out

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: Tape,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Family`."""
        drawn = work.drawn
        n_all, j = drawn.n_all, self.n_latent
        back, shares = inner.back[: n_all * j], work.shares[:n_all]
        slopes = work.slopes[: len(drawn.gaussians)]
        add_prior(inner.weights[:n_all], objective.beta, inner.pull[: n_all * j], back, shares)
        slopes.fill(0.0)
        self.ratio.pull(drawn, inner.z[: n_all * j], shares, back, slopes)
        kernels.own_pull(drawn.gaussians, j, drawn.eps, self.width, back, slopes)
        kernels.open_pull(drawn.gaussians, j, self.least, slopes)
        drawn.gaussians[...] = slopes
        to_inputs = work.back[: len(drawn.inputs)]
        reverse(
            sgemm(), self.net, params, drawn.inputs, NO_ROWS, n_all * self.n_mixture, drawn.outs,
            work.spare, grads, to_inputs,
        )  # fmt: skip
        width = self.n_context + self.n_noise_units
        kernels.row_sums(to_inputs, width, self.n_context, posterior)


class Implicit(Staged):
    """Autoencoder with implicit posteriors: before each step a classifier, if the ratio has one,
    takes steps of its own on fresh draws.
    """

    family: Any  # a Sampler

    def __init__(
        self, frame: Frame, n_latent: int, hidden: Sequence[int], activation: str,
        noise: str | float, choice: Choice,
    ) -> None:  # fmt: skip
        if choice.words["prior"] == "vamp":
            raise ValueError(
                "prior='vamp' is a mixture of the encoder's Gaussians; family='implicit' has none"
            )
        super().__init__(frame, n_latent, hidden, activation, noise, choice)

    @property
    def needs_adam(self) -> bool:
        """See `Autoencoder`."""
        return bool(self.family.ratio.n_steps > 0)

    @property
    def makes_posteriors(self) -> bool:
        """See `Autoencoder`."""
        return False

    def step(
        self, objective: Objective, params: Single, rows: Rows, numbers: AnyArray, key: np.uint64,
        adam: Adam, moments: Single, work: Any, grads: Single,
    ) -> tuple[float, float, int]:  # fmt: skip
        """See `Autoencoder`."""
        critic = self.family.ratio.own
        if key != 0 and adam.rate > 0.0:
            for i in range(self.family.ratio.n_steps):
                self.learn(
                    params, rows, numbers, objective.n_draws, _other(key, i), adam, moments, work,
                    grads,
                )  # fmt: skip
        grads[critic] = 0.0
        found = super().step(
            objective, params, rows, numbers, key, adam._replace(rate=0.0), moments, work, grads
        )
        if adam.rate > 0.0 and found[2] < 0:
            self._move(slice(0, critic.start), adam, moments, grads, params)
        return found

    def learn(
        self, params: Single, rows: Rows, numbers: AnyArray, n_draws: int, key: np.uint64,
        adam: Adam, moments: Single, work: Any, grads: Single,
    ) -> float:  # fmt: skip
        """Let the classifier take a step on fresh draws for these rows; its log likelihood."""
        n, inner, ratio = len(numbers), work.inner, self.family.ratio
        n_all = n * n_draws
        eps = inner.eps[: n_all * self.n_noise]
        normals(key, eps)
        form = self.form_of(rows)
        first = encode_rows(sgemm(), form, params, rows.data, numbers, inner)
        context = inner.encoded[first : first + n * self.n_encoded]
        drawn = self.family.run(params, context, eps, work.family, n_all)
        score = ratio.learn(params, drawn, grads)
        faster = adam._replace(rate=adam.rate * ratio.rate)
        self._move(ratio.own, faster, moments, grads, params)
        return float(score)

    @staticmethod
    def _move(own: slice, adam: Adam, moments: Single, grads: Single, params: Single) -> None:
        first, second = moments[: grads.size], moments[grads.size :]
        adam_in_place(grads[own], first[own], second[own], *map(np.float32, adam), params[own])


def _other(key: np.uint64, number: int) -> np.uint64:
    return np.uint64((int(key) + (number + 1) * GOLDEN) % 2**64)
