"""Posteriors that are variational programs: draws, moments and discrepancies, but no density."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi import _checks
from fastvi._approximation import Approximation
from fastvi.discrepancy import ksd_test

__all__ = ["ProgramPosterior"]

Array = NDArray[np.float64]
N_DRAWS = 20_000  # for moments
N_TESTED = 1000  # for discrepancies


class ProgramPosterior(Approximation):
    """A network of noise fitted to a target, see `fastvi.operator_vi`.

    Attributes
    ----------
    target : Target
    names : tuple of str
        Of the D free numbers.
    n_iter : int
        Steps of the program.
    history : dict of str to array
        Of each 100 steps: `seconds`, the mean `objective` (at most half the Fisher divergence, in
        units of `scale`), and `rejected` draws of the last step, which had no finite score.
    """

    def __init__(
        self,
        program: Any,
        centre: Array,
        scale: Array,
        target: Any,
        *,
        n_iter: int,
        history: dict[str, Array],
        seed: int,
    ) -> None:
        super().__init__(
            target, settled=False, n_iter=n_iter, history=history, names=target.names, seed=seed
        )
        self._program, self._centre, self._scale = program, centre, scale

    def __repr__(self) -> str:
        return f"<ProgramPosterior of {', '.join(self.names)}>"

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draws (n, D) of the free numbers.

        Parameters
        ----------
        n : int
        rng : numpy.random.Generator
        """
        from fastvi.kernels.networks import forward

        n = _checks.integer(n, "n", 0)
        net = self._program
        noise = np.ascontiguousarray(rng.standard_normal((n, net.linear.shape[1])).T)
        hidden, x = np.empty((len(net.bias), n)), np.empty((len(net.shift), n))
        forward(net, noise, hidden, x)
        return np.ascontiguousarray(self._centre + self._scale * x.T)

    @cached_property
    def _draws(self) -> Array:
        return self.sample(N_DRAWS, np.random.default_rng([self._seed, 1]))

    @property
    def mean(self) -> Array:
        """Means of the free numbers, (D,), of 20,000 draws."""
        return np.asarray(self._draws.mean(axis=0))

    @property
    def cov(self) -> Array:
        """Covariance of the free numbers, (D, D), of 20,000 draws."""
        return np.atleast_2d(np.cov(self._draws, rowvar=False))

    @property
    def sd(self) -> Array:
        """Standard deviations of the free numbers, (D,), of 20,000 draws."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def _words(self) -> list[str]:
        test = ksd_test(self._target(), self._draws[:N_TESTED], random_state=self._seed)
        return [f"After {self.n_iter} steps. {test}"]
