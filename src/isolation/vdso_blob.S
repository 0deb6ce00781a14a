/* vdso_blob.S: the code that the library maps into each context, as bytes. Built from guest/vdso. */
    .section .rodata
    .balign 16
    .globl aee__vdso_start
    .hidden aee__vdso_start
    .type aee__vdso_start, @object
aee__vdso_start:
    .incbin AEE_VDSO_FILE
    .globl aee__vdso_end
    .hidden aee__vdso_end
    .type aee__vdso_end, @object
aee__vdso_end:
    .section .note.GNU-stack,"",@progbits
