"""`fastvi.target`: every form of a Python density, its data, what is refused, and how it fails."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import NamedTuple

import numpy as np
import pytest
from conftest import JIT_OFF
from thoroughly import mostly_thorough

import fastvi
from fastvi.core import Batch
from fastvi.kernels import targets as kernels
from fastvi.targets import TargetError
from fastvi.transforms import positive

compiled_only = pytest.mark.skipif(JIT_OFF, reason="nothing is compiled with JIT off")


@fastvi.target(dim=2)
def banana(z, grad):
    """Bent normal."""
    bend = z[1] - z[0] ** 2
    grad[0] = 4.0 * bend * z[0] - z[0]
    grad[1] = -2.0 * bend
    return -(bend**2) - 0.5 * z[0] ** 2


@fastvi.target
def waiting(z, data, grad):
    value = 0.0
    for j in range(z.size):
        grad[j] = -data.precision * (z[j] - data.mean[j])
        value += 0.5 * grad[j] * (z[j] - data.mean[j])
    return value


# One linear model in every form; `expected` is their twin.


def vector_grad(z, data, grad):
    value = -0.5 * np.sum(z * z)
    for j in range(z.size):
        grad[j] = -z[j]
    for i in range(data.y.size):
        e = data.y[i] - np.sum(data.X[i] * z)
        value -= 0.5 * e * e
        for j in range(z.size):
            grad[j] += e * data.X[i, j]
    return value


def vector_plain(z, data):
    value = -0.5 * np.sum(z * z)
    for i in range(data.y.size):
        value -= 0.5 * (data.y[i] - np.sum(data.X[i] * z)) ** 2
    return value


def vector_rows(weights, z, rows, data, grad):
    value = -0.5 * np.sum(z * z)
    for j in range(z.size):
        grad[j] = -z[j]
    for m in range(rows.size):
        e = data.y[rows[m]] - np.sum(data.X[rows[m]] * z)
        value -= weights[m] * 0.5 * e * e
        for j in range(z.size):
            grad[j] += weights[m] * e * data.X[rows[m], j]
    return value


def vector_terms(z, data, terms, grad):
    terms[0] = -0.5 * np.sum(z * z)
    terms[1] = 0.0
    for j in range(z.size):
        grad[j] = -z[j]
    for i in range(data.y.size):
        e = data.y[i] - np.sum(data.X[i] * z)
        terms[1] -= 0.5 * e * e
        for j in range(z.size):
            grad[j] += e * data.X[i, j]


def batched_grad(Z, data, values, grads):
    residuals = np.dot(Z, data.X.T)  # where sums over whole arrays take 8 s longer to compile
    for s in range(Z.shape[0]):
        values[s, 0] = 0.0
        for i in range(data.y.size):
            residuals[s, i] = data.y[i] - residuals[s, i]
            values[s, 0] -= 0.5 * residuals[s, i] ** 2
        for j in range(Z.shape[1]):
            values[s, 0] -= 0.5 * Z[s, j] ** 2
            grads[s, j] = -Z[s, j]
            for i in range(data.y.size):
                grads[s, j] += residuals[s, i] * data.X[i, j]


def batched_rows(Z, data, rows, weights, values):
    for s in range(Z.shape[0]):
        values[s, 0] = -0.5 * np.sum(Z[s] * Z[s])
        for m in range(rows.size):
            e = data.y[rows[m]] - np.sum(data.X[rows[m]] * Z[s])
            values[s, 0] -= weights[m] * 0.5 * e * e


FORMS = [vector_grad, vector_plain, vector_rows, vector_terms, batched_grad, batched_rows]


def expected(Z, X, y, rows=None, weights=None):
    """(values, gradients) by NumPy."""
    rows = np.arange(len(y)) if rows is None else rows
    weights = np.ones(len(rows)) if weights is None else weights
    residuals = y[rows] - Z @ X[rows].T
    values = -0.5 * (Z**2).sum(axis=1) - 0.5 * (weights * residuals**2).sum(axis=1)
    return values, (weights * residuals) @ X[rows] - Z


def make_data(rng, n=7, dim=3):
    return {"X": rng.normal(size=(n, dim)), "y": rng.normal(size=n)}


def make(form, data, dim=3, gradient="auto"):
    terms = 2 if form is vector_terms else 1
    return fastvi.target(form, data=data, dim=dim, terms=terms, gradient=gradient)


def test_the_simplest_use():
    assert banana.dim == 2
    assert banana.names == ("z[0]", "z[1]")
    assert banana.log_prob([1.0, 2.0]) == -1.5
    value, grad = banana.log_prob_and_grad([1.0, 2.0])
    assert value == -1.5
    np.testing.assert_array_equal(grad, [3.0, -2.0])
    assert banana.check_gradient() < 1e-8
    assert banana.__doc__ == "Bent normal."
    assert banana(np.array([1.0, 2.0]), np.empty(2)) == -1.5
    assert "banana" in repr(banana)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    ("k", "n", "dim"),
    mostly_thorough([(5, 7, 3), (4, 1, 1), (0, 7, 3), (1, 7, 3), (3, 0, 2)], 3),
)
def test_every_form_is_the_twin(rng, form, k, n, dim):
    data = make_data(rng, n, dim)
    target = make(form, data, dim)
    Z = rng.normal(size=(k, dim))
    values, grads = expected(Z, **data)
    np.testing.assert_allclose(target.log_prob(Z), values, rtol=1e-12)
    assert target.log_terms(Z).shape == (k, target.n_terms)
    if target.has_gradient:
        found, slopes = target.log_prob_and_grad(Z)
        np.testing.assert_allclose(found, values, rtol=1e-12)
        np.testing.assert_allclose(slopes, grads, rtol=1e-12, atol=1e-12)
        target.check_gradient(Z)


@pytest.mark.parametrize("form", [vector_rows, batched_rows])
def test_rows_and_weights(rng, form):
    data = make_data(rng)
    target = make(form, data)
    assert target.n_rows == 7
    Z, rows, weights = rng.normal(size=(2, 3)), np.array([6, 0, 0]), np.array([2.0, 0.5, -1.0])
    values, _ = expected(Z, **data, rows=rows, weights=weights)
    np.testing.assert_allclose(target.log_prob(Z, Batch(rows, weights)), values, rtol=1e-12)
    table = target.table(Batch(rows, weights))
    assert table.words[kernels.N_ROWS] == 3
    assert target.data_table[kernels.N_ROWS] == 7


class Observed(NamedTuple):
    X: np.ndarray
    y: np.ndarray


def by_place(z, data):
    X, y = data
    value = -0.5 * np.sum(z * z)
    for i in range(y.size):
        value -= 0.5 * (y[i] - np.sum(X[i] * z)) ** 2
    return value


def test_forms_of_data(rng):
    data = make_data(rng)
    Z = rng.normal(size=(2, 3))
    values, _ = expected(Z, **data)
    for given, form in ((Observed(**data), vector_plain), ((data["X"], data["y"]), by_place)):
        np.testing.assert_allclose(make(form, given).log_prob(Z), values, rtol=1e-12)


def test_awkward_arrays_are_read_and_not_written_to(rng):
    data = make_data(rng)
    Z = rng.normal(size=(2, 3))
    values, _ = expected(Z, **data)
    frozen = {key: array.copy() for key, array in data.items()}
    for array in frozen.values():
        array.flags.writeable = False
    fortran = {"X": np.asfortranarray(data["X"]), "y": np.repeat(data["y"], 2)[::2]}
    swapped = {key: array.astype(array.dtype.newbyteorder()) for key, array in data.items()}
    lists = {key: array.tolist() for key, array in data.items()}
    target = make(vector_plain, data)
    for awkward in (frozen, fortran, swapped, lists):
        bound = target.bind(awkward)
        assert bound.address == target.address
        np.testing.assert_allclose(bound.log_prob(Z), values, rtol=1e-12)
    Z.flags.writeable = False
    np.testing.assert_allclose(target.log_prob(Z), values, rtol=1e-12)
    np.testing.assert_allclose(target.log_prob(Z[::-1]), values[::-1], rtol=1e-12)
    ones = target.log_prob(np.ones((1, 3), np.int8))
    np.testing.assert_allclose(ones, expected(np.ones((1, 3)), **data)[0], rtol=1e-12)


def numbers(z, data):
    value = data.f * z[0] + data.i * z[1] + (1.0 if data.b else 0.0)
    for j in range(data.small.size):
        value += data.small[j] * data.single[j] * (2.0 if data.mask[j] else 1.0)
    return value


def test_numbers_and_kinds_of_arrays():
    data = {"f": 0.5, "i": 3, "b": True, "small": np.array([1, 2], np.int8)}
    data |= {"single": np.array([0.5, 0.25], np.float32), "mask": np.array([True, False])}
    target = fastvi.target(numbers, data=data, names=["a", "b"])
    assert target.log_prob([2.0, 1.0]) == 1.0 + 3.0 + 1.0 + 1.0 + 0.5
    changed = target.bind(data | {"f": 1, "i": np.int32(4), "b": False})
    assert changed.log_prob([2.0, 1.0]) == 2.0 + 4.0 + 1.0 + 0.5


@compiled_only
def test_functions_compiled_already_and_sums_in_any_order(rng):
    import numba

    data = make_data(rng)
    Z = rng.normal(size=(2, 3))
    values, grads = expected(Z, **data)
    fast = fastvi.target(vector_grad, data=data, dim=3, fastmath=True)
    for target in (make(numba.njit(vector_grad), data), fast):
        found, slopes = target.log_prob_and_grad(Z)
        np.testing.assert_allclose(found, values, rtol=1e-12)
        np.testing.assert_allclose(slopes, grads, rtol=1e-12, atol=1e-12)
    assert repr(waiting).startswith("<waiting(z, data, grad): bind(data, dim=...)")


def test_data_are_not_copied(rng):
    data = make_data(rng)
    target = make(vector_plain, data)
    before = target.log_prob(np.ones(3))
    data["y"][0] += 1.0
    assert target.log_prob(np.ones(3)) != before


@compiled_only
def test_new_arrays_of_the_same_types_compile_nothing(rng, monkeypatch):
    target = make(vector_grad, make_data(rng))
    from fastvi.kernels import _compile

    monkeypatch.setattr(_compile, "compile_user_function", None)
    for n in (1, 2, 30):
        data = make_data(rng, n)
        bound = target.bind(data)
        np.testing.assert_allclose(
            bound.log_prob(np.ones((1, 3))), expected(np.ones((1, 3)), **data)[0], rtol=1e-12
        )
    assert len(target.source.compiled) == 1
    wider = target.source.bind(make_data(rng, 4, 5), dim=5)
    assert wider.address == target.address
    for driver in (kernels.evaluate, kernels.first_not_finite):
        assert len(driver.signatures) == 1


def test_data_given_later(rng):
    assert not hasattr(waiting, "log_prob")
    target = waiting.bind({"mean": np.zeros(2), "precision": 2.0}, dim=2)
    assert target.log_prob([1.0, 1.0]) == -2.0
    assert target.bind({"precision": 4, "mean": np.ones(2)}).log_prob([1.0, 3.0]) == -8.0


def shifted(z, data, grad):
    """Exponential of rate data.rate, of a constrained parameter."""
    grad[0] = -data.rate
    return -data.rate * z[0]


def test_constraints_come_with_their_jacobian():
    target = fastvi.target(shifted, data={"rate": 2.0}, names={"sigma": positive()})
    y = np.array([[0.3], [-1.0]])
    np.testing.assert_allclose(target.log_prob(y), (-2 * np.exp(y) + y)[:, 0], rtol=1e-14)
    _, grads = target.log_prob_and_grad(y)
    np.testing.assert_allclose(grads, 1 - 2 * np.exp(y), rtol=1e-14)
    assert target.names == ("sigma",)
    np.testing.assert_allclose(target.parameters.constrain(y)["sigma"], np.exp(y)[:, 0])


def test_numerical_gradients(rng):
    data = make_data(rng)
    Z = rng.normal(size=(4, 3))
    for form in (vector_plain, batched_rows):
        with pytest.warns(UserWarning, match="costs 4 x dim values"):
            target = fastvi.target(form, data=data, dim=3, gradient="numerical")
        values, grads = expected(Z, **data)
        found, slopes = target.log_prob_and_grad(Z)
        np.testing.assert_allclose(found, values, rtol=1e-12)
        np.testing.assert_allclose(slopes, grads, atol=1e-9)
        assert target.check_gradient() < 1e-8
        assert pickle.loads(pickle.dumps(target)).has_gradient


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_rebuild_themselves(rng, copied):
    assert copied(banana) is banana
    assert copied(waiting) is waiting
    data = make_data(rng)
    Z = rng.normal(size=(2, 3))
    for target in (
        make(vector_rows, data),
        waiting.bind({"mean": np.zeros(3), "precision": 2.0}, dim=3),
        fastvi.target(shifted, data={"rate": 2.0}, names={"sigma": positive()}),
    ):
        again = copied(target)
        assert again is not target
        assert (again.names, again.n_rows) == (target.names, target.n_rows)
        Z = rng.normal(size=(2, target.dim))
        np.testing.assert_array_equal(again.log_prob(Z), target.log_prob(Z))


def test_threads_give_the_same_bits(rng):
    target = make(vector_grad, make_data(rng, 200))
    Z = rng.normal(size=(50, 3))
    alone = target.log_prob_and_grad(Z)
    found = [None] * 8

    def work(i):
        found[i] = target.log_prob_and_grad(Z)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values, grads in found:
        np.testing.assert_array_equal(values, alone[0])
        np.testing.assert_array_equal(grads, alone[1])


# Failures


def wrong_gradient(z, grad):
    grad[0] = -z[0]
    grad[1] = -1.001 * z[1]
    return -0.5 * (z[0] ** 2 + z[1] ** 2)


def test_a_wrong_gradient_is_found():
    target = fastvi.target(wrong_gradient, names=["a", "b"])
    with pytest.raises(TargetError, match=r"component 1 \(b\) is .* by finite differences") as info:
        target.check_gradient([[0.0, 0.0], [1.0, 2.0]])
    assert info.value.component == 1
    np.testing.assert_array_equal(info.value.z, [1.0, 2.0])
    assert target.check_gradient(rtol=1e-2) < 1e-2


def logarithm(z, grad):
    grad[0] = 1.0 / z[0]
    grad[1] = 0.5 / np.sqrt(z[1])
    return np.log(abs(z[0])) if z[1] >= 0.0 else np.log(z[1])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_are_not_finite_are_reported():
    target = fastvi.target(logarithm, names=["a", "b"])
    with pytest.raises(TargetError, match=r"the log density is -inf at a=0, b=2") as info:
        target.log_prob([[1.0, 1.0], [0.0, 2.0]])
    np.testing.assert_array_equal(info.value.z, [0.0, 2.0])
    assert info.value.component is None
    with pytest.raises(TargetError, match="the log density is nan at a=1, b=-2"):
        target.log_prob([1.0, -2.0])
    with pytest.raises(
        TargetError, match=r"gradient's component 1 \(b\) is inf at a=3, b=0"
    ) as info:
        target.log_prob_and_grad([[1.0, 1.0], [3.0, 0.0]])
    assert info.value.component == 1
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.component) == (str(info.value), 1)
    assert isinstance(info.value, ArithmeticError)


def raising(z, terms):
    terms[0] = z[0]
    if z[0] > 1.0:
        raise ValueError("too large")
    terms[1] = 0.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_function_that_raises_fails_with_its_vector(capfd):
    target = fastvi.target(raising, dim=1, terms=2)
    assert target.log_prob([[0.5]]) == [0.5]
    with pytest.raises(TargetError, match=r"raising failed with status 0 at z\[0\]=2"):
        target.log_prob([[0.5], [2.0], [3.0]])


def long(z):
    return np.nan * z[0]


def test_long_vectors_are_cut_short():
    with pytest.raises(TargetError, match=r"z\[7\]=0, \.\.\. \(100 numbers\)$"):
        fastvi.target(long, dim=100).log_prob(np.zeros(100))


@pytest.mark.parametrize(
    ("Z", "words"),
    [
        (np.zeros(3), r"Z has shape \(3,\); wanted \(2,\) or \(k, 2\)"),
        (np.zeros((2, 2, 2)), r"Z has shape \(2, 2, 2\)"),
        (1.0, r"Z has shape \(\)"),
        (np.zeros(2, complex), "Z has dtype complex128; wanted real numbers"),
        (["a", "b"], "Z has dtype <U1"),
        ([0.0, np.nan], r"Z holds nan for z\[1\] in vector 0; wanted finite"),
    ],
)
def test_bad_vectors_are_refused(Z, words):
    with pytest.raises(ValueError, match=words):
        banana.log_prob(Z)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (Batch(np.array([7]), np.ones(1)), "rows from 7 to 7; wanted 0 to 6"),
        (Batch(np.array([-1]), np.ones(1)), "rows from -1 to -1"),
        (Batch(np.array([0.0]), np.ones(1)), "wanted integers and numbers"),
        (Batch(np.array([0, 1]), np.ones(1)), r"rows int64 \(2,\) and weights \(1,\)"),
        (Batch(np.array([0]), np.array([np.inf])), "wanted finite numbers"),
    ],
)
def test_bad_batches_are_refused(rng, batch, words):
    target = make(vector_rows, make_data(rng))
    with pytest.raises(ValueError, match=words):
        target.log_prob(np.zeros(3), batch)
    with pytest.raises(ValueError, match="takes no rows and weights"):
        banana.log_prob([0.0, 0.0], batch)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dim": 0}, "dim is 0; wanted an integer >= 1"),
        ({"dim": 2, "names": ["a", "b"]}, "wanted one of the two"),
        ({"names": ["a", "a"]}, "wanted different strings"),
        ({"names": {}}, "no parameters"),
        ({"data": {}}, "dim and names are missing"),
        ({"dim": 2, "data": {"x": 1}}, "has no argument data, but data is given"),
        ({"dim": 2, "terms": 2}, "has no argument terms"),
        ({"dim": 2, "gradient": "exact"}, "gradient is 'exact'; wanted 'auto'"),
        ({"dim": 2, "fastmath": 1}, "fastmath is 1; wanted True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    def logp(z):
        return z[0]

    with pytest.raises(ValueError, match=words):
        fastvi.target(logp, **arguments)


@pytest.mark.parametrize(
    ("logp", "words"),
    [
        (lambda theta: 0.0, "has the arguments theta; wanted z and some of data"),
        (lambda Z: 0.0, "has the arguments Z; wanted z"),
        (lambda z, grads: 0.0, "has the arguments z, grads"),
        (lambda z, data, rows: 0.0, "only one of rows and weights"),
        (lambda z, data: 0.0, "takes data, but none is given"),
        (3, "logp is 3; wanted a function"),
    ],
)
def test_bad_functions_are_refused(logp, words):
    with pytest.raises(ValueError, match=words):
        fastvi.target(logp, dim=2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (3.0, "data is a float; wanted a mapping"),
        ({"a b": 1}, "data has the name 'a b'; wanted a Python identifier"),
        ({"X": ["a"]}, "data's X has dtype <U1; wanted booleans"),
        ({"X": np.zeros(2, complex)}, "data's X has dtype complex128"),
        ({"X": [None]}, "data's X has dtype object"),
    ],
)
def test_bad_data_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        fastvi.target(vector_plain, data=data, dim=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": np.zeros(3)}, "X is float64 with 1 axes; wanted float64 with 2"),
        ({"y": np.zeros(3, complex)}, "y has dtype complex128"),
        ({"X": np.zeros((2, 3), np.longdouble)}, "X has dtype"),
        ({"w": 1.0}, "data holds X, y, w; wanted X, y"),
    ],
)
def test_other_types_are_not_bound(rng, changes, words):
    target = make(vector_plain, make_data(rng))
    with pytest.raises(ValueError, match=words):
        target.bind(make_data(rng) | changes)
    single = make(vector_plain, {key: x.astype("f4") for key, x in make_data(rng).items()})
    with pytest.raises(ValueError, match="X is float64 with 2 axes; wanted float32"):
        single.bind(make_data(rng))
    with pytest.raises(ValueError, match="has no argument data, but data is given"):
        banana.bind({"x": 1.0})
    with pytest.raises(ValueError, match="takes data; none is given"):
        waiting.bind(dim=2)
    placed = make(by_place, (np.zeros((2, 3)), np.zeros(2)))
    assert placed.bind((np.zeros((1, 3)), np.zeros(1))).log_prob(np.zeros(3)) == 0.0


def test_rows_must_agree(rng):
    data = make_data(rng)
    with pytest.raises(ValueError, match=r"rows are along .* lengths {'X': 7, 'y': 6}"):
        make(vector_rows, data | {"y": data["y"][:6]})
    extra = data | {"center": np.zeros(3)}
    with pytest.raises(ValueError, match="say which"):
        make(vector_rows, extra)
    with pytest.raises(ValueError, match="no data that has rows"):
        fastvi.target(lambda z, rows, weights: z[0], dim=1)
    assert fastvi.target(vector_rows, data=extra, dim=3, rows="y").n_rows == 7


def test_no_gradient_says_so(rng):
    target = make(vector_plain, make_data(rng), gradient=None)
    with pytest.raises(ValueError, match="has no gradient; write one"):
        target.log_prob_and_grad(np.zeros(3))
    with pytest.raises(ValueError, match="writes its own gradient"):
        fastvi.target(vector_grad, data=make_data(rng), dim=3, gradient="numerical")


FROZEN = np.zeros(3)


def uses_a_global_array(z):
    return z[0] * FROZEN[0]


def test_global_arrays_are_refused():
    with pytest.raises(TypeError, match="uses the array 'FROZEN', which is no argument"):
        fastvi.target(uses_a_global_array, dim=3)


def writes_to_data(z, data):
    data.y[0] = 1.0
    return z[0]


def writes_to_z(z):
    z[0] = 1.0
    return z[0]


@compiled_only
def test_data_and_parameters_cannot_be_written_to():
    from numba.core.errors import NumbaError

    with pytest.raises(NumbaError, match=r"(?i)readonly|cannot modify|setitem"):
        fastvi.target(writes_to_data, data={"y": np.zeros(2)}, dim=1)
    with pytest.raises(NumbaError, match=r"(?i)readonly|cannot modify|setitem"):
        fastvi.target(writes_to_z, dim=1)
