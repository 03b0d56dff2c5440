"""Units of factors: multiplying z_k and dividing w_k by the same number does not change the fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array, Tree

__all__ = ["Units"]


class Units(NamedTuple):
    """The factors by which z_k are multiplied, and their derivatives.

    Coordinate ascent would take 1 / noise passes to find them (Luttinen and Ilin 2010,
    "Transformations in variational Bayesian factor analysis to speed up learning"). As a function
    of a squared factor x, the bound is ``c log x - S x / 2 - a log(b x + h)``, with S the sum of
    E[z_k^2] and h half that of E[w_k^2], whose maximum solves a quadratic equation.
    """

    scale: Array  # (K + 1,), 1 for the mean
    by_total: Array  # (K,) derivatives of its square by S
    by_half: Array  # (K,) and by h
    prior_rate: float  # b

    @classmethod
    def best(cls, params: Tree, shape: float, hyper: Any) -> Units:
        """Return the units that maximise the bound; `shape` is a."""
        a, b = shape, hyper.factor_rate
        spread = np.maximum(params.factor_rates - b, 0.0)
        live = spread > 0
        total, half = np.diag(params.latent)[:-1][live], spread[live]
        c = 0.5 * params.n_rows[0] + hyper.factor_shape
        linear = 0.5 * total * half - (c - a) * b
        root = np.hypot(linear, np.sqrt(2.0 * total * b * c * half))
        square = np.ones(len(spread))
        square[live] = np.where(
            linear > 0,
            2.0 * c * half / (root + np.abs(linear)),
            (root - linear) / (total * b),
        )
        x, rate = square[live], b * square[live] + half
        curvature = a * np.square(b / rate) - c / np.square(x)
        by_total, by_half = np.zeros(len(spread)), np.zeros(len(spread))
        by_total[live] = 0.5 / curvature
        by_half[live] = -a * b / np.square(rate) / curvature
        return cls(np.append(np.sqrt(square), 1.0), by_total, by_half, b)

    def apply(self, params: Tree) -> Tree:
        """Return the parameters in these units."""
        spread = np.maximum(params.factor_rates - self.prior_rate, 0.0)
        return params._replace(
            latent=params.latent * self.scale * self.scale[:, None],
            cross=params.cross * self.scale,
            factor_rates=self.prior_rate + spread / np.square(self.scale[:-1]),
        )

    def pull(self, own: Tree, slope: Tree) -> Tree:
        """Return derivatives by the parameters, given those in these units, `own`."""
        by_scale = 2.0 * np.sum(slope.latent * own.latent, axis=1) / self.scale
        by_scale += np.sum(slope.cross * own.cross, axis=0) / self.scale
        square = np.square(self.scale[:-1])
        by_square = 0.5 * by_scale[:-1] / self.scale[:-1]
        by_square -= slope.factor_rates * (own.factor_rates - self.prior_rate) / square
        by_total = np.append(by_square * self.by_total, 0.0)
        return slope._replace(
            latent=slope.latent * self.scale * self.scale[:, None] + np.diag(by_total),
            cross=slope.cross * self.scale,
            factor_rates=slope.factor_rates / square + by_square * self.by_half,
        )
