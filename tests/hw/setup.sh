#!/bin/sh
# setup.sh: what the emulated machines need: emulators, and Debian's cloud kernel with its KVM modules
# (as root or with sudo: installs packages). Once per checkout: the kernel is kept in build/hw. Exits with 77
# and a last line "SKIP: reason" where something cannot be had.
here=$(cd "$(dirname "$0")" && pwd)
: "${AEE_HW_CACHE:=$here/../../build/hw}"
packages="qemu-system-x86 bochs bochs-term bochsbios vgabios busybox-static cpio xorriso isolinux
    syslinux-common kmod binutils"
skip() {
    echo "SKIP: $1"
    exit 77
}
# shellcheck disable=SC2086 # a list of words
"$here/../../scripts/install-deps.sh" $packages || skip "the emulators (QEMU, Bochs) are not installed"
ls "$AEE_HW_CACHE"/kernel/boot/vmlinuz-* >/dev/null 2>&1 && exit 0

mkdir -p "$AEE_HW_CACHE/dl" || skip "no folder $AEE_HW_CACHE/dl can be made"
cd "$AEE_HW_CACHE/dl" || exit 1
# Into this folder, whatever its name is today.
download() {
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] && rm -f "$package"_*.deb && timeout 300 apt-get download "$package"
}
download || { timeout 300 apt-get update -q && download; } ||
    skip "Debian's cloud kernel cannot be downloaded"
rm -rf ../kernel ../unpacked
dpkg -x "$package"_*.deb ../unpacked && mv ../unpacked ../kernel || skip "the kernel's package cannot be unpacked"
