"""Pictures of histories and states."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastvi
from fastvi import plots
from fastvi.plots import histories

STEPS = {
    "epoch": np.array([0.0, 0.0, 1.0, 1.0]),
    "seconds": np.array([0.1, 0.2, 0.3, 0.5]),
    "rate": np.array([0.0, 0.5, 0.4, 0.3]),
    "batch_size": np.array([16.0, 16.0, 32.0, 32.0]),
    "local_elbo": np.array([-9.0, np.nan, -7.0, -7.5]),
}
BATCH = {
    "epoch": np.arange(3.0),
    "seconds": np.arange(3.0),
    "rate": np.ones(3),
    "elbo": np.array([-3.0, -2.0, -1.0]),
}
NO_STEPS = {name: np.empty(0) for name in BATCH}


@pytest.fixture
def drawn(monkeypatch):
    """Draws, and returns the figure that was saved."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    figures, save = [], histories.save

    def spy(figure, name, ending):
        save(figure, name, ending)
        figures.append(figure)

    def draw(*args, **options):
        plots.plot_history(*args, **options)
        return figures[-1]

    monkeypatch.setattr(histories, "save", spy)
    return draw


def panels_of(figure):
    return {
        axis.get_ylabel().split("\n")[0]: [line.get_xydata() for line in axis.get_lines()]
        for axis in figure.axes
        if axis.get_ylabel()
    }


@pytest.mark.parametrize(("name", "magic"), [("h.png", b"\x89PNG"), ("h.svg", b"<?xml")])
def test_one_history(name, magic, drawn, tmp_path):
    """Panels of the columns that exist; what is not finite, or not above 0 on a log scale, is left
    out.
    """
    panels = panels_of(drawn(STEPS, tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(magic)
    assert [*panels] == ["ELBO of batches (nats)", "rate", "rows in a batch"]
    np.testing.assert_array_equal(
        panels["ELBO of batches (nats)"][0], [[0.1, -9], [0.3, -7], [0.5, -7.5]]
    )
    np.testing.assert_array_equal(panels["rate"][0], [[0.2, 0.5], [0.3, 0.4], [0.5, 0.3]])


def test_noisy_columns_are_smoothed(drawn, tmp_path):
    """Noise of every step is drawn under its running mean; a bound that rises is drawn as it is."""
    rising = np.linspace(-9.0, -7.0, 500)
    noise = np.tile([0.5, -0.5], 250)
    history = {"seconds": np.arange(500.0), "elbo": rising, "local_elbo": rising + noise}
    panels = panels_of(drawn(history, tmp_path / "h.png"))
    assert [len(lines) for lines in panels.values()] == [1, 2]
    raw, smooth = panels["ELBO of batches (nats)"]
    np.testing.assert_array_equal(raw[:, 1], rising + noise)
    np.testing.assert_allclose(smooth[20:-20, 1], rising[20:-20], atol=0.5 / 21 + 1e-9)
    np.testing.assert_allclose(smooth[[0, -1], 1], rising[[5, -6]], atol=0.5 / 11 + 1e-9)


def test_several_histories_lie_over_each_other(drawn, tmp_path):
    figure = drawn({"svi $x_": STEPS, "vb": BATCH}, tmp_path / "h.png")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [r"svi \$x_", "vb"]
    panels = panels_of(figure)
    assert [len(panels[name]) for name in ("ELBO (nats)", "ELBO of batches (nats)")] == [1, 1]
    colours = {a.get_ylabel(): a.get_lines()[-1].get_color() for a in figure.axes if a.get_lines()}
    assert colours["ELBO (nats)"] != colours["rows in a batch"]


@pytest.mark.parametrize(
    ("against", "want"),
    [("seconds", [0.1, 0.2, 0.3, 0.5]), ("step", [1, 2, 3, 4]), ("epoch", [0.5, 1, 1.5, 2])],
)
def test_what_goes_to_the_right(against, want, drawn, tmp_path):
    panels = panels_of(drawn(STEPS, tmp_path / "h.png", against=against))
    np.testing.assert_allclose(panels["rows in a batch"][0][:, 0], want)


def test_histories_of_estimators(drawn, tmp_path):
    """As they are, plain lists too."""
    from fastvi import BayesianLogisticRegression, LatentDirichletAllocation

    X = np.random.default_rng(0).poisson(1.0, (50, 9))
    y = X[:, 0] > 0
    lda = LatentDirichletAllocation(3, batch_size=10, random_state=0, trace_noise=True).fit(X)
    logistic = BayesianLogisticRegression().fit(X, y)
    fits = {"topics": lda.history_, "logistic": logistic.history_}
    assert len(panels_of(drawn(fits, tmp_path / "h.png"))) == 5
    as_lists = {name: column.tolist() for name, column in lda.history_.items()}
    assert "noise of the gradient" in panels_of(drawn(as_lists, tmp_path / "h.png"))


@pytest.mark.parametrize(
    ("history", "options", "message"),
    [
        ({}, {}, "nothing to draw: history has no steps"),
        ({}, {"against": "step"}, "nothing to draw: history has no steps"),
        (NO_STEPS, {"against": "epoch"}, "nothing to draw: history has no steps"),
        ({"a": {}, "b": NO_STEPS}, {}, "nothing to draw: history has no steps"),
        ({"seconds": [1.0], "rate": [np.nan]}, {}, "history has none of elbo"),
        ({"seconds": [1.0], "rate": [1.0, 2.0]}, {}, "differ in length"),
        ({"a": None}, {}, r"history\['a'\] is of type NoneType; wanted a column of numbers"),
        ({"a": SimpleNamespace()}, {}, r"history\['a'\] is of type SimpleNamespace"),
        ({"a": BATCH, "b": [1.0]}, {}, r"history\['b'\] is not a mapping"),
        (BATCH, {"against": "passes"}, "against is 'passes'; wanted 'seconds', 'step'"),
        ({"rate": [1.0]}, {}, "has no column 'seconds'"),
    ],
)
def test_refused(history, options, message, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.raises(ValueError, match=message):
        plots.plot_history(history, tmp_path / "h.png", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty", [{}, NO_STEPS])
def test_empty_histories_among_several_are_left_out(empty, drawn, tmp_path):
    figure = drawn({"a": empty, "b": STEPS, "c": BATCH}, tmp_path / "h.png")
    assert len(panels_of(figure)["rate"]) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "c"]


@pytest.mark.parametrize("what", [None, [1.0, 2.0], "history", "estimator"])
def test_what_is_no_history_is_refused(what, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    message = f"history is of type {type(what).__name__}; wanted a mapping"
    if what == "estimator":
        what = SimpleNamespace(history_=BATCH)
        message = "history is of type SimpleNamespace; wanted a mapping .*; its history_ is one"
    with pytest.raises(TypeError, match=message):
        plots.plot_history(what, tmp_path / "h.png")
    assert list(tmp_path.iterdir()) == []


def test_an_ending_that_cannot_be_drawn_leaves_the_file(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "h.xyz"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"cannot draw .xyz; wanted .png"):
        plots.plot_history(BATCH, path)
    assert path.read_text() == "mine"


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fastvi\[plot\]'"):
        plots.plot_history(BATCH, tmp_path / "h.png")


def test_states_of_sequences(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    X = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    X = X + np.random.default_rng(0).normal(size=(40, 2))
    model = fastvi.GaussianHMM(2, random_state=0).fit(X)
    plots.plot_states(model, X, tmp_path / "states.svg", lengths=[15, 25])
    text = (tmp_path / "states.svg").read_text()
    assert text.count('<g id="axes_') == 3  # two features and the posteriors


def test_images_of_features(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    X = np.random.default_rng(0).integers(2, size=(40, 2)) @ np.kron(np.eye(2), np.ones(3))
    model = fastvi.BetaBernoulliFeatures(2, n_init=1, fit_intercept=True, random_state=0).fit(X)
    for shape in (None, (2, 3)):
        plots.plot_features(model, tmp_path / "images.svg", shape)
        text = (tmp_path / "images.svg").read_text()
        assert text.count('<g id="axes_') == model.n_components_ + 1  # and the intercept
    plots.plot_features(fastvi.BayesianPCA(1).fit(X), tmp_path / "images.png")
    with pytest.raises(ValueError, match=r"shape is \(2, 2\); wanted .* 6 pixels"):
        plots.plot_features(model, tmp_path / "images.svg", (2, 2))


@pytest.mark.thorough
def test_autoencoders(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    X = np.random.default_rng(0).integers(2, size=(25, 6)).astype(float)
    options = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    model = fastvi.VariationalAutoencoder(2, likelihood="bernoulli", **options).fit(X)
    file, labels = tmp_path / "a.svg", np.arange(25) % 3

    def axes():
        return file.read_text().count('<g id="axes_')

    plots.plot_reconstructions(model, csr_array(X), file, (2, 3))
    assert axes() == 6 * 10  # three rows of images, and three of what is made of them
    plots.plot_samples(model, file, n_samples=7, means=False)
    assert axes() == 7
    plots.plot_latent(model, X, file, labels)
    assert "latent variable 1" in file.read_text() or "latent variable 0" in file.read_text()
    with pytest.raises(ValueError, match=r"labels has shape \(24,\); wanted \(25,\)"):
        plots.plot_latent(model, X, file, labels[1:])
    with pytest.raises(ValueError, match=r"shape is \(2, 2\); wanted .* 6 pixels"):
        plots.plot_samples(model, file, (2, 2))


def test_times(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    t = np.arange(30.0)
    y = np.where(t == 7, np.nan, np.sin(t / 3))
    model = fastvi.TemporalGPRegressor().fit(t, y)
    plots.plot_times(model, t, y, tmp_path / "times.svg", until=50.0, coverage=0.8)
    assert "80 % interval" in (tmp_path / "times.svg").read_text()


def test_forecasts_trajectories_and_regimes_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.normal(size=(60, 2)), axis=0)
    X[5, 1] = np.nan
    options = {"max_iter": 2, "tol": 0.0, "random_state": 0}
    model = fastvi.LinearGaussianSSM(2, **options).fit(X, [25, 35])
    plots.plot_trajectories(model, X, tmp_path / "states.svg", lengths=[25, 35])
    assert "state 1" in (tmp_path / "states.svg").read_text()
    plots.plot_forecast(model, X[25:], tmp_path / "ahead.svg", steps=5, level=0.8)
    text = (tmp_path / "ahead.svg").read_text()
    assert "80 % interval" in text
    assert "feature 1" in text
    switching = fastvi.SwitchingSSM(2, 2, n_init=1, **options).fit(X)
    plots.plot_states(switching, X, tmp_path / "regimes.svg", name="regime")
    assert "regime 1" in (tmp_path / "regimes.svg").read_text()
    plots.plot_trajectories(switching, X, tmp_path / "more.svg")
    plots.plot_forecast(switching, X, tmp_path / "last.svg")
