"""Bayesian Gaussian process latent variable models: the inputs are unknown, too."""
