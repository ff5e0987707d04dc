// Makes the fake device torch's PrivateUse1, under the name "fake", when this library is loaded, and host memory
// torch's that is poisoned when it is freed.

#include <memory>

#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceType.h>

#include "device_memory.h"
#include "guard.h"
#include "hooks.h"
#include "host_memory.h"
#include "machine.h"
#include "pinned_memory.h"

namespace trtserve::fake {

namespace {

/// Registers the device for the rest of the process. Its destructor runs at exit before torch's own, because this
/// library depends on torch, which is loaded first: after that, no stream's thread may run torch's code.
class Registration {
 public:
  Registration() {
    constexpr auto kType = c10::DeviceType::PrivateUse1;
    c10::register_privateuse1_backend("fake");
    const c10::impl::DeviceGuardImplRegistrar guard(kType, std::make_unique<Guard>().release());
    at::RegisterPrivateUse1HooksInterface(std::make_unique<Hooks>().release());
    c10::SetAllocator(kType, &device_memory());
    c10::SetCPUAllocator(&host_memory());
    at::setHostAllocator(kType, &pinned_memory());
  }
  ~Registration() { stop_for_exit(); }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
};

const Registration registration;

}  // namespace

}  // namespace trtserve::fake
