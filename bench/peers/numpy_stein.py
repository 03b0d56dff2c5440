"""Stein variational gradient descent in NumPy: as usually written, and as fast as possible."""

import evaluation as ev
import numpy as np
import regression

SAMPLE = 128


def usual(X, scores):
    """The direction of a standard normal, the median of all distances."""
    n = len(X)
    squares = np.square(X).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * X @ X.T
    h = np.median(distances) / np.log(n)
    K = np.exp(-distances / h)
    repulsion = (2.0 / h) * (X * K.sum(axis=1)[:, None] - K @ X)
    return (K @ scores + repulsion) / n


def careful(X, scores, triangle):
    """The same with a median of a sample, in place, one product for scores and particles."""
    n, d = X.shape
    part = X[:SAMPLE]
    squares = np.square(part).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * part @ part.T
    precision = X.dtype.type(2.0 * np.log(n) / np.median(distances[triangle]))
    half = 0.5 * precision * np.square(X).sum(axis=1)
    K = (precision * X) @ X.T
    K -= half
    K -= half[:, None]
    np.exp(K, out=K)
    joined = np.empty((n, d + 1), X.dtype)
    np.multiply(X, -precision, out=joined[:, :d])
    joined[:, :d] += scores
    joined[:, d] = 1.0
    sums = K @ joined
    return (sums[:, :d] + precision * X * sums[:, d:]) / n


def iteration(n, d, dtype="float32", form="careful"):
    """A step: scores, bandwidth, direction, AdaGrad."""
    X = np.random.default_rng(0).normal(size=(n, d)).astype(dtype)
    total = np.zeros_like(X)
    triangle = np.triu_indices(min(n, SAMPLE), 1)
    extra = () if form == "usual" else (triangle,)
    direction = {"usual": usual, "careful": careful}[form]

    def step():
        nonlocal X, total
        phi = direction(X, -X, *extra)
        total += phi * phi
        X += 0.01 * phi / (np.sqrt(total) + 1e-8)

    return regression.milliseconds(step, least=1.0, most=2000)


if __name__ == "__main__":
    ev.main(iteration)
