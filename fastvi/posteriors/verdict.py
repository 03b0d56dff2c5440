"""Verdicts: whether means and standard deviations of an approximation are those of its target."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.posteriors.bell import Bell
from fastvi.posteriors.importance import Proposals, Sampling, Weighted
from fastvi.posteriors.moments import Moments, moments_of
from fastvi.posteriors.psis import shapes
from fastvi.posteriors.tails import least_slope
from fastvi.targets.base import Target

__all__ = [
    "GOOD",
    "GROWS",
    "MEANS_ONLY",
    "STEEP",
    "UNDECIDED",
    "WORDS",
    "Claim",
    "Verdict",
    "drawn_on",
    "has_sds",
    "judge",
    "judge_by",
    "why_not",
]

WORDS = GOOD, MEANS_ONLY, UNDECIDED, BAD = "good", "means only", "undecided", "bad"

FIRST, FEWEST, MOST = 250, 1000, 8000  # draws: for a first look, for a second, and at most
ENOUGH, CALM = 400.0, 0.5  # worth from which one standard error is clear, and k-hat of few draws
MOST_ROWS = 4e8  # of data that are looked at, unless fewer draws than for a first look remain
PLENTY, MOST_FOR_MOMENTS = 1000.0, 32_000  # worth wanted for corrected moments, and draws
LEAST_WORTH = 100.0  # draws from the target that the weighted draws are worth
TRUSTED, TRUSTED_MOMENT = 0.7, 0.85  # largest k-hats of weights, and of weighted moments
FAR = 0.25  # largest error of means, in weighted standard deviations
WIDTH = 1.13  # largest ratio of standard deviations, either way
MOST_GAIN = 0.05  # nats, of the last component of a mixture
MOST_MODES = 4  # that matter
STEEP, FLAT = -3.0, -2.0  # slopes of the log density in log distance: a variance, and a mean, exist
GROWS = 1.0  # a slope at which the density is not merely flat
TINY = float(np.finfo(float).tiny)
ENDLESS = 1e20  # no proper posterior in sensible units has such a standard deviation


class Verdict(NamedTuple):
    """Whether an approximation can be used, and why.

    Attributes
    ----------
    word : {"good", "means only", "undecided", "bad"}
        "good": means are right to a quarter of a standard deviation, and standard deviations to
        13 %. "means only": that is known of the means alone. "undecided": importance sampling
        cannot tell. "bad": means are wrong, or the target has none.
    reason : str
        One sentence.
    figures : mapping of str to float
        What it rests on: `n_draws` of all proposals and the number `worth` of draws from the
        target to which they amount; `khat` of the weights, `khat_means` and `khat_sds` of weighted
        deviations and their squares (the largest); `shift` of a mean in weighted standard
        deviations; the least and largest ratios `narrowest` and `widest` of standard deviations to
        weighted ones; `modes` that matter (infinite where no path came to one); `tail`, the least
        steep slope of the log density in the logarithm of the distance; `last_gain` of a mixture's
        last component, or of one more, in nats. Those that were not needed
        are left out.
    seconds : float
        Time that it took.
    """

    word: str
    reason: str
    figures: Mapping[str, float]
    seconds: float

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


class Claim(NamedTuple):
    """What is to be judged.

    Attributes
    ----------
    mean, sd : (D,) array
    names : sequence of str
    n_modes : int
        How many modes matter, as far as is known.
    has_mode : bool
        Whether a path uphill has come to a mode, as far as is known.
    least : float
        Standard deviations that do not matter, such as those of an event with probability 1e-6;
        added to all.
    """

    mean: Array
    sd: Array
    names: Sequence[str]
    n_modes: int = 0
    has_mode: bool = True
    least: float = 0.0

    def compared(self, found: Moments) -> tuple[Array, Array]:
        """Shifts of means in weighted standard deviations, and ratios of standard deviations."""
        sd = found.sd + max(self.least, TINY)
        return (found.mean - self.mean) / sd, (self.sd + self.least) / sd


def judge(
    target: Target,
    proposals: Proposals,
    claim: Claim,
    bell: Bell | None,
    seed: int,
    remarks: Mapping[str, float] | None = None,
) -> tuple[Verdict, Sampling | None]:
    """Judge a claim by importance sampling; the verdict, and the draws that it rests on.

    Parameters
    ----------
    target : Target
    proposals : Proposals
    claim : Claim
    bell : Bell or None
        Units and directions in which tails are measured; None where they are not.
    seed : int
    remarks : mapping of str to float, optional
        Further figures, of the fit.
    """
    began = time.perf_counter()
    sampling, figures = None, {"widest": float(claim.sd.max())}
    word, reason = BAD, "A standard deviation is endless: is the posterior proper?"
    if np.all(np.isfinite(claim.mean)) and figures["widest"] < ENDLESS:
        sampling = Sampling(target, proposals, FIRST, seed)
        found, moments, figures = _enough(sampling, claim)
        figures["modes"], where = float(claim.n_modes if claim.has_mode else np.inf), 0
        if bell is not None and np.isfinite(figures["shift"]):
            figures["tail"], where = least_slope(target, bell, np.maximum(found.sd, claim.sd), seed)
        figures |= remarks or {}
        if not np.any(np.isfinite(found.log_ratios)):
            reason = "No draw has a density."
        else:
            word, reason = _decide(figures, moments, claim, where)
    return Verdict(word, reason, figures, time.perf_counter() - began), sampling


def _enough(sampling: Sampling, claim: Claim) -> tuple[Weighted, Moments, dict[str, float]]:
    """Draw until the weights are calm and no figure is close to its bar, or in vain."""
    most = most_draws(sampling.target, MOST)
    while True:
        found = sampling.weighted()
        moments = moments_of(found, sampling.of_own)
        figures, is_close = _figures(found, moments, claim)
        n = len(found.points)
        calm = found.size >= LEAST_WORTH and found.khat < CALM and not is_close
        hopeless = n >= FEWEST and found.size * most / n < LEAST_WORTH
        if sampling.is_exact or calm or hopeless or n >= most:
            return found, moments, figures
        sampling.draw_on(min(max(FEWEST - n, 0) or n, most - n))


def most_draws(target: Target, most: int) -> int:
    """Largest number of draws, fewer where each of them looks at many rows of data."""
    return max(FIRST, int(min(most, MOST_ROWS / max(target.n_rows or 0, 1))))


def drawn_on(sampling: Sampling, claim: Claim) -> tuple[Weighted, dict[str, float]]:
    """Draw until weighted draws are worth 1000, for moments; the draws, and their figures."""
    found, most = sampling.weighted(), most_draws(sampling.target, MOST_FOR_MOMENTS)
    if not sampling.is_exact and len(found.points) < min(FEWEST, most):
        sampling.draw_on(min(FEWEST, most) - len(found.points))
        found = sampling.weighted()
    can_be_had = found.size * most / len(found.points) > min(ENOUGH, 0.4 * most)
    while can_be_had and found.size < PLENTY and len(found.points) < most:
        sampling.draw_on(min(len(found.points), most - len(found.points)))
        found = sampling.weighted()
    return found, _figures(found, moments_of(found, sampling.of_own), claim)[0]


def _figures(found: Weighted, moments: Moments, claim: Claim) -> tuple[dict[str, float], bool]:
    """Figures of weighted draws, and whether noise leaves open on which side of a bar one is."""
    weights = found.weights
    shifts, ratios = claim.compared(moments)
    with np.errstate(divide="ignore"):
        off = np.abs(np.log(ratios))
    far, odd = int(np.argmax(np.abs(shifts))), int(np.argmax(off))
    shift = float(np.abs(shifts[far]))
    figures = {
        "n_draws": float(len(weights)),
        "worth": found.size,
        "khat": found.khat,
        "shift": shift,
        "narrowest": float(ratios.min()),
        "widest": float(ratios.max()),
    }
    if not np.isfinite(found.size):  # all points, of which no tail can be missing
        return figures, False
    away = np.abs(found.points - found.mean) / np.maximum(found.sd, TINY)
    deviations = away * weights[:, None]
    figures["khat_means"] = float(shapes(deviations).max())
    figures["khat_sds"] = float(shapes(deviations * away).max())
    unsure = max(1.0, np.sqrt(ENOUGH / max(found.size, 1.0)))  # the less, the worse is noise known
    noise = moments.mean_error[far] / max(moments.sd[far], TINY)
    noise_of_sd = moments.sd_error[odd] / max(moments.sd[odd], TINY)
    is_close = abs(shift - FAR) < unsure * noise or (
        abs(off[odd] - np.log(WIDTH)) < unsure * noise_of_sd
    )
    return figures, bool(is_close)


def _decide(
    figures: Mapping[str, float], found: Moments, claim: Claim, where: int
) -> tuple[str, str]:
    """The word and the reason."""
    if FLAT <= figures.get("tail", -np.inf) < GROWS:
        return BAD, (
            f"Far from its mode the density does not fall fast enough along {claim.names[where]} "
            f"(as distance to the power {figures['tail']:.1f}): the target has no mean."
        )
    why = why_not(figures)
    if why:
        return UNDECIDED, why
    return _compare(figures, found, claim, has_sds(figures), "Importance weights")


def _compare(
    figures: Mapping[str, float], found: Moments, claim: Claim, sds_known: bool, by: str
) -> tuple[str, str]:
    """The word and the reason, where moments of the target are known, by weights or by chains."""
    shifts, ratios = claim.compared(found)
    if figures["shift"] >= FAR:
        far = int(np.argmax(np.abs(shifts)))
        return BAD, (
            f"{by} move the mean of {claim.names[far]} by {abs(shifts[far]):.2f} "
            "standard deviations."
        )
    close = f"{by} move means by at most {figures['shift']:.2f} standard deviations"
    if not sds_known:
        return MEANS_ONLY, (
            f"{close}, but tails are too heavy to judge standard deviations "
            f"(k-hat {figures['khat_sds']:.2f})."
        )
    low, high = figures["narrowest"], figures["widest"]
    if low < 1.0 / WIDTH or high > WIDTH:
        worst = int(np.argmin(ratios) if low * high < 1.0 else np.argmax(ratios))
        return MEANS_ONLY, (
            f"{close}, but the standard deviation of {claim.names[worst]} is {ratios[worst]:.2g} "
            "times what it should be."
        )
    return GOOD, (
        f"{close}, and standard deviations are {low:.2f} to {high:.2f} of what they should be."
    )


def judge_by(claim: Claim, found: Moments, of_chains: Verdict) -> Verdict:
    """Judge a claim by moments that chains have found, and by the verdict on these."""
    shifts, ratios = claim.compared(found)
    figures = {
        **of_chains.figures, "shift": float(np.abs(shifts).max()),
        "narrowest": float(ratios.min()), "widest": float(ratios.max()),
    }  # fmt: skip
    word, reason = _compare(figures, found, claim, of_chains.word == GOOD, "Chains")
    return Verdict(word, reason, figures, of_chains.seconds)


def why_not(figures: Mapping[str, float]) -> str:
    """Why weighted draws cannot be trusted for means, as a sentence; empty if they can."""
    draws = f"{figures['n_draws']:.0f} draws"
    if np.isinf(figures["modes"]):
        return (
            "No path uphill came to a mode: the density may be unbounded, with mass where no draw "
            "comes, as in a funnel."
        )
    if figures["modes"] > MOST_MODES:
        return f"The target has {figures['modes']:.0f} modes that matter; there may be more."
    if figures.get("last_gain", 0.0) >= MOST_GAIN:
        return (
            f"The last component of the mixture gained {figures['last_gain']:.2f} nats, and one "
            "more may gain as much: there may be mass where no draw comes."
        )
    if figures["worth"] < LEAST_WORTH:
        return (
            f"{draws} around the approximation and the modes are worth only "
            f"{figures['worth']:.0f} draws from the target; another family, or the model written "
            "differently, may help."
        )
    if figures["khat"] >= TRUSTED:
        return f"Importance weights of {draws} are too uneven (k-hat {figures['khat']:.2f})."
    if figures.get("khat_means", -np.inf) >= TRUSTED_MOMENT:
        return f"Tails are too heavy to judge means (k-hat {figures['khat_means']:.2f})."
    if figures.get("tail", -np.inf) >= GROWS:
        return (
            "Far from its mode the density grows: it is unbounded, as in a funnel, or its integral "
            "is infinite."
        )
    if figures.get("tail", -np.inf) >= STEEP:
        return (
            "Far from its mode the density falls slowly (as distance to the power "
            f"{figures['tail']:.1f}): the target may have no standard deviation."
        )
    return ""


def has_sds(figures: Mapping[str, float]) -> bool:
    """Whether weighted draws can be trusted for standard deviations, if they can for means."""
    return figures.get("khat_sds", -np.inf) < TRUSTED_MOMENT
