"""Peers of latent binary features: NumPy, loops over rows, and scikit-learn's decompositions."""

from math import comb, log2

import evaluation as ev
import features_problem as problem
import numpy as np
from scipy.special import betaln, digamma, entr


class Plain:
    """The same passes and bound (finite prior, noise and variance learned), by NumPy."""

    def __init__(self, X, nu, loops):
        self.X, self.nu, self.loops = X, nu.copy(), loops
        self.n, self.k = nu.shape
        self.first, self.noise, self.variance = 1.0 / self.k, float(np.mean(X**2)), 1.0
        self.squares = float(np.sum(X**2))
        self.moments()

    def moments(self):
        self.usage = self.nu.sum(axis=0)
        self.second = self.nu.T @ self.nu
        np.fill_diagonal(self.second, self.usage)
        self.cross = self.nu.T @ self.X

    def __call__(self):
        d = self.X.shape[1]
        for _ in range(2):
            precision = np.eye(self.k) / self.variance + self.second / self.noise
            cov = np.linalg.inv(precision)
            mean = cov @ self.cross / self.noise
            gram = mean @ mean.T + d * cov
            rest = self.squares - 2 * np.vdot(mean, self.cross) + np.vdot(self.second, gram)
            self.noise, self.variance = rest / self.X.size, np.trace(gram) / (self.k * d)
        a, b = self.first + self.usage, 1 + self.n - self.usage
        self.on, self.off = digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)
        (self.by_loops if self.loops else self.by_columns)(mean, gram)
        self.moments()
        self.bound = self.elbo(mean, cov, gram, a, b)

    def by_columns(self, mean, gram):
        for k in range(self.k):
            others = gram[k].copy()
            others[k] = 0
            u = self.X @ mean[k] - self.nu @ others - 0.5 * gram[k, k]
            self.nu[:, k] = 1 / (1 + np.exp(-(self.on[k] - self.off[k] + u / self.noise)))

    def by_loops(self, mean, gram):
        """As the update is published, with the residual of the other features."""
        spread = gram - mean @ mean.T
        for x, nu in zip(self.X, self.nu):
            for k in range(self.k):
                others = nu.copy()
                others[k] = 0
                u = mean[k] @ (x - others @ mean) - spread[k] @ others - 0.5 * gram[k, k]
                nu[k] = 1 / (1 + np.exp(-(self.on[k] - self.off[k] + u / self.noise)))

    def elbo(self, mean, cov, gram, a, b):
        d = self.X.shape[1]
        rest = self.squares - 2 * np.vdot(mean, self.cross) + np.vdot(self.second, gram)
        value = self.usage @ self.on + (self.n - self.usage) @ self.off
        value += entr(self.nu).sum() + entr(1 - self.nu).sum()
        value -= 0.5 * (self.X.size * np.log(2 * np.pi * self.noise) + rest / self.noise)
        kl = (a - self.first) * self.on + (b - 1) * self.off
        value -= np.sum(kl - betaln(a, b) + betaln(self.first, 1))
        value += 0.5 * d * (np.linalg.slogdet(cov)[1] + self.k - self.k * np.log(self.variance))
        return value - 0.5 * np.trace(gram) / self.variance


def iteration(n, k=20, loops=False, repeats=50):
    """CPU seconds of a pass and its bound."""
    X, nu = problem.images(n, k)
    model = Plain(X, nu, loops)
    return {"seconds": problem.cpu_seconds(model, repeats), "bound": model.bound}


def _levels(train, q):
    """2^q levels for values (n,), by one-dimensional k-means (the best scalar quantizer)."""
    levels = np.quantile(train, (np.arange(2**q) + 0.5) / 2**q)
    for _ in range(50):
        nearest = np.abs(train[:, None] - levels).argmin(axis=1)
        for j in range(len(levels)):
            if np.any(nearest == j):
                levels[j] = train[nearest == j].mean()
    return levels


def _rounded(values, levels):
    return levels[np.abs(values[..., None] - levels).argmin(axis=-1)]


def pca(bits):
    """The best division of the bits: components of PCA, and bits of each, at most 6."""
    from sklearn.decomposition import PCA

    train, test = problem.digits()
    best = {"error": np.inf}
    for q in range(1, 7):
        model = PCA(bits // q).fit(train)
        codes, new = model.transform(train), model.transform(test)
        new = np.stack([_rounded(n, _levels(c, q)) for n, c in zip(new.T, codes.T)], axis=1)
        error = problem.relative_error(test, model.inverse_transform(new), train.mean(axis=0))
        best = min(best, {"error": error, "per_component": q}, key=lambda r: r["error"])
    return best | {"bits": bits}


def dictionary(bits, atoms=(32,), max_iter=5):
    """The best division of the bits: atoms, how many of them a row has, and bits of each."""
    from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode

    train, test = problem.digits()
    mean = train.mean(axis=0)
    best = {"error": np.inf}
    for m in atoms:
        model = MiniBatchDictionaryLearning(m, max_iter=max_iter, random_state=0).fit(train - mean)
        for s in range(1, 9):
            q = min(int((bits - log2(comb(m, s))) // s), 6)
            if q < 1:
                continue
            codes, new = (
                sparse_encode(X - mean, model.components_, algorithm="omp", n_nonzero_coefs=s)
                for X in (train, test)
            )
            new = np.where(new != 0, _rounded(new, _levels(codes[codes != 0], q)), 0.0)
            error = problem.relative_error(test, new @ model.components_ + mean, mean)
            found = {"error": error, "atoms": m, "used": s, "each": q}
            best = min(best, found, key=lambda r: r["error"])
    return best | {"bits": bits}


if __name__ == "__main__":
    ev.main(iteration, pca, dictionary)
