"""Targets that are compiled at their first use: not by each process that collects tests."""

import functools

import fastvi


def lazily(**options):
    """A decorator like ``fastvi.target(**options)``; calling what it makes gives the target."""
    return lambda function: functools.cache(lambda: fastvi.target(function, **options))
