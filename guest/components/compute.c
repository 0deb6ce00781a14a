/* compute.c: kernels for benchmarks: n-body (double), a SHA-256-like hash (integer), and the
 * smallest functions that a bench can ask for. All give the same results in image and native
 * module.
 *
 *   nbody_run(steps) -> energy        from the same start each time
 *   sha_run(blocks) -> digest         first 64 bits over that many blocks
 *   bench_empty()                     nothing
 *   bench_sum(a, b, c, d, e, f)       six arguments
 *   bench_bytes(request, reply)       bytes: the request comes back
 *   bench_host_calls(n) -> ok         n host calls of "bench_nop"; how many succeeded
 *   bench_touch(pages) -> pages       writes to each of that many fresh pages of the heap */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <aee_guest.h>

/* ---- n-body: the outer solar system, as in the Computer Language Benchmarks Game ---------------- */

#define PI 3.141592653589793
#define SOLAR_MASS (4 * PI * PI)
#define DAYS 365.24
enum { BODIES = 5 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static const struct body start[BODIES] = {
    {0, 0, 0, 0, 0, 0, SOLAR_MASS},
    {4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01,
     1.66007664274403694e-03 * DAYS, 7.69901118419740425e-03 * DAYS,
     -6.90460016972063023e-05 * DAYS, 9.54791938424326609e-04 * SOLAR_MASS},
    {8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01,
     -2.76742510726411899e-03 * DAYS, 4.99852801234917238e-03 * DAYS,
     2.30417297573763929e-05 * DAYS, 2.85885980666130812e-04 * SOLAR_MASS},
    {1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01,
     2.96460137564761618e-03 * DAYS, 2.37847173959480950e-03 * DAYS,
     -2.96589568540237556e-05 * DAYS, 4.36624404335156298e-05 * SOLAR_MASS},
    {1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01,
     2.68067772490389322e-03 * DAYS, 1.62824170038242295e-03 * DAYS,
     -9.51592254519715870e-05 * DAYS, 5.15138902046611451e-05 * SOLAR_MASS},
};

static void attract(struct body *a, struct body *b, double dt)
{
    const double dx = a->x - b->x;
    const double dy = a->y - b->y;
    const double dz = a->z - b->z;
    const double square = dx * dx + dy * dy + dz * dz;
    const double pull = dt / (square * sqrt(square));
    a->vx -= dx * b->mass * pull;
    a->vy -= dy * b->mass * pull;
    a->vz -= dz * b->mass * pull;
    b->vx += dx * a->mass * pull;
    b->vy += dy * a->mass * pull;
    b->vz += dz * a->mass * pull;
}

static void advance(struct body *bodies, double dt)
{
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            attract(&bodies[i], &bodies[j], dt);
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

/* The sun moves so that the momentum of all is zero. */
static void offset_momentum(struct body *bodies)
{
    double px = 0.0;
    double py = 0.0;
    double pz = 0.0;
    for (int i = 1; i < BODIES; i++) {
        px += bodies[i].vx * bodies[i].mass;
        py += bodies[i].vy * bodies[i].mass;
        pz += bodies[i].vz * bodies[i].mass;
    }
    bodies[0].vx = -px / SOLAR_MASS;
    bodies[0].vy = -py / SOLAR_MASS;
    bodies[0].vz = -pz / SOLAR_MASS;
}

static double energy(const struct body *bodies)
{
    double sum = 0.0;
    for (int i = 0; i < BODIES; i++) {
        const struct body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (int j = i + 1; j < BODIES; j++) {
            const struct body *b = &bodies[j];
            const double dx = a->x - b->x;
            const double dy = a->y - b->y;
            const double dz = a->z - b->z;
            sum -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

AEE_SIGNATURE(nbody_run, "d:i");
AEE_EXPORT double nbody_run(int64_t steps)
{
    struct body bodies[BODIES];
    memcpy(bodies, start, sizeof bodies);
    offset_momentum(bodies);
    for (int64_t i = 0; i < steps; i++) {
        advance(bodies, 0.01);
    }
    return energy(bodies);
}

/* ---- SHA-256's compression function over a counter; constants by rule instead of by table --------- */

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x >> by | x << (32u - by);
}

static void expand(uint32_t words[64], uint64_t counter)
{
    for (uint32_t i = 0; i < 16u; i++) {
        words[i] = (uint32_t)(counter * 0x9e3779b9u) + i * 0x85ebca6bu;
    }
    for (uint32_t i = 16; i < 64u; i++) {
        const uint32_t a = words[i - 15u];
        const uint32_t b = words[i - 2u];
        words[i] = words[i - 16u] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + words[i - 7u] +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void compress(uint32_t state[8], const uint32_t words[64])
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (uint32_t i = 0; i < 64u; i++) {
        const uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                             ((e & f) ^ (~e & g)) + words[i] + (0x428a2f98u ^ i * 0x71374491u);
        const uint32_t two =
            (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + one;
        d = c, c = b, b = a, a = one + two;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

AEE_SIGNATURE(sha_run, "i:i");
AEE_EXPORT int64_t sha_run(int64_t blocks)
{
    uint32_t state[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                         0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    uint32_t words[64];
    for (int64_t i = 0; i < blocks; i++) {
        expand(words, (uint64_t)i);
        compress(state, words);
    }
    return (int64_t)((uint64_t)state[0] << 32 | state[1]);
}

/* ---- Calls and memory --------------------------------------------------------------------------- */

AEE_SIGNATURE(bench_empty, "v:");
AEE_EXPORT void bench_empty(void)
{
}

AEE_SIGNATURE(bench_sum, "i:iiiiii");
AEE_EXPORT int64_t bench_sum(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)
{
    return a + b + c + d + e + f;
}

AEE_SIGNATURE(bench_bytes, "b");
AEE_EXPORT int64_t bench_bytes(const void *request, size_t size, void *reply, size_t capacity)
{
    const size_t count = size < capacity ? size : capacity;
    memcpy(reply, request, count);
    return (int64_t)count;
}

AEE_SIGNATURE(bench_host_calls, "i:i");
AEE_EXPORT int64_t bench_host_calls(int64_t n)
{
    int64_t succeeded = 0;
    for (int64_t i = 0; i < n; i++) {
        succeeded += aee_host_call("bench_nop", NULL, i) == AEE_HOST_OK;
    }
    return succeeded;
}

/* The memory is kept: what was handed out before is not fresh any more. */
AEE_SIGNATURE(bench_touch, "i:i");
AEE_EXPORT int64_t bench_touch(int64_t pages)
{
    if (pages < 0 || pages > INT64_C(1) << 24) {
        return -1;
    }
    volatile char *memory = malloc((size_t)pages * 4096u);
    if (memory == NULL) {
        return -1;
    }
    for (int64_t i = 0; i < pages; i++) {
        memory[i * 4096] = 1;
    }
    return pages;
}
