"""Expectation propagation for linear models: `python bench/ep.py [PART ...]`.

`cost`: CPU time of `solver="ep"` against that of the bound, N=10,000 and D=50, in one process,
taking turns. `spread`: standard deviations of coefficients against importance sampling, whose
proposal is a Student-t about EP's Gaussian, for N = 10 D and N = 100 D, and those of the bound.
`hard`: 20 data sets that are separable or have rare labels.
"""

import argparse
import time
import warnings

import numpy as np
from scipy.special import gammaln, log_expit, log_ndtr

from fastvi import BayesianLogisticRegression

LINKS = {"logit": log_expit, "probit": log_ndtr}
DF = 6.0  # degrees of freedom of the proposal


def problem(n, d, seed=0, size=2.0):
    """Rows and labels of a logistic regression."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    w = rng.normal(size=d) * size / np.sqrt(d)
    return X, rng.random(n) < 1 / (1 + np.exp(-X @ w))


def cost(n=10_000, d=50, repeats=7):
    """Median CPU milliseconds of fits, and passes."""
    X, y = problem(n, d)
    models = {
        "bound": BayesianLogisticRegression(),
        "EP, logit": BayesianLogisticRegression(solver="ep"),
        "EP, probit": BayesianLogisticRegression(solver="ep", link="probit"),
        "bound, ARD": BayesianLogisticRegression(prior="ard"),
        "EP, logit, ARD": BayesianLogisticRegression(solver="ep", prior="ard"),
    }
    times = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            start = time.process_time()
            model.fit(X, y)
            times[name].append(time.process_time() - start)
    return {
        name: {"ms": 1e3 * float(np.median(times[name][1:])), "passes": model.n_iter_}
        for name, model in models.items()
    }


def spread(n, d, link="logit", seed=0, n_draws=200_000):
    """Ratios of standard deviations to those of importance sampling, EP's and the bound's."""
    X, y = problem(n, d, seed)
    options = {"C": 1.0, "fit_intercept": False}
    model = BayesianLogisticRegression(solver="ep", link=link, **options).fit(X, y)
    exact, evidence, ess = importance(X, y, link, model.coef_[0], model.covariance_, n_draws)
    found = {"EP": np.sqrt(np.diag(model.covariance_)) / exact, "ess": ess}
    found["evidence"] = model.log_evidence_ - evidence
    if link == "logit":
        bound = BayesianLogisticRegression(**options).fit(X, y)
        found["bound"] = np.sqrt(np.diag(bound.covariance_)) / exact
        found["elbo"] = bound.elbo_ - evidence
    return found


def importance(X, y, link, mean, covariance, n_draws, seed=1):
    """Standard deviations, log evidence (prior variance 1) and effective sample size."""
    rng = np.random.default_rng(seed)
    d, signs = len(mean), np.where(y, 1.0, -1.0)
    root = np.linalg.cholesky(covariance)
    log_weights, draws = [], []
    for _ in range(max(1, n_draws // 10_000)):
        noise = rng.normal(size=(5000, d))
        scale = np.sqrt(DF / rng.chisquare(DF, size=(5000, 1)))
        noise = np.concatenate((noise, -noise)) * np.concatenate((scale, scale))
        w = mean + noise @ root.T
        log_q = gammaln(0.5 * (DF + d)) - gammaln(0.5 * DF) - 0.5 * d * np.log(DF * np.pi)
        log_q = log_q - 0.5 * (DF + d) * np.log1p(np.square(noise).sum(axis=1) / DF)
        log_q = log_q - np.log(np.diag(root)).sum()
        log_p = -0.5 * np.square(w).sum(axis=1) - 0.5 * d * np.log(2 * np.pi)
        log_p = log_p + LINKS[link]((w @ X.T) * signs).sum(axis=1)
        log_weights.append(log_p - log_q)
        draws.append(w)
    log_weights, draws = np.concatenate(log_weights), np.concatenate(draws)
    weights = np.exp(log_weights - log_weights.max())
    evidence = np.log(weights.mean()) + log_weights.max()
    weights /= weights.sum()
    centre = weights @ draws
    return np.sqrt(weights @ (draws - centre) ** 2), evidence, 1 / np.square(weights).sum()


def hard(n_sets=20):
    """Passes that data sets take which are separable, or have one or two rows of a label."""
    passes, converged = [], 0
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(4, 200)), int(rng.integers(1, 6))
        X = rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1.5)
        score = X @ rng.normal(size=d)
        y = score > np.median(score)
        if seed % 2:
            y = np.zeros(n, bool)
            y[np.argsort(-score)[: 1 + seed % 4]] = True
        for link in LINKS:
            for C in (1.0, 100.0):
                model = BayesianLogisticRegression(solver="ep", link=link, C=C).fit(X, y)
                passes.append(model.n_iter_)
                converged += model.converged_
    return {"fits": len(passes), "converged": converged, "passes": passes}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["cost", "spread", "hard"])
    parts = parser.parse_args().parts
    if "cost" in parts:
        found = cost()
        for name, row in found.items():
            print(f"{name}: {row['ms']:.0f} ms, {row['passes']} passes")
    if "spread" in parts:
        for d, factor in ((5, 10), (20, 10), (5, 100), (20, 100)):
            for link in LINKS:
                part = spread(factor * d, d, link)
                line = f"N = {factor} D, D = {d}, {link}: EP {part['EP'].min():.3f} to "
                line += f"{part['EP'].max():.3f} of the truth, log evidence {part['evidence']:+.4f}"
                if "bound" in part:
                    line += f"; bound {part['bound'].min():.3f} to {part['bound'].max():.3f}, "
                    line += f"{part['elbo']:+.4f}"
                print(f"{line} (effective draws {part['ess']:.0f})", flush=True)
    if "hard" in parts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = hard()
        most, median = max(found["passes"]), np.median(found["passes"])
        print(f"{found['converged']} of {found['fits']} fits converge; passes {median:.0f}, {most}")


if __name__ == "__main__":
    main()
