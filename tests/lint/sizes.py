#!/usr/bin/env python3
"""sizes.py: reports files over 600 lines and functions over 80.

Exceptions, each with its reason, are lines of size_exceptions.txt: `path reason` for a file,
`path:function reason` for a function.
"""
import os
import re

import common

FILE_LINES = 600
FUNCTION_LINES = 80
FOLDERS = ("src", "guest", "tools", "demo", "bench")


def functions(text):
    """(name, first line, lines) of each function: in our format its braces stand in column 0."""
    lines = common.blank(text).split("\n")
    opening = None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            opening = number
        elif line.rstrip() == "}" and opening is not None:
            head = opening - 1
            while head > 0 and lines[head].strip() and not lines[head][0] in "}#":
                head -= 1
            declaration = " ".join(lines[head + 1 : opening])
            names = re.findall(r"\b(\w+)\s*\(", declaration)
            yield (names[0] if names else "?"), head + 2, number - opening + 1
            opening = None


def exceptions(root):
    path = os.path.join(root, "tests", "lint", "size_exceptions.txt")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        rows = [line.split(None, 1) for line in file if line.strip() and line[0] != "#"]
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows}


def main():
    root = common.arguments(__doc__).root
    excused = exceptions(root)
    unused = dict(excused)
    problems = [f"size_exceptions.txt: {name} has no reason" for name, why in excused.items() if not why]
    files = common.c_files(root, *FOLDERS)
    for path in files:
        text = common.read(root, path)
        found = [(path, 1, text.count("\n"), FILE_LINES, "file")]
        found += [
            (f"{path}:{name}", line, size, FUNCTION_LINES, f"function {name}()")
            for name, line, size in functions(text)
        ]
        for key, line, size, limit, what in found:
            if size <= limit:
                continue
            unused.pop(key, None)
            if key not in excused:
                problems.append(f"{path}:{line}: {what} has {size} lines, more than {limit}")
    problems += [f"size_exceptions.txt: {name} is not too large (any more)" for name in unused]
    common.finish(problems, f"{len(files)} files")


if __name__ == "__main__":
    main()
