"""celerite2's Gaussian processes in time, through NumPy and through JAX."""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import celerite2
import celerite2.jax
import evaluation as ev
import jax
import jax.numpy as jnp
import numpy as np
from temporal_problem import LENGTH, NOISE, SD, series, timed

jax.config.update("jax_enable_x64", True)
TERMS = {  # its Matern is an approximation
    "matern12": lambda module, sd, length: module.RealTerm(a=sd**2, c=1.0 / length),
    "matern32": lambda module, sd, length: module.Matern32Term(sigma=sd, rho=length),
}


def likelihood(kernel, n):
    """CPU seconds of the log likelihood alone, the faster form, and with its gradient."""
    t, y = series(n)

    def with_numpy():
        process = celerite2.GaussianProcess(TERMS[kernel](celerite2.terms, SD, LENGTH))
        process.compute(t, diag=np.full(n, NOISE))
        return process.log_likelihood(y)

    def with_jax(log):
        term = TERMS[kernel](celerite2.jax.terms, jnp.exp(log[0]), jnp.exp(log[1]))
        process = celerite2.jax.GaussianProcess(term)
        process.compute(t, diag=jnp.full(n, jnp.exp(log[2])), check_sorted=False)
        return process.log_likelihood(y)

    log = jnp.log(jnp.array([SD, LENGTH, NOISE]))
    value, gradient = jax.jit(with_jax), jax.jit(jax.value_and_grad(with_jax))
    plain, found = timed(with_numpy)
    fused, _ = timed(lambda: value(log).block_until_ready())
    both, _ = timed(lambda: jax.block_until_ready(gradient(log)))
    return {"value": min(plain, fused), "gradient": both, "log_likelihood": float(found)}


if __name__ == "__main__":
    ev.main(likelihood)
