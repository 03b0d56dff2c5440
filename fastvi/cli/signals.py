"""Signals that end a command, as exceptions; one that was swallowed is raised again."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Ended", "ended_by_signals"]

WAIT = 0.01  # seconds


class Ended(KeyboardInterrupt):
    """A signal that ends the process: temporary files are removed, as at an interrupt."""

    def __init__(self, number: int) -> None:
        self.number, self.name = number, signal.Signals(number).name


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP, which batch systems, `timeout` and closed terminals send.

    What a signal raises within a finalizer or a callback of C code, Python reports and drops. Then
    it is raised again a little later, as Ctrl-C is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Signals that are ignored, as under nohup, stay ignored.
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    report, ending, looking = sys.unraisablehook, False, False

    def end(number: int, frame: object) -> None:
        nonlocal ending
        if not ending:  # one is enough, as cleaning up takes time
            ending = True
            raise Ended(number)

    def look(dropped: Any) -> None:
        nonlocal ending, looking
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)
            return
        looking, ending = True, False
        number = getattr(dropped.exc_value, "number", signal.SIGINT)
        threading.Thread(target=again, args=[number], daemon=True).start()
        looking = False

    def again(number: int) -> None:
        while looking:  # what is raised there is dropped as well
            time.sleep(WAIT)
        _thread.interrupt_main(signal.Signals(number))

    for number in numbers:
        signal.signal(number, end)
    sys.unraisablehook = look
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
