#!/bin/bash
# mkinitramfs.sh OUT RUNSCRIPT FILE...: busybox, KVM modules, /tests/run.sh and the FILEs: programs in /tests
# with their libraries, *.elf images at the path that they have here, since the programs look there.
set -e
here=$(cd "$(dirname "$0")" && pwd)
out=$1 run=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
modules=$(echo "$AEE_HW_CACHE"/kernel/lib/modules/*/kernel)
mkdir -p "$work"/{bin,lib,dev,proc,sys,tmp,tests}
cp /bin/busybox "$work/bin/"
ln -s busybox "$work/bin/sh"
install -m755 "$here/guest-init" "$work/init"
for module in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd arch/x86/kvm/kvm-intel; do
    strip -g -o "$work/lib/${module##*/}.ko" "$modules/$module.ko" # smaller, and no signature to verify
done
cp "$run" "$work/tests/run.sh"
for file in "$@"; do
    case $file in
    *.elf) install -D "$file" "$work$file" ;;
    *) strip -g -o "$work/tests/${file##*/}" "$file" ;; # less to be read from an emulated disk
    esac
done
for file in "$@"; do
    ldd "$file" 2>/dev/null | grep -oE '/[^ ]+'
done | sort -u | while read -r library; do
    install -D "$library" "$work$library"
done
(cd "$work" && find . -print0 | LC_ALL=C sort -z | cpio --null -o -H newc --quiet -R 0:0 | gzip -1) >"$out"
