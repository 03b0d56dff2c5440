"""Fits of posteriors written without gradients: `python bench/derived_posteriors.py DATA`.

Each is fitted with its derived gradient and with the one written by hand. The models without one
(garch, gp_pois_regr, hmm_example) are compared with finite differences. Figures are CPU seconds of
a fit, without compilation.
"""

import argparse
import sys
import time
from pathlib import Path

import harness
import numpy as np

import fastvi
from fastvi import densities
from fastvi.base.parallel import single_threaded_blas

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import derivatives_models
import posteriors

BY_HAND, NUMERICAL = 1.5, 1 / 5.0  # at most so many times their time


def regression(z, data, rows, weights):
    d = z.size - 1
    value = 0.0
    if data.beta_sd < np.inf:
        value += densities.normal(z[:d], 0.0, data.beta_sd)
    if data.sigma_scale < np.inf:
        value += densities.half_cauchy(z[d], data.sigma_scale)
    if data.sigma_sd < np.inf:
        value += densities.half_normal(z[d], data.sigma_sd)
    for m in range(rows.size):
        mean = 0.0
        for j in range(d):
            mean += data.X[rows[m], j] * z[j]
        value += weights[m] * densities.normal(data.y[rows[m]], mean, z[d])
    return value


def autoregression(z, data):
    K = data.K
    value = densities.normal(z[: K + 1], 0.0, 10.0) + densities.half_cauchy(z[K + 1], 2.5)
    return value + densities.autoregressive(data.y, z[0], z[1 : K + 1], z[K + 1])


def schools(z, data):
    J = data.y.size
    value = densities.normal(z[J], 0.0, 5.0) + densities.half_cauchy(z[J + 1], 5.0)
    value += densities.normal(z[:J], 0.0, 1.0)
    return value + densities.normal(data.y, z[J] + z[J + 1] * z[:J], data.sigma)


def schools_centred(z, data):
    J = data.y.size
    value = densities.normal(z[J], 0.0, 5.0) + densities.half_cauchy(z[J + 1], 5.0)
    return value + densities.normal(data.y, z[:J], data.sigma) + densities.normal(
        z[:J], z[J], z[J + 1]
    )  # fmt: skip


WITHOUT = {
    posteriors.regression: regression, posteriors.autoregression: autoregression,
    posteriors.schools: schools, posteriors.schools_centred: schools_centred,
    posteriors.mixture: derivatives_models.mixture,
}  # fmt: skip


def targets(folder, name):
    """The posterior with its derived gradient and with the other, and the ratio wanted."""
    function, data, names = posteriors.load(folder, name)
    given = {"data": data, "names": names}
    if function is posteriors.regression:
        given["rows"] = ("X", "y")
    if function in WITHOUT:
        ours, theirs = fastvi.target(WITHOUT[function], **given), fastvi.target(function, **given)
        return ours, theirs, BY_HAND
    numerical = fastvi.target(function, gradient="numerical", **given)
    return fastvi.target(function, **given), numerical, NUMERICAL


def _logistic():
    """The twelfth: a logistic regression of 1000 rows."""
    function, by_hand, data, z = derivatives_models.cases(1000)["logistic"]
    ours, theirs = (fastvi.target(f, data=data, dim=z.size) for f in (function, by_hand))
    return ours, theirs, BY_HAND


def compared(name, ours, theirs, wanted, repeats):
    """Row of one posterior, with how far its two fits are apart in standard deviations."""
    found = {}

    def job(who, target):
        def run(repeat):
            start = time.process_time()
            found[who] = fastvi.fit(target, random_state=0)
            return time.process_time() - start

        return run

    jobs = {"ours": job("ours", ours), "theirs": job("theirs", theirs)}
    for run in jobs.values():
        run(0)  # compiles
    seconds = {who: min(times) for who, times in harness.interleaved(jobs, repeats).items()}
    mean, sd = (found["theirs"].mean, found["theirs"].sd)
    apart = float(np.max(np.abs(found["ours"].mean - mean) / sd))
    other = "by hand" if wanted == BY_HAND else "finite differences"
    return harness.row(
        f"fit of {name}, derived gradient against {other}", seconds["ours"], seconds["theirs"],
        seconds["ours"] / seconds["theirs"], wanted, at_most=True, unit="s",
        note=f"means {apart:.1e} sd apart",
    )  # fmt: skip


def run(folder, repeats=3):
    """Rows of all posteriors."""
    with single_threaded_blas():
        cases = {name: targets(folder, name) for name in posteriors.POSTERIORS}
        cases["logistic regression"] = _logistic()
        return [compared(name, *case, repeats) for name, case in cases.items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of posteriordb's files")
    parser.add_argument("--repeats", metavar="N", type=int, default=3)
    arguments = parser.parse_args()
    print(harness.markdown(run(arguments.data, arguments.repeats)))
