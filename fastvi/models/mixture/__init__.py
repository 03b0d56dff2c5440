"""Bayesian Gaussian mixtures."""
