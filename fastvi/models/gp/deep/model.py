"""The bound of a deep Gaussian process by draws of its hidden units, and its gradient.

Salimbeni and Deisenroth (2017), "Doubly stochastic variational inference for deep Gaussian
processes", eq. 13 to 15. The last layer is a `fastvi.models.gp.model.SparseVariational`, whose
inputs are draws of the hidden units, so that its expectations and natural gradients are those of a
shallow process.

With latent inputs w, each row's K draws are weighted, and the bound is the importance-weighted one
of Salimbeni et al. (2019), "Deep Gaussian processes with importance-weighted variational
inference", eq. 16: E log 1/K sum_k exp(E log p(y | f_k)) p(w_k) / q(w_k). Its gradient, the natural
one of the last layer included, is that of the draws' terms, weighted by their shares of the sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base import tree
from fastvi.base.typing import Array
from fastvi.core import Batch, Local
from fastvi.models.gp.deep.layer import Hidden, HiddenLayer, Kind, Pass
from fastvi.models.gp.deep.recognition import Recognition
from fastvi.models.gp.learner import HyperMoves
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.model import Evaluation, Hyper, Params, SparseVariational, Target
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.recognition import NO_NETWORK, Network, Read, reverse
from fastvi.models.gp.rows import Points, Sites

__all__ = ["Deep", "DeepHyper", "DeepMoves", "DeepPrepared"]

SPREAD = 1e-5  # of q(v) of hidden layers at the start, as a share of the prior's


class DeepHyper(NamedTuple):
    """Everything that is learned beside the last layer's q(u); also a gradient."""

    hidden: tuple[Hidden, ...]
    last: Hyper
    network: Network = NO_NETWORK  # that reads q(w), if there are latent inputs


class Draws(NamedTuple):
    """Inputs (S n, D) of each layer for S draws a row, and what the reverse pass takes."""

    inputs: list[Array]
    normal: list[Array]
    passes: list[list[Pass]]
    seen: Read | None = None  # q(w), if there are latent inputs
    noise: Array = np.empty((0, 0))  # (S n, Q), of the draws of w


class DeepTarget(NamedTuple):
    """What a batch says of the last q(v), and the draws by which it does."""

    local: Local
    draws: Draws
    batch: Batch  # the rows, a copy for each draw, of the weights that they had
    last: Target


class Deep:
    """The model at any parameters; it never changes.

    Parameters
    ----------
    kinds : sequence of Kind
        Hidden layers.
    last : SparseVariational
    n_draws : int
        Of the hidden units, for each row of a batch.
    connected : bool
        Whether layers after the first see the model's inputs beside the units below.
    units : (2, D) array
        Means and scales of the inputs, which the first layer sees standardised.
    recognition : Recognition, optional
        Of latent inputs, which all layers see as inputs.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...],
        last: SparseVariational,
        n_draws: int,
        connected: bool,
        units: Array,
        recognition: Recognition | None = None,
    ) -> None:
        self.recognition = recognition
        self.kinds, self.last, self.n_draws, self.connected = kinds, last, n_draws, connected
        self.units = units
        self.likelihood, self.n_threads = last.likelihood, last.n_threads
        self._last: tuple[DeepHyper, DeepPrepared] | None = None

    def under(self, likelihood: Likelihood) -> Deep:
        """The same model with another likelihood."""
        last = self.last.under(likelihood)
        return Deep(self.kinds, last, self.n_draws, self.connected, self.units, self.recognition)

    def standardised(self, x: Array) -> Array:
        """Inputs as the first layer sees them."""
        mean, scale = self.units
        return np.asarray((x - mean) / scale)

    def start(self, z: tuple[Array, ...]) -> Params:
        """Parameters to start from, given the inducing inputs of each layer."""
        last = self.last.start(z[-1])
        hidden = tuple(kind.start(each, SPREAD) for kind, each in zip(self.kinds, z))
        network = NO_NETWORK if self.recognition is None else self.recognition.start
        return Params(last.sites, DeepHyper(hidden, last.hyper, network))

    def at(self, hyper: DeepHyper) -> DeepPrepared:
        """The model at these parameters; the last one is kept.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a layer's K(z, z) has no Cholesky factor.
        """
        last = self._last
        if last is None or not _equal(last[0], hyper):
            self._last = last = tree.copy(hyper), DeepPrepared(self, hyper)
        return last[1]

    def __getstate__(self) -> dict[str, object]:
        """Pickle the model without what `at` has kept."""
        return self.__dict__ | {"_last": None}


def _equal(one: DeepHyper, other: DeepHyper) -> bool:
    return all(map(np.array_equal, tree.leaves(one), tree.leaves(other)))


class DeepPrepared:
    """The model at given parameters; its methods are those of `fastvi.models.gp.model.Prepared`."""

    def __init__(self, model: Deep, hyper: DeepHyper) -> None:
        self.model, self.hyper = model, hyper
        self.layers = [HiddenLayer(*parts) for parts in zip(model.kinds, hyper.hidden)]
        self.last = model.last.at(hyper.last)
        self.values = self.last.values

    def posterior(self, sites: Sites) -> list[Posterior]:
        """The posterior of each function of the last layer."""
        return self.last.posterior(sites)

    def divergence(self) -> float:
        """KL(q(v) || p(v)) of the hidden layers, nats."""
        return sum(layer.divergence() for layer in self.layers)

    def draw(self, x: Array, normal: list[Array]) -> Draws:
        """Inputs of each layer at standardised rows x (n, D), for standard normal draws (n, T)."""
        inputs, passes = [x], []
        for layer, each in zip(self.layers, normal):
            units, kept = layer.draw(inputs[-1], each, self.model.n_threads)
            inputs.append(np.concatenate((units, x), axis=1) if self.model.connected else units)
            passes.append(kept)
        return Draws(inputs, normal, passes)

    def _drawn(self, batch: Batch, rng: np.random.Generator) -> tuple[Draws, Batch]:
        (x, y, own), n, recognition = batch.rows, self.model.n_draws, self.model.recognition
        x = self.model.standardised(x)
        repeated = np.concatenate([x] * n)
        seen, noise = None, np.empty((len(repeated), 0))
        if recognition is not None:
            seen = recognition.read(self.hyper.network, x, y)
            noise = rng.standard_normal((len(repeated), recognition.n_latents))
            latent = np.tile(np.exp(seen.log_sd), (n, 1)) * noise + np.tile(seen.mean, (n, 1))
            repeated = np.concatenate((repeated, latent), axis=1)
        normal = [rng.standard_normal((len(repeated), len(h.mean))) for h in self.hyper.hidden]
        draws = self.draw(repeated, normal)._replace(seen=seen, noise=noise)
        points = Points(draws.inputs[-1], np.concatenate([y] * n), np.concatenate([own] * n))
        return draws, Batch(points, np.concatenate([batch.weights] * n) / n)

    def _weighed(
        self, sites: Sites, draws: Draws, batch: Batch, rng: np.random.Generator
    ) -> tuple[Batch, float | None]:
        """The draws by their shares of the importance-weighted bound, and its sum over rows, nats.

        Without latent inputs they count the same, and the sum is what the last layer says.
        """
        seen, n = draws.seen, self.model.n_draws
        if seen is None:
            return batch, None
        latent = draws.inputs[0][:, -draws.noise.shape[1] :]
        logs = self.last.expected(sites, batch.rows, rng)
        logs += 0.5 * (np.square(draws.noise) - np.square(latent)).sum(axis=1)
        logs += np.tile(seen.log_sd.sum(axis=1), n)
        by_draw = logs.reshape(n, -1)
        whole = logsumexp(by_draw, axis=0)
        shares = np.exp(by_draw - whole).ravel()
        total = float((batch.weights * batch.rows.weights)[: len(whole)] @ (whole - np.log(n)))
        return batch._replace(weights=batch.weights * (n * shares)), n * total

    def target(
        self, sites: Sites, batch: Batch, rng: np.random.Generator, *, norms: bool = False
    ) -> DeepTarget:
        """Sites of the last layer after a natural-gradient step of rate 1."""
        draws, seen = self._drawn(batch, rng)
        last = self.last.target(sites, self._weighed(sites, draws, seen, rng)[0], rng)
        return DeepTarget(last.local, draws, seen, last)

    def evaluate(
        self,
        sites: Sites,
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        gradient: bool = True,
        given: DeepTarget | None = None,
    ) -> Evaluation:
        """The last layer's local step, the bound, and its gradient with the sites held."""
        if given is None:
            draws, seen = self._drawn(batch, rng)
            target = None
        else:
            draws, seen, target = given.draws, given.batch, given.last
        seen, total = self._weighed(sites, draws, seen, rng)
        found = self.last.evaluate(
            sites, seen, rng, gradient=gradient, given=target, inputs=gradient
        )
        bound, local = found.bound - self.divergence(), found.local
        if total is not None:
            bound += total - local.bound
            local = local._replace(bound=total)
        if found.gradient is None or found.by_x is None:
            return Evaluation(local, bound, None)
        hidden, by_inputs = self._reverse(draws, found.by_x)
        network = self._by_network(draws, by_inputs, seen.weights * seen.rows.weights)
        return Evaluation(local, bound, DeepHyper(hidden, found.gradient, network))

    def _reverse(self, draws: Draws, by_inputs: Array) -> tuple[tuple[Hidden, ...], Array]:
        """Gradients of hidden layers, and by the model's inputs."""
        found: list[Hidden] = []
        total = np.zeros_like(draws.inputs[0])
        for i, layer in reversed(list(enumerate(self.layers))):
            n_units = len(layer.hidden.mean)
            if self.model.connected:
                total += by_inputs[:, n_units:]
            units = np.ascontiguousarray(by_inputs[:, :n_units])
            gradient, by_inputs = layer.reverse(
                draws.inputs[i], draws.normal[i], draws.passes[i], units, self.model.n_threads
            )
            found.append(gradient)
        return tuple(reversed(found)), total + by_inputs

    def _by_network(self, draws: Draws, by_inputs: Array, weights: Array) -> Network:
        recognition, seen = self.model.recognition, draws.seen
        if recognition is None or seen is None:
            return NO_NETWORK
        n, q = len(seen.mean), recognition.n_latents
        latent = draws.inputs[0][:, -q:]
        by_latent = by_inputs[:, -q:] - weights[:, None] * latent
        by_log_sd = by_latent * draws.noise * np.tile(np.exp(seen.log_sd), (self.model.n_draws, 1))
        by_log_sd += weights[:, None]
        sums = (part.reshape(-1, n, q).sum(axis=0) for part in (by_latent, by_log_sd))
        return reverse(self.hyper.network, seen, *sums)


class DeepMoves(NamedTuple):
    """Moves of `DeepHyper`: those of each layer's kernel and inducing inputs, and of its q(v)."""

    hidden: tuple[HyperMoves, ...]
    last: HyperMoves

    def scaled(self, gradient: DeepHyper) -> DeepHyper:
        """See `fastvi.models.gp.learner.Moves`."""
        hidden = []
        for moves, each in zip(self.hidden, gradient.hidden):
            inner = moves.scaled(Hyper(each.theta, each.z, np.empty(0)))
            hidden.append(each._replace(theta=inner.theta, z=inner.z))
        return DeepHyper(tuple(hidden), self.last.scaled(gradient.last), gradient.network)

    def moved(self, hyper: DeepHyper, change: DeepHyper) -> DeepHyper:
        """See `fastvi.models.gp.learner.Moves`."""
        hidden = []
        for moves, old, new in zip(self.hidden, hyper.hidden, change.hidden):
            inner = moves.moved(*(Hyper(h.theta, h.z, np.empty(0)) for h in (old, new)))
            hidden.append(Hidden(inner.theta, inner.z, old.mean + new.mean, old.root + new.root))
        network = Network(*map(np.add, hyper.network, change.network))
        return DeepHyper(tuple(hidden), self.last.moved(hyper.last, change.last), network)
