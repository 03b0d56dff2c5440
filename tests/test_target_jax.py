"""Targets from JAX and NumPyro: the numbers of both and of a Python target."""

from __future__ import annotations

import math
import pickle
import sys
import warnings

import numpy as np
import pytest
import scaled_regression
from scaled_regression import DATA, NAMES, X, Y

import fastvi
from fastvi.core import Batch
from fastvi.targets import TargetError, from_jax, from_numpyro

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their own dependencies, as they are imported
    jax = pytest.importorskip("jax", reason="JAX, an extra, is not installed")
    numpyro = pytest.importorskip("numpyro", reason="NumPyro, an extra, is not installed")
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from numpyro.infer.util import constrain_fn, potential_energy

pytestmark = pytest.mark.filterwarnings("ignore")  # of JAX and NumPyro about themselves


def regression(z, data, rows, weights):
    beta, sigma = z[:2], z[2]
    e = (data.y[rows] - data.X[rows] @ beta) / sigma
    return -0.5 * beta @ beta - data.rate * sigma - weights @ (0.5 * e**2 + jnp.log(sigma))


@pytest.fixture(scope="module")
def compiled():
    return scaled_regression.compiled()


@pytest.fixture(scope="module")
def ours():
    return from_jax(regression, names=NAMES, data=DATA, rows=("X", "y"))


def test_numbers_are_those_of_compiled_code(ours, compiled):
    Z = np.random.default_rng(3).normal(size=(5, 3))
    for part in (None, Batch(np.array([2, 7, 7]), np.array([1.0, 3.0, 0.5]))):
        found, wanted = ours.log_prob_and_grad(Z, part), compiled.log_prob_and_grad(Z, part)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-13)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(ours.log_prob(Z, part), wanted[0], rtol=1e-13)
    assert ours.check_gradient() < 1e-9
    other = {"X": X[:4], "y": Y[:4], "rate": 1.0}
    np.testing.assert_allclose(
        ours.bind(other).log_prob(Z), compiled.bind(other).log_prob(Z), rtol=1e-13
    )


def test_fits_are_those_of_compiled_code(ours, compiled):
    scaled_regression.same_fit(ours, compiled)


def test_numbers_of_the_data_may_be_shapes_and_tuples_stay_tuples():
    named = from_jax(
        lambda z, data: jnp.sum(data.y * jnp.ones(data.n)), dim=1, data={"y": Y, "n": 12}
    )
    assert named.log_prob([0.0]) == pytest.approx(Y.sum(), rel=1e-14)
    plain = from_jax(lambda z, data: z[0] * data[0] + jnp.sum(data[1]), dim=1, data=(3, Y))
    assert plain.log_prob([2.0]) == pytest.approx(6.0 + Y.sum(), rel=1e-14)


def test_the_configuration_of_jax_stays_as_it_is(ours):
    before = jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == (jnp.float64 if before else jnp.float32)
    seen = []

    def keeps(z):
        seen.append(z.dtype)
        return -0.5 * z @ z

    from_jax(keeps, dim=1).log_prob([1.0])
    assert set(seen) == {np.dtype("float64")}
    assert jax.config.jax_enable_x64 == before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: z.no_such, "<lambda> cannot be traced by JAX: AttributeError: .*no_such"),
        (lambda z: float(z[0]), "cannot be traced by JAX: ConcretizationTypeError"),
        (lambda z: z, r"returns shape \(2,\), dtype float64; wanted the log density, a real"),
        (lambda z: 1, "returns shape .*dtype int|returns int"),
        (lambda z: (z[0], z), "returns tuple; wanted the log density"),
    ],
)
def test_functions_that_cannot_be_densities_are_refused(function, message):
    with pytest.raises(TargetError, match=message):
        from_jax(function, dim=2)


def fails_at_run_time(z):
    def call(x):
        if x > 0:
            raise ArithmeticError("the solver did not converge")
        return -x

    return jax.pure_callback(
        call, jax.ShapeDtypeStruct((), z.dtype), z[0], vmap_method="sequential"
    )


def test_what_is_raised_is_a_target_error_with_its_text():
    target = from_jax(fails_at_run_time, dim=1)
    assert target.log_prob([-2.0]) == 2.0
    with pytest.raises(TargetError, match="the solver did not converge") as caught:
        target.log_prob([2.0])
    assert caught.value.__cause__ is not None
    values, _ = target.attempt(np.array([[-1.0], [2.0]]), with_gradient=False)
    np.testing.assert_array_equal(values, [1.0, np.nan])
    with pytest.raises(TargetError, match="the log density is nan"):
        from_jax(lambda z: jnp.log(z[0]), dim=1).log_prob([-1.0])


def test_copies(ours, monkeypatch):
    again = pickle.loads(pickle.dumps(ours))
    assert again.log_prob(np.ones(3)) == ours.log_prob(np.ones(3))
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)
    with pytest.raises(TypeError, match=r"<lambda> cannot be pickled: .* wanted a function at the"):
        pickle.dumps(from_jax(lambda z: -(z[0] ** 2), dim=1))
    with pytest.raises(ValueError, match="logp is 3; wanted a function"):
        from_jax(3, dim=1)


# NumPyro


def schools(sd, effects=None):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", len(sd)):
        eta = numpyro.sample("eta", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * eta)
        numpyro.sample("effects", dist.Normal(theta, sd), obs=effects)


def everything(y):
    """Constraints of several kinds, and a factor."""
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.array([2.0, 3.0, 4.0])))
    p = numpyro.sample("p", dist.Beta(2, 3))
    low = numpyro.sample("low", dist.TruncatedNormal(0.0, 1.0, low=-0.5))
    at = numpyro.sample("at", dist.Normal(0, 1).expand([2, 2]).to_event(2))
    numpyro.factor("extra", -(low**2))
    mean = at[0] @ at[1] + weights[2] + p
    numpyro.sample("y", dist.StudentT(4.0, mean, 0.5), obs=y)


SD = np.array([15.0, 10.0, 16.0, 11.0])
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0])


@pytest.mark.parametrize(("model", "args"), [(schools, (SD, EFFECTS)), (everything, (Y,))])
def test_numbers_are_those_of_numpyro(model, args):
    """To rounding: the same potential energy, in double precision."""
    target = from_numpyro(model, *args)
    Z = np.random.default_rng(4).normal(size=(3, target.dim))
    values, grads = target.log_prob_and_grad(Z)

    def potential(z):
        return potential_energy(model, args, {}, target.parameters._split(z))

    def constrained(z):
        return constrain_fn(model, args, {}, target.parameters._split(z), return_deterministic=True)

    with jax.enable_x64(True):
        wanted, slopes = jax.jit(jax.vmap(jax.value_and_grad(potential)))(Z)
        one = jax.jit(constrained)(Z[0])
    np.testing.assert_allclose(values, -wanted, rtol=1e-13)
    np.testing.assert_allclose(grads, -slopes, rtol=1e-10, atol=1e-12)
    named = target.constrain(Z)
    assert named.keys() == one.keys()
    for name, x in one.items():
        np.testing.assert_allclose(named[name][0], x, rtol=1e-13, atol=1e-15)
    latent = {name: named[name][1] for name in target.unconstrained(Z)}
    np.testing.assert_allclose(target.parameters.unconstrain(latent), Z[1], atol=1e-9)
    assert target.check_gradient() < 1e-8


def test_names_and_contents_come_along():
    target = from_numpyro(schools, SD, effects=EFFECTS)
    assert target.names == ("mu", "tau", "eta[0]", "eta[1]", "eta[2]", "eta[3]")
    p = fastvi.fit(target, "meanfield", random_state=0)
    draws = p.sample_parameters(5)
    shapes = {name: x.shape for name, x in draws.items()}
    assert shapes == {"mu": (5,), "tau": (5,), "eta": (5, 4), "theta": (5, 4)}
    assert (draws["tau"] > 0).all()
    start = {"mu": 1.0, "tau": 2.0, "eta": np.zeros(4)}
    assert fastvi.fit(target, "meanfield", start=start, random_state=0).settled
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed: fastvi[arviz]")
    found = p.to_arviz(20)
    assert found["posterior"]["eta"].dims == ("chain", "draw", "school")
    assert list(found["unconstrained_posterior"].data_vars) == ["tau"]
    np.testing.assert_array_equal(found["observed_data"]["effects"], EFFECTS)
    rows = np.asarray(found["log_likelihood"]["effects"])
    e = (EFFECTS - np.asarray(found["posterior"]["theta"])) / SD
    np.testing.assert_allclose(rows, -0.5 * e**2 - np.log(SD * math.sqrt(2 * math.pi)), rtol=1e-12)
    assert arviz.loo(found).n_data_points == 4


def test_points_may_be_lists_and_must_have_the_right_length():
    target = from_numpyro(schools, SD, EFFECTS)
    z = [0.1 * i for i in range(target.dim)]
    assert target.unconstrained(z)["tau"] == target.unconstrained(np.array(z))["tau"]
    for split in (target.unconstrained, target.constrain):
        with pytest.raises(ValueError, match=rf"z has shape \(3,\); wanted \(..., {target.dim}\)"):
            split(np.zeros(3))
    assert target.constrain(np.zeros((0, target.dim)))["tau"].shape == (0,)


def test_other_arguments_and_copies():
    target = from_numpyro(schools, SD, EFFECTS)
    z = np.ones(6)
    again = pickle.loads(pickle.dumps(target))
    assert again.log_prob(z) == target.log_prob(z)
    assert target.bind(SD[:2], EFFECTS[:2]).dim == 4
    with pytest.raises(ValueError, match=r"z has shape \(5,\); wanted"):
        target.constrain(np.zeros(5))
    with pytest.raises(ValueError, match="given: mu; wanted: mu, tau, eta"):
        target.parameters.unconstrain({"mu": 1.0})
    with pytest.raises(ValueError, match="violates a constraint"):
        target.parameters.unconstrain({"mu": 1.0, "tau": -1.0, "eta": np.zeros(4)})


def discrete():
    numpyro.sample("n", dist.Poisson(3.0))


def nothing():
    numpyro.sample("y", dist.Normal(0, 1), obs=1.0)


def subsampled():
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("rows", 10, subsample_size=5):
        numpyro.sample("y", dist.Normal(mu, 1), obs=jnp.zeros(5))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (discrete, r"discrete has the discrete latent variables \['n'\]; wanted continuous"),
        (nothing, "nothing has no latent variables; wanted at least one"),
        (subsampled, r"subsamples in the plates \['rows'\]"),
    ],
)
def test_models_that_are_no_densities_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        from_numpyro(model)
