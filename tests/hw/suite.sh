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
tests="test_calls test_contexts test_ready test_regions test_spares test_warm"
hostile="hostile_thief hostile_faults hostile_hostcalls hostile_memory hostile_handles"
export AEE_TEST_TIMEOUT_SCALE=${AEE_HW_SCALE:-40}
limit=240 # seconds of the machine's time, for one program

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/run.sh" <<END
export AEE_TEST_TIMEOUT_SCALE=$AEE_TEST_TIMEOUT_SCALE AEE_FORCE_LEVEL=full
for test in $tests $hostile; do
    echo "AEE-HW: begin \$test \$(cut -d' ' -f1 /proc/uptime)"
    timeout -s KILL $limit /tests/\$test "(direct)" >/tmp/output 2>&1
    rc=\$?
    if [ \$rc = 0 ]; then grep 'SKIP: ' /tmp/output; else tail -n 60 /tmp/output; fi
    echo "AEE-HW: end \$test \$rc \$(cut -d' ' -f1 /proc/uptime)"
done
END

machine_run() {
    if [ -s "$work/reason" ]; then
        cp "$work/reason" "$out/$1.log"
    else
        # shellcheck disable=SC2046,SC2086 # lists of files
        AEE_HW_TIMEOUT=600 "$here/run.sh" "$1" "$work/run.sh" $(printf "$build/tests/%s " $tests) \
            $(printf "$build/tests/hostile/%s " $hostile) \
            "$build"/tests/*.elf "$build"/tests/hostile/*.elf "$build"/guest/*.elf >"$out/$1.log" 2>&1
    fi
    # shellcheck disable=SC2086 # a list of words
    python3 -B "$here/report.py" "$1" "$out/$1.log" "$out/junit-$1.xml" $tests $hostile
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
