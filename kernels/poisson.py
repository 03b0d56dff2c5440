"""Poisson factorization: weights and means of column factors, local steps on rows, bounds.

y_ui ~ Poisson(sum_k theta_uk beta_ik), theta_uk ~ Gamma(a, xi_u), beta_ik ~ Gamma(c, eta_i), with
rates xi and eta that are known or Gamma-distributed: Gopalan, Hofman and Blei (2015), "Scalable
recommendation with hierarchical Poisson factorization", whose table 2 has the updates. Shapes: D
rows, U columns of a batch, N stored entries, K components padded to a multiple of 8.
"""

import typing

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .responsibilities import largest, responsibility_sums
from .special import digamma, exp, exp_digamma, gammaln, log, trigamma


class GammaPrior(typing.NamedTuple):
    """Factors are Gamma(shape, rate); the rate is `mean_rate`, or if `rate_shape` > 0 it is
    Gamma(rate_shape, rate_shape / mean_rate) itself.
    """

    shape: float
    mean_rate: float
    rate_shape: float


@kernel
def expected_rate(prior, n_components, total):
    """E[rate] given the sum of a row's (or column's) expected factors."""
    if prior.rate_shape > 0:
        shape = prior.rate_shape + n_components * prior.shape
        return shape / (prior.rate_shape / prior.mean_rate + total)
    return prior.mean_rate


@kernel
def rate_bound(prior, n_components, total):
    """What factors whose expectations add up to `total` bring to the ELBO through their rate.

    sum_k E[shape log rate - rate factor_k] + E[log p(rate) - log q(rate)] at the best q(rate).
    """
    n = n_components * prior.shape
    if prior.rate_shape > 0:
        a = prior.rate_shape
        b = a / prior.mean_rate
        return a * np.log(b) - gammaln(a) + gammaln(a + n) - (a + n) * np.log(b + total)
    return n * np.log(prior.mean_rate) - prior.mean_rate * total


@kernel
def factor_bound(shapes, rates, shape, n_components):
    """The rest: E[(shape - 1) log factor - log Gamma(shape)] plus the entropies, summed, nats.

    shapes, rates (K,) are those of q(factor) = Gamma(shapes, rates).
    """
    result = 0.0
    for k in range(n_components):
        g = np.float64(shapes[k])
        r = np.float64(rates[k])
        result += gammaln(g) + g + (shape - g) * digamma(g) - shape * log(r)
    return result - n_components * gammaln(shape)


# Columns


@kernel
def column_weights(values, own_rates, shared_rates, n_components, start, stop, shift):
    """Turn shapes of q(beta) into exp(E[log beta] - shift), shift the row's largest E[log beta].

    q(beta_ik) = Gamma(values_ik, own_rates_i + shared_rates_k). In and out: values (U, K);
    own_rates (U,), shared_rates (K,) float64; out: shift (U,).
    """
    width = values.shape[1] // 8 * 8
    shared = np.empty(width, values.dtype)
    best = np.empty(8, values.dtype)
    for k in range(width):
        shared[k] = shared_rates[k]
    for u in range(start, stop):
        row = values[u]
        own = values.dtype.type(own_rates[u])
        for k in range(width):
            row[k] = digamma(row[k]) - log(own + shared[k])
        top = largest(row, n_components, best)
        shift[u] = top
        for k in range(width):
            row[k] = exp(row[k] - top)
        for k in range(n_components, width):
            row[k] = 0


@kernel
def column_means(values, own_rates, shared_rates, n_components, start, stop, sums, totals):
    """Sums of E[beta] = values / rates: sums (K,) += over columns, totals (U,) = over components.

    Both float64; the other arguments as in `column_weights`.
    """
    width = values.shape[1] // 8 * 8
    shared = np.empty(width, values.dtype)
    mean = np.empty(width, values.dtype)
    for k in range(width):
        shared[k] = shared_rates[k]
    for u in range(start, stop):
        row = values[u]
        own = values.dtype.type(own_rates[u])
        for k in range(width):
            mean[k] = row[k] / (own + shared[k])
        total = 0.0
        for k in range(n_components):
            total += mean[k]
        totals[u] = total
        for k in range(width):
            sums[k] += mean[k]


@kernel
def column_bound(values, own_rates, shared_rates, totals, prior, n_components, start, stop):
    """The columns' part of the ELBO, nats, without -E[theta] E[beta], which is with the rows.

    totals (U,) as `column_means` leaves them.
    """
    result = 0.0
    rates = np.empty(n_components)
    for u in range(start, stop):
        for k in range(n_components):
            rates[k] = own_rates[u] + shared_rates[k]
        result += factor_bound(values[u], rates, prior.shape, n_components)
        result += rate_bound(prior, n_components, totals[u])
    return result


# Rows


@kernel
def _row_weights(gamma, rates, n_components, e, scratch):
    """Write exp(E[log theta]) up to a factor, whose log is returned."""
    reference = rates[0]
    for k in range(gamma.shape[0]):
        e[k] = exp_digamma(gamma[k]) * (reference / rates[k])
    top = largest(e, n_components, scratch)
    if 1e-4 < top < 1e12:
        return -log(reference)
    # small shapes, or rates of very different sizes
    for k in range(gamma.shape[0]):
        e[k] = digamma(gamma[k]) - log(rates[k])
    top = largest(e, n_components, scratch)
    for k in range(gamma.shape[0]):
        e[k] = exp(e[k] - top)
    return top


@kernel
def _total_mean(gamma, rates, n_components):
    """The sum of E[theta] = gamma / rates."""
    total = gamma.dtype.type(0)
    for k in range(n_components):
        total += gamma[k] / rates[k]
    return total


@kernel
def _fixed_point(
    columns, counts, weights, loads, prior, n_components, max_iter, tol, xi, rates, gamma, e, total,
    ratio,
):  # fmt: skip
    """Iterate the updates of q(theta) and E[xi] until they move less than tol counts; E[xi].

    gamma, rates (K,) are those of q(theta) to begin with; at the end the rates are xi + loads.
    """
    for _ in range(max_iter):
        _row_weights(gamma, rates, n_components, e, total)
        responsibility_sums(columns, counts, weights, e, ratio, total)
        mean = _total_mean(gamma, rates, n_components)
        last = xi
        xi = gamma.dtype.type(expected_rate(prior, n_components, np.float64(mean)))
        for k in range(n_components):
            total[k] = gamma.dtype.type(prior.shape) + e[k] * total[k]
        change = abs(xi - last) * mean
        for k in range(n_components):  # apart: see `kernel`
            change += abs(total[k] - gamma[k])
        for k in range(gamma.shape[0]):
            gamma[k] = total[k]
            rates[k] = xi + loads[k]
        if change < tol:
            break
    return xi


@kernel
def _row_bound(columns, counts, ratio, shift, factor, gamma, rates, loads, prior, n_components):
    """One row's part of the ELBO, nats, where ratio belongs to gamma and rates."""
    result = factor_bound(gamma, rates, prior.shape, n_components)
    result += rate_bound(prior, n_components, np.float64(_total_mean(gamma, rates, n_components)))
    for k in range(n_components):
        result -= np.float64(loads[k]) * np.float64(gamma[k]) / np.float64(rates[k])
    for j in range(columns.shape[0]):
        c = np.float64(counts[j])
        r = np.float64(ratio[j])
        x = np.float64(shift[columns[j]]) + factor
        result += c * (log(c / r) + x) if c > 0 else 0.0
    for j in range(columns.shape[0]):
        c = np.float64(counts[j])
        if c > 0 and c != 1:
            result -= gammaln(c + 1)
    return result


@kernel
def local_step(
    indptr, columns, counts, weights, shift, loads, start_loads, row_weights, prior, n_components,
    max_iter, tol, start, stop, gamma, xi, e, ratio, sums, bound,
):  # fmt: skip
    """Fit rows start..stop and leave what their statistics need.

    indptr (D+1,), columns (N,) rows of weights (U, K) and shift (U,), counts (N,), loads (K,) the
    sums of E[beta] over all columns, row_weights (D,); in and out: gamma (D, K) and xi (D,), where
    q(theta_uk) = Gamma(gamma_uk, xi_u + start_loads_k) to begin with, and with loads in their place
    at the end; sums (K,) float64 += row_weight E[theta]; out: e (D, K) and ratio (N,) at the final
    gamma, bound (D,) in nats. The bound at the end is at least that at the start if max_iter > 0.
    """
    width = gamma.shape[1] // 8 * 8
    total = np.empty(width, gamma.dtype)
    rates = np.empty(width, gamma.dtype)
    mode = flush_subnormals()
    for d in range(start, stop):
        a = indptr[d]
        b = indptr[d + 1]
        w, c, r, g = columns[a:b], counts[a:b], ratio[a:b], gamma[d]
        for k in range(width):
            rates[k] = xi[d] + start_loads[k]
        xi[d] = _fixed_point(
            w,
            c,
            weights,
            loads,
            prior,
            n_components,
            max_iter,
            tol,
            xi[d],
            rates,
            g,
            e[d],
            total,
            r,
        )
        factor = _row_weights(g, rates, n_components, e[d], total)
        responsibility_sums(w, c, weights, e[d], r, total)
        bound[d] = _row_bound(w, c, r, shift, factor, g, rates, loads, prior, n_components)
        for k in range(width):
            sums[k] += row_weights[d] * np.float64(g[k] / rates[k])
    restore_subnormals(mode)


@kernel
def start_rows(indptr, counts, prior, n_components, start, stop, gamma, xi):
    """Write gamma (D, K) = shape + row's sum / K, 0 in the padding; xi (D,) = the prior's mean."""
    for d in range(start, stop):
        length = gamma.dtype.type(0)
        for j in range(indptr[d], indptr[d + 1]):
            length += counts[j]
        share = gamma.dtype.type(prior.shape + length / n_components)
        for k in range(gamma.shape[1]):
            gamma[d, k] = share if k < n_components else 0
        xi[d] = prior.mean_rate


@kernel
def plain_gradient(
    values, own_rates, shared_rates, d_values, d_own, d_shared, n_components, out, by_component,
    by_column,
):  # fmt: skip
    """The ELBO's gradient with respect to log shapes (U, K), and to rates of q(beta), summed.

    The Fisher matrix of Gamma(s, r) times a natural gradient (ds, -dr) is
    (trigamma(s) ds - dr / r, ds / r - s dr / r^2). d_values (U, K), d_own (U,) and d_shared (K,)
    are natural gradients; out (U, K); by_component (K,) and by_column (U,) float64.
    """
    for u in range(values.shape[0]):
        total = 0.0
        for k in range(n_components):
            s = values[u, k]
            r = own_rates[u] + shared_rates[k]
            by = (s * (d_own[u] + d_shared[k]) / r - d_values[u, k]) / r
            total += by
        by_column[u] = total
        for k in range(n_components):
            s = values[u, k]
            r = own_rates[u] + shared_rates[k]
            dr = d_own[u] + d_shared[k]
            by_component[k] += (s * dr / r - d_values[u, k]) / r
            out[u, k] = s * (trigamma(s) * d_values[u, k] - dr / r)
