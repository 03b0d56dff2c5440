"""Workers and schedulers that are lost, come late or cannot read: real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi

distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
pytestmark = [
    pytest.mark.slow,  # processes that import Numba
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
N_SHARDS = 6


def counts() -> Any:
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.2, 1.0, (3000, 500)))


def topics(solver: str, **watching: Any) -> Any:
    lda = fastvi.LatentDirichletAllocation(8, solver=solver, max_iter=6, random_state=0)
    return lda.fit(counts(), **watching).components_


@contextmanager
def cluster(n_workers: int) -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What one process finds with the same shards."""
    with fastvi.distributed(n_shards=N_SHARDS):
        return {solver: topics(solver) for solver in ("vb", "cvb0")}


def after_step(number: int, act: Callable[[], object], delay: float = 0.0) -> Callable[[Any], None]:
    """A callback that acts once, in the middle of the pass that follows a step."""

    def callback(state: Any) -> None:
        if state.n_steps == number and state.step:
            threading.Timer(delay, act).start()

    return callback


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_bits_do_not_depend_on_workers(n_workers: int, alone: dict[str, Any]) -> None:
    """Nor on one that is killed in the middle of a pass."""
    with cluster(n_workers) as client, fastvi.distributed(client, n_shards=N_SHARDS):
        for solver, wanted in alone.items():
            np.testing.assert_array_equal(topics(solver), wanted)
            pid = next(iter(client.run(os.getpid).values()))
            kill = after_step(2, lambda pid=pid: os.kill(pid, signal.SIGKILL), 0.02)  # type: ignore[misc]
            np.testing.assert_array_equal(topics(solver, callback=kill), wanted)
            assert pid not in client.run(os.getpid).values()


def test_a_late_worker_is_used(alone: dict[str, Any]) -> None:
    with cluster(1) as client, fastvi.distributed(client, n_shards=N_SHARDS):
        first = set(client.scheduler_info()["workers"])

        def join(state: Any) -> None:
            if state.n_steps == 1:
                client.cluster.scale(2)
                client.wait_for_workers(2)

        found = topics("vb", callback=join)
        np.testing.assert_array_equal(found, alone["vb"])
        busy = client.run(lambda dask_worker: len(dask_worker.state.log))
        (late,) = set(busy) - first
        assert busy[late] > 0


def start(name: str, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, "-m", f"distributed.cli.{name}", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_lost_scheduler_is_an_error_and_the_fit_goes_on(
    tmp_path: Path, alone: dict[str, Any]
) -> None:
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file)]
    scheduler = start("dask_scheduler", *options, "--port", "0", "--no-dashboard")
    worker = start("dask_worker", *options, "--nthreads", "1", "--no-dashboard")
    path = tmp_path / "fit"
    try:
        while not file.exists():
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file), timeout="60s") as client:
            client.wait_for_workers(1)
            lose = after_step(3, scheduler.kill)
            with (
                pytest.raises(ConnectionError, match="the scheduler of the cluster is lost"),
                fastvi.distributed(client, n_shards=N_SHARDS),
            ):
                topics("vb", callback=lose, checkpoint=path, checkpoint_interval=0)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    with fastvi.distributed(n_shards=N_SHARDS):
        found = topics("vb", checkpoint=path, resume=True)
    np.testing.assert_array_equal(found, alone["vb"])


# Several hosts, and memory


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def hosts(n: int) -> Iterator[list[str]]:
    """Network namespaces with addresses of their own, 10.77.0.2 and so on, behind 10.77.0.1."""
    names = [f"fastvi{i}" for i in range(n)]
    try:
        ip("link", "add", "fastvi", "type", "bridge")
        ip("addr", "add", "10.77.0.1/24", "dev", "fastvi")
        ip("link", "set", "fastvi", "up")
        for i, name in enumerate(names):
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", "fastvi", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{i + 2}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for command in [("link", "del", "fastvi"), *(("netns", "del", name) for name in names)]:
            subprocess.run(["ip", *command], capture_output=True, check=False)


def test_several_hosts(alone: dict[str, Any], tmp_path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and the command ip, to make network namespaces")
    file = tmp_path / "scheduler.json"
    processes = []
    try:
        with hosts(2) as names:
            processes.append(
                start("dask_scheduler", "--host", "10.77.0.1", "--port", "0", "--no-dashboard",
                      "--scheduler-file", str(file))
            )  # fmt: skip
            for name in names:
                processes.append(
                    start("dask_worker", "--scheduler-file", str(file), "--nthreads", "1",
                          "--no-dashboard", before=("ip", "netns", "exec", name))
                )  # fmt: skip
            while not file.exists():
                time.sleep(0.1)
            with distributed.Client(scheduler_file=str(file), timeout="60s") as client:
                client.wait_for_workers(2, timeout=120)
                addresses = {
                    address.split("/")[2] for address in client.scheduler_info()["workers"]
                }
                assert {a.split(":")[0] for a in addresses} == {"10.77.0.2", "10.77.0.3"}
                with fastvi.distributed(client, n_shards=N_SHARDS):
                    np.testing.assert_array_equal(topics("vb"), alone["vb"])
            for process in processes:
                process.terminate()
                process.wait()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode()}")
    finally:
        for process in processes:
            process.kill()


def resident() -> int:
    """Bytes of memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_bounded(tmp_path: Path) -> None:
    """A worker holds its shards, the process that fits only a sample."""
    rng, n_shards, size = np.random.default_rng(0), 16, 1 << 24
    paths = [tmp_path / f"{i}.npy" for i in range(n_shards)]
    for path in paths:
        np.save(path, rng.normal(size=(size // 8 // 16, 16)))
    model = fastvi.BayesianGaussianMixture(n_components=2, max_iter=2, tol=0.0, random_state=0)
    with cluster(2) as client:
        client.run(_warm)
        here, there = resident(), client.run(resident)
        used = []
        with fastvi.distributed(client):
            model.fit(paths, callback=lambda state: used.append((resident(), client.run(resident))))
    whole = n_shards * size
    for driver, workers in used:
        assert driver - here < whole / 4
        for address, bytes_used in workers.items():
            assert bytes_used - there[address] < 0.75 * whole


def _warm() -> None:
    """Import what a worker needs."""
    with fastvi.distributed():
        fastvi.BayesianGaussianMixture(n_components=2, random_state=0, max_iter=1, tol=0.0).fit(
            np.random.default_rng(0).normal(size=(500, 16))
        )
