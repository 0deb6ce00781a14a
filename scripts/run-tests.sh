#!/bin/sh
# run-tests.sh: configures, builds and tests presets, then prints one summary of all of them.
#
#   scripts/run-tests.sh release asan-ubsan tsan hw      (hw: the release build on emulated machines)
#   scripts/run-tests.sh --test-preset lint release      (other tests of the release build)
#
# Every preset is tried even if an earlier one failed; the exit status tells whether all passed.
set -eu
cd "$(dirname "$0")/.."

test_preset=
if [ "${1:-}" = --test-preset ]; then
    test_preset=$2
    shift 2
fi
jobs=${AEE_JOBS:-$(nproc 2>/dev/null || echo 2)}

# Runs a command with its output in a log, which is shown only if it fails.
step() {
    title=$1
    log=$2
    shift 2
    printf '== %s ... ' "$title"
    begun=$(date +%s)
    if "$@" >"$log" 2>&1; then
        printf 'done in %d s\n' $(($(date +%s) - begun))
        return 0
    fi
    printf 'FAILED; the end of %s:\n' "$log"
    tail -n 60 "$log"
    return 1
}

status=0
reports=
for preset in "$@"; do
    if [ "$preset" = hw ]; then
        printf '== emulated machines: test (a few minutes)\n'
        rm -f build/hw/junit-*.xml
        tests/hw/suite.sh build/release build/hw || status=1
        for machine in svm svm-npt0 vmx vmx-old; do
            reports="$reports hw@$machine=build/hw/junit-$machine.xml"
        done
        continue
    fi
    build=build/$preset
    mkdir -p "$build"
    report=$build/junit-${test_preset:-tests}.xml
    rm -f "$report"
    tests=$build/tests.json # with the labels, which the report lacks
    rm -f "$tests"
    reports="$reports ${test_preset:-$preset}=$report,$tests"
    step "$preset: configure" "$build/configure.log" cmake --preset "$preset" || { status=1; continue; }
    step "$preset: build" "$build/build.log" cmake --build --preset "$preset" --parallel "$jobs" ||
        { status=1; continue; }
    ctest --preset "${test_preset:-$preset}" --show-only=json-v1 >"$tests" 2>/dev/null || true
    printf '== %s: test\n' "${test_preset:-$preset}"
    ctest --preset "${test_preset:-$preset}" --parallel "$jobs" \
        --output-junit "$PWD/$report" --test-output-size-passed 65536 || status=1
done

# shellcheck disable=SC2086 # a list of words
python3 scripts/test-summary.py $reports || status=1
exit $status
