"""Mini-batches: which rows a step sees, and with which weights."""

from fastvi.batches.base import Batches, InMemory, NumberedRows, Part, Source
from fastvi.batches.epochs import Everything, Passes, ShuffledEpochs, Stream
from fastvi.batches.growing import AdaptiveSize
from fastvi.batches.importance import AdaptiveImportance, WithReplacement

__all__ = [
    "AdaptiveImportance",
    "AdaptiveSize",
    "Batches",
    "Everything",
    "InMemory",
    "NumberedRows",
    "Part",
    "Passes",
    "ShuffledEpochs",
    "Source",
    "Stream",
    "WithReplacement",
]
