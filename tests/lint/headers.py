#!/usr/bin/env python3
"""headers.py: compiles each header alone: the public ones as C11 and C++17, the others as C11."""
import os

import common

PUBLIC_FLAGS = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]


def compile_alone(root, command, flags, path):
    source = f'#include "{os.path.join(root, path)}"\n'
    include = ["-I", os.path.join(root, "include"), "-I", os.path.join(root, "src")]
    return common.run(command + flags + include + ["-"], input=source)


def main():
    options = common.arguments(__doc__, "cc", "cxx")
    root = options.root
    problems = []
    jobs = []
    for path in common.c_files(root, "include", extensions=(".h",)):
        jobs.append(([options.cc, "-x", "c", "-std=c11"], PUBLIC_FLAGS, path))
        if options.cxx:
            jobs.append(([options.cxx, "-x", "c++", "-std=c++17"], PUBLIC_FLAGS, path))
    inner = ["-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    for path in common.c_files(root, "src", extensions=(".h",)):
        jobs.append(([options.cc, "-x", "c", "-std=c11"], inner, path))
    for command, flags, path in jobs:
        result = compile_alone(root, command, flags, path)
        if result.returncode != 0:
            problems.append(f"{path}: does not compile alone as {command[-1]}:\n{result.stdout}")
    if not options.cxx:
        print("note: no C++ compiler, so nothing was compiled as C++")
    common.finish(problems, f"{len(jobs)} compilations")


if __name__ == "__main__":
    main()
