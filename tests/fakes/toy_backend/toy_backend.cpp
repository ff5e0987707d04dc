// A backend for tests of the core: it multiplies, waits and fails as its plan says.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <stdexcept>
#include <system_error>

#include <ATen/Functions.h>

#include "core/error.h"
#include "gate.h"
#include "toy_plan.h"

extern "C" {
/// The number of existing execution contexts of toy engines.
int toy_contexts();
/// The most executions that one context ever ran concurrently: more than 1 is a breach of its contract.
int toy_most_in_one_context();
}

namespace trtserve::toy {

namespace {

std::atomic<int> contexts{0};
std::atomic<int> most_in_one_context{0};

/// Counts an execution during its lifetime, and records the most that ran concurrently in one context.
class Presence {
 public:
  explicit Presence(std::atomic<int>& executing) : executing_(executing) {
    const int now = ++executing_;
    int most = most_in_one_context;
    while (now > most && !most_in_one_context.compare_exchange_weak(most, now)) {
    }
  }
  ~Presence() { --executing_; }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

 private:
  std::atomic<int>& executing_;
};

class ToyContext final : public ExecutionContext {
 public:
  ToyContext(const ToyPlan& plan, std::atomic<int64_t>& executions) : plan_(plan), executions_(executions) {
    ++contexts;
  }
  ~ToyContext() override { --contexts; }

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override {
    const Presence presence(executing_);
    ++executions_;
    interrupted_ = false;
    return run(inputs);
  }

  void interrupt() noexcept override {
    interrupted_ = plan_.interruptible;
    look_at_gates();
  }

 private:
  std::vector<at::Tensor> run(c10::ArrayRef<at::Tensor> inputs) {
    if (!plan_.gate.empty() && !pass_gate(plan_.gate, interrupted_)) fail(Kind::Cancelled, "it was interrupted");
    throw_what_is_told();
    if (!plan_.failure.empty()) throw std::runtime_error(plan_.failure);
    if (!plan_.fail_on.empty() && at::eq(inputs[0], std::stod(plan_.fail_on)).any().item<bool>()) {
      throw std::runtime_error("it met " + plan_.fail_on);
    }
    if (plan_.fail_above && inputs[0].size(0) > *plan_.fail_above) {
      fail(Kind::Unavailable, "there is no memory for ", inputs[0].size(0), " items");
    }
    std::vector<at::Tensor> outputs;
    for (const auto& output : plan_.outputs) outputs.push_back(compute(output, inputs[output.input]));
    return outputs;
  }

  void throw_what_is_told() const {
    if (plan_.thrown == "bad_alloc") throw std::bad_alloc();
    if (plan_.thrown == "no_threads") throw std::system_error(std::make_error_code(std::errc(EAGAIN)));
    if (plan_.thrown == "number") throw 13;  // NOLINT(hicpp-exception-baseclass): a type that no handler expects
  }

  static at::Tensor compute(const ToyPlan::Output& output, const at::Tensor& input) {
    if (output.is == ToyPlan::Output::Is::Size) return at::full_like(input, input.size(output.dim));
    if (output.is == ToyPlan::Output::Is::Sum) return at::sum(input, 0, /*keepdim=*/true).to(input.scalar_type());
    // A whole factor stays an integer, so that integers are exact.
    const bool whole = output.factor == std::trunc(output.factor);
    const at::Scalar factor = whole ? at::Scalar(static_cast<int64_t>(output.factor)) : at::Scalar(output.factor);
    return at::mul(input, factor).to(input.scalar_type());
  }

  const ToyPlan& plan_;
  std::atomic<int64_t>& executions_;
  std::atomic<int> executing_{0};
  std::atomic<bool> interrupted_{false};
};

class ToyEngine final : public BackendEngine {
 public:
  ToyEngine(ToyPlan plan, const LoadOptions& options)
      : plan_(std::move(plan)), instances_(options.instances > 0 ? options.instances : plan_.instances) {
    for (const auto& output : plan_.outputs) {
      auto spec = plan_.inputs[output.input];
      spec.name = output.name;
      spec.profiles.clear();
      spec.values.clear();
      spec.on_host = false;
      outputs_.push_back(std::move(spec));
    }
  }

  const std::vector<TensorSpec>& inputs() const override { return plan_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  at::Device device() const override { return at::kCPU; }
  int instances() const override { return instances_; }
  bool is_steady() const override { return plan_.steady; }
  std::unique_ptr<ExecutionContext> create_context() override {
    return std::make_unique<ToyContext>(plan_, executions_);
  }
  std::optional<Shapes> output_shapes(const Shapes& inputs) const override {
    if (!plan_.knows_shapes) return std::nullopt;
    Shapes outputs;
    for (const auto& output : plan_.outputs) {
      outputs.push_back(inputs[output.input]);
      if (output.is == ToyPlan::Output::Is::Sum) outputs.back()->at(0) = 1;
    }
    return outputs;
  }
  std::map<std::string, int64_t> counters() const override { return {{"executions", executions_}}; }

 private:
  const ToyPlan plan_;
  const int instances_;
  std::vector<TensorSpec> outputs_;
  std::atomic<int64_t> executions_{0};
};

[[noreturn]] void throw_at_load(const std::string& what) {
  if (what == "memory") throw std::bad_alloc();
  if (what == "threads") throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  if (what == "descriptors") throw std::system_error(std::make_error_code(std::errc::too_many_files_open));
  throw std::runtime_error(what);
}

class ToyBackend final : public Backend {
 public:
  std::string version() const override { return "1"; }
  std::vector<std::string> devices(const std::string&) override { return {"cpu"}; }
  std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) override {
    auto plan = read_toy_plan(plan_path);
    if (!plan.load_gate.empty()) pass_gate(plan.load_gate);
    if (!plan.load_throws.empty()) throw_at_load(plan.load_throws);
    return std::make_unique<ToyEngine>(std::move(plan), options);
  }
};

}  // namespace

}  // namespace trtserve::toy

int toy_contexts() { return trtserve::toy::contexts; }
int toy_most_in_one_context() { return trtserve::toy::most_in_one_context; }

int trtserve_backend_abi() { return trtserve::kBackendAbi; }
trtserve::Backend* trtserve_backend_create(const trtserve::BackendConfig& /*config*/) {
  return std::make_unique<trtserve::toy::ToyBackend>().release();
}
