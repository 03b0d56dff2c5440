"""Stein discrepancies, the test and thinning: closed forms, twins, calibration, and bad input."""

import numpy as np
import pytest
from naive import ksd as naive
from scipy.special import roots_hermitenorm
from scipy.stats import binom
from toy_targets import bowl

import fastvi
from fastvi.kernels import ksd as kernels
from fastvi.stein.discrepancy import _signs
from fastvi.stein.draws import metric, prepare
from fastvi.targets import TargetError
from fastvi.transforms import positive


def _gamma(z, grad):
    """Of sigma, Gamma(3, 1)."""
    grad[0] = 2.0 / z[0] - 1.0
    return 2.0 * np.log(z[0]) - z[0]


@pytest.fixture(scope="module")
def normal():
    return fastvi.target(bowl, dim=2)


def standard(rng, n, d=1, shift=0.0):
    """Draws of N(shift, 1) and their scores under N(0, 1)."""
    X = rng.standard_normal((n, d))
    X[:, 0] += shift
    return X, -X


# Values


@pytest.mark.parametrize("n", [2, 3, 4, 7, 13])
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_statistics_equal_those_of_the_twin(n, kernel, rng):
    X, S = rng.normal(size=(2, n, 2))
    U = naive.matrix(X, S, np.eye(2) / 1.5**2, kernel)
    options = {"scores": S, "kernel": kernel, "bandwidth": 1.5}
    found = fastvi.ksd(None, X, **options)
    np.testing.assert_allclose(found.value, naive.u_statistic(U), rtol=1e-12)
    if n >= 3:
        np.testing.assert_allclose(found.error, np.sqrt(naive.u_variance(U)), rtol=1e-9)
    else:
        assert np.isnan(found.error)
    v = fastvi.ksd(None, X, statistic="v", **options)
    np.testing.assert_allclose(v.value, U.mean(), rtol=1e-12)
    assert v.value >= 0
    assert v.root == np.sqrt(v.value)
    assert np.isnan(v.error)
    line = fastvi.ksd(None, X, statistic="linear", **options)
    if n >= 4:
        np.testing.assert_allclose(line[:2], naive.linear(U), rtol=1e-10)


@pytest.mark.jit
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_unbiased_for_a_shifted_gaussian(kernel, shift, rng):
    """E u_p(x, y) of x, y ~ N(shift, 1) against N(0, 1), by quadrature: 4 standard errors.

    Also by the closed form for the Gaussian kernel of width h: shift^2 h / sqrt(h^2 + 2).
    """
    nodes, weights = roots_hermitenorm(60)
    weights /= weights.sum()
    X = nodes[:, None] + shift
    U = naive.matrix(X, -X, np.eye(1) / 1.5**2, kernel)
    want = weights @ U @ weights
    if kernel == "rbf":
        np.testing.assert_allclose(want, shift**2 * 1.5 / np.sqrt(1.5**2 + 2), atol=1e-10)
    X, S = standard(rng, 2000, shift=shift)
    for statistic in ("u", "linear"):
        found = fastvi.ksd(None, X, scores=S, kernel=kernel, bandwidth=1.5, statistic=statistic)
        assert abs(found.value - want) < 4 * found.error
    V = fastvi.ksd(None, X, scores=S, kernel=kernel, bandwidth=1.5, statistic="v")
    assert V.value > found.value or shift


@pytest.mark.jit
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_standard_error_is_that_of_repeats(shift, rng):
    """300 repeats: their deviation has a relative error of 4 %, doubled by a heavy tail; 25 %."""
    values = []
    for _ in range(300):
        X, S = standard(rng, 60, shift=shift)
        values.append(fastvi.ksd(None, X, scores=S, bandwidth=1.0)[:2])
    value, error = np.transpose(values)
    assert abs(np.sqrt(np.mean(error**2)) / value.std() - 1) < 0.25


@pytest.mark.jit
def test_draws_by_name_and_from_a_fit(normal, rng):
    target = fastvi.target(_gamma, names={"sigma": positive()})
    sigma = rng.gamma(3.0, size=500)
    by_name = fastvi.ksd(target, {"sigma": sigma})
    assert by_name == fastvi.ksd(target, np.log(sigma)[:, None])
    assert by_name.value < 4 * by_name.error
    posterior = fastvi.fit(target, random_state=0)
    of_fit = fastvi.ksd(target, posterior, random_state=3, n_draws=700)
    drawn = posterior.sample(700, np.random.default_rng(3))
    assert of_fit == fastvi.ksd(target, drawn)
    assert of_fit.n == 700
    assert posterior.ksd(random_state=3, n_draws=700) == of_fit
    assert fastvi.ksd_test(target, posterior, random_state=0).n == 1000


def test_scores_are_those_of_the_target(normal, rng):
    X = rng.normal(size=(50, 2))
    assert fastvi.ksd(normal, X) == fastvi.ksd(None, X, scores=-X)
    # integers are numbers
    Z = rng.integers(-2, 3, (20, 2))
    assert fastvi.ksd(normal, Z) == fastvi.ksd(normal, Z.astype(float))


class Table:
    """As pandas has it: an array by `__array__`, and a `sample` of its own."""

    def __init__(self, X):
        self.X = X

    def __array__(self, dtype=None, copy=None):
        return self.X

    def sample(self, n):
        raise AssertionError("asked for a sample")


def test_tables_are_arrays(rng):
    X, S = standard(rng, 30)
    assert fastvi.ksd(None, Table(X), scores=S) == fastvi.ksd(None, X, scores=S)
    assert list(fastvi.stein_thinning(None, Table(X), 3, scores=S)) == list(
        fastvi.stein_thinning(None, X, 3, scores=S)
    )


@pytest.mark.jit
def test_float32_stays_and_agrees(rng):
    X, S = standard(rng, 700, 3, 0.5)
    wide = fastvi.ksd(None, X, scores=S, preconditioner="covariance")
    narrow = fastvi.ksd(None, X.astype(np.float32), scores=S, preconditioner="covariance")
    np.testing.assert_allclose(narrow[:2], wide[:2], rtol=2e-5)
    far = fastvi.ksd(None, (X + 1e3).astype(np.float32), scores=S, bandwidth=wide.bandwidth)
    near = fastvi.ksd(None, X, scores=S, bandwidth=wide.bandwidth)
    np.testing.assert_allclose(far.value, near.value, rtol=2e-3)  # draws are 6e-5 off


@pytest.mark.thorough
def test_preconditioners(rng):
    X, S = standard(rng, 200, 3)
    scales = np.array([1.0, 10.0, 0.1])
    X, S = X * scales, S / scales
    P = np.cov(X, rowvar=False)
    by_word = fastvi.ksd(None, X, scores=S, preconditioner="covariance")
    assert by_word == fastvi.ksd(None, X, scores=S, preconditioner=P)
    U = naive.matrix(X, S, np.linalg.inv(P) / by_word.bandwidth**2)
    np.testing.assert_allclose(by_word.value, naive.u_statistic(U), rtol=1e-8)
    scale = fastvi.ksd(None, X, scores=S, preconditioner="scale", bandwidth=2.0)
    U = naive.matrix(X, S, np.diag(1 / X.var(axis=0)) / 4.0)
    np.testing.assert_allclose(scale.value, naive.u_statistic(U), rtol=1e-8)
    uniform = fastvi.ksd(None, X, scores=S, preconditioner=np.eye(3) * 4.0, bandwidth=1.0)
    np.testing.assert_allclose(uniform.value, fastvi.ksd(None, X, scores=S, bandwidth=2.0).value)


@pytest.mark.thorough
@pytest.mark.jit
def test_more_draws_than_a_tile_and_any_threads(rng):
    """Three blocks of 256 and a part of a fourth: the same bits for 1, 2 and 8 threads."""
    for dtype in (np.float32, np.float64):
        X = rng.normal(size=(800, 2)).astype(dtype)
        for pre in (None, "covariance"):
            options = {"scores": -X, "preconditioner": pre}
            one, *others = (fastvi.ksd(None, X, n_jobs=j, **options) for j in (1, 2, 8))
            assert others == [one, one]
            tests = [
                fastvi.ksd_test(None, X, n_jobs=j, random_state=1, **options) for j in (1, 2, 8)
            ]
            assert len({(t.p_value, t.statistic, t.replicates.tobytes()) for t in tests}) == 1
    U = naive.matrix(X[::4], -X[::4], np.eye(2) / 2.0**2)
    found = fastvi.ksd(None, X[::4], scores=-X[::4], bandwidth=2.0)
    np.testing.assert_allclose(found.value, naive.u_statistic(U), rtol=1e-10)


@pytest.mark.jit
def test_other_sizes_compile_nothing(rng):
    for n, d in ((10, 2), (600, 3)):
        X = rng.normal(size=(n, d))
        fastvi.ksd_test(None, X, scores=-X, random_state=0)
        fastvi.stein_thinning(None, X, 3, scores=-X)
        counted = [len(k.signatures) for k in (kernels.tile, kernels.add_sums, kernels.add_column)]
        if n == 10:
            before = counted
    assert counted == before


def test_invariant_to_order_and_shift_of_draws(rng):
    X, S = standard(rng, 300, 2)
    order = rng.permutation(300)
    a = fastvi.ksd(None, X, scores=S, bandwidth=1.0)
    b = fastvi.ksd(None, X[order] + 1e4, scores=S[order], bandwidth=1.0)
    np.testing.assert_allclose(a[:2], b[:2], rtol=1e-8)


# The test


def test_replicates_equal_those_of_the_twin(rng):
    X, S = rng.normal(size=(2, 9, 2))
    found = fastvi.ksd_test(
        None, X, scores=S, bandwidth=1.0, n_bootstrap=20, correlation=0.4, random_state=5
    )
    U = naive.matrix(X, S, np.eye(2))
    want = naive.replicates(U, _signs(9, 20, 0.4, np.random.default_rng(5)))
    np.testing.assert_allclose(found.replicates, want, rtol=1e-9)
    np.testing.assert_allclose(found.statistic, naive.u_statistic(U))
    assert found.p_value == (1 + np.sum(np.array(want) >= found.statistic - 1e-12)) / 21


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_signs_are_a_chain_with_that_correlation(correlation):
    """10^5 pairs of neighbours, seed 0: 4 standard errors (blocks of 10^6 / 300 rows as well)."""
    signs = _signs(5000, 300, correlation, np.random.default_rng(0)).astype(float)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    product = (signs[1:] * signs[:-1]).mean()
    assert abs(product - correlation) < 4 / np.sqrt(signs.size)
    assert abs(signs[0].mean()) < 4 / np.sqrt(300)


def test_two_draws_with_equal_signs_count(rng):
    """With two draws, replicates are the statistic itself or minus it."""
    found = fastvi.ksd_test(None, [[0.5], [0.6]], scores=[[-0.5], [-0.6]], random_state=0)
    assert abs(found.p_value - 0.5) < 0.07 or found.statistic < 0


def rejections(rng, repeats, n, shift=0.0, **options):
    count = 0
    for seed in range(repeats):
        X, S = standard(rng, n, 2, shift)
        count += fastvi.ksd_test(None, X, scores=S, random_state=seed, **options).rejected
    return count


@pytest.mark.jit
@pytest.mark.parametrize(
    "options",
    [{"kernel": "imq"}, {"kernel": "rbf"}, {"statistic": "linear"}],
    ids=["imq", "rbf", "linear"],
)
def test_calibrated(options, rng):
    """300 tests of 100 draws of the target at 5 %: within the central 99.8 % of a binomial."""
    options = {"n_bootstrap": 200, **options}
    low, high = binom.interval(0.998, 300, 0.05)
    assert low <= rejections(rng, 300, 100, **options) <= high


@pytest.mark.jit
def test_power_grows_with_the_shift(rng):
    """100 tests of 100 draws each. At a shift of 0.6 hardly any is missed."""
    found = [rejections(rng, 100, 100, shift, n_bootstrap=200) for shift in (0.0, 0.2, 0.4, 0.6)]
    assert found[0] < 15
    assert found[0] < found[1] < found[2] < found[3]
    assert found[3] > 90


def chain(rng, n, rho):
    """Of N(0, 1), with this autocorrelation."""
    x, noise = np.empty(n), rng.standard_normal(n)
    x[0] = noise[0]
    for i in range(1, n):
        x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * noise[i]
    return x[:, None]


@pytest.mark.thorough
@pytest.mark.jit
def test_chains_need_correlated_signs(rng):
    """150 chains of 300 draws of the target, autocorrelation 0.5.

    Independent signs reject far too many. Correlated ones reject at most 10 % (and the bootstrap
    of a short chain is a little liberal): 26 of 150 at the 99.9th percentile.
    """
    count = {0.0: 0, 0.9: 0}
    for seed in range(150):
        x = chain(rng, 300, 0.5)
        for correlation in count:
            options = {"correlation": correlation, "random_state": seed, "n_bootstrap": 200}
            count[correlation] += fastvi.ksd_test(None, x, scores=-x, **options).rejected
    assert count[0.0] > 40
    assert count[0.9] <= binom.ppf(0.999, 150, 0.10)


def test_words(rng):
    X, S = standard(rng, 200, 1, 1.0)
    assert "not draws from the target" in str(fastvi.ksd_test(None, X, scores=S, random_state=0))
    X, S = standard(rng, 200)
    assert "No evidence against" in str(fastvi.ksd_test(None, X, scores=S, random_state=0))
    assert "of 200 draws (v-statistic, imq" in str(fastvi.ksd(None, X, scores=S, statistic="v"))


# Thinning


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("preconditioner", ["sclmed", "med", "smpcov", np.diag([1.0, 2.0])])
def test_thinning_equals_brute_force(kernel, preconditioner, rng):
    X = rng.normal(size=(40, 2)) + 0.5
    found = fastvi.stein_thinning(
        None, X, 12, scores=-X, kernel=kernel, preconditioner=preconditioner
    )
    distances = [np.linalg.norm(x - y) for i, x in enumerate(X) for y in X[:i]]
    median = np.median(distances) ** 2
    P = {"sclmed": np.eye(2) * median / np.log(40), "med": np.eye(2) * median,
         "smpcov": np.cov(X, rowvar=False)}  # fmt: skip
    P = P[preconditioner] if isinstance(preconditioner, str) else preconditioner
    U = naive.matrix(X, -X, np.linalg.inv(P), kernel)
    assert list(found) == naive.thin(U, 12)
    assert found.dtype == np.int64


def drifting(n=2000):
    """A chain for N(0, diag(1, 1/4)) that begins far away, and its scores."""
    rng = np.random.default_rng(5)
    x = np.zeros((n, 2))
    for i in range(1, n):
        x[i] = 0.9 * x[i - 1] + rng.normal(size=2) * np.array([1, 0.5]) * np.sqrt(1 - 0.81)
    x[:100] += np.linspace(5, 0, 100)[:, None]
    return x, -x / np.array([1, 0.25])


PEER = {  # what stein-thinning 0.2.0, by the paper's authors, chooses (standardize=False)
    "med": [929, 1395, 157, 1990, 1237, 1068, 377, 1399, 1550, 961],
    "sclmed": [929, 947, 396, 1782, 654, 1198, 897, 1801, 702, 889],
    "smpcov": [929, 780, 1022, 1785, 444, 155, 623, 158, 859, 819],
}


@pytest.mark.jit
@pytest.mark.parametrize("preconditioner", PEER)
def test_thinning_chooses_what_the_authors_package_does(preconditioner):
    x, s = drifting()
    found = fastvi.stein_thinning(None, x, 10, scores=s, preconditioner=preconditioner)
    assert list(found) == PEER[preconditioner]


@pytest.mark.jit
def test_thinning_leaves_the_burn_in_out():
    x, s = drifting()
    chosen = fastvi.stein_thinning(None, x, 50, scores=s)
    assert chosen.min() > 40
    evenly = np.linspace(0, 1999, 50).astype(int)
    options = {"statistic": "v", "bandwidth": 1.0}
    good = fastvi.ksd(None, x[chosen], scores=s[chosen], **options)
    usual = fastvi.ksd(None, x[evenly], scores=s[evenly], **options)
    assert good.value < 0.2 * usual.value


@pytest.mark.jit
def test_thinning_for_any_threads_and_chunks(rng, monkeypatch):
    X = rng.normal(size=(3000, 2)).astype(np.float32)
    whole = fastvi.stein_thinning(None, X, 20, scores=-X)
    monkeypatch.setattr("fastvi.stein.thinning.CHUNK", 512)
    for jobs in (1, 2, 8):
        assert list(fastvi.stein_thinning(None, X, 20, scores=-X, n_jobs=jobs)) == list(whole)


def test_thinning_one_draw_many_times():
    assert list(fastvi.stein_thinning(None, [[0.3]], 3, scores=[[1.0]])) == [0, 0, 0]


# Bad input

GOOD = np.arange(10.0).reshape(5, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": "matern"}, "kernel is 'matern'; wanted one of 'imq', 'rbf'"),
        ({"beta": -1.0}, "beta is -1.0; wanted a number > -1 and < 0"),
        ({"beta": 0}, "beta is 0; wanted"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0; wanted a number > 0"),
        ({"bandwidth": "mean"}, "bandwidth is 'mean'; wanted one of 'median'"),
        ({"bandwidth": np.nan}, "bandwidth is nan"),
        ({"preconditioner": "full"}, "preconditioner is 'full'; wanted one of"),
        ({"preconditioner": np.eye(3)}, r"preconditioner has shape \(3, 3\)"),
        ({"preconditioner": -np.eye(2)}, "not positive definite: the matrix"),
        ({"preconditioner": np.array([[1.0, 0.5], [0.0, 1.0]])}, "not symmetric"),
        ({"statistic": "w"}, "statistic is 'w'; wanted one of 'u', 'v', 'linear'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"random_state": -1}, "random_state is -1"),
        ({"scores": None}, "target and scores are None; wanted one of them"),
        ({"scores": GOOD[:4]}, r"scores has shape \(4, 2\); wanted that of the draws, \(5, 2\)"),
        ({"scores": GOOD * 1e200}, "overflow float64"),
        ({"draws": GOOD[:1], "scores": GOOD[:1]}, "draws holds 1 draws; wanted at least 2"),
        ({"draws": GOOD[0]}, r"draws has shape \(2,\)"),
        ({"draws": GOOD[:, :0]}, r"draws has shape \(5, 0\)"),
        ({"draws": np.full((5, 2), "a")}, "wanted numbers"),
        ({"draws": GOOD * 1e200}, "squares overflow"),
        ({"draws": {"x": GOOD}}, "draws is a mapping, which needs a target"),
        ({"draws": np.ones((5, 2))}, "all draws are equal"),
        ({"bandwidth": 1e-200}, "bandwidth 1e-200 is so small that distances"),
        ({"bandwidth": 1e-160}, "overflow float64; wanted a larger bandwidth"),
    ],
)
def test_bad_input(options, words):
    arguments = {"draws": GOOD, "scores": -GOOD, "random_state": 0, **options}
    with pytest.raises(ValueError, match=words):
        fastvi.ksd(None, arguments.pop("draws"), **arguments)


def test_exponents_of_any_type():
    wanted = fastvi.ksd(None, GOOD, scores=-GOOD, beta=-0.25)
    assert fastvi.ksd(None, GOOD, scores=-GOOD, beta=np.float32(-0.25)) == wanted


def test_bandwidths_at_the_ends_of_a_type(rng):
    x = rng.normal(size=(300, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"bandwidth 1e-30 .* overflow float32"):
        fastvi.ksd(None, x, scores=-x, bandwidth=1e-30)
    scores = np.asarray(-x, np.float64)
    flat = (np.square(scores.sum(axis=0)).sum() - np.square(scores).sum()) / (300 * 299)
    for width in (1e10, 1e25, 1e100, 1e200):  # a kernel that is 1 throughout
        for draws in (x, x.astype(np.float64)):
            found = fastvi.ksd(None, draws, scores=-draws, bandwidth=width)
            assert found.value == pytest.approx(flat, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite(bad):
    wrong = GOOD.copy()
    wrong[3, 1] = bad
    with pytest.raises(ValueError, match=f"draws holds {bad} in row 3, column 1"):
        fastvi.ksd(None, wrong, scores=GOOD)
    with pytest.raises(ValueError, match=f"scores holds {bad} in row 3, column 1"):
        fastvi.ksd(None, GOOD, scores=wrong)


def test_preconditioners_that_draws_do_not_have():
    line = np.column_stack((np.arange(5.0), np.arange(5.0)))
    with pytest.raises(ValueError, match="the covariance of 5 draws"):
        fastvi.ksd(None, line, scores=line, preconditioner="covariance")
    line[:, 1] = 3.0
    with pytest.raises(ValueError, match="column 1 of draws has no spread"):
        fastvi.ksd(None, line, scores=line, preconditioner="scale")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # interpreted kernels
def test_bad_targets(normal):
    with pytest.raises(ValueError, match="draws has 3 columns; wanted 2"):
        fastvi.ksd(normal, np.ones((4, 3)))
    plain = fastvi.target(lambda z: -0.5 * z[0] ** 2, dim=1)
    with pytest.raises(ValueError, match="has no gradient"):
        fastvi.ksd(plain, np.ones((4, 1)))
    target = fastvi.target(_gamma, names={"sigma": positive()})
    with pytest.raises(ValueError, match="sigma is not finite and > 0"):
        fastvi.ksd(target, {"sigma": -np.ones(4)})
    with pytest.raises(TargetError):
        fastvi.ksd(target, np.array([[1.0], [900.0]]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"statistic": "v"}, "statistic is 'v'; wanted one of 'u', 'linear'"),
        ({"n_bootstrap": 0}, "n_bootstrap is 0"),
        ({"level": 0.0}, "level is 0.0"),
        ({"level": 1.0}, "wanted both below 1"),
        ({"correlation": 1.0}, "wanted both below 1"),
        ({"correlation": -0.1}, "correlation is -0.1"),
        ({"correlation": 0.5, "statistic": "linear"}, "for independent draws"),
    ],
)
def test_bad_input_of_the_test(options, words):
    with pytest.raises(ValueError, match=words):
        fastvi.ksd_test(None, GOOD, scores=-GOOD, random_state=0, **options)
    with pytest.raises(ValueError, match="holds 3 draws; wanted at least 4"):
        fastvi.ksd_test(None, GOOD[:3], scores=-GOOD[:3], statistic="linear")


def test_bad_input_of_thinning(normal):
    for options, words in [
        ({"n_points": 0}, "n_points is 0"),
        (
            {"preconditioner": "id"},
            "preconditioner is 'id'; wanted one of 'med', 'sclmed', 'smpcov'",
        ),
        ({"draws": GOOD[:0], "scores": GOOD[:0]}, "draws holds 0 draws"),
        ({"draws": fastvi.fit(normal, random_state=0)}, "draws is a fit"),
    ]:
        arguments = {"draws": GOOD, "n_points": 3, "scores": -GOOD, **options}
        with pytest.raises(ValueError, match=words):
            fastvi.stein_thinning(None, arguments.pop("draws"), **arguments)


def test_arguments_are_not_written_to(rng):
    X = rng.normal(size=(30, 2))
    S = -X
    X.flags.writeable = S.flags.writeable = False
    before = X.copy(), S.copy()
    fastvi.ksd(None, X, scores=S)
    fastvi.ksd_test(None, X, scores=S, random_state=0)
    fastvi.stein_thinning(None, X, 3, scores=S)
    np.testing.assert_array_equal((X, S), before)
    points = prepare(X, S, metric(X, "imq", -0.5, "median", None))
    assert points.X is not X
