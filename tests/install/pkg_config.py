#!/usr/bin/env python3
"""pkg_config.py: builds the C consumer with the installed pkg-config file."""
import os
import shutil
import tempfile

import common


def build_static(options, environment, source, binary):
    """What the static library needs must be named, or this does not link."""
    flags = common.run(["pkg-config", "--static", "--cflags", "--libs", "aee_virt"], env=environment).split()
    flags = ["-l:libaee_virt_static.a" if flag == "-laee_virt" else flag for flag in flags]
    common.run([options.cc, "-std=c11", source, "-o", binary] + flags)
    plain = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    common.expect("pkg-config static consumer", common.run([binary], env=plain), common.version(options))


def main():
    options = common.arguments(__doc__, "prefix", "libdir", "cc", "cxx")
    if not shutil.which("pkg-config"):
        common.skip("pkg-config is not installed")
    environment = common.environment(options)
    source = os.path.join(os.path.dirname(__file__), "consumer", "main.c")
    with tempfile.TemporaryDirectory() as folder:
        flags = common.run(["pkg-config", "--cflags", "--libs", "aee_virt"], env=environment).split()
        binary = os.path.join(folder, "consumer")
        common.run([options.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", binary] + flags)
        printed = common.run([binary], env=environment)
        common.expect("pkg-config consumer", printed, common.version(options))
        build_static(options, environment, source, os.path.join(folder, "consumer_static"))
        known = common.run(["pkg-config", "--modversion", "aee_virt"], env=environment)
        common.expect("pkg-config --modversion", known, common.version(options))


if __name__ == "__main__":
    main()
