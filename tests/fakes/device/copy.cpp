#include "copy.h"

#include <ATen/Functions.h>

#include "current.h"
#include "event.h"
#include "pinned_memory.h"
#include "raw_view.h"

namespace trtserve::fake {

namespace {

Stream& stream_for(const at::Tensor& on_device) { return current_stream(on_device.device().index()); }

bool is_pinned(const at::Tensor& host) { return pinned_memory().owns(host.const_data_ptr()); }

/// Keeps the pinned memory until the copy is done, even if it is freed earlier, like torch's copies.
void keep_until_done(const at::Tensor& pinned, const Stream& stream) {
  const auto& data = pinned.storage().data_ptr();
  pinned_memory().record_event(data.get(), data.get_context(), stream.as_torch());
}

void enqueue_copy(Stream& stream, const RawView& source, const RawView& target) {
  stream.enqueue([source, target] { target.copy_from(source); });
}

void copy_to_device(const at::Tensor& host, const at::Tensor& target, bool non_blocking) {
  auto& stream = stream_for(target);
  if (is_pinned(host)) {
    enqueue_copy(stream, RawView::to_read(host), RawView::to_write(target));
    keep_until_done(host, stream);
    if (!non_blocking) stream.synchronize();
    return;
  }
  // The work owns a copy, so that it does not touch pageable memory even if the wait is cut short.
  auto staged = host.clone(at::MemoryFormat::Contiguous);
  stream.enqueue([staged, to = RawView::to_write(target)] { to.copy_from(RawView::to_read(staged)); });
  stream.synchronize();
}

void copy_to_host(const at::Tensor& source, const at::Tensor& host, bool non_blocking) {
  auto& stream = stream_for(source);
  if (is_pinned(host)) {
    enqueue_copy(stream, RawView::to_read(source), RawView::to_write(host));
    keep_until_done(host, stream);
    if (!non_blocking) stream.synchronize();
    return;
  }
  auto staged = at::empty(host.sizes(), host.options().memory_format(at::MemoryFormat::Contiguous));
  stream.enqueue([staged, from = RawView::to_read(source)] { RawView::to_write(staged).copy_from(from); });
  stream.synchronize();
  host.copy_(staged);
}

void copy_on_device(const at::Tensor& source, const at::Tensor& target) {
  auto& stream = stream_for(source);
  auto& other = stream_for(target);
  // For a copy between devices, both streams wait for each other first, like torch's copies.
  if (&other != &stream) {
    Event ready;
    ready.record(other);
    ready.block(stream);
  }
  enqueue_copy(stream, RawView::to_read(source), RawView::to_write(target));
  if (&other != &stream) {
    Event done;
    done.record(stream);
    done.block(other);
  }
}

}  // namespace

void copy_tensor(const at::Tensor& source, const at::Tensor& target, bool non_blocking) {
  check_usable((source.is_cpu() ? target : source).device().index());
  if (target.numel() == 0) return;
  if (source.is_cpu()) {
    copy_to_device(source, target, non_blocking);
  } else if (target.is_cpu()) {
    copy_to_host(source, target, non_blocking);
  } else {
    copy_on_device(source, target);
  }
}

}  // namespace trtserve::fake
