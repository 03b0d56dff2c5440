"""Flows as approximations: what Gaussians cannot follow, closed forms, files, refusals."""

import numpy as np
import pytest
from energies import ENERGIES, LOG_Z, energy
from lazily import lazily
from thoroughly import mostly_thorough

import fastvi
from fastvi.core import Batch
from fastvi.families import IAF, MAF, Planar, flow
from fastvi.families.flow_plans import Sizes, layout
from fastvi.families.flows import MEMBERS
from fastvi.gradients.reparam import reparam
from fastvi.plots.posteriors import warped

every_flow = pytest.mark.parametrize("name", list(MEMBERS))
SHORT = {"verdict": False, "random_state": 0}


@lazily(dim=2)
def banana(z):
    """As in the examples of Campbell and Li (2019); a normalised density."""
    u = z[1] + 0.1 * z[0] ** 2 - 10.0
    return -(z[0] ** 2) / 200.0 - 0.5 * u * u - np.log(20.0 * np.pi)


@lazily(dim=3)
def gaussian(z):
    return -0.5 * (z[0] ** 2 + (z[1] - z[0]) ** 2 + 4.0 * (z[2] + z[1] - 2.0) ** 2)


EVIDENCE = 1.5 * np.log(2.0 * np.pi) - np.log(2.0)  # of `gaussian`


@lazily(dim=1)
def two_humps(z):
    return np.logaddexp(-2.0 * (z[0] - 1.5) ** 2, -2.0 * (z[0] + 1.5) ** 2)


def divergence(posterior, log_z=0.0, n=40_000):
    """KL(q || p) in nats, and its standard error."""
    Z = posterior.sample(n, 1)
    away = posterior.member.log_prob(Z) - posterior.target.attempt(Z, with_gradient=False)[0]
    return log_z + away.mean(), away.std() / np.sqrt(n)


@every_flow
def test_a_gaussian_is_exact_at_once(name):
    """Noise of path gradients vanishes there, so that nothing is lost afterwards."""
    posterior = fastvi.fit(gaussian(), flow(name, n_layers=3), **SHORT)
    assert posterior.settled
    assert posterior.history["elbo"][0] == pytest.approx(EVIDENCE, abs=1e-6)
    assert posterior.elbo == pytest.approx(EVIDENCE, abs=1e-3)


def test_a_masked_linear_layer_is_the_gaussian_of_full_rank():
    """Direct connections of constant weights make a Cholesky factor, in any order of numbers."""
    D = 3
    root = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [-1.0, -1.0, 0.5]])
    mean = np.array([0.0, 0.0, 2.0])
    start = IAF.of(np.zeros(D), np.eye(D), Sizes(1, 1, 0))
    plan, params = start.plan, np.zeros(len(start.params))
    for i in range(D):  # numbers are in their own order in the first layer
        at = plan[plan[1, 5] + i, 3]
        params[at] = mean[i]
        params[at + 1 : at + 1 + i] = root[i, :i]
        log_sd = np.log(root[i, i])
        width = 1 + i + plan[plan[1, 5] + i, 2]
        params[at + width] = log_sd / np.sqrt(1.0 - (log_sd / 3.0) ** 2)
    q = start._replace(params=params)
    draws = q.draw(100, np.random.default_rng(0))
    np.testing.assert_allclose(draws.points, mean + draws.noise @ root.T, atol=1e-12)
    values = gaussian().attempt(draws.points, with_gradient=False)[0]
    np.testing.assert_allclose(values - q.log_prob_of(draws), EVIDENCE, atol=1e-6)


@pytest.mark.parametrize("name", ["iaf", "maf"])
def test_jacobians_of_autoregressive_flows_are_triangular(name, rng):
    q = MEMBERS[name].of(np.zeros(5), np.eye(5), Sizes(1, 20, 0))
    q = q._replace(params=q.params + 0.5 * rng.standard_normal(len(q.params)))
    eps, h = rng.standard_normal(5), 1e-6
    jacobian = np.array([q.at((eps + s)[None]).points[0] - q.at((eps - s)[None]).points[0]
                         for s in h * np.eye(5)]).T  # fmt: skip
    assert np.all(np.triu(jacobian, 1) == 0.0)
    assert np.count_nonzero(jacobian) == 15
    np.testing.assert_allclose(
        np.log(np.diag(jacobian) / (2.0 * h)).sum(),
        np.linalg.slogdet(jacobian / (2.0 * h))[1],
    )


def test_hidden_units_read_and_are_read_along_the_order():
    plan, _ = layout("maf", 4, Sizes(1, 6, 0))
    at = plan[1, 5]
    reach = plan[at + 4 : at + 10, 0]
    assert np.all(np.diff(reach) >= 0)
    assert reach.min() == 1
    assert reach.max() == 3
    for i, (start, read) in enumerate(plan[at : at + 4, 1:3]):
        assert start == i
        assert read == np.count_nonzero(reach <= i)


# KLs that a flow must come below: in nats, the best Gaussian has 1.27 on the banana.
@pytest.mark.parametrize("name", mostly_thorough(["realnvp", "iaf", "maf"]))
def test_the_banana_is_followed(name):
    posterior = fastvi.fit(banana(), name, max_iter=6000, **SHORT)
    found, error = divergence(posterior)
    assert -3.0 * error < found < 0.06


@lazily(dim=2)
def crescent(z):
    return -0.5 * z[0] ** 2 - 2.0 * (z[1] - 0.5 * z[0] ** 2) ** 2


def test_good_fits_are_trusted():
    assert fastvi.fit(crescent(), "maf", random_state=0).verdict.word == "good"
    assert fastvi.fit(crescent(), random_state=0).verdict.word != "good"


@pytest.mark.thorough
@pytest.mark.parametrize("name", list(ENERGIES))
def test_energies(name):
    """Divergences cannot be negative: that checks densities as well."""
    posterior = fastvi.fit(energy(name), "realnvp", **SHORT)
    found, error = divergence(posterior, LOG_Z[name])
    assert -3.0 * error - 1e-4 < found < 0.1


@pytest.mark.thorough
def test_the_ring_is_followed():
    posterior = fastvi.fit(energy("ring"), "realnvp", **SHORT)
    r = np.hypot(*posterior.sample(4000, 0).T)
    assert np.mean(np.abs(r - 3.0) < 1.5) > 0.98
    np.testing.assert_allclose(posterior.mean, 0.0, atol=0.3)


def test_more_planar_layers_fit_better():
    """But each bends along one direction only, so that eight leave a divergence."""
    found = []
    for n in (1, 8):
        posterior = fastvi.fit(energy("U2"), flow("planar", n_layers=n), **SHORT)
        found.append(divergence(posterior, LOG_Z["U2"])[0])
    assert found[1] < 0.7 * found[0]
    assert found[1] > 0.0


def test_one_number():
    """Autoregressive and coupling flows of one number are Gaussian; splines bend."""
    plain, bent = (fastvi.fit(two_humps(), name, **SHORT) for name in ("maf", "nsf"))
    log_z = np.log(np.sqrt(2.0 * np.pi))
    assert divergence(plain, log_z)[0] > 0.2
    assert divergence(bent, log_z)[0] < 0.02
    q = plain.member
    eps = np.linspace(-2.0, 2.0, 5)[:, None]
    np.testing.assert_allclose(np.diff(q.at(eps).points[:, 0], 2), 0.0, atol=1e-12)


def test_many_numbers_in_the_same_order(rng):
    """Each half of the numbers is changed by a layer, and orders differ between pairs of layers."""
    q = MEMBERS["realnvp"].of(np.zeros(7), np.eye(7))
    q = q._replace(params=q.params + 0.3 * rng.standard_normal(len(q.params)))
    eps = rng.standard_normal((5, 7))
    back, _ = q.inverse(q.at(eps).points)
    np.testing.assert_allclose(back, eps, atol=1e-9)


def test_other_objectives_take_steps_in_python():
    posterior = fastvi.fit(
        banana(), flow("realnvp", n_layers=2, n_hidden=8), objective="iwae", n_draws=32,
        max_iter=50, **SHORT,
    )  # fmt: skip
    assert posterior.n_iter == 50
    assert np.all(np.isfinite(posterior.history["elbo"]))


def test_steps_in_python_are_the_compiled_ones(rng):
    """Both take the same gradients from the same noise."""
    q = MEMBERS["maf"].of(np.zeros(2), np.eye(2), Sizes(2, 4, 0))
    gradient = reparam(banana(), n_draws=8, family=q)
    step, _, info = gradient.estimate(None, q.free(), Batch(None, None), rng)
    assert step[0].shape == q.params.shape
    assert np.isfinite(info["elbo"])


def test_resumed_fits_have_the_same_bits(tmp_path):
    options = {"family": flow("iaf", n_layers=2, n_hidden=8), "max_iter": 1500, **SHORT}
    whole = fastvi.fit(banana(), **options)
    kept = {"checkpoint": tmp_path / "state.npz", "checkpoint_interval": 0.0, **options}
    fastvi.fit(banana(), callback=lambda state: True, **kept)
    resumed = fastvi.fit(banana(), resume=True, n_jobs=2, **kept)
    np.testing.assert_array_equal(resumed.member.params, whole.member.params)


def test_files(tmp_path):
    posterior = fastvi.fit(banana(), flow("nsf", n_layers=2), max_iter=50, **SHORT)
    posterior.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", banana())
    np.testing.assert_array_equal(again.sample(5, 0), posterior.sample(5, 0))
    arrays = posterior.member.save()
    for name, value, message in (
        ("sizes", np.array([0, 1, 1]), "sizes is"),
        ("sizes", np.array([10**9, 1, 1]), "sizes is"),
        ("params", arrays["params"][1:], "params is"),
        ("units", -arrays["units"], "units must be"),
    ):
        with pytest.raises(ValueError, match=message):
            type(posterior.member).load(arrays | {name: value}, 2)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("glow", {}, "kind is 'glow'"),
        ("planar", {"n_hidden": 4}, "which has no such thing"),
        ("maf", {"n_bins": 4}, "which has no such thing"),
        ("nsf", {"n_bins": 1}, "n_bins is 1"),
        ("iaf", {"n_layers": 0}, "n_layers is 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        flow(kind, **options)


def test_natural_gradients_are_refused():
    with pytest.raises(ValueError, match="'planar' does not have"):
        fastvi.fit(banana(), "planar", method="natural", **SHORT)
    with pytest.raises(ValueError, match="for Gaussian families"):
        fastvi.fit(gaussian(), "planar", max_iter=10, **SHORT).error_bounds()


def test_densities_far_away_are_finite():
    q = Planar.of(np.zeros(2), np.eye(2))
    for kind in (Planar, IAF, MAF):
        q = kind.of(np.zeros(2), np.eye(2))
        assert np.all(np.isfinite(q.log_prob(np.array([[1e6, -1e6], [0.0, 0.0]]))))


def test_pictures_have_a_warped_grid(tmp_path):
    posterior = fastvi.fit(banana(), flow("planar", n_layers=2), max_iter=50, **SHORT)
    lines = warped(posterior)
    assert len(lines) == 26
    middle = posterior.member.at(np.zeros((1, 2))).points[0]
    assert min(np.abs(line - middle).sum(axis=1).min() for line in lines) < 1e-9
    assert warped(fastvi.fit(banana(), max_iter=20, **SHORT)) == []
    fastvi.plots.plot_posterior(posterior, tmp_path / "q.png")
    assert (tmp_path / "q.png").stat().st_size > 1000
