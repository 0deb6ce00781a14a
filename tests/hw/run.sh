#!/bin/bash
# run.sh MACHINE RUNSCRIPT FILE...: boots an emulated machine that has CPU virtualization, runs RUNSCRIPT
# there (as /tests/run.sh, beside the FILEs) and exits with its status. 77: skipped, 124: timed out.
#
#   svm        AMD with nested paging           (QEMU, about 10 s)
#   svm-npt0   AMD with shadow paging
#   vmx        Intel with EPT                   (Bochs, about 30 s)
#   vmx-old    Intel without unrestricted guest
here=$(cd "$(dirname "$0")" && pwd)
export AEE_HW_CACHE="${AEE_HW_CACHE:-$here/../../build/hw}"
machine=$1 script=$2
shift 2
limit=${AEE_HW_TIMEOUT:-300}
kernel=$(ls "$AEE_HW_CACHE"/kernel/boot/vmlinuz-* 2>/dev/null | head -n 1)
skip() { echo "SKIP: $1: run tests/hw/setup.sh"; exit 77; }
[ -n "$kernel" ] && [ -x /bin/busybox ] || skip "no kernel for the emulated machine"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
append="console=ttyS0 quiet panic=-1 nokaslr mitigations=off cryptomgr.notests=1 tsc=reliable"
case $machine in
svm-npt0) append+=" modargs=npt=0" ;;
vmx-old) append+=" modargs=unrestricted_guest=0" ;;
esac
# QEMU's SVM honours the I/O bitmap only of an available TSS.
{ [ "${machine%%-*}" = svm ] && echo 'export AEE_KVM_TR_TYPE=9'; cat "$script"; } >"$work/run.sh"

boot_qemu() {
    command -v qemu-system-x86_64 >/dev/null || skip "no QEMU"
    "$here/mkinitramfs.sh" "$work/initrd" "$work/run.sh" "$@" || exit 1
    timeout "$limit" qemu-system-x86_64 -accel tcg -cpu max,+svm,+npt -m 2048 -smp 1 -display none \
        -nodefaults -no-user-config -serial stdio -no-reboot -kernel "$kernel" -initrd "$work/initrd" \
        -append "$append" </dev/null >"$work/log" 2>&1
}

boot_bochs() {
    command -v bochs-bin >/dev/null && command -v xorriso >/dev/null || skip "no Bochs"
    mkdir -p "$work/iso/isolinux"
    "$here/mkinitramfs.sh" "$work/iso/initrd" "$work/run.sh" "$@" || exit 1
    cp "$kernel" "$work/iso/vmlinuz"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux/"
    printf 'DEFAULT l\nPROMPT 0\nLABEL l\n KERNEL /vmlinuz\n INITRD /initrd\n APPEND %s no_timer_check\n' \
        "$append" >"$work/iso/isolinux/isolinux.cfg"
    xorriso -as mkisofs -quiet -R -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso" 2>/dev/null || exit 1
    sed "s|@WORK@|$work|" "$here/bochsrc.in" >"$work/bochsrc"
    echo c >"$work/rc" # Debian's Bochs has its debugger built in: "c" starts the machine
    mkfifo "$work/stdin"
    TERM=vt100 timeout "$limit" script -qec "bochs-bin -q -f $work/bochsrc -rc $work/rc" /dev/null \
        0<>"$work/stdin" >"$work/screen" 2>&1
    cp "$work/serial" "$work/log" 2>/dev/null || cp "$work/screen" "$work/log"
}

case $machine in
svm | svm-npt0) boot_qemu "$@" ;;
vmx | vmx-old) boot_bochs "$@" ;;
*) echo "run.sh: no machine is called $machine"; exit 2 ;;
esac
tr -d '\r' <"$work/log" | grep -vE '^\[ +[0-9]+\.[0-9]+\]'
rc=$(sed -n 's/.*AEE-HW: rc=\([0-9]*\).*/\1/p' "$work/log" | tail -n 1)
exit "${rc:-124}"
