"""Latent binary features as a scikit-learn estimator."""

from __future__ import annotations

from typing import Self

import numpy as np

from fastvi import optimizers
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, DTypeLike, RandomState, RowsLike
from fastvi.batches import InMemory
from fastvi.checkpoints import Watching
from fastvi.cluster.active import active
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.features.model import BetaBernoulli, Parameters
from fastvi.models.features.priors import PRIORS
from fastvi.models.features.pruning import pruning
from fastvi.models.features.rows import rows_of
from fastvi.models.features.start import best_start, centred, scaled_to, with_variances
from fastvi.models.features.stream import FeatureStream
from fastvi.models.files import Saved
from fastvi.models.plan import NEEDS_ONE_RATE

__all__ = ["BetaBernoulliFeatures"]

LIKELIHOODS = ("gaussian", "bernoulli")


class BetaBernoulliFeatures(FeatureStream):
    """Latent binary features, of which a row may have any number (the Indian buffet process).

    ``x_n = z_n A + noise`` with Gaussian images A of the features, or x_n binary with log odds
    ``z_n A``. Row n has feature k, ``z_nk = 1``, with probability pi_k. A mixture gives each row
    one component, and factor analysis gives it some amount of every factor; here features are
    present or absent, in any combination. The number of features comes from the data: the fit
    begins with `n_components` and takes out those without which the bound is larger.

    The posterior of Z, pi and A is approximated by q(Z) q(pi) q(A) (Doshi-Velez, Miller, Van Gael
    and Teh 2009, "Variational inference for the Indian buffet process"), with q(A) joint over the
    features, by coordinate ascent over all rows, in which the bound never falls except by rounding,
    or by mini-batches.
    Results have the same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Largest number of features.
    alpha : float, default=1.0
        The expected number of features of a row is about alpha before data are seen.
    prior : {{"finite", "sticks"}}, default="finite"
        ``"finite"``: pi_k ~ Beta(alpha / n_components, 1), independently. ``"sticks"``: pi_k is the
        product of the first k of n_components numbers from Beta(alpha, 1), with a looser bound.
    likelihood : {{"gaussian", "bernoulli"}}, default="gaussian"
        ``"bernoulli"`` is for data of 0 and 1, with the bound of Jaakkola and Jordan (2000).
    fit_intercept : bool, default=False
        Whether rows have an intercept besides their features.
    noise_variance : float, optional
        Variance of the noise; by default it is learned. Not for binary data.
    feature_variance : float, optional
        Prior variance of the images' entries; by default it is learned.
    structured : bool, default=False
        Fit rows given draws of pi and A instead of their expectations (structured stochastic
        inference, Hoffman and Blei 2015), for mini-batches.
    n_init : int, default=5
        Random starts, some of them annealed, of which the one with the largest bound is continued.
        They use at most 2000 rows.
    tempering : {{None, "anneal", "variational"}}, default=None
        Begin each start with 120 passes at temperatures of the likelihood that fall from 10, or
        that are inferred from the residuals (Mandt et al. 2016); for a known `noise_variance`. A
        learned one falls with the residuals by itself.
    max_iter : int, default=500
        Largest number of passes over the rows.
    tol : float, default=1e-6
        Without `batch_size` the fit ends when the bound rises by less than this in a pass, in nats
        per row, and no feature can be taken out.
    {toolbox}
    total_samples : float, optional
        Number of rows that `partial_fit` represents; by default those it has seen.
    random_state : int, RandomState, Generator or None, default=None
        Seed of starts, of mini-batches and of `sample`.
    {running}

    Attributes
    ----------
    n_components_ : int
        Number of features that were not taken out, at least 1.
    components_ : (n_components_, n_features) array
        Posterior means of their images, the most common feature first.
    usage_ : (n_components_,) array
        Posterior means of the shares of rows with each feature.
    intercept_ : (n_features,) array
        Posterior mean of the intercept; 0 without `fit_intercept`.
    noise_variance_ : float
        Variance of the noise; 1 for binary data, which does not use it.
    feature_variance_ : float
        Prior variance of the images' entries.
    {found_by_steps}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import BetaBernoulliFeatures
    >>> rng = np.random.default_rng(0)
    >>> images = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]])
    >>> X = rng.integers(2, size=(200, 3)) @ images + 0.1 * rng.normal(size=(200, 6))
    >>> model = BetaBernoulliFeatures(random_state=0).fit(X)
    >>> model.n_components_
    3
    """

    _over_shards = True

    def __init__(
        self,
        n_components: int = 10,
        *,
        alpha: float = 1.0,
        prior: str = "finite",
        likelihood: str = "gaussian",
        fit_intercept: bool = False,
        noise_variance: float | None = None,
        feature_variance: float | None = None,
        structured: bool = False,
        n_init: int = 5,
        tempering: str | None = None,
        max_iter: int = 500,
        tol: float = 1e-6,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        total_samples: float | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.alpha = alpha
        self.prior = prior
        self.likelihood = likelihood
        self.fit_intercept = fit_intercept
        self.noise_variance = noise_variance
        self.feature_variance = feature_variance
        self.structured = structured
        self.n_init = n_init
        self.tempering = tempering
        self.total_samples = total_samples

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        X = self._to_fit(X)
        tol = checks.number(self.tol, "tol", 0.0) * len(X)
        centre = self._frame(X) if last is None else last._centre
        if active() is not None and self.batch_size is None:
            raise ValueError(
                "coordinate ascent goes on from the probabilities of each row, which are not kept "
                "on shards; wanted batch_size inside of fastvi.distributed"
            )
        model = self._make_model(X.shape[1], bool(np.isnan(X).any()))
        rows, rng = rows_of(X, centre), self._random()
        if last is not None:
            last._check_form(model, "warm_start")
            params = with_variances(scaled_to(last._params, len(X)), self._given_variances())
        else:
            n_init = checks.integer(self.n_init, "n_init", 1)
            starts = np.random.default_rng(checks.seed_of(rng))
            with single_threaded_blas():
                params = best_start(
                    model, rows, n_init, starts, self._given_variances(), self._tempering()
                )
        fitted = self._ascend(
            model,
            InMemory(rows),
            params,
            watching,
            data=(X,),
            held_out=None if X_val is None else self._held_out(model, X_val, centre),
            tol=tol,
            seed=self._seed(watching, rng),
            last=last,
            ascent=lambda model, noise: pruning(model, tol=tol, noise=noise),
        )
        self._take(model, fitted.params, centre, X.dtype)
        self.n_batch_iter_, self._n_seen = len(fitted.history["epoch"]), len(X)
        self._is_stream = False
        self._warn_unless_converged(fitted)

    def _to_fit(self, X: RowsLike, reset: bool = True) -> AnyArray:
        likelihood = checks.choice(self.likelihood, "likelihood", LIKELIHOODS)
        X = self._given(X, likelihood == "bernoulli", reset=reset)
        known = X[~np.isnan(X)]
        if not known.size:
            raise ValueError("X holds only NaN; wanted some values that are not missing")
        checks.rows_to_fit(known[None])
        return X

    def _frame(self, X: AnyArray) -> Array:
        """Return what is taken from columns: 1/2 if binary, means if there is an intercept."""
        if self.likelihood == "bernoulli":
            return np.full(X.shape[1], 0.5)
        return centred(X) if self.fit_intercept else np.zeros(X.shape[1])

    def _given_variances(self) -> tuple[float | None, float | None]:
        """Return the variances of noise and images, if they are not learned."""
        names = ("noise_variance", "feature_variance")
        given = ((name, getattr(self, name)) for name in names)
        noise, variance = (
            None if value is None else checks.number(value, name, 0.0, open_low=True)
            for name, value in given
        )
        if noise is not None and self.likelihood == "bernoulli":
            raise ValueError(f"noise_variance is {noise:g}; wanted None for likelihood='bernoulli'")
        return noise, variance

    def _make_model(self, n_features: int, missing: bool) -> BetaBernoulli:
        k = checks.integer(self.n_components, "n_components", 1)
        alpha = checks.number(self.alpha, "alpha", 0.0, open_low=True)
        prior = PRIORS[checks.choice(self.prior, "prior", tuple(PRIORS))]
        structured = checks.flag(self.structured, "structured")
        if structured and self.batch_size is None:
            raise ValueError("structured=True needs batch_size: steps from draws are for batches")
        chosen = optimizers.chosen(self.optimizer)
        if chosen is not None and not chosen.convex:
            raise ValueError(f"optimizer={self.optimizer!r}: the model {NEEDS_ONE_RATE}")
        noise, variance = self._given_variances()
        return BetaBernoulli(
            k,
            n_features,
            prior(alpha, k),
            binary=self.likelihood == "bernoulli",
            intercept=checks.flag(self.fit_intercept, "fit_intercept"),
            missing=missing,
            structured=structured,
            learn=(noise is None, variance is None),
            n_threads=self._n_threads,
        )

    def _check_form(self, model: BetaBernoulli, what: str) -> None:
        """Refuse to continue with a model whose parameters have another form."""
        names = {
            "n_features": "n_components", "width": "the number of columns", "binary": "binary",
            "intercept": "fit_intercept", "each": "whether values may be missing",
        }  # fmt: skip
        for attribute, name in names.items():
            here, there = getattr(self._model, attribute), getattr(model, attribute)
            if here != there:
                raise ValueError(
                    f"{what} continues from features of another form ({name} was {here} and is "
                    f"{there}); wanted the same data and parameters, or a new fit"
                )

    def _take(
        self, model: BetaBernoulli, params: Parameters, centre: Array, dtype: DTypeLike
    ) -> None:
        """Keep the posterior, with the most common features first."""
        self._model, self._params, self._centre, self._dtype = model, params, centre, dtype
        found = model.found(params)
        free = found.used[found.used < model.n_features]
        order = np.argsort(-params.usage[free], kind="stable")
        self._order = free[order]
        self.n_components_ = len(order)
        self.components_ = found.means[order].astype(dtype)
        self.usage_ = model.shares.means(found.betas)[self._order]
        intercept = np.zeros(model.width) if model.binary else centre
        if model.intercept:
            intercept = intercept + found.means[-1]
        self.intercept_ = intercept.astype(dtype)
        self.noise_variance_ = float(found.noise)
        self.feature_variance_ = float(found.variances[0])

    def _saved(self) -> dict[str, object]:
        return {
            "found": self._params,
            "centre": self._centre,
            "dtype": np.dtype(self._dtype).name,
            "missing": self._model.each,
            "n_seen": self._n_seen,
            "is_stream": self._is_stream,
        }

    def _restore(self, saved: Saved) -> None:
        d = saved.n_features
        checks.choice(self.likelihood, "likelihood", LIKELIHOODS)
        k = checks.integer(self.n_components, "n_components", 1)
        centre, _ = saved.array("centre", d), saved.array("found.usage", k)
        model = self._make_model(d, checks.flag(saved.values["missing"], "missing"))
        params: Parameters = saved.tree("found", model.prior)
        for name in ("n_rows", "n_values", "betas", "noise", "variances"):
            if np.any(getattr(params, name) <= 0):
                raise ValueError(f"{saved.path}: found.{name} must hold numbers > 0")
        if np.any(params.usage < 0) or not np.any(params.usage > 0):
            raise ValueError(f"{saved.path}: found.usage must hold numbers >= 0, some above 0")
        self._n_seen = checks.integer(saved.values["n_seen"], f"{saved.path}: n_seen", 0)
        self._is_stream = checks.flag(saved.values["is_stream"], f"{saved.path}: is_stream")
        self._take(model, params, centre, saved.dtype())
