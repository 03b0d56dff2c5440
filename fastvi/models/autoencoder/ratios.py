"""Estimates of log densities of draws that have none, for steps of implicit posteriors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder_implicit as kernels
from fastvi.kernels.networks import INPUTS, OUTPUTS, forward, reverse
from fastvi.models.autoencoder.priors import NO_ROWS
from fastvi.networks.layers import dense, initial, n_parameters

if TYPE_CHECKING:
    from fastvi.models.autoencoder.implicit import Drawn, Sampler

__all__ = ["RATIOS", "Adversarial", "Kernel", "Mixture", "Ratio", "kernel_ratio"]

Single = NDArray[np.float32]

WIDTH, RIDGE = 0.7, 0.03  # of kernels, in standard deviations times sqrt(J), and of least squares
LEAST = 0.02  # ratio by kernels


class Ratio(Protocol):
    """Log densities of draws z (R J) of `implicit.Drawn`, without J log(2 pi) / 2."""

    own: slice  # places of its own parameters, the last of all
    n_steps: int  # of its own before each of the others
    rate: float  # of these, over that of the others

    def settle(self, first: int) -> int:
        """Take the first place of its own parameters; return their number."""

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """Set initial parameters."""

    def work(self, n: int, n_all: int) -> Any:
        """Return scratch for up to n rows and R draws."""

    def estimate(self, params: Single, drawn: Drawn, z: Single, log_q: Array) -> None:
        """Out: log densities (R,)."""

    def pull(self, drawn: Drawn, z: Single, shares: Single, back: Single, slopes: Single) -> None:
        """Take shares (R,) of the slopes of log densities off those by z, back (R J), and by the
        Gaussians (P 2 J).
        """

    def learn(self, params: Single, drawn: Drawn, grads: Single) -> float:
        """Out: the gradient of its own parameters; what it has reached."""


class _Plain:
    """Without parameters."""

    n_steps, rate = 0, 1.0

    def __init__(self, family: Sampler, options: Mapping[str, Any]) -> None:
        self.family = family
        self.own = slice(0, 0)

    def settle(self, first: int) -> int:
        """See `Ratio`."""
        self.own = slice(first, first)
        return 0

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Ratio`."""

    def learn(self, params: Single, drawn: Drawn, grads: Single) -> float:
        """See `Ratio`."""
        return 0.0


class Mixture(_Plain):
    """The mixture of all Gaussians of a row, its own included (Yin and Zhou 2018, eq. 11)."""

    def work(self, n: int, n_all: int) -> Any:
        """See `Ratio`."""
        return np.empty(n_all * n_all // n * self.family.n_mixture, np.float32)

    def estimate(self, params: Single, drawn: Drawn, z: Single, log_q: Array) -> None:
        """See `Ratio`."""
        kernels.mixture_of_draws(
            drawn.gaussians, self.family.n_latent, drawn.n, z, 1e-300, self._logs(drawn), log_q,
            np.empty_like(log_q),
        )  # fmt: skip

    def _logs(self, drawn: Drawn) -> Single:
        logs: Single = drawn.work[: drawn.n_all**2 // drawn.n * self.family.n_mixture]
        return logs

    def pull(self, drawn: Drawn, z: Single, shares: Single, back: Single, slopes: Single) -> None:
        """See `Ratio`."""
        kernels.mixture_pull(
            drawn.gaussians, self.family.n_latent, drawn.n, z, self._logs(drawn), shares, back,
            slopes,
        )  # fmt: skip


class _Critic:
    """Scratch of the classifier."""

    def __init__(self, ratio: Adversarial, n: int, n_all: int) -> None:
        family, table = ratio.family, ratio.net.table
        j, most = family.n_latent, 2 * n_all * family.n_mixture
        self.moments = np.empty(n * 2 * j, np.float32)
        self.away = np.empty(most * j, np.float32)
        self.pull = np.empty(n_all * j, np.float32)
        self.inputs = np.empty(most * int(table[0, INPUTS]), np.float32)
        self.back = np.empty(n_all * int(table[0, INPUTS]), np.float32)
        self.outs = np.empty(most * int(table[:, OUTPUTS].sum()), np.float32)
        self.spare = np.empty(most * int(table[:, INPUTS].max()), np.float32)
        self.logits = np.empty(n_all, np.float32)
        self.grads = np.empty(0, np.float32)


class Adversarial:
    """A classifier tells draws from those of the Gaussian with their mean and standard deviations;
    its logits are the log ratio of both (Mescheder, Nowozin and Geiger 2017, "Adversarial
    variational Bayes", section 4: adaptive contrast).

    It sees the context, on which alone draws depend, and draws in standard deviations. Steps of
    other parameters follow log q along paths of draws, as if it and the moments stayed: of the true
    ratio the rest has expectation 0 (their proposition 2).
    """

    def __init__(self, family: Sampler, options: Mapping[str, Any]) -> None:
        self.family = family
        self._units = tuple(options["critic_units"])
        self.n_steps, self.rate = int(options["critic_steps"]), float(options["critic_rate"])

    def settle(self, first: int) -> int:
        """See `Ratio`."""
        sizes = [self.family.n_context + self.family.n_latent, *self._units, 1]
        self.net = dense(sizes, "elu", first=first)
        size = n_parameters(self.net)
        self.own = slice(first, first + size)
        return size

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Ratio`."""
        initial(self.net, rng, params)

    def work(self, n: int, n_all: int) -> _Critic:
        """See `Ratio`."""
        return _Critic(self, n, n_all)

    def _logits(self, params: Single, drawn: Drawn, away: Single) -> tuple[Single, Single]:
        """Run the classifier on draws in standard deviations (B J); its inputs and outputs."""
        work, j, n_context = drawn.work, self.family.n_latent, self.family.n_context
        n_all = len(away) // j
        inputs = work.inputs[: n_all * (n_context + j)]
        kernels.beside(drawn.context, n_context, away, j, j, inputs)
        outs = work.outs[: n_all * int(self.net.table[:, OUTPUTS].sum())]
        forward(sgemm(), self.net, params, inputs, NO_ROWS, n_all, outs)
        return inputs, outs

    def estimate(self, params: Single, drawn: Drawn, z: Single, log_q: Array) -> None:
        """See `Ratio`."""
        work, family, n_all = drawn.work, self.family, len(log_q)
        j, n_context = family.n_latent, family.n_context
        moments, away = work.moments[: drawn.n * 2 * j], work.away[: n_all * j]
        kernels.implicit_moments(drawn.gaussians, j, drawn.n, moments)
        kernels.standardised(moments, j, z, away)
        inputs, outs = self._logits(params, drawn, away)
        logits = work.logits[:n_all]
        logits[...] = outs[-n_all:]
        outs[-n_all:] = 1.0
        if work.grads.size < params.size:
            work.grads = np.empty_like(params)
        back = work.back[: len(inputs)]
        reverse(
            sgemm(), self.net, params, inputs, NO_ROWS, n_all, outs, work.spare, work.grads, back
        )
        tilt = np.ascontiguousarray(back.reshape(n_all, -1)[:, n_context:]).ravel()
        kernels.contrasted(moments, j, away, logits, tilt, log_q, work.pull[: n_all * j])

    def pull(self, drawn: Drawn, z: Single, shares: Single, back: Single, slopes: Single) -> None:
        """See `Ratio`."""
        kernels.path_pull(drawn.work.pull[: len(back)], shares, back)

    def learn(self, params: Single, drawn: Drawn, grads: Single) -> float:
        """See `Ratio`: the log likelihood of the classes of all draws and as many of the contrast,
        per example.
        """
        work, family = drawn.work, self.family
        j, n_parts = family.n_latent, drawn.n_all * family.n_mixture
        moments, away = work.moments[: drawn.n * 2 * j], work.away[: 2 * n_parts * j]
        kernels.implicit_moments(drawn.gaussians, j, drawn.n, moments)
        kernels.standardised(moments, j, drawn.all, away[: n_parts * j])
        contrast = drawn.eps.reshape(n_parts, family.width)[:, -j:]
        # rows take turns: a row's draws, then its contrast, beside the context of the row
        both = away.reshape(drawn.n, 2, -1)
        own = away[: n_parts * j].reshape(drawn.n, -1).copy()
        both[:, 0], both[:, 1] = own, contrast.reshape(drawn.n, -1)
        inputs, outs = self._logits(params, drawn, away)
        logits = outs[-2 * n_parts :].reshape(drawn.n, 2, -1)
        ordered = np.ascontiguousarray(logits.swapaxes(0, 1)).ravel()
        score = kernels.classified(ordered, n_parts, ordered)
        logits[...] = ordered.reshape(2, drawn.n, -1).swapaxes(0, 1)
        reverse(
            sgemm(), self.net, params, inputs, NO_ROWS, 2 * n_parts, outs, work.spare, grads,
            work.back[:0],
        )  # fmt: skip
        return float(score)


class Kernel(_Plain):
    """Least squares with Gaussian kernels for the ratio of the contrast of `Adversarial` to q (Shi,
    Sun and Zhu 2018, "Kernel implicit variational inference", the reverse
    ratio; Kanamori, Hido and Sugiyama 2009), which is 1 for a Gaussian q: 1 plus a function of the
    kernels' space, so that without draws it would be 1.

    All draws of a row and as many of the contrast are centres. Gradients as for `Adversarial`.
    """

    def work(self, n: int, n_all: int) -> _Fit:
        """See `Ratio`."""
        return _Fit(n, n_all, self.family)

    def estimate(self, params: Single, drawn: Drawn, z: Single, log_q: Array) -> None:
        """See `Ratio`."""
        work, j, n = drawn.work, self.family.n_latent, drawn.n
        moments, n_all = work.moments[: n * 2 * j], len(log_q)
        away, of_all = work.away[: n_all * j], work.of_all[: len(drawn.all)]
        kernels.implicit_moments(drawn.gaussians, j, n, moments)
        kernels.standardised(moments, j, z, away)
        kernels.standardised(moments, j, drawn.all, of_all)
        contrast = drawn.eps.reshape(n, -1, self.family.width)[:, :, -j:]
        logits, tilt = kernel_ratio(of_all.reshape(n, -1, j), contrast, away.reshape(n, -1, j))
        kernels.contrasted(
            moments, j, away, logits.ravel(), tilt.ravel(), log_q, work.pull[: n_all * j]
        )

    def pull(self, drawn: Drawn, z: Single, shares: Single, back: Single, slopes: Single) -> None:
        """See `Ratio`."""
        kernels.path_pull(drawn.work.pull[: len(back)], shares, back)


class _Fit:
    """Scratch of least squares."""

    def __init__(self, n: int, n_all: int, family: Sampler) -> None:
        j = family.n_latent
        self.moments = np.empty(n * 2 * j, np.float32)
        self.away, self.pull = np.empty((2, n_all * j), np.float32)
        self.of_all = np.empty(n_all * family.n_mixture * j, np.float32)


def kernel_ratio(draws: AnyArray, contrast: AnyArray, at: AnyArray) -> tuple[Single, Single]:
    """Return logs of q over the contrast (n, K) and their slopes (n, K, J), at points (n, K, J), of
    draws from both (n, A, J).
    """
    square = draws.shape[2] * WIDTH**2
    draws, contrast, at = (x.astype(np.float64) for x in (draws, contrast, at))
    among = _bumps(draws, draws, square)
    excess = _bumps(draws, contrast, square).sum(axis=2) - among.sum(axis=2)
    ridge = RIDGE * draws.shape[1]
    found = np.linalg.solve(among + ridge * np.eye(draws.shape[1]), excess[..., None])[..., 0]
    ratio, slope = np.ones(at.shape[:2]), np.zeros(at.shape)
    for centres, weights in ((contrast, np.ones(found.shape)), (draws, -1.0 - found)):
        shares = _bumps(at, centres, square) * (weights / ridge)[:, None]
        ratio += shares.sum(axis=2)
        slope += (shares @ centres - shares.sum(axis=2)[..., None] * at) / square
    inside = (ratio > LEAST) & (ratio < 1.0 / LEAST)
    ratio = ratio.clip(LEAST, 1.0 / LEAST)
    tilt = np.where(inside[..., None], -slope / ratio[..., None], 0.0)
    return (-np.log(ratio)).astype(np.float32), tilt.astype(np.float32)


def _bumps(x: Array, y: Array, square: float) -> Array:
    """Return Gaussian kernels of points (n, A, J) and (n, B, J)."""
    away = np.square(x).sum(2)[:, :, None] + np.square(y).sum(2)[:, None] - 2 * x @ y.swapaxes(1, 2)
    return np.asarray(np.exp(-0.5 * np.maximum(away, 0.0) / square))


RATIOS: dict[str, Callable[[Sampler, Mapping[str, Any]], Ratio]] = {
    "adversarial": Adversarial, "kernel": Kernel, "semi_implicit": Mixture,
}  # fmt: skip
