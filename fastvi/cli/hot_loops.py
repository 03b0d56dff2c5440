"""Five hot loops of variational inference, written plainly, with NumPy, and as fastvi runs them.

`LOOPS` makes a problem of a size: how many units of work it has, and functions that do the work and
return the same numbers, by the name of the way. Those of other libraries do as much work on data of
the same size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import densities
from fastvi.base.typing import Array

__all__ = ["FASTVI", "LOOPS", "NUMPY", "PYTHON", "Loop", "Problem"]

PYTHON, NUMPY, FASTVI, SKLEARN = "pure Python", "NumPy", "fastvi", "scikit-learn"
N_TOPICS, N_ITERATIONS, N_WORDS, LENGTH = 48, 20, 2000, 100
HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Problem(NamedTuple):
    """Ways to do so many units of work."""

    n_units: float
    ways: dict[str, Callable[[], Any]]


class Loop(NamedTuple):
    """A loop: what it is, its unit, the sizes for pure Python and for the rest, and the problem."""

    name: str
    unit: str
    small: int
    large: int
    problem: Callable[[int], Problem]


# Topics


def _digamma(x: float) -> float:
    shift = 0.0
    while x < 6.0:
        shift -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    return shift + math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240)))


def _plain_topics(words: Any, counts: Any, weights: Any, alpha: float) -> list[list[float]]:
    result = []
    for row, numbers in zip(words, counts):
        gamma = [alpha + sum(numbers) / N_TOPICS] * N_TOPICS
        for _ in range(N_ITERATIONS):
            e = [math.exp(_digamma(g)) for g in gamma]
            new = [alpha] * N_TOPICS
            for word, count in zip(row, numbers):
                shares = [a * b for a, b in zip(e, weights[word])]
                factor = count / sum(shares)
                for k in range(N_TOPICS):
                    new[k] += factor * shares[k]
            gamma = new
        result.append(gamma)
    return result


def _numpy_topics(words: Any, counts: Array, weights: Array, alpha: float) -> Array:
    from scipy.special import psi

    result = np.empty((len(words), N_TOPICS))
    for gamma, row, numbers in zip(result, words, counts):
        gamma[:] = alpha + numbers.sum() / N_TOPICS
        beta = weights[row]
        for _ in range(N_ITERATIONS):
            e = np.exp(psi(gamma))
            gamma[:] = alpha + e * ((numbers / (beta @ e)) @ beta)
    return result


def _topics(size: int) -> Problem:
    """Proportions of documents under given topics, by so many iterations of variational Bayes."""
    from sklearn.decomposition import LatentDirichletAllocation

    from fastvi.models.topics.inference import Topics

    rng, alpha = np.random.default_rng(0), 0.1
    table = rng.gamma(0.3, 1.0, (N_WORDS, N_TOPICS)) + 0.01
    words = np.array([rng.choice(N_WORDS, LENGTH, replace=False) for _ in range(size)])
    counts = rng.integers(1, 4, words.shape).astype(np.float64)
    prior = np.full(N_TOPICS, alpha)
    topics = Topics.of(
        table.astype(np.float32), prior, collapsed=False, max_iter=N_ITERATIONS, tol=0.0
    )
    indptr = np.arange(size + 1) * LENGTH
    flat = words.ravel().astype(np.int32), counts.ravel().astype(np.float32)
    weights = topics.weights.astype(np.float64)
    listed = words.tolist(), counts.tolist(), weights.tolist()
    theirs = LatentDirichletAllocation(
        N_TOPICS, doc_topic_prior=alpha, max_doc_update_iter=N_ITERATIONS, mean_change_tol=0.0,
        max_iter=1,
    )  # fmt: skip
    dense = np.zeros((size, N_WORDS))
    np.put_along_axis(dense, words, counts, axis=1)
    theirs.fit(dense[:2])
    from scipy.sparse import csr_array

    X = csr_array(dense)
    return Problem(
        float(N_ITERATIONS * words.size),
        {
            PYTHON: lambda: _plain_topics(*listed, alpha),
            NUMPY: lambda: _numpy_topics(words, counts, weights, alpha),
            FASTVI: lambda: topics.infer(indptr, *flat),
            SKLEARN: lambda: theirs.transform(X),
        },
    )


# Mixtures


def _plain_mixture(X: Any, coefficients: Any) -> list[list[float]]:
    result = []
    for x in X:
        d = len(x)
        features = [x[i] * x[j] for i in range(d) for j in range(i, d)] + x + [1.0]
        logits = [sum(a * b for a, b in zip(row, features)) for row in coefficients]
        top = max(logits)
        shares = [math.exp(logit - top) for logit in logits]
        total = sum(shares)
        result.append([share / total for share in shares])
    return result


def _numpy_mixture(X: Array, coefficients: Array) -> Array:
    first, second = np.triu_indices(X.shape[1])
    products = X[:, first] * X[:, second]
    logits = np.column_stack((products, X, np.ones(len(X)))) @ coefficients.T
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _mixture(size: int) -> Problem:
    """Responsibilities of ten components with full covariances for rows of eight features."""
    from sklearn import mixture

    from fastvi.models.mixture.rows import Coefficients, Frame, RowTasks

    rng, d, k = np.random.default_rng(1), 8, 10
    X = rng.normal(size=(size, d))
    n_products = d * (d + 1) // 2
    coefficients = 0.1 * rng.normal(size=(k, n_products + d + 1))
    first, second = np.triu_indices(d)
    coefficients[:, :n_products][:, first == second] = -0.5
    frame = Frame(np.zeros(d), np.ones(d))
    tasks = RowTasks(X, frame, "full", k, dtype=np.float64, n_threads=1)
    given = Coefficients(coefficients, np.zeros((0, d, d + 1)))
    out = np.empty((size, k))

    def ours() -> Array:
        tasks.predict(given, responsibilities=out)
        return out

    theirs = mixture.GaussianMixture(k, max_iter=2, init_params="random", random_state=0, tol=1e9)
    theirs.fit(rng.normal(size=(200, d)))
    listed, plain = X.tolist(), coefficients.tolist()
    return Problem(
        float(size * k),
        {
            PYTHON: lambda: _plain_mixture(listed, plain),
            NUMPY: lambda: _numpy_mixture(X, coefficients),
            FASTVI: ours,
            SKLEARN: lambda: theirs.predict_proba(X),
        },
    )


# Stein discrepancies


def _plain_stein(X: Any, S: Any) -> float:
    d, total = len(X[0]), 0.0
    for x, s in zip(X, S):
        for y, r in zip(X, S):
            square = product = along = 0.0
            for i in range(d):
                gap = x[i] - y[i]
                square += gap * gap
                product += s[i] * r[i]
                along += (s[i] - r[i]) * gap
            u = 1.0 / (1.0 + square)
            root = math.sqrt(u)
            total += root * (product + u * (along + d - 3.0 * square * u))
    return total / len(X) ** 2


def _numpy_stein(X: Array, S: Array) -> float:
    norms, own = np.square(X).sum(axis=1), (S * X).sum(axis=1)
    square = np.maximum(norms[:, None] + norms - 2.0 * X @ X.T, 0.0)
    across = S @ X.T
    along = own[:, None] + own - across - across.T
    u = 1.0 / (1.0 + square)
    values = np.sqrt(u) * (S @ S.T + u * (along + X.shape[1] - 3.0 * square * u))
    return float(values.mean())


def _stein(size: int) -> Problem:
    """Kernel Stein discrepancy of draws in 20 dimensions: every pair once."""
    import fastvi

    rng = np.random.default_rng(2)
    X = rng.normal(size=(size, 20))
    S = -X + 0.1 * rng.normal(size=X.shape)
    listed = X.tolist(), S.tolist()
    return Problem(
        float(size * size),
        {
            PYTHON: lambda: _plain_stein(*listed),
            NUMPY: lambda: _numpy_stein(X, S),
            FASTVI: lambda: fastvi.ksd(None, X, scores=S, bandwidth=1.0, statistic="v").value,
        },
    )


# Log densities


class Rows(NamedTuple):
    """Data of a logistic regression."""

    x: Array
    y: Array


def log_density(z: Array, data: Rows) -> Any:
    """Log density of a logistic regression, as a user writes it, whose gradient is derived."""
    logits = data.x @ z
    return densities.bernoulli_logit(data.y, logits) + densities.normal(z, 0.0, 1.0)


def _plain_density(w: list[float], X: Any, y: Any) -> list[float]:
    value, gradient = -sum(0.5 * a * a + HALF_LOG_TWO_PI for a in w), [-a for a in w]
    for x, label in zip(X, y):
        logit = sum(a * b for a, b in zip(x, w))
        value += label * logit - math.log1p(math.exp(logit))
        slope = label - 1.0 / (1.0 + math.exp(-logit))
        for j in range(len(w)):
            gradient[j] += slope * x[j]
    return [value, *gradient]


def _numpy_density(w: Array, X: Array, y: Array) -> Array:
    logits = X @ w
    value = y @ logits - np.log1p(np.exp(logits)).sum() - 0.5 * w @ w
    value -= HALF_LOG_TWO_PI * len(w)
    return np.append(value, (y - 1.0 / (1.0 + np.exp(-logits))) @ X - w)


def _density(size: int) -> Problem:
    """Log density of a logistic regression with 20 coefficients, and its gradient."""
    import fastvi

    rng, d = np.random.default_rng(3), 20
    X, w = rng.normal(size=(size, d)), 0.3 * rng.normal(size=d)
    y = (rng.uniform(size=size) < 0.5).astype(np.float64)
    target = fastvi.target(dim=d, data=Rows(X, y))(log_density)

    def ours() -> Array:
        value, gradient = target.log_prob_and_grad(w)
        return np.append(value, gradient)

    listed = w.tolist(), X.tolist(), y.tolist()
    return Problem(
        float(size),
        {
            PYTHON: lambda: _plain_density(*listed),
            NUMPY: lambda: _numpy_density(w, X, y),
            FASTVI: ours,
        },
    )


# Gaussian processes


def _plain_covariance(X: Any, Z: Any) -> list[list[float]]:
    return [
        [math.exp(-0.5 * sum((a - b) ** 2 for a, b in zip(x, z))) for z in Z]
        for x in X
    ]  # fmt: skip


def _numpy_covariance(X: Array, Z: Array) -> Array:
    square = np.square(X).sum(axis=1)[:, None] + np.square(Z).sum(axis=1) - 2.0 * X @ Z.T
    return np.asarray(np.exp(-0.5 * np.maximum(square, 0.0)))


def _covariance(size: int) -> Problem:
    """Squared-exponential covariances of rows of eight features with 100 inducing inputs."""
    from sklearn.gaussian_process.kernels import RBF

    from fastvi.models.gp.covariance import Covariance

    rng, d, m = np.random.default_rng(4), 8, 100
    X, Z = rng.normal(size=(size, d)), rng.normal(size=(m, d))
    kernel = RBF(1.0)
    covariance = Covariance(kernel, d)
    program = covariance.program(covariance.theta)
    listed = X.tolist(), Z.tolist()
    return Problem(
        float(size * m),
        {
            PYTHON: lambda: _plain_covariance(*listed),
            NUMPY: lambda: _numpy_covariance(X, Z),
            FASTVI: lambda: covariance.matrix(program, X, Z),
            SKLEARN: lambda: kernel(X, Z),
        },
    )


LOOPS = [
    Loop("topics of documents", "word updates", 2, 400, _topics),
    Loop("responsibilities of a mixture", "rows times components", 100, 20000, _mixture),
    Loop("Stein discrepancy", "pairs of draws", 60, 1500, _stein),
    Loop("log density and gradient", "rows", 1000, 50000, _density),
    Loop("covariances of a Gaussian process", "entries", 40, 10000, _covariance),
]
