"""Deep Gaussian processes: layers of sparse ones, fitted through draws of the hidden units."""
