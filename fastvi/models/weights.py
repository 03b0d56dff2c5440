"""Weights of rows and of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike, ClassWeight, RowsLike

__all__ = ["balanced", "of_rows"]

LARGEST = 1e75  # sums of products with squares of the rows stay within the range of float64


def of_rows(sample_weight: ArrayLike | None, X: RowsLike) -> Array:
    """Return the weights of the rows of X, (n_rows,); None means 1.

    Raises
    ------
    ValueError
        If a weight is negative, not finite or above 1e75, or all are 0.
    """
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weights):
        raise ValueError("sample_weight is 0 for every row; wanted some of them above 0")
    if weights.max() > LARGEST:
        raise ValueError(
            f"sample_weight holds numbers up to {weights.max():.1e}; wanted at most {LARGEST:g}"
        )
    return np.asarray(weights)


def balanced(
    class_weight: ClassWeight,
    classes: AnyArray,
    codes: NDArray[np.int64],
    weights: Array,
) -> Array:
    """Return the weights of rows times those of their classes; `codes` are numbers of `classes`.

    Raises
    ------
    ValueError
        If `class_weight` is neither None, ``"balanced"`` nor a dict from labels to numbers above 0
        and up to 1e75.
    """
    labels = classes.tolist()
    if class_weight is None:
        return weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes, weights, minlength=len(labels))
        return np.asarray(weights * (weights.sum() / (len(labels) * counts))[codes])
    if isinstance(class_weight, dict) and set(class_weight) <= set(labels):
        of_classes = [
            checks.number(class_weight.get(label, 1.0), "class_weight", 0.0, LARGEST, open_low=True)
            for label in labels
        ]
        return np.asarray(weights * np.array(of_classes)[codes])
    raise ValueError(
        f"class_weight is {class_weight!r}; wanted 'balanced', None, or a dict from labels of "
        f"{labels} to numbers"
    )
