"""What passes of expectation propagation are made of: a prior, sites, and what both amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from fastvi.base.typing import Array, Indices
from fastvi.propagation.sites import Natural, Sites

__all__ = ["Gaussian", "Problem", "Reading", "Step", "improper"]


class Gaussian(NamedTuple):
    """``N(mean, root root')`` with these natural parameters, and its log normaliser."""

    mean: Array  # (D,)
    root: Array  # (D, D)
    precision: Array  # (D, D)
    shift: Array  # (D,)
    log_normaliser: float  # without D / 2 log(2 pi)


class Step(NamedTuple):
    """The sites of all groups, or marginals of theirs, group by group."""

    groups: tuple[Natural, ...]

    def moved(self, other: Step, share: float) -> Step:
        """Go a share of the way to others."""
        return Step(tuple(a.moved(b, share) for a, b in zip(self.groups, other.groups)))


class Reading(NamedTuple):
    """What sites amount to.

    Attributes
    ----------
    posterior : Gaussian
        The prior times all sites.
    evidence : float
        EP's log evidence, nats, if all cavities are proper; else NaN.
    matched : Step
        Sites that match the tilted moments; those of `failed` are as they were.
    failed : list of (group, site)
        Sites without a proper cavity.
    """

    posterior: Gaussian
    evidence: float
    matched: Step
    failed: list[tuple[int, int]]


class Problem(NamedTuple):
    """A prior, groups of sites, and the power."""

    prior: Gaussian
    groups: Sequence[Sites]
    power: float

    def start(self) -> Step:
        """Sites that are 1."""
        return Step(tuple(
            Natural(np.zeros((g.n_sites, g.width, g.width)), np.zeros((g.n_sites, g.width)))
            for g in self.groups
        ))  # fmt: skip

    def sums(self, sites: Step) -> tuple[Array, Array]:
        """Precision and shift of the product of all sites."""
        parts = [group.sums(natural) for group, natural in zip(self.groups, sites.groups)]
        return sum(p for p, _ in parts), sum(s for _, s in parts)  # type: ignore[return-value]

    def posterior(self, sites: Step) -> Gaussian | None:
        """The prior times all sites; None if that is improper."""
        precision, shift = self.sums(sites)
        return gaussian(self.prior.precision + precision, self.prior.shift + shift)

    def marginals(self, posterior: Gaussian) -> Step:
        """Natural parameters of the parts of x under a Gaussian."""
        found = []
        for group in self.groups:
            mean, cov = group.marginals(posterior.mean, posterior.root)
            precision = _inverse(cov)
            found.append(Natural(precision, np.einsum("nij,nj->ni", precision, mean)))
        return Step(tuple(found))

    def read(self, sites: Step, marginals: Step | None = None) -> Reading | None:
        """Integrate all factors under their cavities: `marginals` without the sites.

        By default the marginals are those of the posterior. None if the posterior is improper.
        """
        posterior = self.posterior(sites)
        if posterior is None:
            return None
        marginals = self.marginals(posterior) if marginals is None else marginals
        evidence = posterior.log_normaliser - self.prior.log_normaliser
        matched, failed = [], []
        for k, (group, natural, whole) in enumerate(
            zip(self.groups, sites.groups, marginals.groups)
        ):
            part, new, bad = self._match(group, natural, whole)
            evidence += part
            matched.append(new)
            failed += [(k, int(i)) for i in bad]
        return Reading(posterior, np.nan if failed else evidence, Step(tuple(matched)), failed)

    def _match(
        self, group: Sites, natural: Natural, whole: Natural
    ) -> tuple[float, Natural, Indices]:
        """Part of the evidence, matched sites, and the numbers of those without a cavity."""
        precision = whole.precision - self.power * natural.precision
        shift = whole.shift - self.power * natural.shift
        bad = improper(precision)
        rows = np.flatnonzero(~bad)
        new = Natural(natural.precision.copy(), natural.shift.copy())
        if not len(rows):
            return 0.0, new, np.flatnonzero(bad)
        precision, shift = precision[rows], shift[rows]
        cov = _inverse(precision)
        mean = np.einsum("nij,nj->ni", cov, shift)
        found = group.match(rows if bad.any() else slice(None), mean, cov, self.power)
        _check(group, rows, found.log_z, found.natural, mean, cov)
        new.precision[rows], new.shift[rows] = found.natural
        inside = _log_normaliser(precision, shift)
        outside = _log_normaliser(whole.precision[rows], whole.shift[rows])
        part = (found.log_z + inside - outside).sum() / self.power
        return float(part), new, np.flatnonzero(bad)

    def name(self, failed: tuple[int, int]) -> str:
        """What a site is called, with its group if there are several."""
        group, site = failed
        name = self.groups[group].name(site)
        return name if len(self.groups) == 1 else f"{name} of sites[{group}]"


def gaussian(precision: Array, shift: Array) -> Gaussian | None:
    """The Gaussian with these natural parameters; None if it is improper."""
    if not (np.isfinite(precision).all() and np.isfinite(shift).all()):
        return None
    try:
        lower = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        return None
    root = solve_triangular(lower, np.eye(len(lower)), lower=True).T
    white = root.T @ shift
    normaliser = 0.5 * float(white @ white) - float(np.log(np.diag(lower)).sum())
    return Gaussian(root @ white, root, precision, shift, normaliser)


def improper(precision: Array) -> NDArray[np.bool_]:
    """Whether Gaussians with these precisions (n, d, d) are improper, (n,)."""
    if precision.shape[-1] == 1:
        return np.asarray(~(precision[:, 0, 0] > 0.0))
    finite = np.isfinite(precision).all(axis=(1, 2))
    least = np.full(len(precision), -1.0)
    least[finite] = np.linalg.eigvalsh(precision[finite])[:, 0]
    return np.asarray(~(least > 0.0))


def _inverse(matrices: Array) -> Array:
    return np.asarray(1.0 / matrices if matrices.shape[-1] == 1 else np.linalg.inv(matrices))


def _log_normaliser(precision: Array, shift: Array) -> Array:
    """Log integrals of exp(-x' precision x / 2 + shift' x), without d / 2 log(2 pi), (n,)."""
    if precision.shape[-1] == 1:
        return np.asarray(
            0.5 * (shift[:, 0] ** 2 / precision[:, 0, 0] - np.log(precision[:, 0, 0]))
        )
    solved = np.linalg.solve(precision, shift[:, :, None])[:, :, 0]
    squares = np.einsum("ni,ni->n", shift, solved)
    return np.asarray(0.5 * (squares - np.linalg.slogdet(precision)[1]))


def _check(
    group: Sites, rows: Indices, log_z: Array, natural: Natural, mean: Array, cov: Array
) -> None:
    """Refuse tilted moments that are not finite, and say whose they are."""
    bad = ~(
        np.isfinite(log_z)
        & np.isfinite(natural.precision).all(axis=(1, 2))
        & np.isfinite(natural.shift).all(axis=1)
    )
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        more = f", and {bad.sum() - 1} other sites" if bad.sum() > 1 else ""
        spread = np.sqrt(np.diagonal(cov[i]))
        raise ValueError(
            f"{group.name(int(rows[i]))}: the tilted moments are not finite, or have no variance "
            f"(log Z is {log_z[i]:.6g}), for a cavity of mean {_numbers(mean[i])} and standard "
            f"deviation {_numbers(spread)}{more}; wanted finite moments"
        )


def _numbers(values: Array) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:4])
    return shown if len(values) == 1 else f"[{shown}{', ...' if len(values) > 4 else ''}]"
