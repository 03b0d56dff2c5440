"""Posteriors that are variational programs: draws, moments and discrepancies, but no density."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import archive, checks
from fastvi.posteriors.approximation import Approximation
from fastvi.stein.discrepancy import ksd_test
from fastvi.targets.base import Target

__all__ = ["KIND", "ProgramPosterior"]

KIND = "program-posterior"

Array = NDArray[np.float64]
N_DRAWS = 20_000  # for moments
N_TESTED = 1000  # for discrepancies


class ProgramPosterior(Approximation):
    """A network of noise fitted to a target, see `fastvi.operator_vi`.

    Attributes
    ----------
    target : Target or None
        What was fitted; None after `load` without it.
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
        target: Target | None,
        *,
        settled: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(target, settled=settled, **options)
        self._program, self._centre, self._scale = program, centre, scale

    def __repr__(self) -> str:
        return f"<ProgramPosterior of {', '.join(self.names)}>"

    def sample(self, n: int, random_state: Any = None) -> Array:
        """Draws (n, D) of the free numbers.

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
            By default draws differ from call to call.
        """
        from fastvi.kernels.networks import forward

        n = checks.integer(n, "n", 0)
        net, rng = self._program, checks.generator(random_state, "random_state")
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
        if self.target is None:
            return [f"After {self.n_iter} steps. Load it with its target for a test of its draws."]
        test = ksd_test(self.target, self._draws[:N_TESTED], random_state=self._seed)
        return [f"After {self.n_iter} steps. {test}"]

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program, not the target, as a numpy archive with a JSON header; atomic.

        Raises
        ------
        OSError
            If it cannot be written; the old file is kept then.
        """
        arrays = {"centre": self._centre, "scale": self._scale, **self._history_arrays()}
        arrays |= {f"program.{name}": x for name, x in self._program._asdict().items()}
        archive.save(path, KIND, self._header(), arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], target: Target | None = None) -> ProgramPosterior:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        target : Target, optional
            What was fitted; without it there are draws of free numbers only.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged or no such posterior, or the target has other names.
        """
        from fastvi.kernels.networks import Network

        header, arrays = archive.load(path, KIND)
        try:
            parts = {"centre": arrays["centre"], "scale": arrays["scale"]}
            parts |= {name: arrays[f"program.{name}"] for name in Network._fields}
            options = cls._options(header, arrays, target, str(path))
            _check_parts(parts, len(options["names"]), str(path))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a complete posterior ({error!r})") from None
        centre, scale = parts.pop("centre"), parts.pop("scale")
        return cls(Network(**parts), centre, scale, target, **options)


def _check_parts(parts: dict[str, Array], d: int, path: str) -> None:
    """Raise ValueError if arrays of a file are not those of a program of d numbers."""
    n_hidden, n_noise = parts["inner"].shape if parts["inner"].ndim == 2 else (0, 0)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("centre", "scale", "shift"), (d,))
    shapes |= {"linear": (d, n_noise), "outer": (d, n_hidden), "inner": (n_hidden, n_noise)}
    for name, shape in {**shapes, "bias": (n_hidden,)}.items():
        array = parts[name]
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} must hold finite float64 numbers {shape}")
