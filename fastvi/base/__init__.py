"""Foundations: checks, threads, trees, tables, files, linear algebra."""
