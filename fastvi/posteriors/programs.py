"""Variational programs: posteriors with draws, moments and discrepancies, but no density."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np

from fastvi.base.typing import AnyArray, Array, JsonObject, Options
from fastvi.posteriors.approximation import Approximation
from fastvi.stein.discrepancy import ksd_test
from fastvi.targets.base import Target

__all__ = ["ProgramPosterior"]

N_DRAWS = 20_000  # for moments
N_TESTED = 1000  # for discrepancies


class ProgramPosterior(Approximation):
    """A network that turns noise into draws from a target, see `fastvi.operator_vi`.

    Attributes
    ----------
    target : Target or None
        The fitted target; None after `load` without it.
    names : tuple of str
        Names of the D unconstrained parameters.
    n_iter : int
        Number of steps of the program.
    history : dict of str to array
        For every 100 steps: `seconds`, the mean `objective` (at most half the Fisher divergence, in
        units of `scale`), and the `rejected` draws of the last step, whose score was not finite.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=1)
    >>> posterior = fastvi.operator_vi(target, max_iter=50, random_state=0)
    >>> posterior.sample(4, random_state=0).shape
    (4, 1)
    """

    _kind = "program-posterior"

    def __init__(
        self,
        program: Any,
        centre: Array,
        scale: Array,
        target: Target | None,
        *,
        settled: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(target, settled=settled, **options)
        self._program, self._centre, self._scale = program, centre, scale

    def _sample(self, n: int, rng: np.random.Generator) -> Array:
        from fastvi.kernels.shallow import forward

        net = self._program
        noise = np.ascontiguousarray(rng.standard_normal((n, net.linear.shape[1])).T)
        hidden, x = np.empty((len(net.bias), n)), np.empty((len(net.shift), n))
        forward(net, noise, hidden, x)
        return np.ascontiguousarray(self._centre + self._scale * x.T)

    def _table_draws(self) -> Array:
        return self._draws

    @cached_property
    def _draws(self) -> Array:
        return self.sample(N_DRAWS, np.random.default_rng([self._seed, 1]))

    @property
    def mean(self) -> Array:
        """Means of the unconstrained parameters, (D,), from 20,000 draws."""
        return np.asarray(self._draws.mean(axis=0))

    @property
    def cov(self) -> Array:
        """Covariance of the unconstrained parameters, (D, D), from 20,000 draws."""
        return np.atleast_2d(np.cov(self._draws, rowvar=False))

    @property
    def sd(self) -> Array:
        """Standard deviations of the unconstrained parameters, (D,), from 20,000 draws."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def _words(self) -> list[str]:
        if self.target is None:
            return [f"After {self.n_iter} steps. Load it with its target to test its draws."]
        test = ksd_test(self.target, self._draws[:N_TESTED], random_state=self._seed)
        return [f"After {self.n_iter} steps. {test}"]

    # Files

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        arrays = {"centre": self._centre, "scale": self._scale}
        return {}, arrays | {f"program.{k}": x for k, x in self._program._asdict().items()}

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        from fastvi.kernels.shallow import Network

        parts = {"centre": arrays["centre"], "scale": arrays["scale"]}
        parts |= {name: arrays[f"program.{name}"] for name in Network._fields}
        _check_parts(parts, len(options["names"]), path)
        centre, scale = parts.pop("centre"), parts.pop("scale")
        return cls(Network(**parts), centre, scale, **options)


def _check_parts(parts: dict[str, Array], d: int, path: str) -> None:
    """Raise ValueError if arrays of a file are not those of a program with d outputs."""
    n_hidden, n_noise = parts["inner"].shape if parts["inner"].ndim == 2 else (0, 0)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("centre", "scale", "shift"), (d,))
    shapes |= {"linear": (d, n_noise), "outer": (d, n_hidden), "inner": (n_hidden, n_noise)}
    for name, shape in {**shapes, "bias": (n_hidden,)}.items():
        array = parts[name]
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} must hold finite float64 numbers {shape}")
