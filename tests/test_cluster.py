"""Fits over shards: the same bits in this process and on any cluster, whatever happens to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz
from sklearn.gaussian_process.kernels import DotProduct, WhiteKernel

import fastvi
from fastvi.base.bags import bags_of_words
from fastvi.base.tables import RowStatistics
from fastvi.batches import InMemory
from fastvi.cluster import conjugate, sums
from fastvi.cluster.executors import Held, Shard
from fastvi.cluster.shards import Share, SuperBatches
from fastvi.models.counts import DocumentSource

N_SHARDS = 5
REPORTED = (
    "elbo_",
    "components_",
    "covariances_",
    "weights_",
    "coef_",
    "means_",
    "transmat_",
    "startprob_",
    "emissionprob_",
    "lambdas_",
)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of one thread each, in this process."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    with distributed.Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as client:
        yield client


def counts() -> Any:
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.2, 1.0, (400, 60)))


def points() -> Any:
    rng = np.random.default_rng(1)
    return rng.normal(size=(500, 3)) + 5 * rng.integers(0, 2, (500, 1))


def topics(solver: str, **options: Any) -> Any:
    return fastvi.LatentDirichletAllocation(
        4, solver=solver, max_iter=3, random_state=0, **options
    ).fit(counts())


def mixture(**options: Any) -> Any:
    return fastvi.BayesianGaussianMixture(
        n_components=2, random_state=0, max_iter=3, tol=0.0, **options
    ).fit(points())


def labelled(n_classes: int, **options: Any) -> Any:
    X = points()
    y = np.digitize(X[:, 0] + X[:, 1], [0.0, 6.0][: n_classes - 1])
    return fastvi.BayesianLogisticRegression(random_state=0, max_iter=4, tol=0.0, **options).fit(
        X, y
    )


def poisson(**options: Any) -> Any:
    return fastvi.PoissonFactorization(
        n_components=3, random_state=0, max_iter=3, tol=0.0, **options
    ).fit(counts())


def process(kernel: Any = None) -> Any:
    X = points()[:, :1]
    y = np.sin(X[:, 0]) + 0.1 * np.random.default_rng(2).normal(size=len(X))
    return fastvi.SparseGPRegressor(
        kernel, inducing_points=10, random_state=0, max_iter=5, learn_inducing_points=False
    ).fit(X, y)


def chain(kind: str) -> Any:
    options = {"n_iter": 3, "tol": -np.inf, "random_state": 0}
    X = points() if "G" in kind else counts()[:, :1] % 3
    model = {
        "GaussianHMM": lambda: fastvi.GaussianHMM(2, **options),
        "GMMHMM": lambda: fastvi.GMMHMM(2, n_mix=2, **options),
        "CategoricalHMM": lambda: fastvi.CategoricalHMM(2, **options),
        "PoissonHMM": lambda: fastvi.PoissonHMM(2, **options),
    }[kind]()
    return model.fit(X[:400], [30, 70, 10, 90] * 2)


FITS: dict[str, Callable[[], Any]] = {
    "vb": lambda: topics("vb"),
    "cvb0": lambda: topics("cvb0"),
    "svi": lambda: topics("svi", batch_size=100),
    "mixture": mixture,
    "mixture, mini-batches": lambda: mixture(batch_size=100),
    "logistic": lambda: labelled(2),
    "logistic, mini-batches": lambda: labelled(2, batch_size=100),
    "multinomial": lambda: labelled(3),
    "poisson": poisson,
    "poisson, flat, mini-batches": lambda: poisson(hierarchical=False, batch_size=100),
    "hdp": lambda: fastvi.HierarchicalDirichletProcess(
        n_components=5, random_state=0, max_iter=3, tol=0.0
    ).fit(counts()),
    "pca": lambda: fastvi.BayesianPCA(1, random_state=0, max_iter=5, tol=0.0).fit(points()),
    "pca, mini-batches": lambda: fastvi.BayesianPCA(
        1, random_state=0, max_iter=3, batch_size=100
    ).fit(points()),
    "features, mini-batches": lambda: fastvi.BetaBernoulliFeatures(
        2, random_state=0, max_iter=3, batch_size=100
    ).fit(points()),
    "GaussianHMM": lambda: chain("GaussianHMM"),
    "GMMHMM": lambda: chain("GMMHMM"),
    "CategoricalHMM": lambda: chain("CategoricalHMM"),
    "PoissonHMM": lambda: chain("PoissonHMM"),
    "process": process,
    "process, linear": lambda: process(DotProduct() + WhiteKernel()),
}


def found(fit: Callable[[], Any], client: Any = None) -> list[Any]:
    """The arrays that a fit over shards has found."""
    with fastvi.distributed(client, n_shards=N_SHARDS):
        model = fit()
    names = [name for name in REPORTED if hasattr(model, name)]
    assert names
    return [*(getattr(model, name) for name in names), model.history_.get("elbo")]


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        for parts in zip(a, b, strict=True):
            assert_same(*parts)
    else:
        np.testing.assert_array_equal(a, b)


# Sums


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 21, 64, 65])
def test_groups_are_nodes_of_the_tree(n: int, rng: np.random.Generator) -> None:
    """So that a cluster may add several terms at once, and finds the same bits."""
    terms = rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-8, 8, (n, 1))
    whole = sums.summed(n, lambda i: terms[i])
    level = list(terms)
    while len(level) > 1:
        level = [sums.of_parts(*group) for group in sums.grouped(level, 8)]
    np.testing.assert_array_equal(whole, level[0])


def test_rows_of_tables_are_added_where_they_belong(rng: np.random.Generator) -> None:
    table = np.zeros((9, 2))
    parts = []
    for rows in ([0, 3, 8], [1, 3], [], [0, 3, 8]):
        parts.append(RowStatistics(np.array(rows, np.int32), rng.integers(9, size=(len(rows), 2))))
        table[rows] += parts[-1].values
    total = sums.of_parts(*parts)
    np.testing.assert_array_equal(total.rows, [0, 1, 3, 8])
    np.testing.assert_array_equal(total.values, table[total.rows])


def test_super_batches_see_each_row_once(rng: np.random.Generator) -> None:
    sizes = [50, 1, 0, 73]
    shards = [Shard(n, None) for n in sizes]
    held = [Held(InMemory(np.arange(n)).part(0, n)) for n in sizes]
    seen: list[list[int]] = [[] for _ in sizes]
    for batch in SuperBatches(shards, 30, seed=3).epoch(1):
        share: Share = batch.rows
        taken = [share.rows_of(one, i) for i, one in enumerate(held)]
        for rows, (got, n) in zip(seen, taken):
            assert len(got) == n
            rows += got.tolist()
        n_rows = sum(n for _, n in taken)
        np.testing.assert_allclose(batch.weights, np.full(n_rows, sum(sizes) / n_rows))
    assert [sorted(rows) for rows in seen] == [list(range(n)) for n in sizes]
    assert seen[0] != sorted(seen[0])


# Fits in this process


def test_topics_over_shards_are_those_of_one_process() -> None:
    """Up to rounding, as sums are taken in another order."""
    alone = topics("vb", mean_change_tol=1e-6)
    with fastvi.distributed(n_shards=N_SHARDS):
        shared = topics("vb", mean_change_tol=1e-6)
    assert shared.elbo_ == pytest.approx(alone.elbo_, rel=1e-5)
    np.testing.assert_allclose(shared.components_, alone.components_, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "name",
    ["logistic", "multinomial", "poisson", "hdp", "pca", "process", "GaussianHMM", "PoissonHMM"],
)
def test_fits_over_shards_are_those_of_one_process(name: str) -> None:
    """Up to rounding; what does not depend on the rows counts once."""
    alone = FITS[name]()
    with fastvi.distributed(n_shards=N_SHARDS):
        shared = FITS[name]()
    assert shared.n_iter_ == alone.n_iter_
    for field in REPORTED:
        if hasattr(alone, field):
            a, b = getattr(alone, field), getattr(shared, field)
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max())


def test_counts_are_kept_in_exchanges() -> None:
    with fastvi.distributed(n_shards=N_SHARDS):
        model = topics("cvb0")
    prior = 4 * 60 * 0.25
    assert model.components_.sum() == pytest.approx(counts().sum() + prior, rel=1e-4)


def test_excerpts_change_no_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard gets the words that occur in it, or all words if that is cheaper."""
    found_ = {}
    for copies in (0, 100):
        monkeypatch.setattr(conjugate, "COPIES", copies)
        found_[copies] = [found(FITS[name]) for name in ("vb", "cvb0")]
    assert_same(found_[0], found_[100])


def test_shards_have_only_their_own_words() -> None:
    X = np.zeros((4, 6))
    X[0, 1] = X[1, 4] = X[2, 0] = X[3, 5] = 2
    source, columns = DocumentSource(*bags_of_words(X)).part(1, 3)
    np.testing.assert_array_equal(columns, [0, 4])
    np.testing.assert_array_equal(source.indices, [1, 0])


@pytest.mark.parametrize("name", ["vb", "cvb0", "mixture, mini-batches"])
def test_resumed_over_shards(name: str, tmp_path: Path) -> None:
    whole = found(FITS[name])
    path = tmp_path / "fit"

    def stop(state: Any) -> bool:
        return bool(state.n_steps == 2)

    def fit(**watching: Any) -> Callable[[], Any]:
        model, data = {
            "vb": (fastvi.LatentDirichletAllocation(4, solver="vb", max_iter=3), counts()),
            "cvb0": (fastvi.LatentDirichletAllocation(4, solver="cvb0", max_iter=3), counts()),
        }.get(name, (fastvi.BayesianGaussianMixture(
            n_components=2, max_iter=3, tol=0.0, batch_size=100), points()))  # fmt: skip
        model.set_params(random_state=0)
        return lambda: model.fit(data, checkpoint=path, **watching)

    found(fit(callback=stop))
    assert_same(found(fit(resume=True)), whole)
    with (
        pytest.raises(ValueError, match="n_shards was 5 and is 4"),
        fastvi.distributed(n_shards=4),
    ):
        fit(resume=True)()


def of_rows(z: Any, data: Any, rows: Any, weights: Any, grad: Any) -> Any:
    """A density that no fit below evaluates."""
    return 0.0


def test_what_shards_do_not_support_is_said() -> None:
    with fastvi.distributed():
        with pytest.raises(ValueError, match="sampling='importance' needs the norm of each row"):
            topics("svi", sampling="importance")
        with pytest.raises(ValueError, match="learn_doc_topic_prior needs"):
            topics("vb", learn_doc_topic_prior=True)
        with pytest.raises(ValueError, match="solver='cvb' needs"):
            topics("cvb")
        with pytest.raises(ValueError, match="VariationalGaussianHMM does not support shards"):
            fastvi.VariationalGaussianHMM(2, random_state=0).fit(points())
        with pytest.raises(ValueError, match="wanted batch_size"):
            fastvi.BetaBernoulliFeatures(2, random_state=0).fit(points())
        with pytest.raises(ValueError, match="CorrelatedTopicModel does not support shards"):
            fastvi.CorrelatedTopicModel(2, random_state=0).fit(counts())
        with pytest.raises(ValueError, match="solver='ep' keeps the sites of each row"):
            labelled(2, solver="ep")
        target = fastvi.target(of_rows, dim=1, data={"x": np.ones(3)}, rows="x")
        for fit in (fastvi.fit, fastvi.svgd, fastvi.operator_vi):
            with pytest.raises(ValueError, match="of a target with rows does not support shards"):
                fit(target, random_state=0)
    for wrong in (0, 1.5, "4"):
        with pytest.raises(ValueError, match="n_shards"), fastvi.distributed(n_shards=wrong):
            pass


# Rows that lie elsewhere


def saved(folder: Path, X: Any, n: int = 3) -> list[Path]:
    """Files of consecutive rows: sparse ones of counts, else dense."""
    paths = []
    for i, part in enumerate(np.array_split(X, n)):
        if X.dtype.kind == "i":
            paths.append(folder / f"{i}.npz")
            save_npz(paths[-1], csr_array(part))
        else:
            paths.append(folder / f"{i}.npy")
            np.save(paths[-1], part)
    return paths


def test_files_are_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of files is that of a matrix cut at the same rows, from a start of a sample."""
    paths, X = saved(tmp_path, counts(), 4), counts()
    lda = fastvi.LatentDirichletAllocation(4, solver="vb", max_iter=3, random_state=0)
    with fastvi.distributed(n_shards=4):
        whole = lda.fit(X).components_.copy()
        np.testing.assert_array_equal(lda.fit(paths).components_, whole)  # all rows are a sample
        assert lda._n_seen == len(X)
        monkeypatch.setattr("fastvi.cluster.active.SAMPLE", 200)
        for solver in ("cvb0", "vb"):
            lda.set_params(solver=solver).fit(paths)
            total = lda.components_.sum() - 4 * X.shape[1] * lda.topic_word_prior_
            assert total == pytest.approx(X.sum(), rel=1e-4)


def test_files_of_numbers_are_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastvi.cluster.active.SAMPLE", 200)
    mixture = fastvi.BayesianGaussianMixture(n_components=2, random_state=0)
    alone = np.sort(mixture.fit(points()).means_, 0)
    pca = fastvi.BayesianPCA(1, random_state=0)
    loadings = pca.fit(points()).components_.copy()
    with fastvi.distributed():
        mixture.fit(saved(tmp_path, points()))
        pca.fit(saved(tmp_path, points()))
    np.testing.assert_allclose(np.sort(mixture.means_, 0), alone, atol=0.05)
    assert sum(mixture.weight_concentration_[0]) > 500  # of all rows, not of the sample
    np.testing.assert_allclose(np.abs(pca.components_), np.abs(loadings), rtol=0.05)


def test_a_shard_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = saved(tmp_path, points())
    mixture = fastvi.BayesianGaussianMixture(n_components=2, random_state=0)
    wide, wrong, text = (tmp_path / name for name in ("wide.npy", "nan.npy", "rows.txt"))
    np.save(wide, np.zeros((100, 5)))
    np.save(wrong, np.where(np.arange(500)[:, None] == 480, np.nan, points()))
    text.write_text("\n".join(" ".join(map(str, row)) for row in points()))
    with fastvi.distributed():
        with pytest.raises(OSError, match=r"shard 1 \(.*gone.npy\) cannot be read"):
            mixture.fit([paths[0], tmp_path / "gone.npy"])
        with pytest.raises(ValueError, match="shard 1 has 5 columns and shard 0 has 3"):
            mixture.fit([paths[0], wide])
        with pytest.raises(ValueError, match=r"rows.txt\) cannot be read: .*wanted a file .npy"):
            mixture.fit([paths[0], text])
        monkeypatch.setattr("fastvi.cluster.active.SAMPLE", 100)
        with pytest.raises(ValueError, match=r"shard 1 \(.*nan.npy\): NaN or infinity"):
            mixture.fit([paths[0], wrong])
    with fastvi.distributed(read=lambda path: np.loadtxt(path, ndmin=2)):
        mixture.fit([text, text])


def test_dask_collections_are_shards(client: Any, tmp_path: Path) -> None:
    array = pytest.importorskip("dask.array", reason="needs the extra 'distributed'")
    bag = pytest.importorskip("dask.bag", reason="needs the extra 'distributed'")
    paths = saved(tmp_path, points(), 4)
    mixture = fastvi.BayesianGaussianMixture(n_components=2, random_state=0)
    with fastvi.distributed():
        wanted = mixture.fit(paths).means_.copy()
    blocks = array.from_array(points(), chunks=(125, 3))
    rows = bag.from_sequence(list(points()), npartitions=4)
    for X in (paths, blocks, rows):
        for where in (client, None):
            with fastvi.distributed(where):
                np.testing.assert_array_equal(mixture.fit(X).means_, wanted)
    with fastvi.distributed(client), pytest.raises(ValueError, match=r"X\.rechunk"):
        mixture.fit(blocks.rechunk((125, 1)))
    with fastvi.distributed(client), pytest.raises(OSError, match=r"shard 1 \(gone.npy\)"):
        mixture.fit([paths[0], "gone.npy"])


# On a cluster


def test_a_cluster_finds_the_same_bits(client: Any) -> None:
    for name in ("vb", "cvb0"):
        assert_same(found(FITS[name], client), found(FITS[name]))


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(set(FITS) - {"vb", "cvb0"}))
def test_a_cluster_finds_the_same_bits_in_all_fits(client: Any, name: str) -> None:
    assert_same(found(FITS[name], client), found(FITS[name]))


def test_shards_are_released_after_a_fit(client: Any) -> None:
    found(FITS["mixture"], client)
    for _ in range(100):  # the client does so in its own thread
        left = [key for key in client.futures if "fastvi-shard" in str(key)]
        if not left:
            break
        time.sleep(0.05)
    assert not left


def test_a_client_is_wanted() -> None:
    pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    with pytest.raises(TypeError, match="client is a str"), fastvi.distributed("tcp://x"):
        pass
