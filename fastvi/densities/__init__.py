"""Log densities to write models with, in nats, for use in any `fastvi.target`.

Those of numbers take arrays as well, broadcast as NumPy does, and give the sum over all elements;
they can be called from Python, from compiled functions, and from densities whose gradient is
derived. What is outside a density's support has the log density minus infinity.

>>> import numpy as np
>>> import fastvi
>>> from fastvi import densities
>>> @fastvi.target(data={"y": np.array([1.2, 0.4, 2.1])}, dim=2)
... def model(z, data):
...     prior = densities.normal(z[0], 0.0, 10.0) + densities.normal(z[1], 0.0, 1.0)
...     return prior + densities.normal(data.y, z[0], np.exp(z[1]))
>>> model.log_prob([1.0, 0.0]).round(6)
-7.807342
"""

from fastvi.densities.counts import (
    bernoulli,
    bernoulli_logit,
    binomial,
    binomial_logit,
    geometric,
    neg_binomial,
    poisson,
    poisson_log,
)
from fastvi.densities.interval import beta, beta_proportion, uniform, von_mises
from fastvi.densities.positive import (
    exponential,
    gamma,
    half_cauchy,
    half_normal,
    half_student_t,
    inverse_gamma,
    lognormal,
    weibull,
)
from fastvi.densities.real import cauchy, gumbel, laplace, logistic, normal, student_t
from fastvi.densities.series import autoregressive, gaussian_random_walk, hidden_markov
from fastvi.densities.vectors import (
    categorical,
    categorical_logit,
    dirichlet,
    lkj_cholesky,
    log_sum_exp,
    multinomial,
    multivariate_normal,
    multivariate_normal_precision,
    multivariate_t,
    ordered_logistic,
)
from fastvi.densities.zeros import (
    hurdle_poisson,
    zero_inflated_neg_binomial,
    zero_inflated_poisson,
)

__all__ = [
    "autoregressive",
    "bernoulli",
    "bernoulli_logit",
    "beta",
    "beta_proportion",
    "binomial",
    "binomial_logit",
    "categorical",
    "categorical_logit",
    "cauchy",
    "dirichlet",
    "exponential",
    "gamma",
    "gaussian_random_walk",
    "geometric",
    "gumbel",
    "half_cauchy",
    "half_normal",
    "half_student_t",
    "hidden_markov",
    "hurdle_poisson",
    "inverse_gamma",
    "laplace",
    "lkj_cholesky",
    "log_sum_exp",
    "logistic",
    "lognormal",
    "multinomial",
    "multivariate_normal",
    "multivariate_normal_precision",
    "multivariate_t",
    "neg_binomial",
    "normal",
    "ordered_logistic",
    "poisson",
    "poisson_log",
    "student_t",
    "uniform",
    "von_mises",
    "weibull",
    "zero_inflated_neg_binomial",
    "zero_inflated_poisson",
]
