#!/usr/bin/env python3
"""selftest.py: plants one violation after the other in a small copy of the tree and demands that the
check which is meant for it fails and names it. A check that finds nothing any more is noticed here.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import common

HERE = os.path.dirname(os.path.abspath(__file__))
LAYERS = "src/base/ L1\nsrc/ept/ L2\nsrc/ring/ L2\nsrc/isolation/ L3\nsrc/gpu/ L4\n"
HEADER = """#define AEE_API __attribute__((visibility("default")))
AEE_API int aee_one(void);
AEE_API const char *aee_two(int a,
                            int b);
"""
ABI = """#include <stddef.h>
#include <stdint.h>
#define AEE_RING_SLOTS 64u
enum aee_abi_kind { AEE_KIND_A = 0 };
struct aee_abi_slot {
    uint32_t seq; /* first */
    uint32_t flags;
    uint64_t args[6];
};
"""
GOOD = {
    "ARCHITECTURE.md": LAYERS,
    "include/aee_virt.h": HEADER,
    "include/aee_abi.h": ABI,
    "src/base/a.h": "extern int aee__a;\n",
    "src/base/sys.c": "#include <unistd.h>\nint aee__sys_close(int f);\n"
    "int aee__sys_close(int f)\n{\n    return close(f);\n}\n",
    "src/ept/e.h": '#include "base/a.h"\n',
    "src/ring/r.c": '#include "aee_abi.h"\n#include "base/a.h"\n/* abort() and "exec */\n',
    "src/isolation/kvm/k.h": '#include "ept/e.h"\n',
    "src/isolation/image/i.h": '#include "base/a.h"\n',
    "src/isolation/none/handlers.c": "void f(void) { sigaction(1); }\n",
    "tools/aee/main.c": '#include "aee_virt.h"\n#include "bench/bench.h"\n',
    "bench/bench.h": '#include "bench/inner.h"\n',
    "bench/inner.h": '#include "aee_virt.h"\n',
    "guest/g.c": '#include "aee_guest.h"\n',
    "include/aee_guest.h": '#include "aee_abi.h"\n',
}
# check, file, what is appended to it, what the check must say
PLANTED = [
    ("layers", "src/base/a.h", '#include "ept/e.h"\n', "must not include src/ept/"),
    ("layers", "src/ring/r.c", '#include "ept/e.h"\n', "must not include src/ept/"),
    ("layers", "src/isolation/image/i.h", '#include "isolation/kvm/k.h"\n', "must not know"),
    ("layers", "src/isolation/image/i.h", '#include "../kvm/k.h"\n', "do not climb"),
    ("layers", "src/isolation/image/i.h", '#  include "nothing.h"\n', "no such file"),
    ("layers", "src/base/a.h", '#include "aee_guest.h"\n', "is for components"),
    ("layers", "src/base/a.h", "#include <aee_virt.h>\n", "with quotes"),
    ("layers", "tools/aee/main.c", '#include "base/a.h"\n', "only its own files"),
    ("layers", "tools/aee/main.c", '#include "bench/inner.h"\n', "only its own files"),
    ("layers", "bench/inner.h", '#include "base/a.h"\n', "only its own files"),
    ("layers", "tools/aee/main.c", '#include "aee_abi.h"\n', "must not include aee_abi.h"),
    ("layers", "guest/g.c", "#include <aee_virt.h>\n", "must not include aee_virt.h"),
    ("layers", "include/aee_virt.h", '#include "aee_abi.h"\n', "must stand alone"),
    ("layers", "src/new/n.c", "\n", "has no layer"),
    ("calls", "src/ring/r.c", "void f(void) { abort(); }\n", "abort() ends"),
    ("calls", "src/base/sys.c", "void f(void) { printf (1); }\n", "printf() ends"),
    ("calls", "src/base/a.h", "void f(void) { sigaction(1); }\n", "process-wide state"),
    ("calls", "src/isolation/none/handlers.c", "void g(void) { signal(1); }\n", "process-wide state"),
    ("layers", "src/isolation/none/handlers.c", '#include "isolation/kvm/k.h"\n', "must not know"),
    ("calls", "src/ring/r.c", "void f(void) { x = ioctl(1); }\n", "belongs behind"),
    ("calls", "src/ring/r.c", "void f(void) { assert(i++ < 2); }\n", "side effect"),
    ("calls", "src/ring/r.c", "void f(void) { assert((i = 2)); }\n", "side effect"),
    ("sizes", "src/ring/r.c", "\n" * 601, "more than 600"),
    ("sizes", "src/ring/r.c", "int big(int a)\n{\n" + "    a++;\n" * 80 + "}\n", "function big()"),
    ("headers", "src/ept/e.h", "extern uint64_t aee__e;\n", "does not compile alone"),
    ("headers", "include/aee_virt.h", "void f(size_t size);\n", "does not compile alone"),
    ("abi", "include/aee_abi.h", "struct aee_abi_new { int a; };\n", "does not have: struct aee_abi_new"),
    ("abi", "include/aee_abi.h", "#define AEE_NEW 1\n", "does not have: AEE_NEW"),
]
# check, file, text, its replacement, what the check must say
CHANGED = [
    ("abi", "include/aee_abi.h", "uint32_t flags;", "uint64_t flags;", "slot.args 8 48"),
    ("abi", "include/aee_abi.h", "AEE_KIND_A = 0", "AEE_KIND_A = 1", "AEE_KIND_A 0"),
    ("abi", "include/aee_abi.h", "64u", "32u", "AEE_RING_SLOTS 64"),
    ("layers", "ARCHITECTURE.md", "src/base/ L1", "src/base/ L3", "must not include src/base/"),
]
SOURCE = "int aee_one(void);\nint aee_one(void) { return 1; }\n" "int aee_two(void);\n"
TWO = "int aee_two(void) { return 2; }\n"
# what is compiled as the library, what the check must say ("" for nothing)
LIBRARIES = [
    (TWO, ""),
    ("", "aee_two() is declared"),
    (TWO + "int aee_three(void);\nint aee_three(void) { return 3; }\n", "aee_three is exported"),
    (TWO + "int other(void);\nint other(void) { return 3; }\n", "does not begin with aee_"),
    (TWO + "void exit(int);\nvoid aee_x(void) { exit(1); }\n", "calls exit()"),
    (TWO + "int close(int);\nint aee_x(void) { return close(1); }\n", "calls close()"),
]


def write_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def run_check(root, check, cc, extra=()):
    command = [sys.executable, "-B", os.path.join(HERE, check + ".py"), "--root", root, *extra]
    if check in ("headers", "abi"):
        command += ["--cc", cc]
    return common.run(command)


def expect(problems, what, result, wanted):
    """wanted: a part of the output of a failing check; empty: it must pass."""
    if wanted and (result.returncode != 1 or wanted not in result.stdout):
        problems.append(f"{what}: not found; status {result.returncode}, output:\n{result.stdout}")
    if not wanted and result.returncode != 0:
        problems.append(f"{what}: a sound tree is refused:\n{result.stdout}")


def check_libraries(problems, options):
    count = 0
    for source, wanted in LIBRARIES:
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, {**GOOD, "ring.c": SOURCE + source})
            shared, static = os.path.join(root, "l.so"), os.path.join(root, "l.a")
            subprocess.run([options.cc, "-fPIC", "-c", "ring.c"], cwd=root, check=True)
            subprocess.run([options.cc, "-shared", "-o", shared, "ring.o"], cwd=root, check=True)
            subprocess.run([options.ar, "rcs", static, "ring.o"], cwd=root, check=True)
            result = run_check(root, "symbols", options.cc, ["--shared", shared, "--static", static])
            expect(problems, f"symbols: {source!r}", result, wanted)
            count += 1
    return count


def main():
    options = common.arguments(__doc__, "cc", "ar")
    options.cc, options.ar = options.cc or "cc", options.ar or "ar"
    problems = []
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, {**GOOD, "tests/lint/size_exceptions.txt": ""})
        run_check(root, "abi", options.cc, ["--update", "yes"])
        for check in ("layers", "calls", "sizes", "headers", "abi"):
            expect(problems, check, run_check(root, check, options.cc), "")
        for check, path, text, wanted in PLANTED:
            write_tree(root, {path: GOOD.get(path, "") + text})
            expect(problems, f"{check}: {text[:60]!r} in {path}", run_check(root, check, options.cc), wanted)
            if path in GOOD:
                write_tree(root, {path: GOOD[path]})
            else:
                shutil.rmtree(os.path.dirname(os.path.join(root, path)))
        for check, path, old, new, wanted in CHANGED:
            write_tree(root, {path: GOOD[path].replace(old, new)})
            expect(problems, f"{check}: {new!r} in {path}", run_check(root, check, options.cc), wanted)
            write_tree(root, {path: GOOD[path]})
    count = len(PLANTED) + len(CHANGED) + check_libraries(problems, options)
    common.finish(problems, f"{count} planted violations")


if __name__ == "__main__":
    main()
