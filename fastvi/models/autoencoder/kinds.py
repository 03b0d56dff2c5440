"""Kinds of posteriors, priors and decoders: one table for each parameter that names them.

A new kind is a line of a table. It says which class of models has it: the least one among
subclasses of `Autoencoder`, of which the words that are chosen together take the most special.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fastvi.base import checks
from fastvi.models.autoencoder import autoregressive, categories, families, paths, priors
from fastvi.models.autoencoder.choice import Choice, Option, count, sizes
from fastvi.models.autoencoder.guided import Guided
from fastvi.models.autoencoder.implicit import IMPLICIT, Implicit, Sampler
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.pixels import PIXELS, Pixels
from fastvi.models.autoencoder.pyramids import PYRAMID, Pyramid
from fastvi.models.autoencoder.recurrent import RECURRENT, Recurrent
from fastvi.models.autoencoder.staged import Staged
from fastvi.models.autoencoder.structured import StructuredAutoencoder

__all__ = ["KINDS", "Kind", "chosen"]


class Kind(NamedTuple):
    """What a word stands for."""

    model: type[Autoencoder] = Autoencoder  # the least one that has it
    part: Any = None  # what such a model takes for it
    options: Mapping[str, Option] = MappingProxyType({})
    prior: Any = None  # the part that it brings in place of prior="normal"


def _nats(value: Any, name: str) -> float:
    return checks.number(value, name, 0.0, 10.0, open_low=True)


PARTS = {"n_parts": count(10)}
MANY, FEW = ({"n_functions": count(n)} for n in (8, 2))
TRANSITIONS = {"n_transitions": count(5)}
NETWORK = {"flow_units": sizes(128), "n_context": count(32)}

KINDS: dict[str, dict[str, Kind]] = {
    "family": {
        "gaussian": Kind(part=families.Gaussian),
        "planar": Kind(Staged, families.Planar, MANY),
        "radial": Kind(Staged, families.Radial, MANY),
        "iaf": Kind(Staged, autoregressive.Inverse, FEW | NETWORK),
        "maf": Kind(Staged, autoregressive.Masked, FEW | NETWORK),
        "hamiltonian": Kind(Guided, paths.Hamiltonian, TRANSITIONS, priors.Normal),
        "langevin": Kind(Guided, paths.Langevin, TRANSITIONS, priors.Normal),
        "categorical": Kind(
            Staged, categories.Categorical, categories.CATEGORIES, categories.Uniform
        ),
        "implicit": Kind(Implicit, Sampler, IMPLICIT),
    },
    "prior": {
        "normal": Kind(part=priors.Normal),
        "mixture": Kind(part=priors.Mixture, options=PARTS),
        "vamp": Kind(Staged, priors.Vamp, PARTS),
        "structured": Kind(StructuredAutoencoder, options=PARTS),
    },
    "decoder": {
        "dense": Kind(),
        "conv": Kind(part=Pyramid, options=PYRAMID),
        "pixelcnn": Kind(part=Pixels, options=PIXELS),
        "draw": Kind(Recurrent, options=RECURRENT),
    },
    "kl": {
        "plain": Kind(),
        "anneal": Kind(),
        "free_bits": Kind(),
        "delta": Kind(Staged, options={"delta": Option(1.0, _nats)}, prior=priors.Chain),
        "aggressive": Kind(),
    },
}


def chosen(given: Mapping[str, Any]) -> tuple[type[Autoencoder], Choice]:
    """Return the class of models that has all kinds in `given`, the parameters of the estimator,
    and the choice that it takes.

    Raises
    ------
    ValueError
        If a word or an option is unknown, an option is out of its range, or kinds do not go
        together.
    """
    words = {
        name: checks.choice(given.get(name, next(iter(table))), name, tuple(table))
        for name, table in KINDS.items()
    }
    kinds = {name: KINDS[name][word] for name, word in words.items()}
    model = Autoencoder
    for kind in kinds.values():
        if issubclass(kind.model, model):
            model = kind.model
        elif not issubclass(model, kind.model):
            raise ValueError(f"{_listed(words)} do not go together")
    options = _options(given, words, kinds)
    parts = {name: kind.part for name, kind in kinds.items()}
    brought = {name: kind.prior for name, kind in kinds.items() if kind.prior is not None}
    if len(brought) > 1:
        raise ValueError(f"{_listed(words)} do not go together")
    for name, prior in brought.items():
        if words["prior"] != "normal":
            raise ValueError(
                f"{name}={words[name]!r} needs prior='normal'; it is {words['prior']!r}"
            )
        parts["prior"] = prior
    return model, Choice(words, parts, options)


def _listed(words: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={word!r}" for name, word in words.items())


def _options(
    given: Mapping[str, Any], words: Mapping[str, str], kinds: Mapping[str, Kind]
) -> dict[str, Any]:
    """Return the options of the kinds: parameters of the same name, or from the one for them."""
    known = {name: option for kind in kinds.values() for name, option in kind.options.items()}
    set_ = given["options"] or {}
    if not hasattr(set_, "items"):
        raise ValueError(f"options is {set_!r}; wanted a dict of names and values, or None")
    allowed = [name for name in known if name not in given]
    for name in set_:
        if name not in allowed:
            wanted = f"one of {', '.join(map(repr, allowed))}" if allowed else "none"
            raise ValueError(f"options has {name!r}; wanted {wanted} with {_listed(words)}")
    values = {name: option.default for name, option in known.items()} | dict(set_)
    values |= {name: given[name] for name in known if name in given}
    return {name: option.check(values[name], name) for name, option in known.items()}
