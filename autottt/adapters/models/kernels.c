/* What a decoder layer of a small Llama does between its products, in one pass over memory each.
 *
 * bfloat16 in and out, float inside. Rows are shared among the threads of the OpenMP runtime that
 * torch has loaded (this file is compiled with -fopenmp and linked with no runtime of its own).
 * `kernels.py` says what each function computes; torch's own operations there do the same.
 */
#include <stdint.h>
#include <string.h>

/* The machine's vectors are chosen when it is loaded; without that torch's operations are faster. */
#if !defined(__x86_64__)
#define FAST
#elif !defined(__GLIBC__) || defined(__clang__)
#error "gcc and glibc are needed"
#elif __GNUC__ >= 12
#define FAST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FAST __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
typedef int64_t i64;

INLINE float wide(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* To the nearest, ties to even. What is not a number stays that: its lower bits, which come from a
 * bf16 or from the machine, are zero. */
INLINE bf16 narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* A whole number that is greater for a greater number; it is its own inverse. */
INLINE int16_t ordered(bf16 x) { return (int16_t)(x ^ (((int16_t)x >> 15) & 0x7fff)); }

/* exp by 2^n times a polynomial (Cephes), to about 1e-7; what is too small is 0. */
INLINE float exponential(float x) {
    float y = x > 88.0f ? 88.0f : x;
    y = y < -87.0f ? -87.0f : y;
    float n = (y * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = y - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = (uint32_t)(((int32_t)n + 127) << 23);
    float power;
    memcpy(&power, &bits, 4);
    return x < -87.0f ? 0.0f : p * power;
}

INLINE float inverse_root(float x) { return 1.0f / __builtin_sqrtf(x); }

typedef void (*rows_of)(i64 begin, i64 end, void *const *at, const i64 *n, float eps);

/* Calls `each` on parts of `rows`, in as many threads as there are for that much work. */
static void shared(rows_of each, i64 rows, i64 size, void *const *at, const i64 *n, float eps) {
    i64 parts = rows * size / 16384;
#pragma omp parallel if (parts > 1)
    {
        i64 threads = 1, thread = 0;
#ifdef _OPENMP
        extern int omp_get_num_threads(void), omp_get_thread_num(void);
        threads = omp_get_num_threads(), thread = omp_get_thread_num();
#endif
        if (threads > parts) threads = parts < 1 ? 1 : parts;
        if (thread < threads)
            each(rows * thread / threads, rows * (thread + 1) / threads, at, n, eps);
    }
}

FAST static void normed_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    const bf16 *x = at[0];
    bf16 *y = at[1];
    float *scale = at[2];
    i64 d = n[0];
    for (i64 i = begin; i < end; i++) {
        const bf16 *from = x + i * d;
        bf16 *to = y + i * d;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (i64 j = 0; j < d; j++) sum += wide(from[j]) * wide(from[j]);
        float by = inverse_root(sum / (float)d + eps);
        scale[i] = by;
#pragma omp simd
        for (i64 j = 0; j < d; j++) to[j] = narrow(wide(from[j]) * by);
    }
}

FAST static void normed_back_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    const bf16 *dn = at[0], *y = at[1], *more = at[3];
    const float *scale = at[2];
    bf16 *dx = at[4];
    i64 d = n[0];
    for (i64 i = begin; i < end; i++) {
        const bf16 *g = dn + i * d, *v = y + i * d, *m = more + i * d;
        bf16 *to = dx + i * d;
        float along = 0;
#pragma omp simd reduction(+ : along)
        for (i64 j = 0; j < d; j++) along += wide(g[j]) * wide(v[j]);
        along /= (float)d;
        float by = scale[i];
#pragma omp simd
        for (i64 j = 0; j < d; j++)
            to[j] = narrow(wide(m[j]) + by * (wide(g[j]) - along * wide(v[j])));
    }
}

FAST static void gated_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    const bf16 *both = at[0];
    bf16 *inner = at[1];
    i64 f = n[0];
    for (i64 i = begin; i < end; i++) {
        const bf16 *gate = both + i * 2 * f, *up = gate + f;
        bf16 *to = inner + i * f;
#pragma omp simd
        for (i64 j = 0; j < f; j++) {
            float g = wide(gate[j]);
            to[j] = narrow(g / (1.0f + exponential(-g)) * wide(up[j]));
        }
    }
}

FAST static void gated_back_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    const bf16 *dinner = at[0], *both = at[1];
    bf16 *dboth = at[2];
    i64 f = n[0];
    for (i64 i = begin; i < end; i++) {
        const bf16 *gate = both + i * 2 * f, *up = gate + f, *d = dinner + i * f;
        bf16 *dgate = dboth + i * 2 * f, *dup = dgate + f;
#pragma omp simd
        for (i64 j = 0; j < f; j++) {
            float g = wide(gate[j]), s = 1.0f / (1.0f + exponential(-g)), own = wide(d[j]);
            dgate[j] = narrow(own * wide(up[j]) * s * (1.0f + g * (1.0f - s)));
            dup[j] = narrow(own * g * s);
        }
    }
}

/* n: all heads, those that turn, their size, rows of the batch B, their length T, the length S that
 * they have in `parts` (H, B, S, size), and whether to go from there. Row i is token i of B * T. */
FAST static void heads_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    bf16 *flat = at[0], *parts = at[3];
    const float *cos = at[1], *sin = at[2];
    i64 every = n[0], turning = n[1], size = n[2], half = size / 2;
    i64 rows = n[3], length = n[4], room = n[5], back = n[6];
    for (i64 i = begin; i < end; i++) {
        i64 place = i % length;
        const float *c = cos + place * size, *s = sin + place * size;
        for (i64 h = 0; h < every; h++) {
            bf16 *whole = flat + (i * every + h) * size;
            bf16 *part = parts + ((h * rows + i / length) * room + place) * size;
            const bf16 *x = back ? part : whole;
            bf16 *y = back ? whole : part;
            if (h >= turning) {
                memcpy(y, x, size * sizeof(bf16));
                continue;
            }
#pragma omp simd
            for (i64 j = 0; j < half; j++) {
                float a = wide(x[j]), b = wide(x[half + j]);
                y[j] = narrow(a * c[j] - b * s[j]);
                y[half + j] = narrow(b * c[half + j] + a * s[half + j]);
            }
        }
    }
}

/* Columns that a row goes through: those it sees, to the end of a vector of 32. */
INLINE i64 upto(i64 seen, i64 columns) {
    i64 whole = (seen + 31) & ~(i64)31;
    return whole < columns ? whole : columns;
}

/* n: rows of a block, its first row, columns. Row i of a block sees columns up to itself. */
FAST static void causal_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    bf16 *scores = at[0];
    i64 block = n[0], first = n[1], columns = n[2];
    for (i64 i = begin; i < end; i++) {
        bf16 *x = scores + i * columns;
        i64 seen = first + i % block + 1, whole = upto(seen, columns);
        for (i64 j = seen; j < whole; j++) x[j] = 0xff80; /* minus infinity */
        int16_t most = INT16_MIN;
#pragma omp simd reduction(max : most)
        for (i64 j = 0; j < whole; j++) most = ordered(x[j]) > most ? ordered(x[j]) : most;
        float top = wide((bf16)ordered((bf16)most)), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (i64 j = 0; j < whole; j++) {
            float y = exponential(wide(x[j]) - top);
            x[j] = narrow(y);
            sum += y;
        }
        float by = 1.0f / sum;
#pragma omp simd
        for (i64 j = 0; j < whole; j++) x[j] = narrow(wide(x[j]) * by);
        memset(x + whole, 0, (columns - whole) * sizeof(bf16));
    }
}

FAST static void causal_back_rows(i64 begin, i64 end, void *const *at, const i64 *n, float eps) {
    bf16 *grads = at[0];
    const bf16 *weights = at[1];
    i64 block = n[0], first = n[1], columns = n[2];
    for (i64 i = begin; i < end; i++) {
        bf16 *d = grads + i * columns;
        const bf16 *p = weights + i * columns;
        i64 whole = upto(first + i % block + 1, columns);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (i64 j = 0; j < whole; j++) sum += wide(d[j]) * wide(p[j]);
#pragma omp simd
        for (i64 j = 0; j < whole; j++) d[j] = narrow(wide(p[j]) * (wide(d[j]) - sum));
        memset(d + whole, 0, (columns - whole) * sizeof(bf16));
    }
}

void normed(void *x, void *y, void *scale, i64 rows, i64 d, float eps) {
    void *at[] = {x, y, scale};
    shared(normed_rows, rows, d, at, &d, eps);
}

void normed_back(void *dn, void *y, void *scale, void *more, void *dx, i64 rows, i64 d) {
    void *at[] = {dn, y, scale, more, dx};
    shared(normed_back_rows, rows, d, at, &d, 0);
}

void gated(void *both, void *inner, i64 rows, i64 f) {
    void *at[] = {both, inner};
    shared(gated_rows, rows, 4 * f, at, &f, 0);
}

void gated_back(void *dinner, void *both, void *dboth, i64 rows, i64 f) {
    void *at[] = {dinner, both, dboth};
    shared(gated_back_rows, rows, 4 * f, at, &f, 0);
}

void heads(void *flat, void *cos, void *sin, void *parts, i64 every, i64 turning, i64 size,
           i64 rows, i64 length, i64 room, i64 back) {
    void *at[] = {flat, cos, sin, parts};
    i64 n[] = {every, turning, size, rows, length, room, back};
    shared(heads_rows, rows * length, every * size, at, n, 0);
}

void causal(void *scores, i64 rows, i64 block, i64 first, i64 columns) {
    void *at[] = {scores};
    i64 n[] = {block, first, columns};
    shared(causal_rows, rows, 4 * columns, at, n, 0);
}

void causal_back(void *grads, void *weights, i64 rows, i64 block, i64 first, i64 columns) {
    void *at[] = {grads, weights};
    i64 n[] = {block, first, columns};
    shared(causal_back_rows, rows, columns, at, n, 0);
}

/* The checksum of the source, by which a library of another version is known. */
uint32_t source(void) { return SOURCE; }
