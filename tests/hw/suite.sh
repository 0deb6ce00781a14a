#!/bin/bash
# suite.sh BUILD OUT [MACHINE...]: tests of a build on emulated machines, one boot each, as many machines at a
# time as there are processors. Leaves OUT/MACHINE.log and OUT/junit-MACHINE.xml. Where a machine cannot
# be emulated here its tests count as skipped; so do all with AEE_HW=no.
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd) || exit 2
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 2
shift 2
[ $# -gt 0 ] || set -- svm svm-npt0 vmx vmx-old

# One processor that is 20 to 100 times slower, and budgets that are scaled accordingly: not what runs
# against the clock or needs several processors, not the long ones, and hostile ones in direct mode only.
tests_of() {
    echo "test_calls test_contexts test_ready test_regions test_registers test_spares test_warm"
    echo "hostile_thief hostile_hostcalls hostile_handles"
    case $1 in # Bochs takes ten minutes for these two
    svm*) echo "hostile_faults hostile_memory" ;;
    esac
}
export AEE_TEST_TIMEOUT_SCALE=${AEE_HW_SCALE:-40}
limit=240 # seconds of the machine's time, for one program

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What a machine runs.
script_of() {
    cat <<END
export AEE_TEST_TIMEOUT_SCALE=$AEE_TEST_TIMEOUT_SCALE AEE_FORCE_LEVEL=full
for test in $*; do
    echo "AEE-HW: begin \$test \$(cut -d' ' -f1 /proc/uptime)"
    timeout -s KILL $limit /tests/\$test "(direct)" >/tmp/output 2>&1
    rc=\$?
    if [ \$rc = 0 ]; then grep 'SKIP: ' /tmp/output; else tail -n 60 /tmp/output; fi
    echo "AEE-HW: end \$test \$rc \$(cut -d' ' -f1 /proc/uptime)"
done
END
}

machine_run() {
    local machine=$1 tests programs=() test
    tests=$(tests_of "$machine" | tr '\n' ' ')
    for test in $tests; do
        case $test in
        hostile_*) programs+=("$build/tests/hostile/$test") ;;
        *) programs+=("$build/tests/$test") ;;
        esac
    done
    # shellcheck disable=SC2086 # lists of words, here and below
    script_of $tests >"$work/$machine.sh"
    if [ -s "$work/reason" ]; then
        cp "$work/reason" "$out/$machine.log"
    else
        AEE_HW_TIMEOUT=900 "$here/run.sh" "$machine" "$work/$machine.sh" "${programs[@]}" \
            "$build"/tests/*.elf "$build"/tests/hostile/*.elf "$build"/guest/*.elf >"$out/$machine.log" 2>&1
    fi
    # shellcheck disable=SC2086
    python3 -B "$here/report.py" "$machine" "$out/$machine.log" "$out/junit-$machine.xml" $tests
}

if [ "${AEE_HW:-yes}" = no ]; then
    echo "SKIP: AEE_HW=no" >"$work/reason"
elif ! "$here/setup.sh" >"$out/setup.log" 2>&1; then
    { grep '^SKIP: ' "$out/setup.log" || echo "SKIP: tests/hw/setup.sh failed"; } | tail -n 1 >"$work/reason"
fi
status=0
running=0
for machine in "$@"; do
    if [ $running -ge "${AEE_JOBS:-$(nproc)}" ]; then
        wait -n || status=1
        running=$((running - 1))
    fi
    machine_run "$machine" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
exit $status
