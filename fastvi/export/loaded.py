"""Models of which only what predictions take has been read: `fastvi.load` by the C library."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from fastvi.export.library import Model, library

__all__ = ["opened"]

STATE = "_read_by_library"


def opened(path: str, load: Callable[[str], Any]) -> Any:
    """A model whose `compiled()` is that of the C library, and which becomes what ``load(path)``
    returns when anything else is asked of it; None if the library does not predict it.
    """
    if library() is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a file that replaces it is another
    try:
        model = Model.open(f"/proc/self/fd/{descriptor}")
    except BaseException:
        os.close(descriptor)
        raise
    from fastvi.export.predictors import PREDICTORS

    if model is None or model.kind not in PREDICTORS:
        os.close(descriptor)
        return None
    return _Loaded(_State(model, descriptor, path, load))


class _State:
    """What an object is made of before it becomes an estimator."""

    def __init__(
        self, model: Model, descriptor: int, path: str, load: Callable[[str], Any]
    ) -> None:
        self.model, self.descriptor, self.path, self.load = model, descriptor, path, load
        self.lock, self._whole = threading.RLock(), None
        weakref.finalize(self, os.close, descriptor)

    def whole(self) -> Any:
        """The estimator, read once."""
        with self.lock:
            if self._whole is None:
                place = f"/proc/self/fd/{self.descriptor}"
                try:
                    self._whole = self.load(place)
                except ValueError as error:
                    raise ValueError(str(error).replace(place, self.path)) from None
        return self._whole


class _Loaded:
    """Not yet the estimator that it is about to become.

    Its class changes then, so that nothing of this one remains.
    """

    def __init__(self, state: _State) -> None:
        object.__setattr__(self, STATE, state)

    def compiled(self, **options: Any) -> Any:
        """A bare predictor, by the C library."""
        from fastvi.export.predictors import PREDICTORS

        model = getattr(self, STATE).model
        return PREDICTORS[model.kind](model, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(_become(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_become(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_become(self), name)

    def __dir__(self) -> list[str]:
        return dir(_become(self))

    def __repr__(self) -> str:
        return repr(_become(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _become(self).__reduce_ex__(protocol)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What isinstance asks for, which must not change in the meantime."""
        return type(getattr(self, STATE).whole())


def _become(loaded: Any) -> Any:
    """Turn into the estimator."""
    state = vars(loaded).get(STATE)
    if state is None:  # another thread was faster
        return loaded
    found = state.whole()
    with state.lock:
        if type(loaded) is _Loaded:
            vars(loaded).update(vars(found))
            object.__dict__["__class__"].__set__(loaded, type(found))
            del vars(loaded)[STATE]
    return loaded
