"""Texts: folders, lines, JSON lines, CSV; pruning; what goes wrong."""

import csv
import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from fastvi.corpus import align, read, sniff
from fastvi.corpus.documents import document_limits
from fastvi.corpus.options import Options

TEXTS = ["The cats sat; cats purr.", "", "Dogs bark, über Straße\u2003наука!", "cats and dogs x9y"]
OPEN = {"stop_words": None, "min_df": 1, "max_df": 1.0}


def write_folder(path, texts):
    path.mkdir()
    (path / "sub").mkdir()
    for i, text in enumerate(texts):
        (path / "sub" / f"{i:04d}").write_text(text, encoding="utf-8")
    (path / ".hidden").write_bytes(b"\xff\xff")


def write_lines(path, texts):
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")


def write_jsonl(path, texts):
    lines = [json.dumps({"id": i, "text": text or None}) for i, text in enumerate(texts)]
    path.write_text("\n\n".join(lines), encoding="utf-8")


def write_table(delimiter):
    def write(path, texts):
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow(["id", "text"])
            rows.writerows(enumerate(texts))

    return write


WRITERS = {
    "folder": (write_folder, "texts", "folder"),
    "lines": (write_lines, "texts.txt", "lines"),
    "jsonl": (write_jsonl, "texts.jsonl", "jsonl"),
    "csv": (write_table(","), "texts.csv", "csv"),
    "semicolons": (write_table(";"), "semicolons.csv", "csv"),
    "tsv": (write_table("\t"), "texts.tsv", "tsv"),
}


def vectorized(texts, **options):
    vectorizer = CountVectorizer(token_pattern=r"(?u)\b[^\W\d_]{3,}\b", **options)
    return vectorizer.fit_transform(texts).toarray(), list(vectorizer.get_feature_names_out())


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_equals_count_vectorizer(tmp_path, kind):
    write, name, known_as = WRITERS[kind]
    write(tmp_path / name, TEXTS)
    assert sniff(tmp_path / name) == known_as
    corpus = read(tmp_path / name, **OPEN)
    counts, words = vectorized(TEXTS)
    assert corpus.vocabulary == words
    np.testing.assert_array_equal(corpus.counts.toarray(), counts)
    assert (corpus.n_empty, corpus.n_tokens) == (1, counts.sum())
    assert corpus.counts.dtype == np.float32
    assert corpus.counts.indices.dtype == np.int32
    expected_names = [f"sub/{i:04d}" for i in range(4)] if kind == "folder" else None
    assert corpus.names == expected_names


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "folder"])
def test_gzip(tmp_path, kind):
    write, name, known_as = WRITERS[kind]
    write(tmp_path / name, TEXTS)
    packed = tmp_path / (name + ".gz")
    packed.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert sniff(packed) == known_as
    plain, unpacked = read(tmp_path / name, **OPEN), read(packed, **OPEN)
    np.testing.assert_array_equal(plain.counts.toarray(), unpacked.counts.toarray())


@pytest.mark.filterwarnings("ignore:.*have no words left")
@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from(["aaa", "bbb", "ccc", "ddd", "the", "and"]))),
    min_df=st.sampled_from([1, 2, 0.3]),
    max_df=st.sampled_from([1.0, 0.5, 3]),
    max_features=st.sampled_from([None, 1, 3]),
    stop_words=st.sampled_from(["english", None]),
)
def test_pruning_equals_count_vectorizer(tmp_path_factory, texts, **options):
    path = tmp_path_factory.mktemp("pruning") / "texts.txt"
    texts = [" ".join(words) for words in texts]
    write_lines(path, texts)
    try:
        counts, words = vectorized(texts, **options)
    except ValueError:
        with pytest.raises(ValueError, match=r"empty|no word|looks like"):
            read(path, format="lines", **options)
        return
    corpus = read(path, format="lines", **options)
    if options["max_features"] is None:
        assert corpus.vocabulary == words
        np.testing.assert_array_equal(corpus.counts.toarray(), counts)
    else:  # ties are broken differently
        np.testing.assert_array_equal(
            np.sort(corpus.counts.sum(axis=0)), np.sort(counts.sum(axis=0))
        )


def test_defaults_prune_as_a_topic_model_wants(tmp_path):
    path = tmp_path / "texts.txt"
    write_lines(path, [f"the common topic{'abcde'[i % 5] * 3} rare{i:04d}" for i in range(1000)])
    corpus = read(path)
    assert corpus.vocabulary == ["topic" + letter * 3 for letter in "abcde"]
    for text in ("318 stop words", "1 words in more than 500 documents (max_df)"):
        assert text in corpus.description


@pytest.mark.parametrize(
    ("n_documents", "is_text", "limits"),
    [(3, True, (1, None)), (500, True, (2, 250)), (1000, True, (5, 500)), (1000, False, (1, None))],
)
def test_automatic_limits(n_documents, is_text, limits):
    assert document_limits(Options(), n_documents, is_text) == limits


def test_shares_are_not_rounded_away():
    # 0.07 * 100 is 7.000000000000001
    assert document_limits(Options(min_df=0.07, max_df=0.07), 100, True) == (7, 7)


def test_stop_words_from_a_file_and_as_words(tmp_path):
    write_lines(tmp_path / "texts.txt", TEXTS)
    write_lines(tmp_path / "stops.txt", ["Cats", "dogs"])
    for stop_words in (tmp_path / "stops.txt", ["cats", "dogs"]):
        corpus = read(tmp_path / "texts.txt", min_df=1, max_df=1.0, stop_words=stop_words)
        assert corpus.vocabulary == ["and", "bark", "purr", "sat", "straße", "the", "über", "наука"]


def test_fixed_vocabulary_keeps_order_and_prunes_nothing(tmp_path):
    write_lines(tmp_path / "texts.txt", TEXTS)
    words = ["the", "unseen", "cats"]
    corpus = read(tmp_path / "texts.txt", vocabulary=words)
    assert corpus.vocabulary == words
    np.testing.assert_array_equal(
        corpus.counts.toarray(), [[1, 0, 2], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    )


def test_align_matches_columns_by_word(tmp_path):
    write_lines(tmp_path / "texts.txt", TEXTS)
    corpus = read(tmp_path / "texts.txt", **OPEN)
    words = ["the", "unseen", "cats"]
    np.testing.assert_array_equal(
        align(corpus, words).counts.toarray(),
        read(tmp_path / "texts.txt", vocabulary=words).counts.toarray(),
    )
    with pytest.warns(UserWarning, match="shares no words"):
        assert align(corpus, ["unseen"]).n_tokens == 0


def test_several_files_follow_each_other(tmp_path):
    write_lines(tmp_path / "a.txt", TEXTS[:2])
    write_lines(tmp_path / "b.txt", TEXTS[2:])
    corpus = read([tmp_path / "a.txt", tmp_path / "b.txt"], **OPEN)
    np.testing.assert_array_equal(corpus.counts.toarray(), vectorized(TEXTS)[0])


def test_old_and_windows_line_ends(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"cats\r\ndogs\rbirds\n")
    assert read(tmp_path / "t.txt", **OPEN).n_documents == 3


def test_long_csv_fields_and_restored_limit(tmp_path):
    limit = csv.field_size_limit()
    write_table(",")(tmp_path / "t.csv", ["word " * 100_000])
    assert read(tmp_path / "t.csv", **OPEN).n_tokens == 100_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("prefix", [0, 1 << 20, (1 << 20) - 1])
def test_undecodable_byte_is_located(tmp_path, prefix):
    # The last prefixes put the bad bytes across and behind the first block of the search.
    text = b"x" * prefix + b"caf\xc3\xa9\nna\xefve\n"
    (tmp_path / "t.txt").write_bytes(text)
    message = rf"t\.txt, line 2 \(byte {text.index(0xEF)}\).*encoding='latin-1'"
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t.txt")
    assert read(tmp_path / "t.txt", encoding="latin-1", **OPEN).n_documents == 2


def test_utf16(tmp_path):
    (tmp_path / "t.txt").write_text("cats\ndogs\n", encoding="utf-16")
    assert read(tmp_path / "t.txt", encoding="utf-16", **OPEN).vocabulary == ["cats", "dogs"]
    with pytest.raises(ValueError, match="line 1"):
        read(tmp_path / "t.txt")
    (tmp_path / "u.txt").write_bytes(b"odd")
    with pytest.raises(ValueError, match="not utf-16 text"):
        read(tmp_path / "u.txt", encoding="utf-16")


BAD_FILES = {
    "empty.txt": (b"", {}, "no documents, the file is empty"),
    "nowords.txt": (b"1 2\n3 !\n", {}, "no words.*token_pattern"),
    "stops.txt": (b"the and\nthe\n", {}, "no words.*stop words"),
    "pruned.txt": (b"cats\ndogs\n", {"min_df": 2}, "no words are left.*2 words.*min_df"),
    "cut.txt.gz": (gzip.compress(b"cats " * 9999)[:-9], {}, "cut.txt.gz: damaged or truncated"),
    "bad.jsonl": (b'{"text": "a"}\n{"text": \n', {}, r"bad\.jsonl, line 2: not a JSON object"),
    "list.jsonl": (b"\n[1]\n", {}, "line 2: wanted one JSON object per line, this is a list"),
    "field.jsonl": (b'{"body": "a", "id": 1}\n', {}, "no field 'text'; there are 'body', 'id'"),
    "kind.jsonl": (b'{"text": 3}\n', {}, "line 1: field 'text' is a int; wanted: a string"),
    "deep.jsonl": (b"[" * 10**5, {}, "line 1"),
    "field.csv": (b"a,b\n1,2\n", {"field": "c"}, "no column 'c'; there are 'a', 'b'"),
    "short.csv": (b"id,text\n1,cats\n2\n", {}, "line 3: 1 columns, but the header has 2"),
    "quote.csv": (b'id,text\n1,"cats\n2,dogs\n', {}, "line 3: not well-formed CSV"),
    "empty.csv": (b"", {}, "no header row"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(tmp_path, name):
    content, options, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / name, **options)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_paths(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no such file"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="folder has no files"):
        read(tmp_path / "empty")
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        read(tmp_path / "empty", format="csv")
    with pytest.raises(ValueError, match="paths is empty"):
        read([])
    (tmp_path / "a.csv").write_text("text\ncats\n")
    (tmp_path / "a.txt").write_text("cats\n")
    with pytest.raises(ValueError, match="give files of one kind"):
        read([tmp_path / "a.csv", tmp_path / "a.txt"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "doc"}, "format is 'doc'"),
        ({"min_df": 0}, "min_df is 0"),
        ({"min_df": 1.5}, "min_df is 1.5"),
        ({"max_df": float("nan")}, "max_df is nan"),
        ({"max_df": "half"}, "max_df is 'half'"),
        ({"max_features": 0}, "max_features is 0"),
        ({"token_pattern": "("}, "token_pattern"),
        ({"token_pattern": "(a)(b)"}, "2 groups"),
        ({"encoding": "utf-99"}, "encoding is 'utf-99'"),
        ({"vocabulary": []}, "vocabulary is empty"),
        ({"vocabulary": True}, "vocabulary is True"),
        ({"vocabulary": ["cats", "dogs", "cats"]}, "'cats' more than once"),
        ({"stop_words": "nowhere.txt"}, "no such file"),
    ],
)
def test_bad_options(tmp_path, options, message):
    (tmp_path / "a.txt").write_text("cats\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.txt", **options)
