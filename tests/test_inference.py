"""`fastvi.fit`: closed forms, real posteriors with gold draws, honesty, and misuse."""

import math
import sys
import warnings

import numpy as np
import posteriors
import pytest
from thoroughly import mostly_thorough
from toy_targets import gaussian, half, nowhere, regression

import fastvi
from fastvi.base import archive
from fastvi.base.parallel import single_threaded_blas
from fastvi.core import Batch
from fastvi.diagnostics import gradient_noise
from fastvi.families import FullRank, LowRank, MeanField, lowrank
from fastvi.fitting.laplace import laplace
from fastvi.gradients import corrected
from fastvi.gradients.reparam import reparam
from fastvi.objectives import elbo, f_divergence, tempered
from fastvi.targets import TargetError
from fastvi.targets.checking import screen
from fastvi.transforms import positive

pytestmark = pytest.mark.jit


@pytest.fixture(autouse=True)
def one_thread():
    with single_threaded_blas():
        yield


GAUSSIAN = ["natural", "plain", "laplace", "delta"]


@pytest.fixture
def correlated(rng):
    A = rng.normal(size=(5, 5)) * np.geomspace(1e-2, 1e2, 5)
    covariance = A @ A.T + 1e-4 * np.eye(5)
    mean = rng.normal(size=5) * 10
    log_det = np.linalg.slogdet(covariance)[1]
    height = 2.5 - 0.5 * (5 * np.log(2 * np.pi) + log_det)
    data = {"mean": mean, "precision": np.linalg.inv(covariance), "height": height}
    return fastvi.target(gaussian, data=data, dim=5), mean, covariance


@pytest.fixture
def conjugate(rng):
    """Target, posterior mean and covariance, log evidence."""
    X = rng.normal(size=(300, 3)) @ np.array([[1, 0.6, 0], [0, 1, 0.3], [0, 0, 1.0]])
    y = X @ [1.0, -0.5, 0.2] + rng.normal(size=300)
    target = fastvi.target(regression, data={"X": X, "y": y}, dim=3, rows=("X", "y"))
    covariance = np.linalg.inv(np.eye(3) + X.T @ X)
    mean = covariance @ X.T @ y
    evidence = -0.5 * (300 * np.log(2 * np.pi) + y @ y - mean @ X.T @ y)
    evidence += 0.5 * np.linalg.slogdet(covariance)[1]
    return target, mean, covariance, evidence


@pytest.mark.parametrize("method", GAUSSIAN)
def test_a_gaussian_is_found_whatever_its_scales(correlated, method):
    target, mean, covariance = correlated
    p = fastvi.fit(target, method=method, random_state=1)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((p.mean - mean) / sd, 0, atol=0.01)
    np.testing.assert_allclose(p.sd, sd, rtol=0.02)
    assert p.elbo == pytest.approx(2.5, abs=0.01)
    assert p.log_evidence == pytest.approx(2.5, abs=0.01)
    assert p.converged


@pytest.mark.parametrize("objective", ["elbo", 0.5, 2.0, "iwae", "chi", -2.0])
def test_every_objective_has_the_gaussian_as_its_optimum(conjugate, objective):
    target, mean, covariance, evidence = conjugate
    p = fastvi.fit(target, objective=objective, random_state=1)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((p.mean - mean) / sd, 0, atol=0.02)
    np.testing.assert_allclose(p.sd, sd, rtol=0.02)
    lower, upper = p.bounds
    assert lower - 1e-9 <= evidence <= upper + 1e-9
    assert upper - lower < 0.01


def test_bounds_bracket_the_evidence_where_the_family_does_not_fit(conjugate):
    """4 standard errors for the lower bound; the upper one is biased downwards, so that it is
    compared with the ELBO alone.
    """
    target, _, _, evidence = conjugate
    p = fastvi.fit(target, "meanfield", random_state=1)
    lower, upper = p.bounds
    assert lower < evidence + 4 * p.elbo_error
    assert lower < upper
    assert abs(p.log_evidence - evidence) < 0.1


def test_a_mean_field_fit_is_the_closed_form(conjugate):
    target, mean, covariance, _ = conjugate
    p = fastvi.fit(target, "meanfield", random_state=1)
    np.testing.assert_allclose((p.mean - mean) / np.sqrt(np.diag(covariance)), 0, atol=0.06)
    np.testing.assert_allclose(p.sd, 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=0.05)


def test_a_low_rank_fit_beats_independence(correlated):
    target, mean, covariance = correlated
    scale = np.sqrt(np.diag(covariance))
    factor = np.array([0.9, -0.8, 0.7, 0.9, 0.8])
    covariance = np.outer(factor, factor) + np.diag(1 - factor**2)
    covariance *= np.outer(scale, scale)
    data = {"mean": mean, "precision": np.linalg.inv(covariance), "height": 0.0}
    p = fastvi.fit(target.bind(data), lowrank(rank=1), random_state=1)
    np.testing.assert_allclose((p.mean - mean) / scale, 0, atol=0.05)
    np.testing.assert_allclose(
        p.cov / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.1
    )
    assert isinstance(p.member, LowRank)


def test_tempering_widens(conjugate):
    target, mean, covariance, _ = conjugate
    p = fastvi.fit(target, objective=tempered(elbo(), 0.25), random_state=1)
    np.testing.assert_allclose(p.sd, 2 * np.sqrt(np.diag(covariance)), rtol=0.02)
    np.testing.assert_allclose(p.mean, mean, atol=0.02)


def test_any_f_divergence_can_be_minimised(conjugate):
    target, mean, _, _ = conjugate
    goal = f_divergence(lambda w: np.square(np.sqrt(w) - 1))  # Hellinger's
    p = fastvi.fit(target, objective=goal, random_state=1)
    np.testing.assert_allclose(p.mean, mean, atol=0.02)


# Mini-batches


@pytest.mark.parametrize("options", mostly_thorough([
    {"method": "natural"}, {"method": "plain"},
    {"variance_reduction": [fastvi.gradients.svrg(every=9)]}, {"variance_reduction": "svrg"},
    {"sampling": "replacement"},
], 3))  # fmt: skip
def test_mini_batches_reach_the_posterior(conjugate, options):
    target, mean, covariance, _ = conjugate
    p = fastvi.fit(target, batch_size=60, random_state=1, tol=0.05, **options)
    assert p.settled
    np.testing.assert_allclose((p.mean - mean) / np.sqrt(np.diag(covariance)), 0, atol=0.2)
    np.testing.assert_allclose(p.sd, np.sqrt(np.diag(covariance)), rtol=0.15)


@pytest.mark.parametrize("objective", ["iwae", "chi", 0.5, f_divergence(lambda w: w * np.log(w))])
def test_mini_batches_are_for_the_elbo(conjugate, objective):
    """Weights of others would follow the batches' noise: variances came out without end, or 0."""
    with pytest.raises(ValueError, match="noise of mini-batches"):
        fastvi.fit(conjugate[0], batch_size=60, objective=objective)
    assert (
        fastvi.fit(
            conjugate[0],
            batch_size=60,
            objective=tempered(elbo(), 0.5),
            random_state=0,
            max_iter=20,
        ).n_iter
        == 20
    )


@pytest.mark.parametrize("reduced", [False, True])
def test_mini_batch_gradients_are_unbiased(conjugate, reduced, rng):
    """z-tests of all coordinates of 400 gradients, 5 standard errors; SVRG has a tenth of the
    noise near its snapshot.
    """
    target, mean, covariance, _ = conjugate
    q = FullRank.of(mean + 0.1, 1.2 * covariance)
    gradient = reparam(target, n_draws=4, family=q)
    whole = gradient_noise(gradient, q.free(), [Batch(None, np.empty(0))] * 400, rng)
    if reduced:
        every = lambda: Batch(np.arange(300), np.ones(300))  # noqa: E731
        gradient = corrected(gradient, every, every=10**9)
    batches = [Batch(rng.choice(300, 30, replace=False), np.full(30, 10.0)) for _ in range(400)]
    part = gradient_noise(gradient, q.free(), batches, rng)
    error = np.sqrt(whole.error**2 + part.error**2)
    if reduced:  # the snapshot's full gradient has the noise of its own draws, at all steps
        plain = gradient_noise(reparam(target, n_draws=4, family=q), q.free(), batches, rng)
        assert part.trace < 0.5 * plain.trace
    else:
        assert np.all(np.abs(part.mean - whole.mean) < 5 * error + 1e-12)


def test_sticking_the_landing_has_no_noise_at_the_optimum(conjugate, rng):
    """And both forms are unbiased elsewhere: z-test of 400 gradients, 5 standard errors."""
    target, mean, covariance, _ = conjugate
    there = FullRank.of(mean, covariance)
    nothing = [Batch(None, np.empty(0))] * 400
    forms = [reparam(target, n_draws=4, sticking=form) for form in (True, False)]
    at = [gradient_noise(form, there, nothing, rng) for form in forms]
    assert at[0].trace < 1e-15
    assert at[1].trace > 1
    away = FullRank.of(mean + 0.1, 2 * covariance)
    a, b = (gradient_noise(form, away, nothing, rng) for form in forms)
    assert np.all(np.abs(a.mean - b.mean) < 5 * np.sqrt(a.error**2 + b.error**2) + 1e-12)


# Real posteriors

SPEC = ["arK-arK", "earnings-logearn_interaction", "kidiq-kidscore_interaction", "nes1996-nes",
        "sblrc-blr"]  # fmt: skip
OTHERS = ["eight_schools-eight_schools_noncentered", "low_dim_gauss_mix-low_dim_gauss_mix"]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SPEC)
def test_means_and_deviations_are_those_of_the_gold_draws(data_dir, name, seed):
    folder = data_dir / "posteriors"
    draws, _ = posteriors.gold(folder, name)
    p = fastvi.fit(posteriors.target(folder, name), random_state=seed)
    sd = draws.std(axis=0)
    assert np.abs((p.mean - draws.mean(axis=0)) / sd).max() < 0.1
    assert np.abs(p.sd / sd - 1).max() < 0.1
    assert p.converged


@pytest.mark.parametrize("family", ["fullrank", "meanfield"])
@pytest.mark.parametrize("name", mostly_thorough(OTHERS + SPEC, 3))
def test_what_is_called_converged_has_the_right_means(data_dir, name, family):
    folder = data_dir / "posteriors"
    draws, _ = posteriors.gold(folder, name)
    for seed in range(3):
        p = fastvi.fit(posteriors.target(folder, name), family, random_state=seed)
        if p.converged:
            assert np.abs((p.mean - draws.mean(axis=0)) / draws.std(axis=0)).max() < 0.3


@pytest.mark.parametrize("name", ["eight_schools-eight_schools_centered",
                                  "eight_schools-eight_schools_noncentered"])  # fmt: skip
@pytest.mark.parametrize("seed", mostly_thorough([0, 1]))
def test_full_rank_fits_that_are_too_narrow_are_not_called_good(data_dir, name, seed):
    """No Gaussian has the spread of log tau: fitted ones have 0.2 and 0.6 of it."""
    p = fastvi.fit(posteriors.target(data_dir / "posteriors", name), random_state=seed)
    assert p.settled
    assert p.verdict.word != "good"
    assert p.verdict.reason in p.summary()


def test_the_logistic_regression(data_dir):
    import json

    folder = data_dir / "posteriors" / "synthetic_logreg_N10000_D50"
    with np.load(folder / "data.npz") as f:
        data = {"X": f["X"], "y": f["y"].astype(float)}
    reference = json.loads((folder / "reference.json").read_text())
    mean, sd = np.array(reference["mean"]), np.array(reference["sd"])
    p = fastvi.fit(fastvi.target(posteriors.logistic, data=data, dim=50), random_state=0)
    assert np.abs((p.mean - mean) / sd).max() < 0.1
    assert np.abs(p.sd / sd - 1).max() < 0.1
    assert p.converged


def valley(z, grad):
    """A bent valley with its mode at 1, ..., 1, and curvature of the wrong sign at the start."""
    value = 0.0
    for j in range(z.size - 1):
        bend, rest = z[j + 1] - z[j] ** 2, 1.0 - z[j]
        value -= 10.0 * bend * bend + rest * rest
        grad[j] += 40.0 * bend * z[j] + 2.0 * rest
        grad[j + 1] -= 20.0 * bend
    return value


def curvature_of_valley(z):
    H = np.zeros((len(z), len(z)))
    for j in range(len(z) - 1):
        H[j, j] += 40.0 * (z[j + 1] - z[j] ** 2) - 80.0 * z[j] ** 2 - 2.0
        H[j + 1, j + 1] -= 20.0
        H[j, j + 1] = H[j + 1, j] = 40.0 * z[j]
    return H


@pytest.mark.parametrize("hessian_of", [None, curvature_of_valley])
@pytest.mark.parametrize("method", ["lbfgs", "trust"])
def test_laplace_finds_the_mode_in_either_way(method, hessian_of):
    start = np.array([-0.5, 1.0, 0.0, 2.0])
    assert np.linalg.eigvalsh(curvature_of_valley(start)).max() > 0
    found = laplace(fastvi.target(valley, dim=4), start, method=method, hessian_of=hessian_of)
    wanted = np.linalg.inv(-curvature_of_valley(np.ones(4)))
    np.testing.assert_allclose(found.mode, 1, atol=1e-4)
    np.testing.assert_allclose(found.cov, wanted, rtol=1e-3)
    log_det = np.linalg.slogdet(wanted)[1]
    assert found.log_evidence == pytest.approx(0.5 * (4 * np.log(2 * np.pi) + log_det), abs=1e-3)
    assert found.converged


def test_a_trust_region_in_any_units(correlated):
    target, mean, covariance = correlated
    found = laplace(target, np.zeros(5), method="trust")
    np.testing.assert_allclose((found.mode - mean) / np.sqrt(np.diag(covariance)), 0, atol=1e-3)
    assert found.log_evidence == pytest.approx(2.5, abs=1e-3)
    assert found.converged


def steep(z, grad):
    """Gradients whose differences overflow."""
    grad[0] = -1e308 * math.tanh(1e6 * z[0])
    return -1e302 * abs(z[0])


def test_curvature_without_end_is_no_warning():
    assert laplace(fastvi.target(steep, dim=1), np.zeros(1)).cov is None


def test_laplace_misused(correlated):
    with pytest.raises(ValueError, match="method is 'newton'"):
        laplace(correlated[0], np.zeros(5), method="newton")
    with pytest.raises(ValueError, match=r"hessian_of gives shape \(2, 2\)"):
        laplace(correlated[0], np.zeros(5), hessian_of=lambda z: np.eye(2))


@pytest.mark.parametrize("family", ["fullrank", "meanfield", "lowrank"])
def test_plain_gradients_settle_where_there_is_no_noise(family):
    """At the start the fit is exact, so that every bound is the same."""
    p = fastvi.fit(fastvi.target(bell, dim=3), family, method="plain", random_state=0)
    assert p.settled
    assert p.n_iter < 2000


def bell(z, grad):
    value = 0.0
    for j in range(z.size):
        value -= 0.5 * z[j] * z[j]
        grad[j] = -z[j]
    return value


def test_the_bar_counts_steps(capsys):
    fastvi.fit(fastvi.target(bell, dim=3), random_state=0, verbose=True)
    assert "10 steps" in capsys.readouterr().err


# What goes wrong


def test_draws_without_a_density_are_left_out():
    p = fastvi.fit(fastvi.target(half, dim=2), start=[3.0, 0.0], max_iter=500, random_state=0)
    assert p.history["rejected"].sum() > 0
    assert np.all(np.isfinite(p.mean))
    assert p.mean[0] == pytest.approx(4.5, abs=1.0)


def test_a_density_that_is_nowhere_is_named():
    with pytest.raises(TargetError, match="gradient's component 0"):
        fastvi.fit(fastvi.target(nowhere, dim=2), random_state=0)


@pytest.mark.parametrize("method", ["laplace", "delta"])
def test_a_density_that_is_nowhere_is_named_without_draws(method):
    with pytest.raises(TargetError, match=r"gradient's component 0 \(z\[0\]\) is nan"):
        fastvi.fit(fastvi.target(nowhere, dim=2), method=method, random_state=0)


def test_a_posterior_with_draws_outside_of_the_target_has_figures():
    p = fastvi.fit(fastvi.target(half, dim=2), start=[3.0, 0.0], max_iter=50, random_state=0)
    assert (p.elbo, p.elbo_error) == (-np.inf, np.inf)
    assert np.isfinite([p.log_evidence, p.khat, p.shift, p.efficiency]).all()
    assert "draws have no density, so there is no ELBO" in p.summary()


def test_a_fit_that_was_cut_short_says_so(conjugate):
    p = fastvi.fit(conjugate[0], "meanfield", max_iter=3, random_state=0)
    assert not p.settled
    assert "still moving after 3 steps" in p.summary()
    assert p.n_iter == len(p.history["elbo"]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "full"}, "family is 'full'; wanted one of"),
        ({"method": "mcmc"}, "method is 'mcmc'"),
        ({"objective": "kl"}, "objective is 'kl'"),
        ({"objective": True}, "objective is True"),
        ({"n_draws": 1}, "n_draws is 1"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"start": [1.0]}, r"start has shape \(1,\)"),
        ({"start": [np.nan] * 3}, "wanted 3 finite numbers"),
        ({"start": "here"}, "start is 'here'; wanted 3 finite numbers"),
        (
            {"family": "meanfield", "method": "score", "variance_reduction": 3},
            "variance_reduction is 3",
        ),
        ({"family": MeanField(np.zeros(2), np.ones(2))}, "family has 2 numbers; the target 3"),
        ({"sampling": "replacement"}, "without batch_size"),
        ({"variance_reduction": "svrg", "method": "natural"}, "wanted method='plain'"),
        ({"variance_reduction": "svrg"}, "without batch_size"),
        (
            {"family": "lowrank", "method": "natural"},
            "families with natural gradients, which 'lowrank' does not have",
        ),
        ({"family": "meanfield", "method": "laplace"}, "a full covariance"),
        ({"random_state": -1}, "random_state is -1"),
        ({"method": "laplace", "batch_size": 10}, "batch_size=10 with method='laplace'"),
        ({"method": "delta", "objective": "chi"}, "objective='chi' with method='delta'"),
        ({"family": MeanField(np.zeros(3), np.ones(3)), "start": [0.0] * 3}, "start is given"),
        ({"max_iter": 0}, "max_iter is 0"),
    ],
)
def test_misuse(conjugate, options, message):
    with pytest.raises(ValueError, match=message):
        fastvi.fit(conjugate[0], **options)


def test_batches_need_rows(correlated):
    with pytest.raises(ValueError, match="takes no rows"):
        fastvi.fit(correlated[0], batch_size=10)


def test_the_same_seed_gives_the_same_bits(conjugate):
    one, two = (fastvi.fit(conjugate[0], "meanfield", random_state=3) for _ in range(2))
    assert one.mean.tobytes() == two.mean.tobytes()
    assert one.khat == two.khat
    other = fastvi.fit(conjugate[0], "meanfield", random_state=4)
    assert other.sd.tobytes() != one.sd.tobytes()


# The posterior


def test_files_bring_everything_back(conjugate, tmp_path):
    target = conjugate[0]
    for family in ("fullrank", "meanfield", "lowrank"):
        p = fastvi.fit(target, family, random_state=0, max_iter=300)
        p.save(tmp_path / "p.npz")
        again = fastvi.Posterior.load(tmp_path / "p.npz", target)
        np.testing.assert_array_equal(again.mean, p.mean)
        np.testing.assert_array_equal(again.cov, p.cov)
        assert (again.khat, again.elbo, again.converged) == (p.khat, p.elbo, p.converged)
        np.testing.assert_array_equal(again.history["elbo"], p.history["elbo"])
        alone = fastvi.Posterior.load(tmp_path / "p.npz")
        assert alone.khat == p.khat
        assert alone.sample(3, np.random.default_rng(0)).shape == (3, 3)
        with pytest.raises(ValueError, match="without its target"):
            alone.sample_parameters(3, np.random.default_rng(0))


def test_damaged_files_are_refused(conjugate, tmp_path):
    path = tmp_path / "p.npz"
    fastvi.fit(conjugate[0], random_state=0).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"p\.npz"):
        fastvi.Posterior.load(path)


@pytest.mark.parametrize(
    ("family", "name", "array"),
    [
        ("fullrank", "member.root", np.ones((3, 2))),
        ("fullrank", "member.root", np.ones(3)),
        ("fullrank", "member.root", -np.eye(3)),
        ("fullrank", "member.root", np.ones((3, 3))),
        ("fullrank", "member.mean", np.ones((3, 3))),
        ("fullrank", "member.mean", np.array(1.0)),
        ("meanfield", "member.sd", np.array([1.0, 0.0, 1.0])),
        ("lowrank", "member.sd0", np.array([1.0, -1.0, 1.0])),
        ("lowrank", "member.factors", np.ones(3)),
        ("meanfield", "log_ratios", np.ones(5)),
        ("meanfield", "log_ratios", np.array(1.0)),
    ],
)
def test_files_with_other_arrays_are_refused(tmp_path, family, name, array):
    path = tmp_path / "p.npz"
    fastvi.fit(fastvi.target(bell, dim=3), family, random_state=0, max_iter=2).save(path)
    header, arrays = archive.load(path, "posterior")
    fastvi.load(path)
    archive.save(path, "posterior", header, {**arrays, name: array})
    with pytest.raises(ValueError, match=name.removeprefix("member.")):
        fastvi.load(path)


def test_files_with_other_names_are_refused(tmp_path):
    path = tmp_path / "p.npz"
    fastvi.fit(fastvi.target(bell, dim=3), random_state=0, max_iter=2).save(path)
    header, arrays = archive.load(path, "posterior")
    archive.save(path, "posterior", {**header, "names": [1, 2, 3]}, arrays)
    with pytest.raises(ValueError, match="wanted strings"):
        fastvi.load(path)


def test_densities_of_other_shapes_are_refused(conjugate):
    p = fastvi.fit(conjugate[0], random_state=0)
    assert p.log_prob(np.zeros(3)).shape == (1,)
    with pytest.raises(ValueError, match=r"Z has shape \(4,\); wanted \(n, 3\)"):
        p.log_prob(np.zeros(4))


def test_named_parameters_come_out_within_their_constraints(data_dir, rng):
    folder = data_dir / "posteriors"
    p = fastvi.fit(posteriors.target(folder, "low_dim_gauss_mix-low_dim_gauss_mix"), random_state=0)
    draws = p.sample_parameters(100, rng)
    assert draws["mu"].shape == draws["sigma"].shape == (100, 2)
    assert np.all(np.diff(draws["mu"]) > 0)
    assert np.all(draws["sigma"] > 0)
    assert np.all((draws["theta"] > 0) & (draws["theta"] < 1))
    assert p.verdict.word == "good"


def test_a_family_that_does_not_fit_is_named(conjugate, data_dir):
    """And one that does fit is trusted, whatever the noise of k-hat where weights are equal."""
    fits = fastvi.fit(conjugate[0], random_state=0)
    assert fits.efficiency > 0.99
    assert fits.converged
    folder = data_dir / "posteriors"
    misses = fastvi.fit(posteriors.target(folder, "sblrc-blr"), "meanfield", random_state=0)
    assert misses.efficiency < 0.9
    assert misses.verdict.word == "means only"
    assert "times what it should be" in misses.summary()


def test_draws_go_to_arviz(conjugate):
    """Whichever its version is: a chain of named draws, with the fit's moments.

    Means to 5 standard errors of 1000 draws.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what ArviZ itself imports
        arviz = pytest.importorskip("arviz", reason="ArviZ is not installed: fastvi[arviz]")
        target = fastvi.target(half, names={"rate": positive(), "level": ()})
        p = fastvi.fit(target, random_state=0)
        found = p.to_arviz(n=1000, random_state=1, n_chains=1)
        table = arviz.summary(found, kind="stats", round_to="none")
    draws = p.sample_parameters(1000, np.random.default_rng(1))
    for name in ("rate", "level"):
        assert found["posterior"][name].shape == (1, 1000)
        np.testing.assert_array_equal(np.asarray(found["posterior"][name])[0], draws[name])
        assert float(table.loc[name, "mean"]) == pytest.approx(draws[name].mean())
    assert abs(draws["level"].mean() - p.mean[1]) < 5 * p.sd[1] / np.sqrt(1000)


def test_arviz_is_asked_for_by_name(conjugate, monkeypatch):
    p = fastvi.fit(conjugate[0], random_state=0, method="laplace")
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"fastvi\[arviz\]"):
        p.to_arviz()


def flat(z, grad):
    grad[0] = -z[0]
    return -0.5 * z[0] ** 2


@pytest.mark.parametrize("family", ["fullrank", "meanfield"])
@pytest.mark.parametrize("method", ["natural", "plain"])
def test_an_improper_posterior_is_never_called_converged(family, method):
    """The last member that numbers could hold is kept, and its width is asked about in words."""
    p = fastvi.fit(fastvi.target(flat, dim=2), family, method=method, random_state=0, max_iter=5000)
    assert np.all(np.isfinite(p.mean))
    assert np.all(np.isfinite(p.cov))
    assert not p.converged
    if p.sd.max() > 1e20:
        assert "is the posterior proper" in p.summary()
    assert p.sd[0] == pytest.approx(1.0, rel=0.1)


def test_no_more_steps_than_asked_for(conjugate):
    for method in ("natural", "plain"):
        for most in (1, 2, 13):
            p = fastvi.fit(conjugate[0], "meanfield", method=method, max_iter=most, random_state=0)
            assert p.n_iter <= most
            assert not p.settled


@pytest.mark.parametrize("wrong", [flat, None, fastvi.target(flat)])
def test_what_is_no_target_is_named(wrong):
    with pytest.raises(ValueError, match=r"wanted one of fastvi\.target"):
        fastvi.fit(wrong)
    for function in (fastvi.svgd, fastvi.operator_vi):
        with pytest.raises(ValueError, match=r"wanted one of fastvi\.target"):
            function(wrong)
    if wrong is not None:  # scores may be given instead
        with pytest.raises(ValueError, match=r"wanted one of fastvi\.target"):
            fastvi.ksd(wrong, np.eye(3))


def test_draws_of_a_seed(conjugate):
    p = fastvi.fit(conjugate[0], random_state=0)
    want = p.sample(5, np.random.default_rng(3))
    np.testing.assert_array_equal(p.sample(5, 3), want)
    assert not np.array_equal(p.sample(5), p.sample(5))
    with pytest.raises(ValueError, match="random_state is 'a'"):
        p.sample(5, "a")


def forgetful(z, grad):
    """Of its second component."""
    grad[0] = -z[0]
    return -0.5 * z[0] ** 2 - 2.0 * z[1] ** 2


def test_a_gradient_that_is_not_filled_in_is_named(conjugate):
    with pytest.raises(TargetError, match=r"gradient's component 1 \(z\[1\]\) is 0, and by finite"):
        fastvi.fit(fastvi.target(forgetful, dim=2))
    screen(conjugate[0], np.full(3, 1e6))  # where rounding is large
