"""Where the estimators are that are saved in files of one form, by name."""

from __future__ import annotations

__all__ = ["ESTIMATORS"]

ESTIMATORS = {
    "BayesianFactorAnalysis": "fastvi.models.factors.estimator",
    "BayesianGPLVM": "fastvi.models.gp.latent.estimator",
    "BayesianGaussianMixture": "fastvi.models.mixture.estimator",
    "BayesianLogisticRegression": "fastvi.models.logistic.estimator",
    "BayesianPCA": "fastvi.models.factors.estimator",
    "BetaBernoulliFeatures": "fastvi.models.features.estimator",
    "CorrelatedTopicModel": "fastvi.models.topics.correlated",
    "DeepGPClassifier": "fastvi.models.gp.deep.classification",
    "DeepGPRegressor": "fastvi.models.gp.deep.regression",
    "DynamicTopicModel": "fastvi.models.topics.dynamic",
    "GaussianProcessClassifier": "fastvi.models.gp.dense_classification",
    "HierarchicalDirichletProcess": "fastvi.models.topics.hdp",
    "CategoricalHMM": "fastvi.models.sequences.discrete",
    "GMMHMM": "fastvi.models.sequences.gmm",
    "GaussianHMM": "fastvi.models.sequences.gaussian",
    "LinearGaussianSSM": "fastvi.models.statespace.estimator",
    "MultinomialHMM": "fastvi.models.sequences.discrete",
    "NeuralTopicModel": "fastvi.models.topics.neural.estimator",
    "PoissonFactorization": "fastvi.models.poisson.estimator",
    "PoissonHMM": "fastvi.models.sequences.poisson",
    "SVGP": "fastvi.models.gp.variational",
    "SparseEP": "fastvi.models.gp.propagation",
    "SparseGPClassifier": "fastvi.models.gp.classification",
    "SparseGPRegressor": "fastvi.models.gp.regression",
    "SwitchingSSM": "fastvi.models.statespace.switching_estimator",
    "TemporalGPClassifier": "fastvi.models.gp.temporal_classification",
    "TemporalGPRegressor": "fastvi.models.gp.temporal_regression",
    "TopicClassifier": "fastvi.models.topics.supervised",
    "TopicRegressor": "fastvi.models.topics.supervised",
    "VariationalAutoencoder": "fastvi.models.autoencoder.estimator",
    "VariationalCategoricalHMM": "fastvi.models.sequences.variational_discrete",
    "VariationalGaussianHMM": "fastvi.models.sequences.variational_gaussian",
    "VariationalPoissonHMM": "fastvi.models.sequences.variational_discrete",
}
