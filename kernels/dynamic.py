"""Dynamic topic models: assignments of tokens by slice of time, and chains of topics over slices.

Blei and Lafferty (2006), "Dynamic topic models": the words of slice t and topic k have the
probabilities softmax_w(x_wtk + c_wt). Each x_w.k is a Gaussian random walk, and c_w., the drift
that all topics share, an autoregression. Their posterior is Gaussian, by conjugate-computation
variational inference (Khan and Lin 2017): with zeta_tk = sum_w E[exp(x_wtk + c_wt)], the count
n_wtk acts as a Gaussian site of precision lam = N_tk E[exp(x_wtk + c_wt)] / zeta_tk and of
precision times mean n - lam + lam E[x], so that an update is a pass of an information filter
forwards and of a smoother backwards.

Shapes: D documents, N entries, V words, T slices, K topics padded to a multiple of 8 (padding:
rates and counts 0). P pairs of a word and a slice have counts, sorted by both. C = V K chains, word
by word, are columns; B = `BLOCK` K of them are updated at a time, so that vectors are full.
"""

import typing

import numpy as np

from ._jit import kernel
from .special import exp, log

BLOCK = 8  # words
# Below it, a Newton step for a sum of exponentials never lowers its objective: s^2 + s + 1 >= e^s.
LONGEST_RISE = np.float32(1.79)


class Prior(typing.NamedTuple):
    """The prior of chains: x_0 ~ N(mean, variance), x_t ~ N(x_t-1, steps_t); steps_0 is not used.

    Of the drift: c_0 ~ N(drift_mean, drift_variance), c_t ~ N(drift_keep_t c_t-1, drift_steps_t),
    or no drift if these arrays are empty. All are float32.
    """

    mean: typing.Any  # (C,)
    variance: typing.Any  # (C,)
    steps: typing.Any  # (T,)
    drift_mean: typing.Any  # (V,)
    drift_variance: typing.Any  # (V,)
    drift_keep: typing.Any  # (T,)
    drift_steps: typing.Any  # (T,)


class Chains(typing.NamedTuple):
    """Their posterior: means and marginal variances, the precisions of the sites that determine
    these, and `weights`, E[exp(x + c)]; all float32.
    """

    means: typing.Any  # (T, C), for Python (T, V, K)
    variances: typing.Any  # the same
    sites: typing.Any  # the same
    drift_means: typing.Any  # (T, V), or (0, V) without a drift
    drift_variances: typing.Any  # the same
    weights: typing.Any  # as the means


class Move(typing.NamedTuple):
    """What to take off all words' means, which leaves topics as they are; float32."""

    topics: typing.Any  # (T, K), for kernels (T, B), repeated
    drift: typing.Any  # (T,), or (0,) without a drift
    scale: typing.Any  # as topics: exp(-topics - drift), the factor of the weights


class Pairs(typing.NamedTuple):
    """Counts of pairs of a word and a slice: those of word w are rows starts[w]..starts[w+1]."""

    starts: typing.Any  # (V + 1,) int64
    slices: typing.Any  # (P,) int64
    counts: typing.Any  # (P, K) float32


# Documents


@kernel
def assign(
    first, last, indptr, words, counts, slices, alpha, inverse, weights, max_iter, tol, g,
    doc_topic, scores,
):  # fmt: skip
    """CVB0 on documents first..last, under the topics of their slices.

    indptr (D+1,), words (N,), counts (N,), slices (D,), alpha (K,), inverse (T, K) = 1 / zeta,
    weights (T, V, K). At most max_iter passes over a document, until its counts change by less than
    tol in sum. In and out: responsibilities g (N, K) in units of 1 / 65535 and doc_topic (D, K),
    expected counts plus prior; out: scores (D,), for each document the sum over tokens of the log
    probability given the document's other tokens, in the last pass.
    """
    n_topics = g.shape[1] // 8 * 8
    p = np.empty(n_topics, np.float32)
    before = np.empty(n_topics, np.float32)
    for d in range(first, last):
        row = doc_topic[d]
        for _ in range(max_iter):
            for k in range(n_topics):
                before[k] = row[k]
            scores[d] = _assign_document(
                indptr[d], indptr[d + 1], words, counts, alpha, inverse[slices[d]],
                weights[slices[d]], g, row, p,
            )  # fmt: skip
            change = np.float32(0)
            for k in range(n_topics):
                change += abs(row[k] - before[k])
            if change < tol:
                break


@kernel
def _assign_document(begin, end, words, counts, alpha, inverse, weights, g, row, p):
    """One pass over the entries of a document, whose counts are row (K,) and topics (V, K)."""
    full, scale = np.float32(65535), np.float32(1 / 65535)
    n_topics = p.shape[0] // 8 * 8
    mass = np.float32(0)
    for k in range(n_topics):
        mass += row[k]
    score, n_tokens = 0.0, 0.0
    for j in range(begin, end):
        gj, word = g[j], weights[words[j]]
        own = scale * min(counts[j], np.float32(1))
        total = np.float32(1e-30)
        for k in range(n_topics):  # may sum and store, see `kernel`: gj is of another width
            p[k] = max(row[k] - np.float32(gj[k]) * own, alpha[k]) * (word[k] * inverse[k])
            total += p[k]
        score += counts[j] * log(total)
        n_tokens += counts[j]
        share, unit = full / total, counts[j] * scale
        for k in range(n_topics):
            q = np.int32(p[k] * share + np.float32(0.5))
            row[k] += np.float32(q - np.int32(gj[k])) * unit
            gj[k] = np.uint16(q)
    return score - n_tokens * log(max(mass - np.float32(1), np.float32(1e-6)))


@kernel
def gather(first, last, bounds, entries, counts, g, out):
    """Expected counts out (P, K) of pairs first..last, whose entries are bounds[p]..bounds[p+1]."""
    scale = np.float32(1 / 65535)
    n_topics = g.shape[1] // 8 * 8
    for p in range(first, last):
        row = out[p]
        for k in range(n_topics):
            row[k] = 0
        for i in range(bounds[p], bounds[p + 1]):
            j = entries[i]
            unit = scale * counts[j]
            for k in range(n_topics):
                row[k] += np.float32(g[j, k]) * unit


# Chains


@kernel
def _spread(first, last, width, starts, slices, counts, n):
    """Counts of words first..last as n (T, B), zero where there are none."""
    for t in range(n.shape[0]):
        for j in range(n.shape[1]):
            n[t, j] = 0
    for w in range(first, last):
        for p in range(starts[w], starts[w + 1]):
            row, given = n[slices[p]], counts[p]
            for k in range(width):
                row[(w - first) * width + k] = given[k]


@kernel
def _set_sites(count, rate, reach, longest, mean, means, variances, weights, sites, hessian, shift):
    """Sites of a row of chains (B,): hessian and shift for the means, and for the variances.

    The expected precision a = rate weights depends on the variance v itself, which would oscillate
    where it is large. So sites move towards a by a Newton step for log(sites) = log(a(v)), in
    which a site acts on as many slices as the chain's correlation reaches, 1 + reach v.
    """
    one, half = np.float32(1), np.float32(0.5)
    # loops of their own: LLVM vectorises none over so many arrays, which may overlap
    for j in range(means.shape[0]):
        hessian[j] = rate[j] * weights[j]
    for j in range(means.shape[0]):
        a, before, v = hessian[j], sites[j], variances[j]
        slope = half * max(a, before) * (v * v) * min(longest, one + reach * v)
        sites[j] = before + (a - before) / (one + slope)
    for j in range(means.shape[0]):
        shift[j] = means[j] - mean[j]
    for j in range(means.shape[0]):
        shift[j] = count[j] - hessian[j] + hessian[j] * shift[j]


@kernel
def _filter(step, sites, precision, hessian, shift, next_precision, next_hessian, next_shift):
    """Information filter from a slice to the next: precisions given the sites and the hessian."""
    one = np.float32(1)
    for j in range(sites.shape[0]):
        next_precision[j] = sites[j] + precision[j] / (one + step * precision[j])
    for j in range(sites.shape[0]):
        next_shift[j] += shift[j] / (one + step * hessian[j])
    for j in range(sites.shape[0]):
        next_hessian[j] += hessian[j] / (one + step * hessian[j])


@kernel
def _smooth(step, precision, hessian, next_variances, next_shift, variances, shift):
    """Backwards from a slice: variances, and where the means lead, as `shift`."""
    one = np.float32(1)
    for j in range(variances.shape[0]):
        share = one / (one + step * precision[j])
        variances[j] = step * share + next_variances[j] * (share * share)
    for j in range(variances.shape[0]):
        shift[j] = (step * shift[j] + next_shift[j]) / (one + step * hessian[j])


@kernel
def _drift(n, rates, prior, w, place, width, chains, work):
    """Update a word's drift given its weights, which follow; its columns of n are from `place` on.

    work (5, T): means, variances, precision, precision times mean, and the factors of the weights.
    """
    one, half = np.float32(1), np.float32(0.5)
    means, variances, precision, shift, gain = work[0], work[1], work[2], work[3], work[4]
    last = work.shape[1] - 1
    for t in range(last + 1):
        weights = chains.weights[t, w * width : (w + 1) * width]
        rate, counts = rates[t], n[t, place : place + width]
        means[t], variances[t] = chains.drift_means[t, w], chains.drift_variances[t, w]
        lam, count = np.float32(0), np.float32(0)
        for k in range(width):
            lam += rate[k] * weights[k]
        for k in range(width):
            count += counts[k]
        precision[t], shift[t] = lam, count - lam + lam * means[t]
        gain[t] = -means[t] - half * variances[t]
        if t == 0:
            precision[0] += one / prior.drift_variance[w]
            shift[0] += prior.drift_mean[w] / prior.drift_variance[w]
        else:
            keep = prior.drift_keep[t]
            share = one / (keep * keep + prior.drift_steps[t] * precision[t - 1])
            precision[t] += precision[t - 1] * share
            shift[t] += keep * shift[t - 1] * share
    most = np.float32(0)
    for t in range(last, -1, -1):
        if t == last:
            variances[t] = one / precision[t]
            shift[t] *= variances[t]
        else:
            keep, step = prior.drift_keep[t + 1], prior.drift_steps[t + 1]
            share = one / (keep * keep + step * precision[t])
            shift[t] = (step * shift[t] + keep * shift[t + 1]) * share
            variances[t] = step * share + variances[t + 1] * (keep * share) * (keep * share)
        most = max(most, shift[t] - means[t])
    factor = LONGEST_RISE / max(most, LONGEST_RISE)
    for t in range(last + 1):
        means[t] += factor * (shift[t] - means[t])
        scale = exp(gain[t] + means[t] + half * variances[t])
        weights = chains.weights[t, w * width : (w + 1) * width]
        for k in range(width):
            weights[k] *= scale
    for t in range(last + 1):
        chains.drift_means[t, w], chains.drift_variances[t, w] = means[t], variances[t]


@kernel
def move_off(topics, scale, means, weights):
    """Take a row of a `Move` off a row of chains (B,)."""
    for j in range(means.shape[0]):
        means[j] -= topics[j]
    for j in range(means.shape[0]):
        weights[j] *= scale[j]


@kernel
def _update_means(mean, shift, means, most, last):
    """Step to mean + shift (T, B), shortened where it rises too far; `most` (B,) is scratch."""
    for j in range(mean.shape[0]):
        most[j] = LONGEST_RISE
    for t in range(shift.shape[0]):
        to, at = shift[t], means[t, last - mean.shape[0] : last]
        for j in range(mean.shape[0]):
            to[j] += mean[j] - at[j]
        for j in range(mean.shape[0]):
            most[j] = max(most[j], to[j])
    for j in range(mean.shape[0]):
        most[j] = LONGEST_RISE / most[j]
    for t in range(shift.shape[0]):
        to, at = shift[t], means[t, last - mean.shape[0] : last]
        for j in range(mean.shape[0]):
            at[j] += most[j] * to[j]


@kernel
def _update_block(a, b, n, rates, prior, move, chains, precision, hessian, shift, most):
    """Update the chains a..b, without the drift."""
    one, last = np.float32(1), n.shape[0] - 1
    mean, variance, m = prior.mean[a:b], prior.variance[a:b], b - a
    longest = np.float32(n.shape[0])
    for t in range(last + 1):
        reach = np.float32(2) / prior.steps[t] if t > 0 else np.float32(0)
        means, weights, sites = chains.means[t, a:b], chains.weights[t, a:b], chains.sites[t, a:b]
        move_off(move.topics[t], move.scale[t], means, weights)
        _set_sites(
            n[t], rates[t], reach, longest, mean, means, chains.variances[t, a:b], weights, sites,
            hessian[t], shift[t],
        )  # fmt: skip
        if t > 0:
            _filter(
                prior.steps[t], sites, precision[t - 1], hessian[t - 1], shift[t - 1],
                precision[t], hessian[t], shift[t],
            )  # fmt: skip
        else:
            for j in range(m):
                hessian[0, j] += one / variance[j]
            for j in range(m):
                precision[0, j] = sites[j] + one / variance[j]
    variances = chains.variances[last, a:b]
    for j in range(m):
        variances[j] = one / precision[last, j]
    for j in range(m):
        shift[last, j] /= hessian[last, j]
    for t in range(last - 1, -1, -1):
        _smooth(
            prior.steps[t + 1], precision[t], hessian[t], chains.variances[t + 1, a:b],
            shift[t + 1], chains.variances[t, a:b], shift[t],
        )  # fmt: skip
    _update_means(mean, shift, chains.means, most, b)


@kernel
def sweep(first, last, width, pairs, prior, rates, move, chains, totals, sums, drift_sums):
    """Update the chains of words first..last, given rates N / zeta (T, B), repeated.

    Adds up over words, in float64: totals (T, B), the new zeta, and the means' deviations from
    those of the prior, sums (T, B) and drift_sums (T,), which the next sweep may take off.
    """
    n_slices, size = rates.shape[0], rates.shape[1] // 8 * 8
    n = np.empty((n_slices, size), np.float32)
    precision = np.empty((n_slices, size), np.float32)
    hessian = np.empty((n_slices, size), np.float32)
    shift = np.empty((n_slices, size), np.float32)
    most = np.empty(size, np.float32)
    work = np.empty((5, n_slices), np.float32)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        a, b = start * width, stop * width
        _spread(start, stop, width, pairs.starts, pairs.slices, pairs.counts, n)
        _update_block(a, b, n, rates, prior, move, chains, precision, hessian, shift, most)
        for t in range(n_slices):
            _weigh(t, start, stop, width, move.drift, chains)
        if chains.drift_means.shape[0] > 0:
            for w in range(start, stop):
                _drift(n, rates, prior, w, (w - start) * width, width, chains, work)
        for t in range(n_slices):
            weights, means = chains.weights[t, a:b], chains.means[t, a:b]
            mean, total, away = prior.mean[a:b], totals[t], sums[t]
            for j in range(b - a):
                total[j] += weights[j]
            for j in range(b - a):
                away[j] += means[j] - mean[j]
            if chains.drift_means.shape[0] > 0:
                drift = 0.0
                for w in range(start, stop):
                    drift += chains.drift_means[t, w]
                drift_sums[t] += drift


@kernel
def _weigh(t, first, last, width, drift_moved, chains):
    """Write E[exp(x + c)] of words first..last in slice t, with `drift_moved` (T,) taken off."""
    half = np.float32(0.5)
    a, b = first * width, last * width
    means, variances = chains.means[t, a:b], chains.variances[t, a:b]
    weights = chains.weights[t, a:b]
    for j in range(b - a):
        weights[j] = means[j] + half * variances[j]
    if chains.drift_means.shape[0] > 0:
        for w in range(first, last):
            chains.drift_means[t, w] -= drift_moved[t]
            common = chains.drift_means[t, w] + half * chains.drift_variances[t, w]
            row = chains.weights[t, w * width : (w + 1) * width]
            for k in range(width):
                row[k] += common
    for j in range(b - a):
        weights[j] = exp(weights[j])
