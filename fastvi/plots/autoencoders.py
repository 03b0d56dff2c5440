"""Pictures of variational autoencoders."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np

from fastvi.base.typing import AnyArray, ArrayLike, Path, RowsLike
from fastvi.plots.figures import blank, check_ending, save
from fastvi.plots.images import image_shape

__all__ = ["plot_latent", "plot_reconstructions", "plot_samples"]

COLUMNS = 10
MAX_IMAGES = 60


class Autoencoder(Protocol):
    """A fitted `fastvi.VariationalAutoencoder`."""

    @property
    def latent_variances_(self) -> AnyArray:
        """Variances of posterior means."""

    def transform(self, X: RowsLike) -> AnyArray:
        """Return posterior means of latent variables."""

    def reconstruct(self, X: RowsLike) -> AnyArray:
        """Return means of rows."""

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Return means of rows given latent variables."""

    def sample(self, n_samples: int) -> tuple[AnyArray, AnyArray]:
        """Draw rows and latent variables."""


def plot_reconstructions(
    model: Autoencoder, X: RowsLike, path: Path, shape: tuple[int, int] | None = None
) -> None:
    """Draw images, and below each what the autoencoder makes of it.

    Parameters
    ----------
    model : VariationalAutoencoder
        Fitted.
    X : (n_rows, n_features) array or CSR matrix
        At most the first 30 rows are drawn.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    shape : (height, width), optional
        Of the images; by default square if the number of pixels is, else one row.

    Raises
    ------
    ValueError
        If the shape has another number of pixels than the data have features.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> model = fastvi.VariationalAutoencoder(
    ...     2, hidden_layer_sizes=(8,), max_iter=2, batch_size=20, random_state=0
    ... ).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "reconstructions.png")
    >>> fastvi.plots.plot_reconstructions(model, X, path)
    >>> path.exists()
    True
    """
    rows: Any = X if hasattr(X, "shape") else np.asarray(X)
    rows = rows[: MAX_IMAGES // 2]
    found = model.reconstruct(rows)
    given = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    blocks = [given[i : i + COLUMNS] for i in range(0, len(given), COLUMNS)]
    made = [found[i : i + COLUMNS] for i in range(0, len(found), COLUMNS)]
    _draw([block for pair in zip(blocks, made) for block in pair], path, shape)


def plot_samples(
    model: Autoencoder,
    path: Path,
    shape: tuple[int, int] | None = None,
    *,
    n_samples: int = 30,
    means: bool = True,
) -> None:
    """Draw images from the model.

    Parameters
    ----------
    model : VariationalAutoencoder
        Fitted.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    shape : (height, width), optional
        Of the images; by default square if the number of pixels is, else one row.
    n_samples : int
        Number of images, at most 60.
    means : bool
        Draw means of rows given random latent variables, without the noise of pixels.

    Raises
    ------
    ValueError
        If the shape has another number of pixels than the data have features.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> model = fastvi.VariationalAutoencoder(
    ...     2, hidden_layer_sizes=(8,), max_iter=2, batch_size=20, random_state=0
    ... ).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "samples.png")
    >>> fastvi.plots.plot_samples(model, path, n_samples=4)
    >>> path.exists()
    True
    """
    rows, Z = model.sample(min(n_samples, MAX_IMAGES))
    images = model.inverse_transform(Z) if means else rows
    _draw([images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)], path, shape)


def plot_latent(
    model: Autoencoder, X: RowsLike, path: Path, labels: ArrayLike | None = None
) -> None:
    """Draw the two latent variables whose posterior means vary most, a point per row.

    Parameters
    ----------
    model : VariationalAutoencoder
        Fitted.
    X : (n_rows, n_features) array or CSR matrix
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    labels : (n_rows,) array, optional
        Sets the colours of points.

    Raises
    ------
    ValueError
        If there is another number of labels than of rows.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> model = fastvi.VariationalAutoencoder(
    ...     2, hidden_layer_sizes=(8,), max_iter=2, batch_size=20, random_state=0
    ... ).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "latent.png")
    >>> fastvi.plots.plot_latent(model, X, path)
    >>> path.exists()
    True
    """
    ending, Z = check_ending(path), model.transform(X)
    order = np.argsort(-np.asarray(model.latent_variances_), kind="stable")[:2]
    first, second = order[0], order[-1]
    figure = blank(5.0, 4.5)
    axis = figure.subplots()
    groups: dict[Any, Any] = {None: slice(None)}
    if labels is not None:
        given = np.asarray(labels)
        if given.shape != (len(Z),):
            raise ValueError(f"labels has shape {given.shape}; wanted ({len(Z)},)")
        groups = {label: given == label for label in np.unique(given)}
    for label, rows in groups.items():
        axis.plot(Z[rows, first], Z[rows, second], ".", markersize=3, label=label)
    axis.set_xlabel(f"latent variable {first}")
    axis.set_ylabel(f"latent variable {second}")
    if labels is not None and len(groups) <= COLUMNS * 2:
        axis.legend(fontsize=8, markerscale=3)
    save(figure, os.fspath(path), ending)


def _draw(rows: list[AnyArray], path: Path, shape: tuple[int, int] | None) -> None:
    """Draw rows of images, all on one scale."""
    ending = check_ending(path)
    shape = image_shape(rows[0].shape[1], shape)
    low, high = min(float(row.min()) for row in rows), max(float(row.max()) for row in rows)
    n_columns = max(map(len, rows))
    aspect = min(max(shape[0] / shape[1], 0.2), 3.0)
    figure = blank(0.9 * n_columns, 0.9 * aspect * len(rows) + 0.2)
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for line, row in zip(axes, rows):
        for axis, image in zip(line, row):
            axis.imshow(
                image.reshape(shape), cmap="gray_r", vmin=low, vmax=high or 1.0, aspect="auto"
            )
    save(figure, os.fspath(path), ending)
