/* libc_demo.c: the C library of components at work, so that a test sees all of it run in a context:
 * formatting, parsing, sorting, mathematics, heap, strings, log streams, errno, jumps.
 *
 *   libc_check(what)             one of the checks below; returns 1, or 0 if it went wrong
 *   libc_check_count()           how many there are
 *   libc_format(request, reply)  bytes: a double as text in, the same in several forms out */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aee_guest.h>

static int check_format(void)
{
    char text[128];
    const int length = snprintf(text, sizeof text, "%d %5.2f %s %llx %c %e", -42, 3.14159, "word",
                                0xfeedULL, 'z', 1234.5);
    return strcmp(text, "-42  3.14 word feed z 1.234500e+03") == 0 && length == 34;
}

static int check_parse(void)
{
    char *end;
    int a = 0;
    double b = 0.0;
    char word[16];
    return strtod("2.5e3x", &end) == 2500.0 && *end == 'x' && strtol("-0x1f", NULL, 16) == -31 &&
           sscanf("12 0.25 abc", "%d %lf %15s", &a, &b, word) == 3 && a == 12 && b == 0.25 &&
           strcmp(word, "abc") == 0;
}

static int check_errno(void)
{
    errno = 0;
    return strtol("99999999999999999999", NULL, 10) == INT64_MAX && errno == ERANGE;
}

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a;
    const int y = *(const int *)b;
    return (x > y) - (x < y);
}

static int check_sort(void)
{
    int values[200];
    struct aee_random random;
    aee_random_init(&random, 7);
    for (size_t i = 0; i < 200; i++) {
        values[i] = (int)aee_random_below(&random, 1000);
    }
    qsort(values, 200, sizeof values[0], ascending);
    for (size_t i = 1; i < 200; i++) {
        if (values[i - 1] > values[i]) {
            return 0;
        }
    }
    return bsearch(&values[100], values, 200, sizeof values[0], ascending) != NULL;
}

static int check_mathematics(void)
{
    volatile double one = 1.0;
    return fabs(sin(one) - 0.8414709848078965) < 1e-15 &&
           fabs(exp(one) - 2.718281828459045) < 1e-14 &&
           fabs(pow(one + one, 0.5) - 1.4142135623730951) < 1e-15 && floor(-one / 2) == -1.0 &&
           fabs(atan2(one, one) - 0.7853981633974483) < 1e-15;
}

static int check_heap(void)
{
    char *text = strdup("kept");
    int *zeros = calloc(1000, sizeof *zeros);
    void *aligned = aligned_alloc(4096, 10000);
    int fine = text != NULL && zeros != NULL && aligned != NULL && strcmp(text, "kept") == 0 &&
               zeros[999] == 0 && ((uintptr_t)aligned & 4095u) == 0;
    zeros = realloc(zeros, 100000);
    fine = fine && zeros != NULL && zeros[999] == 0;
    void *volatile huge = malloc((size_t)1 << 44);
    fine = fine && huge == NULL;
    free(text);
    free(zeros);
    free(aligned);
    return fine;
}

static int check_strings(void)
{
    char text[] = "one,two;three";
    char *rest = NULL;
    const char *first = strtok_r(text, ",;", &rest);
    const char *second = strtok_r(NULL, ",;", &rest);
    char buffer[32];
    memset(buffer, 'a', sizeof buffer);
    memmove(buffer + 1, buffer, 31);
    return strcmp(first, "one") == 0 && strcmp(second, "two") == 0 && strlen(rest) == 5 &&
           strstr("a needle in hay", "needle") != NULL && memchr(buffer, 'b', 32) == NULL &&
           strcmp(strerror(ENOMEM), strerror(EINVAL)) != 0;
}

static int check_streams(void)
{
    (void)printf("a line in %s", "two");
    (void)printf(" parts\n");
    (void)puts("a line by puts");
    (void)fprintf(stderr, "a warning: %d\n", 7);
    return 1;
}

static int check_jump(void)
{
    static jmp_buf back;
    static volatile int turns;
    turns = 0;
    if (setjmp(back) < 3) {
        turns++;
        longjmp(back, turns);
    }
    return turns == 3;
}

static int (*const checks[])(void) = {
    check_format, check_parse,   check_errno,   check_sort, check_mathematics,
    check_heap,   check_strings, check_streams, check_jump,
};
enum { CHECK_COUNT = sizeof checks / sizeof checks[0] };

AEE_SIGNATURE(libc_check, "i:i");
AEE_EXPORT int64_t libc_check(int64_t what)
{
    return what >= 0 && what < CHECK_COUNT ? checks[what]() : -1;
}

AEE_SIGNATURE(libc_check_count, "i:");
AEE_EXPORT int64_t libc_check_count(void)
{
    return CHECK_COUNT;
}

AEE_SIGNATURE(libc_format, "b");
AEE_EXPORT int64_t libc_format(const void *request, size_t size, void *reply, size_t capacity)
{
    char text[64];
    if (size >= sizeof text) {
        return -1;
    }
    memcpy(text, request, size);
    text[size] = '\0';
    const double value = strtod(text, NULL);
    const int length = snprintf(reply, capacity, "%g %.17g %a", value, value, value);
    return length < 0 || (size_t)length >= capacity ? -2 : length;
}

/* assert() and its kind end in a crash report. */
AEE_SIGNATURE(libc_abort, "v:i");
AEE_EXPORT void libc_abort(int64_t number)
{
    aee_abort("asked to give up with %lld", (long long)number);
}
