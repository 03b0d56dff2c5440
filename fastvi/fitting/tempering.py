"""Annealed fits: of the target raised to small powers first, which flatten it.

As in deterministic annealing for variational inference (Katahira, Watanabe and Okada 2008; Mandt,
McInerney, Abrol, Ranganath and Blei 2016, "Variational tempering", section 3). A fit begins where
that of the next higher temperature ended. For temperatures that are inferred, of all rows or of
each, see `fastvi.fitting.row_priors.temperatures`.
"""

from __future__ import annotations

from collections.abc import Callable

from fastvi import objectives
from fastvi.base import checks
from fastvi.checkpoints import Watching
from fastvi.fitting.choices import METHODS
from fastvi.fitting.runs import Job
from fastvi.fitting.watching import watch_of
from fastvi.posteriors.member import Posterior

__all__ = ["TEMPERINGS", "annealed", "tempering_of"]

TEMPERINGS = ("anneal",)
TEMPERATURES = (32.0, 16.0, 8.0, 4.0, 2.0, 1.4)
ROUGH = 0.1  # tolerance while it is hot


def tempering_of(tempering: str | None, method: str, checkpoint: object) -> bool:
    """Whether a fit by a method is to be annealed.

    Raises
    ------
    ValueError
        If it is anything but None and "anneal", or does not go with the method or a checkpoint.
    """
    if tempering is None:
        return False
    if tempering == "variational":
        raise ValueError(
            "tempering='variational': fastvi.reweighted_fit infers temperatures, with "
            "prior='temperature' for all rows at once and 'temperatures' for each"
        )
    checks.choice(tempering, "tempering", TEMPERINGS)
    known = METHODS[method]
    if known.from_mode or not known.objectives or not known.resumes:
        raise ValueError(
            f"tempering={tempering!r} with method={method!r}, which does not take steps from "
            "where another fit ended; wanted None"
        )
    if checkpoint is not None:
        raise ValueError(f"tempering={tempering!r} with a checkpoint; wanted None for one of them")
    return True


def annealed(job: Job, run: Callable[[Job], Posterior]) -> Posterior:
    """The posterior of a job, from where fits at falling temperatures lead.

    Fits that do not settle, as at temperatures at which the target has no finite mass, are skipped.
    """
    wanted, member, seed = job.wanted, job.member, job.seed
    silent = Watching(None, None, 0.0, False)
    for temperature in TEMPERATURES:
        goal = objectives.tempered(wanted.goal, wanted.goal.power / temperature)
        hot = job._replace(
            wanted=wanted._replace(goal=goal, tol=max(wanted.tol, ROUGH)), near=None,
            member=member,
            watch=lambda read: watch_of(silent, wanted.target, seed, {}, read=read, verbose=False),
        )  # fmt: skip
        found = run(hot)
        if found.settled:
            member = found.member
    return run(job._replace(near=None, member=member))
