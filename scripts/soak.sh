#!/bin/sh
# soak.sh SECONDS CRASHES MINUTES: runs the stress test for so long in the release build, and again under
# ThreadSanitizer; then injects so many crashes, one in each frame at 60 Hz; then plays the demo for so
# many minutes with random actions.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
crashes=${2:-100000}
minutes=${3:-30}

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

log=build/release/soak-build.log
if ! cmake --build --preset release --target soak_crashes >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
fi
printf '== %s crashes at 60 Hz: about %s minutes\n' "$crashes" $((crashes / 3600 + 1))
code=0
build/release/tests/soak_crashes --crashes "$crashes" --hz 60 || code=$?
test $code -eq 0 || test $code -eq 77 || status=1

if ! cmake --build --preset release >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
fi
if [ -x build/release/tests/find_text ]; then # as long as the demo can draw
    printf '== the demo, with random actions: %s minutes\n' "$minutes"
    code=0
    python3 -B tests/integration/test_demo_monkey.py --demo build/release/demo/aee-demo \
        --frames $((minutes * 3600)) || code=$?
    test $code -eq 0 || test $code -eq 77 || status=1
fi
exit $status
