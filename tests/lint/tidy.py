#!/usr/bin/env python3
"""tidy.py: clang-tidy (.clang-tidy) over the C files in src/, each compiled as the build does."""
import concurrent.futures
import json
import os
import re
import shutil
import tempfile

import common


def entries(root, build):
    """One compile command for each source file, preferring the one of the shared library."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    chosen = {}
    for entry in commands:
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
        if re.match(r"src/.*\.c$", path):
            if path not in chosen or "/aee_virt.dir/" in entry.get("output", entry["command"]):
                chosen[path] = entry
    return chosen


def main():
    options = common.arguments(__doc__, "build")
    tool = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if not tool:
        common.skip("clang-tidy is not installed")
    chosen = entries(options.root, options.build)
    # Flags that only gcc knows would be reported as errors of their own.
    for entry in chosen.values():
        entry["command"] = re.sub(r" -Wno-tsan\b| -fanalyzer\b", "", entry["command"])
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as file:
            json.dump(list(chosen.values()), file)

        def check(path):
            return path, common.run([tool, "--quiet", "-p", folder, os.path.join(options.root, path)])

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, result in pool.map(check, sorted(chosen)):
                if result.returncode != 0 or "warning:" in result.stdout:
                    problems.append(f"{path}:\n{result.stdout}")
    if not chosen:
        problems.append("compile_commands.json names no file of src/")
    common.finish(problems, f"{len(chosen)} files")


if __name__ == "__main__":
    main()
