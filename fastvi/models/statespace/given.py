"""Parameters of linear systems that are given, and checks of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.typing import Array
from fastvi.models.statespace.model import Kept
from fastvi.models.statespace.rows import SequenceRows

__all__ = ["NAMES", "continued", "given", "in_units", "kept_of"]

NAMES = {  # parameters of systems by attributes of estimators
    "mean": "initial_mean", "covariance": "initial_covariance", "transition": "transition_matrix",
    "noise": "transition_covariance", "loadings": "observation_matrix",
    "rows_noise": "observation_covariance",
}  # fmt: skip
COVARIANCES = ("covariance", "noise", "rows_noise")


def given(estimator: Any, k: int, rows: SequenceRows) -> dict[str, Array]:
    """Check the parameters that are given, and what can be fitted with them."""
    d, is_full = rows.n_features, estimator.observation_noise == "full"
    checks.choice(estimator.observation_noise, "observation_noise", ("diag", "full"))
    checks.choice(estimator.state_noise, "state_noise", ("full", "diag"))
    checks.choice(estimator.initial, "initial", ("learned", "diffuse"))
    if is_full and estimator.solver == "vb":
        raise ValueError("observation_noise='full' needs solver='em'")
    shapes = {
        "mean": (k,), "covariance": (k, k), "transition": (k, k), "noise": (k, k),
        "loadings": (d, k), "rows_noise": (d, d) if is_full else (d,),
    }  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        value = getattr(estimator, NAMES[name])
        if value is not None:
            if estimator.solver == "vb" and name not in ("mean", "covariance"):
                raise ValueError(f"{NAMES[name]} is given with solver='vb'; wanted solver='em'")
            if estimator.initial == "diffuse" and name in ("mean", "covariance"):
                raise ValueError(f"{NAMES[name]} is given with initial='diffuse'")
            found[name] = _checked(value, NAMES[name], shape, name in COVARIANCES)
    offset = estimator.observation_offset
    if offset is not None:
        if estimator.solver == "vb":
            raise ValueError("observation_offset is given with solver='vb'; wanted solver='em'")
        found["offset"] = _checked(offset, "observation_offset", (d,), False)
    return found


def _checked(value: Any, name: str, shape: tuple[int, ...], is_covariance: bool) -> Array:
    array: Array = np.array(value, np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; wanted {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    if is_covariance and array.ndim == 2:
        size = np.abs(array).max()
        if not np.allclose(array, array.T, rtol=0, atol=1e-9 * size):
            raise ValueError(f"{name} must be symmetric")
        least = 1e-12 * size if name == NAMES["rows_noise"] else -1e-9 * size
        if not np.linalg.eigvalsh(array)[0] >= least:
            raise ValueError(f"{name} must be positive {'' if least > 0 else 'semi'}definite")
    if is_covariance and array.ndim == 1 and np.any(array <= 0):
        raise ValueError(f"{name} must hold variances above 0")
    return array


def in_units(known: dict[str, Array], centre: Array, scale: Array) -> dict[str, Array]:
    """The same parameters for rows (x - centre) / scale."""
    found = dict(known)
    if "loadings" in known:
        found["loadings"] = known["loadings"] / scale[:, None]
    if "offset" in known:
        found["offset"] = (known["offset"] - centre) / scale
    if "rows_noise" in known:
        noise = known["rows_noise"]
        found["rows_noise"] = noise / (
            np.square(scale) if noise.ndim == 1 else np.outer(scale, scale)
        )
    return found


def kept_of(estimator: Any, known: dict[str, Array]) -> Kept:
    """Which parameters a fit leaves as they are."""
    is_diffuse = estimator.initial == "diffuse"
    return Kept(
        is_diffuse or "mean" in known, is_diffuse or "covariance" in known, "transition" in known,
        "noise" in known, "loadings" in known, "offset" in known, "rows_noise" in known,
        estimator.state_noise == "diag",
    )  # fmt: skip


def continued(params: Any, start: Any, kept: Kept) -> Any:
    """Parameters of a fit to go on from; what is kept is that of `start`.

    Raises
    ------
    ValueError
        If they differ in form.
    """
    shapes = [tuple(leaf.shape for leaf in tree.leaves(t)) for t in (params, start)]
    if type(params) is not type(start) or shapes[0] != shapes[1]:
        raise ValueError(
            "warm_start continues from a model of other features, states, inputs or solver"
        )
    own = {name: getattr(start, name) for name in NAMES if getattr(kept, name)}
    if kept.offsets:
        own["offsets"] = np.column_stack((start.offsets[:, 0], params.offsets[:, 1:]))
    return params._replace(**own)
