"""Documentation that linear systems share."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS = {
    "X": """
X : (n_rows, n_features) array
    Rows of all sequences, one after another. NaN stands for missing numbers.
""",
    "lengths": """
lengths : (n_sequences,) array of int, optional
    Numbers of rows of the sequences; by default there is one.
""",
    "inputs": """
inputs : (n_rows, n_inputs) array, optional
    Known numbers that states and rows depend on, if the model was fitted with some.
""",
}
