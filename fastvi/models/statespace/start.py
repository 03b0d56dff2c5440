"""Where fits of linear systems begin."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import Linear

__all__ = ["begin", "diffuse"]

LAGS = 10  # rows of a window, at most
RADIUS = 0.99  # of eigenvalues of first transitions, at most
RIDGE = 1e-6
SHARE = 1e-3  # of variances, that noise has at least
VAGUE = 1e10  # variance of diffuse states, in units of what they vary by


def begin(
    rows: SequenceRows,
    k: int,
    known: dict[str, Array],
    rng: np.random.RandomState | None,
    dimensions: int,
) -> Linear:
    """A system to start from, with the parameters that are known; a random one if rng is given.

    The noise of rows has one or two dimensions.
    """
    found = None
    if "transition" in known or "loadings" in known:
        found = _plain(rows, k, known, rng)
    elif rng is None:
        found = _from_windows(rows, k)
    if found is None:
        found = _drawn(rows, k, np.random.RandomState(0) if rng is None else rng)
    if dimensions == 2:
        found = found._replace(rows_noise=np.diag(found.rows_noise))
    offsets = found.offsets.copy()
    if "offset" in known:
        offsets[:, 0] = known["offset"]
    parts = {name: part for name, part in known.items() if name != "offset"}
    return found._replace(offsets=offsets, **parts)


def diffuse(params: Linear) -> Linear:
    """The same system, of whose first states nothing is known."""
    k = len(params.mean)
    size = max(np.trace(params.noise), np.trace(params.covariance), 1e-300) / k
    return params._replace(mean=np.zeros(k), covariance=VAGUE * size * np.eye(k))


def _from_windows(rows: SequenceRows, k: int) -> Linear | None:
    """Take as states what windows of past rows predict of future ones, as subspace methods do.

    None if sequences are too short, or windows have fewer than k numbers.
    """
    offsets, rest, variances = _centred(rows)
    lags = min(-(-2 * k // rows.n_features) + 1, LAGS)
    at = _inside(rows, lags)
    if len(at) <= 2 * lags * rows.n_features or lags * rows.n_features < k:
        return None
    past = np.hstack([rest[at - lag] for lag in range(1, lags + 1)])
    future = np.hstack([rest[at + lag] for lag in range(lags)])
    predicted = past @ _solved(past, future)
    sizes, axes = np.linalg.eigh(predicted.T @ predicted)
    if not sizes[-k] > 1e-10 * sizes[-1]:
        return None
    states = predicted @ axes[:, -k:] * np.sqrt(len(at) / sizes[-k:])
    loadings = _solved(states, rest[at]).T
    left = np.square(rest[at] - states @ loadings.T).mean(axis=0)
    follows = np.flatnonzero(np.diff(at) == 1)
    transition = _solved(states[follows], states[follows + 1]).T
    away = states[follows + 1] - states[follows] @ transition.T
    noise = away.T @ away / len(follows) + SHARE * np.eye(k)
    radius = np.abs(np.linalg.eigvals(transition)).max()
    transition *= min(1.0, RADIUS / radius) if radius > 0 else 1.0
    return Linear(
        np.zeros(k), np.eye(k), transition, np.zeros((k, rows.inputs.shape[1])), noise, loadings,
        offsets, np.maximum(left, SHARE * variances),
    )  # fmt: skip


def _drawn(rows: SequenceRows, k: int, rng: np.random.RandomState) -> Linear:
    """Random loadings and a slow random transition."""
    offsets, _, variances = _centred(rows)
    axes = np.linalg.qr(rng.normal(size=(k, k)))[0]
    loadings = rng.normal(size=(rows.n_features, k)) * np.sqrt(variances / k)[:, None]
    return Linear(
        np.zeros(k), np.eye(k), 0.9 * axes, np.zeros((k, rows.inputs.shape[1])), 0.2 * np.eye(k),
        loadings, offsets, 0.5 * variances,
    )  # fmt: skip


def _plain(
    rows: SequenceRows, k: int, known: dict[str, Array], rng: np.random.RandomState | None
) -> Linear:
    """States of the size of the rows, where the transition or the loadings are known."""
    draws = np.random.RandomState(0) if rng is None else rng
    first = _drawn(rows, k, draws)
    loadings = known.get("loadings", first.loadings)
    variances = 2.0 * first.rows_noise
    size = variances.mean() / max(np.square(loadings).sum(axis=1).mean(), 1e-300)
    factors = np.ones(2) if rng is None else np.exp(2.0 * rng.normal(size=2))
    return first._replace(
        covariance=size * np.eye(k), transition=known.get("transition", 0.9 * np.eye(k)),
        noise=0.1 * size * factors[0] * np.eye(k), loadings=loadings,
        rows_noise=0.5 * factors[1] * variances,
    )  # fmt: skip


def _centred(rows: SequenceRows) -> tuple[Array, Array, Array]:
    """Offsets (D, 1 + U), rows without them (0 where missing), and variances, (D,)."""
    counts = np.maximum(rows.counts, 1)
    centre = rows.X.sum(axis=0) / counts
    rest = (rows.X - centre) * rows.mask
    slopes = _solved(rows.inputs - rows.inputs.mean(axis=0), rest)
    offsets = np.column_stack((centre - rows.inputs.mean(axis=0) @ slopes, slopes.T))
    rest = (rows.X - rows.constant @ offsets.T) * rows.mask
    variances = np.square(rest).sum(axis=0) / counts
    floor = max(SHARE * float(variances.mean()), 1e-300)
    return offsets, rest, np.maximum(variances, floor)


def _inside(rows: SequenceRows, lags: int) -> Array:
    """Rows with so many before them in their sequence, and as many from there on."""
    sequence = np.cumsum(rows.begins)
    at = np.arange(lags, rows.n_rows - lags + 1)
    return np.asarray(at[sequence[at - lags] == sequence[at + lags - 1]])


def _solved(z: Array, y: Array) -> Array:
    """Coefficients of y on z, (N, D), shrunk a little."""
    gram = z.T @ z
    ridge = RIDGE * np.diag(gram) + 1e-300
    return np.asarray(np.linalg.solve(gram + np.diag(ridge), z.T @ y))
