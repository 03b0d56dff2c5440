"""SVGD of blackjax, NumPyro and PyMC, timed on a standard normal target."""

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import evaluation as ev
import numpy as np
import regression


def blackjax(n, d, dtype="float32"):
    """A jitted step with its median heuristic; float32 is JAX's default."""
    import blackjax
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", dtype == "float64")
    X = jnp.asarray(np.random.default_rng(0).normal(size=(n, d)), dtype)
    grad = jax.grad(lambda x: -0.5 * jnp.sum(x * x))
    algorithm = blackjax.svgd(grad, optax.adagrad(0.01))
    state = algorithm.init(X)
    advance = jax.jit(algorithm.step)

    def step():
        nonlocal state
        state = jax.block_until_ready(advance(state))

    return regression.milliseconds(step, least=1.0, most=2000)


def numpyro(n, d, dtype="float32"):
    """A jitted update of SteinVI with its RBF kernel."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.contrib.einstein import RBFKernel, SteinVI
    from numpyro.infer.autoguide import AutoDelta
    from numpyro.infer.initialization import init_to_sample

    jax.config.update("jax_enable_x64", dtype == "float64")

    def model():
        numpyro.sample("x", dist.Normal(jnp.zeros(d), 1.0).to_event(1))

    stein = SteinVI(
        model, AutoDelta(model, init_loc_fn=init_to_sample), numpyro.optim.Adagrad(0.01),
        RBFKernel(), repulsion_temperature=1.0, num_stein_particles=n,
    )  # fmt: skip
    state = stein.init(jax.random.PRNGKey(0))
    advance = jax.jit(stein.update)

    def step():
        nonlocal state
        state, loss = advance(state)
        jax.block_until_ready(loss)

    return regression.milliseconds(step, least=1.0, most=2000)


def pymc(n, d, dtype="float64"):
    """A step of PyMC's SVGD."""
    import pymc as pm

    with pm.Model():
        pm.Normal("x", 0.0, 1.0, shape=d)
        inference = pm.SVGD(n_particles=n, random_seed=0)
        step = inference.objective.step_function(obj_optimizer=pm.adagrad(learning_rate=0.01))
    return regression.milliseconds(step, least=1.0, most=2000)


if __name__ == "__main__":
    ev.main(blackjax, numpyro, pymc)
