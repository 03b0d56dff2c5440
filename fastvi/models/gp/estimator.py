"""What estimators of Gaussian processes share: bounds after a fit, and files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastvi.base.parallel import single_threaded_blas
from fastvi.models.gp import files

__all__ = ["BoundAt", "GaussianProcess", "draws_by"]

Array = NDArray[np.float64]
BoundAt = Callable[[Array, bool], tuple[float, Array | None]]


class GaussianProcess(BaseEstimator):
    """Subclasses fit and predict."""

    def _draw_seed(self) -> int:
        """A number that all randomness of a fit follows from."""
        rng = self.random_state
        if isinstance(rng, np.random.Generator):
            return int(rng.integers(1 << 31))
        return int(check_random_state(rng).randint(1 << 31))

    def _bound_at(self) -> BoundAt | None:
        """``(theta, gradient) -> (bound, its gradient or None)``; None without rows."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, Any]:
        """Arrays that `files.save` is to keep."""
        raise NotImplementedError

    @property
    def elbo_(self) -> float:
        """The lower bound of log p(y | X) in nats, on the rows of `fit`."""
        return float(self.log_marginal_likelihood_value_)

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The lower bound of the log marginal likelihood in nats, on the rows of `fit`.

        At another `theta` the inducing inputs are those of the fit. So are the dual parameters of
        q(u) that mini-batches found: what the rows said of the function meets another prior, but is
        not fitted again. The value is therefore below what a fit with that kernel would reach, and
        the gradient is that of this value. With more than two classes, expectations are means of
        draws, the same in each call.

        Parameters
        ----------
        theta : (n_hyperparameters,) array, optional
            Logarithms of the kernel's hyperparameters; by default those of the fit.
        eval_gradient : bool
            Return the gradient by `theta` as well.
        clone_kernel : bool
            If False, `kernel_` takes these hyperparameters; predictions stay as they are.

        Returns
        -------
        float, or (float, (n_hyperparameters,) array)

        Raises
        ------
        ValueError
            If the gradient is asked for without `theta`, or if there are no rows: `partial_fit`
            keeps none, and a model from a file has only the value at the end of its fit.
        numpy.linalg.LinAlgError
            If a matrix has no Cholesky factor at `theta`.
        """
        check_is_fitted(self, "kernel_")
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            if not hasattr(self, "log_marginal_likelihood_value_"):
                raise ValueError(
                    "partial_fit keeps no rows to evaluate the bound on; call fit for it"
                )
            return self.log_marginal_likelihood_value_
        bound_at = self._bound_at()
        if bound_at is None:
            raise ValueError(
                "a model from a file or from partial_fit holds no rows; fit it to evaluate other "
                "theta"
            )
        theta, wanted = np.array(theta, np.float64), self.kernel_.theta.shape
        if theta.shape != wanted or not np.all(np.isfinite(theta)):
            raise ValueError(f"theta has shape {theta.shape}; wanted {wanted[0]} finite numbers")
        if not clone_kernel:
            self.kernel_.theta = theta
        with single_threaded_blas():
            value, gradient = bound_at(theta, eval_gradient)
        return (value, gradient) if eval_gradient else value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that `fastvi.load` reads; the rows are not in it.

        A stream may go on from it; the optimizers' rates and momenta start afresh.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; the old one is kept then.
        ValueError
            If a parameter is something that no file can hold, such as a callable or an Optimizer.
        """
        check_is_fitted(self, "kernel_")
        files.save(self, path, self._arrays())


def draws_by(random_state: Any) -> Any:
    """A generator of either of NumPy's kinds."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    return check_random_state(random_state)
