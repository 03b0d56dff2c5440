"""dynamax's filter, smoother and expectation maximisation, compiled by JAX, in float64."""

import time

import evaluation as ev
import jax
import jax.numpy as jnp
import numpy as np
from dynamax.linear_gaussian_ssm import LinearGaussianSSM, lgssm_filter, lgssm_smoother
from statespace_problem import problem

jax.config.update("jax_enable_x64", True)


def model_of(X, A, Q, C, R, mean, covariance):
    k, d = C.shape[1], C.shape[0]
    model = LinearGaussianSSM(k, d)
    params, props = model.initialize(
        jax.random.PRNGKey(0), initial_mean=jnp.array(mean),
        initial_covariance=jnp.array(covariance),
        dynamics_weights=jnp.array(A), dynamics_covariance=jnp.array(Q),
        emission_weights=jnp.array(C), emission_covariance=jnp.array(np.diag(R)),
    )  # fmt: skip
    return model, params, props, jnp.array(X)


def timed(call, repeats=3):
    """CPU seconds of a call after it was compiled."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(call())
        times.append(time.process_time() - start)
    return float(np.median(times))


def passes(n, k, d):
    """CPU seconds of a filter pass (log likelihood), and of filter and smoother."""
    _, params, _, X = model_of(*problem(n, k, d))
    score = jax.jit(lambda p, x: lgssm_filter(p, x).marginal_loglik)
    means = jax.jit(lambda p, x: lgssm_smoother(p, x).smoothed_means)
    found = {"filter": timed(lambda: score(params, X)), "smoother": timed(lambda: means(params, X))}
    return found | {"score": float(score(params, X))}


def iteration(n, k, d):
    """CPU seconds of an iteration."""
    model, params, props, X = model_of(*problem(n, k, d))

    @jax.jit
    def step(params, state, X):
        statistics, _ = model.e_step(params, X)
        batch = jax.tree_util.tree_map(lambda part: jnp.asarray(part)[None], statistics)
        return model.m_step(params, props, batch, state)

    state = model.initialize_m_step_state(params, props)
    return {"seconds": timed(lambda: step(params, state, X))}


if __name__ == "__main__":
    ev.main(passes, iteration)
