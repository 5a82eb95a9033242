// What a model computes, written down while it computes it: every operator that is called on this thread from
// `distill::recording_begin` to `distill::recording_end`, with its arguments. libtorch's observers of calls see them, so
// that nothing is slower while nothing is recorded.

#include <ATen/record_function.h>
#include <torch/library.h>

#include <map>
#include <mutex>
#include <unordered_map>

#include "FrozenGraph.h"

namespace bridge {
namespace {

struct Recording {
  FrozenGraph graph;
  std::unordered_map<c10::TensorImpl*, size_t> values;
  std::vector<at::Tensor> tensors;  // of each value
  std::vector<at::Tensor> alive;    // constants: no address is used twice
  int depth = 0;
  /// Whether operators are welcome that could draw random numbers, but do not as they are called.
  bool allows_unused_randomness = false;
  std::string refusal;
  at::CallbackHandle handle = 0;
};

thread_local std::unique_ptr<Recording> current;

std::mutex guard;
std::map<int64_t, std::shared_ptr<FrozenGraph>> finished;
int64_t next_number = 0;

void refuse(Recording& recording, const std::string& why) {
  if (recording.refusal.empty()) recording.refusal = why;
}

size_t add_value(Recording& recording, const at::Tensor& tensor) {
  const size_t value = recording.graph.shapes.size();
  recording.graph.shapes.push_back(tensor.sizes().vec());
  recording.graph.types.push_back(tensor.scalar_type());
  recording.values[tensor.unsafeGetTensorImpl()] = value;
  recording.tensors.push_back(tensor);
  return value;
}

/// The calls of our own that record; they are not part of what is recorded.
bool is_ours(const at::RecordFunction& function) {
  return std::string_view(function.name()).starts_with("distill::recording_");
}

struct Context : at::ObserverContext {
  std::vector<c10::IValue> inputs;
};

std::unique_ptr<at::ObserverContext> will_call(const at::RecordFunction& function) {
  auto context = std::make_unique<Context>();
  if (!current || is_ours(function)) return context;
  if (current->depth++ == 0) context->inputs.assign(function.inputs().begin(), function.inputs().end());
  return context;
}

/// Whether a call of an operator that can draw random numbers does so: attention and recurrence draw for dropout alone.
bool draws(const Call& call) {
  const auto& arguments = call.handle.schema().arguments();
  for (size_t i = 0; i < arguments.size(); i++) {
    const auto& name = arguments[i].name();
    const auto& given = call.arguments[i];
    if ((name == "dropout_p" || name == "dropout") && given.isDouble() && given.toDouble() == 0) return false;
    if (name == "train" && given.isBool() && !given.toBool()) return false;
  }
  return true;
}

void note_call(Recording& recording, const at::RecordFunction& function, std::vector<c10::IValue> inputs) {
  const auto name = function.operator_name();
  const auto handle = name ? c10::Dispatcher::singleton().findSchema(*name) : std::nullopt;
  if (!handle) return refuse(recording, std::string(function.name()) + " cannot be called again");
  Call call{*handle, std::move(inputs), {}, {}, {}};
  for (const auto& argument : handle->schema().arguments()) {
    if (argument.alias_info() && argument.alias_info()->isWrite())
      return refuse(recording, call.name() + " changes its argument");
  }
  if (handle->hasTag(at::Tag::nondeterministic_seeded) && call.name().find("dropout") == std::string::npos &&
      (!recording.allows_unused_randomness || draws(call)))
    return refuse(recording, call.name() + " is random");
  const auto look_up = [&](const at::Tensor& tensor, size_t argument, int64_t element) {
    if (!tensor.defined()) return;
    const auto found = recording.values.find(tensor.unsafeGetTensorImpl());
    if (found != recording.values.end())
      call.references.push_back({argument, element, found->second});
    else
      recording.alive.push_back(tensor);
  };
  for (size_t i = 0; i < call.arguments.size(); i++) {
    const auto& argument = call.arguments[i];
    if (argument.isTensor()) {
      look_up(argument.toTensor(), i, -1);
    } else if (argument.isTensorList()) {
      const auto list = argument.toTensorVector();
      for (size_t j = 0; j < list.size(); j++) look_up(list[j], i, static_cast<int64_t>(j));
    } else if (argument.isList() && !argument.isIntList() && !argument.isDoubleList() && !argument.isBoolList()) {
      const auto list = argument.toListRef();
      for (size_t j = 0; j < list.size(); j++) {
        if (list[j].isTensor()) look_up(list[j].toTensor(), i, static_cast<int64_t>(j));
      }
    } else if (argument.isGenerator()) {
      return refuse(recording, call.name() + " is random");
    }
  }
  for (const auto& output : function.outputs()) {
    std::vector<size_t> values;
    if (output.isTensor()) {
      values.push_back(add_value(recording, output.toTensor()));
    } else if (output.isTensorList()) {
      for (const at::Tensor& element : output.toTensorList()) values.push_back(add_value(recording, element));
    } else {
      return refuse(recording, call.name() + " gives something that is no tensor");
    }
    call.results.push_back(std::move(values));
  }
  recording.graph.calls.push_back(std::move(call));
}

void has_called(const at::RecordFunction& function, at::ObserverContext* context) {
  if (!current || is_ours(function) || current->depth == 0) return;
  if (--current->depth > 0) return;
  note_call(*current, function, std::move(static_cast<Context*>(context)->inputs));
}

void stop() {
  if (!current) return;
  at::removeCallback(current->handle);
  current.reset();
}

void begin(const at::Tensor& input, bool allows_unused_randomness) {
  stop();
  TORCH_CHECK(input.dim() >= 1 && input.size(0) > 0, "a recording needs a batch with examples");
  current = std::make_unique<Recording>();
  current->allows_unused_randomness = allows_unused_randomness;
  current->graph.batch = input.size(0);
  current->graph.input = input;
  add_value(*current, input);
  current->handle = at::addThreadLocalCallback(at::RecordFunctionCallback(will_call, has_called)
                                                   .needsInputs(true)
                                                   .needsOutputs(true)
                                                   .scopes({at::RecordScope::FUNCTION}));
}

void cancel() { stop(); }

std::unique_ptr<Recording> ended() {
  TORCH_CHECK(current, "nothing is being recorded");
  at::removeCallback(current->handle);
  auto recording = std::move(current);
  TORCH_CHECK(recording->refusal.empty(), "the model cannot be written down: ", recording->refusal);
  return recording;
}

/// The tensors that stand for some values of what was recorded, which has to have as many values as another recording of
/// the model.
std::vector<at::Tensor> values(at::IntArrayRef wanted, int64_t count) {
  const auto recording = ended();
  TORCH_CHECK(static_cast<int64_t>(recording->tensors.size()) == count,
              "the model cannot be written down: what it calls depends on what it sees");
  std::vector<at::Tensor> tensors;
  for (const int64_t value : wanted) tensors.push_back(recording->tensors.at(static_cast<size_t>(value)));
  return tensors;
}

at::Tensor end(const at::TensorList outputs) {
  const auto recording = ended();
  for (const auto& output : outputs) {
    const auto found = recording->values.find(output.unsafeGetTensorImpl());
    TORCH_CHECK(found != recording->values.end(), "the model cannot be written down: an output was made by no operator");
    recording->graph.outputs.push_back(found->second);
    recording->graph.expected.push_back(output);
  }
  const std::lock_guard lock(guard);
  finished[++next_number] = std::make_shared<FrozenGraph>(std::move(recording->graph));
  return at::scalar_tensor(next_number, at::kLong);
}

[[noreturn]] void differ(const Call& call) {
  TORCH_CHECK(false, "the model cannot be written down: what it gives to ", call.name(), " depends on what it sees");
}

bool same_numbers(const at::Tensor& one, const at::Tensor& other) {
  if (one.is_same(other)) return true;
  return one.defined() && other.defined() && one.sizes() == other.sizes() &&
         one.scalar_type() == other.scalar_type() && one.device() == other.device() && at::equal(one, other);
}

}  // namespace

void note_host_read(const c10::TensorImpl* tensor) {
  if (current && current->values.contains(const_cast<c10::TensorImpl*>(tensor)))
    refuse(*current, "it looks at its numbers outside of operators");
}

std::shared_ptr<FrozenGraph> take_recording(int64_t number) {
  const std::lock_guard lock(guard);
  const auto found = finished.find(number);
  TORCH_CHECK(found != finished.end(), "there is no recording ", number);
  auto graph = std::move(found->second);
  finished.erase(found);
  return graph;
}

namespace {

void forget(int64_t number) {
  const std::lock_guard lock(guard);
  finished.erase(number);
}

}  // namespace

FrozenGraph joined(FrozenGraph first, const FrozenGraph& second) {
  TORCH_CHECK(first.batch != second.batch, "two recordings need batches of different sizes");
  TORCH_CHECK(first.calls.size() == second.calls.size() && first.outputs == second.outputs &&
                  first.shapes.size() == second.shapes.size(),
              "the model cannot be written down: what it calls depends on what it sees");
  for (size_t index = 0; index < first.calls.size(); index++) {
    auto& call = first.calls[index];
    const auto& other = second.calls[index];
    const auto same_references = [&] {
      if (call.references.size() != other.references.size()) return false;
      for (size_t i = 0; i < call.references.size(); i++) {
        const auto &a = call.references[i], &b = other.references[i];
        if (a.argument != b.argument || a.element != b.element || a.value != b.value) return false;
      }
      return true;
    };
    if (call.handle.operator_name() != other.handle.operator_name() ||
        call.arguments.size() != other.arguments.size() || !same_references() || call.results != other.results)
      differ(call);
    const auto is_reference = [&](size_t argument, int64_t element) {
      for (const auto& reference : call.references)
        if (reference.argument == argument && reference.element == element) return true;
      return false;
    };
    const auto compare_integers = [&](int64_t a, int64_t b, size_t argument, int64_t element) {
      if (a == b) return;
      if (a * second.batch != b * first.batch || a % first.batch != 0) differ(call);
      call.multiples.push_back({argument, element, a / first.batch});
    };
    for (size_t i = 0; i < call.arguments.size(); i++) {
      const auto &a = call.arguments[i], &b = other.arguments[i];
      if (a.isTensor() != b.isTensor() || a.isNone() != b.isNone()) differ(call);
      if (a.isTensor()) {
        if (!is_reference(i, -1) && !same_numbers(a.toTensor(), b.toTensor())) differ(call);
      } else if (a.isInt() && b.isInt()) {
        compare_integers(a.toInt(), b.toInt(), i, -1);
      } else if (a.isIntList() && b.isIntList()) {
        const auto left = a.toIntVector(), right = b.toIntVector();
        if (left.size() != right.size()) differ(call);
        for (size_t j = 0; j < left.size(); j++) compare_integers(left[j], right[j], i, static_cast<int64_t>(j));
      } else if (a.isTensorList() && b.isTensorList()) {
        const auto left = a.toTensorVector(), right = b.toTensorVector();
        if (left.size() != right.size()) differ(call);
        for (size_t j = 0; j < left.size(); j++) {
          if (!is_reference(i, static_cast<int64_t>(j)) && !same_numbers(left[j], right[j])) differ(call);
        }
      } else if (a.isList() && b.isList() && !a.isDoubleList() && !a.isBoolList()) {
        const auto left = a.toListRef(), right = b.toListRef();
        if (left.size() != right.size()) differ(call);
        for (size_t j = 0; j < left.size(); j++) {
          if (left[j].isTensor() != right[j].isTensor()) differ(call);
          if (left[j].isTensor() && !is_reference(i, static_cast<int64_t>(j)) &&
              !same_numbers(left[j].toTensor(), right[j].toTensor()))
            differ(call);
        }
      } else if (a != b) {
        differ(call);
      }
    }
  }
  return first;
}

}  // namespace bridge

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def("recording_begin(Tensor input, bool allows_unused_randomness=False) -> ()", bridge::begin);
  library.def("recording_cancel() -> ()", bridge::cancel);
  library.def("recording_forget(int number) -> ()", bridge::forget);
  library.def("recording_end(Tensor[] outputs) -> Tensor", bridge::end);
  library.def("recording_values(int[] values, int count) -> Tensor[]", bridge::values);
}
