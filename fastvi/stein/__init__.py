"""Kernel Stein discrepancies, tests and thinning."""
