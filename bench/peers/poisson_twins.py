"""A pass of coordinate ascent for Poisson factorization: in C (by cffi), and with SciPy's sparse
matrices as a good NumPy user would write it. Neither computes the bound.
"""

import evaluation as ev
import numpy as np
import poisson_problem as problem
import scipy.sparse as sp
from peers.twins import FLAGS, compiled
from scipy.special import psi

DECLARATION = (
    "void poisson_pass(int D, int V, int K, const int *indptr, const int *columns,"
    " const float *counts, float a, float a2, float b, float c, float c2, float d, int iterations,"
    " float *shapes, float *popularity, double *rates, float *gamma, float *xi, float *weights,"
    " float *stats);"
)
GATHERED = 1 << 14  # entries whose rows are gathered at a time: they stay in the cache


class CPass:
    """Arrays of the C twin, made once; a call is a pass from the start."""

    def __init__(self, X, k, iterations):
        self.module, self.X, self.iterations = compiled("poisson.c", DECLARATION), X, iterations
        self.start = problem.start(X, k)
        self.found = None
        D, V = X.shape
        shapes = [(D, k), (D,), (V, k), (V, k)]
        self.scratch = [np.zeros(shape, np.float32) for shape in shapes]

    def __call__(self):
        X, scratch = self.X, self.scratch
        shapes, popularity = self.start.shapes.copy(), self.start.popularity.astype(np.float32)
        rates = self.start.rates.copy()
        kinds = {np.dtype(np.int32): "int[]", np.dtype(np.float32): "float[]"}
        arrays = [X.indptr, X.indices, X.data, shapes, popularity, rates, *scratch]
        p = [self.module.ffi.from_buffer(kinds.get(x.dtype, "double[]"), x) for x in arrays]
        prior = [problem.A, problem.A_PRIME, problem.B_PRIME] * 2
        k = shapes.shape[1]
        self.module.lib.poisson_pass(*X.shape, k, *p[:3], *prior, self.iterations, *p[3:])
        self.found = problem.Start(shapes, popularity, rates), scratch[0], scratch[1]


class NumpyPass:
    """The same with products of sparse and dense matrices, and sums over entries by blocks."""

    def __init__(self, X, k, iterations):
        self.X, self.iterations = X, iterations
        self.start = problem.start(X, k)
        self.found = None
        self.owners = np.repeat(np.arange(X.shape[0], dtype=np.int32), np.diff(X.indptr))
        self.ratio = sp.csr_matrix((X.data.copy(), X.indices, X.indptr), shape=X.shape)

    def ratios(self, theta, weights):
        """Counts by expected counts, in place of the entries of `self.ratio`."""
        X, out = self.X, self.ratio.data
        for i in range(0, X.nnz, GATHERED):
            part = slice(i, i + GATHERED)
            rows, columns = theta[self.owners[part]], weights[X.indices[part]]
            out[part] = X.data[part] / (np.einsum("nk,nk->n", rows, columns) + 1e-30)

    def __call__(self):
        a, a_prime, b_prime = problem.A, problem.A_PRIME, problem.B_PRIME
        shapes, popularity, rates = self.start
        k = shapes.shape[1]
        eta = ((a_prime + k * a) / popularity)[:, None]
        column_rates = (eta + rates).astype(np.float32)
        means = shapes / column_rates
        weights = np.exp(psi(shapes)) / column_rates
        loads = means.sum(axis=0)
        popularity = a_prime / b_prime + means.sum(axis=1)
        lengths = np.asarray(self.X.sum(axis=1), np.float32)
        gamma = np.repeat(a + lengths / k, k, axis=1)
        xi = np.full((len(gamma), 1), b_prime, np.float32)
        row_rates = xi + loads
        theta = np.exp(psi(gamma)) / row_rates
        for _ in range(self.iterations):
            self.ratios(theta, weights)
            total = self.ratio @ weights
            sums = (gamma / row_rates).sum(axis=1, keepdims=True)
            xi = (a_prime + k * a) / (a_prime / b_prime + sums)
            gamma = a + theta * total
            row_rates = xi + loads
            theta = np.exp(psi(gamma)) / row_rates
        self.ratios(theta, weights)
        shapes = a + weights * (self.ratio.T @ theta)
        rates = (gamma / row_rates).sum(axis=0, dtype=np.float64)
        self.found = problem.Start(shapes, popularity, rates), gamma, xi[:, 0]


TWINS = {"c": CPass, "numpy": NumpyPass}


def timed(name, corpus, k, iterations, repeats=5):
    X = problem.counts(corpus)
    result = problem.timing(TWINS[name](X, k, iterations), X, iterations, repeats)
    return result | ({"flags": " ".join(FLAGS)} if name == "c" else {})


def check(corpus="ap", k=20, iterations=5):
    """Largest relative differences between the two twins."""
    X = problem.counts(corpus)
    found = []
    for twin in TWINS.values():
        run = twin(X, k, iterations)
        run()
        found.append((*run.found[0], *run.found[1:]))
    names = ("shapes", "popularity", "rates", "gamma", "xi")
    return {n: float(np.max(np.abs(x - y) / np.abs(y))) for n, x, y in zip(names, *found)}


if __name__ == "__main__":
    ev.main(check, c=lambda **a: timed("c", **a), numpy=lambda **a: timed("numpy", **a))
