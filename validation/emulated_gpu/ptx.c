/* Executes a kernel that translate.py has translated: one program after another, each thread until it has to wait.

   ptx.py compiles this with REGISTERS, SHARED and STEP, a file that defines step(). It repeats the layout of `range`
   and `machine`. */

#include <stdint.h>
#include <string.h>

typedef union {
    uint8_t pred, u8, b8;
    int8_t s8;
    uint16_t u16, b16;
    int16_t s16;
    uint32_t u32, b32;
    int32_t s32;
    uint64_t u64, b64, f32x2; /* f32x2: two float32 */
    int64_t s64;
    float f32;
    double f64;
    _Float16 f16;
} reg;

typedef struct {
    uint64_t begin, end;
    uint64_t *written; /* for each byte, when and by which thread; NULL if races are not checked */
} range;

typedef struct {
    uint32_t grid[2], threads, seed, count, fault, line, program, thread, racy_reads;
    uint64_t address, now, program_began;
    uint64_t params[64];
    range ranges[32];
} machine;

enum { RUNS, ENDED, AT_BARRIER, EXCHANGES, REDUCES, REDUCES_F32, GATHERS };
enum { NO_FAULT, OUTSIDE, NOT_ALIGNED, OVERWRITTEN, DEADLOCK };

typedef struct {
    int state, at; /* the place in the code where it waits */
    uint32_t value, lanes; /* what it exchanges, and with which lane (xor) */
    uint32_t rows[4]; /* addresses of rows of matrices */
    reg registers[REGISTERS];
} thread;

static int fault(machine *m, uint32_t kind, uint32_t line, uint32_t id, uint64_t address) {
    if (!m->fault) {
        m->fault = kind;
        m->line = line;
        m->thread = id;
        m->address = address;
    }
    return 0;
}

/* Whether a write of another thread since the last barrier, or of another program of the launch, has no order to now. */
static int unordered(const machine *m, uint64_t written, uint64_t me) {
    uint64_t when = written >> 16;
    return written && written != me && (when == m->now || when < m->program_began);
}

/* Whether two elements are both NaN, as float32 or float64 by their width. On x86 the bits of a NaN depend on the order
   of the operands. On a GPU every NaN that arithmetic gives is the same. */
static int both_nan(const void *a, const void *b, uint32_t width) {
    if (width == 4) {
        float x, y;
        memcpy(&x, a, 4);
        memcpy(&y, b, 4);
        return x != x && y != y;
    }
    if (width == 8) {
        double x, y;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        return x != x && y != y;
    }
    return 0;
}

/* Whether memory at an address would change if elements of this width were written there. */
static int differs(const uint8_t *value, const uint8_t *memory, uint32_t size, uint32_t width) {
    for (uint32_t k = 0; k < size; k += width)
        if (memcmp(value + k, memory + k, width) && !both_nan(value + k, memory + k, width))
            return 1;
    return 0;
}

enum { REFUSED, FINE, RACY };

/* Whether elements of this width, `size` bytes in all, can be read, or written where a value is given. */
static int reaches(machine *m, uint32_t line, uint32_t id, uint64_t address, uint32_t size, uint32_t width,
                   const void *value) {
    if (address % size)
        return fault(m, NOT_ALIGNED, line, id, address);
    for (uint32_t k = 0; k < m->count; k++) {
        const range *r = m->ranges + k;
        if (address < r->begin || address + size > r->end)
            continue;
        if (!r->written)
            return FINE;
        int changes = value && differs(value, (const void *)address, size, width);
        uint64_t me = m->now << 16 | id, *written = r->written + (address - r->begin);
        for (uint32_t i = 0; i < size; i++) {
            if (unordered(m, written[i], me) && !value) {
                m->racy_reads++;
                return RACY;
            }
            if (unordered(m, written[i], me) && changes)
                return fault(m, OVERWRITTEN, line, id, address);
            if (value)
                written[i] = me;
        }
        return FINE;
    }
    return fault(m, OUTSIDE, line, id, address);
}

/* The largest error that NVIDIA allows, sometimes above and sometimes below. */
static double roughly(double value, double most) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return value * (1 + ((bits >> 33) & 1 ? most : -most));
}

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return value != value ? 0x7fff : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

static float from_bf16(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

/* Whether a is larger than b, or a number where b is NaN. */
static int larger_f32(uint32_t a, uint32_t b) {
    float x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    return x > y || (y != y && x == x);
}

static uint64_t fma2(uint64_t a, uint64_t b, uint64_t c) {
    union {
        uint64_t b64;
        float f32[2];
    } x = {a}, y = {b}, z = {c};
    for (int k = 0; k < 2; k++)
        z.f32[k] = __builtin_fmaf(x.f32[k], y.f32[k], z.f32[k]);
    return z.b64;
}

static int step(machine *m, thread *t, reg *restrict r, uint32_t id, uint32_t program, uint8_t *shared);

#include STEP

static uint32_t draw(machine *m) {
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 17;
    m->seed ^= m->seed << 5;
    return m->seed;
}

/* Let a warp continue if all its threads wait at the same place; return whether they do. */
static int exchange(thread *warp) {
    uint32_t values[32], most;
    for (uint32_t lane = 0; lane < 32; lane++) {
        if (warp[lane].state != warp->state || warp[lane].at != warp->at)
            return 0;
        values[lane] = warp[lane].value;
        if (!lane || (warp->state == REDUCES_F32 ? larger_f32(values[lane], most) : (int32_t)values[lane] > (int32_t)most))
            most = values[lane];
    }
    if (warp->state < EXCHANGES)
        return 0;
    for (uint32_t lane = 0; lane < 32; lane++) {
        for (uint32_t k = 0; k < 4; k++)
            warp[lane].rows[k] = values[8 * k + lane / 4];
        warp[lane].value = warp[lane].state == EXCHANGES ? values[lane ^ warp[lane].lanes] : most;
        warp[lane].state = RUNS;
    }
    return 1;
}

static int run_program(machine *m, uint32_t program, thread *threads, uint8_t *shared) {
    uint32_t order[1024];
    m->program = program;
    m->program_began = ++m->now;
    for (uint32_t i = 0; i < m->threads; i++) {
        threads[i].state = RUNS;
        threads[i].at = 0;
        order[i] = i;
    }
    for (;;) {
        uint32_t moved = 0, ended = 0, at_barrier = 0;
        for (uint32_t i = m->threads; i > 1; i--) {
            uint32_t other = draw(m) % i, last = order[i - 1];
            order[i - 1] = order[other];
            order[other] = last;
        }
        for (uint32_t i = 0; i < m->threads; i++) {
            thread *t = threads + order[i];
            if (t->state != RUNS)
                continue;
            t->state = step(m, t, t->registers, order[i], program, shared);
            moved = 1;
            if (m->fault)
                return m->fault;
        }
        for (uint32_t i = 0; i < m->threads; i += 32)
            moved |= exchange(threads + i);
        for (uint32_t i = 0; i < m->threads; i++) {
            ended += threads[i].state == ENDED;
            at_barrier += threads[i].state == AT_BARRIER;
        }
        if (ended == m->threads)
            return NO_FAULT;
        if (at_barrier && ended + at_barrier == m->threads) {
            m->now++;
            for (uint32_t i = 0; i < m->threads; i++)
                if (threads[i].state == AT_BARRIER)
                    threads[i].state = RUNS;
        } else if (!moved) {
            fault(m, DEADLOCK, 0, 0, 0);
            return m->fault;
        }
    }
}

/* The first range is the shared memory of a program: what another program left there must not be read. */
int run(machine *m, thread *threads) {
    uint8_t *shared = (uint8_t *)m->ranges[0].begin;
    for (uint32_t program = 0; program < m->grid[0] * m->grid[1]; program++) {
        memset(shared, 255, SHARED);
        if (m->ranges[0].written)
            memset(m->ranges[0].written, 0, SHARED * sizeof(uint64_t));
        if (run_program(m, program, threads, shared))
            break;
    }
    return m->fault;
}

uint64_t size_of_thread(void) { return sizeof(thread); }
uint64_t size_of_machine(void) { return sizeof(machine); }
