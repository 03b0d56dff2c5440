"""Sparse variational Gaussian processes of any likelihood as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import validate_data

from fastvi.base import checks
from fastvi.base.typing import ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.models.files import Saved
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.outputs import several
from fastvi.models.gp.predictions import TargetPredictions
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import (
    weighted,
)
from fastvi.models.gp.stochastic import Variational
from fastvi.models.kinds import Labelled

__all__ = ["SVGP"]


class SVGP(MultiOutputMixin, RegressorMixin, TargetPredictions, Variational):
    """Sparse variational Gaussian process with a likelihood of choice, by mini-batches.

    Maximises the bound of Hensman et al. (2013), "Gaussian processes for big data", by natural
    gradients on q(u), in the dual parameters of Adam et al. (2021), and by Adam on the kernel's
    hyperparameters and the inducing inputs. A step takes O(B M^2 + M^3) time for B rows and M
    inducing inputs. `fit` ends with natural-gradient steps on all rows. Targets in several columns
    have independent functions that share the kernel, its noise and the inducing inputs.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`. White noise is the noise of ``"gaussian"`` and the squared scale
        of ``"student-t"``; the other likelihoods do not take it.
    likelihood : str, default="gaussian"
        ``"gaussian"``; ``"student-t"`` with `df` degrees of freedom; ``"poisson"``, counts of mean
        exp(f); ``"bernoulli-logit"`` or ``"bernoulli-probit"``, for targets 0 and 1.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    inducing_points, inducing_selection, learn_inducing_points
        As in `SparseGPRegressor`.
    normalize_y : bool, optional
        Scale targets of ``"gaussian"`` and ``"student-t"`` to mean 0 and variance 1, those of the
        first call of `partial_fit`, for the fit: `kernel_`, `elbo_` and `history_` are of the
        normalised ones. By default where `kernel` is None; the prior's mean is 0.
    {variational}

    Attributes
    ----------
    {learned}
    {steps}
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        likelihood: str = "gaussian",
        df: float = 4.0,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        normalize_y: bool | None = None,
        batch_size: int = 256,
        sampling: str = "uniform",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        natural_learning_rate: float | Optimizer = 0.1,
        optimizer: Optimizer | str | float | None = None,
        learning_rate: float = 0.01,
        total_samples: float | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.likelihood = likelihood
        self.df = df
        self.normalize_y = normalize_y

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        points = self._data(data.X, data.y, data.sample_weight, reset=True)
        self._learn(watching, *points, data.held_out)
        self._warn_of_bounds()

    def partial_fit(
        self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take a step on each `batch_size` of these rows; the first call chooses inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) or (n_rows, n_targets) array
        {sample_weight}

        Returns
        -------
        self
        """
        self._advance(X, y, sample_weight)
        return self

    def _partial_fit(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None) -> None:
        first = not hasattr(self, "_state")
        if not first:
            self._refuse_changes(("likelihood", "df"))
        self._feed(*self._data(X, y, sample_weight, reset=first))

    def _data(
        self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
    ) -> tuple[Points, Likelihood]:
        X, y = validate_data(
            self, X, y, dtype=np.float64, order="C", multi_output=True, y_numeric=True, reset=reset
        )
        targets = np.ascontiguousarray(y, np.float64)
        n_outputs = targets.size // len(targets)
        if reset:
            self._n_outputs = n_outputs
            self._y_units = _no_units(n_outputs)
        if n_outputs != self._n_outputs:
            raise ValueError(f"y has {n_outputs} columns; wanted {self._n_outputs}, as before")
        likelihood = self._likelihood()
        likelihood.check(targets)
        if n_outputs == 1:  # also a column, as in scikit-learn
            targets = targets.reshape(-1)
        points = weighted(X, targets, sample_weight)
        return self._in_units(points, likelihood, reset), likelihood

    def _likelihood(self) -> Likelihood:
        return several(named(self.likelihood, self.df), self._n_outputs)

    def _saved(self) -> dict[str, object]:
        return {**super()._saved(), "n_outputs": self._n_outputs}

    def _restore(self, saved: Saved) -> None:
        self._n_outputs = checks.integer(saved.values["n_outputs"], "n_outputs", 1)
        self._y_units = _no_units(self._n_outputs)
        super()._restore(saved)


def _no_units(n_outputs: int) -> tuple[Any, Any]:
    """Mean and scale of targets that are not normalised."""
    shape = () if n_outputs == 1 else (n_outputs,)
    return np.zeros(shape), np.ones(shape)
