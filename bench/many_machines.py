"""Fits over shards: overhead of a pass on a cluster of two processes, and a simulation of many.

python bench/many_machines.py             # a few minutes; needs Dask and FASTVI_TEST_DATA
python bench/many_machines.py simulate    # with the costs of tasks and messages measured here
"""

from __future__ import annotations

import heapq
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

import fastvi

FAN = 8


def corpus(name: str) -> Any:
    with np.load(Path(os.environ["FASTVI_TEST_DATA"]) / "text" / f"{name}.npz") as file:
        parts = file["data"].astype(np.float32), file["indices"], file["indptr"]
        return csr_array(parts, shape=tuple(file["shape"]))


def topics(solver: str, k: int, passes: int, name: str = "imdb20k") -> Callable[[], Any]:
    X = corpus(name)

    def fit(callback: Any) -> Any:
        lda = fastvi.LatentDirichletAllocation(
            k, solver=solver, max_iter=passes, n_jobs=2, random_state=0
        )
        return lda.fit(X, callback=callback)

    return fit


def mixture(n: int, d: int, k: int, passes: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) + 3 * rng.normal(size=(k, d))[rng.integers(0, k, n)]

    def fit(callback: Any) -> Any:
        return fastvi.BayesianGaussianMixture(
            n_components=k, max_iter=passes, tol=0.0, init_params="random", n_jobs=2,
            random_state=0,
        ).fit(X, callback=callback)  # fmt: skip

    return fit


class Pass(NamedTuple):
    """Seconds of a pass, and CPU seconds of all processes."""

    seconds: float
    cpu: float


def per_pass(fit: Callable[..., Any], client: Any = None, n_shards: int = 0) -> Pass:
    """Medians of the passes of a fit but the first."""
    times, cpus = [], []

    def look(state: Any) -> None:
        if state.step == 0:  # after a pass
            cpu = time.process_time()
            if client is not None:
                cpu += sum(client.run(time.process_time).values())
            times.append(state.seconds)
            cpus.append(cpu)

    where = fastvi.distributed(client, n_shards=n_shards) if n_shards else nullcontext()
    with where:
        fit(look)
    return Pass(float(np.median(np.diff(times))), float(np.median(np.diff(cpus))))


def overhead(
    fit: Callable[..., Any], client: Any, n_shards: int, repeats: int = 2
) -> dict[str, Pass]:
    """A pass in one process of two threads, without and with shards, and on two workers.

    In turns, since the machine may have other work; the least of each.
    """
    found: dict[str, list[Pass]] = {"alone": [], "shards": [], "cluster": []}
    for _ in range(repeats):
        found["alone"].append(per_pass(fit))
        found["shards"].append(per_pass(fit, None, n_shards))
        if client is not None:
            found["cluster"].append(per_pass(fit, client, n_shards))
    return {name: Pass(*map(min, zip(*some))) for name, some in found.items() if some}


def _nothing(*_: Any) -> None:
    return None


def costs(client: Any, n_tasks: int = 400, n_bytes: int = 1 << 26) -> dict[str, float]:
    """Seconds of the scheduler per task, of a round of one task, and per byte between workers."""
    from dask.distributed import wait

    cpu = time.process_time()  # of client and scheduler, which are this process
    client.gather(client.map(_nothing, range(n_tasks), pure=False))
    per_task = (time.process_time() - cpu) / n_tasks
    one, two = list(client.scheduler_info()["workers"])[:2]
    rounds, sent = [], []
    for i in range(10):
        began = time.perf_counter()
        client.submit(_nothing, i, workers=[two], pure=False).result()
        rounds.append(time.perf_counter() - began)
        data = client.submit(np.ones, n_bytes // 8, workers=[one], pure=False)
        wait([data])
        began = time.perf_counter()
        client.submit(_nothing, data, workers=[two], pure=False).result()
        sent.append(time.perf_counter() - began)
    per_byte = max(min(sent) - min(rounds), 0.0) / n_bytes
    return {"task": per_task, "round": min(rounds), "byte": per_byte}


def simulated(
    n_workers: int, n_shards: int, work: float, params: float, found: float, cost: dict[str, float]
) -> float:
    """Seconds of a pass: `work` seconds of shards, and bytes of parameters and of statistics.

    Events in order: the scheduler sends tasks one after another; workers get the parameters from
    each other, so that their number doubles each time; each works on its shards and adds them up;
    sums of `FAN` go up the tree, each fetched from the worker that has it.
    """
    levels = int(np.ceil(np.log2(n_workers + 1)))
    arrive = cost["round"] + levels * params * cost["byte"]
    free = [(0.0, i) for i in range(n_workers)]
    heapq.heapify(free)
    ends = []
    for shard in range(n_shards):
        ready, worker = heapq.heappop(free)
        begin = max(ready, arrive, (shard + 1) * cost["task"])
        end = begin + work / n_shards
        ends.append(end)
        heapq.heappush(free, (end, worker))
    scheduler = (n_shards + 1) * cost["task"]
    while len(ends) > 1:
        groups = [ends[i : i + FAN] for i in range(0, len(ends), FAN)]
        ends = []
        for group in groups:
            scheduler = max(scheduler, max(group)) + cost["task"]
            ends.append(scheduler + cost["round"] + len(group) * found * cost["byte"])
    return ends[0] + found * cost["byte"]


def simulate(client: Any) -> None:
    """Print passes of topics over 1e9 entries by 16 to 1024 workers, and their efficiency."""
    cost = costs(client)
    print({name: f"{value:.2e}" for name, value in cost.items()})
    seconds = overhead(topics("vb", 100, 3), None, 16, repeats=1)["shards"].seconds
    n_entries = corpus("imdb20k").nnz
    per_entry = 2 * seconds / n_entries  # of one thread
    for n_entries, n_words in ((1e9, 1e5), (1e10, 1e6)):
        for n_workers in (1, 16, 64, 256, 1024):
            work, table = per_entry * n_entries, n_words * 100 * 4.0
            passes = [
                simulated(n_workers, each * n_workers, work, table, table, cost) for each in (4, 1)
            ]
            parts = " | ".join(f"{s:.1f} ({work / n_workers / s:.0%})" for s in passes)
            print(f"| {n_entries:.0e} | {n_words:.0e} | {n_workers} | {parts} |")


def main() -> None:
    """Print a table."""
    import dask
    from dask.distributed import Client, LocalCluster

    with (
        # nannies would set MALLOC_TRIM_THRESHOLD_, with which every large array is fresh memory
        dask.config.set({"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1}}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        if sys.argv[1:] == ["simulate"]:
            simulate(client)
            return
        fits = {
            "topics, `vb`, K=100, imdb20k": topics("vb", 100, 5),
            "topics, `cvb0`, K=100, imdb20k": topics("cvb0", 100, 6),
            "mixture, 200,000 x 20, K=20": mixture(200_000, 20, 20, 8),
        }
        for name, fit in fits.items():
            for n_shards in (4, 16):
                found = overhead(fit, client, n_shards)
                parts = " | ".join(f"{one.seconds:.3f} ({one.cpu:.3f})" for one in found.values())
                ratios = (b / a for a, b in zip(found["alone"], found["cluster"]))
                both = " | ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"| {name} | {n_shards} | {parts} | {both} |", flush=True)


if __name__ == "__main__":
    main()
