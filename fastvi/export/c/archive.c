/* Reads files of fastvi: zip archives of uncompressed `.npy` members and `header.json`.
 *
 * A file is not trusted. Each number from it is compared with what is left of the file before it is
 * used, and the checksums of all members are computed. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define END 0x06054b50u
#define END64 0x06064b50u
#define LOCATOR64 0x07064b50u
#define MEMBER 0x02014b50u
#define LOCAL 0x04034b50u
#define LONGEST_NAME 256

typedef struct {
    const unsigned char *name, *data, *next;
    size_t n_name;
    uint64_t n_bytes;
    uint32_t checksum;
} member;

static uint16_t u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return u16(p) | (uint32_t)u16(p + 2) << 16; }
static uint64_t u64(const unsigned char *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

/* Whether bytes `from` to `from + n` are in the file. */
static int inside(const fv_archive *a, uint64_t from, uint64_t n) {
    return from <= a->n_bytes && n <= a->n_bytes - from;
}

static int find_directory(fv_archive *a) {
    const unsigned char *bytes = a->bytes;
    if (a->n_bytes < 22) return 0;
    size_t end = a->n_bytes - 22, lowest = end > 0xffff ? end - 0xffff : 0;
    while (u32(bytes + end) != END) {
        if (end == lowest) return 0;
        end--;
    }
    uint64_t at = u32(bytes + end + 16);
    a->n_members = u16(bytes + end + 10);
    if (end >= 20 && u32(bytes + end - 20) == LOCATOR64) {
        uint64_t wide = u64(bytes + end - 20 + 8);
        if (!inside(a, wide, 56) || u32(bytes + wide) != END64) return 0;
        a->n_members = u64(bytes + wide + 32);
        at = u64(bytes + wide + 48);
    }
    if (!inside(a, at, 0) || a->n_members > (a->n_bytes - at) / 46) return 0;
    a->directory = bytes + at;
    return 1;
}

/* Offsets and sizes of files above 4 GiB are in an extra field, those that are needed in order. */
static int read_wide(const unsigned char *extra, size_t n, uint64_t *values[], int n_values) {
    int wanted = 0;
    for (int i = 0; i < n_values; i++) wanted += *values[i] == 0xffffffffu;
    if (!wanted) return 1;
    while (n >= 4) {
        size_t size = u16(extra + 2);
        if (size > n - 4) return 0;
        if (u16(extra) == 1) {
            if (size < 8 * (size_t)wanted) return 0;
            for (int i = 0, k = 0; i < n_values; i++)
                if (*values[i] == 0xffffffffu) *values[i] = u64(extra + 4 + 8 * k++);
            return 1;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    return 0;
}

/* The member whose entry of the directory is at p. */
static int read_member(const fv_archive *a, const unsigned char *p, member *m) {
    uint64_t at = (uint64_t)(p - a->bytes);
    if (!inside(a, at, 46) || u32(p) != MEMBER) return 0;
    size_t n_name = u16(p + 28), n_extra = u16(p + 30), n_comment = u16(p + 32);
    if (!inside(a, at + 46, n_name + n_extra + n_comment)) return 0;
    uint64_t packed = u32(p + 20), full = u32(p + 24), local = u32(p + 42);
    uint64_t *values[] = {&full, &packed, &local};
    if (!read_wide(p + 46 + n_name, n_extra, values, 3)) return 0;
    if (u16(p + 10) != 0 || (u16(p + 8) & 1) || packed != full) return 0; /* only stored ones */
    if (!inside(a, local, 30) || u32(a->bytes + local) != LOCAL) return 0;
    const unsigned char *l = a->bytes + local;
    uint64_t data = local + 30 + u16(l + 26) + u16(l + 28);
    if (!inside(a, data, full)) return 0;
    m->name = p + 46;
    m->n_name = n_name;
    m->data = a->bytes + data;
    m->n_bytes = full;
    m->checksum = u32(p + 16);
    m->next = p + 46 + n_name + n_extra + n_comment;
    return 1;
}

/* Tables of CRC-32 for eight bytes at a time. */
static void make_tables(uint32_t table[8][256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[0][i] = c;
    }
    for (int i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

static uint32_t checksum(uint32_t table[8][256], const unsigned char *p, uint64_t n) {
    uint32_t c = ~0u;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low = u32(p) ^ c, high = u32(p + 4);
        c = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
            table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
            table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; n; n--) c = table[0][(c ^ *p++) & 255] ^ c >> 8;
    return ~c;
}

static int check_members(const fv_archive *a) {
    uint32_t table[8][256];
    const unsigned char *p = a->directory;
    make_tables(table);
    for (uint64_t i = 0; i < a->n_members; i++) {
        member m;
        if (!read_member(a, p, &m) || checksum(table, m.data, m.n_bytes) != m.checksum) return 0;
        p = m.next;
    }
    return 1;
}

static int find_member(const fv_archive *a, const char *name, member *m) {
    const unsigned char *p = a->directory;
    size_t n = strlen(name);
    for (uint64_t i = 0; i < a->n_members; i++) {
        if (!read_member(a, p, m)) return 0;
        if (m->n_name == n && !memcmp(m->name, name, n)) return 1;
        p = m->next;
    }
    return 0;
}

int32_t fv_read_archive(const void *bytes, size_t n_bytes, fv_archive *a) {
    member header;
    double version;
    memset(a, 0, sizeof *a);
    a->bytes = bytes;
    a->n_bytes = n_bytes;
    if (!find_directory(a) || !check_members(a) || !find_member(a, "header.json", &header))
        return FASTVI_DAMAGED;
    a->top.begin = (const char *)header.data;
    a->top.end = a->top.begin + header.n_bytes;
    if (!fv_json_valid(a->top) || !fv_is_string(fv_member(a->top, "format"), "fastvi") ||
        !fv_number(fv_member(a->top, "version"), &version))
        return FASTVI_DAMAGED;
    a->header = fv_member(a->top, "header");
    if (version != 1) return FASTVI_VERSION;
    return a->header.begin ? FASTVI_OK : FASTVI_DAMAGED;
}

/* The text after 'key': in the header of a `.npy` member; NULL if it is not there. */
static const char *after(const char *text, const char *key) {
    const char *p = strstr(text, key);
    if (!p) return NULL;
    p += strlen(key);
    return p + strspn(p, " :");
}

/* The sizes in "(3, 4)". */
static int read_shape(const char *p, fv_array *array) {
    if (*p++ != '(') return 0;
    uint64_t n = 1, most = (uint64_t)1 << 48;
    int k = 0;
    while (*p && *p != ')') {
        char *stop;
        if (k == FV_DIMENSIONS || *p < '0' || *p > '9') return 0;
        unsigned long long size = strtoull(p, &stop, 10);
        if (size > most || (size && n > most / size)) return 0;
        n *= size;
        array->shape[k++] = (int64_t)size;
        p = stop + strspn(stop, ", ");
    }
    array->n_dimensions = k;
    array->n_items = (int64_t)n;
    return *p == ')';
}

static int read_array(const member *m, fv_array *array) {
    const unsigned char *p = m->data;
    char text[1024];
    if (m->n_bytes < 12 || memcmp(p, "\x93NUMPY", 6)) return 0;
    size_t start = p[6] == 1 ? 10 : 12, n = p[6] == 1 ? u16(p + 8) : u32(p + 8);
    if (n > m->n_bytes - start || n >= sizeof text) return 0;
    memcpy(text, p + start, n);
    text[n] = 0;
    const char *type = after(text, "'descr'"), *order = after(text, "'fortran_order'"),
               *shape = after(text, "'shape'");
    if (!type || !order || !shape || type[0] != '\'' || !strchr("<|", type[1])) return 0;
    if (!strchr("biuf", type[2]) || type[3] < '1' || type[3] > '8' || type[4] != '\'') return 0;
    if (strncmp(order, "False", 5)) return 0;
    memcpy(array->type, type + 2, 2);
    array->type[2] = 0;
    uint64_t left = m->n_bytes - start - n, size = (uint64_t)(type[3] - '0');
    if (!read_shape(shape, array) || (uint64_t)array->n_items * size != left) return 0;
    array->data = p + start + n;
    return 1;
}

int32_t fv_find(const fv_archive *a, const char *name, fv_array *array) {
    char full[LONGEST_NAME];
    member m;
    size_t n = strlen(name);
    if (n + 5 > sizeof full) return FASTVI_DAMAGED;
    memcpy(full, name, n);
    memcpy(full + n, ".npy", 5);
    memset(array, 0, sizeof *array);
    if (!find_member(a, full, &m)) return FASTVI_OLD;
    return read_array(&m, array) ? FASTVI_OK : FASTVI_DAMAGED;
}

static int all_above(const double *x, int64_t n, double least) {
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] >= least && x[i] < INFINITY)) return 0;
    return 1;
}

static int32_t read_doubles(const fv_archive *a, const char *name, int n, int64_t *shape,
                            double least, double **out) {
    fv_array array;
    int32_t code = fv_find(a, name, &array);
    *out = NULL;
    if (code) return code;
    if (strcmp(array.type, "f8") || array.n_dimensions != n) return FASTVI_DAMAGED;
    for (int i = 0; i < n; i++) {
        if (shape[i] >= 0 && shape[i] != array.shape[i]) return FASTVI_DAMAGED;
        shape[i] = array.shape[i];
    }
    if (!(*out = fv_new(array.n_items, 8))) return FASTVI_MEMORY;
    memcpy(*out, array.data, (size_t)array.n_items * 8);
    if (all_above(*out, array.n_items, least)) return FASTVI_OK;
    free(*out);
    *out = NULL;
    return FASTVI_DAMAGED;
}

int32_t fv_doubles(const fv_archive *a, const char *name, int n, int64_t *shape, double **out) {
    return read_doubles(a, name, n, shape, -DBL_MAX, out);
}

int32_t fv_logs(const fv_archive *a, const char *name, int n, int64_t *shape, double **out) {
    return read_doubles(a, name, n, shape, -INFINITY, out);
}
