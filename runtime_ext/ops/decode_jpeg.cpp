#include "ops/decode_jpeg.h"

#include "core/error.h"
#include "core/module_memory.h"

#ifdef TRTSERVE_JPEG

#include <array>
#include <csetjmp>
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/Functions.h>
#include <jerror.h>
#include <jpeglib.h>

namespace trtserve {

namespace {

constexpr uint64_t kMostPixels = 1 << 26;
/// A progressive file of a few kilobytes may have thousands of scans over the whole picture.
constexpr int kMostScans = 100;

/// What libjpeg tells of a file. `manager` is the first member, so that a pointer to it is one to this.
struct Report {
  jpeg_error_mgr manager;
  jpeg_progress_mgr progress;
  std::jmp_buf leave;
  std::array<char, JMSG_LENGTH_MAX> text;
};

/// libjpeg is C: an exception must not pass through it, so its errors leave with a jump.
[[noreturn]] void leave(j_common_ptr file) {
  auto* report = reinterpret_cast<Report*>(file->err);
  report->manager.format_message(file, report->text.data());
  std::longjmp(report->leave, 1);
}

/// A file that ends too early is a warning to libjpeg, which makes up the rest.
void warn(j_common_ptr file, int level) {
  if (level < 0 && (file->err->msg_code == JWRN_JPEG_EOF || file->err->msg_code == JWRN_HIT_MARKER)) leave(file);
}

void count_scans(j_common_ptr file) {
  auto* report = reinterpret_cast<Report*>(file->err);
  if (reinterpret_cast<j_decompress_ptr>(file)->input_scan_number <= kMostScans) return;
  std::snprintf(report->text.data(), report->text.size(), "it has more than %d scans", kMostScans);
  std::longjmp(report->leave, 1);
}

/// One file, decoded in two steps, each of which returns false on an error that `report` then tells. Not thread safe.
class JpegReader {
 public:
  JpegReader() {
    file_.err = jpeg_std_error(&report_.manager);
    report_.manager.error_exit = &leave;
    report_.manager.emit_message = &warn;
    report_.manager.output_message = [](j_common_ptr) {};
    report_.text[0] = '\0';
    report_.progress.progress_monitor = &count_scans;
  }
  ~JpegReader() { jpeg_destroy_decompress(&file_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // No object with a destructor may begin between setjmp() and the jump.
  bool read_header(const unsigned char* data, size_t bytes, int64_t channels) {
    if (setjmp(report_.leave) != 0) return false;  // NOLINT(cert-err52-cpp)
    jpeg_create_decompress(&file_);                // it fails too: for a library of another version
    file_.progress = &report_.progress;
    jpeg_mem_src(&file_, data, bytes);
    jpeg_read_header(&file_, TRUE);
    file_.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_calc_output_dimensions(&file_);
    return true;
  }

  bool read_rows(unsigned char* to) {
    if (setjmp(report_.leave) != 0) return false;  // NOLINT(cert-err52-cpp)
    jpeg_start_decompress(&file_);
    const size_t row = static_cast<size_t>(file_.output_width) * static_cast<size_t>(file_.output_components);
    while (file_.output_scanline < file_.output_height) {
      JSAMPROW rows[] = {to + row * file_.output_scanline};
      jpeg_read_scanlines(&file_, rows, 1);
    }
    jpeg_finish_decompress(&file_);
    return true;
  }

  uint64_t width() const { return file_.output_width; }
  uint64_t height() const { return file_.output_height; }
  /// Bytes that libjpeg takes for the coefficients of a progressive file: it keeps them all.
  int64_t coefficient_bytes() const {
    if (file_.progressive_mode == FALSE) return 0;
    return static_cast<int64_t>(width() * height()) * file_.num_components * static_cast<int64_t>(sizeof(JCOEF));
  }
  std::string why() const { return report_.text.data(); }

 private:
  jpeg_decompress_struct file_{};
  Report report_{};
};

[[noreturn]] void refuse(const std::string& why) {
  fail(Kind::InvalidInput, "trt::decode_jpeg: the bytes are no JPEG that can be decoded: ", why);
}

}  // namespace

at::Tensor decode_jpeg(const at::Tensor& data, int64_t channels) {
  if (!data.defined() || !data.is_cpu() || data.layout() != at::kStrided || data.scalar_type() != at::kByte ||
      data.dim() != 1) {
    fail(Kind::InvalidInput, "trt::decode_jpeg takes a UINT8 tensor with one dimension, on the CPU");
  }
  if (channels != 1 && channels != 3) {
    fail(Kind::InvalidInput, "trt::decode_jpeg: channels is ", channels, "; allowed are 1 and 3");
  }
  const at::Tensor bytes = data.contiguous();
  if (bytes.numel() == 0) refuse("there are none");
  JpegReader reader;
  if (!reader.read_header(static_cast<const unsigned char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel()),
                          channels)) {
    refuse(reader.why());
  }
  if (reader.width() * reader.height() > kMostPixels) {
    refuse(
        c10::str("it has ", reader.width(), " x ", reader.height(), " pixels; at most ", kMostPixels, " are decoded"));
  }
  check_module_memory(reader.coefficient_bytes());
  const std::vector<int64_t> shape{static_cast<int64_t>(reader.height()), static_cast<int64_t>(reader.width()),
                                   channels};
  at::Tensor picture = at::empty(shape, at::TensorOptions().dtype(at::kByte));
  if (!reader.read_rows(static_cast<unsigned char*>(picture.mutable_data_ptr()))) refuse(reader.why());
  return picture.permute({2, 0, 1}).contiguous();
}

}  // namespace trtserve

#else

namespace trtserve {

at::Tensor decode_jpeg(const at::Tensor& /*data*/, int64_t /*channels*/) {
  fail(Kind::Unsupported,
       "trt::decode_jpeg: this was built without libjpeg; install its headers (Debian: libjpeg62-turbo-dev) and build "
       "again");
}

}  // namespace trtserve

#endif
