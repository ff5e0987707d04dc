# nghttp2 reads and writes the frames of HTTP/2 for gRPC's fast path. Sets NGHTTP2_TARGET; where it is empty, the fast path
# is left out, and grpc.aio serves everything.

include(CheckSymbolExists)

set(NGHTTP2_TARGET "")
find_path(NGHTTP2_INCLUDE_DIR nghttp2/nghttp2.h)
find_library(NGHTTP2_LIBRARY nghttp2)
if(NOT NGHTTP2_INCLUDE_DIR OR NOT NGHTTP2_LIBRARY)
  message(STATUS "nghttp2: not found, so gRPC has no fast path (on Debian: apt-get install libnghttp2-dev)")
else()
  set(CMAKE_REQUIRED_INCLUDES ${NGHTTP2_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${NGHTTP2_LIBRARY})
  # Without these a client could make a server work by resetting calls, or by heads that never end.
  check_symbol_exists(nghttp2_option_set_stream_reset_rate_limit nghttp2/nghttp2.h NGHTTP2_LIMITS_RESETS)
  check_symbol_exists(nghttp2_option_set_max_continuations nghttp2/nghttp2.h NGHTTP2_LIMITS_CONTINUATIONS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  if(NGHTTP2_LIMITS_RESETS AND NGHTTP2_LIMITS_CONTINUATIONS)
    add_library(nghttp2 INTERFACE)
    target_include_directories(nghttp2 SYSTEM INTERFACE ${NGHTTP2_INCLUDE_DIR})
    target_link_libraries(nghttp2 INTERFACE ${NGHTTP2_LIBRARY})
    set(NGHTTP2_TARGET nghttp2)
    message(STATUS "nghttp2: ${NGHTTP2_LIBRARY}")
  else()
    message(STATUS "nghttp2: too old to bound what clients do (1.61, or a distribution's fixed version), so gRPC has no fast path")
  endif()
endif()
