# AeeComponent.cmake: builds component images. Used by this tree and, installed, by
# find_package(aee_virt).
#
#   aee_add_component(<name> SOURCES <files>...
#                     [CXX_STANDARD <n>] [PIE] [NATIVE]
#                     [INCLUDE_DIRECTORIES <folders>...] [OPTIONS <compile options>...])
#
# makes <name>.elf in the current binary folder. PIE: position-independent (the library places it).
# NATIVE: also the target <name>_native, the module <name>_native.so for the host, compiled with
# AEE_NATIVE and the same arithmetic, which tests compare with the image. The target's property
# AEE_IMAGE is the image's path.
#
# Components are compiled for plain x86-64, so that one image runs on every host. What needs AVX2
# goes behind __attribute__((target("avx2"))) and aee_has_avx2().

set(AEE_MUSL_INCLUDE "/usr/include/x86_64-linux-musl" CACHE PATH
    "Headers of the musl C library for components (package musl-dev)")
mark_as_advanced(AEE_MUSL_INCLUDE)

# Arithmetic, the same in images and in native modules, so that both give the same bits:
# -fno-trapping-math and -fno-math-errno let compilers vectorise selects and inline sqrt();
# -ffp-contract=off keeps them from fusing multiply and add where FMA is there.
set(AEE_COMPONENT_ARITHMETIC -O2 -ftree-vectorize -fno-trapping-math -fno-math-errno -ffp-contract=off)
# gcc 12's -O2 vectorises only loops whose count it knows.
set(AEE_COMPONENT_ARITHMETIC_GNU -fvect-cost-model=dynamic)

# What an image needs. No stack protector: the canary would lie in the thread control block, which is
# zero; the stack has guard pages. A project's own sanitizers and coverage have no run time there.
set(AEE_COMPONENT_COMPILE
    -g -m64 -march=x86-64 -mtune=generic -nostdinc -U_FORTIFY_SOURCE -fno-stack-protector
    -fno-asynchronous-unwind-tables -fno-unwind-tables -ftls-model=local-exec
    -ffunction-sections -fdata-sections -fcf-protection=none -fno-lto -fno-sanitize=all
    -fno-profile-arcs -fno-test-coverage)
# libstdc++'s headers ask for the version of glibc; there is none.
set(AEE_COMPONENT_COMPILE_CXX -fno-exceptions -fno-rtti "-D__GLIBC_PREREQ(a,b)=0")
set(AEE_COMPONENT_LINK
    -nostdlib -nostartfiles -fno-lto -fno-sanitize=all
    -Wl,-e,_start -Wl,-u,_start -Wl,--gc-sections -Wl,--build-id=none
    -Wl,-z,separate-code -Wl,-z,noexecstack -Wl,-z,norelro -Wl,-z,max-page-size=4096)
set(AEE_COMPONENT_LINK_FIXED -static -Wl,-Ttext-segment=0x400000)
set(AEE_COMPONENT_LINK_PIE -static-pie)

# Where the SDK is: beside this file in the source tree, or in the prefix it was installed to.
function(_aee_component_paths)
    set(list_dir "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
    if(TARGET aee_guest AND EXISTS "${list_dir}/../guest/sdk/native.c")
        set(include "${list_dir}/../include")
        set(library "$<TARGET_FILE:aee_guest>")
        set(native "${list_dir}/../guest/sdk/native.c")
    else()
        get_filename_component(native "${list_dir}/../../aee/native.c" ABSOLUTE)
        get_filename_component(library "${list_dir}/../../aee/libaee_guest.a" ABSOLUTE)
        set(include "${list_dir}")
        while(NOT EXISTS "${include}/include/aee_guest.h" AND NOT include STREQUAL "/")
            get_filename_component(include "${include}" DIRECTORY)
        endwhile()
        set(include "${include}/include")
    endif()
    get_filename_component(include "${include}" ABSOLUTE)
    set(_include "${include}" PARENT_SCOPE)
    set(_library "${library}" PARENT_SCOPE)
    set(_native "${native}" PARENT_SCOPE)
endfunction()

# System folders for one language, as options: C++ (if asked for), musl, then the compiler's own.
function(_aee_component_system_includes compiler cxx out)
    execute_process(COMMAND "${compiler}" -print-file-name=include
        OUTPUT_VARIABLE builtin OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    set(folders "")
    if(cxx)
        set(folders ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
        list(FILTER folders INCLUDE REGEX "c\\+\\+")
    endif()
    list(APPEND folders "${AEE_MUSL_INCLUDE}" "${builtin}")
    list(TRANSFORM folders PREPEND "SHELL:-isystem ")
    set(${out} "${folders}" PARENT_SCOPE)
endfunction()

function(_aee_component_arithmetic target)
    target_compile_options(${target} PRIVATE ${AEE_COMPONENT_ARITHMETIC}
        "$<$<OR:$<C_COMPILER_ID:GNU>,$<CXX_COMPILER_ID:GNU>>:${AEE_COMPONENT_ARITHMETIC_GNU}>")
endfunction()

# Compile options that images and the SDK itself have in common.
function(_aee_component_compile target)
    _aee_component_system_includes("${CMAKE_C_COMPILER}" OFF c_includes)
    target_compile_options(${target} PRIVATE ${AEE_COMPONENT_COMPILE})
    foreach(option IN LISTS c_includes)
        target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C>:${option}>")
    endforeach()
    if(CMAKE_CXX_COMPILER)
        _aee_component_system_includes("${CMAKE_CXX_COMPILER}" ON cxx_includes)
        foreach(option IN LISTS AEE_COMPONENT_COMPILE_CXX cxx_includes)
            target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${option}>")
        endforeach()
    endif()
endfunction()

function(_aee_component_native name)
    add_library(${name}_native MODULE ${ARGN} "${_native}")
    set_target_properties(${name}_native PROPERTIES
        PREFIX "" C_STANDARD 11 C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
        POSITION_INDEPENDENT_CODE ON)
    _aee_component_arithmetic(${name}_native)
    target_compile_definitions(${name}_native PRIVATE AEE_NATIVE=1)
    target_compile_options(${name}_native PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions;-fno-rtti>")
    target_include_directories(${name}_native PRIVATE "${_include}")
    # Two modules in one process keep their own hooks.
    target_link_options(${name}_native PRIVATE -Wl,-Bsymbolic)
endfunction()

function(aee_add_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "NATIVE;PIE" "CXX_STANDARD" "SOURCES;INCLUDE_DIRECTORIES;OPTIONS")
    if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "aee_add_component(${name}): expected SOURCES, found '${arg_UNPARSED_ARGUMENTS}'")
    endif()
    if(NOT EXISTS "${AEE_MUSL_INCLUDE}/stdio.h")
        message(FATAL_ERROR "aee_add_component(${name}): no musl headers in AEE_MUSL_INCLUDE "
            "(${AEE_MUSL_INCLUDE}); the package is called musl-dev")
    endif()
    if(NOT arg_CXX_STANDARD)
        set(arg_CXX_STANDARD 17)
    endif()
    _aee_component_paths()

    add_executable(${name} ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES
        SUFFIX .elf AEE_IMAGE "$<TARGET_FILE:${name}>"
        C_STANDARD 11 CXX_STANDARD ${arg_CXX_STANDARD} CXX_STANDARD_REQUIRED ON
        POSITION_INDEPENDENT_CODE OFF INTERPROCEDURAL_OPTIMIZATION OFF
        ENABLE_EXPORTS OFF)
    _aee_component_compile(${name})
    _aee_component_arithmetic(${name})
    target_include_directories(${name} PRIVATE "${_include}" ${arg_INCLUDE_DIRECTORIES})
    target_compile_options(${name} PRIVATE $<IF:$<BOOL:${arg_PIE}>,-fPIE,-fno-pie> ${arg_OPTIONS})
    target_link_options(${name} PRIVATE ${AEE_COMPONENT_LINK})
    if(arg_PIE)
        target_link_options(${name} PRIVATE ${AEE_COMPONENT_LINK_PIE})
    else()
        target_link_options(${name} PRIVATE ${AEE_COMPONENT_LINK_FIXED})
    endif()
    target_link_libraries(${name} PRIVATE -Wl,--start-group "${_library}" -lgcc -Wl,--end-group)
    if(TARGET aee_guest)
        add_dependencies(${name} aee_guest)
    endif()
    set_property(TARGET ${name} PROPERTY LINK_DEPENDS "${_library}")

    if(arg_NATIVE)
        _aee_component_native(${name} ${arg_SOURCES})
        set_target_properties(${name}_native PROPERTIES CXX_STANDARD ${arg_CXX_STANDARD})
        target_include_directories(${name}_native PRIVATE ${arg_INCLUDE_DIRECTORIES})
        target_compile_options(${name}_native PRIVATE ${arg_OPTIONS})
    endif()
endfunction()
