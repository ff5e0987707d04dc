// The bare loop around TensorRT that the GPU benchmark compares everything with: bench/gpu/raw.py builds it, runs it
// and reads what it writes. It compiles against the headers of TensorRT 8.5 and later.
//
//   raw_enqueue TENSORRT_LIBRARY CUDA_RUNTIME_LIBRARY PLAN
//
// It takes the plans of one input and any outputs whose first dimension is the batch. It reads commands from stdin, one
// a line, and answers each with one line of JSON on stdout; times are in microseconds. GRAPHS is 1 to replay a CUDA
// graph in place of each call of enqueueV3.
//
//   loop BATCH GRAPHS SECONDS     executions one after the other on one stream, with inputs and outputs on the device
//   copies BATCH GRAPHS SECONDS   likewise, and each gets its input from pinned memory and its outputs go there, on a
//                                 second stream and with two sets of buffers, so that copies and executions overlap
//   lone BATCH GRAPHS SECONDS     as loop, but each execution is waited for
//   answer BATCH GRAPHS IN OUT    one execution of the input in the file IN; writes the outputs to the file OUT

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda.h"

namespace {

using bench::check;
using bench::Cuda;
using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kWARNING) std::cerr << message << "\n";
  }
};

std::size_t bytes_per_element(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
    case nvinfer1::DataType::kINT32:
      return 4;
    case nvinfer1::DataType::kHALF:
      return 2;
    case nvinfer1::DataType::kINT8:
    case nvinfer1::DataType::kBOOL:
      return 1;
    default:
      throw std::runtime_error("a tensor has a datatype that this benchmark does not know");
  }
}

struct Tensor {
  std::string name;
  bool input = false;
  std::size_t item_bytes = 0;  // for one item of the batch
};

std::vector<Tensor> tensors_of(const nvinfer1::ICudaEngine& engine) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    Tensor tensor{engine.getIOTensorName(i)};
    const auto dims = engine.getTensorShape(tensor.name.c_str());
    if (dims.nbDims < 1) throw std::runtime_error("tensor " + tensor.name + " has no batch dimension");
    tensor.input = engine.getTensorIOMode(tensor.name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
    tensor.item_bytes = bytes_per_element(engine.getTensorDataType(tensor.name.c_str()));
    for (int d = 1; d < dims.nbDims; ++d) {
      if (dims.d[d] < 0) throw std::runtime_error("tensor " + tensor.name + " has more than one free dimension");
      tensor.item_bytes *= static_cast<std::size_t>(dims.d[d]);
    }
    tensors.push_back(tensor);
  }
  const auto is_input = [](const Tensor& tensor) { return tensor.input; };
  if (std::count_if(tensors.begin(), tensors.end(), is_input) != 1)
    throw std::runtime_error("the plan has no one input");
  return tensors;
}

// A context with an engine and buffers of its own: in TensorRT 8, two contexts of one engine cannot share its profile.
// Not thread safe.
class Slot {
 public:
  Slot(const Cuda& cuda, nvinfer1::IRuntime& runtime, const std::string& plan)
      : cuda_(cuda), engine_(runtime.deserializeCudaEngine(plan.data(), plan.size())) {
    if (engine_ == nullptr) throw std::runtime_error("TensorRT cannot load the plan");
    context_.reset(engine_->createExecutionContext());
    if (context_ == nullptr) throw std::runtime_error("TensorRT cannot create a context");
    tensors_ = tensors_of(*engine_);
    for (const auto& tensor : tensors_) {
      const auto most = engine_->getProfileShape(input().name.c_str(), 0, nvinfer1::OptProfileSelector::kMAX).d[0];
      const auto bytes = tensor.item_bytes * static_cast<std::size_t>(most);
      device_.push_back(cuda.device_memory(bytes));
      pinned_.push_back(cuda.pinned_memory(bytes));
      std::memset(pinned_.back(), 0, bytes);
      if (!context_->setTensorAddress(tensor.name.c_str(), device_.back()))
        throw std::runtime_error("no address for " + tensor.name);
    }
    fetched_ = cuda.event(bench::kUntimed);
    executed_ = cuda.event(bench::kUntimed);
  }

  const Tensor& input() const {
    return *std::find_if(tensors_.begin(), tensors_.end(), [](const Tensor& tensor) { return tensor.input; });
  }

  // Executes once, since TensorRT defers work after a change of shapes; then captures a graph if one is wanted.
  void prepare(int batch, bool graphs, cudaStream_t stream) {
    graph_.reset();
    batch_ = static_cast<std::size_t>(batch);
    auto dims = engine_->getTensorShape(input().name.c_str());
    dims.d[0] = batch;
    if (!context_->setInputShape(input().name.c_str(), dims))
      throw std::runtime_error("the plan refuses the batch size");
    execute(stream);
    cuda_.synchronize(stream);
    if (graphs) graph_ = bench::capture(cuda_, stream, [&] { enqueue(stream); });
    execute(stream);
    cuda_.synchronize(stream);
  }

  void execute(cudaStream_t stream) {
    if (graph_ == nullptr) return enqueue(stream);
    check(cuda_.launch(graph_.get(), stream), "cudaGraphLaunch");
  }

  // The copies of one execution wait for those who use the buffers, on `copies`, a stream for copies alone.
  void fetch(cudaStream_t copies) {
    cuda_.wait(copies, executed_);  // the execution before read this input
    for_each(true, [&](std::size_t i, std::size_t bytes) {
      cuda_.copy(device_[i], pinned_[i], bytes, bench::kToDevice, copies);
    });
    cuda_.record(fetched_, copies);
  }
  void execute_fetched(cudaStream_t stream) {
    cuda_.wait(stream, fetched_);  // and for the outputs before, which were copied earlier on that stream
    execute(stream);
    cuda_.record(executed_, stream);
  }
  void deliver(cudaStream_t copies) {
    cuda_.wait(copies, executed_);
    for_each(false, [&](std::size_t i, std::size_t bytes) {
      cuda_.copy(pinned_[i], device_[i], bytes, bench::kToHost, copies);
    });
  }

  void read_input(std::istream& file) {
    for_each(true, [&](std::size_t i, std::size_t bytes) {
      file.read(static_cast<char*>(pinned_[i]), static_cast<std::streamsize>(bytes));
      if (!file) throw std::runtime_error("the input file is too short");
    });
  }
  void write_outputs(std::ostream& file) const {
    for_each(false, [&](std::size_t i, std::size_t bytes) {
      file.write(static_cast<const char*>(pinned_[i]), static_cast<std::streamsize>(bytes));
    });
  }

 private:
  void enqueue(cudaStream_t stream) {
    if (!context_->enqueueV3(stream)) throw std::runtime_error("enqueueV3 failed");
  }

  template <class Function>
  void for_each(bool inputs, const Function& function) const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].input == inputs) function(i, tensors_[i].item_bytes * batch_);
    }
  }

  const Cuda& cuda_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  bench::Graph graph_{nullptr, nullptr};
  std::vector<Tensor> tensors_;
  std::vector<void*> device_;  // an address for each tensor; the memory is freed by the end of the process
  std::vector<void*> pinned_;
  cudaEvent_t fetched_ = nullptr;
  cudaEvent_t executed_ = nullptr;
  std::size_t batch_ = 0;
};

// Not thread safe.
class Loop {
 public:
  Loop(const Cuda& cuda, nvinfer1::IRuntime& runtime, const std::string& plan)
      : cuda_(cuda),
        slots_{Slot(cuda, runtime, plan), Slot(cuda, runtime, plan)},
        stream_(cuda.stream()),
        copies_(cuda.stream()),
        began_(cuda.event()),
        ended_(cuda.event()) {}

  std::string run(const std::string& what, int batch, bool graphs, double seconds) {
    for (auto& slot : slots_) slot.prepare(batch, graphs, stream_);
    if (what == "lone") return lone(seconds);
    if (what == "loop") return loop(seconds, [&](std::size_t) { slots_[0].execute(stream_); });
    return loop(seconds, [&](std::size_t i) {
      Slot& now = slots_[i % slots_.size()];
      now.fetch(copies_);
      if (i > 0) slots_[(i - 1) % slots_.size()].deliver(copies_);
      now.execute_fetched(stream_);
    });
  }

  void answer(int batch, bool graphs, std::istream& in, std::ostream& out) {
    slots_[0].prepare(batch, graphs, stream_);
    slots_[0].read_input(in);
    slots_[0].fetch(copies_);
    slots_[0].execute_fetched(stream_);
    slots_[0].deliver(copies_);
    cuda_.synchronize(copies_);
    slots_[0].write_outputs(out);
  }

 private:
  static constexpr std::size_t kWarm = 16;  // executions, few enough that the driver's queue holds them all

  void wait() {
    cuda_.synchronize(stream_);
    cuda_.synchronize(copies_);
  }

  std::string loop(double seconds, const std::function<void(std::size_t)>& execute) {
    const auto repeat = [&](std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) execute(i);
    };
    repeat(kWarm);
    wait();
    const auto warm = Clock::now();
    repeat(kWarm);
    const double host = microseconds(Clock::now() - warm) / kWarm;
    wait();
    const double each = microseconds(Clock::now() - warm) / kWarm;
    const auto count = std::max<std::size_t>(kWarm, static_cast<std::size_t>(seconds * 1e6 / each));
    const auto began = Clock::now();
    cuda_.record(began_, stream_);
    repeat(count);
    cuda_.record(ended_, stream_);
    wait();
    const double wall = microseconds(Clock::now() - began) / static_cast<double>(count);
    float device = 0;
    check(cuda_.event_elapsed(&device, began_, ended_), "cudaEventElapsedTime");
    std::ostringstream json;
    json << R"({"executions": )" << count << R"(, "wall_us": )" << wall << R"(, "device_us": )"
         << static_cast<double>(device) * 1e3 / static_cast<double>(count) << R"(, "host_us": )" << host << "}";
    return json.str();
  }

  std::string lone(double seconds) {
    std::vector<double> times;
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    for (auto now = Clock::now(); times.size() < kWarm || now < end;) {
      slots_[0].execute(stream_);
      cuda_.synchronize(stream_);
      const auto after = Clock::now();
      times.push_back(microseconds(after - now));
      now = after;
    }
    std::sort(times.begin(), times.end());
    std::ostringstream json;
    json << R"({"executions": )" << times.size() << R"(, "p50_us": )" << times[times.size() / 2] << R"(, "p99_us": )"
         << times[times.size() * 99 / 100] << "}";
    return json.str();
  }

  const Cuda& cuda_;
  std::array<Slot, 2> slots_;
  cudaStream_t stream_;  // of the executions
  cudaStream_t copies_;
  cudaEvent_t began_;
  cudaEvent_t ended_;
};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string obey(Loop& loop, const std::string& line) {
  std::istringstream words(line);
  std::string what;
  int batch = 0;
  bool graphs = false;
  words >> what >> batch >> graphs;
  if (what == "answer") {
    std::string from, to;
    words >> from >> to;
    std::ifstream in(from, std::ios::binary);
    std::ofstream out(to, std::ios::binary);
    loop.answer(batch, graphs, in, out);
    return "{}";
  }
  double seconds = 0;
  words >> seconds;
  if (!words || (what != "loop" && what != "copies" && what != "lone")) throw std::runtime_error("unknown: " + line);
  return loop.run(what, batch, graphs, seconds);
}

}  // namespace

int main(int count, char** given) try {
  if (count != 4) throw std::invalid_argument("usage: raw_enqueue TENSORRT_LIBRARY CUDA_RUNTIME_LIBRARY PLAN");
  void* tensorrt = bench::opened(given[1]);
  const Cuda cuda(bench::opened(given[2]), tensorrt);
  check(cuda.set_device(0), "cudaSetDevice");
  auto* create = reinterpret_cast<void* (*)(void*, int)>(dlsym(tensorrt, "createInferRuntime_INTERNAL"));
  if (create == nullptr) throw std::runtime_error("that library is not TensorRT's runtime");
  Logger logger;
  const std::unique_ptr<nvinfer1::IRuntime> runtime(
      static_cast<nvinfer1::IRuntime*>(create(static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION)));
  if (runtime == nullptr) throw std::runtime_error("TensorRT has no runtime");
  Loop loop(cuda, *runtime, contents(given[3]));
  std::cout << R"({"headers": )" << NV_TENSORRT_VERSION << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) std::cout << obey(loop, line) << std::endl;
  return 0;
} catch (const std::exception& failure) {
  std::cerr << "raw_enqueue: " << failure.what() << "\n";
  return 1;
}
