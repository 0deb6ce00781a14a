#!/usr/bin/env python3
"""testing.py: builds the component of docs/testing.md with the installed aee-cc, runs its tests with
the installed aee, and compares what it prints. The blocks are marked as readme.py says; this page has
no host.c."""
import os
import subprocess
import tempfile

import common
import readme


def main():
    options = common.arguments(__doc__, "page", "prefix", "libdir", "cc", "cxx")
    example = readme.blocks(options.page)
    environment = common.environment(options)
    tools = os.path.join(options.prefix, "bin")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "purse.c"), "w", encoding="utf-8") as file:
            file.write(example["purse.c"])
        common.run([os.path.join(tools, "aee-cc"), "purse.c", "-o", "purse.elf"], cwd=folder, env=environment)
        result = subprocess.run(
            [os.path.join(tools, "aee"), "test", "purse.elf", "--seed", "7"], cwd=folder, env=environment,
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
        )
    print(result.stdout + result.stderr)
    if result.returncode == 4:
        common.skip("no isolation back end is usable here")
    if result.returncode != 1:
        common.fail(f"aee test ended with status {result.returncode}; one test fails")
    if not readme.same(example["output"], result.stdout):
        common.fail(f"the output is not the one in the page:\n{example['output']}")


if __name__ == "__main__":
    main()
