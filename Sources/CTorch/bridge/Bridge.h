// What the files of the bridge share: tensors as the references of CTorch.h, and exceptions as messages.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "CTorch.h"

namespace bridge {

/// A text as JSON writes it, with its quotation marks.
std::string quoted(const std::string& text);

// A ct_tensor_ref is a counted reference to a tensor's implementation, as at::Tensor is: no memory of its own.

/// Gives a tensor away as a reference that the receiver owns.
inline ct_tensor_ref own(at::Tensor value) { return reinterpret_cast<ct_tensor_ref>(value.unsafeReleaseTensorImpl()); }

/// Whether the other side can describe a tensor: not a complex, quantized or sparse one.
inline bool is_known(const at::Tensor& value) {
  // The types of DType.swift: whole numbers and bool, float16, float32, float64, bfloat16.
  constexpr uint32_t known = 0b1000'1000'1111'1111;
  const auto type = static_cast<uint32_t>(value.scalar_type());
  return type < 32 && (known >> type & 1) && value.layout() == at::kStrided && value.dim() <= CT_MAX_DIMENSIONS;
}

/// Throws for a tensor that the other side cannot describe. Not inlined: every call of an operator passes by.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_unknown(const at::Tensor& value) {
  TORCH_CHECK(false, "a tensor of the type ", value.scalar_type(), ", the layout ", value.layout(), " and ", value.dim(),
              " dimensions is not supported");
}

inline void require_known(const at::Tensor& value) {
  if (C10_UNLIKELY(!is_known(value))) refuse_unknown(value);
}

/// Gives a result away as a reference that the receiver owns; every tensor that the other side gets to see comes from
/// here. Throws for one that it cannot describe.
inline ct_tensor_ref give(at::Tensor&& value) {
  require_known(value);
  return reinterpret_cast<ct_tensor_ref>(value.unsafeReleaseTensorImpl());
}

/// Takes a tensor over from the reference that owned it.
inline at::Tensor take(ct_tensor_ref reference) {
  using Counted = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  return at::Tensor(Counted::reclaim(reinterpret_cast<c10::TensorImpl*>(reference)));
}

/// The tensor of a reference that somebody else owns, for as long as that reference lives.
class Borrowed {
  at::Tensor value;

 public:
  explicit Borrowed(ct_tensor_ref reference) : value(take(reference)) {}
  explicit Borrowed(const ct_value& argument)
      : Borrowed(reinterpret_cast<ct_tensor_ref>(const_cast<void*>(argument.pointer))) {}
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() { value.unsafeReleaseTensorImpl(); }

  const at::Tensor& operator*() const { return value; }
  const at::Tensor* operator->() const { return &value; }
};

inline at::Generator& generator(ct_generator_ref reference) { return *reinterpret_cast<at::Generator*>(reference); }

inline int fail(char** error, const std::string& message) {
  if (error) *error = strdup(message.c_str());
  return 1;
}

/// Runs a body and turns what it throws into a message for the caller to free.
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

int operator_find(const char* name, const char* overload, ct_operator_ref* out, char** error);

int operator_call(ct_operator_ref reference, const ct_value* arguments, int32_t argument_count, ct_value* results,
                  int32_t result_capacity, int32_t* result_count, char** error);

}  // namespace bridge
