"""What a fitted autoencoder says about rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.autoencoder import evaluation
from fastvi.models.autoencoder.collapse import ACTIVE, Collapse, Latents
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.ratio_check import RatioCheck
from fastvi.models.autoencoder.rows import Rows, rows_of
from fastvi.models.kinds import MeanScore, Unsupervised

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["AutoencoderPredictions"]


def _has_parts(estimator: Any) -> bool:
    return bool(estimator.prior == "structured")


class AutoencoderPredictions(
    MeanScore, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Unsupervised
):
    """The part of the estimator that uses a fitted autoencoder without changing it."""

    n_components: int
    likelihood: str
    prior: str
    noise: str | float
    _model: Autoencoder
    _params: Single
    _noise_seed: int
    _latents: Latents
    _ratio_check: RatioCheck | None
    family: str

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.likelihood in ("bernoulli", "poisson", "multinomial")
        tags.input_tags.positive_only = self.likelihood != "gaussian"
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self._model.n_latent

    def _checked(self, X: RowsLike, reset: bool) -> Any:
        """Check X, dense or CSR."""
        checks.nothing_masked(X)
        is_sparse = self.likelihood in ("bernoulli", "poisson", "multinomial")
        X = validate_data(
            self, X, reset=reset, accept_sparse="csr" if is_sparse else False,
            dtype=[np.float64, np.float32],
        )  # fmt: skip
        return X if hasattr(X, "indptr") else np.ascontiguousarray(X)

    def _rows(self, X: RowsLike) -> tuple[Rows, Any]:
        """Return new rows, and the dtype of what is found for them."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return rows_of(self._model.frame, X), X.dtype

    @property
    def latent_variances_(self) -> Array:
        """Variances over the rows of the fit of posterior means, (n_components,)."""
        return np.asarray(self._attribute("latent_variances_").variances)

    def _attribute(self, name: str) -> Latents:
        if "_latents" not in vars(self):
            raise AttributeError(f"{name} is available only after fit")
        return self._latents

    @property
    def posterior_collapse_(self) -> Collapse:
        """Which latent variables are not in use, and why; see `Collapse`."""
        latents = self._attribute("posterior_collapse_")
        return Collapse.of(latents, self._model, self._params, self._n_threads)

    @property
    def active_units_(self) -> int:
        """Number of latent variables whose posterior means vary by more than 0.01 (Burda et al.
        2016).
        """
        return int(np.sum(self._attribute("active_units_").variances > ACTIVE))

    @property
    def latent_mixture_(self) -> tuple[Array, Array, Array]:
        """Weights (n_parts,), means (n_parts, n_components) and covariances (n_parts,
        n_components, n_components) of the parts of a structured prior.
        """
        self._attribute("latent_mixture_")
        if self.prior != "structured":
            raise AttributeError("latent_mixture_ is there for prior='structured'")
        found: tuple[Array, Array, Array] = cast(Any, self._model).mixture_of(self._params)
        return found

    @property
    def ratio_check_(self) -> RatioCheck:
        """Whether the bound of ``family="implicit"`` can be trusted; see `RatioCheck`."""
        self._attribute("ratio_check_")
        if self._ratio_check is None:
            raise AttributeError("ratio_check_ is there for family='implicit'")
        return self._ratio_check

    @property
    def noise_sd_(self) -> Any:
        """Standard deviation of Gaussian noise in the units of X: a number, or (n_features,)."""
        self._attribute("noise_sd_")
        frame = self._model.frame
        if frame.likelihood != "gaussian" or self.noise == "network":
            raise AttributeError("noise_sd_ is there for Gaussian noise that no network finds")
        found = evaluation.noise_sd(self._model, self._params)
        return float(found) if found.ndim == 0 else found

    def _take(self, model: Autoencoder, params: Single, rows: Rows, seed: int) -> None:
        """Keep what was found."""
        self._model, self._params, self._noise_seed = model, params, seed
        found = evaluation.posteriors(model, params, rows, self._n_threads)
        self._latents = Latents.of(found)
        self._ratio_check = None
        if self.family == "implicit":
            self._ratio_check = RatioCheck.of(cast(Any, model), params, rows, seed)

    def _held_out(
        self, model: Autoencoder, X_val: RowsLike, n_draws: int, seed: int
    ) -> Callable[[Single], float]:
        rows, n_threads = rows_of(model.frame, self._checked(X_val, reset=False), "X_val"), 1

        def score(params: Single) -> float:
            return float(evaluation.bounds(model, params, rows, n_draws, seed, n_threads).mean())

        return score

    def transform(self, X: RowsLike) -> AnyArray:
        """Posterior means of the latent variables of rows, (n_rows, n_components); see `posterior`.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        """
        rows, dtype = self._rows(X)
        found = evaluation.posteriors(self._model, self._params, rows, self._n_threads)
        return np.asarray(found[:, : self._model.n_latent], dtype)

    def posterior(self, X: RowsLike) -> tuple[AnyArray, AnyArray]:
        """Means and standard deviations of the posteriors of rows, (n_rows, n_components) each.

        Those of flows are estimated by 64 draws, the same for all rows.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        """
        rows, dtype = self._rows(X)
        found = evaluation.posteriors(self._model, self._params, rows, self._n_threads)
        means, log_sd = np.split(found.astype(dtype), 2, axis=1)
        return means, np.exp(log_sd)

    @available_if(_has_parts)  # type: ignore[untyped-decorator]
    def parts(self, X: RowsLike) -> AnyArray:
        """Chances that rows come from the parts of the prior (n_rows, n_parts), of
        ``prior="structured"``.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        """
        rows, dtype = self._rows(X)
        return evaluation.shares(self._model, self._params, rows, self._n_threads).astype(dtype)

    def sample_posterior(self, X: RowsLike, *, n_draws: int = 50) -> AnyArray:
        """Draw latent variables of rows (n_rows, n_components), closer to their posterior than what
        the encoder makes: one of `n_draws` draws from it, chosen by its importance weight.

        The draws' moments approach those of the posterior as 1 / n_draws (Cremer, Morris and
        Duvenaud 2017, "Reinterpreting importance-weighted autoencoders").

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        n_draws : int
        """
        rows, dtype = self._rows(X)
        n_draws, seed = checks.integer(n_draws, "n_draws", 1), checks.seed_of(self._random())
        found = evaluation.resampled(
            self._model, self._params, rows, n_draws, seed, self._n_threads
        )
        return np.asarray(found, dtype)

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Means of rows given latent variables, (n_rows, n_features).

        Those of ``likelihood="multinomial"`` are probabilities of columns; of
        ``likelihood="categorical"`` the likeliest level of each column is returned. With
        ``decoder="pixelcnn"`` the mean of a pixel is that given the means of those before it.

        Parameters
        ----------
        X : (n_rows, n_components) array
            As from `transform`.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != self._model.n_latent:
            raise ValueError(f"X has {X.shape[1]} columns; wanted {self._model.n_latent}")
        outputs = evaluation.decoded(self._model, self._params, X, self._n_threads)
        return evaluation.means_of(self._model, outputs).astype(X.dtype)

    def reconstruct(self, X: RowsLike) -> AnyArray:
        """Means of rows at the posterior means of their latent variables, (n_rows, n_features).

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        """
        return self.inverse_transform(self.transform(X))

    def sample(self, n_samples: int = 1) -> tuple[AnyArray, AnyArray]:
        """Draw rows (n_samples, n_features) from the model; return them and their latent variables.

        Parameters
        ----------
        n_samples : int

        Raises
        ------
        ValueError
            If `n_samples` is below 1.
        """
        check_is_fitted(self)
        n_samples = checks.integer(n_samples, "n_samples", 1)
        rng = self._random()
        Z = self._model.prior_draws(self._params, n_samples, rng)
        return evaluation.simulated(self._model, self._params, Z, rng, self._n_threads), Z

    def score_samples(self, X: RowsLike, *, n_draws: int = 100) -> Array:
        """Log probability of rows (n_rows,) by importance sampling from their posteriors, in nats.

        In expectation this is a lower bound, which rises with `n_draws` (Burda et al. 2016,
        theorem 1). The draws of a row depend on the row and on the seed of the fit alone.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        n_draws : int
            Draws per row.
        """
        rows, _ = self._rows(X)
        n_draws = checks.integer(n_draws, "n_draws", 1)
        return evaluation.log_weights(
            self._model, self._params, rows, n_draws, self._noise_seed, self._n_threads
        )

    def elbo_samples(self, X: RowsLike, *, n_draws: int = 1) -> Array:
        """Evidence lower bounds of rows (n_rows,), in nats.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        n_draws : int
            Draws per row, by which the likelihood is averaged.
        """
        rows, _ = self._rows(X)
        n_draws = checks.integer(n_draws, "n_draws", 1)
        return evaluation.bounds(
            self._model, self._params, rows, n_draws, self._noise_seed, self._n_threads
        )
