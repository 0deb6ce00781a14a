#!/bin/sh
# suite.sh BUILD [MACHINE...]: the integration tests of a build on each emulated machine, one line each.
here=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
[ $# -gt 0 ] || set -- svm svm-npt0 vmx vmx-old
tests="test_calls test_contexts test_ready test_regions test_spares"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/run.sh" <<END
export AEE_TESTBED=/tests/testbed.elf AEE_STARTER=/tests/starter.elf AEE_TEST_TIMEOUT_SCALE=40
bad=0
for test in $tests; do
    /tests/\$test || bad=1
done
exit \$bad
END
files=
for test in $tests; do
    files="$files $build/tests/$test"
done
status=0
for machine in "$@"; do
    printf '%-10s' "$machine"
    # shellcheck disable=SC2086 # a list of files
    "$here/run.sh" "$machine" "$work/run.sh" $files "$build/tests/testbed.elf" "$build/tests/starter.elf" >"$work/log" 2>&1
    rc=$?
    passed=$(grep -c '^\[       OK \]' "$work/log")
    failed=$(grep -c '^\[  FAILED  \] [a-z]' "$work/log")
    case $rc in
    0) printf '%s passed\n' "$passed" ;;
    77) sed -n 's/^SKIP: /skipped: /p' "$work/log" ;;
    *) printf '%s passed, %s failed, status %s\n' "$passed" "$((failed / 2))" "$rc"; cat "$work/log"; status=1 ;;
    esac
done
exit $status
