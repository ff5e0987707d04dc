#include "guard.h"

#include <memory>

#include "current.h"
#include "device_memory.h"
#include "event.h"
#include "stream_table.h"

namespace trtserve::fake {

namespace {

/// The device's index; the current one if it has none. Throws c10::Error if there is no such device.
int index_of(c10::Device device) {
  const int index = device.has_index() ? device.index() : current_device();
  check_device(index);
  return index;
}

c10::Device as_device(int index) { return {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(index)}; }

Stream& stream_for(const c10::Stream& stream) { return stream_table().find(stream); }

Event& event_at(void* event) { return *static_cast<Event*>(event); }

}  // namespace

c10::Device Guard::exchangeDevice(c10::Device device) const {
  const auto before = getDevice();
  setDevice(device);
  return before;
}

c10::Device Guard::getDevice() const { return as_device(current_device()); }

void Guard::setDevice(c10::Device device) const { set_current_device(index_of(device)); }

void Guard::uncheckedSetDevice(c10::Device device) const noexcept { set_current_device(device.index()); }

c10::DeviceIndex Guard::deviceCount() const noexcept { return static_cast<c10::DeviceIndex>(device_count()); }

c10::DeviceCapability Guard::getDeviceCapability(c10::Device) const { return {}; }

void Guard::synchronizeDevice(c10::DeviceIndex device) const {
  refuse_while_capturing("a device was synchronized");
  for (auto* stream : stream_table().all(index_of(as_device(device)))) stream->synchronize();
}

c10::Stream Guard::getStream(c10::Device device) const { return current_stream(index_of(device)).as_torch(); }

c10::Stream Guard::getDefaultStream(c10::Device device) const {
  return stream_table().default_stream(index_of(device)).as_torch();
}

c10::Stream Guard::getStreamFromGlobalPool(c10::Device device, bool) const {
  return stream_table().from_pool(index_of(device)).as_torch();
}

c10::Stream Guard::getNewStream(c10::Device device, int) const {
  return stream_table().make(index_of(device)).as_torch();
}

c10::Stream Guard::exchangeStream(c10::Stream stream) const {
  return exchange_current_stream(stream_for(stream)).as_torch();
}

void* Guard::getStreamNativeHandle(c10::Stream stream) const { return stream_for(stream).native_handle(); }

bool Guard::queryStream(const c10::Stream& stream) const { return stream_for(stream).query(); }

void Guard::synchronizeStream(const c10::Stream& stream) const { stream_for(stream).synchronize(); }

bool Guard::isStreamCapturing(const c10::Stream& stream) const { return stream_for(stream).capturing(); }

void Guard::recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& stream) const {
  device_memory().recordStream(data, stream);
}

void Guard::record(void** event, const c10::Stream& stream, c10::DeviceIndex, c10::EventFlag) const {
  check_usable(stream.device_index());
  // The calling c10::Event owns it, and passes it to destroyEvent().
  if (*event == nullptr) *event = std::make_unique<Event>().release();
  event_at(*event).record(stream_for(stream));
}

void Guard::block(void* event, const c10::Stream& stream) const {
  check_usable(stream.device_index());
  if (event != nullptr) event_at(event).block(stream_for(stream));
}

bool Guard::queryEvent(void* event) const { return event == nullptr || event_at(event).query(); }

void Guard::synchronizeEvent(void* event) const {
  if (event != nullptr) event_at(event).synchronize();
}

void Guard::destroyEvent(void* event, c10::DeviceIndex) const noexcept {
  const std::unique_ptr<Event> owned(static_cast<Event*>(event));
}

double Guard::elapsedTime(void* first, void* second, c10::DeviceIndex) const {
  return event_at(first).elapsed_until(event_at(second));
}

}  // namespace trtserve::fake
