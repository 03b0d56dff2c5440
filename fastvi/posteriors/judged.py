"""Approximations that are judged: verdicts, and what follows from the draws that they rest on."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import JsonObject
from fastvi.families.base import Family
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.bell import Bell
from fastvi.posteriors.corrected import Corrected, Evidence, corrected_of, evidence_of
from fastvi.posteriors.flips import Flips
from fastvi.posteriors.importance import Mixture, Proposals, Sampling, Weighted, near_modes
from fastvi.posteriors.verdict import (
    GOOD,
    MEANS_ONLY,
    WORDS,
    Claim,
    Verdict,
    drawn_on,
    judge,
    why_not,
)
from fastvi.targets.failures import quiet

__all__ = ["Judged"]

RARE = 1e-3  # standard deviation of a discrete number below which it counts as constant


class _Setting(NamedTuple):
    """What draws are proposed from, what is claimed, and where tails are measured."""

    proposals: Proposals
    claim: Claim
    bell: Bell | None


class Judged(Approximation):
    """An approximation with a verdict; a subclass says near which member its draws lie."""

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

    @cached_property
    def _judged(self) -> tuple[Verdict, Sampling | None]:
        target = self._target()
        with single_threaded_blas(), quiet():
            setting = self._setting
            return judge(target, setting.proposals, setting.claim, setting.bell, self._seed)

    @cached_property
    def _setting(self) -> _Setting:
        member, mean, sd = self._nearby(), self.mean, self.sd
        if member.powers.dispersible is not None:
            flips = Flips(member.powers.dispersible, self._target(), self._seed)
            return _Setting(flips, Claim(mean, sd, self.names, least=RARE), None)
        mixture = Mixture(member, self.modes)
        claim = Claim(mean, sd, self.names, len(near_modes(self.modes)))
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

    def corrected(self) -> Corrected:
        """Means, standard deviations, covariance and draws of the target, by importance weights.

        They rest on the draws of the `verdict`, and on more of these until they are worth 1000
        draws from the target. They are right for families that are not, wherever they are given.

        Raises
        ------
        ValueError
            If importance sampling cannot tell them, with the reason, or the posterior was loaded
            without its target.

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
        found, figures = self._corrected
        return corrected_of(found, figures.get("khat_sds", -np.inf))

    def evidence(self) -> Evidence:
        """Log evidence in nats with its standard error, by mixture importance sampling.

        Unlike `elbo` it does not depend on how well the family fits.

        Raises
        ------
        ValueError
            As `corrected`.
        """
        return evidence_of(self._corrected[0])

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
