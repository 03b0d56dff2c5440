"""Approximations that are judged: verdicts, and what follows from the draws that they rest on."""

from __future__ import annotations

import time
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import Array, JsonObject
from fastvi.families import FullRank
from fastvi.families.base import Family
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.bell import Bell
from fastvi.posteriors.bridge import Evidence
from fastvi.posteriors.corrected import (
    Corrected,
    corrected_by_chains,
    corrected_of,
    evidence_of,
)
from fastvi.posteriors.flips import Flips
from fastvi.posteriors.importance import Mixture, Proposals, Sampling, Weighted, near_modes
from fastvi.posteriors.moments import Moments
from fastvi.posteriors.refined import Refined, run_chains
from fastvi.posteriors.verdict import (
    GOOD,
    GROWS,
    MEANS_ONLY,
    STEEP,
    UNDECIDED,
    WORDS,
    Claim,
    Verdict,
    drawn_on,
    judge,
    judge_by,
    why_not,
)
from fastvi.targets.failures import quiet

__all__ = ["Judged", "gaussian_near"]

RARE = 1e-3  # standard deviation of a discrete number below which it counts as constant


def gaussian_near(mean: Array, cov: Array, n: float) -> FullRank:
    """The Gaussian of n draws, with smaller correlations where they are few."""
    variance = np.where(np.diag(cov) > 0, np.diag(cov), 1.0)  # 0 of a single draw
    share = len(mean) / (n + len(mean))
    return FullRank.of(mean, (1.0 - share) * cov + share * np.diag(variance))


class _Setting(NamedTuple):
    """What draws are proposed from, what is claimed, and where tails are measured."""

    proposals: Proposals
    claim: Claim
    bell: Bell | None


class Judged(Approximation):
    """An approximation with a verdict; a subclass says near which member its draws lie."""

    _remarks: dict[str, float] = {}  # noqa: RUF012  figures of the fit that the verdict must know

    def _nearby(self) -> Family:
        """The member of a family that proposals are made from."""
        raise NotImplementedError

    @cached_property
    def verdict(self) -> Verdict:
        """Whether means and standard deviations are those of the target, and why.

        Draws around the approximation and around all modes that are known are weighted towards
        the target (mixture importance sampling). It is computed once, with the same bits each
        time. What it cannot see are modes that no draw and no path of the search came near.

        Raises
        ------
        ValueError
            If the posterior was loaded from a file without a verdict, and without its target.
        """
        return self._judged[0]

    def refined_verdict(self, *, n_jobs: int | None = None) -> Verdict:
        """The `verdict`; where importance sampling is undecided, by the moments of chains.

        These are the chains of ``corrected(refine=True)``. Where they do not mix, the verdict
        stays "undecided", with their reason.

        Parameters
        ----------
        n_jobs : int, optional
            As in `corrected`.

        Raises
        ------
        ValueError
            If the verdict is undecided and the target is not there, has discrete numbers or no
            gradient.

        Examples
        --------
        >>> import fastvi, numpy as np
        >>> @fastvi.target(dim=2)
        ... def funnel(z):
        ...     return -2.0 * z[0] ** 2 - z[0] - 0.5 * z[1] ** 2 * np.exp(-2.0 * z[0])
        >>> posterior = fastvi.fit(funnel, random_state=0)
        >>> posterior.refined_verdict().word
        'means only'
        """
        if self.verdict.word != UNDECIDED:
            return self.verdict
        chains, seconds = self._refined(n_jobs)
        if chains.why_not:
            return Verdict(UNDECIDED, chains.why_not, chains.figures, seconds)
        found = corrected_by_chains(chains, seconds)
        moments = Moments(found.mean, found.points.std(axis=0), found.mean_error, found.sd_error)
        return judge_by(self._setting.claim, moments, found.verdict)

    @cached_property
    def _judged(self) -> tuple[Verdict, Sampling | None]:
        target = self._target()
        with single_threaded_blas(), quiet():
            setting = self._setting
            return judge(
                target, setting.proposals, setting.claim, setting.bell, self._seed, self._remarks
            )

    @cached_property
    def _setting(self) -> _Setting:
        member, mean, sd = self._nearby(), self.mean, self.sd
        if member.powers.dispersible is not None:
            flips = Flips(member.powers.dispersible, self._target(), self._seed)
            return _Setting(flips, Claim(mean, sd, self.names, least=RARE), None)
        mixture = Mixture(member, self.modes)
        has_mode = not self.modes or any(mode.cov is not None for mode in self.modes)
        claim = Claim(mean, sd, self.names, len(near_modes(self.modes)), has_mode)
        return _Setting(mixture, claim, mixture.closest)

    @cached_property
    def _corrected(self) -> tuple[Weighted, dict[str, float]]:
        """Weighted draws, more than the verdict needed, and their figures."""
        _, sampling = self._judged
        if sampling is None:
            raise ValueError(f"corrected moments cannot be had: {self.verdict.reason}")
        with single_threaded_blas(), quiet():
            found, figures = drawn_on(sampling, self._setting.claim)
        why = why_not({**self._judged[0].figures, **figures})
        if why:
            raise ValueError(f"corrected moments cannot be had: {why}")
        return found, figures

    def _refined(self, n_jobs: int | None) -> tuple[Refined, float]:
        """Draws of chains, and seconds; kept for the next time."""
        if "_chains" not in self.__dict__:
            target, sampling = self._target(), self._judged[1]
            if self._setting.bell is None:
                raise ValueError("refine=True is for continuous numbers; this posterior has others")
            target.require_gradient("refine=True needs")
            falls_slowly = STEEP <= self.verdict.figures.get("tail", -np.inf) < GROWS
            if sampling is None or falls_slowly:
                raise ValueError(f"corrected moments cannot be had: {self.verdict.reason}")
            began = time.perf_counter()
            with single_threaded_blas(), quiet():
                drawn, _ = drawn_on(sampling, self._setting.claim)
                found = run_chains(
                    target, self._setting.proposals, drawn, self.modes, self._seed,
                    resolve_n_jobs(n_jobs),
                )  # fmt: skip
            self.__dict__["_chains"] = found, time.perf_counter() - began
        chains: tuple[Refined, float] = self.__dict__["_chains"]
        return chains

    def corrected(self, *, refine: bool = False, n_jobs: int | None = None) -> Corrected:
        """Means, standard deviations, covariance and draws of the target.

        They rest on the importance weights of the `verdict`'s draws, and on more of these until
        they are worth 1000 draws from the target. They are right for families that are not,
        wherever they are given.

        Parameters
        ----------
        refine : bool
            Where importance sampling cannot tell, move its draws by short Hamiltonian Monte Carlo:
            128 chains, half of which begin at importance-resampled draws, and half at draws spread
            wider. Moments are given if the chains have forgotten where they began.
        n_jobs : int, optional
            Threads for these chains; results have the same bits for any number.

        Raises
        ------
        ValueError
            If neither can tell them, with the reason, the posterior was loaded without its target,
            or `refine` is asked for discrete numbers or a target without a gradient.

        Examples
        --------
        >>> import fastvi
        >>> @fastvi.target(dim=2)
        ... def correlated(z):
        ...     return -0.5 * (z[0] ** 2 + z[1] ** 2 - 1.8 * z[0] * z[1]) / 0.19
        >>> posterior = fastvi.fit(correlated, "meanfield", random_state=0)
        >>> posterior.sd.round(1)
        array([0.4, 0.4])
        >>> posterior.corrected().sd.round(1)
        array([1., 1.])
        """
        checks.flag(refine, "refine")
        began = time.perf_counter()
        try:
            found, figures = self._corrected
        except ValueError:
            if not refine:
                raise
            chains, seconds = self._refined(n_jobs)
            if chains.why_not:
                raise ValueError(f"corrected moments cannot be had: {chains.why_not}") from None
            return corrected_by_chains(chains, seconds)
        return corrected_of(found, figures, time.perf_counter() - began)

    def evidence(self, *, refine: bool = False, n_jobs: int | None = None) -> Evidence:
        """Log evidence in nats with its standard error.

        By mixture importance sampling; with `refine`, if chains mix (see `corrected`), by bridge
        sampling between these draws and those of the chains (Meng and Wong 1996). Unlike `elbo` it
        does not depend on how well the family fits.

        Parameters
        ----------
        refine : bool
        n_jobs : int, optional
            As in `corrected`.

        Raises
        ------
        ValueError
            As `corrected`.
        """
        checks.flag(refine, "refine")
        chains = self._refined(n_jobs)[0] if refine else None
        if chains is not None and not chains.why_not:
            return chains.evidence
        try:
            return evidence_of(self._corrected[0])
        except ValueError:
            if chains is None:
                raise
        raise ValueError(f"evidence cannot be had: {chains.why_not}")

    @property
    def converged(self) -> bool:
        """Whether the means can be used: the `verdict` is "good" or "means only"."""
        return self.verdict.word in (GOOD, MEANS_ONLY)

    def _words(self) -> list[str]:
        return [*super()._words(), *self._verdict_in_words()]

    def _verdict_in_words(self) -> list[str]:
        if self.target is None and "verdict" not in self.__dict__:
            return []
        verdict = self.verdict
        return [f"Verdict: {verdict.word} ({verdict.seconds:.2g} s). {verdict.reason}"]

    def _verdict_header(self) -> JsonObject:
        """The verdict as JSON, if it is known."""
        if "verdict" not in self.__dict__:
            return {}
        found = self.verdict._asdict()
        return {"verdict": {**found, "figures": dict(self.verdict.figures)}}

    def _with_verdict(self, header: JsonObject, path: str) -> Self:
        """With the verdict of a file's header, if there is one."""
        found = header.get("verdict")
        if found is None:
            return self
        if not isinstance(found["reason"], str):
            raise ValueError(f"{path}: not a verdict: {found}")
        self.__dict__["verdict"] = Verdict(
            checks.choice(found["word"], f"{path}: verdict", WORDS),
            found["reason"],
            {str(name): float(value) for name, value in found["figures"].items()},
            float(found["seconds"]),
        )
        return self
