"""Approximations that are judged: verdicts, and what follows from the draws that they rest on."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Self

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import JsonObject
from fastvi.families.base import Family
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.bell import Bell
from fastvi.posteriors.flips import Flips
from fastvi.posteriors.importance import Mixture, Proposals, Sampling, near_modes
from fastvi.posteriors.verdict import GOOD, MEANS_ONLY, WORDS, Claim, Verdict, judge

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
        with single_threaded_blas():
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
