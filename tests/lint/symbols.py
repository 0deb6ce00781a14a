#!/usr/bin/env python3
"""symbols.py: checks what the built libraries export and what they call.

The shared library exports exactly the functions that aee_virt.h marks AEE_API. Every global symbol
of the static library begins with aee_. No object calls what banned.py lists, whatever macro or
inline function the call came from.
"""
import os
import re

import banned
import common

API = re.compile(r"\bAEE_API\b[^;{]*?\b(aee_\w+)\s*\(")


def api_functions(root):
    text = common.blank(common.read(root, "include/aee_virt.h"))
    return set(API.findall(text.replace("#define AEE_API", "")))


def exported(shared):
    """Defined dynamic symbols without version suffixes and version names."""
    names = set()
    for line in common.output_of(["nm", "-D", "--defined-only", "-P", shared]).splitlines():
        name, kind = line.split()[:2]
        if kind != "A":
            names.add(name.split("@")[0])
    return names


def check_shared(root, path):
    declared, found = api_functions(root), exported(path)
    shared = os.path.basename(path)
    if not declared:
        yield "include/aee_virt.h: no AEE_API function was found"
    for name in sorted(declared - found):
        yield f"{shared}: {name}() is declared AEE_API in aee_virt.h and not exported"
    for name in sorted(found - declared):
        yield f"{shared}: {name} is exported and not declared AEE_API in aee_virt.h"


def archive_symbols(static):
    """(object, symbol, kind) of each global symbol; kind U is an undefined one."""
    for line in common.output_of(["nm", "-A", "-g", "-P", static]).splitlines():
        match = re.match(r".*\[(.*)\]: (\S+) (\S)", line)
        if match:
            yield match.groups()


def check_static(path):
    static = os.path.basename(path)
    nowhere = {name: reason for reason, names in banned.NOWHERE.items() for name in names}
    system_calls = set(banned.SYSTEM_CALLS)
    count = 0
    for member, name, kind in archive_symbols(path):
        count += 1
        if kind not in "Uwv":
            if not name.startswith("aee_"):
                yield f"{static}({member}): global symbol {name} does not begin with aee_"
            continue
        # The names behind macros: __printf_chk, __open64_2, mmap64, __isoc99_...
        plain = re.sub(r"^__(\w+?)(_chk|_2)$", r"\1", name)
        plain = re.sub(r"64$", "", plain)
        if plain in nowhere and not banned.may_install_handlers(plain, member):
            yield f"{static}({member}): calls {name}(), which {nowhere[plain]}"
        elif plain in system_calls and not banned.may_call_system(member):
            yield f"{static}({member}): calls {name}(), which belongs behind src/base/sys.h"
    if count == 0:
        yield f"{static}: no symbol was found"


def main():
    options = common.arguments(__doc__, "shared", "static")
    problems = list(check_shared(options.root, options.shared)) + list(check_static(options.static))
    common.finish(problems, f"{options.shared} and {options.static}")


if __name__ == "__main__":
    main()
