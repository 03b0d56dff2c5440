"""A C library of predictions, built ahead of time from the kernels: ``python -m fastvi.export``.

The library needs neither Python nor Numba. `catalogue` lists the kernels in it, `objects` compiles
them for a level of the processor, and `building` links them with the C of the folder ``c``.
"""
