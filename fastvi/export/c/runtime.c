/* What Numba's machine code asks for, without Python: memory with a count of references. Numba's
 * names have the prefix fv_, so that nothing of another library is meant.
 *
 * The layout is that of `MemInfo` in numba/core/runtime/nrt.cpp: compiled code counts in the first
 * word and reads the fourth. */
#include <stdint.h>
#include <stdlib.h>

#include "internal.h"

typedef struct {
    size_t count;
    void (*destroy)(void *, size_t, void *);
    void *destroy_info, *data;
    size_t size;
    void *external;
} mem_info;

void *fv_NRT_Allocate(size_t n) { return malloc(n ? n : 1); }
void fv_NRT_Free(void *p) { free(p); }

void *fv_NRT_MemInfo_alloc_aligned(size_t size, unsigned align) {
    if (size > SIZE_MAX / 2) return NULL;
    mem_info *made = malloc(sizeof *made + size + 2 * (size_t)align);
    if (!made) return NULL;
    uintptr_t data = (uintptr_t)(made + 1), rest = align ? data % align : 0;
    made->count = 1;
    made->destroy = NULL;
    made->destroy_info = made->external = NULL;
    made->size = size;
    made->data = (void *)(rest ? data + align - rest : data);
    return made;
}

void fv_NRT_MemInfo_call_dtor(void *p) { free(p); }

/* Of arrays in C order, which are all that kernels reshape. */
int fv_numba_attempt_nocopy_reshape(intptr_t n, const intptr_t *sizes, const intptr_t *strides,
                                 intptr_t n_new, const intptr_t *new_sizes, intptr_t *new_strides,
                                 intptr_t item, int fortran) {
    intptr_t step = item, n_items = 1, n_wanted = 1;
    (void)fortran;
    for (intptr_t i = n; i-- > 0; step *= sizes[i]) {
        if (sizes[i] != 1 && strides[i] != step) return 0;
        n_items *= sizes[i];
    }
    for (intptr_t i = 0; i < n_new; i++) n_wanted *= new_sizes[i];
    if (n_items != n_wanted) return 0;
    step = item;
    for (intptr_t i = n_new; i-- > 0; step *= new_sizes[i]) new_strides[i] = step;
    return 1;
}
