"""Estimators and their models."""
