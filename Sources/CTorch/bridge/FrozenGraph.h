// The operators that a model called for a batch, as a list that can be computed again for other batches.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bridge {

/// Where an argument is a tensor that an earlier operator made, or the input: `element` is its place in a list, or −1.
struct Reference {
  size_t argument;
  int64_t element;
  size_t value;
};

/// Where an argument is a multiple of the number of examples.
struct BatchMultiple {
  size_t argument;
  int64_t element;
  int64_t factor;
};

/// One call of an operator. Constants stand in `arguments`; what changes from batch to batch is filled in.
struct Call {
  c10::OperatorHandle handle;
  std::vector<c10::IValue> arguments;
  std::vector<Reference> references;
  std::vector<BatchMultiple> multiples;
  /// For each result its value, or several where it is a list.
  std::vector<std::vector<size_t>> results;

  std::string name() const { return handle.operator_name().name; }
};

/// Calls in their order. Value 0 is the input.
struct FrozenGraph {
  std::vector<Call> calls;
  /// The shape of each value for a batch of `batch` examples.
  std::vector<std::vector<int64_t>> shapes;
  std::vector<at::ScalarType> types;
  std::vector<size_t> outputs;
  std::vector<at::Tensor> expected;  // what the model gave
  at::Tensor input;
  int64_t batch = 0;
};

/// The graph of two recordings of the same model with batches of different sizes.
///
/// Throws where they are not the same but for the number of examples: then the model's calls depend on what it sees.
FrozenGraph joined(FrozenGraph first, const FrozenGraph& second);

/// A finished recording, which is forgotten.
std::shared_ptr<FrozenGraph> take_recording(int64_t number);

/// Told when somebody reads a tensor's memory: what is done with that is in no recording.
void note_host_read(const c10::TensorImpl* tensor);

}  // namespace bridge
