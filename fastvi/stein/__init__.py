"""Kernelised Stein discrepancies and what is built on them."""
