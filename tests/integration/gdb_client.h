/* gdb_client.h: for tests of the gdb server: a client that speaks the protocol, well or badly, and
 * gdb itself, run with a script. Include it after harness.h. */
#ifndef AEE_TESTS_INTEGRATION_GDB_CLIENT_H
#define AEE_TESTS_INTEGRATION_GDB_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT_TIMEOUT_MS 20000

/* ---- A client ----------------------------------------------------------------------------- */

struct client {
    int fd;
    char reply[32768];
};

static inline void client_open(struct client *client, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0);
}

static inline void client_close(struct client *client)
{
    (void)close(client->fd);
    client->fd = -1;
}

static inline void client_send_raw(struct client *client, const void *bytes, size_t size)
{
    (void)!send(client->fd, bytes, size, MSG_NOSIGNAL);
}

static inline void client_send(struct client *client, const char *packet)
{
    char text[16384];
    unsigned sum = 0;
    for (const char *at = packet; *at; at++) {
        sum += (unsigned char)*at;
    }
    int size = snprintf(text, sizeof text, "$%s#%02x", packet, sum & 255u);
    client_send_raw(client, text, (size_t)size);
}

/* One byte; -1: nothing came for so long, or the other side is gone. */
static inline int client_byte(struct client *client, int timeout_ms)
{
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    unsigned char byte;
    return poll(&wait, 1, timeout_ms) == 1 && recv(client->fd, &byte, 1, 0) == 1 ? byte : -1;
}

/* The next packet, acknowledged; NULL: none came. */
static inline const char *client_receive(struct client *client, int timeout_ms)
{
    size_t used = 0;
    int byte;
    do {
        byte = client_byte(client, timeout_ms);
    } while (byte == '+' || byte == '-');
    if (byte != '$') {
        return NULL;
    }
    while ((byte = client_byte(client, timeout_ms)) >= 0 && byte != '#') {
        if (used < sizeof client->reply - 1) {
            client->reply[used++] = (char)byte;
        }
    }
    client->reply[used] = '\0';
    (void)client_byte(client, timeout_ms);
    (void)client_byte(client, timeout_ms);
    client_send_raw(client, "+", 1);
    return client->reply;
}

static inline const char *client_ask(struct client *client, const char *packet)
{
    client_send(client, packet);
    const char *reply = client_receive(client, CLIENT_TIMEOUT_MS);
    if (!reply) {
        fail_msg("no answer to %.100s", packet);
    }
    return reply;
}

#define EXPECT_REPLY(client, packet, expected)                                      \
    do {                                                                            \
        const char *reply_ = client_ask(client, packet);                            \
        if (strncmp(reply_, expected, strlen(expected)) != 0) {                     \
            fail_msg("%s: \"%.200s\" instead of \"%s\"", packet, reply_, expected); \
        }                                                                           \
    } while (0)

/* ---- gdb ---------------------------------------------------------------------------------- */

static inline bool has_gdb(void)
{
    return system("gdb --version >/dev/null 2>&1") == 0;
}

struct gdb {
    pid_t pid;
    int output;
    char text[65536];
};

/* Starts gdb with commands, which end with NULL; the first ones connect. */
static inline void gdb_start(struct gdb *gdb, const char *image, const char *path,
                             const char *const *commands)
{
    const char *args[96] = {"gdb",  "-q",
                            "-nx",  "-batch",
                            "-iex", "set sysroot /nonexistent",
                            "-ex",  "set pagination off",
                            "-ex",  "set confirm off",
                            "-ex",  NULL};
    char target[160];
    int fds[2];
    int count = 11;
    (void)snprintf(target, sizeof target, "target remote %s", path);
    args[count++] = target;
    for (; *commands; commands++) {
        args[count++] = "-ex";
        args[count++] = *commands;
    }
    args[count++] = image;
    args[count] = NULL;
    assert_int_equal(pipe(fds), 0);
    gdb->pid = fork();
    if (gdb->pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)dup2(fds[1], STDERR_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        (void)setpgid(0, 0);
        (void)unsetenv("DEBUGINFOD_URLS");
        (void)execvp("gdb", (char *const *)(uintptr_t)args);
        _exit(127);
    }
    (void)close(fds[1]);
    gdb->output = fds[0];
    gdb->text[0] = '\0';
}

/* What it says until it has said `word`, or NULL: to its end; false: it never did. */
static inline bool gdb_read(struct gdb *gdb, const char *word)
{
    size_t used = strlen(gdb->text);
    struct pollfd wait = {.fd = gdb->output, .events = POLLIN};
    while (!(word && strstr(gdb->text, word)) && poll(&wait, 1, CLIENT_TIMEOUT_MS) == 1) {
        ssize_t got = read(gdb->output, gdb->text + used, sizeof gdb->text - 1 - used);
        if (got <= 0) {
            return !word;
        }
        used += (size_t)got;
        gdb->text[used] = '\0';
    }
    return word && strstr(gdb->text, word) != NULL;
}

static inline void gdb_finish(struct gdb *gdb)
{
    bool ended = gdb_read(gdb, NULL);
    if (!ended) {
        (void)kill(gdb->pid, SIGKILL);
    }
    (void)waitpid(gdb->pid, NULL, 0);
    (void)close(gdb->output);
    if (!ended) {
        fail_msg("gdb does not end:\n%s", gdb->text);
    }
}

/* In that order. */
static inline void gdb_said(const struct gdb *gdb, const char *const *words)
{
    const char *at = gdb->text;
    for (; *words; words++) {
        const char *found = strstr(at, *words);
        if (!found) {
            fail_msg("gdb did not say \"%s\" after that:\n%s", *words, gdb->text);
        }
        at = found + strlen(*words);
    }
}

#define SAID(gdb, ...) gdb_said(gdb, (const char *const[]){__VA_ARGS__, NULL})
#define START(gdb, image, path, ...) \
    gdb_start(gdb, image, path, (const char *const[]){__VA_ARGS__, NULL})

#endif
