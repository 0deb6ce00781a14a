/* sys_socket.h: sockets that a debugger connects to. As sys.h: -1 and errno on failure; tests can
 * make each one fail. Any thread. */
#ifndef AEE_BASE_SYS_SOCKET_H
#define AEE_BASE_SYS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Listens at a path, which must not exist, for this user only. */
int aee__sys_listen_path(const char *path);
void aee__sys_remove_file(const char *path);
/* Listens at a port of the loopback interface; 0: any, and *port receives which. */
int aee__sys_listen_loopback(uint16_t *port);
/* Takes a connection that is there; it is never waited for. */
int aee__sys_accept(int listener);
/* The other end of a socket with a path is this user's, or the administrator's. */
bool aee__sys_is_own_peer(int socket);
/* Waits for one of `count` (at most 4) descriptors to become readable; a bit for each that is, 0
 * when the time has passed (negative: there is no limit). */
int aee__sys_wait_readable(const int *fds, unsigned count, int timeout_ms);
/* What is there, at most `size` bytes; 0: the other end is gone. */
ssize_t aee__sys_socket_read(int socket, void *bytes, size_t size);
/* All of it, or -1 when the other end does not take it within timeout_ms. */
int aee__sys_socket_write(int socket, const void *bytes, size_t size, int timeout_ms);

#endif
