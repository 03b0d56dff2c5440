"""fastvi: variational inference on CPUs, with compiled kernels under a thin Python API.

All public names are attributes of this package and are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fastvi.models.names import ESTIMATORS

if TYPE_CHECKING:
    from fastvi import corpus as corpus
    from fastvi import densities as densities
    from fastvi import families as families
    from fastvi import gradients as gradients
    from fastvi import objectives as objectives
    from fastvi import optimizers as optimizers
    from fastvi import plots as plots
    from fastvi import propagation as propagation
    from fastvi import targets as targets
    from fastvi import transforms as transforms
    from fastvi.cluster.active import distributed as distributed
    from fastvi.fitting.comparison import compare as compare
    from fastvi.fitting.early import early_stopping as early_stopping
    from fastvi.fitting.fit import fit as fit
    from fastvi.fitting.operator import operator_vi as operator_vi
    from fastvi.fitting.pathfinder import pathfinder as pathfinder
    from fastvi.fitting.robust import reweighted_fit as reweighted_fit
    from fastvi.fitting.svgd import svgd as svgd
    from fastvi.loading import load as load
    from fastvi.models.autoencoder.estimator import (
        VariationalAutoencoder as VariationalAutoencoder,
    )
    from fastvi.models.factors.estimator import BayesianFactorAnalysis as BayesianFactorAnalysis
    from fastvi.models.factors.estimator import BayesianPCA as BayesianPCA
    from fastvi.models.features.estimator import BetaBernoulliFeatures as BetaBernoulliFeatures
    from fastvi.models.gp.classification import SparseGPClassifier as SparseGPClassifier
    from fastvi.models.gp.deep.classification import DeepGPClassifier as DeepGPClassifier
    from fastvi.models.gp.deep.regression import DeepGPRegressor as DeepGPRegressor
    from fastvi.models.gp.dense_classification import (
        GaussianProcessClassifier as GaussianProcessClassifier,
    )
    from fastvi.models.gp.latent.estimator import BayesianGPLVM as BayesianGPLVM
    from fastvi.models.gp.propagation import SparseEP as SparseEP
    from fastvi.models.gp.regression import SparseGPRegressor as SparseGPRegressor
    from fastvi.models.gp.temporal_classification import (
        TemporalGPClassifier as TemporalGPClassifier,
    )
    from fastvi.models.gp.temporal_regression import TemporalGPRegressor as TemporalGPRegressor
    from fastvi.models.gp.variational import SVGP as SVGP
    from fastvi.models.logistic.estimator import (
        BayesianLogisticRegression as BayesianLogisticRegression,
    )
    from fastvi.models.mixture.estimator import BayesianGaussianMixture as BayesianGaussianMixture
    from fastvi.models.poisson.estimator import PoissonFactorization as PoissonFactorization
    from fastvi.models.sequences.discrete import CategoricalHMM as CategoricalHMM
    from fastvi.models.sequences.discrete import MultinomialHMM as MultinomialHMM
    from fastvi.models.sequences.gaussian import GaussianHMM as GaussianHMM
    from fastvi.models.sequences.gmm import GMMHMM as GMMHMM
    from fastvi.models.sequences.poisson import PoissonHMM as PoissonHMM
    from fastvi.models.sequences.priors import left_right_prior as left_right_prior
    from fastvi.models.sequences.priors import sticky_prior as sticky_prior
    from fastvi.models.sequences.variational_discrete import (
        VariationalCategoricalHMM as VariationalCategoricalHMM,
    )
    from fastvi.models.sequences.variational_discrete import (
        VariationalPoissonHMM as VariationalPoissonHMM,
    )
    from fastvi.models.sequences.variational_gaussian import (
        VariationalGaussianHMM as VariationalGaussianHMM,
    )
    from fastvi.models.statespace.estimator import LinearGaussianSSM as LinearGaussianSSM
    from fastvi.models.statespace.switching_estimator import SwitchingSSM as SwitchingSSM
    from fastvi.models.topics.coherence import topic_coherence as topic_coherence
    from fastvi.models.topics.coherence import topic_diversity as topic_diversity
    from fastvi.models.topics.correlated import CorrelatedTopicModel as CorrelatedTopicModel
    from fastvi.models.topics.dynamic import DynamicTopicModel as DynamicTopicModel
    from fastvi.models.topics.estimator import (
        LatentDirichletAllocation as LatentDirichletAllocation,
    )
    from fastvi.models.topics.guidance import guided_prior as guided_prior
    from fastvi.models.topics.hdp import (
        HierarchicalDirichletProcess as HierarchicalDirichletProcess,
    )
    from fastvi.models.topics.neural.estimator import NeuralTopicModel as NeuralTopicModel
    from fastvi.models.topics.scores import document_completion as document_completion
    from fastvi.models.topics.supervised import TopicClassifier as TopicClassifier
    from fastvi.models.topics.supervised import TopicRegressor as TopicRegressor
    from fastvi.posteriors.member import Posterior as Posterior
    from fastvi.posteriors.particles import ParticlePosterior as ParticlePosterior
    from fastvi.posteriors.programs import ProgramPosterior as ProgramPosterior
    from fastvi.posteriors.weighted import WeightedPosterior as WeightedPosterior
    from fastvi.propagation.ep import ep as ep
    from fastvi.propagation.posterior import EPPosterior as EPPosterior
    from fastvi.stein.discrepancy import ksd as ksd
    from fastvi.stein.discrepancy import ksd_test as ksd_test
    from fastvi.stein.thinning import stein_thinning as stein_thinning
    from fastvi.targets.checking import check as check
    from fastvi.targets.decorator import target as target

__version__ = "0.2.0"

_NAMES = ESTIMATORS | {
    "EPPosterior": "fastvi.propagation.posterior",
    "LatentDirichletAllocation": "fastvi.models.topics.estimator",
    "ParticlePosterior": "fastvi.posteriors.particles",
    "Posterior": "fastvi.posteriors.member",
    "ProgramPosterior": "fastvi.posteriors.programs",
    "WeightedPosterior": "fastvi.posteriors.weighted",
    "check": "fastvi.targets.checking",
    "compare": "fastvi.fitting.comparison",
    "distributed": "fastvi.cluster.active",
    "document_completion": "fastvi.models.topics.scores",
    "early_stopping": "fastvi.fitting.early",
    "ep": "fastvi.propagation.ep",
    "fit": "fastvi.fitting.fit",
    "guided_prior": "fastvi.models.topics.guidance",
    "ksd": "fastvi.stein.discrepancy",
    "ksd_test": "fastvi.stein.discrepancy",
    "left_right_prior": "fastvi.models.sequences.priors",
    "load": "fastvi.loading",
    "operator_vi": "fastvi.fitting.operator",
    "pathfinder": "fastvi.fitting.pathfinder",
    "reweighted_fit": "fastvi.fitting.robust",
    "stein_thinning": "fastvi.stein.thinning",
    "sticky_prior": "fastvi.models.sequences.priors",
    "svgd": "fastvi.fitting.svgd",
    "target": "fastvi.targets.decorator",
    "topic_coherence": "fastvi.models.topics.coherence",
    "topic_diversity": "fastvi.models.topics.coherence",
}
_MODULES = (
    "corpus", "densities", "families", "gradients", "objectives", "optimizers", "plots",
    "propagation", "targets", "transforms",
)  # fmt: skip
__all__ = ["__version__", *_MODULES, *_NAMES]


if not TYPE_CHECKING:  # it would make type checkers accept any name, misspelt ones included

    def __getattr__(name: str) -> Any:
        """Import public names on first use, so that ``import fastvi`` costs nothing."""
        if name in _NAMES:
            return getattr(importlib.import_module(_NAMES[name]), name)
        if name in _MODULES:
            return importlib.import_module(f"fastvi.{name}")
        raise AttributeError(f"module 'fastvi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
