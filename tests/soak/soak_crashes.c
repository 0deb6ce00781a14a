/* soak_crashes.c: very many crashes, one in each frame, of a context that comes back to its
 * checkpoint and of one that comes back from its image, in turns. Two other contexts are called in
 * every frame, and a third works on submitted calls: none of that may fail, or be late, and in the
 * end this process must be as large as it was. Public API only.
 *
 *   soak_crashes [--crashes N] [--hz F] [--threads] [--no-time]
 *
 * --hz 0: the next frame begins at once. --threads: the two are called from threads of their own.
 * --no-time: late frames are counted, but are no failure. Exit codes: 0, 1 (a failure), 2 (usage),
 * 77 (there is no such level here). */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aee_virt.h"
#include "process.h"

enum kind { NULL_WRITE, WILD_JUMP, STACK_OVERFLOW, ABORT, HANG, KINDS };
enum { KEPT, FRESH, VICTIMS };
enum { OTHERS = 2, BATCH = 16, KEEP_EVERY = 64 /* crashes */, WARM_UP = 500, SKIPPED = 77 };
#define GROWTH_KIB 1024 /* what memory may vary by: caches and buffers that are filled late */

struct part {
    aee_context context;
    aee_function count;
    aee_function work;    /* fall or mix */
    int64_t expected;     /* the next result of count */
    uint64_t wrong;       /* calls that failed, or lost the state */
    uint64_t finished_ns; /* when the last call ended */
};

/* Times from a crash to the next answer. */
struct answers {
    uint32_t *ns;
    uint64_t count;
};
enum { OF_KEPT, OF_FRESH, OF_HUNG, ANSWERS };

struct soak {
    uint64_t crashes; /* asked for */
    double hz;
    bool threads;
    bool no_time;

    aee_engine *engine;
    struct part victims[VICTIMS];
    struct part others[OTHERS];
    struct part batcher;
    pthread_t callers[OTHERS];
    pthread_barrier_t begin; /* of --threads: a frame's calls */
    pthread_barrier_t end;
    bool stop; /* read behind `begin` */

    uint64_t done;
    uint64_t by_kind[KINDS];
    uint64_t lost_frames;  /* a call of the others failed or lost state */
    uint64_t tardy_frames; /* the others' calls ended after the frame's end */
    uint64_t late_frames;
    uint64_t not_ended;  /* falls with another result than they should have */
    uint64_t state_lost; /* of the victims */
    uint64_t given_up;   /* restarts that failed, and quarantines */
    struct answers answers[ANSWERS];
    char failure[400]; /* the first one */
};

struct caller {
    struct soak *soak;
    struct part *part;
};

static void note(struct soak *soak, const char *what, const char *text)
{
    if (!soak->failure[0]) {
        (void)snprintf(soak->failure, sizeof soak->failure, "after %" PRIu64 " crashes: %s: %s",
                       soak->done, what, text);
    }
}

/* ---- The cast ----------------------------------------------------------------------------- */

static aee_result open_part(struct soak *soak, struct part *part, const char *name,
                            const char *work, aee_error *error)
{
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = name,
        .limits = {.call_budget_ns = 10 * NS_PER_SECOND, .restarts = 63, .restart_window_ns = 1}};
    aee_result result = aee_context_create(soak->engine, &desc, &part->context, error);
    part->expected = 1;
    if (result == AEE_OK) {
        result = aee_load_file(soak->engine, part->context, AEE_SOAKBED, error);
    }
    if (result == AEE_OK) {
        result = aee_find_function(soak->engine, part->context, "count", &part->count, error);
    }
    return result == AEE_OK
               ? aee_find_function(soak->engine, part->context, work, &part->work, error)
               : result;
}

static void on_event(void *user, const aee_event *event)
{
    struct soak *soak = user;
    if (event->type == AEE_EVENT_RESTART_FAILED || event->type == AEE_EVENT_QUARANTINED) {
        soak->given_up++;
        note(soak, aee_event_name(event->type), event->text);
    }
}

static aee_result open_all(struct soak *soak, aee_error *error)
{
    const aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                        .restart = AEE_RESTART_CHECKPOINT};
    aee_result result = open_part(soak, &soak->victims[KEPT], "kept", "fall", error);
    result =
        result == AEE_OK ? open_part(soak, &soak->victims[FRESH], "fresh", "fall", error) : result;
    result = result == AEE_OK ? open_part(soak, &soak->others[0], "first", "mix", error) : result;
    result = result == AEE_OK ? open_part(soak, &soak->others[1], "second", "mix", error) : result;
    result = result == AEE_OK ? open_part(soak, &soak->batcher, "batches", "mix", error) : result;
    if (result == AEE_OK) {
        result = aee_set_recovery(soak->engine, soak->victims[KEPT].context, &recovery, error);
    }
    return result == AEE_OK ? aee_set_event_callback(soak->engine, on_event, soak, error) : result;
}

/* ---- Calls of the others ------------------------------------------------------------------ */

static void call_other(struct soak *soak, struct part *part)
{
    int64_t value = 0;
    const aee_result result =
        aee_call_i64(soak->engine, part->context, part->count, NULL, 0, &value, NULL);
    part->wrong += result != AEE_OK || value != part->expected;
    part->expected++;
    part->finished_ns = now_ns();
}

static void *run_caller(void *user)
{
    const struct caller caller = *(struct caller *)user;
    struct soak *soak = caller.soak;
    free(user);
    for (;;) {
        (void)pthread_barrier_wait(&soak->begin);
        if (soak->stop) {
            return NULL;
        }
        call_other(soak, caller.part);
        (void)pthread_barrier_wait(&soak->end);
    }
}

static bool start_callers(struct soak *soak)
{
    (void)pthread_barrier_init(&soak->begin, NULL, OTHERS + 1);
    (void)pthread_barrier_init(&soak->end, NULL, OTHERS + 1);
    for (int i = 0; i < OTHERS; i++) {
        struct caller *caller = malloc(sizeof *caller);
        if (!caller) {
            return false;
        }
        *caller = (struct caller){soak, &soak->others[i]};
        if (pthread_create(&soak->callers[i], NULL, run_caller, caller) != 0) {
            free(caller);
            return false;
        }
    }
    return true;
}

static void stop_callers(struct soak *soak)
{
    soak->stop = true;
    (void)pthread_barrier_wait(&soak->begin);
    for (int i = 0; i < OTHERS; i++) {
        (void)pthread_join(soak->callers[i], NULL);
    }
    (void)pthread_barrier_destroy(&soak->begin);
    (void)pthread_barrier_destroy(&soak->end);
}

static aee_batch submit(struct soak *soak)
{
    aee_call_item items[BATCH] = {0};
    aee_batch batch = {0};
    aee_error error;
    for (unsigned i = 0; i < BATCH; i++) {
        items[i].context = soak->batcher.context;
        items[i].function = soak->batcher.work;
        items[i].arg_count = 1;
        items[i].args[0] = aee_i64((int64_t)(soak->done + i));
    }
    if (aee_submit(soak->engine, items, BATCH, 0, &batch, &error) != AEE_OK) {
        soak->batcher.wrong++;
        note(soak, "a batch", error.text);
    }
    return batch;
}

static void collect(struct soak *soak, aee_batch batch, uint64_t base)
{
    aee_completion done[BATCH];
    uint32_t count = 0;
    if (batch.id == 0) {
        return;
    }
    if (aee_wait(soak->engine, batch, done, BATCH, &count, 10 * NS_PER_SECOND, NULL) != AEE_OK ||
        count != BATCH) {
        soak->batcher.wrong++;
        (void)aee_batch_release(soak->engine, batch, NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        const int64_t argument = (int64_t)(base + done[i].index);
        soak->batcher.wrong +=
            done[i].result != AEE_OK || done[i].value.as.i64 != argument * 31 + 7;
    }
    soak->batcher.finished_ns = now_ns();
}

/* ---- The victims -------------------------------------------------------------------------- */

/* A hang has a budget of its own: the other calls must not look hung on a busy machine. */
static aee_result fall(struct soak *soak, const struct part *victim, enum kind kind)
{
    const int64_t argument = kind;
    aee_call_item item = {.context = victim->context,
                          .function = victim->work,
                          .arg_count = 1,
                          .args = {aee_i64(kind)},
                          .budget_ns = NS_PER_SECOND / 1000};
    aee_completion done = {.result = AEE_ERR_SYSTEM};
    aee_batch batch;
    uint32_t count = 0;
    if (kind != HANG) {
        return aee_call_i64(soak->engine, victim->context, victim->work, &argument, 1, NULL, NULL);
    }
    aee_result result = aee_submit(soak->engine, &item, 1, 0, &batch, NULL);
    if (result == AEE_OK) {
        result = aee_wait(soak->engine, batch, &done, 1, &count, 10 * NS_PER_SECOND, NULL);
    }
    return result == AEE_OK ? done.result : result;
}

/* The next answer, which must come of the state that there should be. */
static void expect_answer(struct soak *soak, struct part *victim)
{
    int64_t value = 0;
    aee_error error = {0};
    aee_result result;
    do {
        result =
            aee_call_i64(soak->engine, victim->context, victim->count, NULL, 0, &value, &error);
    } while (result == AEE_ERR_RESTARTING &&
             aee_wait_ready(soak->engine, victim->context, 10 * NS_PER_SECOND, &error) == AEE_OK);
    if (result != AEE_OK || value != victim->expected) {
        char text[300];
        (void)snprintf(text, sizeof text, "%s, %" PRId64 " instead of %" PRId64 " %.200s",
                       aee_result_name(result), value, victim->expected, error.text);
        note(soak, victim == &soak->victims[KEPT] ? "kept" : "fresh", text);
        soak->state_lost++;
    }
}

/* Now and then the state that is kept is another. */
static void keep(struct soak *soak)
{
    struct part *kept = &soak->victims[KEPT];
    aee_error error;
    if (aee_checkpoint(soak->engine, kept->context, &error) != AEE_OK) {
        note(soak, "a checkpoint", error.text);
        soak->state_lost++;
        return;
    }
    kept->expected++; /* one count was before it */
}

static void crash(struct soak *soak, struct part *victim, enum kind kind)
{
    const aee_result result = fall(soak, victim, kind);
    if (result != (kind == HANG ? AEE_ERR_HUNG : AEE_ERR_CRASHED)) {
        soak->not_ended++;
        note(soak, "a call that should have fallen", aee_result_name(result));
    }
    soak->by_kind[kind]++;
    soak->done++;
}

/* ---- Frames ------------------------------------------------------------------------------- */

static void call_others(struct soak *soak)
{
    for (int i = 0; i < OTHERS && !soak->threads; i++) {
        call_other(soak, &soak->others[i]);
    }
}

static uint64_t wrong_of_others(const struct soak *soak)
{
    return soak->others[0].wrong + soak->others[1].wrong + soak->batcher.wrong;
}

static void note_answer(struct soak *soak, const struct part *victim, enum kind kind, uint64_t ns)
{
    const unsigned index = kind == HANG                     ? OF_HUNG
                           : victim == &soak->victims[KEPT] ? OF_KEPT
                                                            : OF_FRESH;
    struct answers *answers = &soak->answers[index];
    answers->ns[answers->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

/* In odd frames the answer comes first, whose time is taken; in even ones the others are called
 * while the victim comes back. */
static void play(struct soak *soak, uint64_t frame, uint64_t budget_ns)
{
    struct part *victim = &soak->victims[frame / 2 % VICTIMS];
    aee_frame_info info = {0};
    const enum kind kind = (enum kind)(frame / 4 % KINDS);
    const uint64_t wrong = wrong_of_others(soak);
    (void)aee_engine_frame_begin(soak->engine, NULL);
    const uint64_t base = soak->done;
    uint64_t end_ns = now_ns() + budget_ns;
    if (soak->threads) {
        (void)pthread_barrier_wait(&soak->begin);
    }
    const aee_batch batch = submit(soak);
    const uint64_t before = now_ns();
    crash(soak, victim, kind);
    const uint64_t fallen = now_ns();
    if (frame % 2 == 0) {
        call_others(soak);
        expect_answer(soak, victim);
    } else {
        expect_answer(soak, victim);
        const uint64_t answered = now_ns();
        note_answer(soak, victim, kind, answered - before);
        end_ns += answered - fallen; /* nobody but this program waits for it before the others */
        call_others(soak);
    }
    if (victim == &soak->victims[KEPT] && soak->done / 4 % KEEP_EVERY == 0) {
        keep(soak);
    }
    if (soak->threads) {
        (void)pthread_barrier_wait(&soak->end);
    }
    collect(soak, batch, base);
    bool tardy = soak->batcher.finished_ns > end_ns;
    for (int i = 0; i < OTHERS; i++) {
        tardy = tardy || soak->others[i].finished_ns > end_ns;
    }
    (void)aee_engine_frame_end(soak->engine, &info, NULL);
    soak->tardy_frames += tardy;
    soak->late_frames += info.late != 0;
    if (wrong_of_others(soak) != wrong) {
        soak->lost_frames++;
        note(soak, "the others", "a call failed, or has another result than it should");
    }
}

static void progress(const struct soak *soak, uint64_t *next)
{
    if (now_ns() >= *next) {
        (void)printf("%" PRIu64 " of %" PRIu64 " crashes, %" PRIu64 " frames lost, %" PRIu64
                     " late, %" PRIu64 " KiB\n",
                     soak->done, soak->crashes, soak->lost_frames, soak->late_frames,
                     process_resident_kib());
        (void)fflush(stdout);
        *next = now_ns() + 10 * NS_PER_SECOND;
    }
}

static void run(struct soak *soak, uint64_t budget_ns, struct process_size sizes[3])
{
    const uint64_t warm = soak->crashes / 4 < WARM_UP ? soak->crashes / 4 : WARM_UP;
    uint64_t due = now_ns();
    uint64_t next = due;
    for (uint64_t frame = 0; frame < soak->crashes; frame++) {
        if (frame == warm) {
            sizes[0] = process_settled_size();
        } else if (frame == soak->crashes / 2) {
            sizes[1] = process_settled_size();
        }
        if (soak->hz > 0) {
            due = due > now_ns() ? due : now_ns();
            sleep_until(due);
            due += budget_ns;
        }
        play(soak, frame, budget_ns);
        progress(soak, &next);
    }
    sizes[2] = process_settled_size();
}

/* ---- The end ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a;
    const uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double answer_us(const struct answers *answers, uint64_t percent)
{
    const uint64_t rank = answers->count * percent / 100;
    return answers->count > 0 ? answers->ns[rank < answers->count ? rank : answers->count - 1] / 1e3
                              : 0;
}

static void print_answers(struct soak *soak)
{
    static const char *const names[ANSWERS] = {"to a checkpoint", "to its image",
                                               "after a hang of 1 ms"};
    (void)printf("crash to next answer\n");
    for (int i = 0; i < ANSWERS; i++) {
        struct answers *answers = &soak->answers[i];
        qsort(answers->ns, answers->count, sizeof *answers->ns, compare);
        (void)printf("... %-26s p50 %.1f us, p99 %.1f us, max %.1f us\n", names[i],
                     answer_us(answers, 50), answer_us(answers, 99), answer_us(answers, 100));
    }
}

/* All at once, before memory is measured. */
static bool make_answers(struct soak *soak)
{
    bool made = true;
    for (int i = 0; i < ANSWERS; i++) {
        soak->answers[i].ns = malloc(soak->crashes * sizeof(uint32_t));
        made = made && soak->answers[i].ns;
        if (soak->answers[i].ns) {
            memset(soak->answers[i].ns, 0xff, soak->crashes * sizeof(uint32_t));
        }
    }
    return made;
}

static void print_table(struct soak *soak, const struct process_size sizes[3], double seconds)
{
    aee_context_info infos[VICTIMS] = {0};
    aee_stats stats = {0};
    (void)aee_get_stats(soak->engine, &stats, NULL);
    for (int i = 0; i < VICTIMS; i++) {
        (void)aee_get_context_info(soak->engine, soak->victims[i].context, &infos[i], NULL);
    }
    (void)printf("\nlevel                          %s\n", aee_level_name(stats.level));
    (void)printf("crashes                        %" PRIu64 " in %.1f s (null write %" PRIu64
                 ", wild jump %" PRIu64 ", stack overflow %" PRIu64 ", abort %" PRIu64
                 ", hang %" PRIu64 ")\n",
                 soak->done, seconds, soak->by_kind[NULL_WRITE], soak->by_kind[WILD_JUMP],
                 soak->by_kind[STACK_OVERFLOW], soak->by_kind[ABORT], soak->by_kind[HANG]);
    (void)printf("restarts                       %" PRIu64 ", of them to a checkpoint %" PRIu64
                 "\n",
                 infos[KEPT].restarts + infos[FRESH].restarts, infos[KEPT].restores);
    (void)printf("answers with another state     %" PRIu64 "\n", soak->state_lost);
    (void)printf("frames lost by the others      %" PRIu64 "\n", soak->lost_frames);
    (void)printf("... in which they ended late   %" PRIu64 "\n", soak->tardy_frames);
    (void)printf("late frames in all             %" PRIu64 "\n", soak->late_frames);
    print_answers(soak);
    (void)printf("memory of this process         %" PRIu64 ", %" PRIu64 ", %" PRIu64
                 " KiB at the start, in the middle, at the end\n",
                 sizes[0].kib, sizes[1].kib, sizes[2].kib);
    (void)printf("descriptors                    %" PRIu64 ", %" PRIu64 ", %" PRIu64 "\n",
                 sizes[0].descriptors, sizes[1].descriptors, sizes[2].descriptors);
}

static bool judge(struct soak *soak, const struct process_size sizes[3])
{
    bool passed = soak->lost_frames + soak->not_ended + soak->state_lost + soak->given_up == 0;
    if (soak->failure[0]) {
        (void)printf("FAILED %s\n", soak->failure);
    }
    if (soak->tardy_frames > 0 && !soak->no_time) {
        (void)printf("FAILED the others were late in %" PRIu64 " frames\n", soak->tardy_frames);
        passed = false;
    }
    if (sizes[2].kib > sizes[0].kib + GROWTH_KIB) {
        (void)printf("FAILED memory has grown\n");
        passed = false;
    }
    if (sizes[2].descriptors > sizes[0].descriptors) {
        (void)printf("FAILED descriptors have grown\n");
        passed = false;
    }
    return passed;
}

/* ---- Command line ------------------------------------------------------------------------- */

static bool parse(struct soak *soak, int count, char **words)
{
    for (int i = 1; i < count; i++) {
        char *end = NULL;
        if (strcmp(words[i], "--threads") == 0) {
            soak->threads = true;
        } else if (strcmp(words[i], "--no-time") == 0) {
            soak->no_time = true;
        } else if (strcmp(words[i], "--crashes") == 0 && i + 1 < count) {
            soak->crashes = strtoull(words[++i], &end, 10);
        } else if (strcmp(words[i], "--hz") == 0 && i + 1 < count) {
            soak->hz = strtod(words[++i], &end);
        } else {
            return false;
        }
        if (end && (*end || end == words[i])) {
            return false;
        }
    }
    return soak->crashes >= 10 && soak->crashes <= 100000000 && soak->hz >= 0 && soak->hz <= 1e5;
}

/* -1: go on; else the exit code. */
static int open_engine(struct soak *soak, uint64_t budget_ns, aee_error *error)
{
    const aee_engine_desc desc = {.struct_size = sizeof desc, .frame_budget_ns = budget_ns};
    const char *wanted = getenv("AEE_FORCE_LEVEL");
    aee_stats stats;
    const aee_result result = aee_engine_create(&desc, &soak->engine, error);
    if (result == AEE_ERR_NO_BACKEND) {
        (void)printf("SKIP: %s\n", error->text);
        return SKIPPED;
    }
    if (result != AEE_OK || aee_get_stats(soak->engine, &stats, error) != AEE_OK) {
        return 1;
    }
    if (wanted && wanted[0] && strcmp(aee_level_name(stats.level), wanted) != 0) {
        (void)printf("SKIP: level \"%s\" is not offered here\n", wanted);
        return SKIPPED;
    }
    return open_all(soak, error) == AEE_OK ? -1 : 1;
}

int main(int count, char **words)
{
    static struct soak soak = {.crashes = 100000, .hz = 60};
    struct process_size sizes[3] = {0};
    aee_error error = {0};
    if (!parse(&soak, count, words)) {
        (void)fprintf(stderr,
                      "usage: soak_crashes [--crashes N] [--hz F] [--threads] [--no-time]\n");
        return 2;
    }
    const uint64_t budget_ns = (uint64_t)(1e9 / (soak.hz > 0 ? soak.hz : 60));
    int status = make_answers(&soak) ? open_engine(&soak, budget_ns, &error) : 1;
    if (status < 0 && soak.threads && !start_callers(&soak)) {
        (void)fprintf(stderr, "soak_crashes: cannot start threads\n");
        return 1;
    }
    if (status < 0) {
        const uint64_t begun = now_ns();
        keep(&soak);
        soak.victims[KEPT].expected = 1;
        run(&soak, budget_ns, sizes);
        print_table(&soak, sizes, (double)(now_ns() - begun) / 1e9);
        status = judge(&soak, sizes) ? 0 : 1;
        if (soak.threads) {
            stop_callers(&soak);
        }
    } else if (status == 1) {
        (void)fprintf(stderr, "soak_crashes: %s\n", error.text);
    }
    aee_engine_destroy(soak.engine);
    for (int i = 0; i < ANSWERS; i++) {
        free(soak.answers[i].ns);
    }
    return status;
}
