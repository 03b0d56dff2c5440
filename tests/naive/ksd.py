"""Plain twins of Stein discrepancies: every derivative of the kernel written out, pair by pair."""

import numpy as np


def phi(kind, beta, t):
    """Profile of the kernel at t = r^2, and its first two derivatives."""
    if kind == "rbf":
        value = np.exp(-t / 2)
        return value, -value / 2, value / 4
    return (
        (1 + t) ** beta,
        beta * (1 + t) ** (beta - 1),
        beta * (beta - 1) * (1 + t) ** (beta - 2),
    )


def base(x, y, M, kind="imq", beta=-0.5):
    return phi(kind, beta, (x - y) @ M @ (x - y))[0]


def stein(x, y, s_x, s_y, M, kind="imq", beta=-0.5):
    """u_p(x, y) = s's k + s_x' dk/dy + s_y' dk/dx + tr d2k/dxdy."""
    value, first, second = phi(kind, beta, (x - y) @ M @ (x - y))
    slope = 2 * first * M @ (x - y)  # by x; minus that by y
    mixed = -4 * second * np.outer(M @ (x - y), M @ (x - y)) - 2 * first * M
    return value * s_x @ s_y - s_x @ slope + s_y @ slope + np.trace(mixed)


def matrix(X, S, M, kind="imq", beta=-0.5):
    """All of them, (n, n)."""
    X, S = np.asarray(X, np.float64), np.asarray(S, np.float64)
    return np.array(
        [[stein(x, y, a, b, M, kind, beta) for y, b in zip(X, S)] for x, a in zip(X, S)]
    ).reshape(len(X), len(X))


def u_statistic(U):
    n = len(U)
    return (U.sum() - np.trace(U)) / (n * (n - 1))


def u_variance(U):
    """Unbiased estimates of E[u12 u13] and E[u12^2], triple by triple, into the variance."""
    n, mean = len(U), u_statistic(U)
    triples = [
        U[i, j] * U[i, k]
        for i in range(n)
        for j in range(n)
        for k in range(n)
        if len({i, j, k}) == 3
    ]
    squares = [U[i, j] ** 2 for i in range(n) for j in range(n) if i != j]
    one, two = np.mean(triples) - mean**2, np.mean(squares) - mean**2
    return (4 * (n - 2) * max(one, 0) + 2 * max(two, 0)) / (n * (n - 1))


def linear(U):
    """Mean over disjoint pairs and its standard error."""
    values = [U[i, i + 1] for i in range(0, len(U) - 1, 2)]
    return np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))


def replicates(U, signs):
    """U-statistics with signs (n, B)."""
    n = len(U)
    return [
        sum(w[i] * w[j] * U[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for w in signs.T.astype(float)
    ]


def thin(U, n_points):
    """Greedy minimization, by the whole discrepancy of each candidate set."""
    chosen = []
    for _ in range(n_points):
        sums = [U[np.ix_([*chosen, i], [*chosen, i])].sum() for i in range(len(U))]
        chosen.append(int(np.argmin(sums)))
    return chosen
