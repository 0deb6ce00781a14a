# aee_options: how our own C code is compiled. Linked privately (inside $<BUILD_INTERFACE:...>), so
# that neither consumers nor guest components inherit it. No flag is set globally.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

set(AEE_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")
set_property(CACHE AEE_SANITIZE PROPERTY STRINGS "" "address,undefined" "thread")
if(AEE_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "AEE_FUZZ needs clang: configure with -DCMAKE_C_COMPILER=clang")
    endif()
    set(_aee_sanitize "fuzzer-no-link,address,undefined")
else()
    set(_aee_sanitize "${AEE_SANITIZE}")
endif()

add_library(aee_options INTERFACE)
target_compile_features(aee_options INTERFACE c_std_11)
target_compile_definitions(aee_options INTERFACE _GNU_SOURCE)
target_compile_options(aee_options INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-Wall;-Wextra;-Wshadow;-Wconversion;-Wmissing-prototypes;-Wstrict-prototypes;-Wvla;-fno-common>)
# KVM's structures end in flexible arrays, and are to be followed by their elements.
target_compile_options(aee_options INTERFACE
    $<$<C_COMPILER_ID:Clang>:-Wno-gnu-variable-sized-type-not-at-end>)
if(AEE_WERROR)
    target_compile_options(aee_options INTERFACE $<$<COMPILE_LANGUAGE:C>:-Werror>)
endif()
if(_aee_sanitize)
    target_compile_options(aee_options INTERFACE
        $<$<COMPILE_LANGUAGE:C>:-fsanitize=${_aee_sanitize};-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
    target_link_options(aee_options INTERFACE "-fsanitize=${_aee_sanitize}")
    if(_aee_sanitize MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
        # gcc warns about each atomic_thread_fence(), which ThreadSanitizer does not model.
        target_compile_options(aee_options INTERFACE $<$<COMPILE_LANGUAGE:C>:-Wno-tsan>)
    endif()
endif()
