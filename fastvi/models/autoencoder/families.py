"""Posteriors of rows for autoencoders whose parts are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import autoencoder_flows as flows
from fastvi.kernels.autoencoder import Objective, Work
from fastvi.kernels.autoencoder_stages import add_prior
from fastvi.kernels.autoencoder_steps import posterior_slopes

__all__ = ["Family", "Flow", "Gaussian", "Planar", "Radial", "Tape"]

Single = NDArray[np.float32]

N_DRAWS = 64  # for means and standard deviations of flows
N_ROWS = 16  # at a time


class Family(Protocol):
    """Draws z (R J) from posteriors of rows, of the encoder's outputs (n O) and of noise (R J)."""

    n_latent: int  # J
    n_noise: int  # standard normal numbers of a draw, J if nothing else is said
    n_outputs: int  # O
    objectives: tuple[str, ...]  # that its gradients know

    def settle(self, first: int) -> int:
        """Take the first place of its own parameters; return their number."""

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """Set initial parameters."""

    def work(self, n: int, n_all: int) -> Any:
        """Return scratch for up to n rows and R draws."""

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: Any, z: Single, log_q: Array
    ) -> None:
        """Out: z, for a step, and log densities (R,) without J log(2 pi) / 2."""

    def exact(
        self, params: Single, posterior: Single, eps: Single, work: Any, z: Single, log_q: Array
    ) -> None:
        """Draw for log weights."""

    def moments(self, params: Single, found: Single) -> Single:
        """Return means and logs of standard deviations (n, 2 J), for outputs (n, O)."""

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: Any,
        grads: Single,
    ) -> None:  # fmt: skip
        """Replace the encoder's outputs by the objective's slopes by them.

        `inner` has slopes of log likelihoods by draws in `back`, those of the prior in `pull`, and
        weights and ratios of draws.
        """


class Gaussian:
    """Independent Gaussians; gradients along the paths of draws alone (Roeder et al. 2017)."""

    objectives = ("elbo", "iwae", "vr")

    def __init__(self, n_latent: int, options: Mapping[str, Any]) -> None:
        self.n_latent = self.n_noise = n_latent
        self.n_outputs = 2 * n_latent

    def settle(self, first: int) -> int:
        """See `Family`."""
        return 0

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""

    def work(self, n: int, n_all: int) -> Any:
        """See `Family`."""
        return None

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: Any, z: Single, log_q: Array
    ) -> None:
        """See `Family`."""
        flows.base_push(posterior, self.n_outputs, eps, z, log_q)

    exact = draw

    def moments(self, params: Single, found: Single) -> Single:
        """See `Family`."""
        return found

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: Any,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Family`."""
        posterior_slopes(objective, self.n_latent, inner, posterior)


class Tape:
    """What draws leave for the reverse pass."""

    def __init__(self, n_rows: int, n_all: int, flow: Flow) -> None:
        self.tape = np.empty((flow.n_functions + 1) * n_all * flow.n_latent, np.float32)
        self.heights = np.empty(flow.n_functions * n_all, np.float32)
        self.shares = np.empty(n_all, np.float32)
        self.slopes = np.empty(n_rows * flow.n_outputs, np.float32)


class Flow:
    """A Gaussian whose draws go through functions one after another, with the whole gradient."""

    objectives = ("elbo", "iwae", "vr")

    def __init__(self, n_latent: int, options: Mapping[str, Any]) -> None:
        self.n_latent = self.n_noise = n_latent
        self.n_functions = int(options["n_functions"])
        self.n_outputs = 2 * n_latent + self._more(options)

    def _more(self, options: Mapping[str, Any]) -> int:
        """Return the number of outputs of the encoder besides those of the Gaussian."""
        raise NotImplementedError

    def settle(self, first: int) -> int:
        """See `Family`."""
        return 0

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""

    def work(self, n: int, n_all: int) -> Any:
        """See `Family`."""
        return Tape(n, n_all, self)

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: Any, z: Single, log_q: Array
    ) -> None:
        """See `Family`."""
        size = len(z)
        tape = work.tape[: (self.n_functions + 1) * size]
        flows.base_push(posterior, self.n_outputs, eps, tape[:size], log_q)
        self._push(params, posterior, tape, work, log_q)
        z[...] = tape[-size:]

    exact = draw

    def moments(self, params: Single, found: Single) -> Single:
        """Those of 64 draws of each row, the same noise for all."""
        half = np.random.default_rng(0).standard_normal((N_DRAWS // 2, self.n_latent), np.float32)
        points = np.concatenate([half, -half]).ravel()
        out = np.empty((len(found), 2 * self.n_latent), np.float32)
        scratch = self.work(N_ROWS, N_ROWS * N_DRAWS)
        for i in range(0, len(found), N_ROWS):
            some = np.ascontiguousarray(found[i : i + N_ROWS])
            n = len(some)
            z, log_q = np.empty(n * points.size, np.float32), np.empty(n * N_DRAWS)
            self.draw(params, some.ravel(), np.tile(points, n), scratch, z, log_q)
            draws = z.reshape(n, N_DRAWS, -1)
            out[i : i + n, : self.n_latent] = draws.mean(axis=1)
            out[i : i + n, self.n_latent :] = np.log(draws.std(axis=1, ddof=1))
        return out

    def _push(
        self, params: Single, posterior: Single, tape: Single, work: Any, log_q: Array
    ) -> None:
        raise NotImplementedError

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: Any,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Family`."""
        n_all = len(posterior) // self.n_outputs * objective.n_draws
        size, of_rows = n_all * self.n_latent, work.slopes[: len(posterior)]
        back, shares = inner.back[:size], work.shares[:n_all]
        add_prior(inner.weights[:n_all], objective.beta, inner.pull[:size], back, shares)
        of_rows.fill(0.0)
        tape = work.tape[: (self.n_functions + 1) * size]
        self._pull(params, posterior, tape, work, back, shares, of_rows, grads)
        flows.base_pull(posterior, self.n_outputs, inner.eps[:size], back, shares, of_rows)
        posterior[...] = of_rows

    def _pull(
        self, params: Single, posterior: Single, tape: Single, work: Any, back: Single,
        shares: Single, slopes: Single, grads: Single,
    ) -> None:  # fmt: skip
        raise NotImplementedError


class _ByRow(Flow):
    """Functions whose parameters are outputs of the encoder."""

    push: Callable[..., None]
    pull: Callable[..., None]

    def _push(
        self, params: Single, posterior: Single, tape: Single, work: Any, log_q: Array
    ) -> None:
        type(self).push(posterior, self.n_outputs, self.n_functions, tape, work.heights, log_q)

    def _pull(
        self, params: Single, posterior: Single, tape: Single, work: Any, back: Single,
        shares: Single, slopes: Single, grads: Single,
    ) -> None:  # fmt: skip
        type(self).pull(
            posterior, self.n_outputs, self.n_functions, tape, work.heights, back, shares, slopes
        )


class Planar(_ByRow):
    """Planar functions (Rezende and Mohamed 2015)."""

    push, pull = staticmethod(flows.planar_push), staticmethod(flows.planar_pull)

    def _more(self, options: Mapping[str, Any]) -> int:
        return self.n_functions * (2 * self.n_latent + 1)


class Radial(_ByRow):
    """Radial functions (Rezende and Mohamed 2015)."""

    push, pull = staticmethod(flows.radial_push), staticmethod(flows.radial_pull)

    def _more(self, options: Mapping[str, Any]) -> int:
        return self.n_functions * (self.n_latent + 2)
