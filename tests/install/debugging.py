#!/usr/bin/env python3
"""debugging.py: runs the session of docs/debugging.md with the installed command line and gdb.

The blocks enemy.c, script.gdb and output are marked as those of the README are (readme.py). Each line of
`output` comes in gdb's output, in that order; "..." in it stands for any text of a line.
"""
import os
import re
import shutil
import subprocess
import tempfile

import common
import readme


def matches(wanted, line):
    pattern = r"[^\n]*".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, line) is not None


def main():
    options = common.arguments(__doc__, "page", "prefix", "libdir")
    if not shutil.which("gdb"):
        common.skip("gdb is not installed")
    example = readme.blocks(options.page)
    environment = {**common.environment(options), "DEBUGINFOD_URLS": "", "LC_ALL": "C"}
    tools = os.path.join(options.prefix, "bin")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in example.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        compiler = os.path.join(tools, "aee-cc")
        common.run([compiler, "-O0", "enemy.c", "-o", "enemy.elf"], cwd=folder, env=environment)
        result = subprocess.run(
            [os.path.join(tools, "aee"), "gdb", "enemy.elf", "think", "7", "--", "-nx", "-batch", "-x",
             "script.gdb"],
            cwd=folder, env=environment, check=False, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    print(result.stdout)
    if result.returncode == 4:
        common.skip("no isolation back end is usable here")
    if result.returncode != 0:
        common.fail(f"aee gdb ended with status {result.returncode}")
    lines = iter(result.stdout.split("\n"))
    for wanted in example["output"].strip().split("\n"):
        if not any(matches(wanted, line) for line in lines):
            common.fail(f"this line of {options.page} did not come: {wanted}")


if __name__ == "__main__":
    main()
