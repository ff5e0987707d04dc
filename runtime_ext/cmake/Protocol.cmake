# Generates the messages of the gRPC service and of a folder's configs from their descriptions, as modules beside the
# sources that use them. The modules are not committed: the grpcio-tools that generate them decide which protobuf they
# need.

set(TRTSERVE_PROTOCOL_DIR "" CACHE PATH "Folder of modules that were generated elsewhere; empty: generate them here")
if(TRTSERVE_PROTOCOL_DIR)
  install(DIRECTORY ${TRTSERVE_PROTOCOL_DIR}/trtserve DESTINATION .)
  return()
endif()

set(protocol_source ${CMAKE_CURRENT_SOURCE_DIR}/../service)
set(protocol_modules)
foreach(name IN ITEMS folder/model_config rpc/model_config rpc/open_inference)
  set(module ${CMAKE_BINARY_DIR}/protocol/trtserve/${name}_pb2.py)
  add_custom_command(
    OUTPUT ${module}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/protocol
    COMMAND ${Python_EXECUTABLE} -m grpc_tools.protoc --proto_path=trtserve=${protocol_source}
      --python_out=${CMAKE_BINARY_DIR}/protocol trtserve/${name}.proto
    DEPENDS ${protocol_source}/${name}.proto
    COMMENT "Generating ${name}_pb2.py"
    VERBATIM)
  list(APPEND protocol_modules ${module})
  get_filename_component(folder ${name} DIRECTORY)
  install(FILES ${module} DESTINATION trtserve/${folder})
endforeach()

add_custom_target(trtserve_protocol ALL DEPENDS ${protocol_modules})
