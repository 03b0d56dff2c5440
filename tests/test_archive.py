"""Model files: what is saved comes back, and nothing but that does."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastvi.base.archive import Blocks, load, save
from fastvi.base.strings import pack_strings, unpack_strings

KIND = "lda-model"
HEADER: dict[str, Any] = {"alpha": 0.1, "words": ["a", "ü"], "trace": [1.5, -2.0], "seed": None}


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        "topics": rng.random((3, 5), dtype=np.float32),
        "counts": rng.integers(-(2**40), 2**40, 4),
        "empty": np.zeros((0, 4)),
        "scalar": np.array(2.5),
        "mask": np.array([True, False]),
        "rng.state": np.arange(3, dtype=np.uint64),
    }


def assert_same(arrays: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(arrays) == list(wanted)
    for name, array in wanted.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
        assert arrays[name].flags.writeable


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    save(path, KIND, HEADER, example())
    return path


# --- writing ----------------------------------------------------------------------------------


def test_round_trip(saved: Path) -> None:
    header, arrays = load(saved, KIND)
    assert header == HEADER
    assert_same(arrays, example())
    assert os.listdir(saved.parent) == [saved.name]


def test_numpy_reads_it_without_pickle(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["topics"], example()["topics"])
        assert json.loads(archive["header.json"])["kind"] == KIND


def test_same_content_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save(tmp_path / "again.npz", KIND, HEADER, example())
    assert (tmp_path / "again.npz").read_bytes() == saved.read_bytes()


@given(
    array=hnp.arrays(
        dtype=st.one_of(
            hnp.integer_dtypes(endianness="="), hnp.floating_dtypes(sizes=(16, 32, 64))
        ),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ).filter(lambda array: array.dtype.isnative),
    transpose=st.booleans(),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, transpose: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    array = array.T if transpose else array
    save(path, KIND, {}, {"x": array})
    assert_same(load(path, KIND)[1], {"x": array})


def test_blocks_need_no_second_copy(tmp_path: Path) -> None:
    shape = (4000, 1000)  # 32 MB

    def blocks() -> Iterator[np.ndarray]:
        for begin in range(0, shape[0], 100):
            yield np.full((100, shape[1]), float(begin))

    tracemalloc.start()
    try:
        save(tmp_path / "big.npz", KIND, {}, {"x": Blocks(shape, np.dtype(float), blocks())})
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    array = load(tmp_path / "big.npz", KIND)[1]["x"]
    np.testing.assert_array_equal(
        array, np.repeat(np.arange(0.0, 4000, 100), 100)[:, None] + 0 * array
    )


def test_a_strided_array_is_copied_in_blocks_only(tmp_path: Path) -> None:
    array = np.zeros((20_000, 1000), np.float32).T  # 80 MB in Fortran order
    tracemalloc.start()
    try:
        save(tmp_path / "big.npz", KIND, {}, {"x": array})
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("../x", np.zeros(2), "array name"),
        ("a..b", np.zeros(2), "array name"),
        ("x", np.array(["a"]), "'x' is <U1"),
        ("x", np.array([None]), "'x' is object"),
        ("x", np.zeros(2, ">f8"), "'x' is >f8"),
        ("x", Blocks((3, 2), np.dtype(float), [np.zeros((2, 2))]), "hold 2 of 3 rows"),
        ("x", Blocks((3, 2), np.dtype(float), [np.zeros((3, 1))]), "a block of array 'x'"),
        ("x", Blocks((3,), np.dtype(float), [np.zeros(3, np.float32)]), "a block of array 'x'"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(
    saved: Path, name: str, array: Any, message: str
) -> None:
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=re.escape(message)):
        save(saved, KIND, {}, {"first": np.zeros(10), name: array})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_save_leaves_the_old_file(saved: Path, error: type[BaseException]) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield np.zeros((1, 2))
        raise error("while writing")

    before = saved.read_bytes()
    with pytest.raises(error, match="while writing"):
        save(saved, KIND, {}, {"x": Blocks((2, 2), np.dtype(float), blocks())})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_full_disk_is_one_clear_sentence(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(OSError, match=r"not enough space .* needs 1600.* bytes: '.*model.npz'"):
            save(saved, KIND, {}, {"x": np.zeros((200, 1000))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_devices_and_folders_are_not_replaced(tmp_path: Path) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(OSError, match="not a regular file"):
            save(path, KIND, {}, {})


def test_a_link_keeps_pointing_at_the_file(saved: Path) -> None:
    link = saved.parent / "latest.npz"
    link.symlink_to(saved.name)
    save(link, KIND, {"new": True}, {})
    assert link.is_symlink()
    assert load(saved, KIND) == ({"new": True}, {})


def test_kill_during_save_leaves_the_old_file(saved: Path) -> None:
    code = """if True:
        import sys, time
        import numpy as np
        from fastvi.base.archive import Blocks, save

        def blocks():
            for i in range(1000):
                yield np.full((1000, 8), float(i))
                if i == 500:
                    print("half", flush=True)
                    time.sleep(60)

        save(sys.argv[1], "lda-model", {}, {"x": Blocks((1000000, 8), np.dtype(float), blocks())})
    """
    before = saved.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(saved)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert saved.read_bytes() == before
    load(saved, KIND)


# --- reading: hostile files -------------------------------------------------------------------


def top(**changes: Any) -> bytes:
    content = {"format": "fastvi", "version": 1, "kind": KIND, "arrays": ["x"], "header": {}}
    return json.dumps({**content, **changes}).encode()


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def npy_declaring(shape: str, data: bytes = bytes(24), descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def write_zip(path: Path, members: list[tuple[str, bytes]], compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("header", "array", "message"),
    [
        (top(version=2), npy(np.zeros(3)), "format version 2"),
        (top(version=True), npy(np.zeros(3)), "format version True"),
        (top(version=None), npy(np.zeros(3)), "format version None"),
        (top(kind="checkpoint"), npy(np.zeros(3)), "holds 'checkpoint'; wanted"),
        (top(format="other"), npy(np.zeros(3)), "not a fastvi file"),
        (top(arrays=["y"]), npy(np.zeros(3)), "holds the arrays ['x'], declares ['y']"),
        (top(arrays=["x", "x"]), npy(np.zeros(3)), "declares ['x', 'x']"),
        (top(arrays=[1]), npy(np.zeros(3)), "not a list of names"),
        (top(header=[]), npy(np.zeros(3)), "not a JSON object"),
        (b"[]", npy(np.zeros(3)), "not a fastvi file"),
        (b"{", npy(np.zeros(3)), "header.json cannot be read"),
        (b"\xff\xfe\x00", npy(np.zeros(3)), "header.json cannot be read"),
        (b"[" * 100_000, npy(np.zeros(3)), "header.json cannot be read"),
        (b"9" * 100_000, npy(np.zeros(3)), "header.json cannot be read"),
        (b" " * (16 << 20) + top(), npy(np.zeros(3)), "wanted at most 16777216"),
        (top(), npy([Bomb()], allow_pickle=True), "is object; wanted"),
        (top(), npy(["text"]), "is <U4; wanted"),
        (top(), npy(np.zeros(3, "i4,f8")), "wanted booleans"),
        (top(), npy(np.zeros(3, ">f8")), "wanted booleans"),
        (top(), npy(np.zeros(3, np.complex128)), "is complex128"),
        (top(), npy(np.zeros((3, 2), order="F")), "Fortran order"),
        (top(), npy(np.zeros(3), version=(2, 0)), "npy version is not 1.0"),
        (top(), b"", "has no npy header"),
        (top(), b"\x93NUMPY\x01\x00\xff\xff", "has no npy header"),
        (top(), npy(np.zeros(3))[:-1], "declares 24 bytes of data and has 23"),
        (top(), npy(np.zeros(3)) + b"\0", "declares 24 bytes of data and has 25"),
        (top(), npy_declaring("(1000000000000,)"), "declares 8000000000000 bytes"),
        (top(), npy_declaring("(0, 2**70)".replace("2**70", str(2**70)), b""), "the shape"),
        (top(), npy_declaring("(-3, -1)"), "the shape (-3, -1)"),
        (top(), npy_declaring("(True, 3)"), "the shape (True, 3)"),
        (top(), npy_declaring("(3L,)"), "has no npy header"),
        (top(), npy_declaring("(" + "1," * 70 + ")", bytes(8)), "the shape (1, 1"),
        (top(), npy_declaring("(" * 5000 + ")" * 5000), "has no npy header"),
        (top(), npy_declaring("-" * 9000 + "3"), "has no npy header"),
        (top(), npy_declaring("(3,)" + " " * 20_000), "has no npy header"),
        (top(), npy_declaring("__import__('os')"), "has no npy header"),
        (top(), npy_declaring("(3,)", descr="'nonsense'"), "has no npy header"),
    ],
)
def test_hostile_content_is_refused(
    tmp_path: Path, header: bytes, array: bytes, message: str
) -> None:
    path = tmp_path / "hostile.npz"
    write_zip(path, [("header.json", header), ("x.npy", array)])
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(path, KIND)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["header.json", "../x.npy"], "unexpected member '../x.npy'"),
        (["header.json", "/x.npy"], "unexpected member '/x.npy'"),
        (["header.json", "x.npy", "run.py"], "unexpected member 'run.py'"),
        (["header.json", "x.npy", "folder/"], "unexpected member 'folder/'"),
        (["header.json", ".npy"], "unexpected member '.npy'"),
        (["header.json", "x.npy\n.npy"], "unexpected member"),
        (["x.npy"], "header.json is missing"),
        ([], "header.json is missing"),
        (["header.json"], "declares ['x']"),
    ],
)
def test_unexpected_members_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    path = tmp_path / "hostile.npz"
    data = npy(np.zeros(3))
    write_zip(path, [(name, top() if name == "header.json" else data) for name in names])
    with pytest.raises(ValueError, match=re.escape(message)):
        load(path, KIND)


def test_duplicate_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    members = [("header.json", top()), ("x.npy", npy(np.zeros(3)))]
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(path, [*members, members[1]])
    with pytest.raises(ValueError, match=r"'x.npy' occurs twice"):
        load(path, KIND)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    members = [("header.json", top()), ("x.npy", npy(np.zeros(100_000)))]
    write_zip(path, members, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed or encrypted"):
        load(path, KIND)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    names = [f"x{i}" for i in range(9)]
    data = npy(np.zeros(1000))
    write_zip(path, [("header.json", top(arrays=names)), ("x0.npy", data)])
    with zipfile.ZipFile(path, "a") as archive:
        (first,) = (info for info in archive.infolist() if info.filename == "x0.npy")
        for name in names[1:]:  # entries in the directory that all point at the first array
            info = zipfile.ZipInfo(f"{name}.npy")
            info.CRC, info.header_offset = first.CRC, first.header_offset
            info.file_size = info.compress_size = first.file_size
            archive.filelist.append(info)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"members of \d+ bytes in a file of \d+"):
        load(path, KIND)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 1000, npy(np.zeros(3))])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="other: not a fastvi file, or cut short"):
        load(path, KIND)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        load(tmp_path / "nothing.npz", KIND)


# --- reading: damaged files -------------------------------------------------------------------


def check_damaged(path: Path, data: bytes) -> bool:
    """Whether `data` is refused; if not, it must mean the very same as the file from `example`."""
    path.write_bytes(data)
    try:
        header, arrays = load(path, KIND)
    except ValueError as error:
        if str(path) not in str(error):
            raise
        return True
    assert header == HEADER
    assert_same(arrays, example())
    return False


# Steps of 5 and 7 bytes come to each byte of fields of 2, 4 and 8 in turn.
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_truncation_is_refused(saved: Path, step: int) -> None:
    data = saved.read_bytes()
    assert not check_damaged(saved, data)
    for length in range(len(data) - 1, -1, -step):
        assert check_damaged(saved, data[:length]), length


@pytest.mark.parametrize(
    ("mask", "step"),
    [(0x01, 5), *(pytest.param(m, 1, marks=pytest.mark.slow) for m in (0x01, 0x20, 0x80, 0xFF))],
)
def test_any_damaged_byte_is_refused_or_means_nothing(saved: Path, mask: int, step: int) -> None:
    data = saved.read_bytes()
    positions = range(0, len(data), step)
    n_refused = 0
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= mask
        n_refused += check_damaged(saved, bytes(damaged))
    assert n_refused > 0.6 * len(positions)  # the others hold dates, permissions and the like


@pytest.mark.parametrize("n", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_random_damage_is_refused_or_means_nothing(
    saved: Path, rng: np.random.Generator, n: int
) -> None:
    data = np.frombuffer(saved.read_bytes(), np.uint8)
    for _ in range(n):
        damaged = data.copy()
        begin = rng.integers(len(data))
        end = begin + rng.integers(1, 40)
        damaged[begin:end] = rng.integers(0, 256, len(damaged[begin:end]))
        if rng.random() < 0.3:
            damaged = np.delete(damaged, slice(*np.sort(rng.integers(len(data), size=2))))
        check_damaged(saved, damaged.tobytes())


# --- strings ----------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(), max_size=8), max_size=20))
def test_strings_come_back(strings: list[str]) -> None:
    buffer, offsets = pack_strings(strings)
    assert buffer.dtype == np.uint8
    assert offsets.dtype == np.int64
    assert offsets.shape == (len(strings) + 1,)
    assert unpack_strings(buffer, offsets, "words") == strings


def test_any_python_string_comes_back() -> None:
    strings = ["\udcff", "", "\0", "\n", "𝛼"]
    assert unpack_strings(*pack_strings(strings), "words") == strings


@pytest.mark.parametrize(
    ("buffer", "offsets", "message"),
    [
        (np.zeros(3, np.int8), np.array([0, 3]), "the text is int8"),
        (np.zeros((3, 1), np.uint8), np.array([0, 3]), "the text is uint8 of shape"),
        (np.zeros(3, np.uint8), np.array([0, 3], np.int32), "the offsets are int32"),
        (np.zeros(3, np.uint8), np.zeros(0, np.int64), "the offsets are int64 of shape"),
        (np.zeros(3, np.uint8), np.array([0, 2]), "do not increase from 0 to 3"),
        (np.zeros(3, np.uint8), np.array([1, 3]), "do not increase from 0 to 3"),
        (np.zeros(3, np.uint8), np.array([0, 2, 1, 3]), "do not increase from 0 to 3"),
        (np.zeros(3, np.uint8), np.array([0, 2**62, 3]), "do not increase from 0 to 3"),
        (np.array([0xC3, 0xBC], np.uint8), np.array([0, 1, 2]), "not valid UTF-8"),
    ],
)
def test_damaged_strings_are_refused(buffer: np.ndarray, offsets: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=f"^m.npz: .*{message}"):
        unpack_strings(buffer, offsets, "m.npz")
