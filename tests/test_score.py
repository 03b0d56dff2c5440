"""Score-function gradients are unbiased, their tools lower the variance, and fits find the answer.

Random tests state a seed and compare within 4.5 standard errors a coordinate.
"""

import functools
import itertools

import numpy as np
import pytest
from scipy import stats
from thoroughly import mostly_thorough

import fastvi
from fastvi import families, gradients
from fastvi.core import Batch
from fastvi.families import blocks
from fastvi.fitting.compiled import Stage
from fastvi.fitting.fit import fit
from fastvi.gradients import corrected
from fastvi.gradients.score import score
from fastvi.gradients.score_variance import centred, controlled, overdispersed
from fastvi.objectives import renyi, tempered
from fastvi.optimizers import adam, scaled
from fastvi.posteriors.member import Posterior

pytestmark = pytest.mark.jit
CLEAR = 4.5  # standard errors
TOOLS = {"overdispersed": overdispersed, "baseline": centred, "control": controlled}
SETS = [set for n in range(4) for set in itertools.combinations(TOOLS, n)]


def sets_of_tools(sets):
    """Each tool alone and all at once; two at a time meet nothing that three do not."""
    return pytest.mark.parametrize(
        "tools",
        [pytest.param(s, marks=pytest.mark.slow if len(s) == 2 else ()) for s in sets],
        ids="+".join,
    )


@fastvi.target(terms=[[0], [0, 1], [1, 2], [2, 3], [3]])
def states(z, data, terms):
    """Two bits, a category of three and a one of two, in a row."""
    terms[0] = 0.7 * z[0] - 5.0
    terms[1] = 1.2 * z[0] * z[1] - 0.3 * z[1]
    terms[2] = data.link[int(z[1]), int(z[2])]
    terms[3] = data.link[int(z[3]), int(z[2])] * 0.5
    terms[4] = -0.4 * z[3]


@functools.cache
def linked():
    """Compiled at its first use: not by each process that collects tests."""
    return states.bind({"link": np.array([[0.3, -0.5, 1.0], [-0.2, 0.9, 0.1]])}, dim=4)


class Untold:
    """The same target, which does not say what its terms depend on."""

    touches = None

    def __init__(self, target):
        self.target, self.dim, self.n_terms = target, target.dim, target.n_terms
        self.has_gradient, self.attempt, self.log_prob = False, target.attempt, target.log_prob


def all_states():
    return np.array(list(itertools.product((0, 1), (0, 1), (0, 1, 2), (0, 1))), float)


def exact(q, log_p, Z):
    """ELBO of q by enumeration of Z."""
    log_q = q.log_prob(Z)
    return np.exp(log_q) @ (log_p - log_q)


def slope(function, q, h=1e-5):
    """Gradient of a function of a member by its free parameters."""
    return np.array(
        [
            (function(q.from_free(q.values + h * e)) - function(q.from_free(q.values - h * e)))
            / (2 * h)
            for e in np.eye(len(q.values))
        ]
    )


def estimates(gradient, q, n, seed, batch=None):
    """n gradients in a row, (n, P), and the last info."""
    rng, state, found = np.random.default_rng(seed), gradient.init(q.free()), []
    for _ in range(n):
        direction, state, info = gradient.estimate(state, q.free(), batch, rng)
        found.append(direction)
    return np.array(found), info


def with_tools(gradient, tools):
    for name, tool in TOOLS.items():
        gradient = tool(gradient) if name in tools else gradient
    return gradient


def assert_unbiased(found, want):
    error = found.std(axis=0) / np.sqrt(len(found))
    z = (found.mean(axis=0) - want) / np.where(error > 0, error, 1.0)
    assert np.abs(z).max() < CLEAR, z


def discrete():
    return blocks(
        families.bernoulli([0.3, 0.6]), families.categorical([0.2, 0.3, 0.5]), bernoulli=1
    )


@sets_of_tools(SETS)
@pytest.mark.parametrize("told", mostly_thorough([True, False]))
def test_unbiased_against_enumeration(tools, told):
    """Seed 3; every set of tools, with and without Rao-Blackwellization."""
    q = discrete()
    want = slope(lambda q: exact(q, linked().log_prob(all_states()), all_states()), q)
    target = linked() if told else Untold(linked())
    gradient = with_tools(score(target, n_draws=7, family=q), tools)
    found, _ = estimates(gradient, q, 1500, seed=3)
    assert_unbiased(found, want)


@functools.cache
def smooth():
    """A density that all kinds can be near."""

    @fastvi.target(dim=1)
    def smooth(z):
        return -0.5 * (z[0] - 0.7) ** 2 + 0.3 * z[0]

    return smooth


LEGENDRE = np.polynomial.legendre.leggauss(400)
CONTINUOUS = {
    "gaussian": (families.gaussian(0.4, 0.8), lambda v: stats.norm(v[0], np.exp(v[1]))),
    "lognormal": (
        families.lognormal(-0.3, 0.4),
        lambda v: stats.lognorm(np.exp(v[1]), scale=np.exp(v[0])),
    ),
    "gamma": (
        families.gamma(2.5, 3.0),
        lambda v: stats.gamma(np.exp(v[0]), scale=np.exp(v[1] - v[0])),
    ),
    "beta": (
        families.beta(2.0, 3.0),
        lambda v: stats.beta(*(np.exp(v[1]) / (1 + np.exp([-v[0], v[0]])))),
    ),
    "poisson": (families.poisson(2.3), lambda v: stats.poisson(np.exp(v[0]))),
}


@pytest.mark.parametrize(
    ("kind", "tools"),
    [
        *((kind, ()) for kind in CONTINUOUS),
        # Tools see densities and weights only.
        *mostly_thorough((kind, tuple(TOOLS)) for kind in CONTINUOUS),
    ],
)
def test_unbiased_against_quadrature(kind, tools):
    """Seed 4; E_q and its entropy by quantiles of q, or by a sum over counts."""
    part, distribution = CONTINUOUS[kind]
    q = blocks(part)

    def elbo(q):
        found = distribution(q.values)
        if kind == "poisson":
            z = np.arange(100.0)
            p, entropy = found.pmf(z), found.entropy()
        else:
            x, p = LEGENDRE
            z, p, entropy = found.ppf(0.5 + 0.5 * x), 0.5 * p, found.entropy()
        return p @ (-0.5 * (z - 0.7) ** 2 + 0.3 * z) + entropy

    gradient = with_tools(score(smooth(), n_draws=10, family=q), tools)
    found, _ = estimates(gradient, q, 1500, seed=4)
    assert_unbiased(found, slope(elbo, q, h=1e-4))


def test_one_hot_and_tempering(rng):
    """One-hot blocks, and the target to a power, against enumeration; the bound too."""

    @fastvi.target(dim=5)
    def corners(z):
        return 0.5 * z[0] - z[1] * z[3] + 2.0 * z[2] * z[4]

    q = blocks(families.one_hot([0.2, 0.5, 0.3]), one_hot=2)
    Z = np.array([[*a, *b] for a in np.eye(3) for b in np.eye(2)])
    power = 0.4
    goal = lambda q: exact(q, power * corners.log_prob(Z), Z)  # noqa: E731
    gradient = score(corners, tempered(fastvi.objectives.elbo(), power), n_draws=50, family=q)
    found, info = estimates(controlled(gradient), q, 1000, seed=5)
    assert_unbiased(found, slope(goal, q))
    assert abs(info["elbo"] - goal(q)) < CLEAR * info["elbo_error"]


# Variance


def spread(gradient, q, seed=6, n=600, warm=300):
    found, info = estimates(gradient, q, n + warm, seed)
    return np.var(found[warm:] * q.step_units(q.values), axis=0).sum(), info


@pytest.mark.parametrize("told", mostly_thorough([True, False]))
@sets_of_tools([s for s in SETS if s and s != ("overdispersed",)])
def test_tools_lower_the_variance(told, tools):
    target, q = linked() if told else Untold(linked()), discrete()
    plain, _ = spread(score(target, n_draws=20, family=q), q)
    less, _ = spread(with_tools(score(target, n_draws=20, family=q), tools), q)
    assert less < 0.5 * plain


def test_rao_blackwellization_lowers_the_variance():
    q = discrete()
    whole, _ = spread(centred(score(Untold(linked()), n_draws=20, family=q)), q)
    parts, _ = spread(centred(score(linked(), n_draws=20, family=q)), q)
    assert parts < 0.9 * whole


@pytest.mark.thorough
def test_order_of_variances_on_a_conjugate_model():
    """Ranganath et al. (2014): with both tools below Rao-Blackwellized below plain; seed 6."""

    @fastvi.target(data={"y": np.array([1.0, 4.0, 2.0])}, dim=3, terms=[[0], [1], [2]])
    def counts(z, data, terms):
        for i in range(3):
            terms[i] = (data.y[i] + 1.0) * np.log(z[i]) - 2.0 * z[i]

    q = blocks(families.gamma([2.5, 5.0, 4.0], 2.0))
    plain, _ = spread(score(Untold(counts), n_draws=20, family=q), q)
    parts = score(counts, n_draws=20, family=q)
    alone, both = spread(parts, q)[0], spread(controlled(parts), q)[0]
    assert both < 0.5 * alone < 0.25 * plain


@pytest.mark.parametrize("centred", [False, True])
def test_overdispersion_lowers_the_variance(centred):
    """On a Gaussian that q is near, alone and inside of control variates."""

    @fastvi.target(dim=2)
    def near(z):
        return -0.5 * z[0] ** 2 - 0.5 * z[1] ** 2 - 0.1 * (z[0] * z[1]) ** 2

    q = blocks(gaussian=2)
    around = controlled if centred else lambda gradient: gradient
    before, _ = spread(around(score(near, n_draws=20, family=q)), q)
    wide = overdispersed(score(near, n_draws=20, family=q), centred=centred)
    after, info = spread(around(wide), q)
    assert after < 0.9 * before
    assert info["dispersion"] > 1.1


def test_dispersion_stays_in_its_range():
    q = discrete()
    gradient = overdispersed(score(linked(), n_draws=5, family=q), largest=1.0)
    _, info = estimates(gradient, q, 20, seed=7)
    assert info["dispersion"] == 1.0


# What it is told, and what goes wrong


def test_touches_count_for_both_numbers_of_a_pair_of_blocks():
    gradient = score(linked(), n_draws=3, family=discrete(), touches=np.ones((4, 5), bool))
    _, info = estimates(gradient, discrete(), 1, seed=0)
    assert info["draws"].signals.shape == (3, 4)
    with pytest.raises(ValueError, match=r"touches is .* wanted bool, \(4, 5\)"):
        score(linked(), n_draws=3, family=discrete(), touches=np.ones((4, 4), bool))


def test_terms_of_a_target():
    want = [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(linked().touches, want)
    assert smooth().touches is None
    with pytest.raises(ValueError, match=r"z\[3\] is out of bounds: .* from 0 to 2"):
        states.bind({"link": np.zeros((2, 3))}, dim=3)

    @fastvi.target(terms=[[0], [3]])
    def ends(z, data, terms):
        terms[0], terms[1] = z[0], data.link * z[z.size - 1]

    with pytest.raises(ValueError, match=r"terms\[1\] depends on number 3; wanted 0 to 2"):
        ends.bind({"link": 1.0}, dim=3)


def test_same_bits_again():
    for n_draws in (1, 2, 9):
        gradient = with_tools(score(linked(), n_draws=n_draws, family=discrete()), TOOLS)
        one, other = (estimates(gradient, discrete(), 5, seed=8)[0] for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert np.all(np.isfinite(one))


def test_svrg_refuses_it():
    for tools in ((), *SETS):
        gradient = with_tools(score(linked(), n_draws=3, family=discrete()), tools)
        with pytest.raises(ValueError, match="score-function"):
            corrected(gradient, lambda: None, every=3)


def test_draws_without_density_count_as_the_worst():
    """Rejected draws push q away; where none is left, the target says why."""

    @fastvi.target(dim=1)
    def half(z):
        return -z[0] if z[0] > 0 else -np.inf

    q = blocks(gaussian=1)
    found, info = estimates(controlled(score(half, n_draws=50, family=q)), q, 200, seed=9)
    assert 10 < info["rejected"] < 40
    assert found[:, 0].mean() > 0
    assert np.isfinite(info["elbo"])
    with pytest.raises(fastvi.targets.TargetError, match="half"):
        estimates(score(half, n_draws=5, family=q), blocks(families.gaussian(-9.0, 0.1)), 1, 0)


def test_draws_that_cannot_be_made_are_named():
    """A Gamma shape of exp(800) is no number; the target is not to blame for a missing gradient."""

    @fastvi.target(dim=1)
    def line(z):
        return -z[0]

    q = blocks(gamma=1)._replace(values=np.array([800.0, 0.0]))
    with pytest.raises(fastvi.targets.TargetError, match="cannot be evaluated at"):
        estimates(score(line, n_draws=5, family=q), q, 1, 0)


def test_mini_batches_are_unbiased():
    """Rows in shuffled batches: the mean over batches is the gradient of all rows."""
    y = np.array([0.0, 3.0, 1.0, 4.0, 2.0, 2.0])

    @fastvi.target(data={"y": y}, dim=1)
    def counts(z, data, rows, weights):
        total = np.log(z[0]) - z[0]
        for i in range(len(rows)):
            total += weights[i] * (data.y[rows[i]] * np.log(z[0]) - z[0])
        return total

    q = blocks(families.gamma(5.0, 3.0))
    gradient = controlled(score(counts, n_draws=20, family=q))
    parts = [
        estimates(gradient, q, 500, seed=i, batch=Batch(np.array([i, i + 3]), np.full(2, 3.0)))[0]
        for i in range(3)
    ]
    whole, _ = estimates(gradient, q, 500, seed=10)
    found = sum(parts) / 3 - whole
    assert_unbiased(found, np.zeros(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda q: score(smooth(), n_draws=3, family=q),
            "family draws 4 numbers; the target",
        ),
        (lambda q: score(linked(), n_draws=0, family=q), "n_draws"),
        (lambda q: score(linked(), renyi(0.5), n_draws=3, family=q), "support only the ELBO"),
        (lambda q: centred(score(linked(), n_draws=3, family=q), 1.0), "decay is 1.0"),
        (lambda q: overdispersed(score(linked(), n_draws=3, family=q), 0.5), "largest is 0.5"),
        (
            lambda q: overdispersed(centred(score(linked(), n_draws=3, family=q))).init(q.free()),
            "must wrap score",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(discrete())


# Families


def test_constructors():
    q = blocks(
        families.gaussian([1.0, 2.0], 0.5), families.lognormal(0.0, 0.5),
        families.gamma(3.0, [1.0, 2.0]), families.beta(2.0, 6.0), families.bernoulli(0.2),
        families.poisson(4.0), families.categorical([[0.5, 0.5], [0.1, 0.9]]),
        families.one_hot([0.2, 0.3, 0.5]),
    )  # fmt: skip
    want = [1, 2, np.exp(0.125), 3, 1.5, 0.25, 0.2, 4, 0.5, 0.9, 0.2, 0.3, 0.5]
    np.testing.assert_allclose(q.mean, want, rtol=1e-12)
    assert q.dim == 13
    np.testing.assert_allclose(q.chances(6), [0.8, 0.2])
    np.testing.assert_allclose(q.chances(9), [0.1, 0.9])
    np.testing.assert_allclose(q.chances(10), [0.2, 0.3, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blocks(), "got no blocks"),
        (lambda: blocks(normal=3), "no blocks 'normal'; wanted gaussian"),
        (lambda: blocks(gaussian=0), "gaussian"),
        (lambda: blocks(categorical=(3, 0)), "categorical"),
        (lambda: blocks("gaussian"), "is not a block"),
        (lambda: families.gaussian(0.0, 0.0), "sd is .* > 0"),
        (lambda: families.gaussian([0.0, 1.0], [1.0, 1.0, 1.0]), "mean 2, sd 3"),
        (lambda: families.gaussian(np.nan), "finite"),
        (lambda: families.gamma(-1.0), "shape is"),
        (lambda: families.beta(1.0, 0.0), "b is"),
        (lambda: families.bernoulli(1.0), "p is .* between 0 and 1"),
        (lambda: families.poisson(0.0), "rate is"),
        (lambda: families.categorical([0.5, 0.6]), "sums to"),
        (lambda: families.categorical([1.0, 0.0]), "positive"),
        (lambda: blocks(gaussian=1).chances(0), "wanted one with categories"),
        (lambda: blocks(gaussian=1).chances(1), "block is 1"),
    ],
)
def test_family_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Fits


@pytest.mark.thorough
def test_conjugate_counts():
    """Gamma-Poisson, whose posterior is in the family: Gamma(2 + sum y, 1 + n), to 0.02 sd."""
    y = np.array([2.0, 3.0, 1.0, 4.0, 0.0, 2.0])

    @fastvi.target(data={"y": y}, dim=1)
    def counts(z, data):
        total = np.log(z[0]) - z[0]
        for i in range(len(data.y)):
            total += data.y[i] * np.log(z[0]) - z[0]
        return total

    found = fit(counts, blocks(gamma=1), random_state=0)
    exact = stats.gamma(2 + y.sum(), scale=1 / (1 + len(y)))
    assert found.converged
    assert abs(found.mean[0] - exact.mean()) < 0.02 * exact.std()
    assert abs(found.sd[0] / exact.std() - 1) < 0.02
    assert "settled" in found.summary()


@pytest.mark.parametrize(
    "tools",
    [
        "control",
        gradients.baseline(0.8),
        ("overdispersion", "baseline"),
        ("control", gradients.overdispersion(largest=3.0)),
    ],
)
def test_discrete_against_enumeration(tools):
    """The fit's optimum is that of coordinate ascent on the exact ELBO, to 0.01."""
    found = fit(linked(), discrete(), variance_reduction=tools, random_state=1)
    Z = all_states()
    log_p = linked().log_prob(Z)
    from scipy.optimize import minimize

    q = discrete()
    best = minimize(lambda v: -exact(q.from_free(v), log_p, Z), q.values, method="BFGS")
    want = q.from_free(best.x)
    assert found.settled
    np.testing.assert_allclose(found.mean, want.mean, atol=0.01)
    np.testing.assert_allclose(found.sd, want.sd, atol=0.01)
    assert abs(found.elbo + best.fun) < CLEAR * found.elbo_error + 1e-3
    lower, upper = found.bounds
    assert lower < np.log(np.exp(log_p).sum()) < upper + 0.05


def test_mean_field_without_a_gradient():
    """Family "meanfield" by scores, from a start; Gaussian target, to 0.05 sd and 3 %."""

    @fastvi.target(dim=2)
    def normal(z):
        return -0.5 * ((z[0] - 3.0) / 0.5) ** 2 - 0.5 * ((z[1] + 1.0) / 2.0) ** 2

    found = fit(normal, "meanfield", method="score", start=[2.0, 0.0], random_state=2)
    assert isinstance(found.member, families.MeanField)
    np.testing.assert_allclose((found.mean - [3.0, -1.0]) / [0.5, 2.0], 0.0, atol=0.05)
    np.testing.assert_allclose(found.sd, [0.5, 2.0], rtol=0.03)


def test_posterior_is_saved_and_loaded(tmp_path):
    found = fit(linked(), discrete(), random_state=0, max_iter=50)
    found.save(tmp_path / "p.npz")
    again = Posterior.load(tmp_path / "p.npz", linked())
    np.testing.assert_array_equal(again.mean, found.mean)
    np.testing.assert_array_equal(again.cov, found.cov)
    assert again.summary() == found.summary()
    Z = found.sample(5, np.random.default_rng(0))
    np.testing.assert_array_equal(again.sample(5, np.random.default_rng(0)), Z)
    np.testing.assert_array_equal(again.log_prob(Z), found.log_prob(Z))


@pytest.mark.parametrize("what", ["kind", "place", "short", "nan", "dim"])
def test_damaged_posteriors_are_refused(tmp_path, what):
    found = fit(linked(), discrete(), random_state=0, max_iter=5)
    layout, values = (np.array(part) for part in found.member)
    layout[0, 0] = 99 if what == "kind" else layout[0, 0]
    layout[1, 1] += what == "place"
    values = values[:-1] if what == "short" else values
    values[0] = np.nan if what == "nan" else values[0]
    layout = layout[:-1] if what == "dim" else layout
    found.member = families.Blocks(layout, values)
    found.__dict__["log_ratios"] = np.zeros(3)
    found.save(tmp_path / "p.npz")
    with pytest.raises(ValueError, match=r"p.npz: member\."):
        Posterior.load(tmp_path / "p.npz")


def test_a_certain_posterior_has_a_summary():
    """Where a chance has come to 0 or 1, figures are finite and no warning is given."""
    q = blocks(families.Block("bernoulli", np.array([[50.0], [0.3]])))

    @fastvi.target(dim=2)
    def bits(z):
        return 60.0 * z[0] + 0.3 * z[1]

    found = Posterior(q, bits, settled=True, n_iter=1, history={}, names=bits.names)
    assert np.isfinite(found.shift)
    assert found.summary().splitlines()[0].split()[:2] == ["mean", "sd"]


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("fullrank", {"method": "score"}, "method='score' is for"),
        (blocks(gaussian=4), {"method": "natural"}, "is for families with natural gradients"),
        (blocks(gaussian=3), {}, "3 numbers; the target 4"),
        (
            blocks(gaussian=4),
            {"variance_reduction": "svrg", "method": "score"},
            "variance_reduction='svrg' does not work on .* method='score'; wanted method='plain'",
        ),
        (
            blocks(gaussian=4),
            {"variance_reduction": ["control", gradients.control()]},
            "wanted each tool once",
        ),
        (blocks(gaussian=4), {"variance_reduction": "window"}, "wanted another tool"),
        (blocks(bernoulli=4), {"method": "gumbel"}, "gradient"),
        ("blocks", {"method": "score"}, "family is 'blocks'; wanted one of"),
    ],
)
def test_options_that_do_not_go_together(family, options, message):
    with pytest.raises(ValueError, match=message):
        fit(linked(), family, **options)


# Parts of the engine that these need


def test_terms_of_an_attempt():
    """The parts, and nan where the density fails."""
    values, _ = linked().attempt(all_states(), with_gradient=False, terms=True)
    np.testing.assert_array_equal(values, linked().log_terms(all_states()))


def test_scaled_steps_are_those_in_the_units():
    """Adam is the same whatever the units, so that a first step is the rate times the unit."""
    units = np.array([0.01, 1.0, 300.0])
    optimizer = scaled(adam(0.1), lambda params: units)
    params, gradient = np.zeros(3), np.array([7.0, -1e-3, 2.0])
    step, _, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(step, [0.001, -0.1, 30.0], rtol=1e-4)


def test_a_stage_keeps_its_first_iterate():
    """Iterates are stepped on in place after they have been added."""
    params = np.zeros(2)
    stage = Stage().plus(np.ones(2), 1.0, params)
    params += 1.0
    np.testing.assert_array_equal(stage.plus(np.ones(2), 1.0, params).mean(), [0.5, 0.5])
