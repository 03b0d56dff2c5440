"""Compile kernels for a level of x86-64 into the package: python .ci/ship.py LEVEL [KIND ...].

The package is the one that this Python imports, the kinds are those of `fastvi warmup`, and by
default all. Wheels that are built after it contain the kernels.
"""

import os
import subprocess
import sys
import tempfile


def main(level, *kinds):
    """Fill an empty cache by tiny fits, and pack it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "NUMBA_CACHE_DIR": folder, "NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": "",
        }  # fmt: skip
        for program in (
            f"from fastvi.cli.main import main; raise SystemExit(main({['warmup', *kinds]}))",
            f"from fastvi.kernels import _shipped; print(_shipped.pack({folder!r}, {level!r}))",
        ):
            subprocess.run([sys.executable, "-c", program], env=environment, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
