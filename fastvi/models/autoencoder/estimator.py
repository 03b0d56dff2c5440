"""Variational autoencoders as a scikit-learn estimator."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.models.autoencoder.collapse import Latents
from fastvi.models.autoencoder.documentation import TEXTS
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.options import goal_of, likelihood_of, model_of
from fastvi.models.autoencoder.ratio_check import RatioCheck
from fastvi.models.autoencoder.rows import Frame, frame_of, rows_of
from fastvi.models.autoencoder.stream import AutoencoderStream
from fastvi.models.autoencoder.training import failure
from fastvi.models.files import Saved, decoded, encoded

__all__ = ["VariationalAutoencoder"]


class VariationalAutoencoder(AutoencoderStream):
    """Variational autoencoder: latent variables of rows, found by a network.

    Rows have latent variables z, standard normal or from a learned prior, of which a network, the
    decoder, makes the parameters of the row's distribution. The posterior of z is approximated by
    independent Gaussians, flows or categories, whose parameters another network, the encoder, makes
    of the row (Kingma and Welling 2014, "Auto-encoding variational Bayes"). Both are trained
    together by stochastic gradient ascent on a lower bound of log p(x), in float32. Results have
    the same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of latent variables.
    {likelihood}
    hidden_layer_sizes : sequence of int, default=(200, 200)
        Units of the encoder's hidden layers; the decoder has them in reverse order.
    activation : {{"softplus", "tanh", "relu", "elu", "none"}}, default="softplus"
    {kinds}
    {objective}
    {steps}
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start, of batches, of draws and of `sample`.
    warm_start : bool, default=False
        Start from the networks of the last fit.
    n_jobs : int, optional
        Threads for new rows; -1 for all cores, None for one. Steps take one.
    {verbose}

    Attributes
    ----------
    active_units_ : int
        Number of latent variables in use: those whose posterior means have a variance above 0.01
        over the rows of the fit (Burda et al. 2016).
    latent_variances_ : (n_components,) array
        These variances.
    latent_mixture_ : tuple of arrays
        Weights (n_parts,), means (n_parts, n_components) and covariances of the parts of
        ``prior="structured"``.
    posterior_collapse_ : Collapse
        A report on those that are not: ``causes``, ``information`` and ``effects``.
    ratio_check_ : RatioCheck
        Of ``family="implicit"``: whether the bound, which comes from an estimated ratio, agrees
        with what draws prove; ``verdict`` is "trusted" or "untrusted". If it is not trusted, `fit`
        warns.
    noise_sd_ : float or (n_features,) array
        Standard deviation of Gaussian noise, unless a network finds it.
    elbo_ : float
        The bound in the last pass, a mean over its steps, in nats of all rows.
    history_ : dict of str to array
        What each step reported: epoch, seconds, rate; `local_elbo`, the batch's bound scaled to all
        rows, in nats; `kl`, the divergence from the prior in nats per row; with `X_val`,
        `held_out`, its evidence lower bound in nats per row.
    {n_iter_}
    {best_iter_}
    {n_batch_iter_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import VariationalAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = np.tanh(rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10)))
    >>> X += 0.1 * rng.normal(size=X.shape)
    >>> model = VariationalAutoencoder(5, hidden_layer_sizes=(50,), random_state=0).fit(X)
    >>> Z = model.transform(X)
    >>> Z.shape, model.inverse_transform(Z).shape
    ((500, 5), (500, 10))
    """

    _shared = ("max_iter", "batch_size", "optimizer", "random_state", "warm_start", "n_jobs",
               "verbose")  # fmt: skip
    _texts = TEXTS

    def __init__(
        self,
        n_components: int = 10,
        *,
        likelihood: str = "gaussian",
        noise: str | float = "shared",
        hidden_layer_sizes: Sequence[int] = (200, 200),
        activation: str = "softplus",
        family: str = "gaussian",
        prior: str = "normal",
        decoder: str = "dense",
        n_parts: int = 10,
        image_shape: Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
        objective: str = "elbo",
        n_draws: int = 1,
        alpha: float = 0.5,
        kl: str = "plain",
        kl_warmup: float | None = None,
        free_bits: float | None = None,
        learning_rate: float = 1e-3,
        max_iter: int = 50,
        batch_size: int = 100,
        optimizer: Optimizer | str | float | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.likelihood = likelihood
        self.noise = noise
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.family = family
        self.prior = prior
        self.decoder = decoder
        self.n_parts = n_parts
        self.image_shape = image_shape
        self.options = options
        self.objective = objective
        self.n_draws = n_draws
        self.alpha = alpha
        self.kl = kl
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.learning_rate = learning_rate

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        given = self.get_params(deep=False)
        likelihood = likelihood_of(given)
        X = self._checked(X, reset=True)
        model = model_of(given, frame_of(likelihood, X) if last is None else last._model.frame)
        goal = goal_of(given, model, 1)
        rows, seed = rows_of(model.frame, X), self._seed(watching)
        if last is None:
            params = model.start(rows, np.random.default_rng(seed))
        else:
            self._check_form(last._model, model)
            params = last._params.copy()
        fitted = self._carry_out(
            self._plan(model, rows, seed),
            params,
            watching,
            data=_parts(X),
            held_out=None if X_val is None else self._held_out(model, X_val, goal.n_draws, seed),
            settled=lambda history: failure(history.columns) is not None,
            seed=seed,
            last=last,
        )
        del self.converged_
        ended = self._ended(model, fitted.history)
        if ended is not None and fitted.n_iter < 2:
            raise FloatingPointError(ended)
        if ended is not None:
            message = f"{ended}. The parameters after pass {fitted.n_iter - 1} are kept"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        self._take(model, fitted.params.copy(), rows, seed)
        if self._ratio_check is not None and not self._ratio_check.is_trusted:
            warnings.warn(str(self._ratio_check), RuntimeWarning, stacklevel=4)
        epoch, elbo = fitted.history["epoch"], fitted.history["local_elbo"]
        kept = epoch[fitted.row] - (ended is not None)
        self.elbo_ = float(elbo[epoch == kept].mean())
        self.n_batch_iter_ = len(epoch)

    def _check_form(self, before: Autoencoder, now: Autoencoder) -> None:
        name = now.form_differs(before)
        if name is not None:
            raise ValueError(
                f"warm_start continues from another model: {name} was different; wanted the same, "
                "or warm_start=False"
            )

    # Files

    @staticmethod
    def _encoded(name: str, value: Any) -> Any:
        return json.dumps(value) if name == "options" else encoded(name, value)

    @classmethod
    def _decoded(cls, name: str, value: Any, saved: Saved) -> Any:
        if name == "options":
            found = json.loads(value) or {}
            return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()} or None
        found = decoded(name, value, saved)
        is_sizes = name in ("hidden_layer_sizes", "image_shape") and found is not None
        return tuple(int(size) for size in found) if is_sizes else found

    def _saved(self) -> dict[str, object]:
        frame, check = self._model.frame, self._ratio_check
        checked = {} if check is None else {"ratio_check": np.array(check)}
        return checked | {
            "networks": self._params, "centre": frame.centre, "scale": frame.scale,
            "n_levels": frame.n_levels, "noise_seed": self._noise_seed,
        } | self._latents._asdict()  # fmt: skip

    def _for_library(self) -> dict[str, Array]:
        if not self._model.makes_posteriors or self._model.front:
            return {}  # the library encodes rows by dense layers to Gaussians
        frame, form = self._model.frame, self._model.form
        one_hot = frame.likelihood == "categorical"
        kind = 3 if one_hot else 2 if form.are_counts else int(frame.likelihood == "bernoulli")
        numbers = [kind, frame.n_levels if one_hot else 1, frame.scale]
        return {
            "form": np.array(numbers, np.float64),
            "layers": form.encoder.table.astype(np.float64),
        }

    def _restore(self, saved: Saved) -> None:
        _given, path = saved.parameters, saved.path
        scale = checks.number(saved.values["scale"], f"{path}: scale", 0.0, open_low=True)
        n_levels = checks.integer(saved.values["n_levels"], f"{path}: n_levels", 1)
        frame = Frame(
            likelihood_of(self.get_params(deep=False)), saved.n_features,
            saved.array("centre", saved.n_features), scale, n_levels,
        )  # fmt: skip
        self._model = model_of(self.get_params(deep=False), frame)
        self._params = saved.array("networks", self._model.n_params, dtype=np.float32)
        shapes = Latents.shapes(self._model.n_latent).items()
        self._latents = Latents(*(saved.array(name, *shape) for name, shape in shapes))
        self._ratio_check = None
        if self.family == "implicit":
            numbers = saved.array("ratio_check", len(RatioCheck._fields))
            self._ratio_check = RatioCheck(*numbers.tolist())
        self._noise_seed = checks.integer(saved.values["noise_seed"], f"{path}: noise_seed", 0)


def _parts(X: Any) -> tuple[Any, ...]:
    """Return the arrays that tell data sets apart."""
    return (X.indptr, X.indices, X.data, X.shape[1]) if hasattr(X, "indptr") else (X,)
