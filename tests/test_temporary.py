"""What is in the making: removed on the way out, and by the next start after a kill; caches."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastvi.base import archive, caches, temporary
from fastvi.corpus import read_sharded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks and signals of POSIX")

KILLED = """
import os, pathlib, sys, time
from fastvi.base import temporary
writing = temporary.new_file(pathlib.Path(sys.argv[1]))
file, path = writing.__enter__()
folder = temporary.Folder(sys.argv[2], "fastvi-shards-")
print("ready", flush=True)
time.sleep(60)
"""


def test_the_next_start_removes_what_a_killed_process_left(tmp_path):
    """And nothing of a process that is alive."""
    target = tmp_path / "model.npz"
    arguments = [sys.executable, "-c", KILLED, str(target), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    left = set(os.listdir(tmp_path))
    assert len(left) == 2
    archive.remove_leftovers(target)
    temporary.remove_dead_folders(tmp_path, "fastvi-shards-")
    assert set(os.listdir(tmp_path)) == left
    process.kill()
    process.wait()
    process.stdout.close()
    assert set(os.listdir(tmp_path)) == left
    archive.remove_leftovers(target)
    (tmp_path / "a.txt").write_text("cats\ndogs\n")
    read_sharded(tmp_path / "a.txt", tmp_path, random_state=0).close()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folders_of_this_process_stay(tmp_path):
    first, second = (temporary.Folder(tmp_path, "work-") for _ in range(2))
    assert len(os.listdir(tmp_path)) == 2
    first.close()
    del second
    assert os.listdir(tmp_path) == []


def test_links_are_neither_followed_nor_foreseen(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    tokens = iter(["aaaaaaaa", "bbbbbbbb", "cccccccc"])
    monkeypatch.setattr("secrets.token_hex", lambda n: next(tokens))
    (tmp_path / f"out.csv.{os.getpid()}-aaaaaaaa.tmp").symlink_to(victim)
    with archive.replacing(tmp_path / "out.csv") as name:
        assert "bbbbbbbb" in name
        Path(name).write_text("table")
    assert (tmp_path / "out.csv").read_text() == "table"
    assert victim.read_text() == "mine"


def test_what_is_replaced_stays_where_writing_fails(tmp_path):
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(RuntimeError), archive.replacing(tmp_path / "out.csv"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


def test_an_interrupt_while_a_file_is_made_leaves_none(tmp_path, monkeypatch):
    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(temporary, "_is_locked_for_us", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archive.save(tmp_path / "m.npz", "model", {}, {})
    with pytest.raises(KeyboardInterrupt), archive.replacing(tmp_path / "out.csv"):
        pass
    with pytest.raises(KeyboardInterrupt):
        temporary.Folder(tmp_path, "work-")
    assert os.listdir(tmp_path) == []


def _signals_by_default():
    """Whatever started the tests, such as nohup, may have them ignored."""
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.slow)])
def test_signals_leave_nothing(tmp_path, name):
    """In a streamed fit, with a checkpoint; half a second after the shards are there."""
    (tmp_path / "corpus.ldac").write_text("3 0:1 1:2 3:1\n3 0:1 2:1 3:1\n" * 2000)
    (tmp_path / "tmp").mkdir()
    command = "lda corpus.ldac --stream --passes 1000000 -k 4 --quiet --solver svi -o m.npz"
    command += " --checkpoint c.npz --checkpoint-interval 0.01"
    process = subprocess.Popen(
        [sys.executable, "-m", "fastvi", *command.split()],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE, text=True, preexec_fn=_signals_by_default,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "c.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))
    _, text = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert text.splitlines()[-1] == f"fastvi: ended by {name}; no file is half-written"
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "corpus.ldac", "tmp"]
    assert os.listdir(tmp_path / "tmp") == []


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path / "home"


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def test_caches_are_private(home):
    folder = caches.cache_folder("c")
    assert folder == home / "fastvi" / "c"
    assert mode(folder) == mode(folder.parent) == 0o700
    folder.chmod(0o777)
    assert mode(caches.cache_folder("c")) == 0o700


def test_caches_of_others_are_not_used(home, tmp_path):
    home.mkdir()
    (tmp_path / "evil").mkdir()
    (home / "fastvi").symlink_to(tmp_path / "evil")
    folder = caches.cache_folder("c")
    assert folder == tmp_path / "tmp" / f"fastvi-of-{os.getuid()}" / "c"
    (folder / "x").touch()
    (tmp_path / "tmp" / f"fastvi-of-{os.getuid()}").rename(tmp_path / "tmp" / "moved")
    (tmp_path / "tmp" / f"fastvi-of-{os.getuid()}").symlink_to(tmp_path / "evil")
    new = caches.cache_folder("c")
    assert new.parent.name.startswith("fastvi-cache-")
    assert mode(new) == 0o700
    assert not list((tmp_path / "evil").iterdir())


def test_a_cache_that_cannot_be_written(home, tmp_path):
    home.write_text("a file")
    assert caches.cache_folder("c").is_relative_to(tmp_path / "tmp")
