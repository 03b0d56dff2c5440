"""Documentation shared by estimators, inserted for lines such as ``{optimizer}`` in docstrings."""

from __future__ import annotations

__all__ = ["GROUPS", "TEXTS"]

TEXTS: dict[str, str] = {
    "batch_size": """
batch_size : int, optional
    Rows per mini-batch; by default each step takes all rows.
""",
    "optimizer": """
optimizer : float, str or fastvi.optimizers.Optimizer, optional
    Rates of the steps, by default `fastvi.optimizers.robbins_monro` for mini-batches, and 1
    without. A number in (0, 1] is a constant rate. ``"adaptive"``: the rate that minimises the
    expected distance to the optimum (Ranganath et al. 2013), without parameters. ``"adagrad"``,
    ``"rmsprop"``, ``"adam"`` and ``"amsgrad"`` take plain gradients with respect to unconstrained
    parameters: means, logarithms and Cholesky factors.
""",
    "sampling": """
sampling : str, default="uniform"
    How mini-batches are drawn. ``"uniform"``: each row once per pass, in random order.
    ``"replacement"``: independently. ``"importance"``: rows with large statistics more often,
    weighted so that steps stay unbiased. ``"adaptive"``: by the last known norms of the statistics.
    ``"growing"``: each row once per pass, in batches that grow from `batch_size` with the
    gradient's noise (De et al. 2017); ``"coupled"``: with its noise and the rate (Balles et al.
    2017).
""",
    "variance_reduction": """
variance_reduction : {"svrg", "window"} or a tool of fastvi.gradients, optional
    For mini-batches. ``"svrg"``: steps are corrected by a gradient of all rows, computed every two
    passes (Johnson and Zhang 2013); unbiased, at twice the cost per step. ``"window"``: statistics
    are averaged over ten batches (Mandt and Blei 2014), which divides the noise by ten but adds
    some bias. ``fastvi.gradients.svrg(every=100)`` and ``fastvi.gradients.window(size=3)`` set
    other numbers of steps and batches.
""",
    "trace_noise": """
trace_noise : bool, default=False
    Record the noise of the steps in `history_` for any `sampling`, at some cost.
""",
    "warm_start": """
warm_start : bool, default=False
    Start from the posterior of the last fit.
""",
    "n_jobs": """
n_jobs : int, optional
    Threads; -1 for all cores, None for one.
""",
    "verbose": """
verbose : int, default=0
    Show a progress bar. The logger ``"fastvi"`` gets a line per pass in any case.
""",
    "sample_weight": """
sample_weight : (n_rows,) array, optional
    How many rows each row counts as: 1 by default. With weight 2 the bound is that of the row
    twice, and rows of weight 0 are left out.
""",
    "class_weight": """
class_weight : dict or "balanced", optional
    Weights of rows by their labels, 1 by default. ``"balanced"`` gives all labels the same total:
    the weight of a row is n_rows / (n_classes * count of its label). `sample_weight` multiplies
    these weights.
""",
    "elbo_": """
elbo_ : float
    The evidence lower bound of the training data in nats; only without `batch_size`.
""",
    "best_iter_": """
best_iter_, best_score_ : int, float
    With `early_stopping`: the pass that was kept, and its held-out score.
""",
    "history_": """
history_ : dict of str to array
    What each step reported: epoch, seconds, rate, and in nats the `elbo` (or the `local_elbo`,
    the batch's part of it scaled to all rows); with `trace_noise`, or if `sampling` needs it, the
    `noise`, the trace of the gradient's covariance; with `X_val`, `held_out` at the end of each
    pass.
""",
    "n_iter_": """
n_iter_ : int
    Passes over the rows.
""",
    "documents": """
X : (n_documents, n_features) CSR matrix or array
    Counts.
y : ignored
""",
    "n_batch_iter_": """
n_batch_iter_ : int
    Steps taken.
""",
    "converged_": """
converged_ : bool
    Whether `tol` was reached.
""",
    "n_features_in_": """
n_features_in_, feature_names_in_
    As in scikit-learn.
""",
    "raises_supervised": """
Raises
------
ValueError
    If the data are invalid, a parameter is out of its range, or `checkpoint` belongs to another
    fit.
FloatingPointError
    If the fit diverges.
numpy.linalg.LinAlgError
    If a matrix has no Cholesky factor; it says which.
""",
    "early_stopping": """
early_stopping : int, optional
    Stop after so many passes without a better score of `X_val`, and keep what the best pass found
    (of which the fit keeps a copy): `best_iter_` is its number, and `best_score_` its score.
    Searches by L-BFGS (`SparseGPRegressor`, `SparseEP`, `GaussianProcessClassifier`) refuse it.
""",
    "callback": """
callback : callable, optional
    ``callback(state)`` is called with a `fastvi.loop.FitState` after each step and after each pass;
    the fit stops if it returns True.
""",
    "checkpoint": """
checkpoint : path, optional
    A file to which the state of the fit is saved every `checkpoint_interval` seconds and at the end
    of the fit.
checkpoint_interval : float, default=60.0
resume : bool, default=False
    Continue from `checkpoint` if the file exists, with the same bits as an uninterrupted fit. Data
    and parameters must be the same; `max_iter` and `tol` may differ.
""",
}
GROUPS = {
    "toolbox": ("batch_size", "optimizer", "sampling", "variance_reduction", "trace_noise"),
    "running": ("warm_start", "n_jobs", "verbose"),
    "found": ("elbo_", "history_", "n_iter_", "best_iter_", "converged_", "n_features_in_"),
    "reported": ("history_", "n_iter_", "best_iter_", "converged_", "n_features_in_"),
    "found_by_steps": (
        "elbo_",
        "history_",
        "n_iter_",
        "best_iter_",
        "n_batch_iter_",
        "converged_",
        "n_features_in_",
    ),
    "watching": ("callback", "checkpoint"),
}
