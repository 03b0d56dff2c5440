"""Bayesian PCA and factor analysis as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, DTypeLike, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.kernels.factors import column_squares
from fastvi.models.factors.documentation import TEXTS
from fastvi.models.factors.model import Factors, Gaussian, Hyperparameters, Loadings
from fastvi.models.factors.rows import StandardRows
from fastvi.models.factors.start import drawn, few_rows, near_pca
from fastvi.models.files import Saved
from fastvi.models.kinds import MeanScore, Unsupervised

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["BayesianFactorAnalysis", "BayesianPCA"]


class _BayesianFactors(
    MeanScore, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Unsupervised
):  # fmt: skip
    """Base of the two models, which differ in noise, units and the form of results."""

    _over_shards = True

    _per_feature: bool
    _texts = TEXTS
    components_: AnyArray

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha_1: float = 1e-6,
        alpha_2: float = 1e-6,
        lambda_1: float = 1e-6,
        lambda_2: float = 1e-6,
        mean_precision: float = 1e-6,
        max_iter: int = 2000,
        tol: float = 1e-6,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.alpha_1 = alpha_1
        self.alpha_2 = alpha_2
        self.lambda_1 = lambda_1
        self.lambda_2 = lambda_2
        self.mean_precision = mean_precision

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # Fitting

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        X = self._array(X, ensure_min_samples=2)
        tol = checks.number(self.tol, "tol", 0.0)
        trace_noise = checks.flag(self.trace_noise, "trace_noise")
        seed = self._seed(watching)
        goes_on = last is not None and len(last._centre) == X.shape[1]  # others are refused below
        checks.rows_to_fit(X, *((last._centre, 1.0 / last._factor) if last and goes_on else ()))
        source = StandardRows(X, *((last._centre, last._factor) if last else self._units(X)))
        model = self._make_model(source)
        params = last._go_on(model) if last else None
        with single_threaded_blas():
            compress = self.batch_size is None
            rows = few_rows(source, model.n_threads, not trace_noise) if compress else source
            if params is None:
                sample, count = (rows.all(), len(X)) if compress else drawn(source, model, seed)
                params = near_pca(model, sample, count, len(X))
        fitted = self._ascend(
            model,
            rows,
            params,
            watching,
            data=(X,),
            held_out=None if X_val is None else self._held_out(model, source, X_val),
            tol=tol * len(X),
            seed=seed,
            last=last,
        )
        self._take(model, source.centre, source.factor, fitted.params, X.dtype)
        self._warn_unless_converged(fitted)

    def _go_on(self, model: Factors) -> Loadings:
        """Return a copy of the parameters, if they belong to a model of this form."""
        (n_features, width), (k, d) = self._params.cross.shape, (model.n_factors, model.n_features)
        if (n_features, width) != (d, k + 1):
            raise ValueError(
                f"warm_start continues from {n_features} features and {width - 1} components; X "
                f"and the parameters ask for {d} and {k}"
            )
        return Loadings(*(part.copy() for part in self._params))

    def _units(self, X: AnyArray) -> tuple[Array, Array]:
        """Return means and inverse standard deviations, (n_features,) each."""
        centre, squares = X.mean(axis=0, dtype=np.float64), np.zeros(X.shape[1])
        column_squares(X, centre, squares)
        variances = squares / len(X)
        rounding = np.square(np.finfo(X.dtype).eps * centre) * len(X)
        variances[variances <= rounding] = 0.0  # constant columns
        if not self._per_feature:
            variances[:] = variances.mean()
        deviations = np.sqrt(variances)
        return centre, 1.0 / np.where(deviations > np.finfo(float).tiny, deviations, 1.0)

    def _make_model(self, source: StandardRows) -> Factors:
        n_features = source.width - 1
        n_factors = max(min(source.n_rows, n_features) - 1, 1)
        if self.n_components is not None:
            n_factors = checks.integer(self.n_components, "n_components", 1, n_features)
        return self._model_of(n_features, n_factors, source.factor)

    def _model_of(self, n_features: int, n_factors: int, factor: Array) -> Factors:
        hyper = [
            checks.number(getattr(self, name), name, 0.0, open_low=True)
            for name in ("alpha_1", "alpha_2", "lambda_1", "lambda_2", "mean_precision")
        ]
        return Factors(
            n_features,
            n_factors,
            per_feature=self._per_feature,
            hyper=Hyperparameters(*hyper),
            log_volume=float(np.log(factor).sum()),
            n_threads=self._n_threads,
        )

    def _take(
        self,
        model: Factors,
        centre: Array,
        factor: Array,
        params: Loadings,
        dtype: DTypeLike,
    ) -> None:
        """Keep the posterior in the units of X, with factors of large loadings first."""
        self._model, self._params = model, params
        self._centre, self._factor = centre, factor
        q = model.posterior(params)
        k, unit = model.n_factors, 1.0 / factor
        kept = np.square(q.mean[:, :k]).sum(axis=0)
        order = np.argsort(-kept, kind="stable")
        self._mean = centre + unit * q.mean[:, k]
        loadings = unit[:, None] * q.mean[:, order]
        self._noise = np.square(unit) / q.noise_precisions
        self._density = _density(model, params)
        self._log_volume = model.log_volume
        self.mean_ = self._mean.astype(dtype)
        self.lambda_ = (model.factor_shape / q.factor_rates)[order].astype(dtype)
        self.n_relevant_ = int(np.sum(kept > 0.5 * q.squares[:k]))
        self._take_components(loadings, q.encoder[:, order], dtype)

    def _saved(self) -> dict[str, object]:
        dtype = self.mean_.dtype.name
        return {
            "loadings": self._params, "centre": self._centre, "factor": self._factor, "dtype": dtype
        }  # fmt: skip

    def _restore(self, saved: Saved) -> None:
        d = saved.n_features
        centre, factor = saved.array("centre", d), saved.positive("factor", d)
        k = len(saved.positive("loadings.factor_rates", None))
        for name in ("n_rows", "noise_rates"):
            saved.positive(f"loadings.{name}", None)
        model = self._model_of(d, k, factor)
        params = saved.tree("loadings", model.prior)
        self._take(model, centre, factor, params, saved.dtype())

    def _take_components(self, loadings: Array, encoder: Array, dtype: DTypeLike) -> None:
        raise NotImplementedError

    def _held_out(
        self, model: Factors, source: StandardRows, X_val: RowsLike
    ) -> Callable[[Loadings], float]:
        rows = self._as_rows(X_val, source.centre, source.factor)

        def score(params: Loadings) -> float:
            densities = _log_densities(rows, _density(model, params), model.n_threads)
            return float(densities.mean()) + model.log_volume

        return score

    # Results

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _rows(self, X: RowsLike) -> StandardRows:
        check_is_fitted(self)
        return self._as_rows(X, self._centre, self._factor)

    def _as_rows(self, X: RowsLike, centre: Array, factor: Array) -> StandardRows:
        X = self._array(X, reset=False)
        checks.new_rows(X, centre, 1.0 / factor)
        return StandardRows(X, centre, factor)

    def transform(self, X: RowsLike) -> AnyArray:
        """Posterior means of the components of rows, (n_rows, n_components).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        rows = self._rows(X)
        out = np.empty((rows.n_rows, len(self.components_)), rows.x.dtype)
        with single_threaded_blas():
            rows.map(lambda block: block @ self._encoder, out, self._n_threads)
        return out

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Return noise-free rows, (n_rows, n_features), for given components.

        Parameters
        ----------
        X : (n_rows, n_components) array
            As from `transform`.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != len(self.components_):
            raise ValueError(f"X has {X.shape[1]} columns; wanted {len(self.components_)}")
        return np.asarray(X @ self.components_.astype(X.dtype) + self._mean.astype(X.dtype))

    def score_samples(self, X: RowsLike) -> Array:
        """Log density of rows at the posterior means of loadings, mean and noise, (n_rows,), in
        nats.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        rows = self._rows(X)
        return _log_densities(rows, self._density, self._n_threads) + self._log_volume

    def get_covariance(self) -> AnyArray:
        """Covariance of rows at the posterior means, (n_features, n_features)."""
        check_is_fitted(self)
        unit = 1.0 / self._factor
        result = unit[:, None] * self._density.covariance() * unit
        return np.asarray(result.astype(self.mean_.dtype))

    def get_precision(self) -> AnyArray:
        """Inverse of `get_covariance`, (n_features, n_features)."""
        check_is_fitted(self)
        factor = self._factor
        result = factor[:, None] * self._density.precision() * factor
        return np.asarray(result.astype(self.mean_.dtype))


def _density(model: Factors, params: Loadings) -> Gaussian:
    """Density of rows in the model's units, at the posterior means."""
    q, k = model.posterior(params), model.n_factors
    noise = np.broadcast_to(1.0 / q.noise_precisions, len(q.mean))
    return Gaussian(q.mean[:, k], q.mean[:, :k], noise)


def _log_densities(rows: StandardRows, density: Gaussian, n_threads: int) -> Array:
    out = np.empty(rows.n_rows)
    with single_threaded_blas():
        rows.map(lambda block: density.log_density(block[:, :-1]), out, n_threads)
    return out


class BayesianPCA(_BayesianFactors):
    """Probabilistic PCA that finds the number of components.

    ``x = W z + mean + noise`` with z standard normal and the same noise variance for all features.
    The columns of W are Gaussian, each with a learned precision (ARD), which switches off columns
    that the data do not support (Bishop 1999, "Variational principal components"). The model is
    fitted by closed-form updates over all rows, in which the bound never falls except by rounding
    (of float64, for any dtype of X), or by mini-batches. Results have the same bits for any
    `n_jobs`.

    Priors apply to centred data, divided by the root mean variance of the columns, so that results
    follow the units of X.

    Parameters
    ----------
    {factors}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Orthonormal axes of the loadings, those of large variance first, as in scikit-learn's PCA.
    explained_variance_ : (n_components,) array
        Variance of rows along them, including noise; about `noise_variance_` for those that were
        switched off.
    explained_variance_ratio_ : (n_components,) array
        The same as a share of the total variance of the model.
    noise_variance_ : float
        Inverse of the posterior mean of the noise precision.
    {found_factors}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BayesianPCA
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(500, 10))
    >>> BayesianPCA().fit(X).n_relevant_
    2
    """

    _per_feature = False

    def _take_components(self, loadings: Array, encoder: Array, dtype: DTypeLike) -> None:
        axes, deviations, _ = np.linalg.svd(loadings, full_matrices=False)
        axes = axes * _signs(axes)
        noise = float(self._noise[0])
        variances = np.square(deviations) + noise
        whole = np.square(deviations).sum() + noise * len(loadings)
        self._encoder = encoder @ (loadings.T @ axes)
        self.components_ = np.ascontiguousarray(axes.T).astype(dtype)
        self.explained_variance_ = variances.astype(dtype)
        self.explained_variance_ratio_ = (variances / whole).astype(dtype)
        self.noise_variance_ = noise


class BayesianFactorAnalysis(_BayesianFactors):
    """Factor analysis that finds the number of factors.

    ``x = W z + mean + noise`` with z standard normal and one noise variance per feature. The
    columns of W are Gaussian, each with a learned precision (ARD), which switches off columns that
    the data do not support (Bishop 1999, "Variational principal components", which has a single
    noise variance; Ghahramani and Beal 2000, "Variational inference for Bayesian mixtures of factor
    analysers"). The model is fitted by closed-form updates over all rows, in which the bound never
    falls except by rounding (of float64, for any dtype of X), or by mini-batches. Results have the
    same bits for any `n_jobs`.

    Priors apply to standardised columns, so that results follow the units of every column.

    Parameters
    ----------
    {factors}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Posterior means of the loadings, large ones first, as in scikit-learn's FactorAnalysis.
    noise_variance_ : (n_features,) array
        Inverses of the posterior means of the noise precisions.
    {found_factors}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BayesianFactorAnalysis
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10))
    >>> X += np.linspace(0.1, 1, 10) * rng.normal(size=X.shape)
    >>> BayesianFactorAnalysis().fit(X).n_relevant_
    2
    """

    _per_feature = True

    def _take_components(self, loadings: Array, encoder: Array, dtype: DTypeLike) -> None:
        signs = _signs(loadings)
        self._encoder = encoder * signs
        self.components_ = np.ascontiguousarray((loadings * signs).T).astype(dtype)
        self.noise_variance_ = self._noise.astype(dtype)


def _signs(columns: Array) -> Array:
    """Signs of the largest entry of each column."""
    largest = np.abs(columns).argmax(axis=0)
    return np.where(columns[largest, np.arange(columns.shape[1])] < 0, -1.0, 1.0)
