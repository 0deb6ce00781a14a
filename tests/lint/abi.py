#!/usr/bin/env python3
"""abi.py: compares the layout that aee_abi.h has in this compiler with abi_offsets.txt.

Every struct field's offset and size, every struct's size, every enumerator and every integer macro
is a row. `--update yes` writes the table anew: only for a deliberate change of the ABI, with a new
AEE_ABI_VERSION where guests notice.
"""
import os
import re
import sys
import tempfile

import common

STRUCT = re.compile(r"\bstruct\s+(aee_abi_\w+)\s*\{(.*?)\}\s*;", re.S)
ENUM = re.compile(r"\benum\s+\w+\s*\{(.*?)\}\s*;", re.S)
MACRO = re.compile(r"^#define[ \t]+(AEE_\w+)[ \t]+(\S.*)$", re.M)


def fields(body):
    for declaration in body.split(";"):
        declaration = re.sub(r"\[[^\]]*\]", "", declaration).strip()
        for name in declaration.split(","):
            if name.strip():
                yield name.split()[-1].lstrip("*")


def program(text):
    """A C program that prints the rows."""
    lines = ["#include <stdio.h>", '#include "aee_abi.h"', "int main(void)", "{"]

    def row(label, *values):
        numbers = ", ".join(f"(unsigned long long)({value})" for value in values)
        lines.append(f'    printf("{label}{" %llu" * len(values)}\\n", {numbers});')

    structs = STRUCT.findall(text)
    if not structs:
        sys.exit("include/aee_abi.h: no struct was found")
    for name, body in structs:
        row(f"struct {name}", f"sizeof(struct {name})")
        for field in fields(body):
            member = f"((struct {name} *)0)->{field}"
            row(f"struct {name}.{field}", f"offsetof(struct {name}, {field})", f"sizeof({member})")
    for body in ENUM.findall(text):
        for entry in body.split(","):
            if entry.strip():
                name = entry.split("=")[0].strip()
                lines.append(f'    printf("{name} %d\\n", (int){name});')
    for name, value in MACRO.findall(text):
        if '"' not in value and "(condition" not in value:
            row(name, name)
    return "\n".join(lines + ["    return 0;", "}", ""])


def layout(root, cc):
    text = common.blank(common.read(root, "include/aee_abi.h"), keep_strings=True)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "abi.c"), os.path.join(folder, "abi")
        with open(source, "w", encoding="utf-8") as file:
            file.write(program(text))
        include = os.path.join(root, "include")
        compiled = common.run([cc, "-std=c11", "-I", include, "-o", binary, source])
        if compiled.returncode != 0:
            sys.exit(compiled.stdout)
        return common.output_of([binary]).splitlines()


def main():
    options = common.arguments(__doc__, "cc", "update")
    path = os.path.join(options.root, "tests", "lint", "abi_offsets.txt")
    found = layout(options.root, options.cc or "cc")
    if options.update:
        with open(path, "w", encoding="utf-8") as file:
            file.write("# name, offset and size in bytes; name and size; name and value\n")
            file.write("\n".join(found) + "\n")
        return
    with open(path, encoding="utf-8") as file:
        frozen = [line.rstrip("\n") for line in file if line[0] != "#"]
    problems = [f"aee_abi.h no longer has: {line}" for line in frozen if line not in found]
    problems += [f"abi_offsets.txt does not have: {line}" for line in found if line not in frozen]
    common.finish(problems, f"{len(found)} rows")


if __name__ == "__main__":
    main()
