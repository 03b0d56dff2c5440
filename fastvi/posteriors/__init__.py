"""What fits of log densities return."""
