#!/usr/bin/env python3
"""install.py: installs the build into an empty prefix and checks that the files are there."""
import os
import shutil

import common


def main():
    options = common.arguments(__doc__, "cmake", "build", "prefix")
    shutil.rmtree(options.prefix, ignore_errors=True)
    print(common.run([options.cmake, "--install", options.build, "--prefix", options.prefix]))
    for header in ("aee_virt.h", "aee_abi.h"):
        if not os.path.exists(os.path.join(options.prefix, "include", header)):
            common.fail(f"include/{header} was not installed")


if __name__ == "__main__":
    main()
