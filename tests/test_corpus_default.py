"""The default corpus: docstrings of the standard library, and its cache."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastvi.base.caches import user_folder
from fastvi.cli.main import main
from fastvi.corpus import standard_library
from fastvi.corpus.options import Options
from fastvi.corpus.stdlib import cache_file, count, docstrings, load
from fastvi.models.topics.fitted import TopicModel

SOURCE = '''"""Module words."""
def function():
    """Function words."""
    class Inner:
        """Inner words."""
class Outer:
    async def method(self):
        """Method words."""
if True:
    def guarded():
        """Guarded words."""
try:
    pass
except ImportError:
    def fallback():
        """Fallback words."""
def silent():
    pass
'''


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library in place of the real one, with an empty cache."""
    root = tmp_path / "lib"
    for folder in ("pkg", "pkg/test", "site-packages", "lib-dynload"):
        (root / folder).mkdir(parents=True)
        (root / folder / "module.py").write_text(SOURCE)
    (root / "pkg" / "__init__.py").write_text('"""Package words."""')
    (root / "broken.py").write_text("def (:")
    (root / "bytes.py").write_bytes(b'"""\xff"""')
    (root / "null.py").write_bytes(b"\x00")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    return root


def same(left, right):
    assert left[1:] == right[1:]
    np.testing.assert_array_equal(left.counts.toarray(), right.counts.toarray())
    assert left.counts.dtype == right.counts.dtype
    return True


def test_names_and_skipped_folders(library):
    assert [name for name, _ in docstrings(library)] == [
        "pkg",
        "pkg.module",
        "pkg.module.function",
        "pkg.module.function.Inner",
        "pkg.module.Outer.method",
        "pkg.module.guarded",
        "pkg.module.fallback",
    ]
    assert dict(docstrings(library))["pkg.module.Outer.method"] == "Method words."


def test_cache_gives_the_same_and_is_rebuilt(library):
    first = standard_library()
    path = cache_file(library)
    assert path is not None
    assert path.is_file()
    assert os.listdir(path.parent) == [path.name]
    content = path.read_bytes()
    assert same(standard_library(), first)
    for damaged in (b"", content[:-40], b"PK\x03\x04"):
        path.write_bytes(damaged)
        assert same(standard_library(), first)
        assert path.read_bytes() == content


def test_a_changed_byte_never_changes_the_corpus(library):
    first = standard_library()
    path = cache_file(library)
    content = path.read_bytes()
    for position in range(0, len(content), 31):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        corpus = load(path)
        assert corpus is None or same(corpus, first)


def test_options_pass_by_the_cache(library):
    corpus = standard_library(stop_words=["words"])
    assert "words" not in corpus.vocabulary
    assert not user_folder().exists()


def test_cache_folder_that_cannot_be_written(library, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert standard_library().n_documents == 7
    assert str(cache_file(library)).startswith(str(tmp_path / "elsewhere"))


def test_a_failed_write_leaves_no_file(library, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    assert standard_library().n_documents == 7
    assert not os.listdir(user_folder() / "corpus")


def test_no_sources(library, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="no documents"):
        count(tmp_path / "nothing", Options())


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Environment variables of where the cache of the real library lies, once it was read."""
    folder = str(tmp_path_factory.mktemp("cache"))
    return dict.fromkeys(("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"), folder)


def test_the_real_library_without_scikit_learn(places):
    """The second call comes from the cache and imports no scikit-learn."""
    code = (
        "import sys\nfrom fastvi.corpus import standard_library\n"
        "c = standard_library()\n"
        "assert c.counts.has_canonical_format and len(c.names) == c.n_documents\n"
        "assert 'json.decoder.JSONDecoder.decode' in c.names\n"
        "assert not any('.test.' in name for name in c.names)\n"
        "print(c.n_documents, c.n_words, c.n_tokens, 'sklearn' in sys.modules)"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | places, capture_output=True, text=True, check=True,
        ).stdout.split()
        for _ in range(2)
    )  # fmt: skip
    assert first[:3] == second[:3]
    assert (first[3], second[3]) == ("True", "False")
    assert int(first[0]) > 2000
    assert int(first[1]) > 1000


@pytest.mark.jit
@pytest.mark.thorough
def test_the_main_job(places, tmp_path, capsys, monkeypatch):
    """`fastvi lda` of nothing: topics of the real library."""
    for name, folder in places.items():
        monkeypatch.setenv(name, folder)
    monkeypatch.chdir(tmp_path)
    first = answer(capsys, "lda", "--json")
    assert first["held_out_perplexity"] < 0.5 * first["n_words"]
    model = TopicModel.load("lda.model.npz")
    assert model.n_topics == 20
    assert model.info["n_documents"] > 2000
    assert len(answer(capsys, "topics", "lda.model.npz", "--json")["topics"]) == 20
    options = ["--max-features", "100", "-k", "3", "--passes", "2", "--quiet", "--json"]
    assert answer(capsys, "lda", *options)["n_words"] == 100


def answer(capsys, *arguments):
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)
