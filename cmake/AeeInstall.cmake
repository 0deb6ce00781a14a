# What `cmake --install` lays down: headers, libraries, the CMake package and the pkg-config file.
# The guest SDK and aee-cc are installed by guest/CMakeLists.txt, the command line by tools/aee.

include(CMakePackageConfigHelpers)

set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/aee_virt")

foreach(_header IN ITEMS aee_virt.h aee_abi.h aee_guest.h)
    if(EXISTS "${PROJECT_SOURCE_DIR}/include/${_header}")
        install(FILES "${PROJECT_SOURCE_DIR}/include/${_header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    endif()
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/bindings/cpp/aee_virt.hpp" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

set_target_properties(aee_virt PROPERTIES EXPORT_NAME virt)
set_target_properties(aee_virt_static PROPERTIES EXPORT_NAME virt_static)
install(TARGETS aee_virt aee_virt_static
    EXPORT aee_virt-targets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT aee_virt-targets NAMESPACE aee:: DESTINATION "${_package_dir}")

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/aee_virt-config.cmake.in"
    "${PROJECT_BINARY_DIR}/aee_virt-config.cmake"
    INSTALL_DESTINATION "${_package_dir}")
# Before 1.0 a minor version may break the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/aee_virt-config-version.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/aee_virt-config.cmake"
    "${PROJECT_BINARY_DIR}/aee_virt-config-version.cmake"
    DESTINATION "${_package_dir}")
if(EXISTS "${PROJECT_SOURCE_DIR}/cmake/AeeComponent.cmake")
    install(FILES "${PROJECT_SOURCE_DIR}/cmake/AeeComponent.cmake" DESTINATION "${_package_dir}")
endif()

# Relative to the .pc file, so that an installed tree can be moved. libseccomp and libzstd are named as
# libraries, not in Requires.private: who links the shared library needs nothing of it but what the loader finds.
file(RELATIVE_PATH _pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" AEE_PC_PREFIX "${_pc_prefix}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/aee_virt.pc.in" "${PROJECT_BINARY_DIR}/aee_virt.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/aee_virt.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
