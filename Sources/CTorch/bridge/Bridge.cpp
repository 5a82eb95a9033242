// The functions of CTorch.h but for those of operators: tensors, gradients, autocast, random numbers, the machine.

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/AcceleratorHooksInterface.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/version.h>

#include <cstdlib>
#include <vector>

#include "Bridge.h"
#include "FrozenGraph.h"
#include "Parallel.h"

namespace bridge {
namespace {

c10::Device device(int32_t type, int32_t index) {
  auto kind = static_cast<c10::DeviceType>(type);
  return c10::Device(kind, kind == c10::DeviceType::CPU ? -1 : static_cast<c10::DeviceIndex>(index));
}

// Tensors

void tensor_release(ct_tensor_ref reference) { take(reference); }

ct_tensor_ref tensor_retain(ct_tensor_ref reference) { return own(*Borrowed(reference)); }

int tensor_info(ct_tensor_ref reference, ct_tensor_info* out, char** error) {
  return guarded(error, [&] {
    const Borrowed borrowed(reference);
    const at::Tensor& value = *borrowed;
    out->dtype = static_cast<int32_t>(value.scalar_type());
    out->device = static_cast<int32_t>(value.device().type());
    out->device_index = value.device().has_index() ? value.device().index() : 0;
    out->dimensions = static_cast<int32_t>(value.dim());
    for (int64_t i = 0; i < value.dim(); i++) {
      out->sizes[i] = value.size(i);
      out->strides[i] = value.stride(i);
    }
    out->count = value.numel();
    out->requires_gradient = value.requires_grad();
    out->contiguous = value.is_contiguous();
  });
}

int tensor_data(ct_tensor_ref reference, void** out, char** error) {
  return guarded(error, [&] {
    const Borrowed value(reference);
    TORCH_CHECK(value->device().is_cpu(), "only the memory of a tensor on the CPU can be read");
    note_host_read(value->unsafeGetTensorImpl());
    *out = value->data_ptr();
  });
}

int tensor_from_memory(void* memory, const int64_t* sizes, int32_t dimensions, int32_t dtype, ct_deleter deleter,
                       void* context, ct_tensor_ref* out, char** error) {
  return guarded(error, [&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
    *out = give(at::from_blob(
        memory, at::IntArrayRef(sizes, dimensions), [deleter, context](void*) { deleter(context); }, options));
  });
}

// Gradients

int set_requires_gradient(ct_tensor_ref reference, bool value, char** error) {
  return guarded(error, [&] { Borrowed(reference)->set_requires_grad(value); });
}

int gradient(ct_tensor_ref reference, ct_tensor_ref* out, char** error) {
  return guarded(error, [&] {
    const at::Tensor& value = Borrowed(reference)->grad();
    *out = value.defined() ? give(at::Tensor(value)) : nullptr;
  });
}

int set_gradient(ct_tensor_ref reference, ct_tensor_ref value, char** error) {
  return guarded(error, [&] { Borrowed(reference)->mutable_grad() = value ? *Borrowed(value) : at::Tensor(); });
}

std::vector<at::Tensor> gather(const ct_tensor_ref* references, int32_t count) {
  std::vector<at::Tensor> out;
  for (int32_t i = 0; i < count; i++) out.push_back(references && references[i] ? *Borrowed(references[i]) : at::Tensor());
  return out;
}

int backward(const ct_tensor_ref* roots, const ct_tensor_ref* gradients, int32_t count, bool retain_graph,
             bool create_graph, char** error) {
  return guarded(error, [&] {
    torch::autograd::backward(gather(roots, count), gather(gradients, count), retain_graph, create_graph);
  });
}

int gradients_of(const ct_tensor_ref* outputs, const ct_tensor_ref* output_gradients, int32_t output_count,
                 const ct_tensor_ref* inputs, int32_t input_count, bool retain_graph, bool create_graph,
                 ct_tensor_ref* out, char** error) {
  return guarded(error, [&] {
    auto found = torch::autograd::grad(gather(outputs, output_count), gather(inputs, input_count),
                                       gather(output_gradients, output_count), retain_graph, create_graph, true);
    for (const at::Tensor& gradient : found)
      if (gradient.defined()) require_known(gradient);
    for (int32_t i = 0; i < input_count; i++) out[i] = found[i].defined() ? own(found[i]) : nullptr;
  });
}

bool gradient_enabled() { return at::GradMode::is_enabled(); }

void set_gradient_enabled(bool value) { at::GradMode::set_enabled(value); }

// Autocast

int autocast_enter(int32_t type, int32_t dtype, bool* was_enabled, int32_t* old_dtype, char** error) {
  return guarded(error, [&] {
    auto kind = static_cast<at::DeviceType>(type);
    *was_enabled = at::autocast::is_autocast_enabled(kind);
    *old_dtype = static_cast<int32_t>(at::autocast::get_autocast_dtype(kind));
    at::autocast::set_autocast_dtype(kind, static_cast<at::ScalarType>(dtype));
    at::autocast::set_autocast_enabled(kind, true);
    at::autocast::increment_nesting();
  });
}

int autocast_exit(int32_t type, bool was_enabled, int32_t old_dtype, char** error) {
  return guarded(error, [&] {
    auto kind = static_cast<at::DeviceType>(type);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(kind, was_enabled);
    at::autocast::set_autocast_dtype(kind, static_cast<at::ScalarType>(old_dtype));
  });
}

int autocast_switch(int32_t type, bool enabled, bool* was_enabled, char** error) {
  return guarded(error, [&] {
    auto kind = static_cast<at::DeviceType>(type);
    *was_enabled = at::autocast::is_autocast_enabled(kind);
    at::autocast::set_autocast_enabled(kind, enabled);
  });
}

// Random numbers

int generator_create(int32_t type, uint64_t seed, ct_generator_ref* out, char** error) {
  return guarded(error, [&] {
    auto made = at::globalContext().defaultGenerator(device(type, 0)).clone();
    made.set_current_seed(seed);
    *out = reinterpret_cast<ct_generator_ref>(new at::Generator(std::move(made)));
  });
}

void generator_release(ct_generator_ref reference) { delete &generator(reference); }

int generator_set_seed(ct_generator_ref reference, uint64_t seed, char** error) {
  return guarded(error, [&] { generator(reference).set_current_seed(seed); });
}

int generator_state(ct_generator_ref reference, ct_tensor_ref* out, char** error) {
  return guarded(error, [&] { *out = give(generator(reference).get_state()); });
}

int generator_set_state(ct_generator_ref reference, ct_tensor_ref state, char** error) {
  return guarded(error, [&] { generator(reference).set_state(*Borrowed(state)); });
}

// The machine

const char* torch_version() { return TORCH_VERSION; }

int device_available(int32_t type, int32_t index, bool* out, char** error) {
  return guarded(error, [&] {
    switch (static_cast<c10::DeviceType>(type)) {
      case c10::DeviceType::CPU: *out = true; break;
      case c10::DeviceType::CUDA:
        *out = at::globalContext().hasCUDA() && index < at::detail::getCUDAHooks().deviceCount();
        break;
      case c10::DeviceType::MPS: *out = at::globalContext().hasMPS() && index == 0; break;
      default: *out = false;
    }
  });
}

int synchronize(int32_t type, int32_t index, char** error) {
  return guarded(error, [&] {
    if (static_cast<c10::DeviceType>(type) != c10::DeviceType::CPU)
      at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(index));
  });
}

int32_t thread_count() { return at::get_num_threads(); }

void set_thread_count(int32_t count) { at::set_num_threads(count); }

int share(int64_t count, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context, char** error) {
  return guarded(error, [&] {
    parallel_for(0, count, grain, [&](int64_t first, int64_t last) { body(first, last, context); });
  });
}

const ct_functions table = {
    CT_VERSION,
    operator_find,
    operator_call,
    tensor_release,
    tensor_retain,
    tensor_info,
    tensor_data,
    tensor_from_memory,
    set_requires_gradient,
    gradient,
    set_gradient,
    backward,
    gradients_of,
    gradient_enabled,
    set_gradient_enabled,
    autocast_enter,
    autocast_exit,
    autocast_switch,
    generator_create,
    generator_release,
    generator_set_seed,
    generator_state,
    generator_set_state,
    torch_version,
    device_available,
    synchronize,
    thread_count,
    set_thread_count,
    std::free,
    share,
};

}  // namespace
}  // namespace bridge

extern "C" __attribute__((visibility("default"))) const ct_functions* ct_bridge_functions(void) { return &bridge::table; }
