#!/bin/sh
# fuzz.sh: builds the fuzz preset and runs every fuzzer for the given number of seconds.
#
# fuzz_image starts from tests/fuzz/corpus/image/ and keeps what it finds in
# build/fuzz/corpus/image/, and so do the others. An input that crashes it is left in build/fuzz/crashes/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}

mkdir -p build/fuzz/crashes
if ! { cmake --preset fuzz && cmake --build --preset fuzz; } >build/fuzz/build.log 2>&1; then
    tail -n 60 build/fuzz/build.log
    exit 1
fi

status=0
found=0
for fuzzer in build/fuzz/tests/fuzz_*; do
    [ -f "$fuzzer" ] && [ -x "$fuzzer" ] || continue
    found=1
    name=$(basename "$fuzzer")
    corpus=build/fuzz/corpus/${name#fuzz_}
    seeds=tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$corpus"
    [ -d "$seeds" ] || seeds=
    printf '== %s: %s s\n' "$name" "$seconds"
    log=build/fuzz/$name.log
    # shellcheck disable=SC2086 # the seeds may be no word at all
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix=build/fuzz/crashes/"$name"- "$corpus" $seeds >"$log" 2>&1; then
        grep -E 'number_of_executed_units|new_units_added' "$log" || true
    else
        tail -n 40 "$log"
        status=1
    fi
done
[ $found = 1 ] || { echo 'no fuzzer was built'; exit 1; }
exit $status
