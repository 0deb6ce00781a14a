#!/usr/bin/env python3
"""find_package.py: builds the consumer project, outside the tree, with the installed CMake package."""
import os
import shutil
import tempfile

import common


def main():
    options = common.arguments(__doc__, "cmake", "prefix", "libdir", "cc", "cxx")
    wanted = common.version(options)
    names = ["consumer_c", "consumer_static"] + (["consumer_cxx"] if options.cxx else [])
    with tempfile.TemporaryDirectory() as folder:
        source, build = os.path.join(folder, "consumer"), os.path.join(folder, "build")
        shutil.copytree(os.path.join(os.path.dirname(__file__), "consumer"), source)
        # Moved on purpose: an installed tree does not know where it was put.
        prefix = os.path.join(folder, "moved")
        shutil.copytree(options.prefix, prefix, symlinks=True)
        configure = [options.cmake, "-G", "Ninja", "-S", source, "-B", build]
        configure += [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={options.cc}"]
        configure += [f"-DCMAKE_CXX_COMPILER={options.cxx}"] if options.cxx else []
        common.run(configure)
        common.run([options.cmake, "--build", build])
        for name in names:
            common.expect(name, common.run([os.path.join(build, name)]), wanted)
    if not options.cxx:
        print("note: no C++ compiler, so the C++ consumer was not built")


if __name__ == "__main__":
    main()
