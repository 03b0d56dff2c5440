"""What all pictures need: matplotlib, endings of files, and figures."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from fastvi.base.archive import replacing
from fastvi.base.typing import Path

if TYPE_CHECKING:
    from types import ModuleType

    from matplotlib.figure import Figure

__all__ = ["blank", "check_ending", "require_matplotlib", "save"]


def require_matplotlib() -> ModuleType:
    """Import matplotlib.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it.

    Examples
    --------
    >>> from fastvi.plots import require_matplotlib
    >>> require_matplotlib().__name__
    'matplotlib'
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError(
            "plots need matplotlib, which is not installed: pip install 'fastvi[plot]'"
        ) from None
    return matplotlib


def check_ending(path: Path) -> str:
    """Return the format that a file name's extension asks for, or png without one.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If matplotlib does not support that format.

    Examples
    --------
    >>> from fastvi.plots import check_ending
    >>> check_ending("picture.svg")
    'svg'
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lstrip(".").lower() or "png"
    if ending not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(f"{name}: cannot draw .{ending}; wanted .png, .svg or .pdf")
    return ending


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, name: str, ending: str) -> None:
    """Write a temporary file and rename it, so that no partial picture is left."""
    with replacing(name) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        figure.savefig(temporary, format=ending, dpi=120)
