#!/bin/sh
# soak.sh: runs the stress test for the given number of seconds in the release build, and again under
# ThreadSanitizer.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}

status=0
for preset in release tsan; do
    log=build/$preset/soak-build.log
    mkdir -p "build/$preset"
    if ! { cmake --preset $preset && cmake --build --preset $preset --target test_stress; } >"$log" 2>&1; then
        tail -n 60 "$log"
        exit 1
    fi
    printf '== %s: %s s\n' "$preset" "$seconds"
    # Through ctest: it knows the launcher and the environment. Its time limit is for short runs.
    AEE_STRESS_SECONDS=$seconds ctest --test-dir "build/$preset" -R '^test_stress$' \
        --timeout $((seconds * 4 + 300)) --output-on-failure --verbose || status=1
done
exit $status
