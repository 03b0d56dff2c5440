"""Several fits of one target in one table, their stacking weights, and pictures of them."""

import numpy as np
import pytest
from toy_targets import bowl, normal_of

import fastvi
from fastvi.fitting.comparison import _weights, stacked

COV = np.array([[1.0, 0.9], [0.9, 1.0]])


@pytest.fixture(scope="module")
def found():
    target = normal_of(np.zeros(2), COV)
    return fastvi.compare(
        target, {"full": "fullrank", "mean": "meanfield", "laplace": {"method": "laplace"}},
        random_state=0, n_starts=1,
    )  # fmt: skip


def test_a_comparison_knows_which_is_right(found):
    assert found.names == ("full", "mean", "laplace")
    assert [p.verdict.word for p in found.posteriors] == ["good", "means only", "good"]
    assert found.weights is not None
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.weights[1] < 0.01
    assert found.bounds[0] == pytest.approx(found.bounds[2])
    gap = 0.5 * np.log(1 / (1 - 0.81))  # of the best product of a Gaussian
    assert found.bounds[1] == pytest.approx(found.bounds[0] - gap, abs=0.1)
    assert np.all(found.seconds > 0)
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["name", "bound", "error", "k-hat", "CPU", "s", "weight", "verdict"]
    assert lines[2].endswith("means only")


def test_stacking_finds_the_weights_of_a_mixture(rng):
    """Draws of 0.3 N(-2, 1) + 0.7 N(2, 1), and a third density that is not needed."""
    means = np.array([-2.0, 2.0, 6.0])
    x = np.where(rng.random(20_000) < 0.3, -2.0, 2.0) + rng.normal(size=20_000)
    log_densities = -0.5 * (x[:, None] - means) ** 2
    weights = stacked(log_densities, np.full(len(x), 1 / len(x)))
    np.testing.assert_allclose(weights, [0.3, 0.7, 0.0], atol=0.015)


def test_a_family_without_a_density_has_no_weight(found):
    class Ends:
        def corrected(self):
            raise ValueError("its draws cannot tell")

        def log_prob(self, Z):
            raise ValueError("no density")

    assert _weights([*found.posteriors, Ends()]) is None


def test_refusals(found):
    target = fastvi.target(bowl, dim=2)
    for families, words in (
        ("fullrank", "wanted a sequence"),
        ([], "at least one"),
        (["fullrank", "fullrank"], "each of them once"),
        ({"mine": "none"}, "mine: family is 'none'"),
    ):
        with pytest.raises(ValueError, match=words):
            fastvi.compare(target, families)
    with pytest.raises(ValueError, match="which holds 7"):
        fastvi.plots.plot_posterior(found.posteriors[0], "p.png", [7])


def test_pictures(found, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    fastvi.plots.plot_posterior(found.posteriors[1], tmp_path / "p.png")
    fastvi.plots.plot_posterior(found.posteriors[0], tmp_path / "q.svg", [1])
    fastvi.plots.plot_comparison(found, tmp_path / "c.pdf")
    for name in ("p.png", "q.svg", "c.pdf"):
        assert (tmp_path / name).stat().st_size > 1000
