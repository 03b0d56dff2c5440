"""Results of fits of log densities."""
