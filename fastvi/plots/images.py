"""Pictures of images that models have found."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Path
from fastvi.plots.figures import blank, check_ending, save

__all__ = ["image_shape", "plot_features"]

MAX_FEATURES = 60


class Images(Protocol):
    """A fitted estimator whose components are rows of the data."""

    components_: AnyArray


def plot_features(model: Images, path: Path, shape: tuple[int, int] | None = None) -> None:
    """Draw the components of a model as images: blue is below 0, and red above.

    Titles are the shares of rows that have a feature, if the model has `usage_`. An intercept that
    is not 0 is drawn last.

    Parameters
    ----------
    model : BetaBernoulliFeatures, BayesianPCA, BayesianFactorAnalysis or another with `components_`
        Fitted. At most the first 60 components are drawn, all on one scale.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    shape : (height, width), optional
        Of the images, whose pixels are the features of the data in this order; by default square
        if their number is, else one row.

    Raises
    ------
    ValueError
        If the shape has another number of pixels than the data have features.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(50, 9))
    >>> pca = fastvi.BayesianPCA(2).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "features.png")
    >>> fastvi.plots.plot_features(pca, path, shape=(3, 3))
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    images = np.asarray(model.components_, np.float64)
    shape = image_shape(images.shape[1], shape)
    usage = getattr(model, "usage_", None)
    titles = [f"{k}" if usage is None else f"{100 * usage[k]:.0f} %" for k in range(len(images))]
    images, titles = images[:MAX_FEATURES], titles[:MAX_FEATURES]
    scale = float(np.abs(images).max(initial=0.0)) or 1.0
    intercept = np.asarray(getattr(model, "intercept_", 0.0), np.float64)
    if np.any(intercept):
        images, titles = np.vstack((images, intercept)), [*titles, "intercept"]
    n_columns = min(10, len(images))
    n_rows = -(-len(images) // n_columns)
    aspect = min(max(shape[0] / shape[1], 0.2), 3.0)
    figure = blank(1.3 * n_columns, (1.2 * aspect + 0.35) * n_rows + 0.2)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, title in zip(axes, images, titles):
        limit = max(scale, float(np.abs(image).max())) if title == "intercept" else scale
        axis.imshow(image.reshape(shape), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_title(title, fontsize=8)
    save(figure, os.fspath(path), ending)


def image_shape(n_pixels: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return the height and width of images: those given, a square, or one row."""
    if shape is None:
        side = int(np.sqrt(n_pixels))
        return (side, side) if side * side == n_pixels else (1, n_pixels)
    if len(shape) != 2 or int(shape[0]) * int(shape[1]) != n_pixels:
        raise ValueError(f"shape is {shape}; wanted the height and width of {n_pixels} pixels")
    return int(shape[0]), int(shape[1])
