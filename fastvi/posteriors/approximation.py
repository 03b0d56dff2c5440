"""Base class of all approximations of a target: names, history, draws, summary, files."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base import archive, checks
from fastvi.base.typing import AnyArray, Array, JsonObject, Options, Path, RandomState
from fastvi.posteriors.containers import container, groups_of
from fastvi.posteriors.modes import Mode, arrays_of, modes_in
from fastvi.posteriors.tables import Table, make_table
from fastvi.stein.discrepancy import Discrepancy, ksd
from fastvi.targets.base import Target

__all__ = ["Approximation"]

N_TABLE, FEW_DRAWS = 4000, 100  # draws for the table of parameters; at least, if there are many
N_NUMBERS = 20_000_000  # that these draws may hold
MAX_ROWS, FEW_ROWS = 100, 10  # numbers shown by `summary`, and by `repr`


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
        modes: tuple[Mode, ...] = (),
    ) -> None:
        self.target, self.names = target, names
        self.settled, self.n_iter, self.history = settled, n_iter, history
        self._seed, self.modes = seed, modes

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
        n, random_state
            As in `sample`.
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

    # Printed

    def summary(self, *, unconstrained: bool = False, max_rows: int | None = MAX_ROWS) -> str:
        """Table of the parameters by name, and whether the fit can be trusted, in words.

        Means, standard deviations and quantiles are those of the parameters within their
        constraints, from 4000 draws (fewer if there are more than 5000 parameters), except means
        and standard deviations that are known.

        Parameters
        ----------
        unconstrained : bool
            Show the unconstrained numbers on which the fit works instead, such as log sigma of a
            sigma > 0. Without its target a posterior knows only these.
        max_rows : int or None
            Numbers to show; None for all.
        """
        checks.flag(unconstrained, "unconstrained")
        if max_rows is not None:
            max_rows = checks.integer(max_rows, "max_rows", 0)
        words = self._words()
        if self.target is None:
            words = [*words, "These are unconstrained numbers; load the posterior with its target."]
        return "\n".join([*self.table(unconstrained).text(max_rows), "", *words])

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *self.table().text(FEW_ROWS)])

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._headline())}</p>{self.table().html(FEW_ROWS)}"

    def _headline(self) -> str:
        """What the posterior is, without evaluating the density."""
        of = "a target" if self.target is None else self.target.name
        return f"<{type(self).__name__} of {of}: {self._kind_in_words()}>"

    def _kind_in_words(self) -> str:
        return f"{self.n_iter} steps"

    def table(self, unconstrained: bool = False) -> Table:
        """The table of `summary`: `labels` of numbers, and their `figures`, a row each.

        Parameters
        ----------
        unconstrained : bool
            As in `summary`.
        """
        Z = self._table_draws()
        moments = zip(Z.T, self.mean, self.sd)
        exact = {np.ascontiguousarray(z).tobytes(): (mean, sd) for z, mean, sd in moments}
        if self.target is None or unconstrained:
            return make_table(dict(zip(self.names, Z.T)), {}, {}, exact)
        about = self.target.contents()
        return make_table(self._named(Z), about.dims, about.coords, exact)

    def _table_draws(self) -> Array:
        """Unconstrained draws for the table, the same each time."""
        n = max(FEW_DRAWS, min(N_TABLE, N_NUMBERS // len(self.names)))
        return self.sample(n, np.random.default_rng([self._seed, 2]))

    def _words(self) -> list[str]:
        steps = f"{self.n_iter} steps"
        if self.settled:
            words = [f"The fit settled after {steps}."]
        else:
            words = [f"The fit did not reach the optimum: it was still moving after {steps}."]
        if len(self.modes) > 1:
            share = f"{100 * self.modes[0].share:.3g} %"
            words.append(
                f"{len(self.modes)} modes found; by Laplace's method the first has {share} of the "
                "evidence."
            )
        return words

    def to_arviz(
        self,
        n: int = 1000,
        random_state: RandomState = 0,
        *,
        n_chains: int = 4,
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        observed: str | Sequence[str] | None = None,
        log_likelihood: bool | None = None,
    ) -> Any:
        """Return draws of the named parameters as an ArviZ container.

        This is an InferenceData before ArviZ 1.0, and an xarray DataTree since. Unconstrained
        numbers of parameters with constraints are in the group `unconstrained_posterior`.

        Parameters
        ----------
        n : int
            Draws per chain.
        random_state : int, RandomState, Generator or None
        n_chains : int
            Draws are independent, within chains and between them: figures such as R-hat say
            nothing about the fit. `summary` does.
        dims : mapping of str to sequence of str, optional
            Names of the axes by variable. Models from PyMC and NumPyro bring their own.
        coords : mapping of str to sequence, optional
            Coordinates along an axis, by its name.
        observed : str or sequence of str, optional
            Arrays of the data that the model explains; the others are in `constant_data`. By
            default what PyMC or NumPyro say is observed, for other targets all data.
        log_likelihood : bool, optional
            Whether to add the log likelihood of each row, for ``arviz.loo``. It is known for
            densities that take rows and weights, for PyMC and NumPyro. By default it is added if
            it is known and has no more than ten million numbers.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        ValueError
            If an argument is invalid, or the posterior was loaded without its target.
        """
        target, n = self._target(), checks.integer(n, "n", 1)
        n_chains = checks.integer(n_chains, "n_chains", 1)
        Z = self.sample(n * n_chains, random_state)
        groups, about = groups_of(target, Z, n_chains, observed, log_likelihood)
        return container(groups, {**about.dims, **(dims or {})}, {**about.coords, **(coords or {})})

    # Files

    def save(self, path: Path) -> None:
        """Write the approximation, not the target, as a numpy archive with a JSON header; atomic.

        Raises
        ------
        OSError
            If it cannot be written; an old file is then kept.
        """
        header, arrays = self._saved()
        header |= {
            "names": list(self.names),
            "settled": self.settled,
            "n_iter": self.n_iter,
            "seed": self._seed,
        }
        arrays |= {f"history.{name}": column for name, column in self.history.items()}
        arrays |= arrays_of(self.modes, len(self.names))
        archive.save(path, self._kind, header, arrays)

    @classmethod
    def load(cls, path: Path, target: Target | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        target : Target, optional
            The target that was fitted; without it there are no named parameters or new diagnostics.

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
        """Return what files of this kind hold besides the common header and arrays."""
        raise NotImplementedError

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        """Make one from what `_saved` returned; `options` are arguments of `Approximation`."""
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
            "modes": modes_in(arrays, len(names), path),
            "history": {
                name.removeprefix(prefix): column
                for name, column in arrays.items()
                if name.startswith(prefix)
            },
        }
