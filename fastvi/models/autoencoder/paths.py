"""Posteriors of rows that are ends of annealed paths along the slopes of log p(x, z).

As in Geffner and Domke (2021) and Zhang et al. (2021), in units of the encoder's Gaussian: z = mean
+ sd u, so that a path begins at u ~ N(0, 1) with a momentum v ~ N(0, 1). Transition m of M is a
leapfrog step of length e_m with the force b_m sd g - (1 - b_m) u, where g is the slope of log p(x,
z) and 0 < b_1 < ... < b_M = 1. Leapfrog steps keep volumes and the refresh v' = k v + sqrt(1 - k^2)
noise between them is reversible, so the mean of the log weight log p(x, z_M) - log q(z_0) + sum
over m of log N(v) - log N(v'), momenta after and before steps, is a lower bound on log p(x).

Gradients go back along the whole path. Curvatures of log p, and how its slopes depend on the
decoder, enter as products with one vector for each draw and place: differences of slopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import expit, softmax

from fastvi.base.typing import Array
from fastvi.kernels.autoencoder import Objective, Work
from fastvi.kernels.autoencoder_stages import add_prior
from fastvi.models.autoencoder.families import Single

__all__ = ["Guide", "Hamiltonian", "Langevin", "Walk"]

FIRST_LENGTH, KEPT = 0.25, 0.5  # of leapfrog steps, and of momenta, at first


_Node = tuple[Single, Single, Single]  # u, z and slopes there


class Guide(Protocol):
    """Slopes of log p(x, z) by draws z (R, J) of the rows of a batch."""

    def slopes(self, params: Single, z: Single) -> Single:
        """Return them (R, J)."""

    def curve(
        self, params: Single, z: Single, units: Single, along: Single, grads: Single
    ) -> Single:
        """Return products (R, J) of curvatures with units times `along`; add to grads (P,) the
        gradient by the decoder of the sum of slopes times that.
        """


class Walk:
    """Paths of a batch, and who guides them."""

    def __init__(self) -> None:
        self.guide: Guide
        self.nodes: list[_Node] = []
        self.momenta: list[tuple[Single, Single, Single]] = []  # before, amid and after steps


class _Schedule(NamedTuple):
    """Of transitions, and the share of momenta that is kept."""

    lengths: Single
    shares: Single
    bridges: Single
    kept: float


class Hamiltonian:
    """Leapfrog steps with momenta that are refreshed in part (Geffner and Domke 2021)."""

    objectives = ("elbo", "iwae", "vr")
    keeps = True

    def __init__(self, n_latent: int, options: Mapping[str, Any]) -> None:
        self.n_latent, self.n_transitions = n_latent, int(options["n_transitions"])
        self.n_noise = n_latent * (1 + self.n_transitions)
        self.n_outputs = 2 * n_latent

    def settle(self, first: int) -> int:
        """See `Family`."""
        self.first, size = first, 2 * self.n_transitions + 1
        self.own = slice(first, first + size)
        return size

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""
        m = self.n_transitions
        params[self.own] = np.r_[np.full(m, np.log(FIRST_LENGTH)), np.zeros(m), 0.0]
        params[self.first + 2 * m] = np.log(KEPT / (1.0 - KEPT))

    def work(self, n: int, n_all: int) -> Walk:
        """See `Family`."""
        return Walk()

    def _schedule(self, params: Single) -> _Schedule:
        own, m = params[self.own], self.n_transitions
        shares = softmax(own[m : 2 * m])
        kept = float(expit(own[2 * m])) if self.keeps else 0.0
        return _Schedule(np.exp(own[:m]), shares, np.minimum(np.cumsum(shares), 1.0), kept)

    def _starts(self, posterior: Single, n_all: int) -> tuple[Single, Single]:
        """Return means and logs of standard deviations of draws (R, J)."""
        rows = posterior.reshape(-1, self.n_outputs)
        each = np.repeat(rows, n_all // len(rows), axis=0)
        return each[:, : self.n_latent], each[:, self.n_latent :]

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: Walk, z: Single, log_q: Array
    ) -> None:
        """See `Family`."""
        noise = eps.reshape(len(log_q), -1, self.n_latent)
        mean, log_sd = self._starts(posterior, len(log_q))
        sd, u, v = np.exp(log_sd), noise[:, 0], noise[:, 0]
        lengths, _, bridges, kept = self._schedule(params)
        log_q[...] = -(np.float32(0.5) * u * u + log_sd).sum(axis=1)
        work.nodes, work.momenta = [_node(params, work, mean, sd, u)], []
        for m, (e, b) in enumerate(zip(lengths, bridges, strict=True)):
            share = np.float32(kept if m else 0.0)
            before = share * v + np.sqrt(1 - share * share) * noise[:, m + 1]
            amid = before + e / 2 * _force(b, sd, work.nodes[-1])
            u = u + e * amid
            work.nodes.append(_node(params, work, mean, sd, u))
            v = amid + e / 2 * _force(b, sd, work.nodes[-1])
            work.momenta.append((before, amid, v))
            log_q += 0.5 * (v * v - before * before).sum(axis=1)
        z[...] = work.nodes[-1][1].ravel()

    exact = draw

    def moments(self, params: Single, found: Single) -> Single:
        """Those of the Gaussians at which paths begin."""
        return found

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: Walk,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Family`."""
        n_all = len(posterior) // self.n_outputs * objective.n_draws
        size, shares = n_all * self.n_latent, np.empty(n_all, np.float32)
        back = inner.back[:size]
        add_prior(inner.weights[:n_all], objective.beta, inner.pull[:size], back, shares)
        noise = inner.eps[: n_all * self.n_noise].reshape(n_all, -1, self.n_latent)
        sd = np.exp(self._starts(posterior, n_all)[1])
        reverse = _Reverse(params, sd, work, grads, back.reshape(n_all, -1).copy())
        of_schedule = self._back(reverse, self._schedule(params), noise, shares[:, None])
        grads[self.own] = of_schedule
        both = np.concatenate([reverse.of_mean, reverse.of_log_sd + shares[:, None]], axis=1)
        rows = both.reshape(-1, objective.n_draws, self.n_outputs)
        posterior[...] = rows.sum(axis=1).ravel()

    def _back(self, reverse: _Reverse, plan: _Schedule, noise: Single, shares: Single) -> Array:
        """Go back along paths; return slopes by the parameters of the schedule."""
        n_steps, of_kept = self.n_transitions, 0.0
        of_lengths, of_bridges = np.zeros((2, n_steps))
        of_v = np.zeros_like(noise[:, 0])
        for m in range(n_steps - 1, -1, -1):
            e, b = plan.lengths[m], plan.bridges[m]
            before, amid, after = reverse.work.momenta[m]
            of_v = of_v - shares * after
            parts = [reverse.unkick(m + 1, e, b, of_v)]
            reverse.bend(m + 1)
            of_lengths[m] = np.vdot(reverse.of_u, amid)
            of_v = of_v + e * reverse.of_u
            parts.append(reverse.unkick(m, e, b, of_v))
            of_lengths[m] += sum(part[0] for part in parts)
            of_bridges[m] = sum(part[1] for part in parts)
            of_v = of_v + shares * before
            if m > 0:
                lost = np.float32(plan.kept / np.sqrt(1 - plan.kept**2))
                change = reverse.work.momenta[m - 1][2] - lost * noise[:, m + 1]
                of_kept += float(np.vdot(of_v, change))
                of_v = np.float32(plan.kept) * of_v
        reverse.bend(0)
        later = np.cumsum(of_bridges[::-1])[::-1]  # an increment is in all bridges from its own on
        of_shares = plan.shares * (later - np.dot(plan.shares, later))
        logit = of_kept * plan.kept * (1.0 - plan.kept)
        return np.concatenate([of_lengths * plan.lengths, of_shares, [logit]])


class Langevin(Hamiltonian):
    """Leapfrog steps with a fresh momentum each: unadjusted Langevin steps."""

    keeps = False


def _node(params: Single, work: Walk, mean: Single, sd: Single, u: Single) -> _Node:
    z = mean + sd * u
    return u, z, work.guide.slopes(params, z)


def _force(b: np.float32, sd: Single, node: _Node) -> Single:
    u, _, slopes = node
    return b * sd * slopes - (1 - b) * u


class _Reverse:
    """Slopes of the objective by places, means and logs of standard deviations (R, J)."""

    def __init__(self, params: Single, sd: Single, work: Walk, grads: Single, of_z: Single) -> None:
        self.params, self.sd, self.work, self.grads = params, sd, work, grads
        self.of_u, self.of_force = np.zeros((2, *sd.shape), np.float32)
        self.of_mean, self.of_log_sd = np.zeros((2, *sd.shape), np.float32)
        self._move(len(work.nodes) - 1, of_z)

    def _move(self, node: int, of_z: Single) -> None:
        """Take slopes by z at a place."""
        self.of_mean += of_z
        self.of_u += self.sd * of_z
        self.of_log_sd += self.sd * of_z * self.work.nodes[node][0]

    def unkick(self, node: int, e: np.float32, b: np.float32, of_v: Single) -> tuple[float, float]:
        """Go back through half a step of momenta; return slopes by its length and its bridge."""
        u, _, slopes = self.work.nodes[node]
        of = e / 2 * of_v
        self.of_u -= (1 - b) * of
        self.of_force += b * of
        of_length = np.vdot(of_v, _force(b, self.sd, self.work.nodes[node])) / 2
        return float(of_length), float(np.vdot(of, self.sd * slopes + u))

    def bend(self, node: int) -> None:
        """Go back through the slopes at a place, whose use in forces is known."""
        _, z, slopes = self.work.nodes[node]
        self.of_log_sd += self.of_force * self.sd * slopes
        of_z = self.work.guide.curve(self.params, z, self.sd, self.of_force, self.grads)
        self._move(node, of_z)
        self.of_force[...] = 0.0
