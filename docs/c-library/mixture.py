"""Responsibilities of one row, by cffi: mixture.py LIBRARY MODEL X1 X2 ..."""

import os
import sys

from cffi import FFI

ffi = FFI()
ffi.cdef("""
    typedef struct fastvi_model fastvi_model;
    const char *fastvi_message(int32_t code);
    int32_t fastvi_open(const char *path, fastvi_model **model);
    void fastvi_close(fastvi_model *model);
    int64_t fastvi_n_outputs(const fastvi_model *model);
    int32_t fastvi_mixture(const fastvi_model *model, int64_t n_rows, const double *X,
                           double *responsibilities, double *log_densities, int64_t *labels);
""")


def check(code):
    """Raise what a code means."""
    if code:
        raise ValueError(ffi.string(library.fastvi_message(code)).decode())


library = ffi.dlopen(sys.argv[1])
place = ffi.new("fastvi_model **")
check(library.fastvi_open(os.fsencode(sys.argv[2]), place))
model = ffi.gc(place[0], library.fastvi_close)
row = ffi.new("double[]", [float(x) for x in sys.argv[3:]])
shares = ffi.new("double[]", library.fastvi_n_outputs(model))
check(library.fastvi_mixture(model, 1, row, shares, ffi.NULL, ffi.NULL))
for share in shares:
    print(share)
