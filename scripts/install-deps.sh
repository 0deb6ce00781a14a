#!/bin/sh
# install-deps.sh: makes sure that the Debian packages named as arguments are there.
#
#   scripts/install-deps.sh cmake gcc ... [--optional clang-tidy ...]
#
# Nothing is downloaded when nothing is missing. What is missing is installed with apt-get, as root
# or through a sudo that asks for no password; otherwise the command to run is printed. Packages
# before --optional must be there in the end; those after it need not (their tests are skipped).
set -eu

say() { printf 'deps: %s\n' "$*"; }

# A file or command that shows that the package's content is there, whoever installed it.
present() {
    case $1 in
    xvfb) command -v Xvfb >/dev/null 2>&1 ;;
    cmake | gcc | g++ | gdb | clang | clang-tidy | clang-format | pkg-config | python3 | git | spin | xdotool)
        command -v "$1" >/dev/null 2>&1 ;;
    ninja-build) command -v ninja >/dev/null 2>&1 ;;
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    musl-dev) [ -e /usr/lib/x86_64-linux-musl/libc.a ] || [ -e /usr/lib/musl/lib/libc.a ] ;;
    libseccomp-dev) [ -e /usr/include/seccomp.h ] || pkg-config --exists libseccomp 2>/dev/null ;;
    libzstd-dev) pkg-config --exists libzstd 2>/dev/null ;;
    libdw-dev) pkg-config --exists libdw libelf 2>/dev/null ;;
    libjansson-dev) pkg-config --exists jansson 2>/dev/null ;;
    libsdl2-dev) pkg-config --exists sdl2 2>/dev/null ;;
    libsdl2-ttf-dev) pkg-config --exists SDL2_ttf 2>/dev/null ;;
    libpng-dev) pkg-config --exists libpng 2>/dev/null ;;
    fonts-dejavu-core) [ -e /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf ] ;;
    libxxhash-dev) [ -e /usr/include/xxhash.h ] || pkg-config --exists libxxhash 2>/dev/null ;;
    libcmocka-dev) [ -e /usr/include/cmocka.h ] || [ -e /usr/local/include/cmocka.h ] ;;
    libclang-rt-14-dev)
        command -v clang >/dev/null 2>&1 &&
            [ -e "$(clang -print-file-name=libclang_rt.fuzzer-x86_64.a 2>/dev/null)" ] ;;
    *) return 1 ;;
    esac
}

installed() {
    present "$1" && return 0
    command -v dpkg-query >/dev/null 2>&1 &&
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
    for package in "$@"; do
        installed "$package" || printf ' %s' "$package"
    done
}

required=
optional=
into=required
for argument in "$@"; do
    if [ "$argument" = --optional ]; then
        into=optional
    elif [ $into = required ]; then
        required="$required $argument"
    else
        optional="$optional $argument"
    fi
done
# shellcheck disable=SC2086 # lists of words on purpose, here and below
missing="$(missing_of $required)$(missing_of $optional)"
[ -n "$missing" ] || exit 0

as_root=none
if ! command -v apt-get >/dev/null 2>&1; then
    say "missing:$missing"
    say "this is not a Debian system: install the equivalents of these packages"
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    say "missing:$missing"
    say "not root, and sudo wants a password; please run:"
    say "  sudo apt-get install --no-install-recommends$missing"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1
}
install() {
    [ $# -gt 0 ] || return 0
    say "installing: $*"
    apt install -y --no-install-recommends "$@" && return 0
    say "apt-get could not install them:"
    tail -n 5 "$log"
    say "please run: sudo apt-get install --no-install-recommends $*"
}
if [ "$as_root" != none ]; then
    say "apt-get update"
    apt update -q || say "apt-get update failed; trying with the package lists there are"
    install $(missing_of $required)
    install $(missing_of $optional)
fi

lacking=$(missing_of $optional)
if [ -n "$lacking" ]; then
    say "going on without:$lacking (what needs them is skipped)"
fi
lacking=$(missing_of $required)
if [ -n "$lacking" ]; then
    say "cannot go on: these packages are needed and missing:$lacking" >&2
    exit 1
fi
