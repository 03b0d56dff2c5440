"""The thread pool: same results for any number of threads, and no way to hang or to crash it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import types
import warnings

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from fastvi.base import parallel
from fastvi.base.parallel import resolve_n_jobs, run, single_threaded_blas, split

TIMEOUT = 60


def start(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    watchdog = threading.Timer(TIMEOUT, process.kill)
    watchdog.start()
    with process, process.stdout as stdout, process.stderr as stderr:
        out, err = stdout.read(), stderr.read()
    watchdog.cancel()
    return process.returncode, out, err


@pytest.mark.parametrize("n_threads", [1, 2, 8])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 7, 200])
def test_every_task_runs_once(n_tasks: int, n_threads: int) -> None:
    calls = np.zeros(n_tasks, np.int64)

    def task(i: int) -> None:
        calls[i] += 1

    run(task, n_tasks, n_threads)
    np.testing.assert_array_equal(calls, 1)


def test_same_bits_for_any_number_of_threads(rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((500, 40))
    bounds = split(np.arange(501, dtype=np.int64) * 40, 1000)

    def total(n_threads: int) -> np.ndarray:
        partial = np.empty((len(bounds) - 1, 40))

        def task(c: int) -> None:
            np.exp(matrix[bounds[c] : bounds[c + 1]]).sum(axis=0, out=partial[c])

        run(task, len(partial), n_threads)
        return partial.sum(axis=0)

    one = total(1)
    assert np.array_equal(one, total(2))
    assert np.array_equal(one, total(8))


def test_uses_the_threads_it_was_given() -> None:
    meeting = threading.Barrier(3, timeout=TIMEOUT)
    run(lambda i: meeting.wait(), 3, 3)  # three tasks that wait for each other


def test_pool_grows_and_threads_are_kept() -> None:
    run(lambda i: None, 4, 2)
    small = parallel._pool.n_threads
    run(lambda i: None, small + 3, small + 3)
    assert parallel._pool.n_threads == small + 2  # the caller is one
    before = threading.active_count()
    for _ in range(50):
        run(lambda i: None, 4, 2)
    assert threading.active_count() == before


def test_one_thread_is_the_caller() -> None:
    seen: list[threading.Thread] = []
    run(lambda i: seen.append(threading.current_thread()), 5, 1)
    assert seen == [threading.current_thread()] * 5


@pytest.mark.parametrize("n_threads", [1, 4])
def test_first_error_is_raised_and_the_rest_is_dropped(n_threads: int) -> None:
    done: list[int] = []

    def task(i: int) -> None:
        if i == 3:
            raise IndexError("task 3")
        time.sleep(0.001)
        done.append(i)

    with pytest.raises(IndexError, match="task 3"):
        run(task, 10_000, n_threads)
    n_done = len(done)
    assert n_done < 10_000
    time.sleep(0.02)
    assert len(done) == n_done
    calls: list[int] = []
    run(calls.append, 20, n_threads)  # the pool works on
    assert sorted(calls) == list(range(20))


def test_error_on_a_pool_thread_names_the_line() -> None:
    caller = threading.current_thread()
    meeting = threading.Barrier(2, timeout=TIMEOUT)

    def task(i: int) -> None:
        meeting.wait()
        if threading.current_thread() is not caller:
            raise ZeroDivisionError("on a pool thread")

    with pytest.raises(ZeroDivisionError) as caught:
        run(task, 2, 2)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "task"


def test_call_from_inside_a_task_runs_in_line() -> None:
    calls = np.zeros((6, 5), np.int64)
    strays: list[int] = []

    def outer(i: int) -> None:
        here = threading.current_thread()

        def inner(j: int) -> None:
            calls[i, j] += 1
            if threading.current_thread() is not here:
                strays.append(j)

        run(inner, 5, 4)

    for _ in range(20):
        run(outer, 6, 3)
    np.testing.assert_array_equal(calls, 20)
    assert strays == []


def test_callers_on_several_threads() -> None:
    results = np.zeros((4, 300, 8), np.int64)

    def caller(k: int) -> None:
        for repeat in range(300):
            row = results[k, repeat]

            def task(i: int, row: np.ndarray = row) -> None:
                row[i] += i + 1

            run(task, 8, 3)

    threads = [threading.Thread(target=caller, args=(k,), daemon=True) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    np.testing.assert_array_equal(results, np.broadcast_to(np.arange(1, 9), results.shape))


def test_arrays_of_a_task_are_let_go() -> None:
    import gc
    import weakref

    array = np.zeros(10)
    gone = weakref.ref(array)

    def task(i: int, array: np.ndarray = array) -> None:
        array[i] = 1.0
        if i == 9:
            raise ValueError("last task")

    gc.disable()  # no help from the cycle collector
    try:
        with pytest.raises(ValueError, match="last task"):
            run(task, 10, 3)
        del array, task
        deadline = time.monotonic() + TIMEOUT
        while gone() is not None and time.monotonic() < deadline:
            run(lambda i: time.sleep(0.001), 6, 3)  # stale entries leave the queue
    finally:
        gc.enable()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_has_its_own_pool() -> None:
    run(lambda i: None, 4, 4)
    with warnings.catch_warnings():
        # Python 3.12 and later warn of every fork while threads live; that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(TIMEOUT)
            meeting = threading.Barrier(4, timeout=TIMEOUT)
            run(lambda i: meeting.wait(), 4, 4)
            with single_threaded_blas():
                status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run(lambda i: None, 4, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_waits_for_running_kernels_and_drops_the_rest() -> None:
    process = start("""
        import time
        import numba
        import numpy as np
        from fastvi.base.parallel import run

        @numba.njit(nogil=True)
        def kernel(out, i, n):
            x = 1.0
            for k in range(n):
                x = np.sin(x) + k
                out[i] = x

        out = np.zeros(400)
        kernel(out, 0, 1)
        out[:] = 0
        try:
            print("running", flush=True)
            run(lambda i: kernel(out, i, 10_000_000), len(out), 2)
        except KeyboardInterrupt:
            before = out.copy()
            time.sleep(0.3)
            assert np.array_equal(before, out), "a kernel still writes"
            assert 0 < np.count_nonzero(out) < len(out)
            calls = []
            run(calls.append, 10, 2)
            assert len(calls) == 10
            print("interrupted", flush=True)
            raise
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert out == "interrupted\n", err
    assert code == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_many_ctrl_c_while_small_tasks_run() -> None:
    process = start("""
        import time
        from fastvi.base.parallel import run

        running = set()
        def task(i):
            running.add(i)
            time.sleep(0.0005)
            running.discard(i)

        caught = 0
        print("running", flush=True)
        while caught < 20:
            try:
                while True:
                    run(task, 8, 4)
            except KeyboardInterrupt:
                left = len(running)  # at most the caller's own, which the signal cut short
                assert left <= 1, left
                running.clear()
                caught += 1
                print("caught", flush=True)
        print("end", flush=True)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    for _ in range(20):
        time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "caught\n"
    code, out, err = finish(process)
    assert (code, out, err) == (0, "end\n", "")


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "atexit.register(run, write, 2, 3)"])
def test_exit_does_not_hang(end: str) -> None:
    process = start(f"""
        import atexit, os, sys, time
        from fastvi.base.parallel import run

        def write(i):
            os.write(1, b"%d\\n" % i)

        run(lambda i: time.sleep(0.001), 8, 4)
        {end}
    """)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert sorted(out.split()) == (["0", "1"] if "write" in end else [])


@given(
    costs=st.lists(st.integers(0, 50), max_size=60),
    target=st.one_of(st.integers(1, 200), st.floats(0.5, 200)),
    start=st.integers(0, 10**12),
)
def test_split_covers_the_rows_in_chunks_of_about_the_target(
    costs: list[int], target: float, start: int
) -> None:
    work = start + np.concatenate(([0], np.cumsum(costs))).astype(np.int64)
    bounds = split(work, target)
    assert bounds.dtype == np.int64
    assert bounds[0] == 0
    assert bounds[-1] == len(costs)
    assert np.all(np.diff(bounds) > 0)
    for first, last in itertools.pairwise(bounds):
        cost = sum(costs[first:last])
        if last - first > 1:
            assert max(costs[first:last]) <= target
            assert cost <= 2 * target * (1 + 1e-9)
    assert len(bounds) - 1 <= np.ceil(sum(costs) / target) + 2 * sum(c > target for c in costs) + 1


def test_split_of_equal_rows_is_even() -> None:
    bounds = split(np.arange(1001, dtype=np.int64) * 7, 7 * 100)
    np.testing.assert_array_equal(bounds, np.arange(0, 1001, 100))


def test_split_of_a_huge_row_among_small_ones() -> None:
    work = np.cumsum([0, 1, 1, 10**12, 1, 1], dtype=np.int64)
    np.testing.assert_array_equal(split(work, 100), [0, 2, 3, 5])


def test_resolve_n_jobs() -> None:
    n_cores = resolve_n_jobs(-1)
    assert n_cores >= 1
    assert resolve_n_jobs(None) == 1
    assert resolve_n_jobs(3) == 3
    assert resolve_n_jobs(np.int64(3)) == 3  # type: ignore[arg-type]
    assert resolve_n_jobs(-2) == max(1, n_cores - 1)
    assert resolve_n_jobs(-n_cores - 5) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_resolve_n_jobs_sees_the_cores_of_the_process() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert resolve_n_jobs(-1) == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_resolve_n_jobs_refuses(n_jobs: object) -> None:
    with pytest.raises(ValueError, match=r"^n_jobs is .*; wanted a number of threads"):
        resolve_n_jobs(n_jobs)  # type: ignore[arg-type]


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_limit_is_shared_and_restored() -> None:
    if not blas_threads():
        pytest.skip("threadpoolctl knows no BLAS here")
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        leave_first, leave_second = threading.Event(), threading.Event()
        inside = threading.Barrier(3, timeout=TIMEOUT)

        def fit(leave: threading.Event) -> None:
            with single_threaded_blas():
                inside.wait()
                leave.wait(TIMEOUT)

        first = threading.Thread(target=fit, args=(leave_first,), daemon=True)
        second = threading.Thread(target=fit, args=(leave_second,), daemon=True)
        first.start()
        second.start()
        inside.wait()
        assert set(blas_threads()) == {1}
        leave_first.set()
        first.join(TIMEOUT)
        assert set(blas_threads()) == {1}
        leave_second.set()
        second.join(TIMEOUT)
        assert blas_threads() == before


def test_blas_limit_is_restored_after_an_error() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(RuntimeError, match="inside"), single_threaded_blas():
            raise RuntimeError("inside")
        assert blas_threads() == before


def test_libraries_are_searched_for_again_only_after_an_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches: list[int] = []

    class Counted(threadpoolctl.ThreadpoolController):  # type: ignore[misc]
        def __init__(self) -> None:
            searches.append(1)
            super().__init__()

    with single_threaded_blas():  # whatever this imports
        pass
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", Counted)
    for _ in range(5):
        with single_threaded_blas(), single_threaded_blas():
            pass
    assert not searches
    monkeypatch.setitem(sys.modules, "a_module_with_a_blas", types.ModuleType("blas"))
    for _ in range(5):
        with single_threaded_blas():
            pass
    assert len(searches) == 1


def test_a_blas_that_an_import_brings_is_limited() -> None:
    process = start("""
        import numpy
        from threadpoolctl import threadpool_info, threadpool_limits
        from fastvi.base.parallel import single_threaded_blas

        def threads():
            return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

        with single_threaded_blas():
            few = threads()
        import scipy.linalg
        with threadpool_limits(limits=2, user_api="blas"):
            before = threads()
            with single_threaded_blas():
                assert set(threads()) <= {1}, threads()
            assert threads() == before, (before, threads())
        print(len(few), len(before))
    """)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    few, more = map(int, out.split())
    assert few <= more
