"""Base class of all approximations of a target: names, history, draws, summary, files."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base import archive, checks
from fastvi.base.typing import AnyArray, Array, JsonObject, Options, Path, RandomState
from fastvi.stein.discrepancy import Discrepancy, ksd
from fastvi.targets.base import Target

__all__ = ["Approximation"]


class Approximation:
    """An approximation of a target by named parameters, with its history.

    A subclass defines `mean`, `sd`, `_sample`, and `_saved` and `_restored` for files.
    """

    _kind: ClassVar[str]  # of its files

    def __init__(
        self,
        target: Target | None,
        *,
        settled: bool,
        n_iter: int,
        history: dict[str, NDArray[np.float64]],
        names: tuple[str, ...],
        seed: int = 0,
    ) -> None:
        self.target, self.names = target, names
        self.settled, self.n_iter, self.history = settled, n_iter, history
        self._seed = seed

    @property
    def mean(self) -> Array:
        """Means of the unconstrained parameters, (D,)."""
        raise NotImplementedError

    @property
    def sd(self) -> Array:
        """Standard deviations of the unconstrained parameters, (D,)."""
        raise NotImplementedError

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw (n, D) unconstrained parameters.

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
            By default draws differ from call to call.
        """
        n = checks.integer(n, "n", 0)
        return self._sample(n, checks.generator(random_state, "random_state"))

    def _sample(self, n: int, rng: np.random.Generator) -> Array:
        raise NotImplementedError

    def distinct(self, n: int) -> int:
        """Number of n draws that can differ from each other: n, except for particles."""
        return n

    def sample_parameters(self, n: int, random_state: RandomState = None) -> dict[str, Array]:
        """Draw the named parameters, within their constraints: (n, *shape) each.

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
            By default draws differ from call to call.
        """
        return self._named(self.sample(n, random_state))

    def _named(self, draws: Array) -> dict[str, Array]:
        return dict(self._target().constrain(draws))

    def _target(self) -> Target:
        if self.target is None:
            kind = type(self).__name__
            raise ValueError(
                f"this posterior was loaded without its target; wanted {kind}.load(path, target)"
            )
        return self.target

    def ksd(self, **options: Any) -> Discrepancy:
        """Squared Stein discrepancy between draws and the target, see `fastvi.ksd`."""
        return ksd(self._target(), self, **options)

    def summary(self) -> str:
        """Table of the unconstrained parameters, with convergence and quality in words."""
        width = max(map(len, self.names))
        lines = [f"{'':{width}}  {'mean':>12}  {'sd':>12}"]
        for name, mean, sd in zip(self.names, self.mean, self.sd):
            lines.append(f"{name:{width}}  {mean:12.6g}  {sd:12.6g}")
        return "\n".join([*lines, "", *self._words()])

    def _words(self) -> list[str]:
        steps = f"{self.n_iter} steps"
        if self.settled:
            return [f"The fit settled after {steps}."]
        return [f"The fit was still moving after {steps} and has not reached the optimum."]

    def to_arviz(self, n: int = 1000, random_state: RandomState = 0) -> Any:
        """Return draws of the named parameters as an ArviZ container with one chain of n draws.

        This is an InferenceData before ArviZ 1.0, and an xarray DataTree since.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        """
        return _to_arviz(self.sample_parameters(n, random_state))

    # Files

    def save(self, path: Path) -> None:
        """Write the approximation, not the target, as a numpy archive with a JSON header; atomic.

        Raises
        ------
        OSError
            If it cannot be written; the old file is kept then.
        """
        header, arrays = self._saved()
        header |= {
            "names": list(self.names),
            "settled": self.settled,
            "n_iter": self.n_iter,
            "seed": self._seed,
        }
        arrays |= {f"history.{name}": column for name, column in self.history.items()}
        archive.save(path, self._kind, header, arrays)

    @classmethod
    def load(cls, path: Path, target: Target | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        target : Target, optional
            What was fitted; without it there are neither named parameters nor new figures.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged or not such a posterior, or the target has other names.
        """
        header, arrays = archive.load(path, cls._kind)
        try:
            options = cls._options(header, arrays, target, str(path))
            return cls._restored(header, arrays, str(path), {"target": target, **options})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a complete posterior ({error!r})") from None

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        """Of a file's header and arrays, what this kind of approximation has beside the others."""
        raise NotImplementedError

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        """The approximation from what `_saved` gave; `options` are arguments of `Approximation`."""
        raise NotImplementedError

    @staticmethod
    def _options(
        header: JsonObject, arrays: dict[str, Array], target: Target | None, path: str
    ) -> JsonObject:
        """Return what all files hold, as arguments."""
        names = tuple(header["names"])
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: names are {names}; wanted strings")
        if target is not None and target.names != names:
            raise ValueError(f"{path}: holds {', '.join(names)}; target has other names")
        prefix = "history."
        return {
            "names": names,
            "settled": checks.flag(header["settled"], f"{path}: settled"),
            "n_iter": checks.integer(header["n_iter"], f"{path}: n_iter", 0),
            "seed": checks.integer(header["seed"], f"{path}: seed", 0),
            "history": {
                name.removeprefix(prefix): column
                for name, column in arrays.items()
                if name.startswith(prefix)
            },
        }


def _to_arviz(draws: dict[str, Array]) -> Any:
    try:
        import arviz
    except ImportError:
        raise ImportError(
            "to_arviz needs ArviZ, which is not installed: pip install 'fastvi[arviz]'"
        ) from None
    chain = {name: x[None] for name, x in draws.items()}
    if "posterior" in inspect.signature(arviz.from_dict).parameters:  # before 1.0
        return arviz.from_dict(posterior=chain)
    return arviz.from_dict({"posterior": chain})
