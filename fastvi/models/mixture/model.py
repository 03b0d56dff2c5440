"""The Gaussian mixture without scikit-learn: the conjugate model and its predictions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaln, digamma, gammaln

from fastvi.base.typing import AnyArray, Array, DTypeLike
from fastvi.batches import InMemory, Part
from fastvi.cluster.remote import array_part
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.mixture.coordinates import mixture_coordinates
from fastvi.models.mixture.rows import Coefficients, Frame, RowTasks, Sums, by_roots
from fastvi.models.mixture.shapes import Inverse, make_shape

__all__ = ["Mixture", "Parameters", "Posterior", "Prior", "RowsInMemory"]

LOSS = 1e-2  # nats that rounding may cost a logit before float32 rows are computed in float64


class Parameters(NamedTuple):
    """Natural parameters of the global factors, for K components of D features.

    There is one number of rows per component, from which weights, mean precisions and degrees of
    freedom differ by constants of the prior. `sums` are kappa m, and `squares` the packed inverse
    scale plus kappa m m', in the form of the covariance type.
    """

    counts: Array  # (K,)
    sums: Array  # (K, D)
    squares: Array  # (G, P)


class Prior(NamedTuple):
    """Priors of weights and components.

    Weights have a symmetric Dirichlet prior, or sticks Beta(1, concentration) of a Dirichlet
    process. Components have Lambda ~ Wishart(dof, scatter^-1), mu ~ N(mean, (mean_precision
    Lambda)^-1). `scatter` is (D, D) if covariances are full or tied, (D,) if diagonal, a number if
    spherical.
    """

    concentration: float
    process: bool
    mean_precision: float
    mean: Array
    dof: float
    scatter: Any


class Posterior(NamedTuple):
    """The factors of q in their usual parameters, in the coordinates of the model.

    They are kappa (K,), means (K, D), dof (G,), scatter (G, P) packed inverse scales, their
    inverses, and E[log pi] (K,).
    """

    kappa: Array
    means: Array
    dof: Array
    scatter: Array
    inverse: Inverse
    log_weights: Array


class RowsInMemory(InMemory):
    """Rows (n, D) in memory; `norms` bounds their statistics, for importance sampling."""

    def __init__(self, X: AnyArray, frame: Frame) -> None:
        super().__init__(X)
        self.frame = frame

    def likewise(self) -> Callable[[Any], Part]:
        """Return what makes a shard of rows of the same features."""
        d = self.rows.shape[1]
        return partial(array_part, n_features=d, dtype=self.rows.dtype, make=InMemory)

    @property
    def norms(self) -> Array:
        """Return 1 + |x|^2, a bound on the norm of (1, x, x x'), (n_rows,)."""
        x = (self.rows - self.frame.centre) / self.frame.scale
        return np.asarray(1.0 + np.einsum("ij,ij->i", x, x))


class Mixture:
    """The conjugate model of `fastvi.BayesianGaussianMixture`.

    Rows are Gaussian given their component, and each component has a Normal-Wishart prior (Bishop
    2006, section 10.2). The covariance type restricts the Wishart scales of the posterior to
    diagonal, spherical or common ones. The best restricted posterior averages the natural
    parameters of the unrestricted one, so all types share one bound and have exact updates.

    Parameters
    ----------
    prior : Prior
        In the coordinates of the data.
    frame : Frame
        Coordinates to compute in; one scale for all features if covariances are spherical.
    n_components : int
    covariance_type : {"full", "tied", "diag", "spherical"}
    reg_covar : float
        Added to the diagonal of each row's x x'.
    dtype : dtype
        float32 or float64, for computations with rows; parameters are float64.
    n_threads : int
        Threads to use; results do not depend on it.
    """

    def __init__(
        self,
        prior: Prior,
        frame: Frame,
        n_components: int,
        covariance_type: str,
        *,
        reg_covar: float = 0.0,
        dtype: DTypeLike = np.float64,
        n_threads: int = 1,
    ) -> None:
        d, scale = len(frame.centre), frame.scale
        self.hyper, self.frame = prior, frame
        self.n_components, self.n_features = n_components, d
        self.covariance_type, self.reg_covar = covariance_type, reg_covar
        self.dtype, self.n_threads = np.dtype(dtype), n_threads
        self.shape = make_shape(covariance_type, d, n_components)
        self.tied = covariance_type == "tied"
        self.by_roots = by_roots(covariance_type, d, n_components)
        units = {"diag": scale**2, "spherical": scale[0] ** 2}
        self.units = units.get(covariance_type, np.outer(scale, scale))  # of covariances
        self.mean = (prior.mean - frame.centre) / scale
        self.scatter = self.shape.pack(np.asarray(prior.scatter / self.units, np.float64))
        one = make_shape(covariance_type, d, 1)
        self.prior_log_det = float(one.invert(self.scatter.reshape(1, -1)).log_det[0])
        self.shift = np.zeros(len(self.shape.multiplicity))
        self.shift[self.shape.diagonal] = (reg_covar / scale**2)[: len(self.shape.diagonal)]
        nothing, means = np.zeros(n_components), np.tile(self.mean, (n_components, 1))
        self.prior = self.params_of(nothing, means, self.scatter)

    # From natural parameters

    def params_of(self, counts: Array, means: Array, scatter: Array) -> Parameters:
        """Return natural parameters from numbers of rows, means and packed inverse scales."""
        kappa = self.hyper.mean_precision + counts
        return Parameters(counts, kappa[:, None] * means, scatter + self.shape.outer(kappa, means))

    @property
    def coordinates(self) -> Coordinates:
        """See `mixture_coordinates`."""
        return mixture_coordinates(self)

    def posterior(self, params: Parameters) -> Posterior:
        """Return the factors of q in their usual parameters."""
        kappa = self.hyper.mean_precision + params.counts
        means = params.sums / kappa[:, None]
        counts = params.counts.mean(keepdims=True) if self.tied else params.counts
        scatter = self._scatter(params, kappa, means)
        inverse = self.shape.invert(scatter)
        log_weights = self._log_weights(params.counts)
        return Posterior(kappa, means, self.hyper.dof + counts, scatter, inverse, log_weights)

    def _scatter(self, params: Parameters, kappa: Array, means: Array) -> Array:
        """Packed inverse scales; variances lost to cancellation become those of the prior."""
        scatter = params.squares - self.shape.outer(kappa, means)
        rounding = 8 * np.finfo(np.float64).eps * np.abs(params.squares)
        lost = np.zeros(scatter.shape, bool)
        diagonal = self.shape.diagonal
        lost[:, diagonal] = scatter[:, diagonal] <= rounding[:, diagonal]
        return np.asarray(np.where(lost, self.scatter, scatter))

    def sticks(self, counts: Array) -> tuple[Array, Array]:
        """Beta parameters (K,) of the sticks (Blei and Jordan 2006, eq. 18, 19)."""
        after = np.append(np.cumsum(counts[:0:-1])[::-1], 0.0)
        return 1.0 + counts, self.hyper.concentration + after

    def _log_weights(self, counts: Array) -> Array:
        """E[log pi], (K,)."""
        if not self.hyper.process:
            alpha = self.hyper.concentration + counts
            return np.asarray(digamma(alpha) - digamma(alpha.sum()))
        a, b = self.sticks(counts)
        total = digamma(a + b)
        rest = np.cumsum(digamma(b) - total)
        return np.asarray(digamma(a) - total + np.append(0.0, rest[:-1]))

    def weights(self, counts: Array) -> Array:
        """E[pi], (K,); for a process their sum is below 1, by the rest of the last stick."""
        if not self.hyper.process:
            alpha = self.hyper.concentration + counts
            return np.asarray(alpha / alpha.sum())
        a, b = self.sticks(counts)
        return np.asarray(a / (a + b) * np.append(1.0, np.cumprod(b / (a + b))[:-1]))

    def expected_log_det(self, posterior: Posterior) -> Array:
        """E[log |Lambda|], Bishop (2006), eq. 10.65, (G,)."""
        half = 0.5 * (posterior.dof[:, None] - np.arange(self.n_features))
        return np.asarray(
            digamma(half).sum(axis=1) + self.n_features * np.log(2.0) - posterior.inverse.log_det
        )

    def coefficients(self, posterior: Posterior) -> Coefficients:
        """Coefficients of logits E[log pi_k + log N(x | mu_k, Lambda_k^-1)] in features."""
        dof, d = posterior.dof[:, None], self.n_features
        precision = dof * posterior.inverse.packed
        linear = self.shape.times(precision, posterior.means)
        constant = 0.5 * (
            self.expected_log_det(posterior) - d * np.log(2 * np.pi) - d / posterior.kappa
        )
        constant += posterior.log_weights - np.log(self.frame.scale).sum()
        roots = np.zeros((0, d, d + 1))
        if self.by_roots or self.tied:
            assert posterior.inverse.roots is not None
            root = np.sqrt(0.5 * dof)[:, :, None] * posterior.inverse.roots
            offset = np.zeros((len(root), d, 1))
            roots = np.concatenate((root, offset), axis=2)
        if self.by_roots:
            roots[:, :, -1:] = -np.matmul(root, posterior.means[:, :, None])
            return Coefficients(np.column_stack((np.zeros_like(linear), constant)), roots)
        constant -= 0.5 * np.einsum("kd,kd->k", linear, posterior.means)
        if self.tied:
            return Coefficients(np.column_stack((linear, constant)), roots)
        quadratic = -0.5 * precision * self.shape.multiplicity
        return Coefficients(np.column_stack((quadratic, linear, constant)), roots)

    def _dtype(self, posterior: Posterior) -> Any:
        """float64 if terms of a logit cancel so much that float32 would lose `LOSS` nats.

        Errors of terms are independent. If logits are sums of squares, only statistics cancel, over
        rows whose errors are also independent.
        """
        if self.dtype == np.float64:
            return self.dtype
        variances = posterior.scatter[:, self.shape.diagonal] / posterior.dof[:, None]
        reach = np.abs(posterior.means) + np.sqrt(variances)
        size = self.shape.outer(np.ones(len(reach)), reach) * (len(reach) if self.tied else 1)
        precision = np.abs(posterior.inverse.packed) * self.shape.multiplicity
        terms = np.square(posterior.dof[:, None] * precision * size).sum(axis=1)
        if self.tied or self.by_roots:
            terms /= np.maximum(posterior.dof, 1.0)
        lossy = np.sqrt(terms.max()) * np.finfo(self.dtype).eps > LOSS
        return np.dtype(np.float64) if lossy else self.dtype

    def covariances(self, posterior: Posterior) -> tuple[Array, Array, Array]:
        """Inverse scale divided by degrees of freedom, its inverse P, and an upper U with U U' = P.

        In the coordinates of the data and in the form of the covariance type.
        """
        dof, inverse, units = posterior.dof[:, None], posterior.inverse, self.units
        if inverse.roots is None:
            covariances = posterior.scatter / dof * units
            if self.covariance_type == "spherical":
                covariances = covariances[:, 0]
            return covariances, 1.0 / covariances, 1.0 / np.sqrt(covariances)
        covariances = self.shape.unpack(posterior.scatter / dof) * units
        upper = np.sqrt(posterior.dof)[:, None, None] * inverse.roots.transpose(0, 2, 1)
        upper = upper / self.frame.scale[:, None]
        precisions = self.shape.unpack(dof * inverse.packed) / units
        parts = covariances, precisions, upper
        if self.tied:
            parts = tuple(part[0] for part in parts)
        return parts

    # Passes over rows

    def _tasks(self, X: AnyArray, dtype: DTypeLike) -> RowTasks:
        return RowTasks(
            X, self.frame, self.covariance_type, self.n_components,
            dtype=dtype, n_threads=self.n_threads,
        )  # fmt: skip

    def local(
        self,
        params: Parameters,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Compute responsibilities and their sums; see `fastvi.core.Conjugate`.

        Component assignments are summed out in closed form; `Local.variables` is None.
        """
        posterior = self.posterior(params)
        blocks = self._tasks(batch.rows, self._dtype(posterior))
        lengths = np.empty(len(batch.rows)) if norms else None
        asked = None if lengths is None else (lengths, self.shift)
        sums = blocks.expect(self.coefficients(posterior), batch.weights, asked)
        statistics = self._statistics(sums, float(batch.weights.sum()))
        return Local(statistics, sums.bound, None, lengths)

    def gather(self, X: AnyArray, responsibilities: AnyArray) -> Parameters:
        """Return prior plus statistics of rows with given responsibilities (n, K) or labels (n,).

        Computed in float64, because rounding errors are not known yet.
        """
        blocks = self._tasks(X, np.float64)
        statistics = self._statistics(*blocks.gather(responsibilities))
        return Parameters(*(a + b for a, b in zip(self.prior, statistics)))

    def _statistics(self, sums: Sums, total: float) -> Parameters:
        n_quadratic = sums.features.shape[1] - self.n_features - 1
        counts = sums.features[:, -1].copy()
        linear = sums.features[:, n_quadratic:-1].copy()
        if self.tied:
            squares = (self.shape.pack(sums.products) + total * self.shift) / len(counts)
        elif self.by_roots:
            squares = self.shape.pack(sums.products) + counts[:, None] * self.shift
        else:
            squares = sums.features[:, :n_quadratic] + counts[:, None] * self.shift
        return Parameters(counts, linear, squares)

    def predict(self, params: Parameters, X: AnyArray, **wanted: AnyArray) -> None:
        """Write labels, log densities or responsibilities of rows, see `RowTasks.predict`."""
        posterior = self.posterior(params)
        blocks = self._tasks(X, np.result_type(self._dtype(posterior), X.dtype))
        blocks.predict(self.coefficients(posterior), **wanted)

    # The bound

    def global_bound(self, params: Parameters) -> float:
        """Minus the Kullback-Leibler divergence of q(pi, mu, Lambda) from the prior, in nats."""
        return -self._weights_divergence(params.counts) - self._components_divergence(
            self.posterior(params)
        )

    def _weights_divergence(self, counts: Array) -> float:
        prior = self.hyper.concentration
        if self.hyper.process:
            a, b = self.sticks(counts)
            total = digamma(a + b)
            moved = counts * (digamma(a) - total) + (b - prior) * (digamma(b) - total)
            return float(np.sum(moved - betaln(a, b) + betaln(1.0, prior)))
        alpha, k = prior + counts, len(counts)
        norm = gammaln(alpha.sum()) - gammaln(alpha).sum()
        norm -= gammaln(k * prior) - k * gammaln(prior)
        return float(norm + counts @ self._log_weights(counts))

    def _components_divergence(self, posterior: Posterior) -> float:
        """Divergence of all Normal-Wisharts; G matrices stand for K of them."""
        d, kappa0, dof0 = self.n_features, self.hyper.mean_precision, self.hyper.dof
        ratio, precision = kappa0 / posterior.kappa, posterior.inverse.packed
        away = posterior.means - self.mean
        moved = np.einsum("kd,kd->k", self.shape.times(precision, away), away)
        of_means = 0.5 * (d * (ratio - 1 - np.log(ratio)) + kappa0 * posterior.dof * moved)
        trace = (self.scatter * precision * self.shape.multiplicity).sum(axis=1)
        shifts = np.arange(d)
        halves = 0.5 * (posterior.dof[:, None] - shifts)
        of_matrices = (
            0.5 * dof0 * (posterior.inverse.log_det - self.prior_log_det)
            + gammaln(0.5 * (dof0 - shifts)).sum() - gammaln(halves).sum(axis=1)
            + 0.5 * (posterior.dof - dof0) * digamma(halves).sum(axis=1)
            + 0.5 * posterior.dof * (trace - d)
        )  # fmt: skip
        return float(np.sum(of_means + of_matrices))

    def confine(self, params: Parameters, step: Parameters) -> Parameters:
        """Return the step, halved for each component until counts and scatter keep a tenth."""
        k = self.n_components
        before = self._parts(params)
        factor = np.ones(k)
        for _ in range(60):
            after = self._parts(_moved(params, step, factor))
            bad = after[0] < 0.1 * before[0]
            bad |= ~self.shape.is_positive(after[1] - 0.1 * before[1])
            if self.tied:
                bad[:] = bad.any()
            if not bad.any():
                break
            factor[bad] *= 0.5
        else:
            factor[bad] = 0.0
        return _scaled(step, factor)

    def _parts(self, params: Parameters) -> tuple[Array, Array]:
        """Return counts, and unclipped packed inverse scales."""
        kappa = self.hyper.mean_precision + params.counts
        means = params.sums / kappa[:, None]
        return params.counts, params.squares - self.shape.outer(kappa, means)


def _scaled(step: Parameters, factor: Array) -> Parameters:
    return Parameters(
        factor * step.counts, factor[:, None] * step.sums,
        factor[: len(step.squares), None] * step.squares,
    )  # fmt: skip


def _moved(params: Parameters, step: Parameters, factor: Array) -> Parameters:
    return Parameters(*(a + b for a, b in zip(params, _scaled(step, factor))))
