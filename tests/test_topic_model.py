"""Model files of topics: round trips, and everything that must be refused."""

from __future__ import annotations

import gc
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastvi
from fastvi.base import archive
from fastvi.models.counts import padded
from fastvi.models.topics.fitted import KIND, TopicModel

pytestmark = pytest.mark.jit


def model_of(
    n_words: int = 12, n_topics: int = 3, dtype: Any = np.float32, **changes: Any
) -> TopicModel:
    rng = np.random.default_rng(3)
    table = np.zeros((n_words, padded(n_topics)), dtype)
    table[:, :n_topics] = rng.gamma(1.0, 5.0, (n_words, n_topics)) + 0.1
    fields: dict[str, Any] = {
        "table": table,
        "alpha": rng.uniform(0.1, 1, n_topics),
        "eta": 0.1,
        "collapsed": True,
        "vocabulary": [f"word{v}" for v in range(n_words)],
        "info": {"solver": "scvb0", "n_iter": 2, "n_steps": 7},
        "history": {"epoch": np.array([0.0, 1.0]), "seconds": np.array([0.1, np.nan])},
    }
    return TopicModel(**{**fields, **changes})


MODELS = {
    "float32": {},
    "float64": {"dtype": np.float64},
    "no vocabulary": {"vocabulary": None},
    "no history": {"history": {}, "info": {}},
    "variational": {"collapsed": False},
    "eta by word": {"eta": np.linspace(0.1, 1, 12)[:, None]},
    "one of each": {"n_words": 1, "n_topics": 1, "vocabulary": ["ß"]},
    "padding none": {"n_topics": 8},
    "odd words": {"vocabulary": ["", " ", "\n", "日本", "\udc80", *"abcdefg"]},
    "settings": {"max_iter": 7, "tol": 0.5},
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    model = model_of(**MODELS[name])
    model.save(tmp_path / "m.npz")
    back = TopicModel.load(tmp_path / "m.npz")
    assert back.table.dtype == model.table.dtype
    assert back.table.tobytes() == model.table.tobytes()
    np.testing.assert_array_equal(back.alpha, model.alpha)
    np.testing.assert_array_equal(back.eta, model.eta)
    for field in ("collapsed", "vocabulary", "info", "max_iter", "tol", "n_topics"):
        assert getattr(back, field) == getattr(model, field)
    assert back.history.keys() == model.history.keys()
    for column in model.history:
        np.testing.assert_array_equal(back.history[column], model.history[column])
    back.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "m.npz").read_bytes()


def test_large_tables_are_written_in_blocks(tmp_path: Path) -> None:
    model = model_of(9001, 3, vocabulary=None)
    model.save(tmp_path / "m.npz")
    assert TopicModel.load(tmp_path / "m.npz").table.tobytes() == model.table.tobytes()


def test_numpy_can_read_it(tmp_path: Path) -> None:
    model = model_of()
    model.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        np.testing.assert_array_equal(file["table"], model.table[:, :3])


@pytest.mark.thorough
def test_an_interrupt_inside_of_zipfile(tmp_path: Path, monkeypatch: Any) -> None:
    """Where zipfile could not be closed any more, and complained once it was collected."""

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "m.npz"
    model_of().save(path)
    before = path.read_bytes()
    for name in ("_ZipWriteFile", "crc32"):
        with monkeypatch.context() as patch:
            patch.setattr(zipfile, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                model_of().save(path)
        gc.collect()
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["m.npz"]


# --- refused --------------------------------------------------------------------------------------


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    model_of().save(path)
    return archive.load(path, KIND)


def with_cell(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[1] = value
    return array


BAD_ARRAYS: dict[str, Any] = {
    "table nan": {"table": lambda a: with_cell(a, np.nan)},
    "table infinite": {"table": lambda a: with_cell(a, np.inf)},
    "table zero": {"table": lambda a: with_cell(a, 0.0)},
    "table negative": {"table": lambda a: with_cell(a, -1.0)},
    "table of integers": {"table": lambda a: a.astype(np.int32)},
    "table of half floats": {"table": lambda a: a.astype(np.float16)},
    "table of one dimension": {"table": lambda a: a.ravel()},
    "table of three": {"table": lambda a: a[None]},
    "table empty": {"table": lambda a: a[:0]},
    "table without topics": {"table": lambda a: a[:, :0], "alpha": lambda a: a[:0]},
    "table gone": {"table": None},
    "alpha short": {"alpha": lambda a: a[:-1]},
    "alpha long": {"alpha": lambda a: np.append(a, 1.0)},
    "alpha a number": {"alpha": lambda a: a[0]},
    "alpha zero": {"alpha": lambda a: with_cell(a, 0.0)},
    "alpha nan": {"alpha": lambda a: with_cell(a, np.nan)},
    "alpha of booleans": {"alpha": lambda a: np.ones(3, bool)},
    "alpha gone": {"alpha": None},
    "eta long": {"eta": lambda a: np.full((13, 1), 0.1)},
    "eta flat": {"eta": lambda a: np.full(12, 0.1)},
    "eta zero": {"eta": lambda a: np.array(0.0)},
    "eta nan": {"eta": lambda a: np.array(np.nan)},
    "eta an integer": {"eta": lambda a: np.array(1)},
    "eta gone": {"eta": None},
    "fewer words": {"vocabulary_offsets": lambda a: a[[*range(11), -1]]},
    "words backwards": {"vocabulary_offsets": lambda a: a[::-1]},
    "words beyond the end": {"vocabulary_offsets": lambda a: a + 1},
    "words no UTF-8": {"vocabulary": lambda a: np.full_like(a, 0xFF)},
    "words of another type": {"vocabulary": lambda a: a.astype(np.int64)},
    "words gone": {"vocabulary": None},
    "offsets gone": {"vocabulary_offsets": None},
    "history of two lengths": {"history.epoch": lambda a: a[:1]},
    "history of two dimensions": {"history.epoch": lambda a: a[None]},
    "history a number": {"history.epoch": lambda a: a[0]},
    "history of integers": {"history.epoch": lambda a: a.astype(int)},
    "an array too many": {"extra": lambda a: np.zeros(2)},
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_that_do_not_fit(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    header, arrays = parts(path)
    for key, change in BAD_ARRAYS[name].items():
        if change is None:
            del arrays[key]
        else:
            arrays[key] = np.asarray(change(arrays.get(key)))
    archive.save(path, KIND, header, arrays)
    with pytest.raises(ValueError, match=r"m\.npz: "):
        TopicModel.load(path)
    with pytest.raises(ValueError, match=r"m\.npz: "):
        fastvi.load(path)


BAD_HEADERS: list[tuple[str, Any]] = [
    ("max_iter", "x"),
    ("max_iter", 0),
    ("max_iter", 1.5),
    ("max_iter", 10**30),
    ("max_iter", True),
    ("max_iter", None),
    ("tol", "x"),
    ("tol", float("nan")),
    ("tol", float("inf")),
    ("tol", -1),
    ("tol", None),
    ("collapsed", "no"),
    ("collapsed", 1),
    ("collapsed", None),
    ("has_vocabulary", "yes"),
    ("has_vocabulary", False),
    ("info", None),
    ("info", []),
    ("info", "x"),
]


@pytest.mark.parametrize(("key", "value"), BAD_HEADERS)
def test_headers_that_do_not_fit(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    header, arrays = parts(path)
    archive.save(path, KIND, {**header, key: value}, arrays)
    with pytest.raises(ValueError, match=r"m\.npz: "):
        TopicModel.load(path)


@pytest.mark.parametrize("key", ["info", "collapsed", "max_iter", "tol", "has_vocabulary"])
def test_headers_that_are_not_complete(key: str, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    header, arrays = parts(path)
    del header[key]
    archive.save(path, KIND, header, arrays)
    with pytest.raises(ValueError, match=r"m\.npz: not a complete topic model"):
        TopicModel.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("solver", "gibbs"), ("solver", ["svi"]), ("solver", None), ("n_iter", "x"), ("n_iter", 0),
     ("n_iter", None), ("n_steps", 1e99), ("n_steps", [1])],
)  # fmt: skip
def test_an_estimator_needs_sound_info(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    model_of(info={"solver": "svi", "n_iter": 1, "n_steps": 1, key: value}).save(path)
    with pytest.raises(ValueError, match=rf"m\.npz: {key}"):
        fastvi.load(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    header, arrays = parts(path)
    archive.save(path, "checkpoint", header, arrays)
    with pytest.raises(ValueError, match="holds 'checkpoint'; wanted 'lda-model'"):
        fastvi.load(path)
    np.savez(path, table=np.ones((2, 2)))
    with pytest.raises(ValueError, match="not a fastvi file"):
        fastvi.load(path)
    path.write_text("topics\n")
    with pytest.raises(ValueError, match="not a fastvi file"):
        fastvi.load(path)
    with pytest.raises(FileNotFoundError):
        fastvi.load(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        fastvi.load(tmp_path)


@given(st.data())
def test_damage_is_seen_or_harmless(tmp_path_factory: Any, data: Any) -> None:
    """Any few bytes changed, or the end cut off: a ValueError, or the model as it was."""
    folder = tmp_path_factory.mktemp("damage")
    model = model_of()
    model.save(folder / "m.npz")
    raw = bytearray((folder / "m.npz").read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))]
    (folder / "m.npz").write_bytes(raw)
    try:
        back = TopicModel.load(folder / "m.npz")
    except ValueError:
        return
    assert back.table.tobytes() == model.table.tobytes()
    assert back.vocabulary == model.vocabulary


@pytest.mark.thorough
@given(
    st.dictionaries(
        st.sampled_from(["table", "alpha", "eta", "vocabulary", "vocabulary_offsets", "history.x"]),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
    ),
    st.dictionaries(
        st.sampled_from(["info", "collapsed", "max_iter", "tol", "has_vocabulary"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=2),
                  st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)),
    ),
)  # fmt: skip
def test_any_arrays_and_headers(
    tmp_path_factory: Any, arrays: dict[str, np.ndarray], header: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    sound_header, sound_arrays = parts(path)
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("header.json"))["kind"] == KIND
    archive.save(path, KIND, {**sound_header, **header}, {**sound_arrays, **arrays})
    try:
        model = TopicModel.load(path)
    except ValueError:
        return
    one = np.array([0, 1]), np.array([0], np.int32), np.ones(1, model.table.dtype)
    assert model.topics.infer(*one).shape == (1, padded(model.n_topics))


# --- answers --------------------------------------------------------------------------------------


def test_top_words() -> None:
    table = np.zeros((4, 8), np.float32)
    table[:, :2] = [[1, 4], [3, 4], [3, 1], [1, 1]]
    model = model_of(table=table, alpha=np.ones(2), vocabulary=list("abcd"))
    assert model.top_words(3) == [
        [("b", 0.375), ("c", 0.375), ("a", 0.125)],  # ties: the first word first
        [("a", 0.4), ("b", 0.4), ("c", 0.1)],
    ]
    assert [len(words) for words in model.top_words(99)] == [4, 4]
    plain = model_of(table=table, alpha=np.ones(2), vocabulary=None)
    assert plain.top_words(1) == [[("1", 0.375)], [("0", 0.4)]]


def test_topic_shares() -> None:
    table = np.zeros((2, 8), np.float32)
    table[:, :3] = [[0.1, 3.1, 0.1], [0.1, 0.1, 1.1]]
    model = model_of(table=table, alpha=np.ones(3), eta=0.1, vocabulary=None)
    np.testing.assert_allclose(model.topic_shares, [0.0, 0.75, 0.25], atol=1e-6)
    nothing = model_of(table=np.full((2, 8), 0.1), alpha=np.ones(8), eta=0.1, vocabulary=None)
    assert np.all(np.isfinite(nothing.topic_shares))
