"""Recurrent autoencoders that paint an image in steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray
from fastvi.kernels import autoencoder as networks
from fastvi.kernels import autoencoder_steps, draw_steps
from fastvi.kernels import draw as kernels
from fastvi.kernels.autoencoder_likelihoods import BERNOULLI
from fastvi.kernels.networks import OUTPUTS, Layers
from fastvi.models.autoencoder.choice import Choice, Option, count
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.pixels import image_shape, refuse_other_rows
from fastvi.models.autoencoder.rows import Frame, Rows

__all__ = ["RECURRENT", "Recurrent"]

WINDOW = 5  # numbers of a window
BY_STEP = {  # arrays with this many more than the number of steps
    "seen": 1, "encoder_gates": 0, "encoder_cells": 1, "posterior": 0, "told": 1,
    "decoder_gates": 0, "decoder_cells": 1, "painted": 0, "canvases": 1,
}  # fmt: skip


def _shape(value: Any, name: str) -> tuple[int, ...] | None:
    return None if value is None else image_shape(value, name)


RECURRENT = {
    "image_shape": Option(None, _shape),
    "n_steps": count(10),
    "n_units": count(256),
    "read_size": count(0, 0),
    "write_size": count(0, 0),
}


class Recurrent(Autoencoder):
    """Encoder and decoder that are LSTM cells, and a canvas, see `fastvi.kernels.draw`.

    Latent variables are those of all steps, one after another.
    """

    def __init__(
        self, frame: Frame, n_latent: int, hidden: Sequence[int], activation: str,
        noise: str | float, choice: Choice,
    ) -> None:  # fmt: skip
        self._check(frame, choice)
        options, width = choice.options, frame.n_features
        self.frame, self.choice, self.n_outputs = frame, choice, width
        self.head = self.front = None
        self.n_latent = n_latent * options["n_steps"]
        self.plan = _plan(width, n_latent, options)
        self.n_params = self.plan.canvas + width
        nothing = Layers(np.zeros((1, 7), np.int64), np.empty(0, np.int64))
        painter = nothing._replace(table=nothing.table.copy())
        painter.table[0, OUTPUTS] = width
        self.form = networks.Model(
            nothing, painter, BERNOULLI, 1, False, networks.FIXED, 0, 0.0, 0, self.n_params, 0,
            np.empty(0, np.int64), 0, np.empty(0, np.int64), 0,
        )  # fmt: skip

    @staticmethod
    def _check(frame: Frame, choice: Choice) -> None:
        words, options = choice.words, choice.options
        if frame.likelihood != "bernoulli":
            raise ValueError(
                "decoder='draw' paints logits of pixels: it needs likelihood='bernoulli', and has "
                f"{frame.likelihood!r}"
            )
        if words["prior"] != "normal":
            raise ValueError(f"decoder='draw' needs prior='normal'; it is {words['prior']!r}")
        if words["kl"] == "aggressive":
            raise ValueError("kl='aggressive' needs networks of one step; decoder='draw' has more")
        shape = options["image_shape"]
        sizes = {name: options[name] for name in ("read_size", "write_size") if options[name]}
        if shape is not None:
            refuse_other_rows(shape, frame)
        for name, size in sizes.items():
            if shape is None or shape[2] != 1:
                raise ValueError(
                    f"{name}={size} needs image_shape: height and width of images of one channel"
                )
            if size > min(shape[:2]):
                raise ValueError(
                    f"{name} is {size}; wanted at most {min(shape[:2])}, for images of "
                    f"{shape[0]} x {shape[1]} pixels"
                )

    @property
    def n_encoded(self) -> int:
        """No outputs of layers of its own."""
        return 0

    @property
    def n_parts(self) -> int:
        """See `Autoencoder`."""
        return 0

    def start(self, rows: Rows, rng: np.random.Generator) -> Single:
        """Return initial parameters: random weights, gates that do not forget, and a canvas that
        shows the means of columns.
        """
        params, plan = np.zeros(self.n_params, np.float32), self.plan
        for name, (place, inputs, outputs) in _weights(plan).items():
            limit = np.sqrt(6.0 / (inputs + outputs)) * (0.1 if "window" in name else 1.0)
            params[place : place + inputs * outputs] = rng.uniform(-limit, limit, inputs * outputs)
        H = plan.n_units
        for place in (plan.encoder_bias, plan.decoder_bias):
            params[place + H : place + 2 * H] = 1.0
        params[plan.canvas :] = self._means(rows)
        return params

    # Scratch

    def _sizes(self) -> dict[str, int]:
        """Return numbers of a draw in each step of arrays by step."""
        plan, H = self.plan, self.plan.n_units
        return {
            "seen": plan.n_read + 2 * H, "encoder_gates": 4 * H, "encoder_cells": H,
            "posterior": 2 * plan.n_latent, "told": plan.n_latent + H, "decoder_gates": 4 * H,
            "decoder_cells": H, "painted": plan.write_size**2, "canvases": self.n_outputs,
        }  # fmt: skip

    def _lengths(self, n: int, n_draws: int) -> dict[str, int]:
        """Return sizes of scratch for n rows."""
        plan, n_all, E = self.plan, n * n_draws, self.n_outputs
        steps, latent, H = plan.n_steps, self.n_latent, plan.n_units
        by_step = {
            name: (steps + BY_STEP[name]) * n_all * size for name, size in self._sizes().items()
        }
        largest = max(plan.read_size, plan.write_size)
        of_window = 2 * largest * (plan.height + 2 * plan.width) + 2 * E
        spare = n_all * (7 * H + plan.n_latent + plan.n_read)
        spare += n_all * (WINDOW + max(E, plan.write_size**2)) + of_window
        return by_step | {
            "x": n * E, "eps": n_all * latent, "z": n_all * latent, "values": n_all,
            "weights": n_all, "ratios": n_all, "divergences": n * latent, "betas": latent,
            "noise": 2 * E, "whole": n * 4 * H, "windows": 2 * steps * n_all * WINDOW,
            "spare": spare,
        }  # fmt: skip

    def work(self, rows: Rows, n: int, n_draws: int, *, with_gradient: bool = True) -> Any:
        """See `Autoencoder`."""
        return self._scratch(n, n_draws)

    def _scratch(self, n: int, n_draws: int) -> kernels.Work:
        lengths = self._lengths(n, n_draws)
        return kernels.Work(**{
            name: np.empty(length, np.float64 if name == "values" else np.float32)
            for name, length in lengths.items()
        })  # fmt: skip

    def _part(self, work: kernels.Work, n: int, n_draws: int) -> kernels.Work:
        """Return as much of the scratch as n rows need."""
        lengths = self._lengths(n, n_draws)
        return kernels.Work(*(array[: lengths[name]] for name, array in work._asdict().items()))

    # What is done with rows

    def step(
        self, objective: networks.Objective, params: Single, rows: Rows, numbers: AnyArray,
        key: np.uint64, adam: autoencoder_steps.Adam, moments: Single, work: Any, grads: Single,
    ) -> tuple[float, float, int]:  # fmt: skip
        """See `Autoencoder`."""
        part = self._part(work, len(numbers), objective.n_draws)
        return draw_steps.step(  # type: ignore[no-any-return]
            sgemm(), self.plan, objective, params, rows.data, numbers, key, adam, moments, part,
            grads,
        )  # fmt: skip

    def evaluate(
        self, objective: networks.Objective, params: Single, rows: Rows, numbers: AnyArray,
        work: Any,
    ) -> None:  # fmt: skip
        """See `Autoencoder`."""
        part = self._part(work, len(numbers), objective.n_draws)
        draw_steps.evaluate(sgemm(), self.plan, objective, params, rows.data, numbers, part)

    def encode(self, params: Single, rows: Rows, first: int, last: int, work: Any) -> Single:
        """Return means and logs of standard deviations of q (n, 2 J), of each step given the means
        of those before.
        """
        n, plan = last - first, self.plan
        part = self._part(work, n, 1)
        part.eps[...] = 0.0
        objective = networks.Objective(networks.ELBO, 1, 0.0, 1.0, 0.0)
        self.evaluate(objective, params, rows, np.arange(first, last), part)
        found = part.posterior.reshape(plan.n_steps, n, 2, plan.n_latent)
        return np.asarray(found.transpose(1, 2, 0, 3).reshape(n, -1))

    def encoder_work(self, n: int) -> Any:
        """See `Autoencoder`."""
        return self._scratch(n, 1)

    def decode(self, params: Single, z: Single, work: Any) -> Single:
        """See `Autoencoder`."""
        part = self._part(work, len(z), 1)
        part.z[...] = z.reshape(-1)
        kernels.paint(sgemm(), self.plan, params, part)
        return np.asarray(part.canvases[-z.shape[0] * self.n_outputs :].reshape(len(z), -1))

    def decoder_work(self, n: int) -> Any:
        """See `Autoencoder`."""
        return self._scratch(n, 1)

    def layer_name(self, number: int) -> str:
        """See `Autoencoder`."""
        return "the recurrent networks"


def _plan(width: int, n_latent: int, options: Mapping[str, Any]) -> kernels.Draw:
    """Return the form, with parameters from place 0 on."""
    H, N, M = (options[name] for name in ("n_units", "read_size", "write_size"))
    height = options["image_shape"][0] if options["image_shape"] else 1
    n_read = 2 * N * N if N else width
    sizes = {
        "whole": 0 if N else width * 4 * H,
        "encoder": (n_read + 2 * H) * 4 * H, "encoder_bias": 4 * H,
        "posterior": (H + 1) * 2 * n_latent,
        "decoder": (n_latent + H) * 4 * H, "decoder_bias": 4 * H,
        "painter": (H + 1) * M * M if M else H * width,
        "reader_window": (H + 1) * WINDOW if N else 0,
        "writer_window": (H + 1) * WINDOW if M else 0,
    }  # fmt: skip
    places = np.concatenate([[0], np.cumsum(list(sizes.values()))]).tolist()
    return kernels.Draw(
        options["n_steps"], H, n_latent, height, width // height, n_read, N, M,
        **dict(zip((*sizes, "canvas"), places)),
    )  # fmt: skip


def _weights(plan: kernels.Draw) -> dict[str, tuple[int, int, int]]:
    """Return place, inputs and outputs of matrices."""
    H, J, E = plan.n_units, plan.n_latent, plan.height * plan.width
    found = {
        "encoder": (plan.encoder, plan.n_read + 2 * H, 4 * H),
        "posterior": (plan.posterior, H, 2 * J),
        "decoder": (plan.decoder, J + H, 4 * H),
        "painter": (plan.painter, H, plan.write_size**2 or E),
    }
    if plan.read_size:
        found["reader_window"] = (plan.reader_window, H, WINDOW)
    else:
        found["whole"] = (plan.whole, E, 4 * H)
    if plan.write_size:
        found["writer_window"] = (plan.writer_window, H, WINDOW)
    return found
