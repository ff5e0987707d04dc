# Makes imported targets of the installed torch. Not find_package(Torch): with a CUDA build of torch it demands a CUDA
# toolkit, although nothing here compiles device code or includes a CUDA header.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import torch, pathlib; print(pathlib.Path(torch.__file__).parent, torch.__version__, sep=';')"
  OUTPUT_VARIABLE torch_facts OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
list(GET torch_facts 0 TORCH_DIR)
list(GET torch_facts 1 TORCH_VERSION)
if(TORCH_VERSION VERSION_LESS 2.11 OR TORCH_VERSION VERSION_GREATER_EQUAL 2.14)
  message(FATAL_ERROR "torch ${TORCH_VERSION} is installed; trtserve builds against >=2.11,<2.14")
endif()
message(STATUS "torch ${TORCH_VERSION}: ${TORCH_DIR}")

function(add_torch_library target file)
  add_library(torch::${target} SHARED IMPORTED)
  set_target_properties(torch::${target} PROPERTIES
    IMPORTED_LOCATION ${TORCH_DIR}/lib/${file}
    INTERFACE_INCLUDE_DIRECTORIES "${TORCH_DIR}/include;${TORCH_DIR}/include/torch/csrc/api/include")
endfunction()

add_torch_library(c10 libc10.so)
add_torch_library(cpu libtorch_cpu.so)
add_torch_library(python libtorch_python.so)
target_link_libraries(torch::cpu INTERFACE torch::c10)
target_link_libraries(torch::python INTERFACE torch::cpu)
