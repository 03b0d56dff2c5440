"""How Gaussian process classifiers with all rows are fitted."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import CompoundKernel, Kernel
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ArrayLike, ClassWeight, RowsLike
from fastvi.checkpoints import Watching
from fastvi.loop import Watch
from fastvi.models.gp.dense import covariances_of
from fastvi.models.gp.dense_posterior import DensePosterior, Searched
from fastvi.models.gp.estimator import holding_back, on_bounds, warn_of_bounds
from fastvi.models.gp.evidence import SOLVERS, Evidence
from fastvi.models.gp.likelihoods import LINKS
from fastvi.models.gp.multiclass import SCHEMES, Inference
from fastvi.models.gp.search import Evaluations
from fastvi.models.gp.searching import Searches
from fastvi.models.gp.start import check_sizes, default_kernel
from fastvi.models.kinds import Labelled
from fastvi.models.weights import balanced, of_rows

__all__ = ["DenseLearning"]


class DenseLearning(Searches):
    """Searches for the hyperparameters of one or more latent functions, and evidences."""

    solver: str
    link: str
    max_iter_predict: int
    multi_class: str
    copy_X_train: bool
    class_weight: ClassWeight
    classes_: AnyArray

    _data: tuple[Any, ...]  # rows, numbers of their classes, and how many rows each counts as
    _posterior: DensePosterior

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        self._refuse_passes(watching)
        self._check_parameters()
        X, labels = self._checked(data.X, data.y)
        weights = of_rows(data.sample_weight, X)
        if not np.all(weights > 0):
            X, labels, weights = (part[weights > 0] for part in (X, labels, weights))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
            )
        weights = balanced(self.class_weight, self.classes_, codes, weights)
        kernel = default_kernel(X, 1.0, weights) if self.kernel is None else clone(self.kernel)
        seed = self._seed(watching)
        self._prepare(kernel, X, codes, weights)
        if last is not None:
            self._recall(last)
        watch = self._watch(watching, self._data, seed, data.held_out, unit="iterations")
        with single_threaded_blas():
            self._see(self._optimize(watch, seed))
            self._warn_of_bounds()
        self._warn_of_sites()

    def _check_parameters(self) -> None:
        checks.choice(self.solver, "solver", SOLVERS)
        checks.choice(self.link, "link", LINKS)
        checks.choice(self.multi_class, "multi_class", tuple(SCHEMES))
        checks.integer(self.max_iter_predict, "max_iter_predict", 1)
        checks.flag(self.copy_X_train, "copy_X_train")
        checks.flag(self.warm_start, "warm_start")
        self._check_search()
        if isinstance(self.kernel, CompoundKernel):
            raise ValueError("kernel cannot be a CompoundKernel")

    @property
    def _takes_vectors(self) -> bool:
        return self.kernel is None or bool(self.kernel.requires_vector_input)

    def _checked(self, X: RowsLike, y: ArrayLike) -> tuple[Any, AnyArray]:
        given = X
        if self._takes_vectors:
            X, labels = self._array(X, y, dtype=np.float64, order="C")
            check_sizes(X, "X")
        else:
            X, labels = validate_data(self, X, y, ensure_2d=False, dtype=None)
        check_classification_targets(labels)
        if self.copy_X_train and np.may_share_memory(X, given):
            X = np.copy(X)
        return X, labels

    def _prepare(self, kernel: Kernel, X: Any, codes: AnyArray, weights: Array) -> None:
        """Set what the searches look at."""
        self._data, self._kernel = (X, codes, weights), kernel
        self._scheme = SCHEMES[self.multi_class](len(self.classes_))
        how = Inference(self.solver, self.link, self.max_iter_predict)
        machines = self._scheme.machines(codes, weights, how)
        n_memory = max(int(np.prod(machine.solver.shape)) for machine in machines)
        self._evidences = []
        for rows, solver in machines:
            covariances = covariances_of(kernel, X[rows])
            self._evidences.append(Evidence(covariances, solver, kernel.theta, n_memory))

    def _recall(self, last: Self) -> None:
        """Start from where the last fit ended, as far as that fits."""
        before = last._posterior.searched
        if len(before) != len(self._evidences):
            return
        bounds = self._kernel.bounds.reshape(-1, 2)
        for evidence, (_, theta, found) in zip(self._evidences, before):
            if self.optimizer is not None and len(theta) == len(evidence.start):
                evidence.start = np.clip(theta, *bounds.T)
            if found.memory.shape == evidence.solver.shape:
                evidence.memory = evidence.remembered(found)

    # Searches

    def _optimize(self, watch: Watch, seed: int) -> Array:
        """The hyperparameters (n_searches, P) at which the evidences are highest."""
        thetas = np.stack([evidence.start for evidence in self._evidences])
        self.history_ = {name: np.zeros(0) for name in ("elbo", "seconds", "class")}
        self.n_iter_, self.converged_ = 0, True
        if self.optimizer is None or not thetas.shape[1]:
            return thetas
        bounds = self._kernel.bounds.reshape(-1, 2)
        drawn = self._drawn(bounds, np.random.default_rng(seed))
        for evidence in self._evidences:
            evidence.at(evidence.start)  # if this has no factor, say so
        histories, failed, c = [], False, 0
        with watch:
            evaluations = Evaluations(self._evidences[0], watch)
            watch.read = lambda state: np.concatenate(
                (thetas[:c], state.point[None], thetas[c + 1 :])
            )
            evaluations.begin(self.max_iter * (1 + len(drawn)) * len(thetas))
            for c, evidence in enumerate(self._evidences):
                evaluations.objective = evidence
                best = self._best_of(evaluations, [evidence.start, *drawn], bounds)
                thetas[c] = best.point
                length = len(best.history["elbo"])
                histories.append(best.history | {"class": np.full(length, float(c))})
                self.n_iter_ += best.n_iter
                self.converged_ &= best.converged
                failed |= best.failed and not best.converged
                if evaluations.stopped:
                    break
        self.history_ = _joined(histories)
        if not (self.converged_ or evaluations.stopped):
            self._warn_of_search(failed, stacklevel=5)
        return thetas

    def _see(self, params: Array) -> None:
        """Predict with these hyperparameters (n_searches, P) from now on."""
        self._predict_from(
            [Searched(e, theta, e.fine(theta)) for e, theta in zip(self._evidences, params)]
        )

    def _predict_from(self, searched: list[Searched]) -> None:
        self._posterior = DensePosterior(searched, self._scheme, self.link)
        kernels = [self._kernel.clone_with_theta(each.theta) for each in searched]
        self.kernel_ = kernels[0] if len(kernels) == 1 else CompoundKernel(kernels)
        self.elbo_ = float(np.mean([each.found.value for each in searched]))
        self.n_classes_ = len(self.classes_)

    def _warn_of_sites(self) -> None:
        """Warn if an approximation is not the one that the solver is after."""
        lost = [each.found for each in self._posterior.searched if not each.found.converged]
        if not lost:
            return
        self.converged_ = False
        what = {"ep": "the sites of expectation propagation", "laplace": "the latent functions"}
        warnings.warn(
            f"{what[self.solver]} had not settled after {lost[0].n_iter} sweeps, so neither "
            "log_marginal_likelihood_value_ nor probabilities are those of solver="
            f"{self.solver!r}; raise max_iter_predict",
            ConvergenceWarning,
            stacklevel=5,
        )

    def _warn_of_bounds(self) -> None:
        """Warn if bounds of the kernel's hyperparameters hold the fit back."""
        if self.optimizer is None:
            return
        texts: list[str] = []
        for evidence, theta, found in self._posterior.searched:
            on = on_bounds(self._kernel.clone_with_theta(theta))
            if on:
                start = evidence.recalled(evidence.remembered(found))
                gradient = evidence.gradient(theta, evidence.at(theta, True, start))
                texts += holding_back(on, gradient)
        warn_of_bounds(texts)

    # Evidence

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The approximate log evidence in nats, on the rows of `fit`: `elbo_`."""
        return self.elbo_

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The approximate log evidence in nats, on the rows of `fit`.

        Parameters
        ----------
        theta : (n_hyperparameters,) array, optional
            Logarithms of the kernel's hyperparameters; by default those of the fit. With several
            classifiers either one kernel's, for all, or those of `kernel_`; the value is the mean.
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
            If the gradient is asked for without `theta`.
        numpy.linalg.LinAlgError
            If a matrix has no Cholesky factor at `theta`.
        """
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            return self.elbo_
        evidences = [each.evidence for each in self._posterior.searched]
        theta, p, n = np.array(theta, np.float64), len(self._kernel.theta), len(evidences)
        if theta.shape not in ((p,), (n * p,)) or not np.all(np.isfinite(theta)):
            raise ValueError(
                f"theta has shape {theta.shape}; wanted {p} finite numbers"
                + (f", or {n * p}" if n > 1 else "")
            )
        each = np.broadcast_to(theta.reshape(-1, p) if p else theta, (n, p))
        if not clone_kernel:
            self.kernel_.theta = each.ravel()
        with single_threaded_blas():
            found = [e.fine(t, slope=eval_gradient) for e, t in zip(evidences, each)]
            value = np.mean([one.value for one in found])  # a NumPy number, as scikit-learn's
            if not eval_gradient:
                return value
            slopes = np.stack([e.gradient(t, a) for e, t, a in zip(evidences, each, found)])
        return value, (slopes.mean(axis=0) if len(theta) == p else slopes.ravel() / n)


def _joined(histories: list[dict[str, Array]]) -> dict[str, Array]:
    """One history of several searches; NaN where one of them has no such column."""
    names = dict.fromkeys(name for history in histories for name in history)
    return {
        name: np.concatenate([h.get(name, np.full(len(h["elbo"]), np.nan)) for h in histories])
        for name in names
    }
