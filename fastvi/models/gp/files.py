"""Kernels of scikit-learn in files, without pickle; and documentation that the estimators share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.gaussian_process import kernels

from fastvi.models import files

__all__ = ["TEXTS", "decoded", "decoded_parameter", "encoded", "encoded_parameter"]

KERNELS = (
    "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "Product", "RBF",
    "RationalQuadratic", "Sum", "WhiteKernel",
)  # fmt: skip
TEXTS = {
    "time_kernel": """
Sums and products of ConstantKernel, Matern (nu 1/2, 3/2, 5/2) and ExpSineSquared, with at
most one Matern and one ExpSineSquared per product. The default is a constant times a
Matern of nu 3/2, starting at scales of the data, plus a constant if targets are not real.
""",
    "time_search": """
optimizer : "fmin_l_bfgs_b" or callable, optional
    L-BFGS by default. A callable has scikit-learn's form, ``optimizer(obj_func, initial_theta,
    bounds) -> (theta_opt, func_min)``. To keep the kernel, set `learn_kernel` to False.
n_restarts_optimizer : int, default=0
    Number of further starts, drawn log-uniformly from the kernel's bounds.
prior_scale : float, optional
    Standard deviation of Gaussian priors on the logarithms of the hyperparameters, around the
    kernel's own; there are none by default.
max_iter : int, default=1000
    Largest number of iterations of L-BFGS.
tol : float, default=1e-9
    L-BFGS ends where an iteration raises the bound by less than this share of it.
random_state : int, RandomState, Generator or None, default=None
    For restarts.
verbose : int, default=0
    Show a progress bar of iterations. The logger ``"fastvi"`` gets a line for each in any case.
""",
    "time_found": """
log_marginal_likelihood_value_ : float
    The same, by scikit-learn's name.
history_ : dict of str to array
    `elbo` (with the log prior, if any) and `seconds` after each iteration of the best start;
    `held_out` with `X_val`.
n_iter_ : int
    Iterations of L-BFGS from the best start.
converged_ : bool
    False where `max_iter`, a callback or a line search that failed ended the search.
n_features_in_, feature_names_in_
    As everywhere in scikit-learn.
""",
    "variational": """
learn_kernel : bool, default=True
    Whether the kernel's hyperparameters, the noise included, are learned.
batch_size : int, default=256
    Rows per step.
sampling : {"uniform", "replacement", "adaptive", "growing", "coupled"}, default="uniform"
    How `fit` draws batches: shuffled epochs; independent draws; draws by the norms that rows' terms
    were last seen to have; shuffled epochs whose batches grow with the noise of the natural
    gradient, or with that noise and the rate.
max_iter : int, default=10000
    Largest number of steps.
tol : float, default=1e-3
    `fit` ends when the bound rises by less than this in 500 steps, in nats per row; 0 means never.
    It is evaluated every 100 steps on up to 1024 rows, always the same ones.
natural_learning_rate : float or fastvi.optimizers.Optimizer, default=0.1
    Rate of the natural gradient, in (0, 1]; or an optimizer with one rate for all coordinates, such
    as ``fastvi.optimizers.robbins_monro()``.
optimizer : str, float or fastvi.optimizers.Optimizer, optional
    For the kernel and the inducing inputs: ``"adam"`` (the default), ``"amsgrad"``, ``"rmsprop"``
    and ``"adagrad"`` take `learning_rate`; a number is a constant rate; ``"adaptive"`` has one rate
    for all coordinates. An average of iterates, as from `fastvi.optimizers.averaged`, is what `fit`
    ends with; `partial_fit` keeps the last iterate.
learning_rate : float, default=0.01
    Rate of the optimizers that are given by name.
total_samples : float, optional
    Number of rows that a stream represents in `partial_fit`; by default those seen so far. A row of
    weight w counts as w rows.
random_state : int, RandomState, Generator or None, default=None
    For inducing inputs and the order of rows.
n_jobs : int, optional
    Threads for large batches, passes over all rows and predictions; -1 for all cores, None for one.
    Results do not depend on it, to the bit.
verbose : int, default=0
    Show a progress bar of `fit`'s steps. The logger ``"fastvi"`` gets a line per pass in any case.
""",
    "deep_layers": """
hidden_layer_sizes : int or sequence of int, optional
    Units of the hidden layers, first to last; an empty sequence is a shallow process. By default
    one layer with as many units as X has columns, at most 30.
kernel : Kernel or sequence of Kernel and None, optional
    scikit-learn kernel of every layer, or one for each, the last layer's included. By default a
    constant times an RBF with a length scale per input, starting at scales of 1. White noise of the
    last layer is that of the likelihood, as in `SVGP`; that of a hidden layer is the noise of its
    units, which have a variance of 1e-5 beside it.
""",
    "deep": """
input_connections : bool, default=False
    Whether layers after the first see X beside the units below.
n_draws : int, default=1
    Draws of the hidden units per row and step.
n_predictive_draws : int, default=32
    Draws of the hidden units behind predictions, from a Halton sequence, the same for all rows.
inducing_points : int or (n_inducing, n_features) array, default=100
    Inducing inputs of each layer: their number, or where those of the first layer start, in the
    units of X. The others are as many.
inducing_selection, learn_inducing_points
    As in `SparseGPRegressor`.
""",
    "deep_learned": """
kernels_ : list of Kernel
    One a layer, with the hyperparameters that were learned.
inducing_points_ : list of (n_inducing, n_inputs) arrays
    One a layer, the first in units of scaled columns.
n_features_in_, feature_names_in_
    As everywhere in scikit-learn.
""",
    "predicted": """
Returns
-------
mean : (n_rows,) or (n_rows, n_targets) array
std : array of that shape
    With `return_std`.
cov : (n_rows, n_rows) or (n_rows, n_rows, n_targets) array
    With `return_cov`.

Raises
------
RuntimeError
    If both are asked for.
""",
    "joint_draws": """
Parameters
----------
X : (n_rows, n_features) array
n_samples : int
random_state : int, RandomState, Generator or None

Returns
-------
(n_rows, n_samples) array, or (n_rows, n_targets, n_samples) if y had columns
""",
    "learned": """
kernel_ : Kernel
    With the hyperparameters that were learned.
inducing_points_ : (n_inducing, n_features) array
jitter_ : float
    What was added to the diagonal of the inducing inputs' covariance.
n_features_in_, feature_names_in_
    As everywhere in scikit-learn.
""",
    "steps": """
elbo_ : float
    The lower bound of log p(y | X) on all rows, in nats; available after `fit`, until
    `partial_fit`.
log_marginal_likelihood_value_ : float
    The same, by scikit-learn's name.
history_ : dict of str to array
    What each step reported: epoch, seconds, batch_size, rate, and in nats `elbo`, the batch's
    estimate after the natural gradient's step (before it if nothing else is learned), and
    `local_elbo`, the rows' part of it; `check`, the bound in nats per row, every 100
    steps; `held_out` with `X_val`.
n_iter_ : int
    Number of steps.
converged_ : bool
    Whether `tol` was reached; available after `fit`, until `partial_fit`.
""",
}


def encoded(value: Any) -> Any:
    """A kernel, or a parameter of one, as JSON holds it."""
    if isinstance(value, kernels.Kernel):
        parameters = value.get_params(deep=False)
        inner = {name: encoded(part) for name, part in parameters.items()}
        return {"class": type(value).__name__, "parameters": inner}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [encoded(part) for part in value]
    return np.asarray(value, float).tolist()


def decoded(value: Any, where: str) -> Any:
    """What `encoded` was given.

    Raises
    ------
    ValueError
        If it is not what that makes.
    """
    if isinstance(value, list) and any(part is None or isinstance(part, dict) for part in value):
        return [None if part is None else decoded(part, where) for part in value]
    if not isinstance(value, dict):
        return np.array(value, float) if isinstance(value, list) else value
    name, parameters = value.get("class"), value.get("parameters")
    if name not in KERNELS or not isinstance(parameters, dict):
        raise ValueError(f"{where}: kernel {name!r} is not supported")
    try:
        parts = {key: decoded(part, where) for key, part in parameters.items()}
        return getattr(kernels, name)(**parts)
    except TypeError as error:
        raise ValueError(f"{where}: kernel {name} is incomplete ({error})") from None


def encoded_parameter(name: str, value: Any) -> Any:
    """A constructor's parameter as JSON or an array; see `fastvi.models.files`."""
    if isinstance(value, kernels.Kernel) or (name == "kernel" and value is not None):
        return encoded(value)
    return files.encoded(name, value)


def decoded_parameter(name: str, value: Any, saved: files.Saved) -> Any:
    """What `encoded_parameter` was given."""
    if name == "kernel" and value is not None:
        return decoded(value, saved.path)
    return files.decoded(name, value, saved)
