"""Compiled loops, one file per family of computations; imported as ``fastvi.kernels``."""

if __name__ != "fastvi.kernels":
    raise ImportError(
        "import these kernels as fastvi.kernels; top-level 'kernels' belongs to another project "
        "(from a checkout: pip install -e .)"
    )
