"""Reading corpora: texts and bags of words, in memory or as shards on disk."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastvi.corpus.documents import Corpus as Corpus
    from fastvi.corpus.options import FORMATS as FORMATS
    from fastvi.corpus.options import Options as Options
    from fastvi.corpus.reading import align as align
    from fastvi.corpus.reading import read as read
    from fastvi.corpus.reading import read_again as read_again
    from fastvi.corpus.shards import ShardedCorpus as ShardedCorpus
    from fastvi.corpus.shards import read_sharded as read_sharded
    from fastvi.corpus.sniffing import sniff as sniff
    from fastvi.corpus.splitting import halves as halves
    from fastvi.corpus.splitting import split as split
    from fastvi.corpus.stdlib import standard_library as standard_library

_LAZY = {
    "FORMATS": "options",
    "Corpus": "documents",
    "Options": "options",
    "ShardedCorpus": "shards",
    "align": "reading",
    "halves": "splitting",
    "read": "reading",
    "read_again": "reading",
    "read_sharded": "shards",
    "sniff": "sniffing",
    "split": "splitting",
    "standard_library": "stdlib",
}
__all__ = sorted(_LAZY)


if not TYPE_CHECKING:  # it would make type checkers accept any name, misspelt ones included

    def __getattr__(name: str) -> Any:
        """Import public names on first use, so that the default corpus needs no scikit-learn."""
        if name not in _LAZY:
            raise AttributeError(f"module 'fastvi.corpus' has no attribute {name!r}")
        return getattr(importlib.import_module(f"fastvi.corpus.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
