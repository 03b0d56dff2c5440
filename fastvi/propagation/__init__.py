"""Expectation propagation: factors for `fastvi.ep`, and likelihoods of one number."""

from fastvi.propagation.conjugate import dirichlet, gamma
from fastvi.propagation.factors import factors
from fastvi.propagation.likelihoods import log_density, moments
from fastvi.propagation.sites import joint, linear
from fastvi.propagation.tilted import gaussian, logit, ordinal, poisson, probit, student

__all__ = [
    "dirichlet",
    "factors",
    "gamma",
    "gaussian",
    "joint",
    "linear",
    "log_density",
    "logit",
    "moments",
    "ordinal",
    "poisson",
    "probit",
    "student",
]
