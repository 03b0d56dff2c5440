"""What is guessed about a file is kept; unreadable files are named; words of all scripts."""

import bz2
import gzip
import json
import lzma
import pickle
import time
import unicodedata
import zipfile

import numpy as np
import pytest

from fastvi.cli import main as cli
from fastvi.corpus import Options, read, read_again, read_sharded, sniff
from fastvi.corpus.words import _MARKS, WORDS, cutter

OPEN = {"stop_words": None, "min_df": 1, "max_df": 1.0}


def file(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- what is guessed is kept ------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 1])
def test_the_numbering_base_is_kept(tmp_path, base):
    fitted = read(file(tmp_path, "a.svm", f"1 {base}:1 {base + 1}:1\n1 {base + 2}:3\n"))
    assert fitted.reading == {"format": "svmlight", "zero_based": base == 0}
    new = file(tmp_path, "b.svm", f"1 {base + 1}:5\n1 {base + 2}:5\n")
    again = read_again(new, fitted.reading)
    np.testing.assert_array_equal(again.counts.toarray(), [[0, 5, 0], [0, 0, 5]])
    if base:
        with pytest.raises(ValueError, match=r"b.svm, line 1: an index is 0; allowed: 1 to"):
            read_again(file(tmp_path, "b.svm", "1 0:1\n"), fitted.reading)


def test_a_format_that_looks_like_another_is_kept(tmp_path):
    fitted = read(file(tmp_path, "a.txt", "0 1:1\n-1 2:1 4:1\n"))
    looks_like_ldac = file(tmp_path, "b.txt", "1 1:1\n2 2:1 4:1\n")
    assert sniff(looks_like_ldac) == "ldac"
    again = read_again(looks_like_ldac, fitted.reading)
    np.testing.assert_array_equal(again.counts.toarray(), fitted.counts.toarray())
    texts = file(tmp_path, "c.jsonl", '{"text": "some words"}\n')
    assert read_again(texts, fitted.reading).vocabulary == ["words"]


def test_how_texts_are_read_is_kept(tmp_path):
    options = {"lowercase": False, "token_pattern": r"\w+", "normal_form": "NFD"}
    path = file(tmp_path, "a.csv", "id;body\n1;Ö a, b\n".encode("latin-1"))
    fitted = read(path, field="body", encoding="latin-1", **options, **OPEN)
    assert fitted.reading == options | {"field": "body", "delimiter": ";", "encoding": "latin-1"}
    with read_sharded(path, random_state=0, **fitted.reading, **OPEN) as shards:
        assert shards.reading == fitted.reading
    comma = file(tmp_path, "b.csv", "id,body\n1,x\n")
    with pytest.raises(ValueError, match=r"b\.csv, line 1: no column 'body'"):
        read_again(comma, fitted.reading, **OPEN)
    assert read_again(comma, fitted.reading, delimiter=",", **OPEN).vocabulary == ["x"]


def test_commands_read_new_documents_as_those_of_the_fit(tmp_path, capsys):
    """A file that by chance has no word 0, in an encoding and with a delimiter of its own."""
    train = file(tmp_path, "a.svm", "1 0:3 1:3 2:3\n1 3:3 4:3 5:3\n" * 20)
    model = tmp_path / "m.npz"
    fit = ["lda", "-k", "2", "--quiet", "--held-out", "0", "-o", str(model)]
    assert cli.main([*fit, str(train)]) == 0
    new = file(tmp_path, "b.svm", "1 2:9\n1 3:9\n")
    capsys.readouterr()
    assert cli.main(["transform", str(model), str(new)]) == 0
    first, second = (line.split(",")[1:] for line in capsys.readouterr().out.split()[1:])
    assert np.argmax(np.array(first, float)) != np.argmax(np.array(second, float))

    table = "id;Text\n" + "".join(f"{i};Stern Mönd mond\n{i};Brot, Käse käse\n" for i in range(9))
    train = file(tmp_path, "a.csv", table.encode("latin-1"))
    options = ["--encoding", "latin-1", "--field", "Text", "--no-lowercase", "--delimiter", ";"]
    options += ["--normal-form", "NFD", "--token-pattern", r"[^\W\d_]\S+"]
    assert cli.main([*fit, str(train), *options]) == 0
    new = file(tmp_path, "b.csv", "id;Text\n1;Mönd\n2;Käse\n3;Mond\n".encode("latin-1"))
    capsys.readouterr()
    assert cli.main(["transform", str(model), str(new)]) == 0
    rows = [line.split(",")[1:] for line in capsys.readouterr().out.split()[1:]]
    theta = np.array(rows, float)
    assert theta[0].argmax() != theta[1].argmax()
    np.testing.assert_allclose(theta[2], 0.5)


def test_columns_of_a_pruned_corpus_are_not_matched_by_number(tmp_path, capsys):
    words = file(tmp_path, "words", "the\nmoon\nstar\nsky\n")
    train = file(tmp_path, "a.svm", "1 1:1 2:2 3:1\n1 1:1 3:2 4:1\n" * 9)
    model = str(tmp_path / "m.npz")
    fit = ["lda", str(train), "-k", "2", "--quiet", "--held-out", "0", "-o", model]
    assert cli.main([*fit, "--vocabulary", str(words), "--max-df", "0.9"]) == 0
    narrow = file(tmp_path, "b.svm", "1 1:1 2:2\n")
    assert cli.main(["transform", model, str(narrow)]) == 2
    assert "give --vocabulary FILE" in capsys.readouterr().err
    assert cli.main(["transform", model, str(train), "--vocabulary", str(words)]) == 0


# --- tables and JSON --------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path, delimiter):
    content = delimiter.join(["id", "text"]) + "\n" + delimiter.join(["1", "a; word | two, x"])
    if delimiter in "a; word | two, x":
        content = content.replace("a; word | two, x", '"a; word | two, x"')
    corpus = read(file(tmp_path, "a.csv", content), **OPEN)
    assert corpus.vocabulary == ["two", "word"]
    assert corpus.reading["delimiter"] == delimiter


def test_arrays_of_json_are_read(tmp_path):
    records = [{"id": 1, "text": "first words"}, {"id": 2, "text": None}, "third\nwords"]
    for content in (json.dumps(records), json.dumps(records, indent=2), "\ufeff" + "[ ]"):
        for name in ("a.json", "a.txt"):
            path = file(tmp_path, name, content)
            assert sniff(path) == "json"
            if "first" in content:
                corpus = read(path, **OPEN)
                assert (corpus.n_documents, corpus.vocabulary) == (3, ["first", "third", "words"])
    assert sniff(file(tmp_path, "b.json", '{"text": "x"}\n{"text": "y"}\n')) == "jsonl"


BAD_TABLES = {
    "long.csv": ("id,text\n1,cats, dogs\n", "line 2: 3 columns, but the header has 2"),
    "one.csv": ("text\ncats, dogs\n", "line 2: 2 columns, but the header has 1"),
    "late.csv": ("id,text\n1,a\n\n2,b,c\n", "line 4: 3 columns, but the header has 2"),
    "long.tsv": ("id\ttext\n1\tcats\tdogs\n", "line 2: 3 columns"),
    "twice.csv": ("text,text\ncats,dogs\n", "line 1: more than one column 'text'"),
    "open.json": ('[{"text": "a"},\n{"text": "b"}\n', "line 3: not one well-formed JSON array"),
    "comma.json": ('[{"text": "a"}\n{"text": "b"}]', "line 2: not one well-formed JSON array"),
    "last.json": ('["a",\n]', "line 2: not well-formed JSON"),
    "more.json": ('["a"]\n["b"]', "line 1: not one well-formed JSON array"),
    "kind.json": ('["a",\n\n3]', "line 3: a int in the array"),
    "field.json": ('[{"a": "b"}]', "line 1: no field 'text'"),
    "deep.json": ("[" * 10**5, "line 1"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(tmp_path, name):
    content, message = BAD_TABLES[name]
    with pytest.raises(ValueError, match=message) as error:
        read(file(tmp_path, name, content), **OPEN)
    assert name in str(error.value)


def test_empty_fields_behind_a_row_are_no_loss(tmp_path):
    assert read(file(tmp_path, "a.csv", "id,text\n1,cats,,\n"), **OPEN).vocabulary == ["cats"]


# --- files of other kinds ---------------------------------------------------------------------


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bz2", "lzma"]
)
def test_compressed_files_are_read(tmp_path, pack):
    suffix = {"gzip": ".gz", "_bz2": ".bz2", "lzma": ".xz", "bz2": ".bz2"}[pack.__module__]
    packed = pack(b"id,text\n1,cats\n" * 1)
    assert read(file(tmp_path, f"a.csv{suffix}", packed), **OPEN).vocabulary == ["cats"]
    counts = read(file(tmp_path, f"docword.a.txt{suffix}", pack(b"1\n2\n1\n1 2 3\n"))).counts
    np.testing.assert_array_equal(counts.toarray(), [[0, 3]])
    for damaged in (packed[:-4], packed[:20] + b"\xff\xff" + packed[22:]):
        with pytest.raises(ValueError, match=r"b\.csv.*damaged or truncated"):
            read(file(tmp_path, f"b.csv{suffix}", damaged))


def test_zip_files_are_read(tmp_path):
    for name in ("a.zip", "a.csv.zip"):
        path = zipped(tmp_path / name, {"sub/a.csv": "id,text\n1,cats\n"})
        assert (sniff(path), read(path, **OPEN).vocabulary) == ("csv", ["cats"])
    with pytest.raises(ValueError, match="a zip archive of 2 files; unpack it first"):
        read(zipped(tmp_path / "b.zip", {"a": "x", "b": "y"}))
    with pytest.raises(ValueError, match="an Office document"):
        read(zipped(tmp_path / "b.docx", {"[Content_Types].xml": "x"}))
    with pytest.raises(ValueError, match=r"c\.zip: damaged"):
        read(file(tmp_path, "c.zip", path.read_bytes()[:40]))


OTHER_KINDS = {
    "PDF": b"%PDF-1.7\n",
    "Parquet": b"PAR1\x15\x04",
    "pickle": pickle.dumps(["cats"]),
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "SQLite": b"SQLite format 3\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "tar": b"a".ljust(257, b"\0") + b"ustar",
    "picture": b"\x89PNG\r\n",
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_kinds_of_files_are_named(tmp_path, kind):
    path = file(tmp_path, "a.txt", OTHER_KINDS[kind] + bytes(20))
    for options in ({}, {"format": "lines"}, {"format": "docword"}):
        with pytest.raises(ValueError, match=rf"a\.txt: .*{kind}"):
            read(path, **options)


def test_unreadable_files_of_a_folder_are_named_and_left_out(tmp_path):
    (tmp_path / "texts").mkdir()
    file(tmp_path / "texts", "a", "cats")
    file(tmp_path / "texts", "b", b"\xff\xfe\xfd")
    file(tmp_path / "texts", "c", b"%PDF-1")
    with pytest.warns(UserWarning, match=r"2 of 3 files cannot be read.*b, line 1.*c: a PDF file"):
        corpus = read(tmp_path / "texts", **OPEN)
    assert corpus.names == ["a"]
    assert "removed 2 unreadable files" in corpus.description
    (tmp_path / "texts" / "a").unlink()
    with pytest.raises(ValueError, match="none of its 2 files can be read"):
        read(tmp_path / "texts")


# --- words ------------------------------------------------------------------------------------

SCRIPTS = {
    "Hindi": ("किताब पढ़ना अच्छा लगता है विद्यालय", "किताब पढ़ना अच्छा लगता है विद्यालय"),
    "accents apart": ("re\u0301sume\u0301 ab abc1 1abc a_b", "résumé"),
    "no letter has it": ("x\u0302yz\u0331", "x\u0302yz\u0331"),
    "Chinese": ("我 喜欢, T恤", "我 喜欢 T恤"),
    "Korean": ("한국 어", "한국 어"),
    "Thai": ("น้ำ ดี", "น้ำ ดี"),
    "Hebrew": ("שָׁלוֹם דג ו", "שָׁלוֹם דג"),
    "Arabic": ("دم و كتاب", "دم كتاب"),
    "Persian": ("می\u200cخواهم", "می\u200cخواهم"),
    "Greek": ("λόγος το", "λόγος"),
    "emoji": ("❤\ufe0flove", "love"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_words_of_scripts(tmp_path, name):
    text, words = SCRIPTS[name]
    for form in ("NFC", "NFD"):
        path = file(tmp_path, "a.txt", unicodedata.normalize(form, text))
        found = read(path, normal_form="NFC", **OPEN).vocabulary
        assert found == sorted(unicodedata.normalize("NFC", words).lower().split())


def test_vocabulary_and_stop_words_are_put_in_the_normal_form(tmp_path):
    path = file(tmp_path, "a.txt", "cafe\u0301 thé")
    assert read(path, vocabulary=["caf\u00e9", "the\u0301"]).n_tokens == 2
    assert read(path, stop_words=["the\u0301"], min_df=1, max_df=1.0).vocabulary == ["café"]


def test_marks_are_all_combining_marks_and_no_sign():
    class_of_marks = [tuple(int(end, 16) for end in pair.split("-")) for pair in _MARKS.split()]
    inside = {c for a, b in class_of_marks for c in range(a, b + 1)}
    kinds = {c: unicodedata.category(chr(c)) for c in range(0x110000)}
    left_out = {c for c in range(0x110000) if kinds[c][0] == "M"} - inside
    # Enclosing marks, variation selectors, and what came with a later Unicode.
    assert all(kinds[c] == "Me" or 0xFE00 <= c <= 0xFE0F or c > 0x3000 for c in left_out)
    assert all(kinds[c][0] in "ML" or kinds[c] in ("Cn", "Cf") for c in inside)


def test_words_are_found_in_linear_time():
    cut = cutter(WORDS, True, None)
    begin = time.perf_counter()
    for text in ("a\u0301", "a\u0301\u0302", "क", "a", "\u0301", "कa1", "ab\u0301"):
        cut(text * 50_000 + "1")
    assert time.perf_counter() - begin < 10


def test_texts_without_words_are_warned_of(tmp_path):
    path = file(tmp_path, "a.txt", "123\n456\nwords\n")
    with pytest.warns(UserWarning, match="2 of 3 documents have no words left; do token_pattern"):
        read(path, **OPEN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "delimiter is 'ab'"),
        ({"delimiter": '"'}, "delimiter is"),
        ({"normal_form": "NFX"}, "normal_form is 'NFX'"),
        ({"lowercase": "yes"}, "lowercase is 'yes'"),
        ({"zero_based": 1}, "zero_based is 1"),
        ({"field": 3}, "field is 3"),
        ({"encoding": 3}, "encoding is 3"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)
