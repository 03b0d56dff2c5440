"""fastvi: variational inference on CPUs, compiled kernels under a thin Python API."""

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "BayesianFactorAnalysis": "fastvi.models.factors",
    "BayesianGaussianMixture": "fastvi.models.mixture",
    "BayesianLogisticRegression": "fastvi.models.logistic",
    "BayesianPCA": "fastvi.models.factors",
    "LatentDirichletAllocation": "fastvi.models.lda",
    "PoissonFactorization": "fastvi.models.poisson",
    "ParticlePosterior": "fastvi.particles",
    "ProgramPosterior": "fastvi.programs",
    "Posterior": "fastvi.posterior",
    "SVGP": "fastvi.models.gp_variational",
    "SparseGPClassifier": "fastvi.models.gp_classification",
    "SparseGPRegressor": "fastvi.models.gp_regression",
    "fit": "fastvi.inference",
    "ksd": "fastvi.discrepancy",
    "ksd_test": "fastvi.discrepancy",
    "load": "fastvi.loading",
    "operator_vi": "fastvi.algorithms.operator",
    "stein_thinning": "fastvi.thinning",
    "svgd": "fastvi.algorithms.svgd",
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
