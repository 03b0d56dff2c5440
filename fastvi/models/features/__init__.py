"""Latent binary features."""
