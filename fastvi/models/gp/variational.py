"""Sparse variational Gaussian processes of any likelihood as a scikit-learn estimator."""

from __future__ import annotations

from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process.kernels import Kernel

from fastvi.base.typing import ArrayLike, RandomState
from fastvi.core import Optimizer
from fastvi.models.gp.predictions import TargetPredictions
from fastvi.models.gp.stochastic import Variational
from fastvi.models.gp.targets import OnTargets

__all__ = ["SVGP"]


class SVGP(MultiOutputMixin, RegressorMixin, TargetPredictions, OnTargets, Variational):
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SVGP
    >>> x = np.linspace(-3.0, 3.0, 60)[:, None]
    >>> y = np.random.default_rng(0).poisson(np.exp(np.sin(x[:, 0])))
    >>> model = SVGP(likelihood="poisson", inducing_points=8, tol=0.1, random_state=0).fit(x, y)
    >>> rate = model.predict([[1.5], [-1.5]])
    >>> bool(rate[0] > rate[1])
    True
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
