"""Rows over threads: chunks that depend only on the work, run on one persistent pool.

Kernels release the GIL and write into arrays they are given, so a thread only needs the number of
its chunk. Neither the chunks nor the order of reductions depend on the number of threads, so
results have the same bits for any number of them.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["alone", "resolve_n_jobs", "run", "single_threaded_blas", "split"]


class _Job:
    """One call of `run`: the remaining tasks, and the threads that work on them."""

    def __init__(self, function: Callable[[int], object], n_tasks: int) -> None:
        self.function = function
        self.tasks = deque(range(n_tasks))
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.closed = False
        self.n_helpers = 0
        self.no_helpers = threading.Lock()  # held while any helper is at work

    def work(self) -> None:
        """Run tasks until none are left."""
        while True:
            try:
                task = self.tasks.popleft()
            except IndexError:
                return
            self.function(task)

    def fail(self, error: BaseException) -> None:
        """Keep the first error (interrupts take precedence) and drop queued tasks."""
        self.tasks.clear()
        if self.error is None or not isinstance(error, Exception):
            self.error = error

    def help(self) -> None:
        """Work on a pool thread, unless the caller has finished already."""
        with self.lock:
            if self.closed:
                return
            self.n_helpers += 1
            if self.n_helpers == 1:
                self.no_helpers.acquire()
        try:
            self.work()
        except BaseException as error:
            self.fail(error)
        with self.lock:
            self.n_helpers -= 1
            if self.n_helpers == 0:
                self.no_helpers.release()


class _Pool:
    """Daemon threads that wait on one queue; the pool never shrinks."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.n_threads = 0
        self.lock = threading.Lock()
        self.local = threading.local()  # .busy: this thread is inside a task

    def serve(self) -> None:
        self.local.busy = True
        while True:
            self.jobs.get().help()  # a name for the job would keep its arrays alive

    def grow(self, n_threads: int) -> None:
        with self.lock:
            while self.n_threads < n_threads:
                name = f"fastvi-{self.n_threads + 1}"
                try:
                    threading.Thread(target=self.serve, name=name, daemon=True).start()
                except RuntimeError:  # no more threads available: use those that exist
                    return
                self.n_threads += 1


_pool = _Pool()


def run(function: Callable[[int], object], n_tasks: int, n_threads: int) -> None:
    """Call ``function(i)`` for every i in ``range(n_tasks)`` on up to `n_threads` threads.

    The calling thread is one of them, so with one thread this is a plain loop. Threads take the
    next task when they are free. A call from inside a task runs on the thread of that task.

    Parameters
    ----------
    function : callable
        Takes the number of its task and writes its result where no other task writes. Threads help
        only if it releases the GIL most of the time.
    n_tasks, n_threads : int
        Number of tasks, and the largest number of threads to use.

    Raises
    ------
    BaseException
        The first error of a task, after running tasks have ended and the others have been dropped.
        This includes `KeyboardInterrupt`, so that nothing writes into the arrays after it is
        raised.
    """
    pool = _pool
    n_helpers = min(n_tasks, n_threads) - 1
    if n_helpers < 1 or getattr(pool.local, "busy", False):
        for task in range(n_tasks):
            function(task)
        return
    if pool.n_threads < n_helpers:
        pool.grow(n_helpers)
    job = _Job(function, n_tasks)
    # Ctrl-C may interrupt any line; whatever it interrupts is repeated, which is safe.
    while True:
        try:
            pool.local.busy = True
            for _ in range(min(n_helpers, len(job.tasks))):
                pool.jobs.put(job)
            job.work()
            with job.lock:
                job.closed = True
            with job.no_helpers:
                pool.local.busy = False
                break
        except BaseException as error:
            job.fail(error)
    if job.error is not None:
        try:
            raise job.error
        finally:
            job.error = None  # error -> traceback -> this frame -> error would keep arrays alive


@contextmanager
def alone() -> Iterator[None]:
    """Keep all tasks of this block on the calling thread, as inside of a task."""
    local = _pool.local
    before, local.busy = getattr(local, "busy", False), True
    try:
        yield
    finally:
        local.busy = before


def split(work: NDArray[np.int64], target: float) -> NDArray[np.int64]:
    """Cut rows into consecutive chunks that cost about `target` each.

    Parameters
    ----------
    work : (n + 1,) int64 array
        Cumulative cost, like the `indptr` of a CSR matrix: row i costs ``work[i+1] - work[i]``.
    target : float
        Cost of a chunk, in the same unit.

    Returns
    -------
    (n_chunks + 1,) int64 array
        Chunk c holds the rows from ``boundaries[c]`` up to ``boundaries[c + 1]``. No chunk is empty
        or costs more than ``2 * target``, except that a row which costs more than `target` is a
        chunk of its own. The result depends only on `work` and `target`.
    """
    n = len(work) - 1
    if n < 1:
        return np.zeros(1, np.int64)
    total = float(work[-1] - work[0])
    width = total / max(1.0, np.ceil(total / target))
    if width == 0.0:
        return np.array([0, n], np.int64)
    middle = 0.5 * ((work[:-1] - work[0]) + (work[1:] - work[0]))
    chunk = np.floor(middle / width)
    alone = np.diff(work) > target
    cut = (chunk[1:] != chunk[:-1]) | alone[1:] | alone[:-1]
    return np.concatenate(([0], np.flatnonzero(cut) + 1, [n])).astype(np.int64)


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Return the number of threads that scikit-learn's `n_jobs` means.

    None is 1, -1 is every core this process may use, -2 all but one, and so on (at least 1).

    Raises
    ------
    ValueError
        If `n_jobs` is 0 or not an integer.
    """
    if n_jobs is None:
        return 1
    try:
        number = operator.index(n_jobs)
    except TypeError:
        number = 0
    if number == 0 or isinstance(n_jobs, bool):
        raise ValueError(
            f"n_jobs is {n_jobs!r}; wanted a number of threads, -1 for all cores, or None for one"
        )
    if number > 0:
        return number
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    return max(1, n_cores + 1 + number)


class _BlasLimit:
    """A process-wide limit, shared by overlapping fits; the last of them restores the old one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_users = 0
        self.limits: Any = None
        self.libraries: Any = None
        self.n_modules = -1

    def enter(self) -> None:
        with self.lock:
            if self.n_users == 0:
                self.find_libraries()
                self.release_control()
                self.limits = self.libraries.limit(limits=1, user_api="blas")
            self.n_users += 1

    def find_libraries(self) -> None:
        """Search the process for BLAS libraries, in 1 to 4 ms; again only after new imports."""
        import threadpoolctl

        n_modules = len(sys.modules)
        if n_modules != self.n_modules:
            found = threadpoolctl.ThreadpoolController()
            self.libraries, self.n_modules = found.select(user_api="blas"), n_modules

    def leave(self) -> None:
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0:
                self.release_control()
                self.limits.restore_original_limits()
                self.limits = None
                self.release_control()

    @staticmethod
    def release_control() -> None:
        """Let this thread set the limit: threadpoolctl 3.8 ignores all but the first one to do so.

        The last fit to finish is often not the first to start; its restoring would be ignored.
        """
        import threadpoolctl

        openblas = getattr(threadpoolctl, "OpenBLASController", None)
        clear = getattr(openblas, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


_blas = _BlasLimit()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS on one thread while our own threads are at work (process-wide).

    Overlapping uses from several threads share the limit, and the last to leave restores the
    setting before the first. This takes some 20 microseconds, and 1 to 4 ms after modules were
    imported, which may have loaded another BLAS; one loaded without an import is not noticed until
    then.
    """
    _blas.enter()
    try:
        yield
    finally:
        _blas.leave()


def _after_fork() -> None:
    """Start afresh in a forked child: threads do not survive there, but may hold its locks."""
    global _pool
    _pool = _Pool()
    _blas.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
