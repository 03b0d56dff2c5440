"""Dynamic topic models: assignments of tokens by slice of time, and chains of topics over slices.

Blei and Lafferty (2006), "Dynamic topic models": the words of slice t and topic k have the
probabilities softmax_w(x_wtk + c_wt). Each x_w.k is a Gaussian random walk, and c_w., the drift
that all topics share, an autoregression. Their posterior is Gaussian, by conjugate-computation
variational inference (Khan and Lin 2017): with zeta_tk = sum_w E[exp(x_wtk + c_wt)], the count
n_wtk acts as a Gaussian site of precision lam = N_tk E[exp(x_wtk + c_wt)] / zeta_tk and of
precision times mean n - lam + lam E[x], so that an update is a pass of an information filter
forwards and of a smoother backwards.

Shapes: D documents, N entries, V words, T slices, K topics padded to a multiple of 8 (padding:
weights, rates and counts 0). P pairs of a word and a slice have counts, sorted by both.
"""

import typing

import numpy as np

from ._jit import kernel
from .special import exp, log

# Below it, a Newton step for a sum of exponentials never lowers its objective: s^2 + s + 1 >= e^s.
LONGEST_RISE = np.float32(1.79)


class Prior(typing.NamedTuple):
    """The prior of chains: x_0 ~ N(mean, variance), x_t ~ N(x_t-1, steps_t); steps_0 is not used.

    Of the drift: c_0 ~ N(drift_mean, drift_variance), c_t ~ N(drift_keep_t c_t-1, drift_steps_t),
    or no drift if these arrays are empty. All are float32.
    """

    mean: typing.Any  # (V, K)
    variance: typing.Any  # (V, K)
    steps: typing.Any  # (T,)
    drift_mean: typing.Any  # (V,)
    drift_variance: typing.Any  # (V,)
    drift_keep: typing.Any  # (T,)
    drift_steps: typing.Any  # (T,)


class Chains(typing.NamedTuple):
    """Their posterior: means and marginal variances, the precisions of the sites that determine
    these, and `weights`, E[exp(x + c)]; all float32.
    """

    means: typing.Any  # (V, T, K)
    variances: typing.Any  # (V, T, K)
    sites: typing.Any  # (V, T, K)
    drift_means: typing.Any  # (V, T), or (V, 0) without a drift
    drift_variances: typing.Any  # the same
    weights: typing.Any  # (V, T, K)


class Move(typing.NamedTuple):
    """What to take off all words' means, which leaves topics as they are; float32."""

    topics: typing.Any  # (T, K)
    drift: typing.Any  # (T,), or (0,) without a drift
    scale: typing.Any  # (T, K): exp(-topics - drift), the factor of the weights


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
    weights (V, T, K). At most max_iter passes over a document, until its counts change by less than
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
                indptr[d], indptr[d + 1], words, counts, slices[d], alpha, inverse[slices[d]],
                weights, g, row, p,
            )  # fmt: skip
            change = np.float32(0)
            for k in range(n_topics):
                change += abs(row[k] - before[k])
            if change < tol:
                break


@kernel
def _assign_document(begin, end, words, counts, t, alpha, inverse, weights, g, row, p):
    """One pass over the entries of a document of slice t, whose counts are row (K,)."""
    full, scale = np.float32(65535), np.float32(1 / 65535)
    mass = np.float32(0)
    for k in range(p.shape[0]):
        mass += row[k]
    score, n_tokens = 0.0, 0.0
    for j in range(begin, end):
        gj, word = g[j], weights[words[j], t]
        own = scale * min(counts[j], np.float32(1))
        for k in range(p.shape[0]):
            p[k] = max(row[k] - np.float32(gj[k]) * own, alpha[k]) * (word[k] * inverse[k])
        total = np.float32(1e-30)
        for k in range(p.shape[0]):
            total += p[k]
        score += counts[j] * log(total)
        n_tokens += counts[j]
        share, unit = full / total, counts[j] * scale
        for k in range(p.shape[0]):
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
def _spread(first, last, slices, counts, n):
    """Counts of a word, which has the pairs first..last, as n (T, K), zero where it has none."""
    for t in range(n.shape[0]):
        for k in range(n.shape[1]):
            n[t, k] = 0
    for p in range(first, last):
        t = slices[p]
        for k in range(n.shape[1]):
            n[t, k] = counts[p, k]


@kernel
def _set_sites(
    n, rates, weights, means, variances, prior_mean, steps, sites, hessian, shift
):  # fmt: skip
    """Sites of a word: hessian (T, K) and shift for the means, and precisions for the variances.

    The expected precision a = rates weights depends on the variance v itself, which would
    oscillate where it is large. So sites move towards a by a Newton step for log(sites) = log(a(v))
    in which a site acts on as many slices as the chain's correlation reaches, 1 + 2 v / steps.
    """
    one, half, longest = np.float32(1), np.float32(0.5), np.float32(n.shape[0])
    for t in range(n.shape[0]):
        reach = np.float32(2) / steps[t] if t > 0 else np.float32(0)
        # LLVM vectorises no loop over so many arrays that it cannot check them for overlaps
        for k in range(n.shape[1]):
            hessian[t, k] = rates[t, k] * weights[t, k]
        for k in range(n.shape[1]):
            a, before, v = hessian[t, k], sites[t, k], variances[t, k]
            slope = half * max(a, before) * (v * v) * min(longest, one + reach * v)
            sites[t, k] = before + (a - before) / (one + slope)
        for k in range(n.shape[1]):
            shift[t, k] = means[t, k] - prior_mean[k]
        for k in range(n.shape[1]):
            shift[t, k] = n[t, k] - hessian[t, k] + hessian[t, k] * shift[t, k]


@kernel
def _filter(sites, prior_variance, steps, precision, hessian, shift):
    """Information filter of a word's chains, in deviations from the prior mean.

    Out: precision (T, K) given the sites. In and out: hessian, shift (T, K), from those of sites.
    """
    one = np.float32(1)
    for k in range(sites.shape[1]):
        precision[0, k] = sites[0, k] + one / prior_variance[k]
    for k in range(sites.shape[1]):
        hessian[0, k] += one / prior_variance[k]
    for t in range(1, sites.shape[0]):
        step = steps[t]
        for k in range(sites.shape[1]):
            before = precision[t - 1, k]
            precision[t, k] = sites[t, k] + before / (one + step * before)
        for k in range(sites.shape[1]):
            share = one / (one + step * hessian[t - 1, k])
            hessian[t, k] += hessian[t - 1, k] * share
            shift[t, k] += shift[t - 1, k] * share


@kernel
def _smooth(precision, hessian, shift, steps, prior_mean, means, variances, most):
    """Backwards: variances (T, K), and means, by a step that is shortened where it rises too far.

    `shift` becomes the step, `most` (K,) its largest rise over slices.
    """
    one = np.float32(1)
    last = means.shape[0] - 1
    for k in range(means.shape[1]):
        variances[last, k] = one / precision[last, k]
    for k in range(means.shape[1]):
        shift[last, k] /= hessian[last, k]
    for t in range(last - 1, -1, -1):
        step = steps[t + 1]
        for k in range(means.shape[1]):
            share = one / (one + step * precision[t, k])
            variances[t, k] = step * share + variances[t + 1, k] * (share * share)
        for k in range(means.shape[1]):
            shift[t, k] = (step * shift[t, k] + shift[t + 1, k]) / (one + step * hessian[t, k])
    for k in range(means.shape[1]):
        most[k] = LONGEST_RISE
    for t in range(last + 1):
        for k in range(means.shape[1]):
            shift[t, k] += prior_mean[k] - means[t, k]
        for k in range(means.shape[1]):
            most[k] = max(most[k], shift[t, k])
    for k in range(means.shape[1]):
        most[k] = LONGEST_RISE / most[k]
    for t in range(last + 1):
        for k in range(means.shape[1]):
            means[t, k] += most[k] * shift[t, k]


@kernel
def _drift(n, rates, weights, prior, w, means, variances, work):
    """Update a word's drift, means and variances (T,), given its weights (T, K), which follow.

    work (3, T): precision, precision times mean, and what the logarithm of the weights gains.
    """
    one = np.float32(1)
    precision, shift, gain = work[0], work[1], work[2]
    last = means.shape[0] - 1
    for t in range(last + 1):
        lam, count = np.float32(0), np.float32(0)
        for k in range(n.shape[1]):
            lam += rates[t, k] * weights[t, k]
            count += n[t, k]
        precision[t], shift[t] = lam, count - lam + lam * means[t]
        gain[t] = -means[t] - np.float32(0.5) * variances[t]
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
        scale = exp(gain[t] + means[t] + np.float32(0.5) * variances[t])
        for k in range(n.shape[1]):
            weights[t, k] *= scale


@kernel
def move_off(topics, drift, scale, means, drift_means, weights):
    """Take the parts of a `Move` off a word's chains."""
    for t in range(drift_means.shape[0]):
        drift_means[t] -= drift[t]
    for t in range(means.shape[0]):
        for k in range(means.shape[1]):
            means[t, k] -= topics[t, k]
        for k in range(means.shape[1]):
            weights[t, k] *= scale[t, k]


@kernel
def sweep(first, last, pairs, prior, rates, move, chains, totals, sums, drift_sums):
    """Update the chains of words first..last, given rates N / zeta (T, K).

    Adds up over words, in float64: totals (T, K), the new zeta, and the means' deviations from
    those of the prior, sums (T, K) and drift_sums (T,), which the next sweep may take off.
    """
    n_slices, n_topics = rates.shape[0], rates.shape[1] // 8 * 8
    n = np.empty((n_slices, n_topics), np.float32)
    precision = np.empty((n_slices, n_topics), np.float32)
    hessian = np.empty((n_slices, n_topics), np.float32)
    shift = np.empty((n_slices, n_topics), np.float32)
    most = np.empty(n_topics, np.float32)
    work = np.empty((3, n_slices), np.float32)
    # out of the tuples here, as each access counts references
    starts, pair_slices, counts = pairs
    away, drift_away, scale = move
    all_means, all_variances, all_sites, all_drifts, drift_variances, all_weights = chains
    prior_means, prior_variances, steps = prior.mean, prior.variance, prior.steps
    has_drift = all_drifts.shape[1] > 0
    for w in range(first, last):
        means, variances, sites = all_means[w], all_variances[w], all_sites[w]
        weights, drift, mean = all_weights[w], all_drifts[w], prior_means[w]
        move_off(away, drift_away, scale, means, drift, weights)
        _spread(starts[w], starts[w + 1], pair_slices, counts, n)
        _set_sites(n, rates, weights, means, variances, mean, steps, sites, hessian, shift)
        _filter(sites, prior_variances[w], steps, precision, hessian, shift)
        _smooth(precision, hessian, shift, steps, mean, means, variances, most)
        _weigh(means, variances, drift, drift_variances[w], weights)
        if has_drift:
            _drift(n, rates, weights, prior, w, drift, drift_variances[w], work)
            for t in range(n_slices):
                drift_sums[t] += drift[t]
        for t in range(n_slices):
            for k in range(n_topics):
                totals[t, k] += weights[t, k]
            for k in range(n_topics):
                sums[t, k] += means[t, k] - mean[k]


@kernel
def _weigh(means, variances, drift_means, drift_variances, weights):
    """Write E[exp(x + c)] (T, K) of a word."""
    half = np.float32(0.5)
    for t in range(means.shape[0]):
        common = np.float32(0)
        if drift_means.shape[0] > 0:
            common = drift_means[t] + half * drift_variances[t]
        for k in range(means.shape[1]):
            weights[t, k] = exp(means[t, k] + half * variances[t, k] + common)
