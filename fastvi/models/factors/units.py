"""The units of factors: multiplying z_k and dividing w_k by one number changes no fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Units"]

Floats = NDArray[np.float64]


class Units(NamedTuple):
    """What z_k is multiplied by, and how that follows from the parameters.

    Coordinate ascent would take 1 / noise passes to find it (Luttinen and Ilin 2010,
    "Transformations in variational Bayesian factor analysis to speed up learning"). The bound in
    its square x is ``c log x - S x / 2 - a log(b x + h)``, with S the sum of E[z_k^2] and h half
    that of E[w_k^2], of which a quadratic gives the maximum.
    """

    scale: Floats  # (K + 1,), 1 for the mean
    by_total: Floats  # (K,) derivatives of its square by S
    by_half: Floats  # (K,) and by h
    prior_rate: float  # b

    @classmethod
    def best(cls, params: Any, shape: float, hyper: Any) -> Units:
        """Those in which the bound is greatest; `shape` is a."""
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

    def apply(self, params: Any) -> Any:
        """The parameters in these units."""
        spread = np.maximum(params.factor_rates - self.prior_rate, 0.0)
        return params._replace(
            latent=params.latent * self.scale * self.scale[:, None],
            cross=params.cross * self.scale,
            factor_rates=self.prior_rate + spread / np.square(self.scale[:-1]),
        )

    def pull(self, own: Any, slope: Any) -> Any:
        """Derivatives by the parameters, given those by the parameters in these units, `own`."""
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
