"""Fits of log densities."""
