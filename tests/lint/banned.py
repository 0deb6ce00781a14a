"""banned.py: the functions that library code does not call, in one place, with the reason."""

# Nowhere in src/: a library neither ends nor speaks for the process that it is linked into.
NOWHERE = {
    "ends or speaks for the engine's process": """
        exit _exit _Exit quick_exit abort atexit on_exit err errx warn warnx
        printf vprintf fprintf vfprintf dprintf perror puts putchar fputs psignal
        system popen fork vfork""".split(),
    "changes process-wide state": """
        signal sigaction bsd_signal sigprocmask setenv putenv unsetenv setlocale chdir umask
        srand rand random srandom strtok""".split(),
    "has no bound": "gets sprintf vsprintf strcpy strcat alloca".split(),
}

# Level none is the one exception: a component that runs in the engine's own process faults there.
# Handlers are installed and taken away again in this one file, whose comment says when.
HANDLERS = {"sigaction": ("src/isolation/none/handlers.c", "handlers.c.o")}


def may_install_handlers(name, path):
    """`path` as in src/..., or an object's name as in handlers.c.o."""
    return path in HANDLERS.get(name, ())


# Only in src/base/sys.c (and src/base/sys_*.c), where tests can make each one fail.
SYSTEM_CALLS = """
    syscall ioctl open openat creat close dup dup2 dup3 read write pread pwrite readv writev lseek
    fcntl ftruncate fallocate stat fstat lstat access unlink rename mkdir memfd_create
    mmap munmap mprotect mremap madvise mincore mlock munlock msync userfaultfd
    eventfd timerfd_create timerfd_settime signalfd epoll_create1 epoll_ctl epoll_wait poll ppoll
    select pipe pipe2 socket socketpair sendmsg recvmsg send recv
    kill tgkill pthread_kill sigtimedwait sigwaitinfo prctl personality clone execve execv execvp
    waitpid waitid pidfd_open setrlimit getrlimit prlimit unshare setns mount
    futex nanosleep clock_nanosleep usleep sleep getrandom getentropy
    sched_setaffinity sched_getaffinity sched_setscheduler sched_yield setpriority gettid getpid
    fopen fdopen opendir sysconf""".split()


def may_call_system(path):
    """`path` as in src/base/sys.c, or an object's name as in sys.c.o."""
    name = path.rsplit("/", 1)[-1]
    if "/" in path and not path.startswith("src/base/"):
        return False
    return name.startswith("sys.c") or name.startswith("sys_")
