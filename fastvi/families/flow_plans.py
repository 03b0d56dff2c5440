"""Where the parameters of flows lie, and the values that make a flow the identity.

Plans are described in `fastvi.kernels.flow_rows`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array

__all__ = ["Sizes", "begin", "layout"]

Ints = NDArray[np.int64]
ONE = float(np.log(np.e - 1.0))  # softplus of it is 1


class Sizes(NamedTuple):
    """How large a flow is: layers, hidden units of each layer, bins of each spline."""

    n_layers: int
    n_hidden: int
    n_bins: int


class _Masks(NamedTuple):
    """A masked layer: the order of dependence, and how many in it each number and unit reads."""

    order: Ints
    starts: Ints
    reaches: Ints

    @property
    def reads(self) -> Ints:
        """How many hidden units each number reads."""
        return np.searchsorted(self.reaches, self.starts, side="right").astype(np.int64)


def _order(dim: int, layer: int) -> Ints:
    """An order for each layer; every other is the one before it reversed."""
    pair = layer // 2
    keys = np.arange(dim) if pair == 0 else np.arange(1, dim + 1) * (2654435769 * pair) % 2**32
    order = np.argsort(keys, kind="stable").astype(np.int64)
    return order[::-1] if layer % 2 else order


def _autoregressive(dim: int, layer: int, n_hidden: int) -> _Masks:
    n_units = n_hidden if dim > 1 else 0
    reaches = 1 + np.arange(n_units) * (dim - 1) // max(n_units, 1)
    return _Masks(_order(dim, layer), np.arange(dim), reaches)


def _coupling(dim: int, layer: int, n_hidden: int) -> _Masks:
    """The first half depends on nothing, the other on the first."""
    half = dim // 2
    starts = np.where(np.arange(dim) < half, 0, half)
    return _Masks(_order(dim, layer), starts, np.full(n_hidden if half else 0, half))


def _plain_layout(kind: int, dim: int, n_layers: int) -> tuple[Ints, int]:
    """Layers without networks; the plan, and the number of parameters."""
    from fastvi.kernels import flow_rows as rows

    size = 2 * dim + 1 if kind == 0 else dim + 2
    plan = np.zeros((1 + n_layers, 8), np.int64)
    at = rows.NOISE
    for layer in range(n_layers):
        own = at + dim
        plan[1 + layer, :5] = kind, layer * size, own, at, own + 1
        at = own + 1
    plan[0, :6] = dim, n_layers, at + dim, 2, n_layers * size, len(plan)
    return plan, n_layers * size


def _masked_layout(kind: int, dim: int, sizes: Sizes, masks: list[_Masks]) -> tuple[Ints, int]:
    """Layers with networks; the plan, and the number of parameters."""
    from fastvi.kernels import flow_masked, flow_rows, flow_splines

    n_outputs = int(flow_masked.outputs_of(sizes.n_bins))
    head, lists = [], []
    at, row, p = flow_rows.NOISE, 1 + len(masks), 0
    most = max(len(mask.reaches) for mask in masks)
    for mask in masks:
        n_units, own = len(mask.reaches), at + dim
        out = own + 4 * dim + n_units
        to = out + n_outputs * dim
        head.append((kind, p, own, at, to, row, n_units, sizes.n_bins))
        for i in range(dim):
            read = int(mask.reads[i])
            lists.append((mask.order[i], mask.starts[i], read, p, out + n_outputs * i, 0, 0, 0))
            p += n_outputs * (1 + int(mask.starts[i]) + read)
        for reach in mask.reaches.tolist():
            lists.append((reach, p, 0, 0, 0, 0, 0, 0))
            p += 1 + reach
        row, at = row + dim + n_units, to
    scratch = dim + most + n_outputs + 2 * sizes.n_bins + flow_splines.N_OWN + 6
    first = (dim, len(masks), at + dim, scratch, p, 1 + len(head) + len(lists), 0, 0)
    return np.array([first, *head, *lists], np.int64), p


KINDS = {"planar": 0, "radial": 1, "realnvp": 2, "iaf": 2, "maf": 3, "nsf": 2}  # of the kernels
MASKS = {
    "realnvp": _coupling, "nsf": _coupling, "iaf": _autoregressive, "maf": _autoregressive,
}  # fmt: skip


@functools.lru_cache(maxsize=64)
def layout(name: str, dim: int, sizes: Sizes) -> tuple[Ints, int]:
    """Return the plan of a flow, read-only, and its number of parameters."""
    if name in MASKS:
        masks = [MASKS[name](dim, layer, sizes.n_hidden) for layer in range(sizes.n_layers)]
        plan, size = _masked_layout(KINDS[name], dim, sizes, masks)
    else:
        plan, size = _plain_layout(KINDS[name], dim, sizes.n_layers)
    plan.flags.writeable = False
    return plan, size


def begin(name: str, dim: int, sizes: Sizes) -> Array:
    """Return parameters with which the flow is the identity, the same each time.

    What the layers look at is random; what they change is nothing.
    """
    rng, found = np.random.default_rng(0), []
    for layer in range(sizes.n_layers):
        if name == "planar":
            w = rng.standard_normal(dim) * np.sqrt(2.0 / dim)
            found += [w, ONE * w / (w @ w), rng.standard_normal(1)]
        elif name == "radial":
            alpha = np.sqrt(0.5 * dim)
            found += [rng.standard_normal(dim), np.log([alpha, np.expm1(alpha)])]
        else:
            mask = MASKS[name](dim, layer, sizes.n_hidden)
            n_outputs = 2 + max(3 * sizes.n_bins - 1, 0)
            found.append(np.zeros(n_outputs * int((1 + mask.starts + mask.reads).sum())))
            for reach in mask.reaches.tolist():
                inner = rng.standard_normal(reach) / np.sqrt(reach)
                found += [rng.standard_normal(1), inner]
    return np.concatenate(found)
