"""Documentation that Bayesian PCA and factor analysis share, for lines such as ``{factors}``."""

from __future__ import annotations

from fastvi.models.documentation import GROUPS
from fastvi.models.documentation import TEXTS as SHARED_TEXTS

__all__ = ["TEXTS"]

TEXTS = {
    "factors": """
n_components : int, optional
    Largest number of components, at most n_features; by default one less than the smaller of the
    numbers of rows and features. Superfluous ones are switched off, not removed.
alpha_1, alpha_2 : float, default=1e-6
    Shape and rate of the Gamma prior of noise precisions, as in scikit-learn's ARDRegression.
lambda_1, lambda_2 : float, default=1e-6
    Shape and rate of the Gamma prior of the components' precisions.
mean_precision : float, default=1e-6
    Precision of the Gaussian prior of the mean, around the columns' means.
max_iter : int, default=2000
    Largest number of passes over the rows.
tol : float, default=1e-6
    Without `batch_size` the fit ends when the bound rises by less than this in a pass, in nats per
    row.
batch_size : int, optional
    Rows per mini-batch. By default each step takes all rows; if there are more rows than features,
    through their sums of products, which are computed once.
""" + "".join(SHARED_TEXTS[name] for name in ("optimizer", "sampling", "variance_reduction"))
    + """
trace_noise : bool, default=False
    Record the noise of the steps in `history_` for any `sampling`, at some cost; without
    `batch_size`, rows are then not summed in advance.
random_state : int, RandomState, Generator or None, default=None
    Seed of mini-batches and of their start; coordinate ascent is deterministic.
warm_start : bool, default=False
    Start from the posterior of the last fit, in its units.
""" + SHARED_TEXTS["n_jobs"] + SHARED_TEXTS["verbose"],
    "found_factors": """
mean_ : (n_features,) array
    Posterior mean of the mean.
lambda_ : (n_components,) array
    Posterior means of the components' prior precisions, in the prior's units.
n_relevant_ : int
    Number of components that were not switched off: those with squared loadings larger than their
    posterior variances, both summed over features.
""" + "".join(SHARED_TEXTS[name] for name in GROUPS["found"]),
}  # fmt: skip
