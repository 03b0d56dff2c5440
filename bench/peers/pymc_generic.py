"""PyMC's side: ADVI's own step function, called as `fit` does but without its reports."""

import evaluation as ev
import numpy as np
import pymc as pm
import regression


def logistic(X, y):
    with pm.Model() as model:
        beta = pm.Normal("beta", 0.0, 1.0, shape=X.shape[1])
        pm.Bernoulli("y", logit_p=pm.math.dot(X, beta), observed=y)
    return model


def schools(y, sigma):
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
        z = pm.Normal("z", 0.0, 1.0, shape=8)
        pm.Normal("y", mu + tau * z, sigma, observed=y)
    return model


def steps(model, n_draws, n_steps):
    with model:
        step = pm.ADVI(random_seed=0).objective.step_function(
            obj_n_mc=n_draws, obj_optimizer=pm.adam(learning_rate=0.01), score=False
        )

    def run():
        for _ in range(n_steps):
            step()

    return regression.a_step(run, n_steps)


def logistic_step(n_draws, n=10_000, d=50):
    X, y, _, _ = regression.problem(n, d)
    return steps(logistic(X, y), n_draws, max(500 // n_draws, 10))


def schools_step():
    return steps(schools(**regression.SCHOOLS), 1, 2000)


def start():
    """Only a first fit; the caller times the process."""
    with schools(**regression.SCHOOLS):
        pm.fit(1000, progressbar=False, random_seed=0)
    return {"cpu": ev.cpu_seconds()}


if __name__ == "__main__":
    np.seterr(all="ignore")
    ev.main(logistic_step, schools_step, start)
