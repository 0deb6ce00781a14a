/* bench.c: the life of a bench, and what is the same for every row. */
#include "bench/bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/internal.h"

void bench_sleep_until(uint64_t at_ns)
{
    const struct timespec at = {.tv_sec = (time_t)(at_ns / BENCH_NS_PER_SECOND),
                                .tv_nsec = (long)(at_ns % BENCH_NS_PER_SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

void bench_sleep(uint64_t ns)
{
    bench_sleep_until(bench_now() + ns);
}

uint32_t bench_scale(const struct bench *bench, uint32_t n)
{
    const uint32_t few = n / 10 > 0 ? n / 10 : 1;
    return bench->options.quick ? few : n;
}

/* ---- Results ------------------------------------------------------------------------------ */

int bench_skip(struct bench_result *result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!result->skipped[0]) {
        (void)vsnprintf(result->skipped, sizeof result->skipped, format, args);
    }
    va_end(args);
    return -1;
}

int bench_check(struct bench_result *result, aee_result status, const aee_error *error)
{
    return status == AEE_OK ? 0 : bench_skip(result, "%s", error->text);
}

void bench_extra(struct bench_result *result, const char *name, double value)
{
    if (result->extra_count < BENCH_EXTRAS) {
        result->extras[result->extra_count++] = (struct bench_extra){name, value};
    }
}

void bench_native_share(struct bench_result *result)
{
    if (result->row.p50 > 0.0) {
        bench_extra(result, "native_share", result->floor.p50 / result->row.p50);
    }
}

/* ---- Interleaving ------------------------------------------------------------------------- */

static int take_turns(const struct bench_pair *pair, struct bench_samples *floor,
                      struct bench_samples *row, struct bench_result *result)
{
    for (uint32_t i = 0; i < pair->rounds; i++) {
        if (pair->floor && pair->floor(pair->floor_user, floor, pair->floor_count, result) != 0) {
            return -1;
        }
        if (pair->row(pair->row_user, row, pair->row_count, result) != 0) {
            return -1;
        }
    }
    return 0;
}

int bench_interleave(const struct bench_pair *pair, struct bench_result *result)
{
    struct bench_samples floor = {0};
    struct bench_samples row = {0};
    int status;
    if (bench_samples_init(&floor, pair->rounds * pair->floor_count) &&
        bench_samples_init(&row, pair->rounds * pair->row_count)) {
        status = take_turns(pair, &floor, &row, result);
    } else {
        status = bench_skip(result, "there is no memory for the samples");
    }
    if (status == 0) {
        result->floor = bench_summarize(&floor);
        result->row = bench_summarize(&row);
    }
    bench_samples_free(&floor);
    bench_samples_free(&row);
    return status;
}

/* ---- Running ------------------------------------------------------------------------------ */

/* What an engine says of itself: the environment may force another level than was asked for. */
static aee_result find_level(struct bench *bench, aee_error *error)
{
    const aee_engine_desc desc = {
        .struct_size = sizeof desc, .pool_size = 1, .level = bench->options.level};
    aee_engine *engine;
    aee_stats stats = {0};
    aee_result result = aee_engine_create(&desc, &engine, error);
    if (result == AEE_OK) {
        result = aee_get_stats(engine, &stats, error);
        bench->level = stats.level;
        aee_engine_destroy(engine);
    }
    return result;
}

aee_result bench_open(const struct bench_options *options, struct bench **out, aee_error *error)
{
    *out = NULL;
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench) {
        (void)snprintf(error->text, sizeof error->text, "cannot measure: out of memory");
        return AEE_ERR_NO_MEMORY;
    }
    bench->options = *options;
    aee_result result = aee_probe(&bench->probe, error);
    if (result == AEE_OK) {
        result = find_level(bench, error);
    }
    if (result != AEE_OK) {
        free(bench);
        return result;
    }
    bench_cpus_find(bench);
    *out = bench;
    return AEE_OK;
}

aee_level bench_level(const struct bench *bench)
{
    return bench->level;
}

void bench_close(struct bench *bench)
{
    free(bench);
}

void bench_run(struct bench *bench, const struct bench_row *row, struct bench_result *result)
{
    memset(result, 0, sizeof *result);
    result->unjudged = bench->options.quick;
    if (row->run(bench, result) != 0) {
        const char *unknown = "it could not be measured";
        (void)bench_skip(result, "%s", unknown); /* unless it has said more */
    }
    bench_cpus_free(bench);
}
