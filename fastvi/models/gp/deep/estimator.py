"""What the estimators of deep Gaussian processes share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import Kernel

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike
from fastvi.core import Batch
from fastvi.models.files import Saved
from fastvi.models.gp import files, start
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.deep.layer import Kind
from fastvi.models.gp.deep.model import Deep, DeepHyper, DeepMoves, DeepPrepared
from fastvi.models.gp.deep.predictive import DeepPredictive
from fastvi.models.gp.deep.recognition import Recognition, initial_network
from fastvi.models.gp.deep.start import (
    hidden_kernel,
    kernel_of_layer,
    mean_weights,
    propagated,
    widths,
)
from fastvi.models.gp.estimator import GaussianProcess, holding_back, on_bounds, warn_of_bounds
from fastvi.models.gp.learner import HyperMoves, Learner
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.model import Params, SparseVariational
from fastvi.models.gp.predictor import Predictive
from fastvi.models.gp.recognition import NO_NETWORK, network_in
from fastvi.models.gp.rows import Points
from fastvi.models.gp.stochastic import ByMiniBatches

__all__ = ["DeepGP"]

NOISE = 1e-5  # of hidden units, for inputs of variance 1
ENCODER_UNITS = 32  # of the network that reads q(w)
CHECKED = 1024  # rows on which bounds of hyperparameters are looked at


class DeepGP(ByMiniBatches):
    """Fits, streams and files; subclasses say what y means."""

    hidden_layer_sizes: int | ArrayLike | None
    input_connections: bool
    latent_inputs: int = 0
    n_draws: int
    n_predictive_draws: int
    kernels_: list[Kernel]
    inducing_points_: list[Array]

    _samplings = ("uniform", "replacement")
    _shared = (
        *GaussianProcess._shared,
        "hidden_layer_sizes", "input_connections", "latent_inputs", "n_draws",
        "n_predictive_draws",
    )  # fmt: skip
    _predictive: DeepPredictive

    # Fits

    def _begin(self, points: Points, likelihood: Likelihood, seed: int) -> tuple[Array, ...]:
        X, y, weights = points
        self._settings()
        start.check_sizes(X, "X")
        start.check_sizes(y, "y", 1.0 / start.LARGEST)
        checks.integer(self.n_predictive_draws, "n_predictive_draws", 1)
        units = np.stack((start.column_means(X, weights), start.column_scales(X, weights)))
        rng, recognition = np.random.default_rng(seed), None
        below = (X - units[0]) / units[1]
        n_latents = checks.integer(self.latent_inputs, "latent_inputs", 0)
        if n_latents:
            recognition = initial_network(below, y, n_latents, ENCODER_UNITS, rng)
            below = np.concatenate((below, rng.standard_normal((len(X), n_latents))), axis=1)
        sizes = widths(self.hidden_layer_sizes, below.shape[1])
        connected = checks.flag(self.input_connections, "input_connections")
        variance = start.target_variance(y, weights) if likelihood.is_noisy else 1.0
        x, n_below, kernels, maps, z = below, below.shape[1], [], [], []
        for i, size in enumerate((*sizes, None)):
            kernel = self._kernel_of(i, len(sizes) + 1, x.shape[1], likelihood, variance)
            covariance = Covariance(kernel, x.shape[1])
            kernels.append(kernel)
            z.append(self._inducing(covariance, X if i == 0 else None, x, units, rng, weights))
            if size is not None:
                maps.append(mean_weights(x, size, n_below))
                x = propagated(x, maps[-1], below if connected else None)
                n_below = size
        self._stream_seed = seed
        self._build(kernels, maps, likelihood, connected, units, recognition)
        return tuple(z)

    def _kernel_of(
        self, layer: int, n_layers: int, n_inputs: int, likelihood: Likelihood, variance: float
    ) -> Kernel:
        is_last = layer == n_layers - 1
        kernel = kernel_of_layer(self.kernel, layer, n_layers)
        given = kernel is not None
        if kernel is None:
            kernel = hidden_kernel(n_inputs)
            if is_last:  # a constant that starts at the variance of y
                kernel.k1.set_params(
                    constant_value=variance,
                    constant_value_bounds=(1e-5 * variance, 1e5 * variance),
                )
        if not is_last:
            return kernel
        white = bool(Covariance(kernel, n_inputs).white)
        keeps = given and not self.learn_kernel
        return start.fitting_noise(kernel, likelihood, variance, white=white, keeps=keeps)

    def _inducing(
        self, covariance: Covariance, X: Array | None, x: Array, units: Array, rng: Any, w: Array
    ) -> Array:
        """Inducing inputs of a layer; points that are given are those of the first, which has X."""
        points: Any = self.inducing_points
        if np.ndim(points) and X is None:
            points = len(np.asarray(points))
        if np.ndim(points) and X is not None:
            given = start.initial_inducing(covariance, X, points, self.inducing_selection, rng, w)
            latent = rng.standard_normal((len(given), x.shape[1] - X.shape[1]))
            return np.concatenate(((given - units[0]) / units[1], latent), axis=1)
        return start.initial_inducing(covariance, x, points, self.inducing_selection, rng, w)

    def _build(
        self,
        kernels: list[Kernel],
        maps: list[Array],
        likelihood: Likelihood,
        connected: bool,
        units: Array,
        recognition: Recognition | None = None,
    ) -> None:
        """Put the model together, and how it is learned."""
        kinds = tuple(
            Kind(Covariance(kernel, len(each), NOISE), each) for kernel, each in zip(kernels, maps)
        )
        d = units.shape[1] + (0 if recognition is None else recognition.n_latents)
        n_inputs = maps[-1].shape[1] + d * connected if maps else d
        covariance = Covariance(kernels[-1], n_inputs)
        last = SparseVariational(covariance, likelihood, np.zeros(n_inputs), self._n_threads)
        n_draws = checks.integer(self.n_draws, "n_draws", 1)
        model = Deep(kinds, last, n_draws, connected, units, recognition)
        learns = bool(self.learn_kernel), bool(self.learn_inducing_points)
        moves = [
            HyperMoves(np.ones(k.n_features), kernel.bounds.reshape(-1, 2), *learns)
            for k, kernel in zip((*(kind.covariance for kind in kinds), covariance), kernels)
        ]
        settings = self._settings()._replace(learns_more=True)  # q(v) of hidden layers
        self._learner = Learner(model, settings, DeepMoves(tuple(moves[:-1]), moves[-1]))
        self.kernels_ = kernels

    def _see(self, params: Params) -> None:
        hyper: DeepHyper = params.hyper
        here: DeepPrepared = self._learner.model.at(hyper)
        parts: list[Any] = [*hyper.hidden, hyper.last]
        self.kernels_ = [
            kernel.clone_with_theta(part.theta) for kernel, part in zip(self.kernels_, parts)
        ]
        self.inducing_points_ = [part.z for part in parts]
        last = Predictive(
            here.posterior(params.sites), here.model.likelihood, here.values, *self._y_units
        )
        n_draws = checks.integer(self.n_predictive_draws, "n_predictive_draws", 1)
        self._predictive = DeepPredictive(here, last, n_draws)

    def _warn_of_bounds(self) -> None:
        """Warn if bounds of a layer's hyperparameters hold the fit back; called by `_fit`."""
        found = [on_bounds(kernel) for kernel in self.kernels_] if self.learn_kernel else []
        if not any(found) or self._rows is None:
            return
        n = len(self._rows.x)
        rows = np.random.default_rng(0).permutation(n)[:CHECKED]
        batch = Batch(
            Points(*(part[rows] for part in self._rows)), np.full(len(rows), n / len(rows))
        )
        sites, hyper = self._state.params
        with single_threaded_blas():
            here = self._learner.model.at(hyper)
            gradient = here.evaluate(sites, batch, np.random.default_rng(0)).gradient
        texts = []
        for i, (each, part) in enumerate(zip(found, (*gradient.hidden, gradient.last))):
            texts += [f"{text} in layer {i}" for text in holding_back(each, part.theta)]
        warn_of_bounds(texts)

    # Files

    def _saved(self) -> dict[str, object]:
        model, (sites, hyper) = self._learner.model, self._state.params
        return {
            "kernels": json.dumps([files.encoded(kernel) for kernel in self.kernels_]),
            "sites": sites,
            **{f"layer{i}": part for i, part in enumerate(hyper.hidden)},
            **{f"mean{i}": kind.weights for i, kind in enumerate(model.kinds)},
            "last": hyper.last,
            **self._saved_network(),
            "units": model.units,
            "y_units": np.array(self._y_units),
            "connected": model.connected,
            "n_seen": self._n_seen,
            "seed": self._stream_seed,
        }

    def _restore(self, saved: Saved) -> None:
        kernels = [files.decoded(each, saved.path) for each in json.loads(saved.values["kernels"])]
        likelihood, units = self._likelihood(), saved.array("units", 2, saved.n_features)
        if not np.all(units[1] > 0):
            raise ValueError(f"{saved.path}: units holds scales that are not above 0")
        connected = checks.flag(saved.values["connected"], "connected")
        recognition = self._recognition_in(saved)
        n_inputs = saved.n_features + (0 if recognition is None else recognition.n_latents)
        maps, d = [], n_inputs
        for i in range(len(kernels) - 1):
            maps.append(saved.array(f"mean{i}", d, None))
            d = maps[-1].shape[1] + n_inputs * connected
        history, n_seen = self._restored(saved)
        with single_threaded_blas():
            self._build(kernels, maps, likelihood, connected, units, recognition)
            params = self._params(saved)
            self._finish(self._learner.started(params), history, n_seen)

    def _params(self, saved: Saved) -> Params:
        """Those of a file, in the shapes of the model that it describes."""
        model: Deep = self._learner.model
        hidden = []
        for i, kind in enumerate(model.kinds):
            z = saved.array(f"layer{i}.z", None, kind.covariance.n_features)
            hidden.append(saved.tree(f"layer{i}", kind.start(z, 1.0)))
        z = saved.array("last.z", None, model.last.covariance.n_features)
        start = model.last.start(z)
        last = saved.tree("last", start.hyper)
        network = NO_NETWORK if model.recognition is None else model.recognition.start
        return Params(saved.tree("sites", start.sites), DeepHyper(tuple(hidden), last, network))

    def _saved_network(self) -> dict[str, object]:
        recognition = self._learner.model.recognition
        if recognition is None:
            return {}
        network = self._state.params.hyper.network
        return {"network": network, "network_units": recognition.y_units}

    def _recognition_in(self, saved: Saved) -> Recognition | None:
        """What is saved of latent inputs; where it starts is what was learned."""
        n_latents = checks.integer(self.latent_inputs, "latent_inputs", 0)
        if not n_latents:
            return None
        units = saved.array("network_units", 2, None)
        d = saved.n_features + units.shape[1]
        return Recognition(units, network_in(saved, "network", d, n_latents))
