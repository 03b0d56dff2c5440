"""Draws of named parameters as ArviZ containers, with the data and likelihoods of the model."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.targets.base import Target
from fastvi.targets.contents import Contents

__all__ = ["Groups", "container", "groups_of"]

Groups = dict[str, dict[str, AnyArray]]
MOST = 10_000_000  # log likelihoods that are computed without being asked for


def groups_of(
    target: Target,
    Z: Array,
    n_chains: int,
    observed: str | Sequence[str] | None,
    log_likelihood: bool | None,
) -> tuple[Groups, Contents]:
    """Collect the groups of a container.

    Parameters
    ----------
    target : Target
    Z : (n_chains n, dim) array
        Unconstrained draws.
    n_chains : int
    observed : str, sequence of str or None
        As in `Approximation.to_arviz`.
    log_likelihood : bool or None

    Returns
    -------
    groups : dict of str to dict of str to array
        Arrays of draws are (n_chains, n, *shape).
    contents : Contents
        Names of their axes.
    """
    contents = _split(target.contents(), observed)

    def chains(draws: Mapping[str, Array]) -> dict[str, AnyArray]:
        return {name: x.reshape((n_chains, -1, *x.shape[1:])) for name, x in draws.items()}

    named = target.constrain(Z)
    free = {
        name: z
        for name, z in target.unconstrained(Z).items()
        if name not in named or not np.array_equal(z, named[name])
    }
    groups = {"posterior": chains(named), "unconstrained_posterior": chains(free)}
    n_numbers = target.n_likelihoods
    if log_likelihood is None:
        log_likelihood = 0 < n_numbers * len(Z) <= MOST
    if log_likelihood:
        if not n_numbers:
            raise ValueError(
                f"log_likelihood is True, but {target.name} does not tell the likelihoods of its "
                "rows apart; wanted a density that takes rows and weights"
            )
        groups["log_likelihood"] = chains(_named(target, Z, contents))
    groups["observed_data"] = dict(contents.observed)
    groups["constant_data"] = dict(contents.constants)
    return {name: group for name, group in groups.items() if group}, contents


def _split(contents: Contents, observed: str | Sequence[str] | None) -> Contents:
    """Contents with only some of the data observed, and the rest constant."""
    if observed is None:
        return contents
    names = (observed,) if isinstance(observed, str) else tuple(observed)
    data = {**contents.observed, **contents.constants}
    unknown = [name for name in names if name not in data]
    if unknown:
        raise ValueError(
            f"observed is {observed!r}; wanted names of the data: {', '.join(data) or '(none)'}"
        )
    return contents._replace(
        observed={name: data[name] for name in names},
        constants={name: x for name, x in data.items() if name not in names},
    )


def _named(target: Target, Z: Array, contents: Contents) -> dict[str, Array]:
    """Likelihoods of rows by the name of the observed array, if there is only one."""
    found = target.log_likelihood(Z)
    if len(found) == 1 and len(contents.observed) == 1:
        return dict(zip(contents.observed, found.values()))
    return found


def container(groups: Groups, dims: Mapping[str, Any], coords: Mapping[str, Any]) -> Any:
    """Make an InferenceData before ArviZ 1.0, and an xarray DataTree since.

    Raises
    ------
    ImportError
        If ArviZ is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ArviZ about itself
            import arviz
    except ImportError:
        raise ImportError(
            "to_arviz needs ArviZ, which is not installed: pip install 'fastvi[arviz]'"
        ) from None
    axes = {name: list(of) for name, of in dims.items()}
    used = {axis for of in axes.values() for axis in of}
    places = {axis: list(of) for axis, of in coords.items() if axis in used}
    if "posterior" not in inspect.signature(arviz.from_dict).parameters:  # since 1.0
        return arviz.from_dict(groups, dims=axes, coords=places)
    known = {name: group for name, group in groups.items() if name != "unconstrained_posterior"}
    made = arviz.from_dict(**known, dims=axes, coords=places)
    if len(known) < len(groups):
        free = {"unconstrained_posterior": groups["unconstrained_posterior"]}
        made.add_groups(free)
    return made
