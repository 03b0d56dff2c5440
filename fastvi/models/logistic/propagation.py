"""Expectation propagation for regressions of two labels: a Gaussian site per row.

All sites are updated at once (parallel EP), from one pass over the rows: a site of row x is a
Gaussian in x' w, so a pass costs as much as one of the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import digamma, gammaln

from fastvi.base.typing import Array, Info
from fastvi.batches import Everything
from fastvi.core import Algorithm, Batch
from fastvi.history import History
from fastvi.models.logistic.blocks import Blocks
from fastvi.models.logistic.model import Logistic
from fastvi.models.logistic.parameters import Coefficients, Posterior
from fastvi.models.logistic.rows import LabelledRows
from fastvi.models.plan import Plan
from fastvi.propagation.damping import LEAST, damped, divergence
from fastvi.propagation.evidence import evidence_of_sites
from fastvi.propagation.sites import CONSTANT
from fastvi.propagation.tilted import Site

__all__ = ["Propagated", "propagation", "settled"]

Slopes: TypeAlias = Callable[[Array], tuple[Array, Array]]

NEWTON_STEPS = 20  # at most, to the mode, where sites start
NEAR = 0.1  # of the mode, in logits: close enough to start there
FAR = 5.0  # largest change of a logit in a Newton step
LEAST_SHARE = 1e-12  # of a row's precision that is left without its own site
STRIDE = 5.0  # largest change of the logarithm of a learned precision in a pass
HALVINGS = 50


class Propagated(NamedTuple):
    """State: the coefficients, the sites of rows, and how they last changed.

    The site of a row is ``exp(-precision f^2 / 2 + shift f)`` in its logit f = x' w.
    """

    params: Coefficients
    precision: Array  # (N,)
    shift: Array  # (N,)
    damping: float
    change: float  # of the posterior in the last pass, if it had not been damped, in nats


def settled(tol: float) -> Callable[[History], bool]:
    """Return the rule that ends the fit: a pass moves the posterior by less than `tol` nats."""

    def rule(history: History) -> bool:
        return tol > 0 and len(history) > 0 and history.columns["change"][-1] <= tol

    return rule


def propagation(
    model: Logistic,
    source: LabelledRows,
    site: Site,
    slopes: Slopes,
    damping: float | None = None,
) -> Plan:
    """Expectation propagation as a `Plan` whose passes update all sites.

    Parameters
    ----------
    model : Logistic
        Its prior; learned precisions have a mean-field posterior, as under the bound.
    source : LabelledRows
    site : Site
        The likelihood of a logit.
    slopes : callable
        Of the likelihood's logarithm, and minus their slopes.
    damping : float, optional
        Share of the way that sites go in each pass. By default 1, and less where their changes do
        not shrink.
    """

    def begin(params: Coefficients) -> Propagated:
        return _from_mode(model, source, slopes, params, 1.0 if damping is None else damping)

    def step(state: Propagated, batch: Batch, rng: np.random.Generator) -> tuple[Propagated, Info]:
        posterior = model.posterior(state.params)
        sweep = _Sweep(batch, posterior, model, site, state)
        found, linear, precision = sweep.run(model.n_threads)
        evidence = found + _gaussian_evidence(model, state.params, posterior)
        rates = _learned(model, posterior, state.params.rates)
        params = Coefficients(linear, model.prior.precision + precision, rates)
        change = _divergence(model, posterior, state.params, params) / state.damping**2
        share = state.damping
        if damping is None:
            share = damped(share, change / max(state.change, LEAST))
        info = {"log_evidence": evidence, "rate": state.damping, "change": change}
        return Propagated(params, sweep.precision, sweep.shift, share, change), info

    def read(state: Propagated) -> Coefficients:
        return state.params

    algorithm = Algorithm(lambda state: state, step)
    return Plan(
        algorithm,
        Everything(source),
        begin,
        read,
        lambda other: propagation(other, source, site, slopes, damping),
    )


class _Sites(Blocks):
    """A pass that replaces sites: tasks of about 1 ms, in blocks of rows that fit in the cache."""

    def __init__(self, batch: Batch, whitener: Array, model: Logistic) -> None:
        super().__init__(batch, whitener, model.intercept, False, np.float64)
        # A row of weight w >= 1 has w sites; one of weight w < 1 has a site for p(y | f)^w.
        self.copies, self.powers = np.maximum(self.weights, 1.0), np.minimum(self.weights, 1.0)
        self.precision, self.shift = np.empty((2, len(self.targets)))

    def _task(self, start: int, stop: int, linear: Array, precision: Array) -> float:
        shape = (min(self.n_block, stop - start), self.n_coefficients)
        ones, scaled, product = np.empty(shape), np.empty(shape), np.empty((shape[1], shape[1]))
        evidence = 0.0
        for a in range(start, stop, self.n_block):
            b = min(a + self.n_block, stop)
            block = self._block(a, b, ones)
            evidence += self._update(block, a, b)
            copies = self.copies[a:b]
            linear += (copies * self.shift[a:b]) @ block
            part = np.multiply(
                block, np.sqrt(copies * self.precision[a:b])[:, None], out=scaled[: b - a]
            )
            precision += np.matmul(part.T, part, out=product)
        return evidence

    def _update(self, block: Array, a: int, b: int) -> float:
        """Replace the sites of rows a..b; return their part of the evidence, in nats."""
        raise NotImplementedError


class _AtLogits(_Sites):
    """Sites with the slope and curvature of the likelihood at given logits (Newton's method)."""

    def __init__(self, batch: Batch, logits: Array, model: Logistic, slopes: Slopes) -> None:
        super().__init__(batch, np.empty((len(model.groups), 0)), model)
        self.logits, self.slopes = logits, slopes

    def _update(self, block: Array, a: int, b: int) -> float:
        sign, logits, power = 2.0 * self.targets[a:b], self.logits[a:b], self.powers[a:b]
        slope, curvature = self.slopes(sign * logits)
        self.precision[a:b] = power * curvature
        self.shift[a:b] = power * (curvature * logits + sign * slope)
        return 0.0


class _Sweep(_Sites):
    """Sites that match tilted moments, mixed with those before."""

    def __init__(
        self, batch: Batch, posterior: Posterior, model: Logistic, site: Site, state: Propagated
    ) -> None:
        whitener = np.column_stack((posterior.root, posterior.mean))
        super().__init__(batch, whitener, model)
        self.site, self.before = site, state

    def _update(self, block: Array, a: int, b: int) -> float:
        whitened = block @ self.whitener
        mean, variance = whitened[:, -1], np.einsum("ij,ij->i", whitened[:, :-1], whitened[:, :-1])
        variance[variance == 0.0] = CONSTANT
        precision, shift = self.before.precision[a:b], self.before.shift[a:b]
        share = np.maximum(1.0 - variance * precision, LEAST_SHARE)
        mean, variance = (mean - variance * shift) / share, variance / share  # of the cavity
        tilted = self.site.tilted(self.targets[a:b], mean, variance, self.powers[a:b])
        found = tilted.natural(mean, variance)
        np.maximum(found[0], 0.0, out=found[0])  # except for rounding
        evidence = evidence_of_sites(tilted.log_z, (precision, shift), mean, variance)
        damping = self.before.damping
        self.precision[a:b] = precision + damping * (found[0] - precision)
        self.shift[a:b] = shift + damping * (found[1] - shift)
        return float(self.copies[a:b] @ evidence)


def _divergence(
    model: Logistic, posterior: Posterior, params: Coefficients, new: Coefficients
) -> float:
    """Divergence of the posterior at `new` from that at `params`, in nats."""
    change = new.precision - params.precision
    change += np.diag(model.precisions(new.rates) - model.precisions(params.rates))
    shift = new.precision_mean - params.precision_mean
    return divergence(posterior.mean, posterior.root, change, shift)


def _gaussian_evidence(model: Logistic, params: Coefficients, posterior: Posterior) -> float:
    """Log normaliser of sites times prior, where E[log alpha] is that of q(alpha), less its KL."""
    white = posterior.root.T @ params.precision_mean
    evidence = 0.5 * float(white @ white) - 0.5 * posterior.log_det
    evidence += 0.5 * float(np.log(model.hyper.fixed[~model.in_group]).sum())
    shape, rate = model.hyper.shape, model.hyper.rate
    shapes, rates = model.shapes, params.rates
    expected, log_expected = shapes / rates, digamma(shapes) - np.log(rates)
    sizes = 2.0 * (shapes - shape)  # of the groups
    divergence = (
        (shapes - shape) * digamma(shapes) - gammaln(shapes) + gammaln(shape)
        + shape * np.log(rates / rate) + expected * (rate - rates)
    )  # fmt: skip
    return evidence + float(0.5 * sizes @ log_expected - divergence.sum())


def _learned(model: Logistic, posterior: Posterior, rates: Array) -> Array:
    """Next rates of learned precisions.

    At the fixed point, eq. 10.179 of Bishop (2006), E[alpha] = shape / (rate + sum E[w^2] / 2). To
    get there in few passes, E[w^2] is taken as a function of alpha as if columns were orthogonal.
    """
    if not len(rates):
        return rates
    expected = model.shapes / rates
    of_each = np.where(model.in_group, model.precisions(rates), 0.0)
    data = np.maximum(1.0 / posterior.variances - of_each, 0.0)  # precision without the prior's
    pull = posterior.mean / posterior.variances

    def excess(alpha: Array) -> Array:
        total = data + np.where(model.in_group, alpha[model.groups], 0.0)
        squares = model.group_sums(np.square(pull / total) + 1.0 / total)
        return np.asarray(alpha * (model.hyper.rate + 0.5 * squares) - model.shapes)

    low, high = np.log(expected) - STRIDE, np.log(expected) + STRIDE
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = excess(np.exp(middle)) > 0.0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(model.shapes / np.exp(0.5 * (low + high)))


def _from_mode(
    model: Logistic, source: LabelledRows, slopes: Slopes, params: Coefficients, damping: float
) -> Propagated:
    """Sites with the curvature at the mode, near which those of EP are found in a few passes.

    From sites of 0, parallel EP does not converge.
    """
    batch = Batch(source.all(), np.ones(source.n_rows))
    logits = model.logits(model.posterior(params), batch.rows.features)[0].astype(np.float64)
    for _ in range(NEWTON_STEPS):
        work = _AtLogits(batch, logits, model, slopes)
        _, linear, precision = work.run(model.n_threads)
        params = Coefficients(linear, model.prior.precision + precision, params.rates)
        found = model.logits(model.posterior(params), batch.rows.features)[0]
        step = float(np.abs(found - logits).max())
        logits = logits + (found - logits) * min(1.0, FAR / max(step, NEAR))
        if step < NEAR:
            break
    return Propagated(params, work.precision, work.shift, damping, np.inf)
