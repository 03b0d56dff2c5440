"""The number of states by the bound, and priors of chains that stay or go one way."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from test_hmm import LENGTHS, X

import fastvi

pytestmark = pytest.mark.jit


def drawn(n=600, k=3, seed=0):
    """Rows of three states far apart, and counts and symbols of the same chain."""
    rng = np.random.default_rng(seed)
    states = np.cumsum(rng.random(n) < 0.1) % k
    rows = np.array([[0.0, 0.0], [6, 0], [0, 6]])[states] + rng.normal(size=(n, 2))
    counts = rng.poisson(np.array([1.0, 10.0, 40.0])[states])[:, None]
    symbols = ((states + (rng.random(n) < 0.1)) % k)[:, None]
    return {"Gaussian": rows, "Poisson": counts, "Categorical": symbols}


@pytest.mark.parametrize("name", ["Gaussian", "Poisson", "Categorical"])
def test_spare_states_leave_and_the_bound_rises(name):
    """Flat priors of chains keep six states apart, of which pairs share what one could have."""
    rows = drawn()[name]
    cls = getattr(fastvi, f"Variational{name}HMM")
    model = cls(6, transmat_prior=1.0, startprob_prior=np.ones(6), random_state=0).fit(rows)
    bound, transitions = model.elbo_, model.transmat_
    found = model.prune(rows)
    assert model.n_components == 6
    assert model.transmat_ is transitions  # it stays as it is
    assert found.n_components == 3
    assert found.elbo_ > bound + 5
    assert found.startprob_prior.shape == (3,)
    assert {**found.get_params(), "n_components": 6, "startprob_prior": 0} == {
        **model.get_params(), "startprob_prior": 0,
    }  # fmt: skip
    again = found.prune(rows)
    assert again.n_components == 3
    np.testing.assert_allclose(again.elbo_, found.elbo_, rtol=1e-6)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_priors_and_posteriors_lose_the_same_states(kind):
    rows = drawn()["Gaussian"]
    scale = {"full": np.tile(np.eye(2), (5, 1, 1)), "diag": np.ones((5, 2)), "tied": np.eye(2)}
    options = {
        "scale_prior": scale.get(kind, np.ones(5)), "means_prior": np.zeros((5, 2)),
        "beta_prior": np.ones(5), "dof_prior": 2.0 if kind == "tied" else np.full(5, 2.0),
    }  # fmt: skip
    model = fastvi.VariationalGaussianHMM(5, kind, random_state=0, **options).fit(rows)
    found = model.prune(rows)
    assert found.n_components == 3
    assert found.means_prior.shape == (3, 2)
    assert found.covars_.shape == {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2)}.get(
        kind, (3,)
    )
    assert found.elbo_ >= model.elbo_


def test_two_states_of_two_features_that_share_a_covariance():
    """The covariance has as many rows as there are states, and keeps them."""
    rows = np.random.default_rng(0).normal(size=(100, 2))
    found = fastvi.VariationalGaussianHMM(2, "tied", random_state=0).fit(rows).prune(rows)
    assert (found.n_components, found.covars_.shape) == (1, (2, 2))


def test_missing_rows_and_several_sequences_can_be_pruned():
    rows = drawn()["Gaussian"]
    rows[::7], rows[3::11, 0] = np.nan, np.nan
    model = fastvi.VariationalGaussianHMM(5, "diag", random_state=0).fit(rows, [400, 200])
    assert model.prune(rows, [400, 200]).n_components == 3


def test_chains_that_go_one_way_keep_their_beginning():
    prior = fastvi.left_right_prior(4, skip=1)
    model = fastvi.VariationalGaussianHMM(4, **prior._asdict(), random_state=0, n_iter=30)
    rows = np.repeat([0.0, 5.0, 10.0], 30)[:, None] + np.random.default_rng(0).normal(size=(90, 1))
    found = model.fit(rows).prune(rows)
    assert found.n_components <= 4
    assert found.startprob_[0] == 1
    np.testing.assert_array_equal(np.tril(found.transmat_, -1), 0)


def test_only_fitted_models_are_pruned():
    with pytest.raises(NotFittedError):
        fastvi.VariationalGaussianHMM(2).prune(X, LENGTHS)


def test_sticky_priors_have_the_expected_stay():
    prior = fastvi.sticky_prior(4, stay=9.0, concentration=2.0)
    np.testing.assert_allclose(prior.sum(axis=1), 11.0)
    np.testing.assert_allclose(np.diag(prior) / prior.sum(axis=1), (9 + 0.5) / 11)
    flat = fastvi.sticky_prior(3, 0.0, concentration=3)
    np.testing.assert_array_equal(flat, np.ones((3, 3)))


def test_left_right_priors_never_go_back():
    start, moves = fastvi.left_right_prior(4, skip=1, stay=5.0, concentration=3.0)
    np.testing.assert_array_equal(start, [3, 0, 0, 0])
    np.testing.assert_allclose(moves[0], [6, 1, 1, 0])
    np.testing.assert_allclose(moves[3], [0, 0, 0, 8])
    assert np.all(moves[np.tril_indices(4, -1)] == 0)


REFUSED = {
    "no states": (fastvi.sticky_prior, (0, 1.0), "n_components is 0; wanted"),
    "less than no stay": (fastvi.sticky_prior, (2, -1.0), "stay is -1.0; wanted a number >= 0"),
    "no number": (fastvi.sticky_prior, (2, "long"), "stay is 'long'; wanted a number >= 0"),
    "no weight": (fastvi.sticky_prior, (2, 1.0, 0.0), "concentration is 0.0; wanted a number > 0"),
    "a skip": (fastvi.left_right_prior, (2, -1), "skip is -1; wanted"),
    "a stay": (fastvi.left_right_prior, (2, 0, np.nan), "stay is nan; wanted a number >= 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_of_priors_are_checked(case):
    function, given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        function(*given)
