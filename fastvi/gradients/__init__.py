"""Gradient estimators: each turns a batch into a gradient."""
