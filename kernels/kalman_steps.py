"""Steps of the Kalman filter's covariances, in roots; see `kalman`.

Where squares lose nothing, roots are Cholesky factors of sums; elsewhere, with diffuse states or
noise that is nearly singular, triangles of QR decompositions.
"""

import numpy as np

from ._jit import kernel

SAFE_GAIN = 1e3  # of a row's precision over the predicted one, with which squares may be summed
SAFE_PIVOT = 1e-3  # share of a variance that may be left, given the states before
FAR = 1e100  # a product of pivots whose logarithm is taken


@kernel
def triangle(A):
    """Turn A (m, n), m >= n, into the triangle of its QR decomposition, with a diagonal >= 0.

    What is left below the diagonal has no meaning.
    """
    n_rows, n = A.shape
    sums = np.empty(n)
    for j in range(n):
        norm = 0.0
        for i in range(j, n_rows):
            norm += A[i, j] * A[i, j]
        norm = np.sqrt(norm)
        if norm == 0:
            continue
        flip = -1.0 if A[j, j] > 0 else 1.0
        pivot = A[j, j] - flip * norm
        scale = 1.0 / (norm * abs(pivot))
        for c in range(j + 1, n):
            sums[c] = pivot * A[j, c]
        for i in range(j + 1, n_rows):
            for c in range(j + 1, n):
                sums[c] += A[i, j] * A[i, c]
        for c in range(j + 1, n):
            sums[c] *= scale
            A[j, c] = flip * (A[j, c] - sums[c] * pivot)
        for i in range(j + 1, n_rows):
            for c in range(j + 1, n):
                A[i, c] -= A[i, j] * sums[c]
        A[j, j] = norm


@kernel
def _factor(A, least):
    """Replace A, of which the lower half is read, by its lower factor with 1 / diagonal.

    It stands in the first n rows of n columns. Returns the log det, or NaN if a pivot is below a
    share `least` of its diagonal.
    """
    n, product, log_det = A.shape[1], 1.0, 0.0
    for j in range(n):
        own = A[j, j]
        pivot = own
        for k in range(j):
            pivot -= A[j, k] * A[j, k]
        if not pivot > least * own:
            return np.nan
        product *= pivot
        if not (1.0 / FAR < product < FAR):
            log_det += np.log(product)
            product = 1.0
        inverse = 1.0 / np.sqrt(pivot)
        A[j, j] = inverse
        for i in range(j + 1, n):
            total = A[i, j]
            for k in range(j):
                total -= A[i, k] * A[j, k]
            A[i, j] = total * inverse
    return log_det + np.log(product)


@kernel
def _measured(root, precision, work, half, update):
    """`measure` by sums of squares; NaN where these would lose digits."""
    n = root.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(j, n):
                total += precision[i, k] * root[k, j]
            half[i, j] = total
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, n):
                total += root[k, i] * half[k, j]
            work[i, j] = total + 1.0 if i == j else total
        if not work[i, i] < SAFE_GAIN:
            return np.nan
    log_det = _factor(work, 0.0)
    for i in range(n):
        for j in range(n):
            total = root[i, j]
            for k in range(j):
                total -= half[i, k] * work[j, k]
            half[i, j] = total * work[j, j]
    for i in range(n - 1, -1, -1):
        for j in range(n):
            total = half[j, i]
            for k in range(i + 1, n):
                total -= work[k, i] * update[k, j]
            update[i, j] = total * work[i, i]
    return log_det


@kernel
def _measured_far(root, own, work, half, update):
    """`measure` by a QR decomposition."""
    n = root.shape[0]
    for i in range(n):
        for j in range(n):
            work[i, j] = 1.0 if i == j else 0.0
    for i in range(own.shape[0]):
        for j in range(n):
            total = 0.0
            for k in range(j, n):
                total += own[i, k] * root[k, j]
            work[n + i, j] = total
    triangle(work)
    log_det = 0.0
    for i in range(n):
        log_det += 2.0 * np.log(work[i, i])
    for i in range(n):
        for j in range(n):
            total = root[i, j]
            for k in range(j):
                total -= half[i, k] * work[k, j]
            half[i, j] = total / work[j, j]
    for i in range(n - 1, -1, -1):
        for j in range(n):
            total = half[j, i]
            for k in range(i + 1, n):
                total -= work[i, k] * update[k, j]
            update[i, j] = total / work[i, i]
    return log_det


@kernel
def measure(root, own, precision, work, half, update):
    """Take a row into account whose precision is own' own; own (m, K).

    work (K + m, K) is scratch. Out: half (K, K), a root of the filtered covariance, and update
    (K, K), as in `kalman.Nodes`. Returns the log det of there.
    """
    log_det = _measured(root, precision, work, half, update)
    if np.isnan(log_det):
        log_det = _measured_far(root, own, work, half, update)
    return log_det


@kernel
def _predicted(half, transition, spread, work, ahead):
    """`predict` by sums of squares; whether these lose nothing."""
    n = half.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += transition[i, k] * half[k, j]
            work[i, j] = total
    for i in range(n):
        for j in range(i + 1):
            total = spread[i, j]
            for k in range(n):
                total += work[i, k] * work[j, k]
            ahead[i, j] = total
        for j in range(i + 1, n):
            ahead[i, j] = 0.0
    log_det = _factor(ahead, SAFE_PIVOT)
    if np.isnan(log_det):
        return False
    for i in range(n):
        ahead[i, i] = 1.0 / ahead[i, i]
    return True


@kernel
def _predicted_far(half, transition, noise, work, ahead):
    """`predict` by a QR decomposition."""
    n = half.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += transition[j, k] * half[k, i]
            work[i, j] = total
            work[n + i, j] = noise[j, i]
    triangle(work)
    for i in range(n):
        for j in range(n):
            ahead[j, i] = work[i, j] if j >= i else 0.0


@kernel
def predict(half, transition, noise, spread, work, ahead):
    """Lower root (K, K) of the covariance one step ahead of half half'.

    noise and spread (K, K) are a root of the noise's covariance, and that; work (2 K, K).
    """
    if not _predicted(half, transition, spread, work, ahead):
        _predicted_far(half, transition, noise, work, ahead)


@kernel
def lead(half, transition, noise, work, gain, rest):
    """The gain and rest, as in `kalman.Leads`, of a step ahead of half half'.

    work (3 K, 2 K) is scratch. A share of 1e-18 of the variances is added, which is lost in
    rounding, but allows to divide by roots of singular covariances.
    """
    n = half.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += transition[j, k] * half[k, i]
            work[i, j] = total
            work[i, n + j] = half[j, i]
            work[n + i, j] = noise[j, i]
            work[n + i, n + j] = 0.0
            work[2 * n + i, j] = 0.0
            work[2 * n + i, n + j] = 0.0
    for j in range(n):
        total = 0.0
        for i in range(2 * n):
            total += work[i, j] * work[i, j]
        work[2 * n + j, j] = max(1e-9 * np.sqrt(total), 1e-150)
    triangle(work)
    for i in range(n - 1, -1, -1):
        for j in range(n):
            total = work[i, n + j]
            for k in range(i + 1, n):
                total -= work[i, k] * gain[j, k]
            gain[j, i] = total / work[i, i]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(min(i, j) + 1):
                total += work[n + k, n + i] * work[n + k, n + j]
            rest[i, j] = total
