/* The inner loops of reading: chunks inflated and projected onto a model's features, nothing else kept.
 *
 * Plain C11 without a library of its own: libdeflate's functions come as pointers from the Python package that carries
 * them. Built by tools/build-native, called by shared/h5ad/read/native.py, which describes the structures. Whatever is odd
 * about the input ends the call with a number other than 0; what was wrong is then found out by the Python code that
 * does the same. No floating-point result depends on the compiler: sums are of four lanes, in double precision, and
 * exact for counts. What only decides whether a row is odd may: the Python code judges it anew.
 */
#include <stdint.h>
#include <string.h>

#define VERSION 2
enum { DEFLATED = 1, SHUFFLED = 2 };
enum { UNMATCHED = -1, NOT_A_GENE = -2 };
enum { OK = 0, ODD = 1 };
/* What the values of every row should be, or the row is odd. */
enum { ANY = 0, LINEAR = 1, LOGARITHMS = 2, WHOLE = 3 };
#define LARGEST_LOG 20.0f
#define ROUNDING 1e-4f

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EACH_CPU __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

struct rows {
    int64_t n_rows;
    const int64_t *indptr; /* n_rows + 1 places in the file's arrays */
    const int32_t *feature_of_column;
    int32_t n_columns;
    int32_t only_genes; /* whether every column is a gene */
    int32_t values;     /* ANY, LINEAR, LOGARITHMS or WHOLE */
    float least_sum;    /* of exp(x) - 1 over a row of logarithms, but for an empty row */
    float most_sum;
    /* Found: */
    int32_t *feature;
    float *value;
    int32_t *kept_indptr; /* n_rows + 1, the first 0 */
    double *total_n;      /* zeros at first */
    int32_t *n_genes_n;   /* zeros at first */
    int32_t *seen_in;     /* n_columns zeros at first */
    int64_t row;          /* The first that is not whole yet. */
    int64_t kept;
    /* Of that row, so far: */
    double sum[4]; /* value i in lane i % 4, wherever calls were cut */
    double powers;
    float largest;
    int32_t fractions; /* whether there are any */
};

struct stored {
    int64_t n_chunks;
    const int64_t *starts;  /* n_chunks + 1 places of values */
    const uint8_t **bytes;  /* of each chunk, as they are in the file */
    const int64_t *n_bytes; /* likewise */
    const uint8_t *steps;   /* DEFLATED | SHUFFLED */
    int32_t kind;           /* of the values: 'f', 'i' or 'u' */
    int32_t width;          /* bytes of a value */
    uint8_t *raw;           /* room for a chunk */
    uint8_t *shuffled;      /* likewise */
    void *converted;        /* room for a chunk of 4-byte values */
};

struct inflater {
    void *(*alloc)(void);
    int (*inflate)(void *, const void *, size_t, void *, size_t, size_t *);
    void (*free)(void *);
};

int celldrop_version(void) { return VERSION; }

static inline uint32_t bits_of(const float *value) {
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits;
}

struct checked {
    int32_t n_zeros;
    int odd;
    float largest;
};

/* Bits of a float from 0 on are ordered as it is; infinity, NaN and whatever has a sign lie above the finite ones. */
#define INFINITY_BITS 0x7f800000u

/* Several entries of one gene in a cell are summed by the Python code. Where columns ascend there are none. */
static int ascends(const int32_t *index, int64_t n) {
    uint32_t falls = 0;
    for (int64_t i = 1; i < n; i++) falls += index[i] <= index[i - 1];
    return falls == 0;
}

/* Where they do not, or a row lies in several chunks: each column is marked with the row that had it last. */
static int repeats(int32_t *seen_in, const int32_t *index, int64_t n, int32_t row) {
    for (int64_t i = 0; i < n; i++) {
        if (seen_in[index[i]] == row) return 1;
        seen_in[index[i]] = row;
    }
    return 0;
}

/* One thing a loop, over values that are at hand: compilers make the most of that (0.3 ns a value; all in one 0.8). */
FOR_EACH_CPU
static struct checked check(const int32_t *index, const float *value, int64_t n, int32_t n_columns) {
    uint32_t zeros = 0, largest = 0, last = 0;
    for (int64_t i = 0; i < n; i++) zeros += bits_of(value + i) == 0;
    for (int64_t i = 0; i < n; i++) largest = bits_of(value + i) > largest ? bits_of(value + i) : largest;
    for (int64_t i = 0; i < n; i++) last = (uint32_t)index[i] > last ? (uint32_t)index[i] : last;
    float most;
    memcpy(&most, &largest, sizeof most);
    const int odd = largest >= INFINITY_BITS || last >= (uint32_t)n_columns;
    return (struct checked){(int32_t)zeros, odd, most};
}

/* Whether some value is no whole number, but for rounding. Above 2^23 every float is whole. */
FOR_EACH_CPU
static int has_fractions(const float *value, int64_t n) {
    for (int64_t start = 0; start < n; start += 256) {
        const int64_t stop = n - start < 256 ? n : start + 256;
        uint32_t inexact = 0, fractions = 0;
        for (int64_t i = start; i < stop; i++) {
            const float x = value[i] < 8388608.0f ? value[i] : 0.0f;
            inexact += (float)(int32_t)x != x;
        }
        if (!inexact) continue;
        for (int64_t i = start; i < stop; i++) {
            const float x = value[i] < 8388608.0f ? value[i] : 0.0f;
            const float off = x - (float)(int32_t)(x + 0.5f);
            fractions += (off < 0 ? -off : off) > ROUNDING * (x > 1.0f ? x : 1.0f);
        }
        if (fractions) return 1;
    }
    return 0;
}

/* value i of the row goes to lane i % 4; `first` is the place of value[0] in its row. */
FOR_EACH_CPU
static void add(double *lanes, const float *value, int64_t n, int64_t first) {
    int64_t i = 0;
    for (; i < n && ((first + i) & 3); i++) lanes[(first + i) & 3] += (double)value[i];
    double sum[4] = {lanes[0], lanes[1], lanes[2], lanes[3]};
    for (; i + 4 <= n; i += 4)
        for (int lane = 0; lane < 4; lane++) sum[lane] += (double)value[i + lane];
    for (int lane = 0; lane < 4; lane++) lanes[lane] = sum[lane];
    for (; i < n; i++) lanes[(first + i) & 3] += (double)value[i];
}

/* Sum of exp(x) - 1, each to 2e-4: enough to tell one total from another. Only for 0 <= x <= LARGEST_LOG. */
FOR_EACH_CPU
static double powers(const float *value, int64_t n) {
    float sum[8] = {0};
    double all = 0;
    for (int64_t i = 0; i < n;) {
        const int64_t stop = n - i < 4096 ? n : i + 4096;
        for (int lane = 0; lane < 8; lane++) sum[lane] = 0;
        for (; i + 8 <= stop; i += 8)
            for (int lane = 0; lane < 8; lane++) {
                const float t = value[i + lane] * 1.44269504f;
                const int32_t whole = (int32_t)t;
                const float f = t - (float)whole;
                const float p = 1.0f + f * (0.69314718f + f * (0.24022651f + f * (0.05550411f + f * (0.00961813f + f * 0.00133336f))));
                const float scale = (float)(1 << (whole & 31));
                sum[lane] += p * scale - 1.0f;
            }
        for (; i < stop; i++) {
            const float t = value[i] * 1.44269504f;
            const int32_t whole = (int32_t)t;
            const float f = t - (float)whole;
            const float p = 1.0f + f * (0.69314718f + f * (0.24022651f + f * (0.05550411f + f * (0.00961813f + f * 0.00133336f))));
            sum[i & 7] += p * (float)(1 << (whole & 31)) - 1.0f;
        }
        for (int lane = 0; lane < 8; lane++) all += (double)sum[lane];
    }
    return all;
}

/* Whether a whole row holds what it should. */
static int as_expected(const struct rows *to, int32_t n_genes) {
    switch (to->values) {
        case WHOLE: return to->fractions == 0;
        case LINEAR: return to->fractions == 0 || to->largest > LARGEST_LOG;
        case LOGARITHMS:
            if (n_genes == 0) return 1;
            return to->fractions != 0 && to->powers >= to->least_sum && to->powers <= to->most_sum;
        default: return 1;
    }
}

/* Every value is written, and kept by counting it: there is no branch to guess wrong. Four at a time wait less for the
 * count (0.85 ns a value; one by one 1.2). */
static int64_t keep(const int32_t *restrict index, const float *restrict value, int64_t n, const int32_t *restrict feature_of,
                    int32_t *restrict feature, float *restrict kept_value, int64_t kept) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const int32_t f0 = feature_of[index[i]], f1 = feature_of[index[i + 1]];
        const int32_t f2 = feature_of[index[i + 2]], f3 = feature_of[index[i + 3]];
        const int64_t second = kept + (f0 >= 0), third = second + (f1 >= 0), fourth = third + (f2 >= 0);
        feature[kept] = f0, kept_value[kept] = value[i];
        feature[second] = f1, kept_value[second] = value[i + 1];
        feature[third] = f2, kept_value[third] = value[i + 2];
        feature[fourth] = f3, kept_value[fourth] = value[i + 3];
        kept = fourth + (f3 >= 0);
    }
    for (; i < n; i++) {
        const int32_t f = feature_of[index[i]];
        feature[kept] = f, kept_value[kept] = value[i];
        kept += f >= 0;
    }
    return kept;
}

static int64_t keep_expressed(const int32_t *index, const float *value, int64_t n, const int32_t *feature_of,
                              int32_t *feature, float *kept_value, int64_t kept) {
    for (int64_t i = 0; i < n; i++) {
        const int32_t f = feature_of[index[i]];
        feature[kept] = f, kept_value[kept] = value[i];
        kept += (f >= 0) & (value[i] != 0.0f);
    }
    return kept;
}

/* What is kept of values at places `start` to `stop` of the file, which continue those of the call before. */
int celldrop_project(struct rows *to, const int32_t *index, const float *value, int64_t start, int64_t stop) {
    int64_t row = to->row, kept = to->kept;
    for (; row < to->n_rows; row++) {
        const int64_t first = to->indptr[row] > start ? to->indptr[row] : start;
        const int64_t last = to->indptr[row + 1] < stop ? to->indptr[row + 1] : stop;
        if (first < last) {
            const int32_t *at = index + (first - start);
            const float *of = value + (first - start);
            const int64_t n = last - first;
            if (first == to->indptr[row]) {
                memset(to->sum, 0, sizeof to->sum);
                to->powers = 0;
                to->largest = 0;
                to->fractions = 0;
            }
            struct checked found = check(at, of, n, to->n_columns);
            if (found.odd) return ODD;
            const int whole = first == to->indptr[row] && last == to->indptr[row + 1];
            if (!(whole && ascends(at, n)) && repeats(to->seen_in, at, n, (int32_t)row + 1)) return ODD;
            if (to->values == LOGARITHMS && found.largest > LARGEST_LOG) return ODD;
            if (to->values != ANY && !to->fractions) to->fractions = has_fractions(of, n);
            to->largest = found.largest > to->largest ? found.largest : to->largest;
            kept = (found.n_zeros ? keep_expressed : keep)(at, of, n, to->feature_of_column, to->feature, to->value, kept);
            if (to->only_genes) {
                add(to->sum, of, n, first - to->indptr[row]);
                if (to->values == LOGARITHMS) to->powers += powers(of, n);
            } else {
                found.n_zeros = (int32_t)n;
                for (int64_t i = 0; i < n; i++) {
                    const int gene = to->feature_of_column[at[i]] != NOT_A_GENE;
                    to->sum[(first - to->indptr[row] + i) & 3] += gene ? (double)of[i] : 0;
                    if (gene && to->values == LOGARITHMS) to->powers += powers(of + i, 1);
                    found.n_zeros -= gene & (of[i] != 0.0f);
                }
            }
            to->n_genes_n[row] += (int32_t)n - found.n_zeros;
            if (last == to->indptr[row + 1]) {
                to->total_n[row] = to->sum[0] + to->sum[1] + to->sum[2] + to->sum[3];
                if (!as_expected(to, to->n_genes_n[row])) return ODD;
            }
        }
        if (to->indptr[row + 1] > stop) break;
        to->kept_indptr[row + 1] = (int32_t)kept;
    }
    to->row = row;
    to->kept = kept;
    return OK;
}

static void unshuffle(const uint8_t *from, uint8_t *to, int64_t n, int32_t width) {
    for (int64_t i = 0; i < n; i++)
        for (int32_t byte = 0; byte < width; byte++) to[i * width + byte] = from[byte * n + i];
}

/* The n values of a chunk, as bytes; NULL where they are not that many. */
static const uint8_t *decoded(const struct stored *array, int64_t chunk, int64_t n, const struct inflater *by, void *state) {
    const uint8_t *bytes = array->bytes[chunk];
    size_t size = (size_t)array->n_bytes[chunk];
    const size_t wanted = (size_t)n * (size_t)array->width;
    if (array->steps[chunk] & DEFLATED) {
        size_t found = 0;
        if (by->inflate(state, bytes, size, array->raw, wanted, &found) != 0) return NULL;
        bytes = array->raw;
        size = found;
    }
    if (size != wanted) return NULL;
    if (array->steps[chunk] & SHUFFLED) {
        unshuffle(bytes, array->shuffled, n, array->width);
        return array->shuffled;
    }
    if (bytes != array->raw) memcpy(array->raw, bytes, wanted); /* Where it lies in the file says nothing of alignment. */
    return array->raw;
}

#define CODE(kind, width) ((kind) << 8 | (width))
#define CONVERT(code, type, expression)                                  \
    case code: {                                                         \
        const type *from = (const type *)bytes;                          \
        for (int64_t i = 0; i < n; i++) { const type x = from[i]; to[i] = expression; } \
        return to;                                                       \
    }

static const float *as_floats(const struct stored *array, const uint8_t *bytes, int64_t n) {
    float *to = array->converted;
    switch (CODE(array->kind, array->width)) {
        case CODE('f', 4): return (const float *)bytes;
        CONVERT(CODE('f', 8), double, (float)x)
        CONVERT(CODE('i', 1), int8_t, (float)x)
        CONVERT(CODE('i', 2), int16_t, (float)x)
        CONVERT(CODE('i', 4), int32_t, (float)x)
        CONVERT(CODE('i', 8), int64_t, (float)x)
        CONVERT(CODE('u', 1), uint8_t, (float)x)
        CONVERT(CODE('u', 2), uint16_t, (float)x)
        CONVERT(CODE('u', 4), uint32_t, (float)x)
        CONVERT(CODE('u', 8), uint64_t, (float)x)
        default: return NULL;
    }
}

static const int32_t *as_columns(const struct stored *array, const uint8_t *bytes, int64_t n) {
    int32_t *to = array->converted;
    switch (CODE(array->kind, array->width)) {
        case CODE('i', 4): return (const int32_t *)bytes;
        CONVERT(CODE('i', 1), int8_t, x)
        CONVERT(CODE('i', 2), int16_t, x)
        CONVERT(CODE('i', 8), int64_t, x < 0 || x > INT32_MAX ? -1 : (int32_t)x)
        CONVERT(CODE('u', 1), uint8_t, x)
        CONVERT(CODE('u', 2), uint16_t, x)
        CONVERT(CODE('u', 4), uint32_t, x > INT32_MAX ? -1 : (int32_t)x)
        CONVERT(CODE('u', 8), uint64_t, x > INT32_MAX ? -1 : (int32_t)x)
        default: return NULL;
    }
}

static int project_all(struct rows *to, const struct stored *data, const struct stored *indices, const struct inflater *by,
                       void *state) {
    const int64_t stop = to->indptr[to->n_rows];
    int64_t at = to->indptr[0], d = -1, c = -1;
    const float *values = NULL;
    const int32_t *columns = NULL;
    while (at < stop) {
        if (d < 0 || at >= data->starts[d + 1]) {
            if (++d >= data->n_chunks || data->starts[d] > at) return ODD;
            const int64_t n = data->starts[d + 1] - data->starts[d];
            const uint8_t *bytes = decoded(data, d, n, by, state);
            values = bytes ? as_floats(data, bytes, n) : NULL;
        }
        if (c < 0 || at >= indices->starts[c + 1]) {
            if (++c >= indices->n_chunks || indices->starts[c] > at) return ODD;
            const int64_t n = indices->starts[c + 1] - indices->starts[c];
            const uint8_t *bytes = decoded(indices, c, n, by, state);
            columns = bytes ? as_columns(indices, bytes, n) : NULL;
        }
        if (!values || !columns) return ODD;
        int64_t end = data->starts[d + 1] < indices->starts[c + 1] ? data->starts[d + 1] : indices->starts[c + 1];
        if (end > stop) end = stop;
        if (end > at) {
            if (celldrop_project(to, columns + (at - indices->starts[c]), values + (at - data->starts[d]), at, end) != OK)
                return ODD;
            at = end;
        }
    }
    return OK;
}

/* All rows of `to`, from the chunks that hold them. */
int celldrop_load(struct rows *to, const struct stored *data, const struct stored *indices, const struct inflater *by) {
    void *state = by->alloc();
    if (!state) return ODD;
    const int ended = project_all(to, data, indices, by, state);
    by->free(state);
    return ended;
}
