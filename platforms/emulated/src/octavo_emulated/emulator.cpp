// A device that is not the host, emulated: host memory that torch may touch only through the
// device's own dispatch key (PrivateUse1). What real devices punish late and in their own ways
// is an error at once here: tensors of two devices in one op, more memory than there is, and
// inside a launch everything that makes the host wait for the device.
//
//     op on device tensors ─> fallback: check, hash, see them as host tensors ─> torch's CPU kernel
//
// Every op is hashed with its shapes, dtypes and scalars into the signature of the launch that
// it runs in: a device that compiles would compile once for each signature.
//
// Knows nothing of models or launches' meaning; Python says when a launch begins and ends.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using at::Tensor;
using c10::Device;
using c10::DeviceIndex;
using c10::IValue;
using torch::jit::Stack;

constexpr c10::DeviceType KIND = c10::DeviceType::PrivateUse1;
constexpr c10::DispatchKey KEY = c10::DispatchKey::PrivateUse1;
constexpr size_t ALIGNMENT = 64;
const Device THE_DEVICE(KIND, 0);

// Memory: counted, limited, with its size in front of each piece.

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t num_bytes) override {
    if (num_bytes == 0) return {nullptr, nullptr, &give_back, THE_DEVICE};
    const size_t rounded = (num_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    take(rounded);
    auto* whole = static_cast<char*>(std::aligned_alloc(ALIGNMENT, rounded + ALIGNMENT));
    if (whole == nullptr) untake(rounded);
    TORCH_CHECK_WITH(OutOfMemoryError, whole != nullptr, "emulated: the host has no memory left");
    std::memcpy(whole, &rounded, sizeof(rounded));
    char* piece = whole + ALIGNMENT;
    return {piece, piece, &give_back, THE_DEVICE};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, size_t num_bytes) const override {
    std::memcpy(to, from, num_bytes);
  }

  void set_limit(int64_t num_bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    limit_ = num_bytes;
  }

  std::pair<int64_t, int64_t> used_and_limit() {
    std::lock_guard<std::mutex> guard(mutex_);
    return {used_, limit_};
  }

 private:
  void take(size_t num_bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    const auto wanted = static_cast<int64_t>(num_bytes);
    TORCH_CHECK_WITH(OutOfMemoryError, used_ + wanted <= limit_, "emulated: ", wanted,
                     " bytes are wanted, and of ", limit_, " only ", limit_ - used_, " are free");
    used_ += wanted;
  }

  void untake(size_t num_bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    used_ -= static_cast<int64_t>(num_bytes);
  }

  static void give_back(void* piece);

  std::mutex mutex_;
  int64_t used_ = 0;
  int64_t limit_ = 0;
};

Memory memory;

void Memory::give_back(void* piece) {
  if (piece == nullptr) return;
  char* whole = static_cast<char*>(piece) - ALIGNMENT;
  size_t num_bytes = 0;
  std::memcpy(&num_bytes, whole, sizeof(num_bytes));
  memory.untake(num_bytes);
  std::free(whole);
}

REGISTER_ALLOCATOR(KIND, &memory)

// Launches: between begin and end the host may not wait, and every op is part of the signature.

struct Launch {
  bool is_running = false;
  uint64_t signature = 0;
  uint64_t num_ops = 0;
  uint64_t num_uploads = 0;

  void add(uint64_t word) {
    signature = (signature ^ word) * 0x9E3779B97F4A7C15ull;
    signature ^= signature >> 29;
  }
  void add(std::string_view text) { add(std::hash<std::string_view>{}(text)); }
  void add(const Tensor& tensor) {
    add(static_cast<uint64_t>(tensor.scalar_type()));
    for (const int64_t size : tensor.sizes()) add(static_cast<uint64_t>(size));
  }
  void add(double number) {
    uint64_t word = 0;
    std::memcpy(&word, &number, sizeof(word));
    add(word);
  }
};

thread_local Launch launch;

std::atomic<int64_t> num_waits{0};

void wait_for_device(std::string_view why) {
  ++num_waits;
  TORCH_CHECK(!launch.is_running, "emulated: '", why,
              "' makes the host wait for the device inside a launch; derive it from host data, or "
              "keep it on the device in a shape that is known");
}

// What torch asks of a device.

struct Guard final : c10::impl::DeviceGuardImplInterface {
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return KIND; }
  Device exchangeDevice(Device) const override { return THE_DEVICE; }
  Device getDevice() const override { return THE_DEVICE; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void record(void**, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {
    TORCH_CHECK(!launch.is_running, "emulated: 'Event.synchronize' inside a launch");
  }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void synchronizeDevice(const DeviceIndex) const override { wait_for_device("synchronize"); }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  bool isPinnedPtr(const void*) const override { return false; }
  at::Allocator* getPinnedMemoryAllocator() const override { return at::getCPUAllocator(); }
};

Hooks hooks;

// Tensors: making them, seeing their memory from the host, copying.

bool is_ours(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == KIND; }

Tensor empty(c10::IntArrayRef sizes, std::optional<at::ScalarType> dtype,
             std::optional<at::Layout>, std::optional<Device>, std::optional<bool>,
             std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &memory, c10::DispatchKeySet(KEY),
                                   c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides,
                     std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                     std::optional<Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &memory, c10::DispatchKeySet(KEY),
                                           c10::dtype_or_default(dtype));
}

Tensor seen_by_host(const Tensor& tensor) {
  const auto options = at::TensorOptions().dtype(tensor.dtype()).device(at::kCPU);
  if (tensor.numel() == 0) return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), options);
}

Tensor on_device(const Tensor& made) {
  Tensor found = empty_strided(made.sizes(), made.strides(), made.scalar_type(), {}, {}, {});
  if (made.numel() != 0) seen_by_host(found).copy_(made);
  return found;
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool non_blocking) {
  const bool leaves = is_ours(from) && !is_ours(to), comes = !is_ours(from);
  if (leaves && !non_blocking) wait_for_device("copy to the host");
  if (comes && launch.is_running && !non_blocking) wait_for_device("copy from the host, blocking,");
  if (launch.is_running) {
    launch.num_uploads += is_ours(from) ? 0 : 1;
    launch.add("copy");
    launch.add(from);
    launch.add(to);
  }
  Tensor target = is_ours(to) ? seen_by_host(to) : to;
  if (to.numel() != 0) target.copy_(is_ours(from) ? seen_by_host(from) : from);
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  at::native::resize_(to, from.sizes(), std::nullopt);
  return copy_from(from, to, false);
}

at::Scalar item(const Tensor& tensor) {
  wait_for_device("aten::_local_scalar_dense, which is item()");
  return seen_by_host(tensor).item();
}

// The fallback: every op without a kernel above, on host views of the device's memory.

bool is_mask(const Tensor& tensor) {
  return tensor.defined() &&
         (tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte);
}

void refuse_waiting(const std::string& name, const Stack& stack, size_t first) {
  static const std::unordered_set<std::string> sized_by_data = {
      "aten::nonzero", "aten::masked_select", "aten::_unique",     "aten::_unique2",
      "aten::equal",   "aten::bincount",      "aten::unique_dim",  "aten::unique_consecutive",
      "aten::repeat_interleave"};
  if (!launch.is_running) return;
  if (sized_by_data.count(name) != 0) wait_for_device(name);
  if (name.find("index") == std::string::npos) return;
  for (size_t i = first; i < stack.size(); ++i) {
    if (!stack[i].isOptionalTensorList()) continue;
    for (const std::optional<Tensor>& index : stack[i].toOptionalTensorVector()) {
      if (index.has_value() && is_mask(*index)) wait_for_device(name + ", by a mask");
    }
  }
}

void add_scalars(const IValue& value) {
  if (value.isInt()) launch.add(static_cast<uint64_t>(value.toInt()));
  if (value.isBool()) launch.add(static_cast<uint64_t>(value.toBool() ? 3 : 5));
  if (value.isDouble()) launch.add(value.toDouble());
  if (value.isIntList()) {
    for (const int64_t each : value.toIntVector()) launch.add(static_cast<uint64_t>(each));
  }
}

// One call's tensors: the device's, and how the host's kernel sees them.
class Call {
 public:
  explicit Call(const std::string& name) : name_(name) {}

  Tensor to_host(const Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (!is_ours(tensor)) {
      TORCH_CHECK(tensor.dim() == 0, "emulated: '", name_, "' got a tensor on ", tensor.device(),
                  " beside those of the device");
      if (launch.is_running) launch.add(tensor.item().toDouble());
      return tensor;
    }
    if (launch.is_running) launch.add(tensor);
    pairs_.emplace_back(tensor, seen_by_host(tensor));
    return pairs_.back().second;
  }

  // Some ops make their result larger or smaller; the device's tensor has to follow.
  void follow_sizes() {
    for (const auto& [ours, seen] : pairs_) {
      if (ours.sizes() == seen.sizes()) continue;
      at::native::resize_(ours, seen.sizes(), std::nullopt);
      if (seen.numel() != 0) seen_by_host(ours).copy_(seen);
    }
  }

  Tensor to_device(const Tensor& made, bool may_be_view) const {
    if (!made.defined()) return made;
    for (const auto& [ours, seen] : pairs_) {
      if (seen.is_same(made)) return ours;
      if (may_be_view && seen.storage().is_alias_of(made.storage())) {
        return at::native::as_strided_tensorimpl(ours, made.sizes(), made.strides(),
                                                 ours.storage_offset() + made.storage_offset());
      }
    }
    return on_device(made);
  }

 private:
  const std::string& name_;
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

IValue argument_for_host(const IValue& value, Call& call) {
  if (value.isTensor()) return call.to_host(value.toTensor());
  if (value.isTensorList()) {
    std::vector<Tensor> found;
    for (const Tensor& each : value.toTensorVector()) found.push_back(call.to_host(each));
    return c10::List<Tensor>(found);
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> found;
    for (const std::optional<Tensor>& each : value.toOptionalTensorVector()) {
      found.push_back(each.has_value() ? std::optional<Tensor>(call.to_host(*each)) : std::nullopt);
    }
    return found;
  }
  if (value.isDevice()) return Device(at::kCPU);
  if (launch.is_running) add_scalars(value);
  return value;
}

IValue result_for_device(const IValue& value, const Call& call, bool may_be_view) {
  if (value.isTensor()) return call.to_device(value.toTensor(), may_be_view);
  if (!value.isTensorList()) return value;
  std::vector<Tensor> found;
  for (const Tensor& each : value.toTensorVector()) {
    found.push_back(call.to_device(each, may_be_view));
  }
  return c10::List<Tensor>(found);
}

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const auto& schema = op.schema();
  const size_t first = stack->size() - schema.arguments().size();
  if (launch.is_running) {
    ++launch.num_ops;
    launch.add(schema.name());
    launch.add(schema.overload_name());
  }
  refuse_waiting(schema.name(), *stack, first);
  Call call(schema.name());
  for (size_t i = first; i < stack->size(); ++i) (*stack)[i] = argument_for_host((*stack)[i], call);
  op.callBoxed(stack);
  call.follow_sizes();
  const size_t first_result = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    const auto* alias = schema.returns()[i].alias_info();
    IValue& result = (*stack)[first_result + i];
    result = result_for_device(result, call, alias != nullptr && !alias->isWrite());
  }
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("view", [](const Tensor& tensor, c10::IntArrayRef sizes) {
    return at::native::view(tensor, sizes);
  });
  library.impl("as_strided", [](const Tensor& tensor, c10::IntArrayRef sizes,
                                c10::IntArrayRef strides, std::optional<int64_t> offset) {
    return at::native::as_strided_tensorimpl(tensor, sizes, strides, offset);
  });
  library.impl("_reshape_alias",
               [](const Tensor& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
                 return at::native::_reshape_alias(tensor, sizes, strides);
               });
  library.impl("resize_", [](const Tensor& tensor, c10::IntArrayRef sizes,
                             std::optional<at::MemoryFormat> format) -> const Tensor& {
    return at::native::resize_(tensor, sizes, format);
  });
  library.impl("set_.source_Storage_storage_offset",
               [](Tensor& tensor, at::Storage storage, int64_t offset, c10::IntArrayRef sizes,
                  c10::IntArrayRef strides) -> Tensor& {
                 return at::native::set_storage_cpu_(tensor, std::move(storage), offset, sizes,
                                                     strides);
               });
}

}  // namespace

extern "C" {

void emulator_start() { at::RegisterPrivateUse1HooksInterface(&hooks); }

void emulator_set_limit(int64_t num_bytes) { memory.set_limit(num_bytes); }

// Fills two numbers: bytes in use, and the limit.
void emulator_memory(int64_t* found) {
  std::tie(found[0], found[1]) = memory.used_and_limit();
}

// How often the host waited for all that the device was given; marks are not counted.
int64_t emulator_waits() { return num_waits; }

void emulator_begin_launch() {
  launch = Launch{};
  launch.is_running = true;
}

// Fills three numbers: the signature, how many ops ran, and how many copies came from the host.
void emulator_end_launch(uint64_t* found) {
  launch.is_running = false;
  found[0] = launch.signature;
  found[1] = launch.num_ops;
  found[2] = launch.num_uploads;
}

}  // extern "C"
