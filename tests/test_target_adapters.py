"""Targets from C and from BridgeStan's libraries: the same numbers as from Python."""

from __future__ import annotations

import copy
import gc
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastvi
from fastvi.core import Batch
from fastvi.targets import TargetError, from_c, from_library, from_stan
from fastvi.transforms import positive

pytest.importorskip("cffi", reason="cffi is not installed")
COMPILER = os.environ.get("CC") or "cc"
pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None or sys.platform == "win32", reason="no C compiler"
)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """Compiled C of these tests, thrown away with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


# sum_i w_i log N(y_i; X_i' beta, sigma), beta ~ N(0, 1), sigma ~ Exp(rate)


def linear(z, data, rows, weights, grad):
    d = z.size - 1
    sigma = z[d]
    value = -data.rate * sigma
    grad[d] = -data.rate
    for j in range(d):
        value -= 0.5 * z[j] * z[j]
        grad[j] = -z[j]
    for m in range(rows.size):
        e = data.y[rows[m]]
        for j in range(d):
            e -= data.X[rows[m], j] * z[j]
        e /= sigma
        value -= weights[m] * (0.5 * e * e + math.log(sigma))
        for j in range(d):
            grad[j] += weights[m] * e / sigma * data.X[rows[m], j]
        grad[d] += weights[m] * (e * e - 1.0) / sigma
    return value


BODY = """
  int64_t d = n - 1;
  double sigma = z[d], value = -*data->rate * sigma;
  grad[d] = -*data->rate;
  for (int64_t j = 0; j < d; ++j) {
    value -= 0.5 * z[j] * z[j];
    grad[j] = -z[j];
  }
  for (int64_t m = 0; m < data->n_rows; ++m) {
    int64_t i = data->rows[m];
    double e = data->y[i], w = data->weights[m];
    for (int64_t j = 0; j < d; ++j) e -= data->X[i * data->X_shape[1] + j] * z[j];
    e /= sigma;
    value -= w * (0.5 * e * e + log(sigma));
    for (int64_t j = 0; j < d; ++j) grad[j] += w * e / sigma * data->X[i * data->X_shape[1] + j];
    grad[d] += w * (e * e - 1) / sigma;
  }
  return value;
}
"""
ONE = "double logp(int64_t n, const double *z, const data_t *data, double *grad) {" + BODY
MANY = (
    "static double one(int64_t n, const double *z, const data_t *data, double *grad) {"
    + BODY
    + """
int64_t logp(int64_t k, int64_t n, const double *Z, const data_t *data, double *values,
             double *grads) {
  double scratch[64];
  for (int64_t s = 0; s < k; ++s) {
    if (Z[s * n] > 50) return 1;
    if (Z[s * n] < -50) return 7;
    values[s] = one(n, Z + s * n, data, grads ? grads + s * n : scratch);
  }
  return 0;
}
"""
)
NAMES = {"beta": 3, "sigma": positive()}


@pytest.fixture
def data(rng):
    return {"X": rng.normal(size=(9, 3)), "y": rng.normal(size=9).astype("f4"), "rate": 0.5}


def of_python(data):
    return fastvi.target(linear, data=data, names=NAMES, rows=("X", "y"))


def of_c(data, batched=False, **changes):
    arguments = {"names": NAMES, "rows": ("X", "y"), "batched": batched}
    return from_c(MANY if batched else ONE, data=data, **(arguments | changes))


@pytest.mark.parametrize("batched", [False, True])
def test_c_gives_the_numbers_of_python(rng, data, batched):
    ours, theirs = of_python(data), of_c(data, batched)
    assert theirs.names == ours.names
    Z = rng.normal(size=(5, 4))
    batch = Batch(np.array([8, 1, 1]), np.array([3.0, 0.5, 1.0]))
    for chosen in (None, batch):
        for found, expected in zip(
            theirs.log_prob_and_grad(Z, chosen), ours.log_prob_and_grad(Z, chosen)
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(theirs.log_prob(Z, chosen), ours.log_prob(Z, chosen), rtol=1e-12)
    theirs.check_gradient()
    other = {"X": data["X"][:4], "y": data["y"][:4], "rate": 2}
    np.testing.assert_allclose(
        theirs.bind(other).log_prob(Z), ours.bind(other).log_prob(Z), rtol=1e-12
    )
    for again in (pickle.loads(pickle.dumps(theirs)), copy.deepcopy(theirs)):
        np.testing.assert_array_equal(again.log_prob(Z), theirs.log_prob(Z))


def commands_of(monkeypatch):
    """Record what the compiler is asked."""
    commands, run = [], subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **rest: commands.append(command) or run(command, **rest)
    )
    return commands


def test_c_is_compiled_once(data, monkeypatch):
    of_c(data)
    commands = commands_of(monkeypatch)
    of_c({"X": data["X"][:2], "y": data["y"][:2], "rate": 1.0})
    assert not any("-shared" in command for command in commands)


INCLUDES = """
#include "scale.h"
double logp(int64_t n, const double *z, const data_t *data, double *grad) {
  grad[0] = -SCALE * z[0];
  return -0.5 * SCALE * z[0] * z[0];
}
"""


def test_edited_includes_are_noticed(tmp_path, monkeypatch):
    source = tmp_path / "logp.c"
    source.write_text(INCLUDES)
    commands = commands_of(monkeypatch)
    for scale in (2.0, 3.0, 2.0):
        (tmp_path / "scale.h").write_text(f"#define SCALE {scale}\n")
        assert from_c(source, dim=1).log_prob([1.0]) == -0.5 * scale
    assert sum("-shared" in command for command in commands) == 2
    with pytest.raises(RuntimeError, match=r"scale\.h"):
        from_c(INCLUDES, dim=1)


def test_edited_files_among_the_flags_are_noticed(tmp_path, monkeypatch):
    """As objects to link."""
    helper = tmp_path / "helper.c"
    text = INCLUDES.replace('#include "scale.h"', "extern double scale(void);")
    commands = commands_of(monkeypatch)
    for value in (2.0, 3.0, 2.0):
        helper.write_text(f"double scale(void) {{ return {value}; }}\n")
        made = [COMPILER, "-c", "-fPIC", str(helper), "-o", str(tmp_path / "helper.o")]
        subprocess.run(made, check=True)
        flags = [str(tmp_path / "helper.o"), "-DLONG=" + 300 * "x"]  # longer than a file's name
        target = from_c(text.replace("SCALE", "scale()"), dim=1, flags=flags)
        assert target.log_prob([1.0]) == -0.5 * value
    assert sum("-shared" in command for command in commands) == 2


def test_another_compiler_compiles_anew(tmp_path, monkeypatch):
    """Under the same name, as after an update."""
    compiler = tmp_path / "cc"
    monkeypatch.setenv("CC", str(compiler))
    commands = commands_of(monkeypatch)
    for version in ("1", "2", "1"):
        compiler.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo {version} && exit\nexec {COMPILER} "$@"\n'
        )
        compiler.chmod(0o755)
        from_c(ONE_NUMBER, dim=1)
    assert sum("-shared" in command for command in commands) == 2


ONE_NUMBER = INCLUDES.replace('#include "scale.h"', "#define SCALE 7")


def test_damaged_libraries_are_compiled_anew():
    """Loading a truncated library would kill the process."""
    target = from_c(ONE_NUMBER, dim=1)
    (library,) = (Path(path) for path in [target._where[0]])
    content = library.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:-1] + b"x"):
        library.unlink()  # what this process has loaded stays as it is
        library.write_bytes(damaged)
        assert from_c(ONE_NUMBER, dim=1).log_prob([1.0]) == -3.5
        assert library.read_bytes() == content


def test_c_without_a_gradient(rng, data):
    with pytest.warns(UserWarning, match="logp uses a numerical gradient"):
        numerical = of_c(data, gradient="numerical")
    Z = rng.normal(size=(2, 4))
    for found, expected in zip(
        numerical.log_prob_and_grad(Z), of_python(data).log_prob_and_grad(Z)
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    with pytest.raises(ValueError, match="logp has no gradient"):
        of_c(data, gradient=False).log_prob_and_grad(Z)


def test_statuses_of_c_are_reported(data):
    target = of_c(data, batched=True)
    for first, status in ((60.0, 1), (-60.0, 7)):
        with pytest.raises(TargetError, match=rf"status {status} at beta\[0\]={first:g}") as info:
            target.log_prob([[0.0, 0, 0, 0], [first, 0, 0, 0]])
        assert info.value.z[0] == first


def test_a_file_of_c_and_numbers_alone(tmp_path):
    file = tmp_path / "model.c"
    file.write_text(
        "double bowl(int64_t n, const double *z, const data_t *data, double *grad) {\n"
        "  double value = 0;\n"
        "  for (int64_t j = 0; j < n; ++j) { value -= z[j] * z[j]; grad[j] = -2 * z[j]; }\n"
        "  return value;\n}\n"
    )
    target = from_c(file, dim=3, function="bowl", flags=["-O0"])
    assert target.log_prob([1.0, 2.0, 0.0]) == -5.0
    assert target.check_gradient() < 1e-8
    with pytest.raises(ValueError, match="has no argument data"):
        target.bind({"x": 1.0})


def test_compilers_that_complain_are_heard(data, monkeypatch):
    with pytest.raises(RuntimeError, match=r"the C compiler reports an error:\n(.|\n)*logp\.c:1"):
        from_c("double logp(int x) { return x; }", dim=1)
    monkeypatch.setenv("CC", f"env LANG=C {COMPILER}")  # words of their own are kept
    bell = "double logp(int64_t n, const double *z, const data_t *d, double *grad) "
    target = from_c(bell + "{ grad[0] = -z[0]; return -0.5 * z[0] * z[0]; }", dim=1)
    assert target.log_prob([2.0]) == -2.0
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"no C compiler .*set CC"):
        from_c("int unused;" + ONE, data=data, names=NAMES)


def build(folder, source, name="lib.so"):
    library = folder / name
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", source, "-o", library, "-lm"], check=True)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    source = folder / "bowl.c"
    source.write_text(
        "#include <stdint.h>\n"
        "struct model { double scale; };\n"
        "double bowl(int64_t n, const double *z, const struct model *m, double *grad) {\n"
        "  double value = 0;\n"
        "  for (int64_t j = 0; j < n; ++j) {\n"
        "    value -= 0.5 * m->scale * z[j] * z[j]; grad[j] = -m->scale * z[j]; }\n"
        "  return value;\n}\n"
        "float wrong(int64_t n, const double *z, const void *m, double *grad) { return 0; }\n"
        "double short_count(int n, const double *z, const void *m, double *grad) { return 0; }\n"
        "int variable = 3;\n"
    )
    return build(folder, source)


HEADER = """
struct model;
double bowl(int64_t n, const double *z, const struct model *m, double *grad);
float wrong(int64_t n, const double *z, const void *m, double *grad);
double short_count(int n, const double *z, const void *m, double *grad);
double absent(int64_t n, const double *z, const void *m, double *grad);
extern int variable;
"""


def test_a_library_with_a_model_of_its_own(library, tmp_path):
    model = np.array([2.0])
    header = tmp_path / "bowl.h"
    header.write_text(HEADER)
    target = from_library(library, header, dim=2, function="bowl", context=model.ctypes.data)
    value, grad = target.log_prob_and_grad([1.0, 3.0])
    assert value == -10.0
    np.testing.assert_array_equal(grad, [-2.0, -6.0])
    with pytest.raises(TypeError, match="bowl has a context, whose address is invalid"):
        pickle.dumps(target)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("wrong", r"wrong of .* is float\(.*\); wanted double wrong"),
        ("short_count", r"is double\(.*int, .*\); wanted"),
        ("absent", "absent of .*"),
        ("nothing", "nothing of .*"),
        ("variable", "variable of .* is not a function"),
    ],
)
def test_other_functions_are_refused(library, function, words):
    with pytest.raises(ValueError, match=words):
        from_library(library, HEADER, dim=2, function=function)


def test_bad_libraries_and_headers_are_refused(library, tmp_path):
    with pytest.raises(ValueError, match=r"logp of .*no\.so"):
        from_library(tmp_path / "no.so", HEADER, dim=2)
    with pytest.raises(ValueError, match="bowl of "):
        from_library(library, "double bowl(", dim=2, function="bowl")
    with pytest.raises(ValueError, match="gradient is 3; wanted True, False or 'numerical'"):
        from_library(library, HEADER, dim=2, function="bowl", gradient=3)
    with pytest.raises(ValueError, match="wanted the name of a C function"):
        from_c("", dim=1, function="a b")


# Stan


def normal(z, data, grad):
    mu, sigma = z[0], z[1]
    value = -0.5 * mu * mu - HALF_LOG_2PI
    grad[0] = -mu
    for j in range(2, 6):
        value -= 0.5 * z[j] * z[j] + HALF_LOG_2PI
        grad[j] = -z[j]
    for i in range(data.y.size):
        e = (data.y[i] - mu) / sigma
        value -= 0.5 * e * e + math.log(sigma) + HALF_LOG_2PI
        grad[0] += e / sigma
        grad[1] += (e * e - 1.0) / sigma
    return value


@pytest.fixture(scope="module")
def stan_library(tmp_path_factory):
    source = Path(__file__).parent / "fake_stan.c"
    return build(tmp_path_factory.mktemp("stan"), source, "normal_model.so")


def test_stan_gives_the_numbers_of_python(rng, stan_library, tmp_path):
    y = rng.normal(size=8)
    names = {"mu": (), "sigma": positive(), "M": (2, 2)}
    ours = fastvi.target(normal, data={"y": y}, names=names)
    theirs = from_stan(stan_library, {"y": y})
    assert theirs.names == ("mu", "sigma", "M.1.1", "M.2.1", "M.1.2", "M.2.2")
    assert theirs.concurrent
    assert "normal_model" in repr(theirs)
    Z = rng.normal(size=(4, 6))
    for found, expected in zip(theirs.log_prob_and_grad(Z), ours.log_prob_and_grad(Z)):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(theirs.log_prob(Z), ours.log_prob(Z), rtol=1e-12)
    theirs.check_gradient()
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"y": y.tolist()}))
    for again in (from_stan(str(stan_library), file), pickle.loads(pickle.dumps(theirs))):
        np.testing.assert_array_equal(again.log_prob(Z), theirs.log_prob(Z))
    other = theirs.bind({"y": y[:3]})
    np.testing.assert_allclose(other.log_prob(Z), ours.bind({"y": y[:3]}).log_prob(Z), rtol=1e-12)


def test_stan_has_names_in_and_out(rng, stan_library):
    target = from_stan(stan_library, {"y": [1.0]})
    parameters = target.parameters
    np.testing.assert_array_equal(target.contents().observed["y"], [1.0])
    ragged = from_stan(stan_library, {"y": np.ones(1), "r": [[1], [1, 2]], "t": {"1": 2.0}})
    assert list(ragged.contents().observed) == ["y"]
    Z = rng.normal(size=(2, 3, 6))
    found = parameters.constrain(Z)
    assert {name: part.shape for name, part in found.items()} == {
        "mu": (2, 3), "sigma": (2, 3), "M": (2, 3, 2, 2),
    }  # fmt: skip
    np.testing.assert_allclose(found["sigma"], np.exp(Z[..., 1]), rtol=1e-15)
    np.testing.assert_array_equal(found["M"][..., 1, 0], Z[..., 3])
    free = parameters.unconstrained(Z)
    np.testing.assert_array_equal(free["sigma"], Z[..., 1])
    assert free["M"].shape == (2, 3, 2, 2)
    flat = {"mu": 0.5, "sigma": 2.0, "M": [[1, 2], [3, 4]]}
    np.testing.assert_allclose(parameters.unconstrain(flat), [0.5, np.log(2), 1, 2, 3, 4])
    with pytest.raises(ValueError, match="sigma is not positive"):
        parameters.unconstrain(flat | {"sigma": -1.0})
    with pytest.raises(ValueError, match="mu is too large"):
        parameters.constrain(np.full(6, 101.0))
    with pytest.raises(ValueError, match="z has shape"):
        parameters.constrain(np.zeros(5))


def test_stan_says_what_is_wrong(stan_library, library):
    with pytest.raises(ValueError, match="Stan refuses the data: variable y does not exist"):
        from_stan(stan_library)
    with pytest.raises(ValueError, match="is not a BridgeStan model"):
        from_stan(library)
    target = from_stan(stan_library, {"y": [1.0]})
    with pytest.raises(TargetError, match=r"status -1 at mu=101, .*: mu is too large$"):
        target.log_prob_and_grad([[0.0] * 6, [101.0] + [0.0] * 5])


@pytest.mark.thorough
def test_stan_models_are_freed(stan_library):
    import ctypes

    count = ctypes.c_int.in_dll(ctypes.CDLL(str(stan_library)), "bs_destructed")
    target = from_stan(stan_library, {"y": [1.0]})
    before = count.value
    table = target.table()
    del target
    gc.collect()
    assert count.value == before  # the table, which drivers read, keeps the model
    del table
    gc.collect()
    assert count.value == before + 1


@pytest.mark.slow
def test_a_real_stan_model(tmp_path, rng):
    """Where BridgeStan has Stan's sources, which it looks for as it always does."""
    bridgestan = pytest.importorskip("bridgestan", reason="bridgestan is not installed")
    try:
        bridgestan.compile.verify_bridgestan_path(bridgestan.compile.get_bridgestan_path(False))
    except Exception as error:
        pytest.skip(f"BridgeStan has no sources of Stan: {error}")
    file = tmp_path / "normal.stan"
    file.write_text(
        "data { int N; vector[N] y; }\n"
        "parameters { real mu; real<lower=0> sigma; matrix[2, 2] M; }\n"
        "model { mu ~ normal(0, 1); to_vector(M) ~ normal(0, 1); y ~ normal(mu, sigma); }\n"
    )
    y = rng.normal(size=8)
    theirs = from_stan(file, {"N": 8, "y": y})
    names = {"mu": (), "sigma": positive(), "M": (2, 2)}
    ours = fastvi.target(normal, data={"y": y}, names=names)
    Z = rng.normal(size=(3, 6))
    for found, expected in zip(theirs.log_prob_and_grad(Z), ours.log_prob_and_grad(Z)):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
