// A recording told to Swift: the list of its calls as JSON, and beside it the tensors that do not depend on the input.

#include <torch/library.h>

#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "Bridge.h"
#include "FrozenGraph.h"

namespace bridge {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char character : text) {
    if (character == '"' || character == '\\') {
      result += '\\';
      result += character;
    } else if (static_cast<unsigned char>(character) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(character)));
      result += escape;
    } else {
      result += character;
    }
  }
  return result + '"';
}

namespace {

/// JSON has no words for what is not finite: it is a text.
std::string written(double number) {
  if (std::isnan(number)) return "\"NaN\"";
  if (std::isinf(number)) return number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", number);
  return text;
}

template <typename Element, typename Write>
std::string list(const std::vector<Element>& elements, Write write) {
  std::string result = "[";
  for (const auto& element : elements) {
    if (result.size() > 1) result += ',';
    result += write(element);
  }
  return result + ']';
}

std::string list(const std::vector<int64_t>& numbers) {
  return list(numbers, [](int64_t number) { return std::to_string(number); });
}

/// Fills a call's arguments with values that are known.
void set(c10::IValue& argument, int64_t element, const at::Tensor& tensor) {
  if (element < 0) {
    argument = tensor;
  } else if (argument.isTensorList()) {
    auto tensors = argument.toTensorVector();
    tensors[static_cast<size_t>(element)] = tensor;
    argument = std::move(tensors);
  } else {
    auto copy = argument.toList().copy();
    copy.set(static_cast<size_t>(element), tensor);
    argument = std::move(copy);
  }
}

class Text {
 public:
  Text(const FrozenGraph& graph, const std::vector<std::vector<int64_t>>& wider) : graph(graph), wider(wider) {
    constant_of.assign(graph.shapes.size(), -1);
    for (const auto& call : graph.calls)
      if (!compute(call)) calls.push_back(written_call(call));
  }

  /// The text as bytes, and after it the constants in the order of their numbers.
  std::vector<at::Tensor> result() {
    std::vector<int64_t> outputs;
    for (const size_t output : graph.outputs) outputs.push_back(value(output));
    const std::string text = "{\"batch\":" + std::to_string(graph.batch) + ",\"values\":" + values() +
                             ",\"outputs\":" + list(outputs) +
                             ",\"calls\":" + list(calls, [](const std::string& call) { return call; }) + "}";
    auto bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
    std::copy(text.begin(), text.end(), static_cast<char*>(bytes.data_ptr()));
    std::vector<at::Tensor> tensors{bytes};
    tensors.insert(tensors.end(), constants.begin(), constants.end());
    return tensors;
  }

 private:
  const FrozenGraph& graph;
  const std::vector<std::vector<int64_t>>& wider;
  /// For each value of the graph the number of the constant that it is, or −1.
  std::vector<int64_t> constant_of;
  std::vector<at::Tensor> constants;
  std::unordered_map<c10::TensorImpl*, size_t> known;
  std::vector<std::string> calls;

  /// The number of a constant.
  size_t number(const at::Tensor& tensor) {
    const auto [place, is_new] = known.emplace(tensor.unsafeGetTensorImpl(), constants.size());
    if (is_new) constants.push_back(tensor);
    return place->second;
  }

  /// The value that stands for a constant: they are counted on from those of the graph.
  int64_t value(const at::Tensor& tensor) {
    return tensor.defined() ? static_cast<int64_t>(graph.shapes.size() + number(tensor)) : -1;
  }

  int64_t value(size_t place) const {
    const int64_t constant = constant_of[place];
    return constant < 0 ? static_cast<int64_t>(place) : static_cast<int64_t>(graph.shapes.size()) + constant;
  }

  /// A call that looks at nothing but constants gives constants.
  bool compute(const Call& call) {
    if (!call.multiples.empty()) return false;
    for (const auto& reference : call.references)
      if (constant_of[reference.value] < 0) return false;
    std::vector<c10::IValue> stack(call.arguments.begin(), call.arguments.end());
    for (const auto& reference : call.references)
      set(stack[reference.argument], reference.element,
          constants[static_cast<size_t>(constant_of[reference.value])]);
    call.handle.callBoxed(stack);
    for (size_t i = 0; i < call.results.size(); i++) {
      const auto given = stack[i].isTensor() ? std::vector<at::Tensor>{stack[i].toTensor()} : stack[i].toTensorVector();
      for (size_t j = 0; j < call.results[i].size(); j++)
        constant_of[call.results[i][j]] = static_cast<int64_t>(number(given.at(j)));
    }
    return true;
  }

  std::string written_call(const Call& call) {
    const auto& schema = call.handle.schema();
    std::string arguments = "[";
    for (size_t i = 0; i < call.arguments.size(); i++) {
      if (i > 0) arguments += ',';
      arguments += "{\"name\":" + quoted(schema.arguments()[i].name()) +
                   (call.arguments[i].isList() ? ",\"isList\":true" : "") + written_argument(call, i) + "}";
    }
    std::vector<int64_t> results;
    for (const auto& values : call.results) results.insert(results.end(), values.begin(), values.end());
    return "{\"operator\":" + quoted(call.name()) + ",\"overload\":" +
           quoted(call.handle.operator_name().overload_name) + ",\"arguments\":" + arguments +
           "],\"results\":" + list(results) + "}";
  }

  std::string written_argument(const Call& call, size_t place) {
    const auto& argument = call.arguments[place];
    if (argument.isNone()) return "";
    if (argument.isTensor() || argument.isTensorList() || is_list_of_tensors(argument))
      return written_tensors(call, place);
    if (argument.isInt() || argument.isIntList()) {
      auto numbers = argument.isInt() ? std::vector<int64_t>{argument.toInt()} : argument.toIntVector();
      std::vector<int64_t> places;
      for (const auto& multiple : call.multiples) {
        if (multiple.argument != place) continue;
        const auto element = static_cast<size_t>(std::max<int64_t>(multiple.element, 0));
        numbers[element] = multiple.factor;
        places.push_back(static_cast<int64_t>(element));
      }
      return ",\"integers\":" + list(numbers) + ",\"perExample\":" + list(places);
    }
    if (argument.isDouble()) return ",\"numbers\":[" + written(argument.toDouble()) + "]";
    if (argument.isDoubleList()) return ",\"numbers\":" + list(argument.toDoubleVector(), written);
    const auto flag = [](bool value) -> std::string { return value ? "true" : "false"; };
    if (argument.isBool()) return ",\"flags\":[" + flag(argument.toBool()) + "]";
    if (argument.isBoolList()) {
      const auto flags = argument.toBoolList();
      return ",\"flags\":" + list(std::vector<bool>(flags.begin(), flags.end()), flag);
    }
    if (argument.isString()) return ",\"text\":" + quoted(argument.toStringRef());
    return ",\"text\":" + quoted(argument.tagKind());
  }

  static bool is_list_of_tensors(const c10::IValue& argument) {
    if (!argument.isList()) return false;
    for (const c10::IValue& element : argument.toListRef())
      if (element.isTensor()) return true;
    return false;
  }

  std::string written_tensors(const Call& call, size_t place) {
    const auto& argument = call.arguments[place];
    std::vector<int64_t> values;
    if (argument.isTensor()) {
      values.push_back(value(argument.toTensor()));
    } else {
      for (const c10::IValue& element : argument.toListRef())
        values.push_back(element.isTensor() ? value(element.toTensor()) : -1);
    }
    for (const auto& reference : call.references)
      if (reference.argument == place)
        values[static_cast<size_t>(std::max<int64_t>(reference.element, 0))] = value(reference.value);
    return ",\"values\":" + list(values);
  }

  std::string values() const {
    std::string result = "[";
    for (size_t i = 0; i < graph.shapes.size(); i++) {
      if (i > 0) result += ',';
      result += "{\"shape\":" + list(graph.shapes[i]) + ",\"widerShape\":" + list(wider[i]) +
                ",\"type\":" + std::to_string(static_cast<int>(graph.types[i])) + "}";
    }
    return result + "]";
  }
};

/// What two recordings of one function, with batches of different sizes, have in common.
std::vector<at::Tensor> read(int64_t first, int64_t second) {
  const at::NoGradGuard no_gradient;
  const auto one = take_recording(first), other = take_recording(second);
  const auto graph = joined(std::move(*one), *other);
  return Text(graph, other->shapes).result();
}

}  // namespace
}  // namespace bridge

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def("recording_read(int first, int second) -> Tensor[]", bridge::read);
}
