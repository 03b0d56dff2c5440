"""dynamax's hidden Markov models, compiled by JAX, in float32."""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import time

import evaluation as ev
import jax
import jax.numpy as jnp
import numpy as np
from dynamax.hidden_markov_model import GaussianHMM
from hmm_problem import problem


def iteration(n, k, d, length=None):
    """CPU seconds of an iteration of expectation maximisation after its compile, median of five."""
    X, lengths, start, moves, means, covars = problem(n, k, d, length=length)
    batch = jnp.asarray(X.reshape(len(lengths), -1, d), jnp.float32)
    model = GaussianHMM(k, d)
    params, props = model.initialize(
        jax.random.PRNGKey(0), initial_probs=jnp.asarray(start, jnp.float32),
        transition_matrix=jnp.asarray(moves, jnp.float32),
        emission_means=jnp.asarray(means, jnp.float32),
        emission_covariances=jnp.asarray(covars, jnp.float32),
    )  # fmt: skip

    @jax.jit
    def step(params, state, batch):
        statistics, logs = jax.vmap(lambda X: model.e_step(params, X))(batch)
        return *model.m_step(params, props, statistics, state), logs.sum()

    state = model.initialize_m_step_state(params, props)
    jax.block_until_ready(step(params, state, batch))
    times = []
    for _ in range(5):
        begin = time.process_time()
        found = jax.block_until_ready(step(params, state, batch))
        times.append(time.process_time() - begin)
    return {"seconds": float(np.median(times)), "bound": float(found[-1])}


if __name__ == "__main__":
    ev.main(iteration)
