"""Variances of score-function gradients, by tools: `python bench/variance.py [--draws N]`."""

import argparse
import itertools

import numpy as np

import fastvi
from fastvi.families import bernoulli, blocks, gamma, gaussian, lognormal
from fastvi.gradients.score import score
from fastvi.gradients.score_variance import centred, controlled, overdispersed

N_LOCAL, N_SPINS = 20, 20
TOOLS = {
    "overdispersion": overdispersed,
    "baseline": centred,
    "control variates": controlled,
}


@fastvi.target(terms=[[0], *([0, i + 1] for i in range(N_LOCAL))])
def counts(z, data, terms):
    """y_i ~ Poisson(x_i), x_i ~ Gamma(2, 2 / m), log m ~ N(0, 1)."""
    log_mean = np.log(z[0])
    terms[0] = -0.5 * log_mean**2 - log_mean
    for i in range(len(data.y)):
        x = z[i + 1]
        terms[i + 1] = np.log(x) - 2.0 * log_mean - 2.0 * x / z[0] + data.y[i] * np.log(x) - x


@fastvi.target(terms=[*([i] for i in range(N_SPINS)), *([i, i + 1] for i in range(N_SPINS - 1))])
def chain(z, data, terms):
    """A chain of bits, each with its own field and a preference to agree with its neighbours."""
    n = len(data.field)
    for i in range(n):
        terms[i] = data.field[i] * z[i]
    for i in range(n - 1):
        terms[n + i] = 1.0 if z[i] == z[i + 1] else 0.0


@fastvi.target
def logistic(z, data):
    """A logistic regression with a standard normal prior; every row touches every coefficient."""
    total = 0.0
    for j in range(len(z)):
        total -= 0.5 * z[j] ** 2
    for i in range(data.X.shape[0]):
        logit = 0.0
        for j in range(len(z)):
            logit += data.X[i, j] * z[j]
        total += data.y[i] * logit - max(logit, 0.0) - np.log1p(np.exp(-abs(logit)))
    return total


def models():
    """{name: (target, q)}, where q is near the best of its family."""
    rng = np.random.default_rng(0)
    y = rng.poisson(rng.gamma(2.0, 1.5, N_LOCAL)).astype(float)
    X = rng.normal(size=(100, 5))
    labels = (rng.random(100) < 1 / (1 + np.exp(-X.sum(axis=1)))).astype(float)
    field = rng.normal(size=N_SPINS)
    return {
        "counts": (
            counts.bind({"y": y}, dim=N_LOCAL + 1),
            blocks(lognormal(np.log(3.0), 0.2), gamma(y + 2.0, 1.0 + 2.0 / 3.0)),
        ),
        "chain": (chain.bind({"field": field}, dim=N_SPINS), blocks(bernoulli(_sigmoid(field)))),
        "logistic": (
            logistic.bind({"X": X, "y": labels}, dim=5),
            blocks(gaussian(np.full(5, 0.8), 0.25)),
        ),
    }


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gradient_of(target, q, n_draws, blanket, tools):
    found = score(target if blanket else _Whole(target), n_draws=n_draws, family=q)
    for name, tool in TOOLS.items():
        if name in tools:
            options = {"centred": len(tools) > 1} if tool is overdispersed else {}
            found = tool(found, **options)
    return found


class _Whole:
    """A target without information on what its terms depend on."""

    def __init__(self, target):
        self.attempt, self.dim, self.n_terms = target.attempt, target.dim, target.n_terms


def variance(gradient, q, steps, warm, seed=0):
    """Trace of a gradient's covariance, in Fisher's units, after `warm` steps at the same q."""
    rng, params = np.random.default_rng(seed), q.free()
    state, found = gradient.init(params), []
    for _ in range(warm + steps):
        direction, state, info = gradient.estimate(state, params, None, rng)
        found.append(direction)
    spread = np.var(np.array(found[warm:]) * q.step_units(params), axis=0).sum()
    return float(spread), info.get("dispersion", 1.0)


def table(n_draws, steps, warm):
    """Lines of the table, one per set of tools."""
    names = list(TOOLS)
    sets = [tools for n in (0, 1, 2, 3) for tools in itertools.combinations(names, n)]
    plain = {}
    lines = ["| Rao-Blackwell | tools | " + " | ".join(models()) + " |", "|---|---|" + "---|" * 3]
    for blanket, tools in itertools.product((False, True), sets):
        cells = []
        for model, (target, q) in models().items():
            if blanket and target.touches is None:
                cells.append("")
                continue
            found = variance(gradient_of(target, q, n_draws, blanket, tools), q, steps, warm)
            base = plain.setdefault(model, found[0])
            tau = f" (tau {found[1]:.2f})" if "overdispersion" in tools else ""
            cells.append(f"{found[0] / base:.2g}{tau}")
        head = f"| {'yes' if blanket else 'no'} | {', '.join(tools) or 'none'} | "
        lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20, help="draws of a gradient")
    parser.add_argument("--steps", type=int, default=5000, help="gradients to take the variance of")
    parser.add_argument("--warm", type=int, default=1000, help="steps before, at the same q")
    arguments = parser.parse_args()
    print(table(arguments.draws, arguments.steps, arguments.warm))
