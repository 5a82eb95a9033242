import Foundation
import Torch
import TorchNN

/// A model as a Python module that needs PyTorch alone: `model.py`, which reads `model.safetensors` beside it.
///
/// The operators that the model calls are written down one after the other, with the names of the weights. So it is what
/// the model computes in evaluation, for batches of any size.
public struct PythonModule {
  /// What the module says besides.
  public struct Facts: Sendable {
    /// The first line of its description.
    public var title = "A model"
    public var labels: [String] = []
    /// Of pictures bytes are divided by 255 before.
    public var mean: [Float] = []
    public var standardDeviation: [Float] = []

    public init() {}
  }

  /// The text of `model.py`.
  public let source: String
  /// Numbers that are in no checkpoint, such as the places of tokens: `constants.safetensors` beside it. Often none.
  public let constants: [NamedTensor]

  /// - Parameters:
  ///   - inputs: a batch as those that will come
  ///   - keys: how the checkpoint beside it spells the names of the weights; nil: as the model does
  /// - Throws: `ExportError` when what the model computes hangs on what it sees.
  public init(of model: any Layer, like inputs: Tensor, facts: Facts = Facts(), keys: KeyTable? = nil) throws {
    let export = try ExportGraph(of: model, like: inputs)
    let state = model.state.map { NamedTensor(name: keys?.map.foreign($0.name) ?? $0.name, tensor: $0.tensor) }
    var writer = PythonWriter(export, state: state)
    let lines = try export.graph.calls.map { try writer.line($0) }
    let output = try writer.name(export.graph.outputs[0])
    constants = writer.constants
    let dtype = "\(inputs.dtype)"
    let shape = (["N"] + inputs.shape.dropFirst().map(String.init)).joined(separator: ", ")
    let given = export.graph.values[export.graph.outputs[0]].shape.map { count in
      switch count {
      case .fixed(let size): "\(size)"
      case .perExample(let factor): factor == 1 ? "N" : "\(factor) N"
      }
    }
    source = Self.text(
      facts, body: lines + ["return \(output)"], takes: "\(dtype) [\(shape)]",
      gives: "[\(given.joined(separator: ", "))]")
  }

  private static func text(_ facts: Facts, body: [String], takes: String, gives: String) -> String {
    """
    \"\"\"\(PythonText.plain(facts.title))

    Written by distill. It needs PyTorch alone, and model.safetensors in the same folder.

        from model import Model
        model = Model.load()
        logits = model(inputs)  # \(takes) -> \(gives)

    It computes what the model computes in evaluation: dropout is left out, normalization uses the statistics of training.
    \"\"\"
    import json
    import os
    import struct

    import torch

    # The classes, in the order of the logits.
    LABELS = \(PythonText.list(facts.labels.map(PythonText.quoted)))
    # Inputs are (x - MEAN) / STANDARD_DEVIATION; of pictures x is a byte divided by 255. Empty: x itself.
    MEAN = \(PythonText.list(facts.mean.map { PythonText.number(Double($0)) }))
    STANDARD_DEVIATION = \(PythonText.list(facts.standardDeviation.map { PythonText.number(Double($0)) }))

    _TYPES = {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
        "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    }


    def read_safetensors(path):
        \"\"\"The tensors of a safetensors file, by name.\"\"\"
        with open(path, "rb") as file:
            data = bytearray(file.read())
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(bytes(data[8 : 8 + size]))
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            part = torch.frombuffer(data[start:end], dtype=_TYPES[entry["dtype"]]) if end > start else torch.empty(0)
            tensors[name] = part.reshape(entry["shape"])
        return tensors


    class Model(torch.nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.places = {name: f"w{place}" for place, name in enumerate(weights)}
            for name, tensor in weights.items():
                if tensor.is_floating_point():
                    # What was stored in half the bits is computed in float32.
                    tensor = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
                self.register_buffer(self.places[name], tensor.clone())

        @classmethod
        def load(cls, folder=None):
            folder = os.path.dirname(os.path.abspath(__file__)) if folder is None else folder
            weights = read_safetensors(os.path.join(folder, "model.safetensors"))
            constants = os.path.join(folder, "constants.safetensors")
            if os.path.exists(constants):
                weights.update(read_safetensors(constants))
            return cls(weights).eval()

        def weight(self, name):
            return getattr(self, self.places[name])

        @torch.no_grad()
        def forward(self, v0):
            aten, n, device = torch.ops.aten, v0.shape[0], v0.device
    \(body.map { "        \($0)" }.joined(separator: "\n"))

    """
  }
}

/// Calls as lines of Python.
private struct PythonWriter {
  private let graph: RecordedGraph
  private var names: [Int: String] = [0: "v0"]
  private(set) var constants: [NamedTensor] = []
  private let state: [NamedTensor]

  init(_ export: ExportGraph, state: [NamedTensor]) {
    graph = export.graph
    self.state = state
  }

  /// Operators of our own, and what they are there.
  private static let own: [String: String] = [
    "distill::linear": "torch.nn.functional.linear({input}, {weight}, {bias})",
    "distill::linear_relu": "torch.relu(torch.nn.functional.linear({input}, {weight}, {bias}))",
    "distill::convolution":
      "aten.convolution({input}, {weight}, {bias}, {stride}, {padding}, {dilation}, False, {padding}, {groups})",
  ]

  mutating func line(_ call: RecordedGraph.Call) throws -> String {
    for value in call.results { names[value] = "v\(value)" }
    let isList = ["aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind"].contains(call.name)
    let results =
      call.results.map { "v\($0)" }.joined(separator: ", ") + (isList && call.results.count == 1 ? "," : "")
    var arguments: [String: String] = [:]
    for name in call.arguments.keys { arguments[name] = try text(of: name, in: call) }
    if let form = Self.own[call.name] {
      let written = arguments.reduce(form) { $0.replacing("{\($1.key)}", with: $1.value) }
      return "\(results) = \(written)"
    }
    guard call.name.hasPrefix("aten::") else { throw ExportError("\(call.name) is not known in PyTorch") }
    let overload = call.overload.isEmpty ? "default" : call.overload
    // `self` cannot be a keyword everywhere.
    let first = arguments.removeValue(forKey: "self").map { [$0] } ?? []
    let others = arguments.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    return "\(results) = aten.\(call.name.dropFirst(6)).\(overload)(\((first + others).joined(separator: ", ")))"
  }

  mutating func name(_ value: Int) throws -> String {
    if let known = names[value] { return known }
    guard let constant = graph.values[value].constant else { throw ExportError("nothing gives value \(value)") }
    let made = try name(of: constant)
    names[value] = made
    return made
  }

  /// A weight, a part of one seen in another way, or a constant of its own.
  private mutating func name(of constant: Tensor) throws -> String {
    if let weight = state.first(where: { $0.tensor.identity == constant.identity }) {
      return "self.weight(\(PythonText.quoted(weight.name)))"
    }
    for weight in state {
      guard let offset = try constant.offset(in: weight.tensor) else { continue }
      return
        "self.weight(\(PythonText.quoted(weight.name))).as_strided(\(constant.shape), \(constant.strides), \(offset))"
    }
    let name = "constant.\(constants.count)"
    constants.append(NamedTensor(name: name, tensor: try constant.detached().contiguous()))
    return "self.weight(\(PythonText.quoted(name)))"
  }

  private mutating func text(of name: String, in call: RecordedGraph.Call) throws -> String {
    func list(_ elements: [String]) -> String {
      call.lists.contains(name) || elements.count != 1 ? "[\(elements.joined(separator: ", "))]" : elements[0]
    }
    switch call.arguments[name] {
    case nil, .some(.none): return "None"
    case .values(let values):
      var elements: [String] = []
      for value in values { elements.append(try value.map { try self.name($0) } ?? "None") }
      return list(elements)
    case .counts(let counts):
      if name == "dtype", let number = counts.first?.fixed, let dtype = DType(rawValue: Int32(number)) {
        return "torch.\(dtype)"
      }
      return list(
        counts.map { count in
          switch count {
          case .fixed(let number): "\(number)"
          case .perExample(let factor): factor == 1 ? "n" : "\(factor) * n"
          }
        })
    case .numbers(let numbers): return list(numbers.map(PythonText.number))
    case .flags(let flags): return list(flags.map { $0 ? "True" : "False" })
    // Of what is no number only devices are given, and those are where the input is.
    case .text(let text): return name == "device" ? "device" : PythonText.quoted(text)
    }
  }
}

/// Values as Python spells them.
enum PythonText {
  static func quoted(_ text: String) -> String {
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\\": "\\\\"
      case "\"": "\\\""
      case "\n": "\\n"
      default: scalar.value < 0x20 || scalar.value == 0x7F ? String(format: "\\x%02x", scalar.value) : String(scalar)
      }
    }
    return "\"\(escaped.joined())\""
  }

  /// A line that can stand in a description.
  static func plain(_ text: String) -> String {
    text.replacing("\\", with: "/").replacing("\"", with: "'").split(whereSeparator: \.isNewline).joined(separator: " ")
  }

  static func number(_ value: Double) -> String {
    value.isFinite ? "\(value)" : "float(\"\(value.isNaN ? "nan" : value < 0 ? "-inf" : "inf")\")"
  }

  static func list(_ elements: [String]) -> String { "[\(elements.joined(separator: ", "))]" }
}
