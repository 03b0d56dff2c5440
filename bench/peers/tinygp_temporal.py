"""tinygp's Gaussian processes in time, by its solver of quasiseparable matrices."""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import evaluation as ev
import jax
import jax.numpy as jnp
from temporal_problem import LENGTH, NOISE, SD, series, timed
from tinygp import GaussianProcess
from tinygp.kernels import quasisep

jax.config.update("jax_enable_x64", True)
KERNELS = {
    "matern12": quasisep.Exp, "matern32": quasisep.Matern32, "matern52": quasisep.Matern52,
}  # fmt: skip


def likelihood(kernel, n):
    """CPU seconds of the log likelihood alone and with its gradient."""
    t, y = series(n)

    def log_likelihood(log):
        covariance = jnp.exp(2.0 * log[0]) * KERNELS[kernel](scale=jnp.exp(log[1]))
        return GaussianProcess(covariance, t, diag=jnp.exp(log[2])).log_probability(y)

    log = jnp.log(jnp.array([SD, LENGTH, NOISE]))
    value, gradient = jax.jit(log_likelihood), jax.jit(jax.value_and_grad(log_likelihood))
    alone, found = timed(lambda: value(log).block_until_ready())
    both, _ = timed(lambda: jax.block_until_ready(gradient(log)))
    return {"value": alone, "gradient": both, "log_likelihood": float(found)}


if __name__ == "__main__":
    ev.main(likelihood)
