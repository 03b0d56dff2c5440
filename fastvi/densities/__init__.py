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

from fastvi.densities import covariances
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
from fastvi.densities.cumulative import (
    cauchy_log_cdf,
    cauchy_log_survival,
    gumbel_log_cdf,
    gumbel_log_survival,
    laplace_log_cdf,
    laplace_log_survival,
    logistic_log_cdf,
    logistic_log_survival,
    normal_log_cdf,
    normal_log_survival,
)
from fastvi.densities.interval import beta, beta_proportion, uniform, von_mises
from fastvi.densities.matrices import (
    inverse_wishart,
    inverse_wishart_cholesky,
    lkj_cholesky,
    wishart,
    wishart_cholesky,
)
from fastvi.densities.multivariate import (
    multivariate_normal,
    multivariate_normal_precision,
    multivariate_t,
)
from fastvi.densities.ode import ode_rk4, ode_rk45
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
from fastvi.densities.processes import gaussian_process
from fastvi.densities.real import cauchy, gumbel, laplace, logistic, normal, student_t
from fastvi.densities.series import autoregressive, gaussian_random_walk, hidden_markov
from fastvi.densities.survival import (
    exponential_log_cdf,
    exponential_log_survival,
    lognormal_log_cdf,
    lognormal_log_survival,
    weibull_log_cdf,
    weibull_log_survival,
)
from fastvi.densities.truncated import (
    log_diff_exp,
    logistic_log_interval,
    normal_log_interval,
    truncated_normal,
)
from fastvi.densities.vectors import (
    categorical,
    categorical_logit,
    dirichlet,
    log_sum_exp,
    multinomial,
    ordered_logistic,
)
from fastvi.densities.zeros import (
    hurdle_gamma,
    hurdle_lognormal,
    hurdle_neg_binomial,
    hurdle_poisson,
    zero_inflated_binomial,
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
    "cauchy_log_cdf",
    "cauchy_log_survival",
    "covariances",
    "dirichlet",
    "exponential",
    "exponential_log_cdf",
    "exponential_log_survival",
    "gamma",
    "gaussian_process",
    "gaussian_random_walk",
    "geometric",
    "gumbel",
    "gumbel_log_cdf",
    "gumbel_log_survival",
    "half_cauchy",
    "half_normal",
    "half_student_t",
    "hidden_markov",
    "hurdle_gamma",
    "hurdle_lognormal",
    "hurdle_neg_binomial",
    "hurdle_poisson",
    "inverse_gamma",
    "inverse_wishart",
    "inverse_wishart_cholesky",
    "laplace",
    "laplace_log_cdf",
    "laplace_log_survival",
    "lkj_cholesky",
    "log_diff_exp",
    "log_sum_exp",
    "logistic",
    "logistic_log_cdf",
    "logistic_log_interval",
    "logistic_log_survival",
    "lognormal",
    "lognormal_log_cdf",
    "lognormal_log_survival",
    "multinomial",
    "multivariate_normal",
    "multivariate_normal_precision",
    "multivariate_t",
    "neg_binomial",
    "normal",
    "normal_log_cdf",
    "normal_log_interval",
    "normal_log_survival",
    "ode_rk4",
    "ode_rk45",
    "ordered_logistic",
    "poisson",
    "poisson_log",
    "student_t",
    "truncated_normal",
    "uniform",
    "von_mises",
    "weibull",
    "weibull_log_cdf",
    "weibull_log_survival",
    "wishart",
    "wishart_cholesky",
    "zero_inflated_binomial",
    "zero_inflated_neg_binomial",
    "zero_inflated_poisson",
]
