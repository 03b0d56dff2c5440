"""Models of logistic regression from the parameters of the estimator, checked."""

from __future__ import annotations

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import DTypeLike, Options
from fastvi.models.logistic.links import LINKS
from fastvi.models.logistic.model import Logistic
from fastvi.models.logistic.multinomial import Multinomial
from fastvi.models.logistic.parameters import Prior

__all__ = ["make_model"]

PRIORS = ("fixed", "gamma", "ard")
SOLVERS = ("bound", "ep")
LEAST_VARIANCE = float(np.finfo(np.float64).tiny)  # its inverse is finite


def make_model(
    given: Options, n_classes: int, n_features: int, dtype: DTypeLike, n_threads: int
) -> Logistic:
    """Return the model that the parameters `given` of the estimator describe."""
    kind = checks.choice(given["prior"], "prior", PRIORS)
    solver = checks.choice(given["solver"], "solver", SOLVERS)
    link = checks.choice(given["link"], "link", tuple(LINKS))
    if link != "logit" and solver != "ep":
        raise ValueError(f"link is {link!r}; wanted 'logit', or solver='ep'")
    if solver == "ep" and n_classes > 2:
        raise ValueError(
            "Only binary classification is supported. y holds "
            f"{n_classes} labels; solver='ep' wanted 2 (scikit-learn's "
            "OneVsRestClassifier makes such problems), or solver='bound'"
        )
    variance = checks.number(given["C"], "C", LEAST_VARIANCE)
    intercept = checks.flag(given["fit_intercept"], "fit_intercept")
    shape = checks.number(given["lambda_1"], "lambda_1", 0.0, open_low=True)
    rate = checks.number(given["lambda_2"], "lambda_2", 0.0, open_low=True)
    flat = checks.number(given["intercept_precision"], "intercept_precision", 0.0, open_low=True)
    groups = {
        "fixed": np.full(n_features, -1),
        "gamma": np.zeros(n_features, np.int64),
        "ard": np.arange(n_features),
    }[kind]
    fixed = np.full(n_features, 1.0 / variance)
    if intercept:
        groups, fixed = np.append(groups, -1), np.append(fixed, flat)
    prior = Prior(fixed, groups, shape, rate)
    options: Options = {
        "intercept": intercept, "dtype": dtype, "n_threads": n_threads
    }  # fmt: skip
    if n_classes > 2:
        return Multinomial(prior, n_classes, **options)
    return Logistic(prior, log_mean=LINKS[link].log_mean, **options)
