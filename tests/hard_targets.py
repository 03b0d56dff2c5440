"""Hard targets with known moments, on which verdicts of fits are tried out.

Moments are in closed form, by sums over a grid in one dimension, or numbers whose test sums over a
grid in two; those of posteriors of posteriordb are of 10,000 gold-standard draws.
"""

import functools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hard_densities as dense
import numpy as np
import posteriors
from scipy.special import polygamma, psi

import fastvi
from fastvi.transforms import positive, simplex

Array = np.ndarray
LOTKA = "hudson_lynx_hare-lotka_volterra"
LOGISTIC = "synthetic_logreg_N10000_D50"
STRETCHES = (0.25, 0.5, 0.7, 1.5, 2.0, 4.0, 9.8)


class Case(NamedTuple):
    """A target whose moments are known.

    Attributes
    ----------
    name : str
    make : callable
        ``make()`` returns the target.
    mean, sd : (D,) array or None
        Of the unconstrained numbers; None where it does not exist.
    start : (D,) array or None
        Where fits should begin.
    options : dict
        Further arguments of `fastvi.fit`.
    discrete : bool
        Only for blocks of Bernoulli numbers.
    """

    name: str
    make: Callable[[], fastvi.targets.Target]
    mean: Array | None
    sd: Array | None
    start: Array | None = None
    options: dict = {}  # noqa: RUF012
    discrete: bool = False


def made(function, **options):
    """What makes a target; a numerical gradient where none can be derived."""

    def make():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a numerical gradient costs
            return fastvi.target(function, **options)

    return make


def on_line(log_density, low, high, n=200_001):
    """Mean and sd of a density of one number, by sums over a grid."""
    x = np.linspace(low, high, n)
    height = log_density(x)
    weights = np.exp(height - height.max())
    weights /= weights.sum()
    mean = weights @ x
    return np.array([mean]), np.array([np.sqrt(weights @ (x - mean) ** 2)])


def both(mean, sd, dim=1):
    """The same moments for each of so many numbers."""
    return np.full(dim, float(mean)), np.full(dim, float(sd))


# Several modes

CLUSTERS = np.concatenate((np.linspace(-3.0, -1.0, 6), np.linspace(1.0, 3.0, 9)))
FAR_OFF = np.array([4.4, 4.8, 5.0, 5.3, 5.6, -4.0])


def of_several_modes():
    locations = on_line(
        lambda x: -0.005 * x**2 - np.log1p(4.0 * (FAR_OFF[:, None] - x) ** 2).sum(axis=0), -40, 40
    )
    yield Case(
        "two modes", made(dense.two_modes, dim=1), *both(0.0, np.sqrt(9.25)), np.array([0.1])
    )
    for share, mean, sd in (
        (0.5, [0.0101219, 0.0101219], [2.0120134, 2.0120134]),
        (0.3, [-1.6866681, 1.6671963], [1.1394359, 1.0896845]),
    ):
        data = {"y": CLUSTERS, "share": share}
        make = made(dense.unordered, data=data, dim=2)
        yield Case(f"unordered mixture {share}", make, np.array(mean), np.array(sd))
    data = {"y": FAR_OFF}
    yield Case(
        "Cauchy location", made(dense.cauchy_location, data=data, dim=1), *locations,
        np.array([-3.0]),
    )  # fmt: skip
    for centre in (0.0, 1.0):
        mean, square = 0.95 * centre, 0.05 * 0.1**2 + 0.95 * (1.0 + centre**2)
        make = made(dense.spike, data={"width": 0.1, "centre": centre}, dim=10)
        moments = both(mean, np.sqrt(square - mean**2), 10)
        yield Case(f"spike and slab at {centre:g}", make, *moments)
    yield Case("ridge", made(dense.ridge, dim=2), *both(0.0, 1.1892372, 2))


# Shapes that no Gaussian has


def of_shapes():
    r = np.linspace(1e-4, 6.0, 100_001)
    weights = r * np.exp(-0.5 * ((r - 3.0) / 0.3) ** 2)
    size = np.sqrt(0.5 * (weights @ r**2) / weights.sum())
    yield Case("ring", made(dense.ring, dim=2), *both(0.0, size, 2), np.array([0.1, 0.0]))
    for sd in (0.5, 3.0):
        sds = np.append(sd, np.full(9, np.exp(sd**2 / 4.0)))
        make = made(dense.funnel, data={"sd": sd}, dim=10)
        yield Case(f"funnel {sd:g}", make, np.zeros(10), sds)
    for spread, width in ((0.1, 0.1), (np.sqrt(10.0), np.sqrt(0.1))):
        variance = width**2 + 2.0 * spread**4 + 4.0 * spread**2
        make = made(dense.rosenbrock, data={"spread": float(spread), "width": float(width)}, dim=2)
        mean, sd = np.array([1.0, 1.0 + spread**2]), np.array([spread, np.sqrt(variance)])
        yield Case(f"Rosenbrock {spread:.1f}", make, mean, sd)
    moments = both(psi(0.05), np.sqrt(polygamma(1, 0.05)))
    yield Case("log Gamma(0.05)", made(dense.log_gamma, dim=1), *moments)
    yield Case("Cauchy, no mean", made(dense.log_cauchy, dim=3), None, None)
    data = {
        "y": np.array([28.0, 8, -3, 7, -1, 1, 18, 12]),
        "sigma": np.array([15.0, 10, 16, 11, 9, 11, 10, 18]),
    }
    names = {"theta": 8, "mu": (), "tau": positive()}
    yield Case("improper schools", made(dense.improper_schools, data=data, names=names), None, None)
    mean, sd = np.array([0.0, 13.9061104]), np.array([1.6850458, 6.1663201])
    yield Case("separable", made(dense.separable, data=SEPARABLE, dim=2), mean, sd)
    rest = 0.5 * np.arange(9, 0, -1)
    mean = psi(0.5) - psi(rest) + np.log(np.arange(9, 0, -1))
    sd = np.sqrt(polygamma(1, 0.5) + polygamma(1, rest))
    yield Case("sparse simplex", made(dense.dirichlet, names={"p": simplex(10)}), mean, sd)


SEPARABLE = {"x": np.linspace(-2.0, 2.0, 20), "y": np.repeat([0.0, 1.0], 10)}


# Many numbers


def chain_of(n, phi):
    """A noisy AR(1): a Gaussian, whose mean is not 0."""
    y = np.random.default_rng(n).normal(0.0, 2.0, n)
    precision = np.diag(np.full(n, 2.0 + phi**2))
    precision[-1, -1] -= phi**2
    precision[0, 0] = 2.0
    precision -= phi * (np.eye(n, k=1) + np.eye(n, k=-1))
    cov = np.linalg.inv(precision)
    make = made(dense.chain, data={"y": y, "phi": phi}, dim=n)
    return Case(f"AR(1) {n}", make, cov @ y, np.sqrt(np.diag(cov)))


def groups_of(n, centred=True):
    """A hierarchy: Gaussian for a given tau, which a sum over a grid of log tau takes out."""
    y = np.random.default_rng(n).normal(2.0, np.sqrt(2.0), n)
    log_tau = np.linspace(-18.0, 3.0, 4001)[:, None]
    tau2 = np.exp(2.0 * log_tau)
    total = 1.0 + tau2  # variance of y
    precision = n / total + 0.04
    mu = y.sum() / total / precision
    square = (np.square(y).sum() / total) - precision * mu**2
    height = log_tau - 0.125 * tau2 - 0.5 * (n * np.log(total) + np.log(precision) + square)
    weights = np.exp(height - height.max())
    weights = weights[:, 0] / weights.sum()
    if centred:
        share = tau2 / total
        effects = share * y + (1.0 - share) * mu
        variances = share + (1.0 - share) ** 2 / precision + 0.0 * y
    else:
        effects = np.sqrt(tau2) / total * (y - mu)
        variances = 1.0 / total + tau2 / total**2 / precision + 0.0 * y
    means = np.column_stack((effects, mu, log_tau))
    squares = np.column_stack((variances, 1.0 / precision, 0.0 * log_tau)) + means**2
    mean = weights @ means
    sd = np.sqrt(weights @ squares - mean**2)
    function = dense.hierarchy if centred else dense.hierarchy_of_noise
    names = {"theta": n, "mu": (), "tau": positive()}
    name = f"{n} groups" + ("" if centred else ", not centred")
    return Case(name, made(function, data={"y": y}, names=names), mean, sd)


def of_many_numbers():
    yield chain_of(200, 0.8)
    yield groups_of(8)
    yield groups_of(8, centred=False)
    yield groups_of(50)
    yield groups_of(1000)
    yield chain_of(1000, 0.95)


# Rows and discrete numbers


def of_rows():
    y = np.random.default_rng(0).normal(1.0, 1.0, 2000)
    moments = both(y.mean(), 1.0 / np.sqrt(2000.0))
    for name, function in (("weights", dense.remembering), ("no weights", dense.forgetful)):
        make = made(function, data={"y": y}, dim=1, rows=("y",))
        yield Case(f"mini-batches, {name}", make, *moments, None, {"batch_size": 20})
    yield Case("table of bits", made(dense.bits, dim=2), *both(0.5, 0.5, 2), discrete=True)


# Real data


def of_posteriordb(folder):
    for name in (LOTKA, *sorted(posteriors.POSTERIORS), LOGISTIC):
        reference = json.loads((folder / name / "reference.json").read_text())
        moments = reference.get("unconstrained", reference)
        make = functools.partial(of_data, folder, name)
        yield Case(name, make, np.array(moments["mean"]), np.array(moments["sd"]))


def of_data(folder, name):
    if name == LOTKA:
        values = json.loads((folder / name / "data.json").read_text())
        data = {key: np.array(values[key], float) for key in ("ts", "y_init", "y")}
        names = {"theta": positive(4), "z_init": positive(2), "sigma": positive(2)}
        return made(dense.lotka_volterra, data=data, names=names)()
    if name == LOGISTIC:
        with np.load(folder / name / "data.npz") as f:
            data = {"X": f["X"], "y": f["y"].astype(float)}
        return fastvi.target(posteriors.logistic, data=data, dim=50)
    function, data, names = posteriors.load(folder, name)
    rows = ("X", "y") if function is posteriors.regression else None
    given = "grad" in function.__code__.co_varnames
    options = {} if given else {"gradient": "numerical"}
    return made(function, data=data, names=names, rows=rows, **options)()


@functools.cache
def few_numbers() -> dict[str, Case]:
    """Cases of few numbers by their names; moments of many numbers take a second."""
    return {case.name: case for part in (of_several_modes, of_shapes, of_rows) for case in part()}


def cases(folder: Path | None = None) -> list[Case]:
    """All cases; those with real data only where their folder is given."""
    found = [*few_numbers().values(), *of_many_numbers()]
    return found if folder is None else found + list(of_posteriordb(Path(folder)))


# Approximations that are wrong in a known way


def bad_members(mean: Array, cov: Array):
    """(k, mean, cov) of approximations k times as wide, whose means are off by 0.2 k sd."""
    sd = np.sqrt(np.diag(cov))
    for k in STRETCHES:
        yield k, mean + 0.2 * k * sd, k * k * cov
