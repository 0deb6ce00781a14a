"""cli_common.py: running programs and checking what they say. Standard library only."""
import argparse
import os
import pty
import re
import resource
import subprocess
import sys

SKIPPED = 77


def arguments(description, *names):
    parser = argparse.ArgumentParser(description=description)
    for name in names:
        parser.add_argument("--" + name, required=True)
    return parser.parse_args()


def fail(what, result=None):
    print(f"FAILED: {what}")
    if result is not None:
        print(f"status {result.returncode}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}")
    sys.exit(1)


def few_files():
    """No back end can be opened with four descriptors: KVM needs one for each machine and vCPU."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))


def run(command, status, out=(), err=(), environment=None, few=False):
    """Runs a command; `out` and `err` are patterns that its output must contain."""
    print("+", " ".join(command), flush=True)
    result = subprocess.run(
        command,
        check=False,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        preexec_fn=few_files if few else None,
    )
    if result.returncode != status:
        fail(f"expected status {status}", result)
    for patterns, text in ((out, result.stdout), (err, result.stderr)):
        for pattern in patterns:
            if not re.search(pattern, text, re.M):
                fail(f"no match for {pattern!r}", result)
    return result


def run_any(command, environment=None):
    """Runs a command that may end in any way but by a signal."""
    result = subprocess.run(
        command, check=False, text=True, errors="replace", stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
    if result.returncode < 0:
        fail(f"{command} was ended by a signal", result)
    return result


def one_line(result):
    """One line on stderr, nothing on stdout."""
    if result.stdout or not re.fullmatch(r"[^\n]+\n", result.stderr):
        fail("expected exactly one line on stderr, and nothing else", result)


def on_terminal(command, environment):
    """What a command writes to a terminal."""
    master, slave = pty.openpty()
    print("+ (terminal)", " ".join(command), flush=True)
    with subprocess.Popen(
        command, stdout=slave, stderr=slave, stdin=slave, env={**os.environ, **environment}
    ) as process:
        os.close(slave)
        chunks = []
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(master)
    return b"".join(chunks).decode(errors="replace")
