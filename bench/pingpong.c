#include "bench/pingpong.h"

#include <string.h>

#define REST UINT64_MAX
enum { WARM_UP = 2000 };

/* Echoes requests until it is told to rest. */
static void echo(struct bench_pingpong *pingpong)
{
    uint64_t last = 0;
    while (last != REST) {
        const uint64_t request = atomic_load_explicit(&pingpong->request, memory_order_acquire);
        if (request == last) {
            bench_pause();
            continue;
        }
        last = request;
        atomic_store_explicit(&pingpong->reply, last, memory_order_release);
    }
}

static void *partner(void *argument)
{
    struct bench_pingpong *pingpong = argument;
    bench_cpus_pin(pingpong->cpu_there);
    (void)pthread_mutex_lock(&pingpong->lock);
    while (!pingpong->stopping) {
        if (!pingpong->playing) {
            (void)pthread_cond_wait(&pingpong->changed, &pingpong->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&pingpong->lock);
        echo(pingpong);
        (void)pthread_mutex_lock(&pingpong->lock);
        pingpong->playing = false;
        (void)pthread_cond_broadcast(&pingpong->changed);
    }
    (void)pthread_mutex_unlock(&pingpong->lock);
    return NULL;
}

int bench_pingpong_open(struct bench_pingpong *pingpong, const struct bench *bench,
                        struct bench_result *result)
{
    memset(pingpong, 0, sizeof *pingpong);
    pingpong->cpu_here = bench->cpu_here;
    pingpong->cpu_there = bench->cpu_there;
    (void)pthread_mutex_init(&pingpong->lock, NULL);
    (void)pthread_cond_init(&pingpong->changed, NULL);
    if (pthread_create(&pingpong->partner, NULL, partner, pingpong) != 0) {
        return bench_skip(result, "a thread for the floor could not be started");
    }
    pingpong->started = true;
    return 0;
}

void bench_pingpong_close(struct bench_pingpong *pingpong)
{
    if (!pingpong->started) {
        return;
    }
    (void)pthread_mutex_lock(&pingpong->lock);
    pingpong->stopping = true;
    (void)pthread_cond_broadcast(&pingpong->changed);
    (void)pthread_mutex_unlock(&pingpong->lock);
    (void)pthread_join(pingpong->partner, NULL);
    (void)pthread_cond_destroy(&pingpong->changed);
    (void)pthread_mutex_destroy(&pingpong->lock);
    pingpong->started = false;
}

static void play(struct bench_pingpong *pingpong, bool playing)
{
    (void)pthread_mutex_lock(&pingpong->lock);
    if (playing) {
        pingpong->playing = true;
        (void)pthread_cond_broadcast(&pingpong->changed);
    }
    while (!playing && pingpong->playing) {
        (void)pthread_cond_wait(&pingpong->changed, &pingpong->lock);
    }
    (void)pthread_mutex_unlock(&pingpong->lock);
}

static void round_trip(struct bench_pingpong *pingpong, uint64_t value)
{
    atomic_store_explicit(&pingpong->request, value, memory_order_release);
    while (atomic_load_explicit(&pingpong->reply, memory_order_acquire) != value) {
        bench_pause();
    }
}

int bench_pingpong_measure(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    struct bench_pingpong *pingpong = user;
    uint64_t value = 0;
    (void)result;
    atomic_store(&pingpong->request, 0);
    atomic_store(&pingpong->reply, 0);
    bench_cpus_pin(pingpong->cpu_here);
    play(pingpong, true);
    for (uint32_t i = 0; i < WARM_UP; i++) {
        round_trip(pingpong, ++value);
    }
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        round_trip(pingpong, ++value);
        const uint64_t now = bench_now();
        bench_samples_add(samples, (double)(now - before));
        before = now;
    }
    round_trip(pingpong, REST);
    play(pingpong, false);
    return 0;
}
