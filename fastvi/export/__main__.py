"""``python -m fastvi.export --out DIR`` builds the C library."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastvi.base.caches import cache_folder
from fastvi.export.building import build
from fastvi.export.library import folder
from fastvi.export.objects import levels_here
from fastvi.export.parts import PARTS


def main() -> int:
    """Build what is asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fastvi.export",
        description="Build libfastvi, a C library of predictions without Python.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", default=[],
                        help=f"{', '.join(PARTS)}; by default all")  # fmt: skip
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path, metavar="DIR",
                       help="gets the folders lib and include")  # fmt: skip
    place.add_argument("--install", action="store_true",
                       help="into the user's cache folder, for fastvi.load(path).compiled() "
                            "without Numba and scikit-learn")  # fmt: skip
    parser.add_argument("--levels", type=int, nargs="+", choices=levels_here(), default=[],
                        help="of x86-64; by default all, of which the best is chosen when a "
                             "model is read")  # fmt: skip
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; wanted {', '.join(PARTS)}")
    try:
        out = cache_folder("library") / folder().name if options.install else options.out
        print(build(out, levels=options.levels, parts=options.parts))
    except (OSError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
