#include "bench/rows.h"

#include <stddef.h>
#include <string.h>

static const struct bench_row *const rows[] = {
    &bench_row_ring_call,
    &bench_row_ring_batch64,
    &bench_row_trace_overhead,
    &bench_row_host_call,
    &bench_row_direct_call,
    &bench_row_fan_out,
    &bench_row_compute_nbody,
    &bench_row_compute_particles,
    &bench_row_compute_sha,
    &bench_row_column_update,
    &bench_row_create_cold,
    &bench_row_acquire_pooled,
    &bench_row_first_touch,
    &bench_row_revoke_4mib,
    &bench_row_idle_context_pss_kib,
    &bench_row_idle_context_kernel_kib,
    &bench_row_contexts_alive,
    &bench_row_budget_overshoot,
    &bench_row_crash_recover,
    &bench_row_reset_0,
    &bench_row_reset_16,
    &bench_row_reset_256,
    &bench_row_fork_call,
    &bench_row_state_save,
    &bench_row_state_restore,
    &bench_row_frames_lost,
    &bench_row_elsewhere_process_spin,
    &bench_row_elsewhere_process_futex,
    &bench_row_elsewhere_process_pipe,
    &bench_row_elsewhere_luajit,
    &bench_row_elsewhere_lua54,
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const struct bench_row *bench_row_at(unsigned index)
{
    return index < ROW_COUNT ? rows[index] : NULL;
}

const struct bench_row *bench_row_in(const struct bench_row *row, aee_level level)
{
    return level != AEE_LEVEL_FULL && row->in_cells ? row->in_cells : row;
}

const char *bench_row_level(const struct bench_row *row, aee_level level)
{
    return row->level ? row->level : level == AEE_LEVEL_FULL ? "kvm" : aee_level_name(level);
}

const struct bench_row *bench_find_row(const char *name)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i]->name, name) == 0) {
            return rows[i];
        }
    }
    return NULL;
}
