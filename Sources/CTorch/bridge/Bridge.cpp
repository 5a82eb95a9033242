// The one file that sees libtorch's headers. It turns the functions of CTorch.h into calls of ATen's dispatcher and
// autograd, and every C++ exception into a message.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/AcceleratorHooksInterface.h>
#include <ATen/DeviceAccelerator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/version.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "CTorch.h"

namespace {

at::Tensor& tensor(ct_tensor_ref reference) { return *reinterpret_cast<at::Tensor*>(reference); }

ct_tensor_ref own(at::Tensor value) { return reinterpret_cast<ct_tensor_ref>(new at::Tensor(std::move(value))); }

at::Generator& generator(ct_generator_ref reference) { return *reinterpret_cast<at::Generator*>(reference); }

int fail(char** error, const std::string& message) {
  if (error) *error = strdup(message.c_str());
  return 1;
}

template <typename Body>
int guarded(char** error, Body body) {
  try {
    body();
    return 0;
  } catch (const c10::OutOfMemoryError& caught) {
    return fail(error, std::string("out of memory: ") + caught.what_without_backtrace());
  } catch (const c10::Error& caught) {
    return fail(error, caught.what_without_backtrace());
  } catch (const std::exception& caught) {
    return fail(error, caught.what());
  } catch (...) {
    return fail(error, "an unknown C++ exception");
  }
}

[[noreturn]] void refuse(const c10::Argument& argument, const char* given) {
  TORCH_CHECK(false, "argument '", argument.name(), "' of type ", argument.type()->str(), " cannot take ", given);
}

const char* tag_name(ct_tag tag) {
  static const char* names[] = {"none",      "a tensor",    "an integer", "a number",    "a truth value", "a string",
                                "integers",  "numbers",     "booleans",   "tensors",     "a generator",   "a default"};
  return names[tag];
}

c10::IValue scalar(const ct_value& value, const c10::Argument& argument) {
  switch (value.tag) {
    case CT_INT: return at::Scalar(value.integer);
    case CT_DOUBLE: return at::Scalar(value.real);
    case CT_BOOL: return at::Scalar(value.integer != 0);
    default: refuse(argument, tag_name(value.tag));
  }
}

c10::IValue list(const ct_value& value, const c10::Type& element, const c10::Argument& argument) {
  const auto count = static_cast<size_t>(value.integer);
  switch (value.tag) {
    case CT_INT_LIST: {
      auto numbers = static_cast<const int64_t*>(value.pointer);
      if (element.kind() == c10::TypeKind::FloatType)
        return c10::IValue(std::vector<double>(numbers, numbers + count));
      if (element.kind() == c10::TypeKind::NumberType) {
        c10::List<at::Scalar> scalars;
        for (size_t i = 0; i < count; i++) scalars.push_back(at::Scalar(numbers[i]));
        return c10::impl::toList(std::move(scalars));
      }
      return c10::IValue(std::vector<int64_t>(numbers, numbers + count));
    }
    case CT_DOUBLE_LIST: {
      auto numbers = static_cast<const double*>(value.pointer);
      if (element.kind() == c10::TypeKind::NumberType) {
        c10::List<at::Scalar> scalars;
        for (size_t i = 0; i < count; i++) scalars.push_back(at::Scalar(numbers[i]));
        return c10::impl::toList(std::move(scalars));
      }
      return c10::IValue(std::vector<double>(numbers, numbers + count));
    }
    case CT_BOOL_LIST: {
      auto flags = static_cast<const bool*>(value.pointer);
      c10::List<bool> out;
      for (size_t i = 0; i < count; i++) out.push_back(flags[i]);
      return out;
    }
    case CT_TENSOR_LIST: {
      auto references = static_cast<const ct_tensor_ref*>(value.pointer);
      if (element.kind() == c10::TypeKind::OptionalType) {
        c10::List<std::optional<at::Tensor>> out;
        for (size_t i = 0; i < count; i++)
          out.push_back(references[i] ? std::optional<at::Tensor>(tensor(references[i])) : std::nullopt);
        return out;
      }
      c10::List<at::Tensor> out;
      for (size_t i = 0; i < count; i++) out.push_back(tensor(references[i]));
      return out;
    }
    default: refuse(argument, tag_name(value.tag));
  }
}

c10::IValue convert(const ct_value& value, const c10::TypePtr& type, const c10::Argument& argument) {
  if (value.tag == CT_NONE) return c10::IValue();
  switch (type->kind()) {
    case c10::TypeKind::OptionalType:
      return convert(value, type->castRaw<c10::OptionalType>()->getElementType(), argument);
    case c10::TypeKind::TensorType:
      if (value.tag == CT_TENSOR) return tensor(reinterpret_cast<ct_tensor_ref>(const_cast<void*>(value.pointer)));
      return c10::scalar_to_tensor(scalar(value, argument).toScalar());
    case c10::TypeKind::NumberType:
      return scalar(value, argument);
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      if (value.tag == CT_INT || value.tag == CT_BOOL) return value.integer;
      break;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType:
      if (value.tag == CT_DOUBLE) return value.real;
      if (value.tag == CT_INT) return static_cast<double>(value.integer);
      break;
    case c10::TypeKind::BoolType:
    case c10::TypeKind::SymBoolType:
      if (value.tag == CT_BOOL || value.tag == CT_INT) return value.integer != 0;
      break;
    case c10::TypeKind::StringType:
      if (value.tag == CT_STRING) return std::string(static_cast<const char*>(value.pointer));
      break;
    case c10::TypeKind::DeviceObjType:
      if (value.tag == CT_STRING) return c10::Device(std::string(static_cast<const char*>(value.pointer)));
      break;
    case c10::TypeKind::GeneratorType:
      if (value.tag == CT_GENERATOR)
        return generator(reinterpret_cast<ct_generator_ref>(const_cast<void*>(value.pointer)));
      break;
    case c10::TypeKind::ListType:
      return list(value, *type->castRaw<c10::ListType>()->getElementType(), argument);
    default: break;
  }
  refuse(argument, tag_name(value.tag));
}

template <typename Element>
void copy_list(const std::vector<Element>& elements, ct_tag tag, ct_value& out) {
  auto memory = static_cast<Element*>(std::malloc(std::max<size_t>(1, elements.size()) * sizeof(Element)));
  for (size_t i = 0; i < elements.size(); i++) memory[i] = elements[i];
  out.tag = tag;
  out.integer = static_cast<int64_t>(elements.size());
  out.pointer = memory;
}

void give_back(c10::IValue&& value, ct_value& out) {
  out = ct_value{};
  if (value.isNone()) {
    out.tag = CT_NONE;
  } else if (value.isTensor()) {
    at::Tensor result = std::move(value).toTensor();
    out.tag = result.defined() ? CT_TENSOR : CT_NONE;
    out.pointer = result.defined() ? own(std::move(result)) : nullptr;
  } else if (value.isInt()) {
    out.tag = CT_INT;
    out.integer = value.toInt();
  } else if (value.isDouble()) {
    out.tag = CT_DOUBLE;
    out.real = value.toDouble();
  } else if (value.isBool()) {
    out.tag = CT_BOOL;
    out.integer = value.toBool();
  } else if (value.isTensorList()) {
    std::vector<ct_tensor_ref> references;
    for (const at::Tensor& element : value.toTensorVector()) references.push_back(own(element));
    copy_list(references, CT_TENSOR_LIST, out);
  } else if (value.isIntList()) {
    copy_list(value.toIntVector(), CT_INT_LIST, out);
  } else if (value.isDoubleList()) {
    copy_list(value.toDoubleVector(), CT_DOUBLE_LIST, out);
  } else if (value.isScalar() && value.toScalar().isFloatingPoint()) {
    out.tag = CT_DOUBLE;
    out.real = value.toScalar().toDouble();
  } else {
    TORCH_CHECK(false, "a result of type ", value.tagKind(), " has no form in C");
  }
}

c10::Device device(int32_t type, int32_t index) {
  auto kind = static_cast<c10::DeviceType>(type);
  return c10::Device(kind, kind == c10::DeviceType::CPU ? -1 : static_cast<c10::DeviceIndex>(index));
}

// Operators

using Unary = at::Tensor(const at::Tensor&);
using Binary = at::Tensor(const at::Tensor&, const at::Tensor&);
using Scaled = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Scalar&);

/// An operator with what every call needs to know of its schema. The forms that are called most often are called
/// directly, without packing their arguments for the general way.
struct Operator {
  c10::OperatorHandle handle;
  const std::vector<c10::Argument>& parameters;
  std::optional<c10::TypedOperatorHandle<Unary>> unary;
  std::optional<c10::TypedOperatorHandle<Binary>> binary;
  /// With a factor that defaults to 1, as `aten::add` has.
  std::optional<c10::TypedOperatorHandle<Scaled>> scaled;

  explicit Operator(c10::OperatorHandle found) : handle(found), parameters(handle.schema().arguments()) {
    const auto plain = [](const c10::Argument& argument) {
      const auto* alias = argument.alias_info();
      return argument.type()->kind() == c10::TypeKind::TensorType && !(alias && alias->isWrite());
    };
    const auto& results = handle.schema().returns();
    if (results.size() != 1 || !plain(results[0]) || parameters.empty() || !plain(parameters[0])) return;
    if (parameters.size() == 1) {
      unary = handle.typed<Unary>();
    } else if (parameters.size() == 2 && plain(parameters[1])) {
      binary = handle.typed<Binary>();
    } else if (parameters.size() == 3 && plain(parameters[1]) &&
               parameters[2].type()->kind() == c10::TypeKind::NumberType && parameters[2].default_value() &&
               parameters[2].default_value()->isInt() && parameters[2].default_value()->toInt() == 1) {
      scaled = handle.typed<Scaled>();
    }
  }
};

int operator_find(const char* name, const char* overload, ct_operator_ref* out, char** error) {
  return guarded(error, [&] {
    *out = reinterpret_cast<ct_operator_ref>(
        new Operator(c10::Dispatcher::singleton().findSchemaOrThrow(name, overload)));
  });
}

const at::Tensor& tensor(const ct_value& value) {
  return tensor(reinterpret_cast<ct_tensor_ref>(const_cast<void*>(value.pointer)));
}

/// Calls an operator of a frequent form; nothing where the call is not of that form.
std::optional<at::Tensor> call_directly(const Operator& op, const ct_value* arguments, int32_t count) {
  static const at::Scalar one(1);
  if (count < 1 || arguments[0].tag != CT_TENSOR) return std::nullopt;
  if (count == 1 && op.unary) return op.unary->call(tensor(arguments[0]));
  if (count != 2 || arguments[1].tag != CT_TENSOR) return std::nullopt;
  if (op.binary) return op.binary->call(tensor(arguments[0]), tensor(arguments[1]));
  if (op.scaled) return op.scaled->call(tensor(arguments[0]), tensor(arguments[1]), one);
  return std::nullopt;
}

void call_generally(const Operator& op, const ct_value* arguments, int32_t argument_count, ct_value* results,
                    int32_t result_capacity, int32_t* result_count) {
  const auto& parameters = op.parameters;
  TORCH_CHECK(static_cast<size_t>(argument_count) <= parameters.size(), "takes ", parameters.size(),
              " arguments, not ", argument_count);
  // The memory of the last call on this thread; taken, so that a call within a call has its own.
  static thread_local torch::jit::Stack spare;
  torch::jit::Stack stack = std::move(spare);
  stack.clear();
  for (size_t i = 0; i < parameters.size(); i++) {
    const bool given = i < static_cast<size_t>(argument_count) && arguments[i].tag != CT_DEFAULT;
    if (given && arguments[i].tag == CT_TENSOR && parameters[i].type()->kind() == c10::TypeKind::TensorType) {
      stack.emplace_back(tensor(arguments[i]));
    } else if (given) {
      stack.push_back(convert(arguments[i], parameters[i].type(), parameters[i]));
    } else {
      const auto& standard = parameters[i].default_value();
      TORCH_CHECK(standard, "argument '", parameters[i].name(), "' is missing");
      stack.push_back(*standard);
    }
  }
  op.handle.callBoxed(stack);
  TORCH_CHECK(stack.size() <= static_cast<size_t>(result_capacity), "gave ", stack.size(), " results");
  *result_count = static_cast<int32_t>(stack.size());
  for (size_t i = 0; i < stack.size(); i++) give_back(std::move(stack[i]), results[i]);
  stack.clear();
  spare = std::move(stack);
}

int operator_call(ct_operator_ref reference, const ct_value* arguments, int32_t argument_count, ct_value* results,
                  int32_t result_capacity, int32_t* result_count, char** error) {
  return guarded(error, [&] {
    const auto& op = *reinterpret_cast<const Operator*>(reference);
    // Where nothing is recorded, the kernels that would record need not be asked.
    std::optional<at::AutoDispatchBelowAutograd> unrecorded;
    if (!at::GradMode::is_enabled()) unrecorded.emplace();
    if (auto result = call_directly(op, arguments, argument_count)) {
      give_back(c10::IValue(std::move(*result)), results[0]);
      *result_count = 1;
    } else {
      call_generally(op, arguments, argument_count, results, result_capacity, result_count);
    }
  });
}

// Tensors

void tensor_release(ct_tensor_ref reference) { delete &tensor(reference); }

ct_tensor_ref tensor_retain(ct_tensor_ref reference) { return own(tensor(reference)); }

int tensor_info(ct_tensor_ref reference, ct_tensor_info* out, char** error) {
  return guarded(error, [&] {
    const at::Tensor& value = tensor(reference);
    TORCH_CHECK(value.dim() <= CT_MAX_DIMENSIONS, "a tensor of ", value.dim(), " dimensions");
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
    TORCH_CHECK(tensor(reference).device().is_cpu(), "only the memory of a tensor on the CPU can be read");
    *out = tensor(reference).data_ptr();
  });
}

int tensor_from_memory(void* memory, const int64_t* sizes, int32_t dimensions, int32_t dtype, ct_deleter deleter,
                       void* context, ct_tensor_ref* out, char** error) {
  return guarded(error, [&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
    *out = own(at::from_blob(
        memory, at::IntArrayRef(sizes, dimensions), [deleter, context](void*) { deleter(context); }, options));
  });
}

// Gradients

int set_requires_gradient(ct_tensor_ref reference, bool value, char** error) {
  return guarded(error, [&] { tensor(reference).set_requires_grad(value); });
}

int gradient(ct_tensor_ref reference, ct_tensor_ref* out, char** error) {
  return guarded(error, [&] {
    const at::Tensor& value = tensor(reference).grad();
    *out = value.defined() ? own(value) : nullptr;
  });
}

int set_gradient(ct_tensor_ref reference, ct_tensor_ref value, char** error) {
  return guarded(error, [&] { tensor(reference).mutable_grad() = value ? tensor(value) : at::Tensor(); });
}

std::vector<at::Tensor> gather(const ct_tensor_ref* references, int32_t count) {
  std::vector<at::Tensor> out;
  for (int32_t i = 0; i < count; i++) out.push_back(references && references[i] ? tensor(references[i]) : at::Tensor());
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
  return guarded(error, [&] { *out = own(generator(reference).get_state()); });
}

int generator_set_state(ct_generator_ref reference, ct_tensor_ref state, char** error) {
  return guarded(error, [&] { generator(reference).set_state(tensor(state)); });
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
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const ct_functions* ct_bridge_functions(void) { return &table; }
