/* rows.h: all rows, each in the file of its subject. */
#ifndef AEE_BENCH_ROWS_H
#define AEE_BENCH_ROWS_H

#include "bench/bench.h"

/* calls.c */
extern const struct bench_row bench_row_ring_call;
extern const struct bench_row bench_row_trace_overhead;
extern const struct bench_row bench_row_host_call;
extern const struct bench_row bench_row_direct_call;
/* batch.c */
extern const struct bench_row bench_row_ring_batch64;
extern const struct bench_row bench_row_fan_out;
/* compute.c */
extern const struct bench_row bench_row_compute_nbody;
extern const struct bench_row bench_row_compute_particles;
extern const struct bench_row bench_row_compute_sha;
extern const struct bench_row bench_row_column_update;
/* create.c */
extern const struct bench_row bench_row_create_cold;
extern const struct bench_row bench_row_acquire_pooled;
/* recovery.c */
extern const struct bench_row bench_row_crash_recover;
extern const struct bench_row bench_row_reset_0;
extern const struct bench_row bench_row_reset_16;
extern const struct bench_row bench_row_reset_256;
extern const struct bench_row bench_row_fork_call;
extern const struct bench_row bench_row_state_save;
extern const struct bench_row bench_row_state_restore;
/* frames_lost.c */
extern const struct bench_row bench_row_frames_lost;
/* memory.c */
extern const struct bench_row bench_row_first_touch;
extern const struct bench_row bench_row_revoke_4mib;
/* density.c */
extern const struct bench_row bench_row_idle_context_pss_kib;
extern const struct bench_row bench_row_idle_context_kernel_kib;
extern const struct bench_row bench_row_contexts_alive;
/* overshoot.c */
extern const struct bench_row bench_row_budget_overshoot;
/* elsewhere_process.c, elsewhere_lua.c */
extern const struct bench_row bench_row_elsewhere_process_futex;
extern const struct bench_row bench_row_elsewhere_process_pipe;
extern const struct bench_row bench_row_elsewhere_process_spin;
extern const struct bench_row bench_row_elsewhere_luajit;
extern const struct bench_row bench_row_elsewhere_lua54;

#endif
