"""Bayesian PCA and factor analysis."""
