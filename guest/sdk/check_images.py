#!/usr/bin/env python3
"""check_images.py IMAGE...: checks component images: static ELF within the image area, an entry
point, no segment both writable and executable, the ABI note, exports and their signatures, no
undefined or indirect symbols, no dynamic relocations but relative ones, no system-call instruction.
--signed: every export must have a signature. --may-attack NAME: that component has such instructions
on purpose.
"""
import argparse
import re
import subprocess
import sys

LOW, HIGH = 0x400000, 0x20000000
SIGNATURE = re.compile(r"\w+=(b|[idv]:[id]{0,6})")


def run(*command):
    result = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    )
    return result.stdout


def segments(path):
    for line in run("readelf", "-lW", path).splitlines():
        parts = line.split()
        if parts and parts[0] in ("LOAD", "TLS", "INTERP", "DYNAMIC", "GNU_STACK"):
            flags = "".join(parts[6:-1])
            yield parts[0], int(parts[2], 16), int(parts[5], 16), flags, int(parts[-1], 16)


def check_segments(path, is_pie):
    loads = 0
    for kind, address, size, flags, align in segments(path):
        if "W" in flags and "E" in flags:
            yield f"a {kind} segment is writable and executable"
        if kind == "INTERP":
            yield "it asks for an interpreter"
        if kind == "GNU_STACK" and "E" in flags:
            yield "it asks for an executable stack"
        if kind == "LOAD":
            loads += 1
            base = LOW if is_pie else 0
            if base + address < LOW or base + address + size > HIGH:
                yield f"a segment at {address:#x} lies outside the image area"
            if align != 4096:
                yield f"a segment is aligned to {align}"
    if not 1 <= loads <= 16:
        yield f"{loads} LOAD segments"


def exports_of(path):
    """Names of the functions in section aee_export."""
    sections = run("readelf", "-SW", path)
    index = re.search(r"\[ *(\d+)\] aee_export ", sections)
    if not index:
        return set()
    rows = [line.split() for line in run("readelf", "-sW", path).splitlines()]
    return {row[7] for row in rows if len(row) == 8 and row[3] == "FUNC" and row[6] == index.group(1)}


def signatures_of(path):
    output = run("readelf", "-p", "aee_signature", path)
    return dict(re.findall(r"\]\s+(\w+)=(\S+)", output))


def check_symbols(path, must_be_signed):
    for row in (line.split() for line in run("readelf", "-sW", path).splitlines()):
        if len(row) == 8 and row[6] == "UND" and row[4] != "WEAK":
            yield f"{row[7]} is undefined"
        if len(row) == 8 and row[3] == "IFUNC":
            yield f"{row[7]} is chosen at run time (IFUNC)"
    exported, signed = exports_of(path), signatures_of(path)
    if not exported:
        yield "it exports nothing"
    for name in sorted(set(signed) - exported):
        yield f"{name} is declared but not exported"
    for name in sorted(exported - set(signed)) if must_be_signed else ():
        yield f"{name} is exported without a signature"
    for name, types in signed.items():
        if not SIGNATURE.fullmatch(f"{name}={types}"):
            yield f"the signature of {name} is '{types}'"


def check_code(path, may_attack):
    code = run("objdump", "-d", "--no-show-raw-insn", path)
    function = "?"
    for line in code.splitlines():
        if line.endswith(">:"):
            function = line.split("<")[1][:-2]
        words = line.split()
        if len(words) > 1 and words[1] in ("syscall", "sysenter", "hlt", "int") and not may_attack:
            yield f"{words[1]} in {function}()"


def check(path, may_attack, must_be_signed):
    header = run("readelf", "-hW", path)
    is_pie = "Type:                              DYN" in header
    if re.search(r"Entry point address:\s+0x0$", header, re.M):
        yield "it has no entry point"
    if not re.search(r"AEE\s+0x00000004", run("readelf", "-nW", path)):
        yield "it has no ABI note"
    for line in run("readelf", "-rW", path).splitlines():
        if " R_X86_64_" in line and "R_X86_64_RELATIVE" not in line:
            yield f"relocation {line.split()[2]}"
    yield from check_segments(path, is_pie)
    yield from check_symbols(path, must_be_signed)
    yield from check_code(path, may_attack)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--may-attack", action="append", default=[], help="name of a component that attacks")
    parser.add_argument("--signed", action="store_true")
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()
    failures = 0
    for path in options.images:
        may_attack = any(path.endswith(f"/{name}.elf") for name in options.may_attack)
        problems = list(check(path, may_attack, options.signed))
        failures += len(problems)
        for problem in problems:
            print(f"{path}: {problem}")
    print(f"{len(options.images)} images, {failures} problems")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
