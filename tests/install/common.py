"""common.py: what the tests of the installed library share. Standard library only."""
import argparse
import os
import re
import subprocess
import sys

SKIPPED = 77


def arguments(description, *names):
    parser = argparse.ArgumentParser(description=description)
    for name in names:
        parser.add_argument("--" + name, required=True)
    return parser.parse_args()


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def fail(text):
    print(f"FAILED: {text}")
    sys.exit(1)


def run(command, **options):
    """Standard output of a command; its failure is the test's."""
    print("+", " ".join(command), flush=True)
    result = subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    if result.returncode != 0:
        fail(f"exit status {result.returncode}\n{result.stdout}")
    return result.stdout


def environment(options):
    """Finds the installed library and its pkg-config file."""
    libraries = os.path.join(options.prefix, options.libdir)
    return {
        **os.environ,
        "LD_LIBRARY_PATH": libraries,
        "PKG_CONFIG_PATH": os.path.join(libraries, "pkgconfig"),
    }


def version(options):
    with open(os.path.join(options.prefix, "include", "aee_virt.h"), encoding="utf-8") as file:
        return re.search(r'AEE_VERSION_STRING "([^"]+)"', file.read()).group(1)


def expect(what, found, wanted):
    if found.strip() != wanted:
        fail(f"{what}: printed {found.strip()!r}, not {wanted!r}")
    print(f"{what}: {found.strip()}")
