"""The autoencoder without scikit-learn: networks, likelihood, parameters, and scratch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.kernels.autoencoder_likelihoods import BERNOULLI, GAUSSIAN
from fastvi.kernels.networks import (
    BIAS,
    INPUTS,
    KIND,
    OUTPUTS,
    SPARSE,
    Layers,
    SparseRows,
    forward,
)
from fastvi.kernels.pixel_calls import FORWARD, call
from fastvi.models.autoencoder.choice import PLAIN, Choice
from fastvi.models.autoencoder.heads import Head, buffers, scratch_of
from fastvi.models.autoencoder.likelihoods import LIKELIHOODS, address_of
from fastvi.models.autoencoder.pixels import Pixels
from fastvi.models.autoencoder.priors import NO_ROWS, mixture_draws
from fastvi.models.autoencoder.rows import COUNTS, Frame, Rows
from fastvi.networks.layers import ACTIVATIONS, dense, initial, n_parameters

__all__ = ["NOISES", "Autoencoder", "Single", "last_outputs"]

Single = NDArray[np.float32]

NOISES = {
    "shared": kernels.ONE_SD,
    "per_feature": kernels.EACH_SD,
    "network": kernels.NETWORK_SD,
}
START = 256  # rows that a start sees
SMALLEST_CHANCE = 1e-3  # of entries that a new decoder believes in


class Autoencoder:
    """Encoder and decoder of rows in a frame, with parameters in one vector.

    Parameters
    ----------
    frame : Frame
    n_latent : int
    hidden : sequence of int
        Units of the encoder's hidden layers; those of the decoder are in reverse order.
    activation : str
    noise : {"shared", "per_feature", "network"} or float
        Standard deviation of Gaussian noise, in the units of X if it is a number.
    choice : Choice
        Kinds of posterior, prior and decoder; the option ``n_parts`` is the number of Gaussians of
        the prior, without which it is standard normal.

    Attributes
    ----------
    form, sparse_form : fastvi.kernels.autoencoder.Model
        The networks for dense rows and for rows of a CSR matrix, with the same parameters.
    """

    def __init__(
        self,
        frame: Frame,
        n_latent: int,
        hidden: Sequence[int],
        activation: str,
        noise: str | float,
        choice: Choice = PLAIN,
    ) -> None:
        self.frame, self.n_latent, self.choice = frame, n_latent, choice
        n_parts = self.n_parts
        width, likelihood = frame.n_entries, LIKELIHOODS[frame.likelihood]
        kind = NOISES.get(str(noise), kernels.FIXED) if likelihood == GAUSSIAN else kernels.FIXED
        n_kinds = 2 if kind == kernels.NETWORK_SD else 1
        self.n_outputs = n_kinds * width
        reads = choice.parts.get("decoder")
        between = reads.n_features(frame, choice.options) if reads else self.n_outputs
        number = ACTIVATIONS.index(activation)
        self.head: Head | None = None
        self.front: Head | None = None
        seen, first = width, 0
        if reads:
            self.front = reads.before(frame, choice.options, number, 0)
        if self.front:
            seen, first = between, self.front.end
        encoder = dense([seen, *hidden, self.n_encoded], activation, first=first)
        first += n_parameters(encoder)
        last = reads.last(activation) if reads else "none"
        decoder = dense([n_latent, *hidden[::-1], between], activation, last=last, first=first)
        noise_at = first + n_parameters(decoder)
        if reads:
            self.head = reads.of(frame, choice.options, n_kinds, number, noise_at)
            noise_at = self.head.end
        n_noise = {kernels.ONE_SD: 1, kernels.EACH_SD: width}.get(kind, 0)
        prior_at = noise_at + n_noise
        self.n_params = prior_at + n_parts * (1 + 2 * n_latent)
        is_number = likelihood == GAUSSIAN and kind == kernels.FIXED
        log_sd = float(np.log(float(noise) / frame.scale)) if is_number else 0.0
        nothing = np.empty(0, np.int64)
        self.form = kernels.Model(
            encoder, decoder, likelihood, frame.n_levels, frame.likelihood in COUNTS, kind,
            noise_at, log_sd, n_parts, prior_at, 0, self.head.plan if self.head else nothing,
            0, self.front.plan if self.front else nothing, 0,
        )  # fmt: skip
        table = encoder.table.copy()
        table[0, KIND] = SPARSE
        self.sparse_form = self.form
        if not self.front:
            self.sparse_form = self.form._replace(
                encoder=encoder._replace(table=table), are_counts=False
            )

    @property
    def pixels(self) -> Pixels | None:
        """The decoder that reads pixels, if it is one."""
        return cast(Pixels, self.head) if self.head and self.head.one_by_one else None

    def form_of(self, rows: Rows) -> kernels.Model:
        """Return the networks for rows of this kind."""
        form = self.sparse_form if rows.is_sparse else self.form
        form = form._replace(explains=address_of(form))
        if self.front:
            form = form._replace(front=self.front.address)
        return form._replace(head=self.head.address) if self.head else form

    def start(self, rows: Rows, rng: np.random.Generator) -> Single:
        """Return initial parameters: random weights, and outputs that are the means of columns."""
        params = np.zeros(self.n_params, np.float32)
        for net in (self.form.encoder, self.form.decoder):
            initial(net, rng, params)
        at = int(self.form.decoder.table[-1, BIAS])
        if self.front:
            self.front.start(rng, params)
        if self.head:
            self.head.start(rng, params)
            at = self.head.bias
        first, size = self.form.prior_at + self.form.n_parts, self.form.n_parts * self.n_latent
        params[first : first + size] = rng.standard_normal(size)
        means = self._means(rows)
        params[at : at + len(means)] = means
        if self.front:
            self._centre(params, rows, at)
        return params

    def _centre(self, params: Single, rows: Rows, at: int) -> None:
        """Move biases so that the encoder's outputs are 0 in the mean of some rows, and that those
        for z = 0 are their biases, which begin at a place: maps share signs, which add up.
        """
        n = min(rows.n_rows, START)
        found = Autoencoder.encode(self, params, rows, 0, n, Autoencoder.encoder_work(self, n))
        bias = int(self.form.encoder.table[-1, BIAS])
        params[bias : bias + self.n_encoded] -= found.mean(axis=0)
        own = slice(at, at + self.n_outputs)
        z = np.zeros((1, self.n_latent), np.float32)
        params[own] += params[own] - self.decode(params, z, self.decoder_work(1))[0]

    def _means(self, rows: Rows) -> Array:
        """Return outputs at which the likelihood has the means of columns (E,)."""
        data, n, likelihood = rows.data, rows.n_rows, self.form.likelihood
        if rows.is_sparse:
            mean = np.bincount(data.indices, data.targets, self.frame.n_entries) / n
        else:
            mean = data.dense.mean(axis=0, dtype=np.float64)
        if likelihood == GAUSSIAN:
            return np.asarray(mean)
        if likelihood == BERNOULLI:
            p = np.clip(mean, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
            return np.asarray(np.log(p) - np.log1p(-p))
        least = SMALLEST_CHANCE * max(mean.max(), SMALLEST_CHANCE)
        return np.asarray(np.log(np.maximum(mean, least)))

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers that a row leaves in the encoder and in the decoder, and the widest layer."""
        tables = self.form.encoder.table, self.form.decoder.table
        inner, outer = (int(table[:, OUTPUTS].sum()) for table in tables)
        widest = max(int(table[1:, INPUTS].max(initial=1)) for table in tables)
        return inner, outer, widest

    def work(self, rows: Rows, n: int, n_draws: int, *, with_gradient: bool = True) -> kernels.Work:
        """Return scratch for batches of up to n of the rows, for the encoder alone with 0 draws."""
        return buffers(self, n, n_draws, self.form_of(rows).are_counts, with_gradient)

    def prior_draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """Draw latent variables (n, J) from the prior."""
        n_parts, first = self.form.n_parts, self.form.prior_at
        if n_parts == 0:
            return np.asarray(rng.standard_normal((n, self.n_latent)))
        return mixture_draws(params[first:], n_parts, self.n_latent, n, rng)

    def layer_name(self, number: int) -> str:
        """Return what a kernel's number of a layer stands for."""
        n_encoder, n_decoder = (len(net.table) for net in (self.form.encoder, self.form.decoder))
        if number < n_encoder:
            return f"layer {number + 1} of {n_encoder} of the encoder"
        if number < n_encoder + n_decoder:
            return f"layer {number - n_encoder + 1} of {n_decoder} of the decoder"
        return "the convolutions" if self.head else "the log likelihood"

    def form_differs(self, other: Any) -> str | None:
        """Return what is different in a model from which a fit is to continue, if anything."""
        pairs = {
            "X": (self.frame.n_entries, other.frame.n_entries),
            "likelihood": (self.frame.likelihood, other.frame.likelihood),
            "n_components": (self.n_latent, other.n_latent),
            "family, prior, decoder, n_parts or options": (self.choice.key, other.choice.key),
            "hidden_layer_sizes, activation or noise": (self._tables(), other._tables()),
        }
        return next((name for name, (a, b) in pairs.items() if a != b), None)

    def _tables(self) -> tuple[bytes, ...]:
        nets = self.form.encoder, self.form.decoder
        return (*(net.table.tobytes() for net in nets), str(self.form.noise).encode())

    # What other kinds of models do in their own way: all of it by noise in `work.eps` (R n_noise)

    @property
    def n_parts(self) -> int:
        """Parts of the prior in the kernels of steps, or 0 for the standard normal."""
        return int(self.choice.options.get("n_parts", 0))

    @property
    def n_encoded(self) -> int:
        """Number of outputs of the encoder."""
        return 2 * self.n_latent

    @property
    def makes_posteriors(self) -> bool:
        """Whether the encoder's outputs are means and logs of standard deviations of q."""
        return self.n_encoded == 2 * self.n_latent

    @property
    def n_noise(self) -> int:
        """Number of standard normal numbers of each draw."""
        return self.n_latent

    @property
    def is_sampled(self) -> bool:
        """Whether the divergence from the prior comes from draws, not in closed form."""
        return bool(self.form.n_parts > 0)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of objectives that steps know."""
        return ("elbo", "iwae", "vr")

    @property
    def has_free_bits(self) -> bool:
        """Whether steps know `Objective.free`."""
        return not self.is_sampled

    @property
    def needs_adam(self) -> bool:
        """Whether steps are those of Adam, and of all parameters."""
        return False

    @property
    def first_of_family(self) -> int:
        """Place of the first parameter of posteriors, besides the encoder's, at the end of all."""
        return self.n_params

    def step(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray,
        key: np.uint64, adam: steps.Adam, moments: Single, work: Any, grads: Single,
    ) -> tuple[float, float, int]:  # fmt: skip
        """Take a step on the rows of these numbers; see `autoencoder_steps.step`."""
        return steps.step(  # type: ignore[no-any-return]
            sgemm(), self.form_of(rows), objective, params, rows.data, numbers, key, adam,
            moments, work, grads,
        )  # fmt: skip

    def evaluation_work(self, params: Single, rows: Rows, n: int, n_draws: int) -> Any:
        """Return scratch for `evaluate` under these parameters."""
        return self.work(rows, n, n_draws, with_gradient=False)

    def evaluate(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray, work: Any
    ) -> None:
        """Put log likelihoods or log weights of draws into `work.values` (R,), draws into `work.z`
        and divergences, if they are not sampled, into `work.divergences` (n J).
        """
        form = self.form_of(rows)
        kernels.evaluate(sgemm(), form, objective, params, rows.data, numbers, work)

    def encode(self, params: Single, rows: Rows, first: int, last: int, work: Any) -> Single:
        """Return means and logs of standard deviations of q (n, 2 J); work as of `encoder_work`."""
        form, data, n = self.form_of(rows), rows.data, last - first
        if self.front:
            numbers = np.arange(first, last)
            start = kernels.encode_rows(sgemm(), form, params, data, numbers, work)
            width = self.n_encoded
            return np.asarray(work.encoded[start : start + n * width].reshape(n, width))
        x = data.dense[first:last].reshape(-1)
        x = np.log1p(x) if form.are_counts else x
        sparse = SparseRows(np.arange(first, last), data.indptr, data.indices, data.inputs)
        return last_outputs(form.encoder, params, x, sparse, n, work)

    def encoder_work(self, n: int) -> Any:
        """Return scratch for n rows."""
        if self.front:
            return buffers(self, n, 0, self.form.are_counts, with_gradient=False)
        return np.empty(n * self.sizes[0], np.float32)

    def decode(self, params: Single, z: Single, work: Any) -> Single:
        """Return outputs (n, O) for latent variables (n, J): the features of a decoder that reads
        pixels.
        """
        net, head, n = self.form.decoder, self.head, len(z)
        features = last_outputs(net, params, z.reshape(-1), NO_ROWS, n, work)
        if head is None or head.one_by_one:
            return features
        out, kept = np.empty(n * self.n_outputs, np.float32), scratch_of(head, 0, 1, 0)
        call(
            head.address, FORWARD, head.plan, n, 1, params, params, features.reshape(-1), params,
            kept["tape"], out, kept["scratch"], kept["table"],
        )  # fmt: skip
        return out.reshape(n, -1)

    def decoder_work(self, n: int) -> Any:
        """Return scratch for n rows."""
        return np.empty(n * self.sizes[1], np.float32)


def last_outputs(
    net: Layers, params: Single, x: Single, sparse: SparseRows, n: int, work: Single
) -> Single:
    """Return the last layer's outputs (n, O) for rows x, flat, or those of a CSR matrix."""
    size, width = n * int(net.table[:, OUTPUTS].sum()), int(net.table[-1, OUTPUTS])
    forward(sgemm(), net, params, x, sparse, n, work[:size])
    return work[size - n * width : size].reshape(n, width)
