# musl_subset.cmake: takes members out of musl's libc.a for the guest SDK, with the names changed under
# which the SDK wraps some of them. Run as
#   cmake -DARCHIVE=libc.a -DMEMBERS=a;b -DFOLDER=dir -DAR=ar -DOBJCOPY=objcopy -DOBJDUMP=objdump -P ...
# Leaves FOLDER/<member>.o; fails if one of them contains a system call, or looks into the thread
# descriptor, which components do not have, for more than errno.

# In all members, so that snprintf() keeps calling musl's: it writes to memory only, where the SDK's
# vfprintf() and fwrite() know stdout and stderr only.
set(renamed vfprintf=aee__musl_vfprintf fwrite=aee__musl_fwrite)
# Only where it is defined: the others are to call the SDK's strerror().
set(renamed_in_strerror strerror=aee__musl_strerror __strerror_l=aee__musl_strerror_l)
list(TRANSFORM renamed PREPEND --redefine-sym=)
list(TRANSFORM renamed_in_strerror PREPEND --redefine-sym=)

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
set(objects "")
foreach(member IN LISTS MEMBERS)
    list(APPEND objects "${member}.lo")
endforeach()
execute_process(COMMAND "${AR}" x "${ARCHIVE}" ${objects}
    WORKING_DIRECTORY "${FOLDER}" COMMAND_ERROR_IS_FATAL ANY)
foreach(member IN LISTS MEMBERS)
    execute_process(COMMAND "${OBJCOPY}" ${renamed} ${renamed_in_${member}} "${member}.lo" "${member}.o"
        WORKING_DIRECTORY "${FOLDER}" COMMAND_ERROR_IS_FATAL ANY)
    file(REMOVE "${FOLDER}/${member}.lo")
endforeach()

set(objects "")
foreach(member IN LISTS MEMBERS)
    list(APPEND objects "${member}.o")
endforeach()
execute_process(COMMAND "${OBJDUMP}" -d --no-show-raw-insn ${objects}
    WORKING_DIRECTORY "${FOLDER}" OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
if(code MATCHES "[ \t](syscall|sysenter|hlt)[ \t\n]")
    message(FATAL_ERROR "a member of ${ARCHIVE} in the list contains a ${CMAKE_MATCH_1} instruction")
endif()
list(REMOVE_ITEM objects __errno_location.o strerror.o)
execute_process(COMMAND "${OBJDUMP}" -d --no-show-raw-insn ${objects}
    WORKING_DIRECTORY "${FOLDER}" OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
if(code MATCHES "%fs:0x0[^\n]*")
    message(FATAL_ERROR "a member of ${ARCHIVE} in the list uses the thread descriptor")
endif()
