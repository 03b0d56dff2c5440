"""Checkpoints: files with the whole state of a fit, which resumes with the same bits."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastvi.base import archive, checks, tree
from fastvi.base.typing import AnyArray, ArrayLike, JsonObject, Path, RandomState
from fastvi.batches import Batches
from fastvi.history import FitState, History, Position

__all__ = ["KIND", "Callback", "Checkpoints", "Watching", "described", "digest"]

T = TypeVar("T")

KIND = "checkpoint"

Callback = Callable[[FitState], bool | None]


class Watching(NamedTuple):
    """Arguments of fits for observers and checkpoints."""

    callback: Callback | None = None
    checkpoint: Path | None = None
    checkpoint_interval: float = 60.0
    resume: bool = False
    early_stopping: int | None = None

    def patience(self, held_out: object) -> int | None:
        """Return the number of passes to go on without a better score of held-out rows, if any.

        Raises
        ------
        ValueError
            If it is not an integer >= 1, or there are no held-out rows.
        """
        if self.early_stopping is None:
            return None
        if held_out is None:
            raise ValueError("early_stopping needs X_val: held-out rows, scored after each pass")
        return checks.integer(self.early_stopping, "early_stopping", 1)

    def checkpoints(self, identity: Callable[[], JsonObject]) -> Checkpoints | None:
        """Return the checkpoints of a fit, if any; a file is resumed only if `identity` is the
        same.

        Raises
        ------
        ValueError
            If `resume` is True without a file, or the interval is not a number >= 0.
        """
        if self.checkpoint is None:
            if self.resume:
                raise ValueError("resume=True needs checkpoint, the file to continue from")
            return None
        return Checkpoints(self.checkpoint, identity(), self.checkpoint_interval)

    def seed(self, random_state: RandomState, fresh: int | None = None) -> int:
        """Return the seed of a fit; if any will do, that of the checkpoint to resume from.

        `fresh` is the seed from `random_state`, if that is known already.
        """
        seed = checks.seed_of(random_state) if fresh is None else fresh
        resumed = self.resume and self.checkpoint is not None and os.path.exists(self.checkpoint)
        if random_state is not None or not resumed:
            return seed
        assert self.checkpoint is not None
        identity = archive.load(self.checkpoint, KIND)[0].get("identity")
        saved = identity.get("seed") if isinstance(identity, dict) else None
        return saved if isinstance(saved, int) and saved >= 0 else seed


class Checkpoints:
    """Saves a fit at intervals, and refuses a file that belongs to another fit.

    Parameters
    ----------
    path : path
        Replaced atomically at each save.
    identity : dict
        What must be the same for the file to be resumed from: JSON values by name.
    interval : float
        Seconds between saves.
    """

    def __init__(self, path: Path, identity: JsonObject, interval: float = 60.0) -> None:
        self.path, self.identity = os.fspath(path), identity
        self.interval = checks.number(interval, "checkpoint_interval", 0.0)
        self._next = time.monotonic() + self.interval

    def exists(self) -> bool:
        """Whether the file exists."""
        return os.path.exists(self.path)

    def due(self) -> bool:
        """Whether the interval has passed."""
        return time.monotonic() >= self._next

    def load(
        self, state: T, batches: Batches, rng: np.random.Generator, n_epochs: int
    ) -> tuple[T, Position, History]:
        """Load state, position and history of the fit, and restore `batches` and `rng`.

        Parameters
        ----------
        state : tree
            Initial state of the fit, whose form the loaded one must have.
        batches : Batches
        rng : numpy.random.Generator
        n_epochs : int
            Requested number of passes.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged, belongs to another fit, or is beyond `n_epochs` passes.
        """
        header, arrays = archive.load(self.path, KIND)
        archive.remove_leftovers(self.path)  # a fit that is killed repeatedly would fill the disk
        try:
            self._check_identity(header["identity"])
            position = self._position(header["position"], n_epochs)
            history = self._history(arrays)
            state = tree.restore(state, arrays, "state")
            learnt = batches.save()
            batches.restore({k: tree.restore(learnt[k], arrays, f"batches.{k}") for k in learnt})
            rng.bit_generator.state = header["generator"]
        except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{self.path}: not a complete checkpoint ({error!r})") from None
        except ValueError as error:
            text = str(error)
            raise ValueError(text if self.path in text else f"{self.path}: {text}") from None
        return state, position, history

    def _check_identity(self, saved: JsonObject) -> None:
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise ValueError(
                    f"{self.path}: checkpoint of another fit: "
                    f"{name} was {saved.get(name)!r} and is {value!r}"
                )

    def _position(self, saved: list[int], n_epochs: int) -> Position:
        epoch, step = (checks.integer(saved[i], f"{self.path}: position", 0) for i in (0, 1))
        if epoch > n_epochs or (epoch == n_epochs and step):
            raise ValueError(
                f"{self.path}: the checkpoint is beyond {n_epochs} passes "
                f"(epoch {epoch}, step {step})"
            )
        return Position(epoch, step)

    def _history(self, arrays: dict[str, AnyArray]) -> History:
        names = [name for name in arrays if name.startswith("history.")]
        columns = {name.removeprefix("history."): arrays.pop(name) for name in names}
        if len({column.shape for column in columns.values()}) > 1:
            raise ValueError(f"{self.path}: the columns of the history differ in length")
        if not all(column.dtype == np.float64 and column.ndim == 1 for column in columns.values()):
            raise ValueError(f"{self.path}: the history does not consist of columns of float64")
        return History({name: column.tolist() for name, column in columns.items()})

    def save(
        self,
        state: object,
        batches: Batches,
        rng: np.random.Generator,
        position: Position,
        history: History,
    ) -> None:
        """Replace the file with the current state of the fit."""
        arrays = tree.save(state, "state")
        arrays |= {f"batches.{name}": array for name, array in batches.save().items()}
        arrays |= {f"history.{name}": column for name, column in history.arrays().items()}
        header = {
            "identity": self.identity,
            "position": list(position),
            "generator": rng.bit_generator.state,
        }
        archive.save(self.path, KIND, header, arrays)
        self._next = time.monotonic() + self.interval


def digest(*arrays: ArrayLike) -> str:
    """Return shapes, dtypes and a checksum of arrays, to tell data sets apart."""
    checksum, forms = 0, []
    for array in map(np.asarray, arrays):
        forms.append(f"{array.dtype}{list(array.shape)}")
        for block in _rows(array):
            data = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
            checksum = zlib.crc32(data.data, checksum)
    return f"{' '.join(forms)} {checksum:08x}"


def _rows(array: AnyArray) -> list[AnyArray]:
    """Return an array, in parts small enough to copy if it is not contiguous."""
    if array.flags.c_contiguous or array.ndim == 0:
        return [array]
    return np.array_split(array, max(array.nbytes >> 24, 1))


def described(value: object) -> Any:
    """Describe a parameter's value as JSON, equal in all processes and different for other values.

    Arrays become a digest; functions, such as those of a `fastvi.optimizers.Optimizer`, become
    their name and the values bound in them.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, dict):
        return {str(name): described(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, *map(described, value)]
    if isinstance(value, partial):
        return [described(value.func), described(value.args), described(value.keywords)]
    if callable(value) and hasattr(value, "__qualname__"):
        bound = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        return [f"{value.__module__}.{value.__qualname__}", *map(described, bound)]
    return repr(value)
