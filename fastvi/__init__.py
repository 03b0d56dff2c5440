"""fastvi: variational inference on CPUs, compiled kernels under a thin Python API."""

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "BayesianFactorAnalysis": "fastvi.models.factors.estimator",
    "BayesianGaussianMixture": "fastvi.models.mixture.estimator",
    "BayesianLogisticRegression": "fastvi.models.logistic.estimator",
    "BayesianPCA": "fastvi.models.factors.estimator",
    "LatentDirichletAllocation": "fastvi.models.topics.estimator",
    "PoissonFactorization": "fastvi.models.poisson.estimator",
    "ParticlePosterior": "fastvi.posteriors.particles",
    "ProgramPosterior": "fastvi.posteriors.programs",
    "Posterior": "fastvi.posteriors.member",
    "SVGP": "fastvi.models.gp.variational",
    "SparseGPClassifier": "fastvi.models.gp.classification",
    "SparseGPRegressor": "fastvi.models.gp.regression",
    "fit": "fastvi.fitting.fit",
    "ksd": "fastvi.stein.discrepancy",
    "ksd_test": "fastvi.stein.discrepancy",
    "load": "fastvi.loading",
    "operator_vi": "fastvi.fitting.operator",
    "stein_thinning": "fastvi.stein.thinning",
    "svgd": "fastvi.fitting.svgd",
    "target": "fastvi.targets.python",
}
__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import fastvi`` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fastvi' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
