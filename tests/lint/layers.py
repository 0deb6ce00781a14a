#!/usr/bin/env python3
"""layers.py: checks who includes whom. The table of layers is read from ARCHITECTURE.md."""
import os
import re
import sys

import common

# Back ends and GPU drivers do not know their siblings.
SIBLINGS = (
    ("isolation/kvm", "isolation/process", "isolation/none", "isolation/image", "isolation/linux"),
    ("gpu/vulkan", "gpu/vfio"),
)
# Folders outside src: the public headers they may include, beside their own files.
OUTSIDE = {
    "tools": {"aee_virt.h"},
    "demo": {"aee_virt.h", "aee_guest.h"},
    "bench": {"aee_virt.h", "aee_guest.h"},
    "bindings": {"aee_virt.h"},
    "guest": {"aee_guest.h", "aee_abi.h"},
}
# `aee bench` is shown by the tool and measured by the bench, which has one header for it.
OUTSIDE_HEADERS = {"tools": {"bench/bench.h"}}
PUBLIC = {"aee_virt.h", "aee_abi.h", "aee_guest.h"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def layer_table(root):
    rows = re.findall(r"^src/(\w+)/\s+L(\d)\b", common.read(root, "ARCHITECTURE.md"), re.M)
    if not rows:
        sys.exit("ARCHITECTURE.md: the table of layers (lines like 'src/base/  L1') was not found")
    return {folder: int(level) for folder, level in rows}


def includes(root, path):
    """(line, path as written, whether quoted) of each include."""
    text = common.blank(common.read(root, path), keep_strings=True)
    for match in INCLUDE.finditer(text):
        yield common.line_of(text, match.start(2)), match.group(2), match.group(1) == '"'


def resolve(root, path, name):
    """Where a quoted include leads, relative to root: beside the file, in include/, src/ or the root."""
    for base in (os.path.dirname(path), "include", "src", ""):
        candidate = os.path.normpath(os.path.join(base, name))
        if os.path.exists(os.path.join(root, candidate)):
            return candidate
    return None


def sibling_of(path):
    for group in SIBLINGS:
        for member in group:
            if path.startswith(f"src/{member}/"):
                return group, member
    return None, None


def check_src(layers, path, target, name):
    if name in PUBLIC:
        return "aee_guest.h is for components, not for the library" if name == "aee_guest.h" else None
    if not target.startswith("src/"):
        return f"{name} is outside src/"
    mine, theirs = path.split("/")[1], target.split("/")[1]
    if theirs not in layers:
        return f"{name}: folder src/{theirs}/ has no layer in ARCHITECTURE.md"
    if mine != theirs and layers[theirs] >= layers[mine]:
        return f"{name}: src/{mine}/ (L{layers[mine]}) must not include src/{theirs}/ (L{layers[theirs]})"
    group, member = sibling_of(path)
    other_group, other = sibling_of(target)
    if group and group is other_group and member != other:
        return f"{name}: src/{member}/ must not know src/{other}/"
    return None


def check_outside(path, target, name):
    top = path.split("/")[0]
    if name in PUBLIC:
        return None if name in OUTSIDE[top] else f"{top}/ must not include {name}"
    if not target.startswith(top + "/") and target not in OUTSIDE_HEADERS.get(top, ()):
        return f"{name}: {top}/ may include only its own files and {', '.join(sorted(OUTSIDE[top]))}"
    return None


def check_public(path, name):
    return None if (path, name) == ("include/aee_guest.h", "aee_abi.h") else f"{path} must stand alone"


def check(root, layers, path, name, quoted):
    if ".." in name.split("/"):
        return f"{name}: includes do not climb with .."
    if not quoted and os.path.basename(name) not in PUBLIC:
        return None
    if not quoted:
        # Components and examples write <aee_guest.h>; the library does not.
        if path.startswith(("src/", "include/")):
            return f"<{name}>: write it with quotes"
        return check_outside(path, "include/" + name, name)
    target = resolve(root, path, name)
    if target is None:
        # Generated headers have no file in the tree; they are ours if the name says so.
        return None if name.endswith(".inc.h") else f"{name}: no such file"
    if path.startswith("include/"):
        return check_public(path, name)
    if path.startswith("src/"):
        return check_src(layers, path, target, name)
    return check_outside(path, target, name)


def main():
    root = common.arguments(__doc__).root
    layers = layer_table(root)
    problems = []
    files = common.c_files(root, "include", "src", *OUTSIDE, extensions=(".c", ".h", ".S"))
    for path in files:
        parts = path.split("/")
        if parts[0] == "src" and (len(parts) < 3 or parts[1] not in layers):
            problems.append(f"{path}: its folder has no layer in ARCHITECTURE.md")
            continue
        for line, name, quoted in includes(root, path):
            problem = check(root, layers, path, name, quoted)
            if problem:
                problems.append(f"{path}:{line}: {problem}")
    common.finish(problems, f"{len(files)} files")


if __name__ == "__main__":
    main()
