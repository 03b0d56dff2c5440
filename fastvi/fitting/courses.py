"""How fits ascend: stages of steps along the gradients of a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastvi.base.typing import Options, Tree
from fastvi.families.base import Family
from fastvi.fitting.choices import METHODS, Wanted
from fastvi.fitting.compiled import compiled_steps
from fastvi.fitting.components import ComponentStages
from fastvi.fitting.fixed_point import FixedPoint
from fastvi.fitting.growth import Growth, GrowthStages
from fastvi.fitting.hellinger import Hellinger
from fastvi.fitting.stages import NaturalStages, PlainStages, Stages
from fastvi.fitting.vboost import LowRankGrowth
from fastvi.gradients.auxiliary import auxiliary
from fastvi.gradients.gumbel import annealed, gumbel
from fastvi.gradients.reparam import reparam
from fastvi.gradients.score import score
from fastvi.targets.standardised import Standardised, guided

__all__ = ["COURSES", "Course"]

COOLING = 1.0, 0.1, 500  # ends before a fit can settle; many draws average the noise


class Course(NamedTuple):
    """Stages, initial parameters, and ``read(params)``, which returns the member they stand for."""

    stages: Stages
    begin: Tree
    read: Callable[[Tree], Family]


def _natural(wanted: Wanted, member: Family, options: Options) -> Course:
    """Along natural gradients, whose parameters are the member itself."""
    target, goal, n = wanted.target, wanted.goal, wanted.n_draws
    compiled = compiled_steps(target, goal, member, n_draws=n, natural=True)
    gradient = reparam(target, goal, n_draws=n)
    stages = NaturalStages(
        gradient, wanted.batches, compiled=compiled, window=wanted.window, **options
    )
    return Course(stages, member, lambda params: params)


def _of_components(wanted: Wanted, member: Family, options: Options) -> Course:
    """Along natural gradients of each component, with more components between stages."""
    if wanted.method == "fixed-point" or wanted.boosting != "elbo":
        return _by_growth(wanted, member, options)
    stages = ComponentStages(
        wanted.target, wanted.batches, power=wanted.goal.power, n_draws=wanted.n_draws,
        n_components=wanted.n_components, boosting=wanted.method == "boosting",
        window=wanted.window, **options,
    )  # fmt: skip
    return Course(stages, member, lambda params: params)


def _by_growth(wanted: Wanted, member: Family, options: Options) -> Course:
    """By components that are found one after the other."""
    target, power, boosting = wanted.target, wanted.goal.power, wanted.boosting
    seed = int(options["rng"].integers(2**31))
    growth: Growth
    if wanted.method == "fixed-point":
        growth = FixedPoint(target, power, seed)
    elif boosting == "hellinger":
        growth = Hellinger(target, power, seed)
    else:
        rank = 1 if boosting == "low-rank" else int(boosting)
        growth = LowRankGrowth(target, power, rank, seed)
    stages = GrowthStages(
        wanted.batches, growth=growth, n_components=wanted.n_components, **options
    )
    return Course(stages, member, growth.read)


def _plain(wanted: Wanted, member: Family, options: Options) -> Course:
    """Averaged Adam in the start's units, in which one rate suits all parameters."""
    frame = guided(member, wanted.target).powers.frame
    assert frame is not None
    centre, units, like = frame.centre, frame.units, frame.standard()
    target, goal, n = Standardised(wanted.target, centre, units), wanted.goal, wanted.n_draws
    gradient, compiled = wanted.reduced(reparam(target, goal, n_draws=n, family=like)), None
    if not wanted.tools:
        compiled = compiled_steps(target, goal, like, n_draws=n, natural=False)
    stages = PlainStages(
        gradient, wanted.batches, like=like, is_upper=goal.is_upper, compiled=compiled,
        pace=member.powers.pace, **options,
    )  # fmt: skip
    return Course(stages, like.free(), lambda params: like.from_free(params).mapped(centre, units))


def _by_scores(wanted: Wanted, member: Family, options: Options) -> Course:
    """Averaged Adam in the units of each part, along gradients that need no frame."""
    form = member.powers.score
    assert form is not None
    product, target, goal = form.product, wanted.target, wanted.goal
    if wanted.method == "score":
        found = score(target, goal, n_draws=wanted.n_draws, family=product)
        gradient = wanted.reduced(found)
    else:
        gradient = gumbel(
            target, goal, n_draws=wanted.n_draws, family=product, temperature=annealed(*COOLING),
            straight_through=wanted.method == "straight-through",
        )  # fmt: skip
    stages = PlainStages(
        gradient, wanted.batches, like=product, is_upper=goal.is_upper, units=product.step_units,
        **options,
    )  # fmt: skip
    return Course(stages, product.free(), lambda params: form.back(product.from_free(params)))


def _by_auxiliary(wanted: Wanted, member: Family, options: Options) -> Course:
    """Averaged Adam along gradients of discrete numbers given auxiliary ones."""
    gradient = auxiliary(wanted.target, wanted.goal, n_draws=wanted.n_draws, family=member)
    stages = PlainStages(gradient, wanted.batches, like=member, is_upper=False, **options)
    return Course(stages, member.free(), member.from_free)


COURSES: dict[str, Callable[[Wanted, Family, Options], Course]] = {
    "natural": _natural,
    "plain": _plain,
    **{name: _of_components for name, known in METHODS.items() if known.grows},
    **{name: _by_scores for name, known in METHODS.items() if known.by_scores},
    "auxiliary": _by_auxiliary,
}
