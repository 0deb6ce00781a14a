#!/usr/bin/env python3
"""test_manifests.py: the manifests of the demo's mods have the fields that docs/demo-mods.md describes,
in their ranges, and name images and host functions that exist."""
import argparse
import glob
import json
import os
import re
import sys

NAMES = ["weather", "boss", "scoreboard", "painter", "thief"]  # in the order in which they are called
RANGES = {"memory_mb": (1, 1024), "budget_ms": (1, 10000), "every_frames": (0, 1000)}
ACCESS = {"stage": ["read"], "agents": ["read"], "canvas": ["read", "write"]}


def table(page, heading):
    """The first cells of the first table below a heading, without their marks."""
    part = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = part.split("\n|---", 1)[1].split("\n\n", 1)[0].split("\n")[1:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def faults(manifest, fields, functions, components):
    found = [f"unknown field {name}" for name in manifest if name not in fields]
    found += [f"no field {name}" for name in fields if name not in manifest]
    for name, (low, high) in RANGES.items():
        value = manifest.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            found.append(f"{name} is {value!r}")
    if not isinstance(manifest.get("important"), bool):
        found.append("important is no truth value")
    if not os.path.exists(os.path.join(components, manifest.get("image", ""))):
        found.append(f"there is no image {manifest.get('image')}")
    for name in manifest.get("host_functions", []):
        if name not in functions:
            found.append(f"nobody describes the host function {name}")
    for name, access in manifest.get("regions", {}).items():
        if access not in ACCESS.get(name, []):
            found.append(f"region {name}: {access!r}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("manifests", "components", "page"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with open(options.page, encoding="utf-8") as file:
        page = file.read()
    fields, functions = table(page, "The manifest"), table(page, "Host functions")
    names, bad = [], 0
    for path in sorted(glob.glob(os.path.join(options.manifests, "*.json"))):
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        names.append(manifest.get("name"))
        for fault in faults(manifest, fields, functions, options.components):
            print(f"{path}: {fault}")
            bad += 1
    if names != NAMES:
        print(f"expected the mods {NAMES}, found {names}")
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
