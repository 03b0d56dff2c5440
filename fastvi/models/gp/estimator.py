"""What estimators of Gaussian processes share: fits, bounds after a fit, and files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import loop
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, JsonObject, RandomState, Tree
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.models.files import Saved
from fastvi.models.gp import files
from fastvi.models.kinds import Supervised

__all__ = [
    "BoundAt",
    "GaussianProcess",
    "OfKernel",
    "OnBound",
    "draws_by",
    "holding_back",
    "on_bounds",
    "warn_of_bounds",
]

WORTH = 1.0  # nats that a bound e times as wide would gain, to first order
BoundAt = Callable[[Array, bool], tuple[float, Array | None]]


class OfKernel(Supervised):
    """What all share, those included that have no inducing inputs."""

    kernel: Kernel | None
    kernel_: Any

    _texts = files.TEXTS
    _encoded = staticmethod(files.encoded_parameter)
    _decoded = staticmethod(files.decoded_parameter)

    def _see(self, params: Tree) -> None:
        """Predict with these parameters from now on."""
        raise NotImplementedError

    def _as_rows(self, X: Any) -> Any:
        """X with a column of its own for each input, if a row is one number."""
        return X

    def _refuse_passes(self, watching: Watching) -> None:
        if watching.early_stopping is not None:
            raise ValueError(
                f"early_stopping is {watching.early_stopping!r}, but L-BFGS takes no passes; "
                "wanted None, or SVGP"
            )

    def _watch(
        self,
        watching: Watching,
        data: tuple[Array, ...],
        seed: int,
        held_out: tuple[Any, Any],
        **options: Any,
    ) -> loop.Watch:
        """Who looks at a fit to `data`; `held_out` are rows and targets to score, or Nones."""
        X_val, y_val = held_out
        score = None
        if checks.both_or_none("X_val", X_val, "y_val", y_val):
            rows = self._as_rows(X_val)
            validate_data(self, rows, y_val, dtype=np.float64, multi_output=True, reset=False)

            def score(params: Tree) -> float:
                self._see(params)
                return float(self.score(X_val, y_val))

        def identity() -> JsonObject:
            kernel = None if self.kernel is None else files.encoded(self.kernel)
            return self._identity(data) | {"kernel": kernel, "seed": seed}

        return loop.Watch(
            callback=watching.callback, held_out=score, patience=watching.patience(score),
            checkpoints=watching.checkpoints(identity),
            resume=watching.resume, verbose=bool(self.verbose), **options,
        )  # fmt: skip


class GaussianProcess(OfKernel):
    """Subclasses fit and predict."""

    inducing_points: int | ArrayLike
    inducing_selection: str
    learn_inducing_points: bool
    learn_kernel: bool
    natural_learning_rate: float | Optimizer
    learning_rate: float
    total_samples: float | None

    inducing_points_: Array
    jitter_: float

    _shared = (
        *Supervised._shared,
        "kernel", "inducing_points", "inducing_selection", "learn_inducing_points", "learn_kernel",
        "natural_learning_rate", "learning_rate", "total_samples",
    )  # fmt: skip

    # Hooks of a subclass

    def _bound_at(self) -> BoundAt | None:
        """``(theta, gradient) -> (bound, its gradient or None)``; None without rows."""
        raise NotImplementedError

    # Fits

    def _warn_of_bounds(self) -> None:
        """Warn if bounds of the kernel's hyperparameters hold the fit back; called by `_fit`.

        Length scales of irrelevant columns end on bounds, too, but would gain next to nothing
        beyond them.
        """
        found = on_bounds(self.kernel_) if self.learn_kernel else []
        bound_at = self._bound_at()
        if not found or bound_at is None:
            return
        with single_threaded_blas():
            _, gradient = bound_at(self.kernel_.theta, True)
        assert gradient is not None
        warn_of_bounds(holding_back(found, gradient))

    # Bounds

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The lower bound of log p(y | X) in nats, on the rows of `fit`: `elbo_`."""
        return self.elbo_

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The lower bound of the log marginal likelihood in nats, on the rows of `fit`.

        At another `theta` the inducing inputs are those of the fit. So is what mini-batches found:
        q(v) of v = L^-1 u, where K(z, z) = L L' and u are the inducing values. The value is
        therefore below what a fit with that kernel would reach, and the gradient is that of this
        value. With more than two classes, expectations are means of
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
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            if not hasattr(self, "elbo_"):
                raise ValueError(
                    "partial_fit keeps no rows to evaluate the bound on; call fit for it"
                )
            return self.elbo_
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

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "kernel": json.dumps(files.encoded(self.kernel_)),
            "inducing": self.inducing_points_,
        }

    def _restore(self, saved: Saved) -> None:
        self.kernel_ = files.decoded(json.loads(saved.values["kernel"]), saved.path)
        self.inducing_points_ = saved.array("inducing", None, saved.n_features)
        if not len(self.inducing_points_):
            raise ValueError(f"{saved.path}: inducing holds no rows")


class OnBound(NamedTuple):
    """A hyperparameter on a bound: its number, the direction out of the bounds, and its name."""

    number: int
    outwards: int
    text: str


def on_bounds(kernel: Kernel) -> list[OnBound]:
    """Which hyperparameters of a kernel are on which of their bounds."""
    names = [
        h.name if h.n_elements == 1 else f"{h.name}[{i}]"
        for h in kernel.hyperparameters
        if not h.fixed
        for i in range(h.n_elements)
    ]
    bounds = kernel.bounds.reshape(-1, 2)
    close = np.isclose(bounds, kernel.theta[:, None])
    found = []
    for i, side in zip(*np.nonzero(close)):
        which = ("lower", "upper")[side]
        text = f"{names[i]} on its {which} bound {np.exp(bounds[i, side]):.3g}"
        found.append(OnBound(int(i), 2 * int(side) - 1, text))
    return found


def holding_back(found: Sequence[OnBound], gradient: Array) -> list[str]:
    """The bounds beyond which a fit would gain, in words, given the gradient by theta."""
    return [each.text for each in found if each.outwards * gradient[each.number] > WORTH]


def warn_of_bounds(texts: Sequence[str]) -> None:
    """Warn of bounds that hold a fit back, if there are any; for the caller of `fit`."""
    if texts:
        warnings.warn(
            f"the fit ended with {', '.join(texts)}; a kernel with wider bounds may fit better",
            ConvergenceWarning,
            stacklevel=6,
        )


def draws_by(random_state: RandomState) -> Any:
    """A generator of either of NumPy's kinds."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    return check_random_state(random_state)
