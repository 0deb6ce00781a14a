#!/usr/bin/env python3
"""calls.py: finds calls in src/ that a library must not make (the lists are in banned.py)."""
import re

import banned
import common

ASSERT = re.compile(r"\bassert\s*\(")
SIDE_EFFECT = re.compile(r"\+\+|--|(?<![=!<>])=(?!=)")


def calls_of(names):
    # Neither a member (x.open(), x->open()) nor part of a longer name (aee__sys_open()).
    return re.compile(r"(?<![\w.])(?<!->)(" + "|".join(names) + r")\s*\(")


def argument_at(text, opening):
    """The text within the parentheses that open at `opening`."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[opening + 1 : i]
    return text[opening + 1 :]


def check(path, text):
    for reason, names in banned.NOWHERE.items():
        for match in calls_of(names).finditer(text):
            if not banned.may_install_handlers(match.group(1), path):
                yield match.start(), f"{match.group(1)}() {reason}"
    if not banned.may_call_system(path):
        for match in calls_of(banned.SYSTEM_CALLS).finditer(text):
            yield match.start(), f"{match.group(1)}() belongs behind src/base/sys.h"
    for match in ASSERT.finditer(text):
        if SIDE_EFFECT.search(argument_at(text, match.end() - 1)):
            yield match.start(), "this assert() has a side effect"


def main():
    root = common.arguments(__doc__).root
    problems = []
    files = common.c_files(root, "src")
    for path in files:
        text = common.blank(common.read(root, path))
        for offset, problem in check(path, text):
            problems.append(f"{path}:{common.line_of(text, offset)}: {problem}")
    common.finish(problems, f"{len(files)} files")


if __name__ == "__main__":
    main()
