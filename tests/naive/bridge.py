"""A plain twin of `fastvi/posteriors/bridge.py`."""

import numpy as np


def log_bridge(of_proposals, of_target, rounds=200):
    """Log evidence by the iteration of Meng and Wong (1996), eq. 4.1, from ratios of densities."""
    above, below = np.exp(of_proposals), np.exp(np.ravel(of_target))
    n = len(above) + len(below)
    share_q, share_p = len(above) / n, len(below) / n
    r = above.mean()
    for _ in range(rounds):
        r = np.mean(above / (share_p * above + share_q * r)) / np.mean(
            1.0 / (share_p * below + share_q * r)
        )
    return np.log(r)
