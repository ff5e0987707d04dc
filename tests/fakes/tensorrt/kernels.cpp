#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace trtserve::fake::trt {

namespace {

using nvinfer1::DataType;

template <class T>
struct Type {
  using type = T;
};

template <class T>
constexpr bool kIsSmallFloat = std::is_same_v<T, c10::Half> || std::is_same_v<T, c10::BFloat16>;
template <class T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

/// Calls `function` with the Type of the elements, if there are kernels for it.
template <class Function>
void with_type(DataType type, Function function) {
  switch (type) {
    case DataType::kFLOAT:
      return function(Type<float>{});
    case DataType::kHALF:
      return function(Type<c10::Half>{});
    case DataType::kINT8:
      return function(Type<int8_t>{});
    case DataType::kUINT8:
      return function(Type<uint8_t>{});
    case DataType::kINT32:
      return function(Type<int32_t>{});
    case DataType::kBOOL:
      return function(Type<bool>{});
#if NV_TENSORRT_MAJOR >= 10
    case DataType::kBF16:
      return function(Type<c10::BFloat16>{});
    case DataType::kINT64:
      return function(Type<int64_t>{});
#endif
    default:
      return;
  }
}

template <class To, class From>
To convert(From value) {
  if constexpr (kIsSmallFloat<From>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (kIsSmallFloat<To>) {
    return To(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else {
    return static_cast<To>(value);
  }
}

template <class T>
T scaled(T value, double factor) {
  if constexpr (kIsInteger<T>) {
    // A whole factor stays an integer, so that integers are exact and wrap.
    if (factor == std::trunc(factor)) {
      return static_cast<T>(static_cast<uint64_t>(value) * static_cast<uint64_t>(static_cast<int64_t>(factor)));
    }
    return static_cast<T>(static_cast<double>(value) * factor);
  } else if constexpr (std::is_same_v<T, bool>) {
    return value && factor != 0;
  } else {
    return T(static_cast<float>(value) * static_cast<float>(factor));
  }
}

template <class T>
T sum(T first, T second) {
  if constexpr (kIsInteger<T>) {
    return static_cast<T>(static_cast<uint64_t>(first) + static_cast<uint64_t>(second));
  } else if constexpr (std::is_same_v<T, bool>) {
    return first || second;
  } else {
    return T(static_cast<float>(first) + static_cast<float>(second));
  }
}

template <class T>
bool write_nonzero(const T* input, int64_t count, Index* indices, int64_t expected) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!convert<bool>(input[i])) continue;
    if (found == expected) return false;
    indices[found++] = static_cast<Index>(i);
  }
  return found == expected;
}

template <class T>
void fill_with(T* output, int64_t count, double value) {
  std::fill_n(output, count, convert<T>(value));
}

template <class From>
void cast(const From* input, int64_t count, DataType type, void* output) {
  with_type(type, [&](auto to) {
    using To = typename decltype(to)::type;
    std::transform(input, input + count, static_cast<To*>(output), [](From value) { return convert<To>(value); });
  });
}

}  // namespace

bool computable(DataType type) {
  bool found = false;
  with_type(type, [&](auto) { found = true; });
  return found;
}

bool compute(const Plan& plan, size_t index, const std::vector<Shape>& shapes, const std::vector<void*>& addresses) {
  const auto& output = plan.tensors[index];
  const int64_t count = element_count(shapes[output.first]);
  bool as_expected = true;
  with_type(output.kind == Kind::Fill ? output.type : plan.tensors[output.first].type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* first = static_cast<const T*>(addresses[output.first]);
    auto* result = static_cast<T*>(addresses[index]);
    switch (output.kind) {
      case Kind::Scale:
        std::transform(first, first + count, result, [&](T value) { return scaled(value, output.number); });
        break;
      case Kind::Add:
        std::transform(first, first + count, static_cast<const T*>(addresses[output.second]), result, sum<T>);
        break;
      case Kind::Cast:
        cast(first, count, output.type, addresses[index]);
        break;
      case Kind::Nonzero:
        as_expected = write_nonzero(first, count, static_cast<Index*>(addresses[index]), shapes[index][0]);
        break;
      case Kind::Fill:
        fill_with(result, element_count(shapes[index]), output.number);
        break;
      case Kind::Input:
      case Kind::ShapeInput:
      case Kind::ShapeOf:
        break;
    }
  });
  return as_expected;
}

int64_t count_nonzero(DataType type, const void* data, int64_t count) {
  int64_t found = 0;
  with_type(type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* values = static_cast<const T*>(data);
    found = std::count_if(values, values + count, [](T value) { return convert<bool>(value); });
  });
  return found;
}

void write_shape(const Shape& shape, void* address) {
  std::transform(shape.begin(), shape.end(), static_cast<Index*>(address),
                 [](int64_t dim) { return static_cast<Index>(dim); });
}

double first_element(DataType type, const void* data) {
  double value = 0;
  with_type(type, [&](auto tag) { value = convert<double>(*static_cast<const typename decltype(tag)::type*>(data)); });
  return value;
}

}  // namespace trtserve::fake::trt
