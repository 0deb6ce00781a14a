#!/usr/bin/env python3
"""format.py: clang-format over the C files of the repository; --fix formats them."""
import os
import re
import shutil
import subprocess
import sys

import common

EXTENSIONS = (".c", ".h")


def files(root):
    """What git knows and does not ignore; without git, everything but build/."""
    command = ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, text=True, capture_output=True).stdout
        names = listed.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = common.c_files(root, ".")
    names = [name for name in names if name.endswith(EXTENSIONS) and "/third_party/" not in f"/{name}"]
    return sorted(name for name in names if os.path.exists(os.path.join(root, name)))


def main():
    fix = "--fix" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--fix"]
    root = common.arguments(__doc__).root
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        common.skip("clang-format is not installed")
    version = common.output_of([tool, "--version"])
    if " 14." not in version:
        common.skip(f"clang-format 14 decides about the format; this is {version.strip()}")
    names = files(root)
    if not names:
        sys.exit("no C file was found")
    mode = ["-i"] if fix else ["--dry-run", "-Werror"]
    result = common.run([tool] + mode + names, cwd=root)
    if result.returncode != 0:
        wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", result.stdout, re.M)))
        problems = [f"{name}: `make format` changes it" for name in wrong]
        common.finish(problems or [result.stdout], f"{len(names)} files")
    print(f"{len(names)} files are formatted")


if __name__ == "__main__":
    main()
