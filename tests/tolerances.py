"""How far sums in floating point may be from those of real numbers, on any processor.

Processors add in different orders (vectors of 2, 4 or 8 numbers) and round products or do not
(fused operations), so results differ between them by rounding, which depends on the numbers and
not on the test. Where a test looks at rounding, its tolerance is derived from here.
"""

import numpy as np


def rounding(dtype, n_terms, size=1.0):
    """How much a sum of `n_terms` numbers whose magnitudes add up to `size` may be off.

    An addition rounds by at most eps / 2 of the sum so far. Its errors are as good as random, so
    that n of them add up to about sqrt(n) eps / 2 of the size, in any order (Higham and Mary 2019).
    The terms come with errors of a few operations themselves: eight times as much is allowed.
    """
    return 4.0 * np.sqrt(n_terms) * float(np.finfo(dtype).eps) * size


def assert_never_falls(bounds, dtype, n_terms, size):
    """Up to the rounding of sums of `n_terms` numbers whose magnitudes add up to `size`.

    Each bound has that error, so their differences have as well, most visibly at convergence.
    """
    rises, slack = np.diff(bounds), rounding(dtype, n_terms, size)
    assert np.all(rises >= -slack), f"falls by {-rises.min():.3g}; rounding allows {slack:.3g}"
