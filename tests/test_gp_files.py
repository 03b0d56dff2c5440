"""Gaussian processes come back from files as they were."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor, optimizers
from fastvi.base import archive
from fastvi.models.gp.files import decoded, encoded

pytestmark = pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")

KERNEL = ConstantKernel(1.5, "fixed") * RBF([0.7, 1.3], [(1e-3, 1e3), (1e-2, 1e2)])
FIXED = {"learn_kernel": False, "learn_inducing_points": False}
KERNELS = [
    KERNEL,
    KERNEL + WhiteKernel(0.1),
    Matern(0.3, nu=2.5) + DotProduct(0.2, (0, np.inf)) ** 2,
]


def data(rng, n=60):
    X = rng.normal(size=(n, 2))
    return X, np.sin(X.sum(axis=1)) + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(kernel):
    back = decoded(json.loads(json.dumps(encoded(kernel))), "file")
    assert back == kernel
    assert back.hyperparameters == kernel.hyperparameters


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_regressors(n_targets, tmp_path, rng):
    X, y = data(rng)
    y = y if n_targets == 1 else np.column_stack([y, y**2])
    model = SparseGPRegressor(KERNEL, inducing_points=X[:9], max_iter=5, normalize_y=True)
    model.fit(X, y).save(tmp_path / "gp.npz")
    back = fastvi.load(tmp_path / "gp.npz")
    assert type(back) is SparseGPRegressor
    for a, b in zip(back.predict(X, return_std=True), model.predict(X, return_std=True)):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(back.compiled()(X)[0], model.compiled()(X)[0])
    assert back.kernel_ == model.kernel_
    assert back.get_params()["max_iter"] == 5
    assert back.log_marginal_likelihood() == model.log_marginal_likelihood()
    np.testing.assert_array_equal(back.history_["elbo"], model.history_["elbo"])
    with pytest.raises(ValueError, match="holds no rows"):
        back.log_marginal_likelihood(back.kernel_.theta)
    back.fit(X, y)


@pytest.mark.parametrize("likelihood", ["gaussian", "student-t"])
def test_variational(likelihood, tmp_path, rng):
    X, y = data(rng)
    model = SVGP(likelihood=likelihood, inducing_points=9, max_iter=10, random_state=0).fit(X, y)
    model.save(tmp_path / "gp.npz")
    back = fastvi.load(tmp_path / "gp.npz")
    for a, b in zip(back.predict(X, return_std=True), model.predict(X, return_std=True)):
        np.testing.assert_array_equal(a, b)
    back.partial_fit(X, y)
    assert np.all(np.isfinite(back.predict(X)))


@pytest.mark.parametrize("labels", [[3, 5], ["a", "b", "c"], [False, True]])
@pytest.mark.parametrize("dtype", [None, object])
def test_classifiers(labels, dtype, tmp_path, rng):
    if dtype is object and not isinstance(labels[0], str):
        dtype = None
    X, y = data(rng)
    y = np.array(labels, dtype)[np.digitize(y, [-0.3, 0.3][: len(labels) - 1])]
    model = SparseGPClassifier(inducing_points=9, max_iter=10, random_state=0).fit(X, y)
    model.save(tmp_path / "gp.npz")
    back = fastvi.load(tmp_path / "gp.npz")
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    assert back.classes_.dtype == model.classes_.dtype


def through_a_file(model, path):
    model.save(path)
    return fastvi.load(path)


def through_a_pickle(model, path):
    return pickle.loads(pickle.dumps(model))


def assert_same_history(model, other):
    assert model.n_iter_ == other.n_iter_
    assert model.history_.keys() == other.history_.keys()
    for name, column in model.history_.items():
        np.testing.assert_array_equal(column, other.history_[name])


@pytest.mark.parametrize("keep", [through_a_file, through_a_pickle])
@pytest.mark.parametrize("max_iter", [3, 1000])
@pytest.mark.parametrize("options", [{}, FIXED], ids=["learned", "fixed"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_how_a_regression_went_is_kept(keep, max_iter, options, tmp_path, rng):
    model = SparseGPRegressor(
        KERNELS[1], inducing_points=4, max_iter=max_iter, **options, random_state=0
    ).fit(*data(rng))
    back = keep(model, tmp_path / "gp.npz")
    assert set(back.history_) == {"elbo", "seconds"}
    assert_same_history(back, model)
    assert back.converged_ is model.converged_ is (options == FIXED or max_iter > 3)
    assert len(back.history_["elbo"]) == (0 if options else back.n_iter_)


@pytest.mark.parametrize("keep", [through_a_file, through_a_pickle])
@pytest.mark.parametrize("estimator", [SVGP(), SparseGPClassifier()])
@pytest.mark.parametrize("begin", ["fit", "stream", "both"])
def test_the_history_of_a_stream_goes_on(keep, estimator, begin, tmp_path, rng):
    X, y = data(rng)
    labels = (y > 0).astype(int)
    model = clone(estimator).set_params(
        inducing_points=4, max_iter=3, batch_size=30, random_state=0
    )
    if begin != "stream":
        model.fit(X, labels)
    if begin != "fit":
        classes = {"classes": [0, 1]} if isinstance(model, SparseGPClassifier) else {}
        model.partial_fit(X, labels, **classes)
    back = keep(model, tmp_path / "gp.npz")
    assert_same_history(back, model)
    n_before = {"fit": 3, "stream": 2, "both": 5}[begin]
    assert back.n_iter_ == n_before
    back.partial_fit(X, labels)
    assert back.n_iter_ == n_before + 2
    assert {len(column) for column in back.history_.values()} == {n_before + 2}
    np.testing.assert_array_equal(back.history_["elbo"][:n_before], model.history_["elbo"])


def test_what_a_file_cannot_hold(tmp_path, rng):
    X, y = data(rng)
    model = SVGP(optimizer=optimizers.adam(0.01), inducing_points=9, max_iter=3).fit(X, y)
    with pytest.raises(ValueError, match=r"optimizer is .*, which a file cannot hold"):
        model.save(tmp_path / "gp.npz")
    assert not list(tmp_path.iterdir())


def rewritten(path, change, without=()):
    """The file with another header, and without some arrays."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["header.json"])
    change(header["header"])
    header["arrays"] = [name for name in header["arrays"] if name not in without]
    members["header.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.removesuffix(".npy") not in without:
                archive.writestr(name, content)


def of_kernel(change):
    """A change of what a header holds of the kernel."""

    def changed(header):
        kernel = json.loads(header["values"]["kernel"])
        header["values"]["kernel"] = json.dumps(change(kernel) or kernel)

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update({"class": "os"}), "class is 'os'; wanted one of"),
        (
            of_kernel(lambda k: k.update({"class": "system"})),
            "kernel 'system' is not supported",
        ),
        (of_kernel(lambda k: k["parameters"].pop("k1") and None), "kernel Sum is incomplete"),
        (lambda h: h["values"].update(kernel="{"), r"gp\.npz: "),
        (lambda h: h["values"].update(kernel=3), "not a complete estimator"),
        (lambda h: h["values"].pop("condition"), "not a complete estimator"),
        (lambda h: h["values"].pop("n_iter_"), None),
        (lambda h: h.pop("n_features"), "not a complete estimator"),
        (lambda h: h.update({"n_features": 5}), "inducing is float64 of shape"),
        (lambda h: h["parameters"].update({"other": 1}), "not a complete estimator"),
    ],
)
def test_damaged_files(change, message, tmp_path, rng):
    path = tmp_path / "gp.npz"
    kernel = KERNEL + WhiteKernel(0.1)
    SparseGPRegressor(kernel, inducing_points=5, **FIXED).fit(*data(rng)).save(path)
    rewritten(path, change)
    if message is None:
        fastvi.load(path)
        return
    with pytest.raises(ValueError, match=message):
        fastvi.load(path)


@pytest.mark.parametrize("likelihood", [None, "cauchy", 1])
def test_files_of_another_likelihood(likelihood, tmp_path, rng):
    path = tmp_path / "gp.npz"
    SVGP(inducing_points=5, max_iter=2).fit(*data(rng)).save(path)
    rewritten(path, lambda header: header["parameters"].update(likelihood=likelihood))
    with pytest.raises(ValueError, match=r"likelihood is .*; wanted one of"):
        fastvi.load(path)


@pytest.mark.parametrize("labels", [[3, 2, 1], [1, 1, 2], [1], None])
def test_files_of_other_classes(labels, tmp_path, rng):
    """Codes beyond the classes would reach compiled code from the next batch of a stream."""
    path = tmp_path / "gp.npz"
    X, y = data(rng)
    model = SparseGPClassifier(inducing_points=5, max_iter=2)
    model.fit(X, np.digitize(y, [-0.3, 0.3]))
    if labels is None:
        model.save(path)
        rewritten(path, lambda header: header.update({"class": "SparseGPClassifier"}), {"classes_"})
    else:
        model.classes_ = np.array(labels)
        model.save(path)
    with pytest.raises(ValueError, match="classes_"):
        fastvi.load(path)


def test_files_of_a_history_of_other_shapes(tmp_path, rng):
    path = tmp_path / "gp.npz"
    model = SVGP(inducing_points=5, max_iter=2).fit(*data(rng))
    for column in (np.zeros(3), np.zeros((2, 1)), np.zeros(2, np.int64)):
        model.history_["elbo"] = column
        model.save(path)
        with pytest.raises(ValueError, match="history_ is not columns of float64 of one length"):
            fastvi.load(path)


def test_files_of_a_kernel_without_its_noise(tmp_path, rng):
    path = tmp_path / "gp.npz"
    SVGP(inducing_points=5, max_iter=2).fit(*data(rng)).save(path)
    rewritten(path, of_kernel(lambda kernel: kernel["parameters"]["k1"]))
    with pytest.raises(ValueError, match="does not fit the likelihood"):
        fastvi.load(path)


@pytest.mark.parametrize(
    "model",
    [
        SparseGPRegressor(**FIXED, normalize_y=True),
        SVGP(max_iter=2),
        SparseGPClassifier(max_iter=2),
    ],
)
def test_arrays_that_do_not_fit_are_refused(model, tmp_path, rng):
    path, (X, y) = tmp_path / "gp.npz", data(rng)
    clone(model).set_params(inducing_points=5).fit(X, np.digitize(y, [-0.3, 0.3])).save(path)
    header, arrays = archive.load(path, "estimator")
    changes = {
        "longer": lambda a: np.concatenate([a, a]),
        "another type": lambda a: np.zeros(a.shape, np.int8),
        "another shape": lambda a: a[None],
        "not a number": lambda a: np.full_like(a, np.nan),
    }
    for name, array in arrays.items():
        if not array.size or name == "classes_" or name.startswith(("history.", "compiled.")):
            continue
        for change in changes.values():
            archive.save(path, "estimator", header, arrays | {name: change(array)})
            with pytest.raises(ValueError, match=r"gp\.npz: "):
                fastvi.load(path)
        archive.save(path, "estimator", header, {k: v for k, v in arrays.items() if k != name})
        with pytest.raises(ValueError, match=r"gp\.npz: "):
            fastvi.load(path)
