"""common.py: what the source checks share. Standard library only."""
import argparse
import os
import subprocess
import sys

SKIPPED = 77


def arguments(description, *names):
    """--root plus one option for each of `names`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    for name in names:
        parser.add_argument("--" + name)
    parsed = parser.parse_args()
    parsed.root = os.path.abspath(parsed.root)
    return parsed


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def finish(problems, checked):
    """Prints the problems and ends with the status that fits; `checked` says what was looked at."""
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s) in {checked}")
    sys.exit(1 if problems else 0)


def c_files(root, *folders, extensions=(".c", ".h")):
    """Paths relative to root, sorted."""
    found = []
    for folder in folders:
        for directory, names, files in os.walk(os.path.join(root, folder)):
            names[:] = [name for name in names if name not in ("build", ".git")]
            found += [
                os.path.relpath(os.path.join(directory, file), root)
                for file in files
                if file.endswith(extensions)
            ]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def blank(text, keep_strings=False):
    """Comments (and strings) become spaces; line and column numbers stay."""
    out = []
    i = 0
    while i < len(text):
        end = i + 1
        hide = False
        if text.startswith("//", i):
            end = text.find("\n", i)
            end = len(text) if end < 0 else end
            hide = True
        elif text.startswith("/*", i):
            end = text.find("*/", i + 2)
            end = len(text) if end < 0 else end + 2
            hide = True
        elif text[i] in "\"'":
            while end < len(text) and text[end] != text[i]:
                end += 2 if text[end] == "\\" else 1
            end = min(end + 1, len(text))
            hide = not keep_strings
        piece = text[i:end]
        out.append("".join(c if c == "\n" else " " for c in piece) if hide else piece)
        i = end
    return "".join(out)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def run(command, **options):
    return subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )


def output_of(command):
    """Standard output of a command that must succeed."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
