"""Deep Gaussian processes of numbers as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.core import Optimizer
from fastvi.models.gp.deep.estimator import DeepGP
from fastvi.models.gp.deep.predictive import DeepPredictor
from fastvi.models.gp.estimator import draws_by
from fastvi.models.gp.targets import OnTargets

__all__ = ["DeepGPRegressor"]


class DeepGPRegressor(MultiOutputMixin, RegressorMixin, OnTargets, DeepGP):
    """Deep Gaussian process with a likelihood of choice, by mini-batches.

    Layers of sparse Gaussian processes, each of whose units is a function of the units below.
    Maximises the bound of Salimbeni and Deisenroth (2017), "Doubly stochastic variational inference
    for deep Gaussian processes", eq. 15, by draws of the hidden units: natural gradients on the
    last layer's q(u), and Adam on everything else. Columns of X are scaled to mean 0 and variance 1
    first, so kernels and inducing points are in those units.

    Parameters
    ----------
    {deep_layers}
    latent_inputs : int, default=0
        Number of inputs that every row has of its own, beside X, with prior N(0, I), so that
        targets need not be Gaussian given X: several modes, other shapes, noise that depends on X
        (Salimbeni et al. 2019). A small network reads q(w) off X and y. The bound is then the
        importance-weighted one of `n_draws` draws, which rises with their number.
    likelihood : str, default="gaussian"
        As in `SVGP`.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    normalize_y : bool, optional
        As in `SVGP`.
    {deep}
    {variational}

    Attributes
    ----------
    {deep_learned}
    {steps}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import DeepGPRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = DeepGPRegressor(inducing_points=15, max_iter=300, tol=0, random_state=0)
    >>> model.fit(X, np.sign(X[:, 0])).predict([[-0.5], [0.5]]).round()
    array([-1.,  1.])
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        *,
        kernel: Kernel | Sequence[Kernel | None] | None = None,
        likelihood: str = "gaussian",
        df: float = 4.0,
        normalize_y: bool | None = None,
        input_connections: bool = False,
        latent_inputs: int = 0,
        n_draws: int = 1,
        n_predictive_draws: int = 32,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        batch_size: int = 512,
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

    def predict(self, X: RowsLike, return_std: bool = False) -> Any:
        """Mean of the targets, and their standard deviation, noise included.

        Both are of a mixture over draws of the hidden units, the same for all rows.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std : bool

        Returns
        -------
        mean : (n_rows,) or (n_rows, n_targets) array
        std : array of that shape
            With `return_std`.
        """
        X = self._rows_to_predict(X)
        with single_threaded_blas():
            mean, variance = self._predictive.targets(X, self._n_threads)
        return (mean, np.sqrt(variance)) if return_std else mean

    def log_predictive_density(self, X: RowsLike, y: ArrayLike) -> Array:
        """Log density of each row's targets in nats, (n_rows,), given the rows of the fit.

        That of a mixture: the log of the mean density over draws of the hidden units. Of several
        targets it is the sum.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) or (n_rows, n_targets) array
        """
        rows = self._rows_to_predict(X)
        points, _ = self._data(X, y, None, reset=False)
        offset, scale = self._y_units
        with single_threaded_blas():
            return self._predictive.log_densities(rows, points.y * scale + offset, self._n_threads)

    def sample_y(self, X: RowsLike, n_samples: int = 1, random_state: RandomState = 0) -> Array:
        """Draws from the joint posterior of the targets at X, noise included.

        {joint_draws}
        """
        checks.integer(n_samples, "n_samples", 1)
        X = self._rows_to_predict(X)
        with single_threaded_blas():
            draws = self._predictive.sample(X, n_samples, draws_by(random_state))
        return draws[:, 0] if self._n_outputs == 1 else draws

    def compiled(self) -> DeepPredictor:
        """A bare predictor of mean and standard deviation that checks nothing."""
        check_is_fitted(self)
        predictive, n_threads = self._predictive, self._n_threads

        def predict(x: Array) -> tuple[Array, Array]:
            mean, variance = predictive.targets(x, n_threads)
            return mean, np.sqrt(variance)

        return DeepPredictor(predict)
