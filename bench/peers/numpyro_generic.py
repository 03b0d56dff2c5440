"""NumPyro's side: a mean-field guide, Adam, and all steps of a run in one compiled scan."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import evaluation as ev
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import regression
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

numpyro.enable_x64()


def logistic(X, y):
    beta = numpyro.sample("beta", dist.Normal(0.0, jnp.ones(X.shape[1])).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=X @ beta).to_event(1), obs=y)


def schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    z = numpyro.sample("z", dist.Normal(0.0, jnp.ones(8)).to_event(1))
    numpyro.sample("y", dist.Normal(mu + tau * z, sigma).to_event(1), obs=y)


def steps(model, data, n_draws, n_steps):
    data = tuple(jnp.asarray(a) for a in data)
    svi = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.01), Trace_ELBO(n_draws))
    state = svi.init(jax.random.PRNGKey(0), *data)

    @jax.jit
    def scan(state, data):
        return jax.lax.scan(lambda s, _: svi.update(s, *data), state, None, length=n_steps)

    return regression.a_step(lambda: jax.block_until_ready(scan(state, data)), n_steps)


def logistic_step(n_draws, n=10_000, d=50):
    X, y, _, _ = regression.problem(n, d)
    return steps(logistic, (X, y), n_draws, max(2000 // n_draws, 50))


def schools_step():
    return steps(schools, tuple(regression.SCHOOLS.values()), 1, 20_000)


def start():
    """Only a first fit; the caller times the process."""
    data = tuple(jnp.asarray(a) for a in regression.SCHOOLS.values())
    svi = SVI(schools, AutoNormal(schools), numpyro.optim.Adam(0.01), Trace_ELBO())
    svi.run(jax.random.PRNGKey(0), 1000, *data, progress_bar=False)
    return {"cpu": ev.cpu_seconds()}


if __name__ == "__main__":
    np.seterr(all="ignore")
    ev.main(logistic_step, schools_step, start)
