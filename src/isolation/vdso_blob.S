/* vdso_blob.S: code that the library carries as bytes: what it maps into each context, for virtual
 * machines, for cells and for its own process (guest/vdso), and the program of cells (process/cell.c). */
    .section .rodata
    .macro blob name, file
    .balign 16
    .globl \name\()_start
    .hidden \name\()_start
    .type \name\()_start, @object
\name\()_start:
    .incbin "\file"
    .globl \name\()_end
    .hidden \name\()_end
    .type \name\()_end, @object
\name\()_end:
    .endm
    blob aee__vdso, AEE_VDSO_FILE
    blob aee__vdso_cell, AEE_VDSO_CELL_FILE
    blob aee__vdso_none, AEE_VDSO_NONE_FILE
    blob aee__cell, AEE_CELL_FILE
    .section .note.GNU-stack,"",@progbits
