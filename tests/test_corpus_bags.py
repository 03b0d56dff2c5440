"""Bags of words: LDA-C, svmlight, docword, Matrix Market, npz; round trips and bad files."""

import gzip
import io
import tracemalloc

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastvi.corpus.files
from fastvi.corpus import read, read_sharded, sniff
from fastvi.corpus.numbers import parse_numbers

# Plain writers: one line of file at a time, nothing shared with the readers.


def to_ldac(counts):
    rows = [[f"{j}:{c:.9g}" for j, c in enumerate(row) if c] for row in counts]
    return "".join(" ".join([str(len(row)), *row]) + "\n" for row in rows).encode()


def to_svmlight(counts, first=1):
    lines = ["# a comment 3:4"]
    for row in counts:
        pairs = [f"{j + first}:{c:.9g}" for j, c in enumerate(row) if c]
        lines.append(" ".join(["-1.5", *pairs, "# 9:9"]))
    return ("\n".join(lines) + "\n").encode()


def to_docword(counts):
    entries = [(i + 1, j + 1, f"{counts[i, j]:.9g}") for i, j in np.argwhere(counts)]
    lines = [*counts.shape, len(entries), *(f"{i} {j} {c}" for i, j, c in entries)]
    return "".join(f"{line}\n" for line in lines).encode()


def to_mtx(counts):
    file = io.BytesIO()
    scipy.io.mmwrite(file, scipy.sparse.coo_matrix(counts), comment="of words", precision=9)
    return file.getvalue()


def to_npz(counts):
    file = io.BytesIO()
    scipy.sparse.save_npz(file, scipy.sparse.csr_matrix(counts))
    return file.getvalue()


def to_plain_npz(counts):
    csr, file = scipy.sparse.csr_matrix(counts), io.BytesIO()
    np.savez(file, data=csr.data, indices=csr.indices, indptr=csr.indptr, shape=csr.shape)
    return file.getvalue()


MTX = b"%%MatrixMarket matrix coordinate integer general\n"
FORMATS = {
    "ldac": (to_ldac, "name.dat"),
    "svmlight": (to_svmlight, "name.txt"),
    "docword": (to_docword, "docword.name.txt"),
    "mtx": (to_mtx, "name.mtx"),
    "npz": (to_npz, "name.npz"),
    "plain npz": (to_plain_npz, "name.npz"),
}
COUNTS = np.array([[2, 0, 1, 0], [0, 0, 0, 0], [0, 3, 0, 12345678]], float)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_recognised_with_their_vocabulary(tmp_path, kind, packed):
    write, name = FORMATS[kind]
    content = write(COUNTS)
    if packed:
        if "npz" in kind:
            return
        name, content = name + ".gz", gzip.compress(content)
    path = tmp_path / name
    path.write_bytes(content)
    (tmp_path / "name_vocab.txt").write_text("one\ntwo\nthree\nfour\n")
    assert sniff(path) == kind.removeprefix("plain ")
    corpus = read(path)
    np.testing.assert_array_equal(corpus.counts.toarray(), COUNTS)
    assert corpus.vocabulary == ["one", "two", "three", "four"]
    assert (corpus.n_documents, corpus.n_empty) == (3, 1)
    assert read(path, vocabulary=False).vocabulary is None


count_tables = arrays(
    np.int64,
    st.tuples(st.integers(1, 12), st.integers(1, 9)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 70000]),
)


@pytest.mark.parametrize("kind", FORMATS)
@given(table=count_tables, scale=st.sampled_from([1.0, 0.25]), block=st.sampled_from([7, 1 << 20]))
@settings(max_examples=30)
def test_round_trip(tmp_path_factory, kind, table, scale, block):
    """Whole or fractional counts, and whatever the block boundaries cut."""
    write, name = FORMATS[kind]
    path = tmp_path_factory.mktemp("bags") / name
    path.write_bytes(write(table * scale))
    words = [f"w{j}" for j in range(table.shape[1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastvi.corpus.files, "BLOCK_BYTES", block)
        corpus = read(path, format=kind.removeprefix("plain "), vocabulary=words, zero_based=False)
    np.testing.assert_array_equal(corpus.counts.toarray(), (table * scale).astype(np.float32))
    assert corpus.counts.has_sorted_indices


@pytest.mark.parametrize(
    "content",
    [
        b"3 2:1 0:1 2:4\n0\n1 1:0\n",
        b"3  2:1\t0:1 2:4 \r\n0\r\n1 1:0",
        b"3 2:1.0 0:1 2:4\n0\n1 1:0\n",
    ],
)
def test_unsorted_repeated_and_zero_entries(tmp_path, content):
    (tmp_path / "a.ldac").write_bytes(content)
    corpus = read(tmp_path / "a.ldac")
    np.testing.assert_array_equal(corpus.counts.toarray(), [[1, 0, 5], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(corpus.counts.indptr, [0, 2, 2, 2])


@pytest.mark.parametrize("first", [0, 1])
def test_svmlight_bases(tmp_path, first):
    path = tmp_path / "a.svm"
    table = np.array([[1, 0, 2], [0, 3, 0]])
    path.write_bytes(to_svmlight(table, first))
    np.testing.assert_array_equal(read(path).counts.toarray(), table)
    if first == 1:
        np.testing.assert_array_equal(read(path, zero_based=True).counts.toarray()[:, 1:], table)


def test_svmlight_labels_queries_and_none(tmp_path):
    (tmp_path / "a.svm").write_text("1,3 qid:7 1:2\n\n+1 qid:8 2:1e1\n 1:1\n-2\n")
    np.testing.assert_array_equal(
        read(tmp_path / "a.svm").counts.toarray(), [[2, 0], [0, 10], [1, 0], [0, 0]]
    )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["docword", "mtx"])
def test_unsorted_triples(tmp_path, kind, order):
    table = np.random.default_rng(0).poisson(0.5, (30, 20))
    rows, columns = np.nonzero(table) if order == "C" else np.nonzero(table.T)[::-1]
    entries = "".join(f"{i + 1} {j + 1} {table[i, j]}\n" for i, j in zip(rows, columns))
    head = "30\n20\n" if kind == "docword" else "%%MatrixMarket matrix coordinate real general\n"
    size = f"{len(rows)}\n" if kind == "docword" else f"30 20 {len(rows)}\n"
    (tmp_path / "a.txt").write_text(head + size + entries)
    np.testing.assert_array_equal(read(tmp_path / "a.txt").counts.toarray(), table)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("coordinate pattern general\n2 2 2\n1 1\n2 2\n", [[1, 0], [0, 1]]),
        ("coordinate integer symmetric\n2 2 2\n1 1 5\n2 1 3\n", [[5, 3], [3, 0]]),
        ("array real general\n2 2\n1\n0\n2\n3\n", [[1, 2], [0, 3]]),
        ("array integer symmetric\n2 2\n1\n4\n3\n", [[1, 4], [4, 3]]),
        ("COORDINATE Integer GENERAL\n2 2 1\n\n1 2 5e3\n\n", [[0, 5000], [0, 0]]),
        ("coordinate real general\n%\n% 1 1 1\n2 2 2\n1 1 .5\n2 1 2.\n", [[0.5, 0], [2, 0]]),
        ("coordinate integer general\n1 1 1\n1 1 10000000000000000000\n", [[1e19]]),
    ],
)
def test_other_matrix_market_kinds(tmp_path, content, expected):
    (tmp_path / "a.mtx").write_text("%%MatrixMarket matrix " + content)
    table = np.array(expected, np.float32)
    np.testing.assert_array_equal(read(tmp_path / "a.mtx").counts.toarray(), table)
    with read_sharded(tmp_path / "a.mtx", random_state=0) as shards:
        assert shards.n_tokens == table.sum()


@pytest.mark.parametrize("kind", ["ldac", "svmlight", "docword", "npz"])
def test_counts_above_the_largest_integer(tmp_path, kind):
    write, name = FORMATS[kind]
    table = np.array([[2.0**63, 1e30], [0, 2.0**64]])
    (tmp_path / name).write_bytes(write(table).replace(b"9.22337204e+18", b"9223372036854775809"))
    corpus = read(tmp_path / name, format=kind)
    np.testing.assert_array_equal(corpus.counts.toarray(), table.astype(np.float32))


WIDE = {
    "a.svm": b"1 67108863:2 7:1\n1 67000000:3\n",
    "a.ldac": b"2 67108863:2 7:1\n1 67000000:3\n",
    "a.docword": b"2\n67108864\n3\n1 67108864 2\n1 8 1\n2 67000001 3\n",
    "a.mtx": MTX + b"2 67108864 3\n1 67108864 2\n1 8 1\n2 67000001 3\n",
    "a.npz": to_npz(
        scipy.sparse.coo_array(([2, 1, 3], ([0, 0, 1], [67108863, 7, 67000000])), (2, 1 << 26))
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_memory_follows_the_columns_that_occur(tmp_path, name):
    (tmp_path / name).write_bytes(WIDE[name])
    kind = {"svm": "svmlight"}.get(name[2:], name[2:])
    tracemalloc.start()
    counts = read(tmp_path / name, format=kind, zero_based=True).counts
    with read_sharded(tmp_path / name, format=kind, zero_based=True, random_state=0) as shards:
        assert (shards.n_words, shards.n_tokens) == (1 << 26, 6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert counts.shape == (2, 1 << 26)
    np.testing.assert_array_equal(counts.indices, [7, 67108863, 67000000])
    np.testing.assert_array_equal(counts.data, [1, 2, 3])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_scipy_archives(tmp_path, kind):
    matrix = scipy.sparse.random_array((9, 7), density=0.3, rng=np.random.default_rng(1))
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix.asformat(kind))
    expected = matrix.toarray().astype(np.float32)
    np.testing.assert_array_equal(read(tmp_path / "a.npz").counts.toarray(), expected)


def test_pruning_when_asked(tmp_path):
    (tmp_path / "a.ldac").write_bytes(to_ldac(COUNTS))
    (tmp_path / "vocab.txt").write_text("apple\nthe\npear\nplum\n")
    assert read(tmp_path / "a.ldac", stop_words="english").vocabulary == ["apple", "pear", "plum"]
    assert read(tmp_path / "a.ldac", max_features=2).vocabulary == ["the", "plum"]
    assert read(tmp_path / "a.ldac", stop_words=["apple", "zero"]).n_words == 3
    with pytest.raises(ValueError, match="stop_words needs a vocabulary"):
        read(tmp_path / "a.ldac", stop_words="english", vocabulary=False)


def test_real_corpora(data_dir):
    corpus = read(data_dir / "text" / "ap.npz")
    assert corpus.counts.shape == (2246, 10473)
    assert corpus.vocabulary[:3] == ["i", "new", "percent"]


REAL, PATTERN = MTX.replace(b"integer", b"real"), MTX.replace(b"integer", b"pattern")
ARRAY = MTX.replace(b"coordinate", b"array")
SYMMETRIC = MTX.replace(b"general", b"symmetric")
BAD = {
    # name: (content, message); each error names the file too
    "short.ldac": (b"1 0:1\n2 0:1\n", "line 2: 2 pairs declared, 1 found"),
    "long.ldac": (b"1 0:1\n0\n1 0:1 1:1\n", "line 3: 1 pairs declared, 2 found"),
    "blank.ldac": (b"1 0:1\n\n1 0:1\n", "line 2: empty line"),
    "word.ldac": (b"1 0:1\n1 zero:1\n", "line 2: an index is 'zero'"),
    "below.ldac": (b"1 -1:1\n", "line 1: an index is -1; allowed: 0 to"),
    "huge.ldac": (
        b"1 99999999999999999999:1\n",
        "line 1: an index is 99999999999999991611392|line 1",
    ),
    "half.ldac": (b"1 0.5:1\n", "line 1: an index is '0.5'; wanted: a whole number"),
    "negative.ldac": (b"1 0:1\n1 0:-2\n", "line 2: the count of index 0 is -2"),
    "nan.ldac": (b"1 0:nan\n", "line 1: the count of index 0 is 'nan'; wanted: a number"),
    "inf.ldac": (b"1 0:1e999\n", "line 1: the count of index 0 is 1e999"),
    "text.ldac": (b"1 0:x\n", "line 1: the count of index 0 is 'x'"),
    "colons.ldac": (b"2 1:2:3 4\n", "line 1: "),
    "nocolons.ldac": (b"2 1 2 3:4\n", "line 1: "),
    "swapped.ldac": (b"1:1 2\n", "line 1: the number of pairs is '1:1'"),
    "binary.ldac": (b"1 0:1\n\x00\xff\x80\n", "line 2: "),
    "pair.svm": (b"1 1:2\n1 1:2 3\n", "line 2: '3' is not an 'index:count' pair"),
    "count.svm": (b"1 1:-2\n", "line 1: the count of index 1 is -2"),
    "header.docword": (b"2\n2\n", "line 3: the file ends inside its header"),
    "size.docword": (b"2\nx\n2\n", "line 2: the number of words is 'x'"),
    "lying.docword": (b"900000000000\n2\n1\n1 1 1\n", "only 1 entries"),
    "wide.docword": (b"2\n900000000000\n1\n1 1 1\n", "at most 67108864"),
    "cut.docword": (b"2\n2\n2\n1 1 1\n", "line 4: the header declares 2 entries, 1 were found"),
    "cutline.docword": (b"2\n2\n2\n1 1 1\n2 1\n", "line 5: 2 numbers, wanted"),
    "many.docword": (
        b"2\n2\n1\n1 1 1\n2 1 1\n",
        "line 5: one more entry than the 1 that",
    ),
    "row.docword": (b"2\n2\n1\n3 1 1\n", "line 4: a document index is 3; allowed: 1 to 2"),
    "column.docword": (b"2\n2\n1\n1 0 1\n", "line 4: a word index is 0; allowed: 1 to 2"),
    "count.docword": (b"2\n2\n1\n1 1 -1\n", "line 4: a count is -1"),
    "banner.mtx": (b"%%MatrixMarket tensor\n", "line 1: wanted"),
    "complex.mtx": (MTX.replace(b"integer", b"complex") + b"1 1 1\n1 1 1 1\n", "line 1: wanted"),
    "size.mtx": (MTX + b"% x\n2 2\n1 1 1\n", "line 3: wanted: the numbers of rows"),
    "cut.mtx": (MTX + b"2 2 2\n1 1 1\n", "declares 2 entries, 1 were found"),
    "row.mtx": (MTX + b"2 2 1\n3 1 1\n", "line 3: a document index is 3; allowed: 1 to 2"),
    "negative.mtx": (MTX + b"2 2 1\n1 1 -1\n", "line 3: a count is -1"),
    "dense.mtx": (
        MTX.replace(b"coordinate", b"array") + b"2 2\n1\n-2\n0\n0\n",
        "line 4: a count is -2",
    ),
    "underscore.ldac": (b"1 0:1_0\n", "line 1: the count of index 0 is '1_0'"),
    "underscore.docword": (b"2\n2\n1\n1 1_0 1\n", "line 4: a word index is '1_0'"),
    "hexadecimal.svm": (b"1 1:0x10\n", "line 1: the count of index 1 is '0x10'"),
    "infinity.svm": (b"1 1:infinity\n", "line 1: the count of index 1 is 'infinity'"),
    "label.svm": (b"1 1:1\nspam 1:1\n", "line 2: the label is 'spam'"),
    "size.docword2": (b"2.0\n2\n1\n1 1 1\n", "line 1: the number of documents is '2.0'"),
    "jump.docword": (b"10000000000\n2\n2\n1 1 1\n9999999999 1 1\n", "line 3: .*only 2 entries"),
    "claim.docword": (b"2\n2\n100000000000\n1 1 1\n", "line 3: 100000000000 entries declared"),
    "claim.mtx": (MTX + b"2 2 100000000000\n1 1 1\n", "line 2: 100000000000 entries declared"),
    "array.mtx": (ARRAY + b"9999999 99999\n1\n", "line 2: 99"),
    "float.mtx": (MTX + b"2.0 2 1\n1 1 1\n", "line 2: the number of documents is '2.0'"),
    "minus.mtx": (MTX + b"-2 2 1\n1 1 1\n", "line 2: the number of documents is '-2'"),
    "comma.mtx": (MTX + b"2 2 1\n1 1 1,5\n", "line 3: a count is '1,5'"),
    "half.mtx": (MTX + b"2 2 2\n1 1 1\n1 2 1.5\n", "line 4: a count is 1.5; wanted: a whole"),
    "point.mtx": (MTX + b"2 2 1\n1 1 0.9\n", "line 3: a count is 0.9; wanted: a whole"),
    "nan.mtx": (MTX + b"2 2 1\n1 1 1nan\n", "line 3: a count is '1nan'"),
    "fourth.mtx": (MTX + b"2 2 1\n1 1 1 1\n", "line 3: 4 numbers, wanted: 'document word count'"),
    "tail.mtx": (REAL + b"2 2 1\n1 1 1.5abc\n", "line 3: a count is '1.5abc'"),
    "extra.mtx": (PATTERN + b"2 2 1\n1 1 5\n", "line 3: 3 numbers, wanted: 'document word'"),
    "word.mtx": (MTX.replace(b"matrix", b"matix") + b"1 1 1\n1 1 1\n", "line 1: wanted"),
    "kind.mtx": (MTX.replace(b"integer", b"intger") + b"1 1 1\n1 1 1\n", "line 1: wanted"),
    "skew.mtx": (MTX.replace(b"general", b"skew-symmetric") + b"1 1 1\n1 1 1\n", "line 1: wanted"),
    "five.mtx": (MTX.replace(b"general", b"general x") + b"1 1 1\n1 1 1\n", "line 1: wanted"),
    "upper.mtx": (SYMMETRIC + b"2 2 1\n1 2 1\n", "line 3: above the diagonal"),
    "square.mtx": (SYMMETRIC + b"2 3 1\n1 1 1\n", "line 2: a symmetric matrix of 2 rows and 3"),
    "more.mtx": (MTX + b"2 2 1\n1 1 1\n\n2 2 1\n", "line 5: one more entry than the 1"),
    "long.mtx": (
        MTX + b"%" + b"x" * 9999 + b"\n1 1 1\n1 1 1\n",
        "line 2: too long for a line of a header",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    suffix = name.rpartition(".")[2]
    kind = {"svm": "svmlight", "docword2": "docword"}.get(suffix, suffix)
    for reader in (read, sharded):
        with pytest.raises(ValueError, match=message) as error:
            reader(tmp_path / name, format=kind)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def sharded(path, **options):
    read_sharded(path, random_state=0, **options).close()


def test_vocabulary_that_does_not_fit(tmp_path):
    vocabulary = ["one", "two", "three"]
    for kind, (write, name) in FORMATS.items():
        (tmp_path / name).write_bytes(write(COUNTS))
        with pytest.raises(ValueError, match=r"vocabulary has( only)? 3|allowed: 0 to [23]"):
            read(tmp_path / name, format=kind.removeprefix("plain "), vocabulary=vocabulary)
    (tmp_path / "vocab.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="vocabulary is empty"):
        read(tmp_path / "name.mtx", vocabulary=tmp_path / "vocab.txt")
    with pytest.raises(ValueError, match="transposed"):
        read(tmp_path / "name.mtx", vocabulary=vocabulary)


def npz(**changes):
    parts = {"data": [1, 2], "indices": [0, 1], "indptr": [0, 1, 2], "shape": [2, 2]} | changes
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(part) for name, part in parts.items() if part is not None})
    return file.getvalue()


BAD_NPZ = {
    "text": (b"PK\x03\x04 not a zip", "not a readable npz"),
    "cut": (npz()[:-30], "not a readable npz"),
    "flipped": (npz()[:180] + b"\xff" + npz()[181:], r"not a readable|finite|rise|allowed|shape"),
    "pickle": (npz(data=np.array([1, None], object)), "not a readable npz"),
    "missing": (npz(indptr=None), "wanted arrays data, indices, indptr, shape"),
    "format": (npz(format=np.array("bsr")), "wanted arrays"),
    "negative": (npz(data=[1, -1]), "finite and >= 0"),
    "nan": (npz(data=[1, np.nan]), "finite and >= 0"),
    "strings": (npz(data=["a", "b"]), "wanted: numbers"),
    "range": (npz(indices=[0, 2]), r"indices\[1\] is 2; allowed: 0 to 1"),
    "below": (npz(indices=[0, -1]), r"indices\[1\] is -1; allowed: 0 to 1"),
    "float": (npz(indices=[0.0, 1.0]), "wanted: integers"),
    "lengths": (npz(indices=[0]), "2 data but 1 indices"),
    "falls": (npz(indptr=[0, 3, 2]), "indptr must increase from 0 to the 2 entries"),
    "offsets": (npz(indptr=[0, 2]), "indptr has 2 entries; wanted: 3"),
    "shape": (npz(shape=[2, -2]), "shape is"),
    "tall": (npz(shape=np.array([2**63, 2], np.uint64)), "indptr has 3 entries"),
    "tall coo": (
        npz(row=[0, 1], col=[0, 1], shape=[9 * 10**15, 2], format=np.array("coo")),
        "9000000000000000 documents but only 2 entries",
    ),
    "tall csc": (npz(shape=[9 * 10**15, 2], format=np.array("csc")), "only 2 entries"),
    "wide": (npz(shape=np.array([2, 2**63], np.uint64)), "at most 67108864"),
    "claim": (npz().replace(b"(2,), }", b"(999999999999,), }".ljust(7)), "not a readable npz"),
    "empty": (npz(data=[], indices=np.zeros(0, int), indptr=[0], shape=[0, 2]), "no documents"),
    "wordless": (npz(data=[], indices=np.zeros(0, int), indptr=[0, 0], shape=[1, 0]), "no words"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_archives(tmp_path, name):
    content, message = BAD_NPZ[name]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / "a.npz")
    assert "a.npz" in str(error.value)


@settings(max_examples=200)
@example("1 0:1")
@example("1. 1.:1")
@example("1 1 :0")
@example("1 -0:.1")
@given(st.text(alphabet="01 :\n.-x", max_size=30))
def test_fast_and_careful_parsers_agree(tmp_path_factory, text):
    """Whatever the fast parser accepts, the careful one reads the same way."""
    from pathlib import Path

    from fastvi.corpus.numbers import lines_of
    from fastvi.corpus.pairs import PairSource

    block = text.encode() + b"\n"
    source = PairSource([Path("x")], "x", None, svmlight=False)
    fast = source._fast(block)
    if fast is None:
        return
    careful = source._careful(lines_of(Path("x"), 1, block))
    for left, right in zip(fast, careful):
        np.testing.assert_array_equal(left, right)


def test_numbers_of_a_block():
    numbers = parse_numbers(b"2 1:3\n\n4\n")
    np.testing.assert_array_equal(numbers.values, [2, 1, 3, 4])
    np.testing.assert_array_equal(numbers.after_colon, [False, False, True, False])
    np.testing.assert_array_equal(numbers.line_starts, [0, 3, 3, 4])
