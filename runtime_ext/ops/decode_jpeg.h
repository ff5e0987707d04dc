#pragma once

#include <ATen/core/Tensor.h>

namespace trtserve {

/// The picture of a JPEG file, which `data` (UINT8, [bytes], on the host) holds: UINT8 [channels, height, width] on the
/// host. `channels`: 3 for red, green and blue, 1 for grey. What EXIF says of its orientation does not count.
/// InvalidInput for a file that is damaged, incomplete or too large; Unsupported where this was built without libjpeg.
at::Tensor decode_jpeg(const at::Tensor& data, int64_t channels);

}  // namespace trtserve
