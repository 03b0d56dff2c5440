"""NumPyro's side: automatic guides that are flows, Adam, and blocks of steps in compiled scans."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import time

import evaluation as ev
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoBNAFNormal, AutoIAFNormal
from numpyro.infer.initialization import init_to_value

numpyro.enable_x64()

BLOCK, N_BOUND = 200, 4000
GUIDES = {
    "AutoIAFNormal": lambda model, init: AutoIAFNormal(
        model, num_flows=3, hidden_dims=[32, 32], init_loc_fn=init
    ),
    "AutoBNAFNormal": lambda model, init: AutoBNAFNormal(
        model, num_flows=1, hidden_factors=[8, 8], init_loc_fn=init
    ),
}


def banana(z):
    u = z[1] + 0.1 * z[0] ** 2 - 10.0
    return -(z[0] ** 2) / 200.0 - 0.5 * u * u - jnp.log(20.0 * jnp.pi)


def boxed(energy, half):
    """A density of two numbers in a box, of unconstrained ones."""

    def log_p(y):
        share = jax.nn.sigmoid(y)
        z = half * (2.0 * share - 1.0)
        return energy(z) + jnp.sum(jnp.log(2.0 * half * share * (1.0 - share)))

    return log_p


def u1(z):
    r = jnp.sqrt(jnp.sum(z**2))
    humps = jnp.logaddexp(-0.5 * ((z[0] - 2.0) / 0.6) ** 2, -0.5 * ((z[0] + 2.0) / 0.6) ** 2)
    return -0.5 * ((r - 2.0) / 0.4) ** 2 + humps


def u2(z):
    return -0.5 * ((z[1] - jnp.sin(0.5 * jnp.pi * z[0])) / 0.4) ** 2


def u3(z):
    hill = 3.0 * jnp.exp(-0.5 * ((z[0] - 1.0) / 0.6) ** 2)
    away = z[1] - jnp.sin(0.5 * jnp.pi * z[0])
    return jnp.logaddexp(-0.5 * (away / 0.35) ** 2, -0.5 * ((away + hill) / 0.35) ** 2)


def u4(z):
    step = 3.0 * jax.nn.sigmoid((z[0] - 1.0) / 0.3)
    away = z[1] - jnp.sin(0.5 * jnp.pi * z[0])
    return jnp.logaddexp(-0.5 * (away / 0.4) ** 2, -0.5 * ((away + step) / 0.35) ** 2)


def of_all_schools(mu, log_tau):
    tau = jnp.exp(log_tau)
    value = jnp.log(2.0 / (5.0 * jnp.pi)) - jnp.log1p((tau / 5.0) ** 2) + log_tau
    return value + jax.scipy.stats.norm.logpdf(mu, 0.0, 5.0)


def schools_centred(y, sigma):
    def log_p(z):
        theta, mu, tau = z[:8], z[8], jnp.exp(z[9])
        value = of_all_schools(mu, z[9]) + jax.scipy.stats.norm.logpdf(theta, mu, tau).sum()
        return value + jax.scipy.stats.norm.logpdf(jnp.array(y), theta, jnp.array(sigma)).sum()

    return log_p


def garch(y, sigma1):
    y = jnp.array(y)

    def log_p(u):
        mu, alpha0, alpha1, share = u[0], jnp.exp(u[1]), jax.nn.sigmoid(u[2]), jax.nn.sigmoid(u[3])
        beta = share * (1.0 - alpha1)

        def next(variance, now):
            return alpha0 + alpha1 * (now - mu) ** 2 + beta * variance, variance

        variances = jax.lax.scan(next, sigma1**2, y)[1]
        value = jnp.log(1.0 - alpha1) + u[1] + jnp.log(alpha1 * (1.0 - alpha1))
        value += jnp.log(share * (1.0 - share))
        return value + jax.scipy.stats.norm.logpdf(y, mu, jnp.sqrt(variances)).sum()

    return log_p


DENSITIES = {
    "banana": lambda: banana,
    **{
        name: lambda f=f, half=half: boxed(f, half)
        for name, f, half in (("U1", u1, 8.0), ("U2", u2, 4.0), ("U3", u3, 4.0), ("U4", u4, 4.0))
    },
    "eight schools, centred": schools_centred,
    "GARCH": garch,
}


def fit(density, guide, start, seconds, rate=0.005, n_draws=100, seed=0, data=None):
    """CPU seconds of a step, and bounds after so many seconds, compilation not counted."""
    log_p = DENSITIES[density](**(data or {}))
    D = len(start)

    def model():
        z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real_vector, (), (D,)))
        numpyro.factor("log_p", log_p(z))

    init = init_to_value(values={"z": jnp.array(start)})
    made = GUIDES[guide](model, init)
    svi = SVI(model, made, numpyro.optim.Adam(rate), Trace_ELBO(n_draws))
    state = svi.init(jax.random.PRNGKey(seed))

    @jax.jit
    def block(state):
        return jax.lax.scan(lambda s, _: svi.update(s), state, None, length=BLOCK)[0]

    many = Trace_ELBO(N_BOUND)

    @jax.jit
    def bound(params, key):
        return -many.loss(key, params, model, made)

    def bound_now(state):
        keys = jax.random.split(jax.random.PRNGKey(10**6 + seed), 10)
        return float(np.mean([bound(svi.get_params(state), key) for key in keys]))

    jax.block_until_ready(block(state))  # compiles
    bound_now(state)
    spent, n_steps, found = 0.0, 0, []
    for budget in sorted(seconds):
        while spent < budget:
            began = time.process_time()
            state = jax.block_until_ready(block(state))
            spent += time.process_time() - began
            n_steps += BLOCK
        found.append(bound_now(state))
    return {"bounds": found, "step": spent / n_steps}


if __name__ == "__main__":
    ev.main(fit)
