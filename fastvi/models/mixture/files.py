"""Fitted mixtures in files."""

from __future__ import annotations

import numpy as np

from fastvi.base import checks
from fastvi.models.files import Saved
from fastvi.models.mixture.model import Mixture, Parameters, Prior
from fastvi.models.mixture.rows import COVARIANCE_TYPES, Frame

__all__ = ["restored", "saved"]


def saved(model: Mixture, params: Parameters) -> dict[str, object]:
    """Return trees of arrays and JSON values from which `restored` makes the two again."""
    hyper = model.hyper
    return {
        "parameters_": params, "frame": model.frame, "dtype": model.dtype.name,
        "covariance_type": model.covariance_type, "reg_covar": model.reg_covar,
        "concentration": hyper.concentration, "process": hyper.process,
        "mean_precision": hyper.mean_precision, "mean": hyper.mean, "dof": hyper.dof,
        "scatter": np.asarray(hyper.scatter, np.float64),
    }  # fmt: skip


def restored(saved: Saved, n_threads: int) -> tuple[Mixture, Parameters]:
    """Return the model and its parameters from a file.

    Raises
    ------
    ValueError
        If a value is out of its range, or the arrays are not those of one mixture.
    """
    d, values = saved.n_features, saved.values
    kind = checks.choice(values["covariance_type"], "covariance_type", COVARIANCE_TYPES)
    k = len(saved.array("parameters_.counts", None))
    frame = Frame(saved.array("frame.centre", d), saved.positive("frame.scale", d))
    model = Mixture(
        _prior(saved, kind), frame, k, kind, dtype=saved.dtype(), n_threads=n_threads,
        reg_covar=checks.number(values["reg_covar"], "reg_covar", 0.0),
    )  # fmt: skip
    params: Parameters = saved.tree("parameters_", model.prior)
    if np.any(params.counts < 0):
        raise ValueError(f"{saved.path}: counts of components must be >= 0")
    return model, params


def _prior(saved: Saved, covariance_type: str) -> Prior:
    d, values = saved.n_features, saved.values
    shapes: dict[str, tuple[int, ...]] = {"diag": (d,), "spherical": ()}
    return Prior(
        checks.number(values["concentration"], "concentration", 0.0, open_low=True),
        checks.flag(values["process"], "process"),
        checks.number(values["mean_precision"], "mean_precision", 0.0, open_low=True),
        saved.array("mean", d),
        checks.number(values["dof"], "dof", d - 1.0, open_low=True),
        saved.array("scatter", *shapes.get(covariance_type, (d, d)))[()],
    )
