#include "base/sys_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys_fault.h"

#define FDS_MAX 4u

/* Binds and listens, or closes. */
static int finish_listening(int listener, const struct sockaddr *address, socklen_t size)
{
    if (bind(listener, address, size) == 0 && listen(listener, 1) == 0) {
        return listener;
    }
    int error = errno;
    (void)close(listener);
    errno = error;
    return -1;
}

int aee__sys_listen_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (injected("listen")) {
        return -1;
    }
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return -1;
    }
    (void)fchmod(listener, S_IRUSR | S_IWUSR); /* what bind() makes has these rights */
    return finish_listening(listener, (const struct sockaddr *)&address, sizeof address);
}

void aee__sys_remove_file(const char *path)
{
    (void)unlink(path);
}

int aee__sys_listen_loopback(uint16_t *port)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(*port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (injected("listen")) {
        return -1;
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return -1;
    }
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    listener = finish_listening(listener, (const struct sockaddr *)&address, sizeof address);
    if (listener >= 0 && getsockname(listener, (struct sockaddr *)&address, &size) == 0) {
        *port = ntohs(address.sin_port);
    }
    return listener;
}

int aee__sys_accept(int listener)
{
    const int on = 1;
    if (injected("accept")) {
        return -1;
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) { /* packets are small and are waited for; a path knows no such thing */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd;
}

bool aee__sys_is_own_peer(int socket)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

int aee__sys_wait_readable(const int *fds, unsigned count, int timeout_ms)
{
    struct pollfd list[FDS_MAX];
    int ready = 0;
    count = count < FDS_MAX ? count : FDS_MAX;
    for (unsigned i = 0; i < count; i++) {
        list[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    if (poll(list, count, timeout_ms) > 0) {
        for (unsigned i = 0; i < count; i++) {
            ready |= list[i].revents != 0 ? 1 << i : 0;
        }
    }
    return ready;
}

ssize_t aee__sys_socket_read(int socket, void *bytes, size_t size)
{
    return injected("recv") ? -1 : recv(socket, bytes, size, MSG_DONTWAIT);
}

int aee__sys_socket_write(int socket, const void *bytes, size_t size, int timeout_ms)
{
    const char *at = bytes;
    if (injected("send")) {
        return -1;
    }
    while (size > 0) {
        ssize_t sent = send(socket, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
            continue;
        }
        struct pollfd wait = {.fd = socket, .events = POLLOUT};
        if (sent == 0 || (errno != EAGAIN && errno != EINTR) || poll(&wait, 1, timeout_ms) <= 0) {
            return -1;
        }
    }
    return 0;
}
