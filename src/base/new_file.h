/* new_file.h: a file that gets its name when all of it is on the disk: until then, and where
 * something fails, what had the name before still has it. Owns its descriptors from begin to end;
 * one thread at a time. False and errno on failure; the end is due then, too. */
#ifndef AEE_BASE_NEW_FILE_H
#define AEE_BASE_NEW_FILE_H

#include <stdbool.h>

struct aee__new_file {
    int fd; /* for writing; the owner's alone (mode 0600) */
    int directory;
    bool lent; /* the directory, by the caller */
    const char *name;
    char temporary[32]; /* "": there is no such file */
};

#define AEE__NEW_FILE_NONE                         \
    {                                              \
        .fd = -1, .directory = -1, .temporary = "" \
    }

/* `path` stays until the end. What is there must be a plain file: EISDIR, ELOOP for a link, EEXIST
 * for any other. */
bool aee__new_file_begin(struct aee__new_file *file, const char *path);
/* The same in an open directory, which stays the caller's. */
bool aee__new_file_begin_at(struct aee__new_file *file, int directory, const char *name);
/* What was written is on the disk, under the name; once, and the end is due all the same. */
bool aee__new_file_keep(struct aee__new_file *file);
/* A file that was not kept is gone. Also of one that was not begun. */
void aee__new_file_end(struct aee__new_file *file);

#endif
