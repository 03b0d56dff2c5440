"""The variational update written plainly: in C (compiled by cffi) and in pure Python."""

import hashlib
import importlib.util
import math
from pathlib import Path

import cffi
import evaluation as ev
import numpy as np

SOURCES = Path(__file__).resolve().parents[1] / "c"
FLAGS = ["-O3", "-march=native", "-ffast-math"]
DECLARATION = (
    "void lda_update(int D, int K, const int *indptr, const int *words, const float *counts,"
    " const float *beta, float alpha, int iterations, float *gamma, float *stats);"
)


def compiled(source="lda.c", declaration=DECLARATION):
    """A C twin as a module, built once for every source and set of flags."""
    text, header = ((SOURCES / name).read_text() for name in (source, "twins.h"))
    stamp = hashlib.sha256((text + header + str(FLAGS)).encode()).hexdigest()[:12]
    name = f"_{source[:-2]}_{stamp}"
    folder = ev.cache_folder() / "c"
    built = next(folder.glob(name + "*.so"), None)
    if built is None:
        ffi = cffi.FFI()
        ffi.cdef(declaration)
        options = {"extra_compile_args": FLAGS, "include_dirs": [str(SOURCES)], "libraries": ["m"]}
        ffi.set_source(name, text, **options)
        folder.mkdir(parents=True, exist_ok=True)
        built = ffi.compile(tmpdir=str(folder))
    spec = importlib.util.spec_from_file_location(name, built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def c_update(module, X, beta, alpha, iterations):
    """gamma (D, K) and statistics (V, K) by the C twin; beta (V, K) float32."""
    K = beta.shape[1]
    gamma = np.ones((X.shape[0], K), np.float32)
    stats = np.zeros(beta.shape, np.float32)
    arrays = [X.indptr.astype(np.int32), X.indices.astype(np.int32), X.data.astype(np.float32)]
    pointers = [
        module.ffi.from_buffer("int[]" if a.dtype == np.int32 else "float[]", a)
        for a in [*arrays, beta, gamma, stats]
    ]
    indptr, words, counts, b, g, s = pointers
    module.lib.lda_update(X.shape[0], K, indptr, words, counts, b, alpha, iterations, g, s)
    return gamma, stats


def digamma(x):
    result = 0.0
    while x < 6.0:
        result -= 1.0 / x
        x += 1.0
    p = 1.0 / (x * x)
    series = p * (1 / 12 - p * (1 / 120 - p * (1 / 252 - p / 240)))
    return result + math.log(x) - 0.5 / x - series


def topic_weights(gamma):
    centre = digamma(sum(gamma))
    return [math.exp(digamma(g) - centre) for g in gamma]


def python_update(documents, beta, alpha, iterations, stats):
    """The update on lists and floats: documents of (word, count), beta a list of rows."""
    K = len(beta[0])
    out = []
    for document in documents:
        gamma = [1.0] * K
        theta = topic_weights(gamma)
        for _ in range(iterations):
            total = [0.0] * K
            for word, count in document:
                row = beta[word]
                ratio = count / (sum(t * b for t, b in zip(theta, row)) + 1e-30)
                total = [s + ratio * b for s, b in zip(total, row)]
            gamma = [alpha + t * s for t, s in zip(theta, total)]
            theta = topic_weights(gamma)
        for word, count in document:
            ratio = count / (sum(t * b for t, b in zip(theta, beta[word])) + 1e-30)
            stats[word] = [s + ratio * t for s, t in zip(stats[word], theta)]
        out.append(gamma)
    return out


def c(corpus, k, iterations):
    X, expElogbeta = ev.update_problem(corpus, k)
    beta = np.ascontiguousarray(expElogbeta.T)
    module = compiled()
    result = ev.updates_rate(
        lambda part: c_update(module, part, beta, 1 / k, iterations), X, iterations
    )
    return result | {"flags": " ".join(FLAGS)}


def python(corpus, k, iterations, documents=20):
    X, expElogbeta = ev.update_problem(corpus, k)
    X = X[ev.spread(X.shape[0], documents)]
    beta = expElogbeta.T.astype(float).tolist()
    stats = [[0.0] * k for _ in beta]

    def run(part):
        bags = [
            list(zip(part.indices[a:b].tolist(), part.data[a:b].tolist()))
            for a, b in zip(part.indptr[:-1], part.indptr[1:])
        ]
        python_update(bags, beta, 1 / k, iterations, stats)

    return ev.updates_rate(run, X, iterations)


def check(corpus="ap", k=50, iterations=20):
    """Largest relative differences between the two twins on a few documents."""
    X, expElogbeta = ev.update_problem(corpus, k)
    X = X[:5]
    beta = np.ascontiguousarray(expElogbeta.T)
    fast, fast_stats = c_update(compiled(), X, beta, 1 / k, iterations)
    stats = np.zeros(beta.shape).tolist()
    bags = [
        list(zip(X.indices[a:b].tolist(), X.data[a:b].tolist()))
        for a, b in zip(X.indptr[:-1], X.indptr[1:])
    ]
    slow = np.array(python_update(bags, beta.astype(float).tolist(), 1 / k, iterations, stats))
    far = float(np.max(np.abs(fast - slow) / (1 + np.abs(slow))))
    counts = np.asarray(stats) * beta  # the expected counts; divided by beta they can be huge
    return {"gamma": far, "counts": float(np.max(np.abs(fast_stats * beta - counts)))}


if __name__ == "__main__":
    ev.main(c, python, check)
