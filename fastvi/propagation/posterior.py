"""What expectation propagation finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import archive, checks
from fastvi.base.typing import AnyArray, Array, Path, RandomState

__all__ = ["EPPosterior", "complete", "course", "read_course"]

KIND = "ep-posterior"


class EPPosterior(NamedTuple):
    """A Gaussian approximation by expectation propagation; made by `fastvi.ep`.

    Attributes
    ----------
    mean : (D,) array
    cov : (D, D) array
    log_evidence : float
        The estimate of log Z, in nats; NaN if sites have failed.
    site_precisions, site_shifts : tuple of arrays
        For each group of factors, the sites ``exp(-f' precision f / 2 + shift' f)`` in the part f
        of x that they depend on: (n,) and (n,), or (n, D, D) and (n, D).
    failed : tuple of str
        Names of factors without a proper cavity at the end, whose sites are those of earlier
        passes.
    settled : bool
        Whether the passes converged, with no failed factors.
    n_iter : int
        Passes of the last method.
    method : str
        The method that found it: ``"double_loop"`` if the chosen one did not converge.
    history : dict of str to array
        What each pass reported: `seconds`, `log_evidence`, the `change` of the posterior in nats,
        `rate` (the share of the way that sites went), `n_failed`.

    Examples
    --------
    >>> import fastvi
    >>> from fastvi import propagation
    >>> found = fastvi.ep(propagation.linear([[1.0]], [1], propagation.probit), prior=(0.0, 1.0))
    >>> found.mean.shape, bool(found.sd[0] < 1.0)
    ((1,), True)
    """

    mean: Array
    cov: Array
    log_evidence: float
    site_precisions: tuple[Array, ...]
    site_shifts: tuple[Array, ...]
    failed: tuple[str, ...]
    settled: bool
    n_iter: int
    method: str
    history: dict[str, AnyArray]

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw from the Gaussian, (n, D).

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
        """
        n = checks.integer(n, "n", 1)
        rng = checks.generator(random_state, "random_state")
        noise = rng.standard_normal((n, len(self.mean)))
        return np.asarray(self.mean + noise @ np.linalg.cholesky(self.cov).T)

    def save(self, path: Path) -> None:
        """Write it, as a numpy archive with a JSON header; atomic. `fastvi.load` reads it.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; an old file is then kept.
        """
        header, arrays = course(self)
        header["n_groups"] = len(self.site_shifts)
        arrays |= {"mean": self.mean, "cov": self.cov}
        for i, (precision, shift) in enumerate(zip(self.site_precisions, self.site_shifts)):
            arrays |= {f"precision.{i}": precision, f"shift.{i}": shift}
        archive.save(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: Path) -> EPPosterior:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged or not such a posterior.
        """
        header, arrays = archive.load(path, KIND)
        with complete(path):
            groups = range(checks.integer(header["n_groups"], f"{path}: n_groups", 1))
            found = cls(
                mean=arrays["mean"],
                cov=arrays["cov"],
                site_precisions=tuple(arrays[f"precision.{i}"] for i in groups),
                site_shifts=tuple(arrays[f"shift.{i}"] for i in groups),
                **read_course(path, header, arrays),
            )
        if found.mean.ndim != 1 or found.cov.shape != 2 * found.mean.shape:
            raise ValueError(
                f"{path}: the mean has shape {found.mean.shape} and the covariance "
                f"{found.cov.shape}; wanted (D,) and (D, D)"
            )
        return found


@contextmanager
def complete(path: Path) -> Iterator[None]:
    """Refuse a file in which something is missing or of another type."""
    try:
        yield
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a complete posterior ({error!r})") from None


def course(found: Any) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """What files of all posteriors say about the passes: a header, and arrays."""
    header = {
        "log_evidence": found.log_evidence if np.isfinite(found.log_evidence) else None,
        "failed": list(found.failed),
        "settled": bool(found.settled),
        "n_iter": int(found.n_iter),
        "method": found.method,
    }
    return header, {f"history.{name}": column for name, column in found.history.items()}


def read_course(
    path: Path, header: Mapping[str, Any], arrays: Mapping[str, AnyArray]
) -> dict[str, Any]:
    """Read what `course` wrote."""
    evidence = header["log_evidence"]
    return {
        "log_evidence": np.nan if evidence is None else float(evidence),
        "failed": tuple(str(name) for name in header["failed"]),
        "settled": checks.flag(header["settled"], f"{path}: settled"),
        "n_iter": checks.integer(header["n_iter"], f"{path}: n_iter", 0),
        "method": str(header["method"]),
        "history": {
            name.removeprefix("history."): column
            for name, column in arrays.items()
            if name.startswith("history.")
        },
    }
