// A library of its own, as the real parser is: it lies beside the library of the builder.

#include <NvOnnxParser.h>

#include "fake_builder.h"

void* createNvOnnxParser_INTERNAL(void* network, void* logger, int version) noexcept {
  return fake_trt_create_parser(network, logger, version);
}
