"""Linear systems with Gaussian states: Kalman filter and smoother, and how they are fitted."""
