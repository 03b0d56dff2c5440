"""`fastvi.kernels.special` against mpmath over the whole range, in both widths."""

import os
import re
from fractions import Fraction

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from naive import special as naive

from fastvi.kernels import special
from fastvi.kernels._special_constants import DOUBLE, SINGLE

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
WIDTHS = [np.float32, np.float64]
# The accuracies of the docstrings: (float32, float64, floor of the divisor).
ACCURACY = {
    "exp": (2e-7, 4e-16, 0),
    "exp2": (2e-7, 4e-16, 0),
    "log": (3e-7, 6e-16, 0),
    "digamma": (5e-7, 2e-15, 1),
    "exp_digamma": (6e-7, 2e-15, 0),
    "trigamma": (4e-7, 1e-15, 0),
    "gammaln": (6e-7, 5e-15, 1),
}
FLUSHED_BELOW = {
    "exp": (1.7e-38, 3.2e-308),
    "exp2": (1.7e-38, 3.2e-308),
    "exp_digamma": (6e-38, 8e-307),
}
INF, NAN = np.inf, np.nan
# Argument and value where the width does not matter.
EDGES = {
    "exp": [(-INF, 0), (0, 1), (-0.0, 1), (INF, INF), (-800, 0), (800, INF), (NAN, NAN)],
    "exp2": [(-INF, 0), (0, 1), (3, 8), (INF, INF), (-1100, 0), (1100, INF), (NAN, NAN)],
    "log": [(0, -INF), (1, 0), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "digamma": [(0, -INF), (INF, INF), (-1, NAN), (-2.5, NAN), (-INF, NAN), (NAN, NAN)],
    "exp_digamma": [(0, 0), (1e-30, 0), (1e-3, 0), (INF, INF), (-1, NAN), (NAN, NAN)],
    "trigamma": [(0, INF), (INF, 0), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "gammaln": [(0, INF), (INF, INF), (-1, NAN), (-2.5, NAN), (NAN, NAN)],
}

pytestmark = pytest.mark.usefixtures("quiet")


def evaluate(name, x):
    return np.array([getattr(special, name)(v) for v in x], x.dtype)


def grid(name, dtype):
    """Points over all normal numbers, dense where the functions bend, with the shifts' seams."""
    info = np.finfo(dtype)
    if name in ("exp", "exp2"):
        top = float(getattr(np, name.replace("exp", "log"))(float(info.max)))
        return np.linspace(-top + 1.5, top - 1e-4, 2000).astype(dtype)
    lowest, highest = float(info.tiny), float(info.max)
    points = [
        np.geomspace(lowest, highest * 0.99, 600),
        np.geomspace(1e-30, 1e30, 400),
        np.geomspace(1e-3, 30, 1500),
        np.linspace(0.9, 3.1, 500),
        [1, 2, 1.4616321449683623, 3, 4, 7, 1e9, 1e17, 1e-30, 1e30],
    ]
    x = np.concatenate(points).astype(dtype)
    seams = x[-10:]
    return np.concatenate([x, np.nextafter(seams, dtype(0)), np.nextafter(seams, dtype(INF))])


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy_is_what_the_docstring_says(name, dtype):
    x = grid(name, dtype)
    result = evaluate(name, x)
    single, double, floor = ACCURACY[name]
    bound = single if dtype is np.float32 else double
    low, high = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if name in FLUSHED_BELOW:
        low = FLUSHED_BELOW[name][WIDTHS.index(dtype)]
    with mp.workdps(30):
        for point, value in zip(x.tolist(), result.tolist()):
            want = naive.REFERENCE[name](mp.mpf(point))
            if abs(want) > high:
                assert abs(value) == INF, point
            elif abs(want) < low and floor == 0:
                assert 0 <= value <= low * 1.01, point
            else:
                error = abs(mp.mpf(value) - want) / max(abs(want), floor) if want else abs(value)
                assert error <= bound, (point, value, float(error))


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", EDGES)
def test_edges(name, dtype):
    x, want = np.array(EDGES[name], dtype).T
    np.testing.assert_array_equal(evaluate(name, x.copy()), want)


@pytest.mark.parametrize("dtype", WIDTHS)
def test_results_below_the_normal_numbers_are_zero(dtype):
    tiny = np.finfo(dtype).tiny
    x = np.geomspace(1e-4, 0.02, 3000).astype(dtype)
    for result in (evaluate("exp_digamma", x), evaluate("exp", -1 / x)):
        assert np.all((result == 0) | (result >= tiny))
        assert np.all(np.diff(result) >= 0)


@pytest.mark.parametrize("dtype", WIDTHS)
def test_subnormal_arguments(dtype):
    x = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny / 4], dtype)
    assert evaluate("log", x).tolist() == [-INF, -INF]
    assert evaluate("gammaln", x)[0] == INF
    assert evaluate("digamma", x)[0] == -INF
    assert evaluate("trigamma", x).tolist() == [INF, INF]
    assert evaluate("exp_digamma", x).tolist() == [0, 0]
    assert evaluate("exp", x).tolist() == [1, 1]


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", ["digamma", "exp_digamma", "trigamma", "gammaln"])
@pytest.mark.parametrize("size", [0, 1, 7, 64, 1001])
def test_array_forms_equal_the_scalar_ones(name, dtype, size):
    x = np.random.default_rng(size).gamma(0.7, 3, size).astype(dtype) + dtype(1e-3)
    before, out = x.copy(), np.full(size, NAN, dtype)
    getattr(special, f"{name}_into")(x, out)
    np.testing.assert_array_equal(x, before)
    single, double, _ = ACCURACY[name]
    # A vector loop may fuse a multiplication and an addition that the scalar form rounds apart.
    tolerance = 2 * (single if dtype is np.float32 else double)
    np.testing.assert_allclose(out, evaluate(name, x), rtol=tolerance, atol=tolerance)
    getattr(special, f"{name}_into")(x, x)
    np.testing.assert_allclose(x, out, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(JIT_OFF, reason="nothing is compiled with NUMBA_DISABLE_JIT")
def test_the_width_of_the_argument_is_kept_and_sizes_do_not_recompile():
    for dtype in WIDTHS:
        for size in (3, 50):
            special.digamma_into(np.ones(size, dtype), np.ones(size, dtype))
    assert len(special.digamma_into.signatures) == 2
    for name in ACCURACY:
        function = getattr(special, name)
        for dtype, kind in zip(WIDTHS, (numba.float32, numba.float64)):
            function(dtype(1))
            assert function.overloads[(kind,)].signature.return_type == kind


@pytest.mark.skipif(JIT_OFF, reason="nothing is compiled with NUMBA_DISABLE_JIT")
@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", ACCURACY)
def test_loops_vectorise(name, dtype):
    function = getattr(special, name)

    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    loop(np.ones(3, dtype), np.ones(3, dtype))
    (code,) = loop.inspect_llvm().values()
    width = "float" if dtype is np.float32 else "double"
    assert re.search(rf"fmul.*<\d+ x {width}>", code)
    assert re.search(rf"fdiv.*<\d+ x {width}>", code) or name in ("exp", "exp2")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    hnp.arrays(
        st.sampled_from(WIDTHS),
        st.integers(0, 40),
        elements=st.one_of(
            st.floats(-100, 100, width=32), st.sampled_from([INF, -INF, NAN, 1e30, -1e30])
        ),
    )
)
def test_logsumexp_equals_its_twin(x):
    tolerance = 3e-6 if x.dtype == np.float32 else 1e-14
    want = naive.logsumexp(x)
    np.testing.assert_allclose(special.logsumexp(x), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("constants", [SINGLE, DOUBLE], ids=["single", "double"])
@pytest.mark.parametrize("name", ["exp", "log", "exp_digamma", "digamma", "trigamma", "gammaln"])
def test_polynomials_are_the_interpolants_they_claim_to_be(name, constants):
    want = [float(v) for v in naive.coefficients(name, constants)]
    np.testing.assert_allclose(
        np.float64(getattr(constants, name)), want, rtol=1e-7 if constants is SINGLE else 1e-13
    )


@pytest.mark.parametrize("constants", [SINGLE, DOUBLE], ids=["single", "double"])
@pytest.mark.parametrize("x", [Fraction(1, 7), Fraction(5, 2), Fraction(40)])
def test_recurrence_polynomials_are_exact(constants, x):
    def value(polynomial, at):
        return sum(Fraction(float(c)) * at**i for i, c in enumerate(polynomial))

    shift = int(constants.shift)
    s = x * (x + shift)
    pairs = value(constants.pairs, s)
    first, second = naive.recurrence_sums(x, shift)
    assert (2 * x + shift) * value(constants.pair_sum, s) / pairs == first
    assert value(constants.pair_squares, s) / pairs**2 == second
    product = Fraction(1)
    for i in range(int(constants.gammaln_shift)):
        product *= x + i
    assert value(constants.gammaln_product, x) == product
