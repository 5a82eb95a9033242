// Operators: found by their schema, called through ATen's dispatcher with arguments converted as the schema asks.

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "Bridge.h"

namespace bridge {
namespace {

[[noreturn]] void refuse(const c10::Argument& argument, const char* given) {
  TORCH_CHECK(false, "argument '", argument.name(), "' of type ", argument.type()->str(), " cannot take ", given);
}

const char* tag_name(ct_tag tag) {
  static const char* names[] = {"none",      "a tensor",    "an integer", "a number",    "a truth value", "a string",
                                "integers",  "numbers",     "booleans",   "tensors",     "a generator"};
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
          out.push_back(references[i] ? std::optional<at::Tensor>(*Borrowed(references[i])) : std::nullopt);
        return out;
      }
      c10::List<at::Tensor> out;
      for (size_t i = 0; i < count; i++) out.push_back(*Borrowed(references[i]));
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
      if (value.tag == CT_TENSOR) return *Borrowed(value);
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

void give_back(at::Tensor&& result, ct_value& out) {
  out.tag = result.defined() ? CT_TENSOR : CT_NONE;
  out.pointer = result.defined() ? give(std::move(result)) : nullptr;
}

/// Throws for a result that has no form in C; before any is given back, since nobody would free the others.
void require_form(const c10::IValue& value) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) require_known(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& element : value.toTensorList()) require_known(element);
  } else {
    TORCH_CHECK(value.isNone() || value.isInt() || value.isDouble() || value.isBool() || value.isIntList() ||
                    value.isDoubleList() || (value.isScalar() && value.toScalar().isFloatingPoint()),
                "a result of type ", value.tagKind(), " has no form in C");
  }
}

/// Of a result that has a form in C.
void give_back(c10::IValue&& value, ct_value& out) {
  out = ct_value{};
  if (value.isNone()) {
    out.tag = CT_NONE;
  } else if (value.isTensor()) {
    give_back(std::move(value).toTensor(), out);
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
  } else {
    out.tag = CT_DOUBLE;
    out.real = value.toScalar().toDouble();
  }
}

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

/// Calls an operator of a frequent form; nothing where the call is not of that form.
std::optional<at::Tensor> call_directly(const Operator& op, const ct_value* arguments, int32_t count) {
  static const at::Scalar one(1);
  if (count < 1 || arguments[0].tag != CT_TENSOR) return std::nullopt;
  if (count == 1 && op.unary) return op.unary->call(*Borrowed(arguments[0]));
  if (count != 2 || arguments[1].tag != CT_TENSOR) return std::nullopt;
  if (op.binary) return op.binary->call(*Borrowed(arguments[0]), *Borrowed(arguments[1]));
  if (op.scaled) return op.scaled->call(*Borrowed(arguments[0]), *Borrowed(arguments[1]), one);
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
    const bool given = i < static_cast<size_t>(argument_count);
    if (given && arguments[i].tag == CT_TENSOR && parameters[i].type()->kind() == c10::TypeKind::TensorType) {
      stack.emplace_back(*Borrowed(arguments[i]));
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
  for (const c10::IValue& result : stack) require_form(result);
  *result_count = static_cast<int32_t>(stack.size());
  for (size_t i = 0; i < stack.size(); i++) give_back(std::move(stack[i]), results[i]);
  stack.clear();
  spare = std::move(stack);
}

}  // namespace

int operator_find(const char* name, const char* overload, ct_operator_ref* out, char** error) {
  return guarded(error, [&] {
    *out = reinterpret_cast<ct_operator_ref>(
        new Operator(c10::Dispatcher::singleton().findSchemaOrThrow(name, overload)));
  });
}

int operator_call(ct_operator_ref reference, const ct_value* arguments, int32_t argument_count, ct_value* results,
                  int32_t result_capacity, int32_t* result_count, char** error) {
  return guarded(error, [&] {
    const auto& op = *reinterpret_cast<const Operator*>(reference);
    // Where nothing is recorded, the kernels that would record need not be asked.
    std::optional<at::AutoDispatchBelowAutograd> unrecorded;
    if (!at::GradMode::is_enabled()) unrecorded.emplace();
    if (auto result = call_directly(op, arguments, argument_count)) {
      give_back(std::move(*result), results[0]);
      *result_count = 1;
    } else {
      call_generally(op, arguments, argument_count, results, result_capacity, result_count);
    }
  });
}

}  // namespace bridge
