// Models as a whole that libtorch runs: TorchScript, and packages of AOTInductor. Both are code, and are executed.

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "Bridge.h"

namespace bridge {
namespace {

at::Tensor bytes(const std::string& text) {
  auto result = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(result.mutable_data_ptr(), text.data(), text.size());
  return result;
}

/// What a program gave: tensors, and of each output its name and, where it is no tensor, what it is.
struct Outputs {
  std::vector<at::Tensor> tensors;
  std::string list;

  void add(const std::string& name, const c10::IValue& value) {
    if (!list.empty()) list += ',';
    list += "{\"name\":" + quoted(name);
    if (value.isTensor() && value.toTensor().defined()) {
      tensors.push_back(value.toTensor());
    } else {
      list += ",\"kind\":" + quoted(value.isTensor() ? "no tensor" : value.tagKind());
    }
    list += '}';
  }
};

class Program {
 public:
  virtual ~Program() = default;
  /// What is known before it runs, as JSON.
  virtual std::string about() = 0;
  virtual Outputs run(const at::Tensor& input) = 0;
};

class Script final : public Program {
  torch::jit::Module module;

 public:
  Script(const std::string& path, const at::Device& device) : module(torch::jit::load(path, device)) { module.eval(); }

  std::string about() override {
    int64_t parameters = 0;
    for (const at::Tensor& parameter : module.parameters()) parameters += parameter.numel();
    std::string names;
    TORCH_CHECK(module.find_method("forward"), "it has no method 'forward'");
    const auto& arguments = module.get_method("forward").function().getSchema().arguments();
    for (size_t i = 1; i < arguments.size(); i++) {  // the first is the module
      if (arguments[i].default_value()) continue;
      names += (names.empty() ? "" : ",") + quoted(arguments[i].name());
    }
    return "{\"parameters\":" + std::to_string(parameters) + ",\"inputs\":[" + names + "]}";
  }

  Outputs run(const at::Tensor& input) override {
    Outputs outputs;
    const c10::IValue result = module.forward({input});
    if (result.isTuple()) {
      const auto type = result.type()->cast<c10::TupleType>();
      const auto& schema = type ? type->schema() : nullptr;
      const auto& elements = result.toTupleRef().elements();
      for (size_t i = 0; i < elements.size(); i++)
        outputs.add(schema && i < schema->arguments().size() ? schema->arguments()[i].name() : "", elements[i]);
    } else if (result.isList()) {
      for (const c10::IValue& element : result.toListRef()) outputs.add("", element);
    } else if (result.isGenericDict()) {
      for (const auto& entry : result.toGenericDict())
        outputs.add(entry.key().isString() ? entry.key().toStringRef() : "", entry.value());
    } else {
      outputs.add("", result);
    }
    return outputs;
  }
};

class Package final : public Program {
  torch::inductor::AOTIModelPackageLoader loader;

 public:
  // Without it, inputs of another shape than the package was compiled for are read beyond their end.
  static const std::string& checked(const std::string& path) {
    static const int once = setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1);
    (void)once;
    return path;
  }

  explicit Package(const std::string& path) : loader(checked(path), "model", false, 1, -1) {}

  std::string about() override {
    const auto specification = loader.get_call_spec();
    TORCH_CHECK(specification.size() == 2, "it does not say what goes in and what comes out");
    return "{\"inputSpecification\":" + quoted(specification[0]) + ",\"outputSpecification\":" + quoted(specification[1]) +
           "}";
  }

  Outputs run(const at::Tensor& input) override {
    Outputs outputs;
    for (at::Tensor& output : loader.run({input})) outputs.add("", c10::IValue(std::move(output)));
    return outputs;
  }
};

std::mutex guard;
std::map<int64_t, std::shared_ptr<Program>> programs;
int64_t last = 0;

std::shared_ptr<Program> find(int64_t number) {
  const std::lock_guard lock(guard);
  const auto found = programs.find(number);
  TORCH_CHECK(found != programs.end(), "there is no program ", number);
  return found->second;
}

at::Tensor open_program(const std::string& kind, const std::string& path, const std::string& device) {
  std::shared_ptr<Program> made;
  if (kind == "script") {
    made = std::make_shared<Script>(path, at::Device(device));
  } else {
    made = std::make_shared<Package>(path);
  }
  const std::lock_guard lock(guard);
  programs[++last] = std::move(made);
  return at::scalar_tensor(last, at::kLong);
}

at::Tensor about(int64_t number) { return bytes(find(number)->about()); }

/// First what the outputs are, as JSON, then those that are tensors.
std::vector<at::Tensor> run(int64_t number, const at::Tensor& input) {
  const at::NoGradGuard no_gradient;
  Outputs outputs = find(number)->run(input);
  std::vector<at::Tensor> result = {bytes("[" + outputs.list + "]")};
  for (at::Tensor& tensor : outputs.tensors) result.push_back(tensor.detach());
  return result;
}

void close_program(int64_t number) {
  std::shared_ptr<Program> closed;
  const std::lock_guard lock(guard);
  const auto found = programs.find(number);
  if (found == programs.end()) return;
  closed = std::move(found->second);
  programs.erase(found);
}

}  // namespace
}  // namespace bridge

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def("program_open(str kind, str path, str device) -> Tensor", bridge::open_program);
  library.def("program_about(int program) -> Tensor", bridge::about);
  library.def("program_run(int program, Tensor input) -> Tensor[]", bridge::run);
  library.def("program_close(int program) -> ()", bridge::close_program);
}
