# Generates the messages of the gRPC service from their description, as a module beside the sources that use it. The
# module is not committed: the grpcio-tools that generate it decide which protobuf it needs.

set(TRTSERVE_PROTOCOL_DIR "" CACHE PATH "Folder of modules that were generated elsewhere; empty: generate them here")
if(TRTSERVE_PROTOCOL_DIR)
  install(DIRECTORY ${TRTSERVE_PROTOCOL_DIR}/trtserve DESTINATION .)
  return()
endif()

set(protocol_source ${CMAKE_CURRENT_SOURCE_DIR}/../service/rpc)
set(protocol_modules)
foreach(name IN ITEMS model_config open_inference)
  set(module ${CMAKE_BINARY_DIR}/protocol/trtserve/rpc/${name}_pb2.py)
  add_custom_command(
    OUTPUT ${module}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/protocol
    COMMAND ${Python_EXECUTABLE} -m grpc_tools.protoc --proto_path=trtserve/rpc=${protocol_source}
      --python_out=${CMAKE_BINARY_DIR}/protocol trtserve/rpc/${name}.proto
    DEPENDS ${protocol_source}/${name}.proto
    COMMENT "Generating ${name}_pb2.py"
    VERBATIM)
  list(APPEND protocol_modules ${module})
endforeach()

add_custom_target(trtserve_protocol ALL DEPENDS ${protocol_modules})
install(FILES ${protocol_modules} DESTINATION trtserve/rpc)
