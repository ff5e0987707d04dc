# Finds the headers of TensorRT and of the CUDA runtime that they include; the libraries are opened at run time.
# TENSORRT_GENERATIONS lists the major versions whose headers were found, TENSORRT_<major>_HEADERS is the folder of
# each, and CUDA_HEADERS the folder of CUDA's. If TENSORRT_GENERATIONS is empty, the backend cannot be built. With
# NvInfer.h and NvOnnxParser.h beside them, a generation can build plans: TENSORRT_<major>_BUILDS.

set(TENSORRT_INCLUDE_DIR "" CACHE STRING "Folders of NvInferRuntime.h, one per major version, as a list: of TensorRT 8.5, \
8.6, or 10.16 and later; empty: those in the environment, parted by colons, else look for one")
set(CUDA_INCLUDE_DIR "" CACHE PATH "Folder of cuda_runtime_api.h; empty: look for it")
option(TRTSERVE_DOWNLOAD_TENSORRT_HEADERS "Download the headers of TensorRT where none are found" ON)

# An official release: https://github.com/NVIDIA/TensorRT, tag v11.1, folder include, Apache-2.0.
set(tensorrt_release v11.1)
set(tensorrt_files
  NvInfer.h=b857831d9c79e9b04e83b65d58a512533ee363f91dbcaec77cba9c7746e8e8b3
  NvInferImpl.h=c6acddec7e286c18e9cd08511553c2015f99c487ca25717790e54e30c18ade79
  NvInferLegacyDims.h=3e10fe5b85545f2e956e6935271badf0b1c72553b698000a61d46d69c5d53030
  NvInferPluginBase.h=759f354754e64bf4d1e68d7df796c155c46f8a27541bf1912ba13e79a5a26fc2
  NvInferRuntime.h=e78c2d49516a66f726864904386534f63eacf0ad75a6dfdde7dfa70adf39f797
  NvInferRuntimeBase.h=ec38759dbf8a5538c4cd30890f1764658bc2dcec87e95ac18148e476cbe1671b
  NvInferRuntimeCommon.h=eff4c0251cb4813bbc7fe34c6b28fdb6c08734c27ae53b07974d2557bf1431be
  NvInferRuntimePlugin.h=d4db4236da9c03e543949247a75478b5ce68fc84eb30cd15b35081b94c8d8391
  NvInferVersion.h=8648df4851fb2df1a15d7dfdae6454428c4b119055f65f6a98de8ff806977b2e
  NvOnnxParser.h=3c3766d0d9ee5c43887f404513243c376cdb9bf97bde29920a01e71e7e19239f)

# Downloads the release's headers once, each checked against its hash. Sets `result` to their folder or to "".
function(download_tensorrt_headers result)
  set(folder ${CMAKE_BINARY_DIR}/tensorrt-${tensorrt_release})
  set(${result} "" PARENT_SCOPE)
  foreach(entry IN LISTS tensorrt_files)
    string(REPLACE "=" ";" entry ${entry})
    list(GET entry 0 name)
    list(GET entry 1 hash)
    if(EXISTS ${folder}/${name})
      continue()
    endif()
    # Not EXPECTED_HASH: it would end the configuration, but without a network the rest should still build.
    file(DOWNLOAD https://raw.githubusercontent.com/NVIDIA/TensorRT/${tensorrt_release}/include/${name}
      ${folder}/${name}.part STATUS status INACTIVITY_TIMEOUT 10)
    list(GET status 0 code)
    if(code EQUAL 0)
      file(SHA256 ${folder}/${name}.part got)
    endif()
    if(NOT code EQUAL 0 OR NOT got STREQUAL hash)
      file(REMOVE ${folder}/${name}.part)
      return()
    endif()
    file(RENAME ${folder}/${name}.part ${folder}/${name})
  endforeach()
  set(${result} ${folder} PARENT_SCOPE)
endfunction()

# The major version of the headers in a folder.
function(tensorrt_major folder result)
  file(STRINGS ${folder}/NvInferVersion.h line REGEX "define (TRT_MAJOR_ENTERPRISE|NV_TENSORRT_MAJOR) [0-9]+" LIMIT_COUNT 1)
  if(NOT line MATCHES " ([0-9]+)")
    message(FATAL_ERROR "tensorrt: ${folder}/NvInferVersion.h has no version")
  endif()
  set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

set(TENSORRT_GENERATIONS "")
set(tensorrt_include ${TENSORRT_INCLUDE_DIR})
if(NOT tensorrt_include)
  # Read at each configuration and not cached: a build folder outlives the environment.
  string(REPLACE ":" ";" tensorrt_include "$ENV{TENSORRT_INCLUDE_DIR}")
endif()
if(NOT tensorrt_include)
  find_path(tensorrt_system NvInferRuntime.h PATH_SUFFIXES tensorrt NO_CACHE)
  set(tensorrt_include ${tensorrt_system})
endif()
if(NOT tensorrt_include AND TRTSERVE_DOWNLOAD_TENSORRT_HEADERS)
  download_tensorrt_headers(tensorrt_include)
endif()

# CUDA's headers come from the toolkit or from Python packages. A CUDA build of torch brings cuda_runtime_api.h, but not
# the headers that it includes.
cmake_path(GET TORCH_DIR PARENT_PATH site_packages)
file(GLOB cuda_packages ${site_packages}/nvidia/cu*/include)
find_path(cuda_include crt/host_defines.h HINTS ${CUDA_INCLUDE_DIR} ${cuda_packages}
  PATHS /usr/local/cuda/include $ENV{CUDA_HOME}/include NO_CACHE)

if(NOT tensorrt_include)
  message(STATUS "tensorrt: no headers, so its backend is not built (set TENSORRT_INCLUDE_DIR)")
elseif(NOT cuda_include)
  message(STATUS "tensorrt: no CUDA headers, so its backend is not built (pip install nvidia-cuda-runtime nvidia-cuda-crt)")
else()
  set(CUDA_HEADERS ${cuda_include})
  foreach(folder IN LISTS tensorrt_include)
    if(NOT EXISTS ${folder}/NvInferRuntime.h)
      message(FATAL_ERROR "tensorrt: TENSORRT_INCLUDE_DIR names ${folder}, which has no NvInferRuntime.h")
    endif()
    tensorrt_major(${folder} major)
    if(major IN_LIST TENSORRT_GENERATIONS)
      message(FATAL_ERROR "tensorrt: TENSORRT_INCLUDE_DIR names two folders of TensorRT ${major}")
    endif()
    list(APPEND TENSORRT_GENERATIONS ${major})
    set(TENSORRT_${major}_HEADERS ${folder})
    set(TENSORRT_${major}_BUILDS FALSE)
    if(EXISTS ${folder}/NvInfer.h AND EXISTS ${folder}/NvOnnxParser.h)
      set(TENSORRT_${major}_BUILDS TRUE)
      message(STATUS "tensorrt ${major}: ${folder}")
    else()
      message(STATUS "tensorrt ${major}: ${folder}, without NvOnnxParser.h or NvInfer.h, so it cannot build plans")
    endif()
  endforeach()
endif()
