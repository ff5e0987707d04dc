# The openvino wheel carries its own CMake package.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])"
  OUTPUT_VARIABLE openvino_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE openvino_missing)
if(openvino_missing)
  message(STATUS "openvino is not installed, so its backend is not built")
else()
  find_package(OpenVINO REQUIRED CONFIG COMPONENTS Runtime PATHS ${openvino_dir}/cmake NO_DEFAULT_PATH)
  message(STATUS "openvino ${OpenVINO_VERSION}: ${openvino_dir}")
endif()
