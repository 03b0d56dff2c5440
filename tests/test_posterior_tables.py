"""Posteriors as people read them: tables by name, and ArviZ containers."""

from __future__ import annotations

import functools
import math
import sys
import warnings

import numpy as np
import pytest

import fastvi
from fastvi import families
from fastvi.posteriors import approximation, containers
from fastvi.posteriors.member import Posterior
from fastvi.posteriors.tables import COLUMNS, labels, make_table
from fastvi.transforms import positive, simplex

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
Y = np.random.default_rng(3).normal(2.0, 0.6, 40)


def model(z, data, rows, weights, grad):
    """mu ~ N(0, scale), sigma ~ Exp(1), y ~ N(mu, sigma)."""
    mu, sigma = z[0], z[1]
    value = -0.5 * (mu / data.scale) ** 2 - sigma
    grad[0] = -mu / data.scale**2
    grad[1] = -1.0
    for m in range(rows.size):
        e = (data.y[rows[m]] - mu) / sigma
        value -= weights[m] * (0.5 * e * e + math.log(sigma) + HALF_LOG_2PI)
        grad[0] += weights[m] * e / sigma
        grad[1] += weights[m] * (e * e - 1.0) / sigma
    return value


@functools.cache
def target():
    """Compiled when a test needs it, not in each process that collects tests."""
    names = {"mu": (), "sigma": positive()}
    return fastvi.target(model, data={"y": Y, "scale": 10.0}, names=names, rows="y")


@pytest.fixture(scope="module")
def posterior():
    return fastvi.fit(target(), random_state=0)


def read(text):
    """Figures by label of a printed table."""
    rows = text.split("\n\n")[0].splitlines()[1:]
    return {label: np.array(cells, float) for label, *cells in map(str.split, rows)}


def test_the_table_has_constrained_parameters_by_name(posterior):
    """sigma is log-normal: its moments and quantiles in closed form, to 5 errors of 4000 draws."""
    table = read(posterior.summary())
    assert list(table) == ["mu", "sigma"]
    m, s = posterior.mean, posterior.sd
    normal = [m[0], s[0], m[0] - 1.645 * s[0], m[0], m[0] + 1.645 * s[0]]
    np.testing.assert_allclose(table["mu"][:2], normal[:2], atol=6e-4)  # as they are known
    np.testing.assert_allclose(table["mu"], normal, atol=5 * 2.1 * s[0] / math.sqrt(4000))
    mean = math.exp(m[1] + s[1] ** 2 / 2)
    sd = mean * math.sqrt(math.expm1(s[1] ** 2))
    quantiles = np.exp(m[1] + np.array([-1.645, 0.0, 1.645]) * s[1])
    np.testing.assert_allclose(table["sigma"], [mean, sd, *quantiles], atol=0.2 * sd)
    assert table["sigma"][0] == pytest.approx(0.6, abs=0.15)


def test_unconstrained_numbers_are_shown_on_request(posterior):
    table = read(posterior.summary(unconstrained=True))
    np.testing.assert_allclose(table["sigma"][:2], [posterior.mean[1], posterior.sd[1]], atol=6e-4)
    assert table["sigma"][0] < 0
    with pytest.raises(ValueError, match="unconstrained is 'yes'"):
        posterior.summary(unconstrained="yes")
    with pytest.raises(ValueError, match="max_rows is -1"):
        posterior.summary(max_rows=-1)


def test_without_a_target_only_unconstrained_numbers_are_known(posterior, tmp_path):
    posterior.save(tmp_path / "p.npz")
    alone = Posterior.load(tmp_path / "p.npz")
    assert read(alone.summary()).keys() == {"mu", "sigma"}
    assert read(alone.summary())["sigma"][0] < 0
    assert "These are unconstrained numbers; load the posterior with its target." in alone.summary()
    assert repr(alone).startswith("<Posterior of a target: fullrank, ")
    assert str(Posterior.load(tmp_path / "p.npz", target())) == str(posterior)


def test_a_posterior_prints_itself(posterior):
    assert str(posterior) == posterior.summary()
    head, *rows = repr(posterior).splitlines()
    assert head == f"<Posterior of model: fullrank, {posterior.n_iter} steps>"
    assert rows == posterior.summary().split("\n\n")[0].splitlines()
    page = posterior._repr_html_()
    assert page.startswith("<p>&lt;Posterior of model: ")
    assert page.count("<tr>") == 3
    assert f"<th>sigma</th><td>{rows[2].split()[1]}</td>" in page


def forms():
    yield fastvi.fit(target(), "meanfield", random_state=0)
    yield fastvi.fit(target(), families.lowrank(rank=1), random_state=0)
    yield fastvi.fit(target(), method="laplace")
    yield fastvi.svgd(target(), 50, 20, random_state=0)
    yield fastvi.operator_vi(target(), max_iter=20, random_state=0)


def test_every_kind_of_posterior_has_the_table():
    for p in forms():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about fits this short
            table = read(p.summary())
        assert list(table) == ["mu", "sigma"]
        draws = p.sample_parameters(20)  # without a generator
        assert (draws["sigma"] > 0).all()
        assert draws["sigma"].shape == (20,)
        sigma = p._named(p._table_draws())["sigma"]
        figures = [sigma.mean(), sigma.std(), *np.quantile(sigma, [0.05, 0.5, 0.95])]
        np.testing.assert_allclose(table["sigma"], figures, rtol=5e-3)
        np.testing.assert_allclose(table["mu"][:2], [p.mean[0], p.sd[0]], atol=6e-4)
        assert repr(p).startswith(f"<{type(p).__name__} of model: ")


def test_tables_of_many_parameters_take_fewer_draws(posterior, monkeypatch):
    monkeypatch.setattr(approximation, "N_NUMBERS", 1000)
    assert posterior._table_draws().shape == (500, 2)
    monkeypatch.setattr(approximation, "N_NUMBERS", 1)
    assert posterior._table_draws().shape == (100, 2)


def test_particles_are_described_by_all_of_them():
    p = fastvi.svgd(target(), 30, 5, random_state=0)
    sigma = np.exp(p.particles[:, 1])
    expected = [sigma.mean(), sigma.std(), *np.quantile(sigma, [0.05, 0.5, 0.95])]
    np.testing.assert_allclose(read(p.summary())["sigma"], expected, rtol=5e-3)
    assert repr(p).splitlines()[0] == "<ParticlePosterior of model: 30 particles, 5 steps>"


# Tables


def test_labels_use_coordinates_where_they_are_known():
    coords = {"school": ["Choate", "Deerfield"], "wrong": [1]}
    assert labels("tau", (), (), {}) == ["tau"]
    assert labels("theta", (2,), ["school"], coords) == ["theta[Choate]", "theta[Deerfield]"]
    assert labels("theta", (2,), ["wrong"], coords) == ["theta[0]", "theta[1]"]
    assert labels("L", (2, 1), ["school"], coords) == ["L[Choate, 0]", "L[Deerfield, 0]"]


@pytest.mark.parametrize(
    ("draws", "wanted"),
    [
        ([1234.5671, 1234.5675], ["1234.567300", "0.000200"]),
        ([0.61, 0.63], ["0.6200", "0.0100"]),
        ([20148.0, 26148.0], ["23148", "3000"]),
        ([1e-9, 3e-9], ["2e-09", "1e-09"]),
        ([1e12, 3e12], ["2e+12", "1e+12"]),
        ([2.0, 2.0], ["2", "0"]),
        ([np.inf, 1.0], ["inf", "nan"]),
    ],
)
def test_figures_have_as_many_decimals_as_the_spread_asks_for(draws, wanted):
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inf - inf
        table = make_table({"x": np.array(draws)}, {}, {}, {})
    assert table.text()[1].split()[1:3] == wanted


def test_long_tables_are_cut_and_say_so():
    table = make_table({"beta<": np.random.default_rng(0).normal(size=(9, 30))}, {}, {}, {})
    lines = table.text(10)
    assert lines[0].split() == " ".join(COLUMNS).split()
    assert len(lines) == 12
    assert lines[-1] == "... and 20 more"
    assert len({len(line) for line in lines[:-1]}) == 1
    assert "beta&lt;[0]" in table.html(10)
    assert "<p>... and 20 more</p>" in table.html(10)
    assert len(table.text()) == 31


# ArviZ


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what ArviZ itself imports
        return pytest.importorskip("arviz", reason="ArviZ is not installed: fastvi[arviz]")


@pytest.mark.filterwarnings("ignore")
def test_containers_have_chains_data_and_likelihoods(posterior, arviz):
    found = posterior.to_arviz(100, random_state=1, observed="y", coords={"row": range(100, 140)})
    Z = posterior.sample(400, 1)
    named = target().constrain(Z)
    for name in ("mu", "sigma"):
        assert found["posterior"][name].shape == (4, 100)
        np.testing.assert_array_equal(np.ravel(found["posterior"][name]), named[name])
    free = found["unconstrained_posterior"]
    assert list(free.data_vars) == ["sigma"]  # mu is the same
    np.testing.assert_array_equal(np.ravel(free["sigma"]), Z[:, 1])
    np.testing.assert_array_equal(found["observed_data"]["y"], Y)
    assert list(found["constant_data"].data_vars) == ["scale"]
    rows = found["log_likelihood"]["y"]
    assert rows.dims == ("chain", "draw", "row")
    assert list(np.asarray(rows["row"])[:2]) == [100, 101]
    e = (Y - named["mu"][:, None]) / named["sigma"][:, None]
    expected = -0.5 * e**2 - np.log(named["sigma"])[:, None] - HALF_LOG_2PI
    np.testing.assert_allclose(np.asarray(rows).reshape(400, 40), expected, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
def shares_a_name(z, data, rows, weights, grad):
    grad[0], grad[1] = -z[0], -z[1]
    for m in range(rows.size):
        grad[0] += weights[m] * (data.mu[rows[m]] - z[0])
    return -0.5 * (z[0] ** 2 + z[1] ** 2)


def test_data_may_have_the_name_of_a_parameter(arviz):
    data = {"mu": np.zeros(5), "y": np.zeros(5)}
    target = fastvi.target(shares_a_name, data=data, names={"mu": 2}, rows=("mu", "y"))
    assert target.contents().dims == {"y": ["row"]}
    groups = {"posterior": {"mu": np.zeros((1, 9, 2))}, "observed_data": data}
    made = containers.container(groups, target.contents().dims, {})
    assert made.posterior["mu"].shape == (1, 9, 2)
    assert made.observed_data["y"].dims == ("row",)


def test_leave_one_out_works_on_containers(posterior, arviz):
    """Two parameters: the effective number is near 2 for a well-specified normal."""
    loo = arviz.loo(posterior.to_arviz(500))
    assert loo.n_data_points == 40
    assert 1.0 < (loo.p_loo if hasattr(loo, "p_loo") else loo.p) < 3.5


@pytest.mark.filterwarnings("ignore")
def test_particles_are_one_chain_by_default(arviz):
    p = fastvi.svgd(target(), 30, 5, random_state=0)
    assert p.to_arviz()["posterior"]["mu"].shape == (1, 30)
    assert p.to_arviz(15, n_chains=2)["posterior"]["mu"].shape == (2, 15)


@pytest.mark.filterwarnings("ignore")
def test_likelihoods_are_left_out_on_request_or_for_size(posterior, arviz, monkeypatch):
    assert "log_likelihood" not in list(groups(posterior.to_arviz(2, log_likelihood=False)))
    monkeypatch.setattr(containers, "MOST", 100)
    assert "log_likelihood" not in list(groups(posterior.to_arviz(2)))
    assert "log_likelihood" in list(groups(posterior.to_arviz(2, log_likelihood=True)))


def groups(container):
    names = container.groups() if callable(container.groups) else container.groups
    return [name.strip("/") for name in names]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n_chains": 0}, "n_chains is 0"),
        ({"observed": "x"}, "observed is 'x'; wanted names of the data: y, scale"),
    ],
)
def test_wrong_arguments_of_containers_are_refused(posterior, options, message):
    with pytest.raises(ValueError, match=message):
        posterior.to_arviz(**options)


def test_likelihoods_cannot_be_told_apart_without_rows(monkeypatch):
    p = fastvi.fit(fastvi.target(plain, dim=1), method="laplace")
    with pytest.raises(ValueError, match="log_likelihood is True, but plain does not tell"):
        p.to_arviz(log_likelihood=True)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"fastvi\[arviz\]"):
        p.to_arviz()


def plain(z, grad):
    grad[0] = -z[0]
    return -0.5 * z[0] ** 2


def test_unconstrained_numbers_by_name():
    parameters = fastvi.transforms.Parameters({"b": (2, 2), "p": simplex(3), "s": positive()})
    Z = np.arange(14.0).reshape(2, 7)
    parts = parameters.unconstrained(Z)
    assert {name: x.shape for name, x in parts.items()} == {"b": (2, 2, 2), "p": (2, 2), "s": (2,)}
    np.testing.assert_array_equal(parts["b"].reshape(2, 4), Z[:, :4])
    np.testing.assert_array_equal(parts["s"], Z[:, 6])
    with pytest.raises(ValueError, match=r"z has shape \(3,\)"):
        parameters.unconstrained(np.zeros(3))
