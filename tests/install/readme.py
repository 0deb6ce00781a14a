#!/usr/bin/env python3
"""readme.py: builds and runs the README's example against the installed library.

A fenced block belongs to the example if the line before it is an HTML comment that names it:

    <!-- example: host.c -->      the engine's side, built with pkg-config
    <!-- example: my_mod.c -->    a component (any other name in .c), built with aee-cc
    <!-- example: output -->      what the program prints; "..." in it stands for any text of a line

Blocks of one name are put one after the other. A page's further examples have a name before that:
<!-- example: checkpoints/host.c -->. Each is built and run by itself.
"""
import os
import re
import subprocess
import tempfile

import common

BLOCK = re.compile(
    r"^<!-- example: (?P<name>[\w./-]+) -->[ \t]*\n(?:[ \t]*\n)?(?P<fence>```+)\w*[ \t]*\n"
    r"(?P<text>.*?)^(?P=fence)[ \t]*$",
    re.M | re.S,
)


def blocks(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = {}
    for match in BLOCK.finditer(text):
        found[match["name"]] = found.get(match["name"], "") + match["text"]
    marks = set(re.findall(r"^<!-- example: ([\w./-]+) -->", text, re.M))
    for name in sorted(marks - set(found)):
        common.fail(f"{path}: no fenced block follows the mark of {name}")
    return found


def same(wanted, found):
    pattern = r"[^\n]*".join(re.escape(part) for part in wanted.strip().split("..."))
    return re.fullmatch(pattern, found.strip()) is not None


def examples(path):
    """The blocks of each example, by their names within it."""
    found = {}
    for name, text in blocks(path).items():
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, {})[file] = text
    return found or {"": {}}


def build_and_run(options, example):
    environment = common.environment(options)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in example.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        for name in sorted(example):
            if name.endswith(".c") and name != "host.c":
                compiler = os.path.join(options.prefix, "bin", "aee-cc")
                common.run([compiler, name, "-o", name[:-2] + ".elf"], cwd=folder, env=environment)
        flags = common.run(["pkg-config", "--cflags", "--libs", "aee_virt"], env=environment).split()
        strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
        common.run([options.cc] + strict + ["host.c", "-o", "host"] + flags, cwd=folder, env=environment)
        return subprocess.run(
            [os.path.join(folder, "host")], cwd=folder, env=environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
        )


def main():
    options = common.arguments(__doc__, "readme", "prefix", "libdir", "cc", "cxx")
    if not os.path.exists(options.readme):
        common.skip("there is no README.md")
    for name, example in examples(options.readme).items():
        what = f"the example {name}" if name else "the example"
        for block in ("host.c", "output"):
            if block not in example:
                mark = f"{name}/{block}" if name else block
                common.fail(f"{options.readme} has no block marked <!-- example: {mark} -->")
        result = build_and_run(options, example)
        print(result.stdout + result.stderr)
        if "no isolation back end" in result.stdout + result.stderr:
            common.skip("no isolation back end is usable here")
        if result.returncode != 0:
            common.fail(f"{what} ended with status {result.returncode}")
        if not same(example["output"], result.stdout):
            common.fail(f"{what} printed something else than the page says:\n{example['output']}")


if __name__ == "__main__":
    main()
