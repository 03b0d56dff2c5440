"""The solvers that contract tests loop over: name -> what their `Settings` say.

A new solver is a line here and inherits the tests of `test_contract.py`.
"""

import io
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from simulated import simulate

from fastvi import optimizers
from fastvi.base import tree
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.base import Solver, fit
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import make_solver

N_TOPICS = 5
LEARNED = {"learn_alpha": True, "learn_eta": True}
ASYMMETRIC = {"alpha": np.geomspace(0.05, 1.0, N_TOPICS)}
CASES = {
    "cvb": {"solver": "cvb"},
    "cvb, priors learned": {"solver": "cvb", **LEARNED},
    "cvb0": {"solver": "cvb0"},
    "cvb0, priors learned": {"solver": "cvb0", **LEARNED},
    "scvb0": {"solver": "scvb0", "batch_size": 16},
    "scvb0, priors learned": {"solver": "scvb0", "batch_size": 16, **LEARNED},
    "svi": {"solver": "svi", "batch_size": 16, **ASYMMETRIC},
    "svi, priors learned": {"solver": "svi", "batch_size": 16, **LEARNED},
    "vb": {"solver": "vb", **ASYMMETRIC},
    "vb, priors learned": {"solver": "vb", **LEARNED},
}
SOLVERS = tuple(CASES)
SVI, SCVB0 = CASES["svi"], CASES["scvb0"]
TOOLS = {  # optimizer, sampling, variance reduction, gradient
    "constant": {"optimizer": 0.05},
    "adaptive": {"optimizer": "adaptive"},
    "adagrad": {"optimizer": "adagrad"},
    "rmsprop": {"optimizer": "rmsprop"},
    "adam": {"optimizer": "adam"},
    "amsgrad": {"optimizer": "amsgrad"},
    "iterates averaged": {"optimizer": optimizers.averaged(optimizers.robbins_monro(), 3)},
    "clipped": {"optimizer": optimizers.chain(optimizers.clip(200.0), optimizers.constant(0.3))},
    "plain": {"optimizer": 1e-3, "gradient": "plain"},
    "replacement": {"sampling": "replacement"},
    "importance": {"sampling": "importance"},
    "learnt importance": {"sampling": "adaptive"},
    "growing": {"sampling": "growing"},
    "coupled": {"sampling": "coupled"},
    "svrg": {"variance_reduction": "svrg"},
    "window": {"variance_reduction": "window"},
    "structured": {"structured": True},
}
CASES |= {f"svi, {name}": SVI | tools for name, tools in TOOLS.items()}
CASES |= {
    "svi, all at once": SVI | LEARNED | TOOLS["adaptive"] | TOOLS["svrg"] | TOOLS["importance"],
    "svi, window, eta learned": SVI | TOOLS["window"] | {"learn_eta": True},
    "scvb0, adaptive": SCVB0 | TOOLS["adaptive"],
    "scvb0, learnt importance": SCVB0 | TOOLS["learnt importance"],
    "scvb0, svrg": SCVB0 | TOOLS["svrg"],
    "scvb0, window": SCVB0 | TOOLS["window"],
}


def settings(name, **changes):
    """The `Settings` of a case; `changes` replace some of them."""
    plain = {"alpha": np.full(N_TOPICS, 0.2), "eta": 0.1, "seed": 7}
    return Settings(**(plain | CASES[name] | changes))


def source(n_documents=70, n_words=50, seed=1, dtype=np.float32):
    """A simulated corpus with an empty document, a count of 0, and a word that nobody uses."""
    counts = simulate(n_documents, n_words - 1, N_TOPICS, 25, seed=seed).counts
    indptr, data = counts.indptr.astype(np.int64), counts.data.astype(dtype)
    data[indptr[3]] = 0
    indptr = np.insert(indptr, 5, indptr[5])
    return DocumentSource(indptr, counts.indices.astype(np.int32), data, n_words)


class Fitted(NamedTuple):
    """A solver and the state that it has reached."""

    solver: Solver
    state: Any

    @property
    def settings(self):
        return self.solver.settings

    @property
    def found(self):
        return self.solver.read(self.state)

    @property
    def alpha(self):
        return self.found.alpha

    @property
    def eta(self):
        return self.found.eta

    def table(self):
        return self.found.table.dense()


def solve(chosen, corpus, n_epochs=4, n_threads=1, **hooks):
    """A fit of so many passes, and its history."""
    solver = make_solver(chosen, corpus, n_threads)
    state, history = fit(solver, n_epochs, **hooks)
    return Fitted(solver, state), history


def save(solver, state):
    """All that the next step depends on, as arrays."""
    learned = {f"batches.{name}": array for name, array in solver.batches.save().items()}
    return tree.save(state, "state") | learned


def restore(solver, arrays):
    """The state of a solver from what `save` gave."""
    learned = {name: arrays[f"batches.{name}"] for name in solver.batches.save()}
    solver.batches.restore(learned)
    return tree.restore(solver.start(), arrays, "state")


def fingerprint(fitted, history):
    """Everything a fit comes to, bit by bit, but for the time it took."""
    columns = {name: column for name, column in history.columns.items() if name != "seconds"}
    arrays = save(*fitted) | {"table": fitted.table()}
    bits = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
    return bits, {name: np.array(column).tobytes() for name, column in columns.items()}


def in_file(arrays):
    """A file of the arrays, without pickles."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file


def from_file(file):
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded}


def bars(n_documents=400, length=60, seed=3):
    """Griffiths and Steyvers' bars: the rows and columns of a 5 x 5 image are ten topics.

    Returns the source and the topics (10, 25).
    """
    image = np.arange(25).reshape(5, 5)
    topics = np.zeros((10, 25))
    for k, words in enumerate([*image, *image.T]):
        topics[k, words] = 0.2
    rng = np.random.default_rng(seed)
    proportions = rng.dirichlet(np.full(10, 0.1), n_documents)
    counts = scipy.sparse.csr_array(rng.multinomial(length, proportions @ topics))
    parts = counts.indptr.astype(np.int64), counts.indices.astype(np.int32)
    return DocumentSource(*parts, counts.data.astype(np.float32), 25), topics
