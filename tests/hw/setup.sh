#!/bin/sh
# setup.sh: what the emulated machines need: emulators, and Debian's cloud kernel with its KVM modules
# (as root or with sudo: installs packages). Once per machine.
set -e
here=$(cd "$(dirname "$0")" && pwd)
: "${AEE_HW_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/aee-hw}"
"$here/../../scripts/install-deps.sh" qemu-system-x86 bochs bochs-term bochsbios vgabios busybox-static \
    cpio xorriso isolinux syslinux-common kmod binutils
if ls "$AEE_HW_CACHE"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
    exit 0
fi
mkdir -p "$AEE_HW_CACHE/dl"
cd "$AEE_HW_CACHE/dl"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$package" ] || { echo "setup.sh: there is no linux-image-cloud-amd64 package"; exit 1; }
apt-get download "$package"
rm -rf ../kernel
mkdir ../kernel
dpkg -x "$package"_*.deb ../kernel
