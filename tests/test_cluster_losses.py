"""Workers and schedulers that are lost, come late or cannot read: real processes."""

from __future__ import annotations

import os
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
pytestmark = pytest.mark.slow  # processes that import Numba
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
            n_workers=n_workers, threads_per_worker=1, dashboard_address=None
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


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
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
