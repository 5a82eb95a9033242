import DistillExport
import DistillRecipes
import Foundation

/// What `distill export` wrote, and what another program makes of it.
struct ExportResult: Encodable {
  struct File: Encodable {
    var path: String
    var bytes: Int
  }

  /// Of a quantized file.
  struct Quantization: Encodable {
    var weights: QuantizedNumbers
    var quantized: QuantizationSummary
    /// What it was calibrated with.
    var calibration: String
    var calibrationExamples: Int
    var calibrationMethod: Calibration.Method
    /// Whether weights have seven bits.
    var reducedRange: Bool
    /// Of the numbers in the file, and of those of the same model in float32.
    var bytes: Int
    var bytesInFloat: Int
    /// What it was looked at on.
    var verifiedOn: String?
    var verification: QuantizationCheck?
    var notices: [String] = []
  }

  var model: String
  var format: ExportCommand.Format
  var files: [File]
  var weights = 0
  var operatorSet: Int?
  var specificationVersion: Int?
  var input: String?
  var output: String?
  var foldedNormalizations: Int?
  var operators: [String: Int]?
  var verification: RuntimeCheck?
  var quantization: Quantization?
  /// Why there is no verification.
  var unverified: String?
  /// What speaks against what was written.
  var failure: String?

  init(_ model: String, _ format: ExportCommand.Format, _ paths: [String]) {
    self.model = model
    self.format = format
    files = paths.map { path in
      let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
      return File(path: path, bytes: size ?? 0)
    }
  }

  enum Check {
    /// What has to give the same numbers.
    case same(RuntimeCheck)
    case quantized(QuantizationCheck)
  }

  enum Verification {
    case done(Check)
    case none(String)
    case failed(String)
  }

  mutating func take(_ verification: Verification, of file: String) {
    switch verification {
    case .done(.same(let check)):
      self.verification = check
      if !check.isSame {
        failure =
          "\(file) gives other numbers in \(check.runtime) than the model here: they differ by up to "
          + Quantity.plain(check.batches.map(\.difference).max() ?? 0)
      }
    case .done(.quantized(let check)):
      quantization?.verification = check
      if !check.isSound {
        let least = Quantity.percent(QuantizationCheck.leastAgreement, decimals: 0)
        let found =
          check.agreement.map { "gives the answer of the model in float32 for \(Quantity.percent($0)) of the examples" }
          ?? "gives outputs whose cosine with those of the model in float32 is \(Quantity.percent(check.similarity))"
        failure =
          "\(file) \(found), and below \(least) a quantized model is taken for broken: calibrate with more examples of the "
          + "data it is for, or with --calibration-method \(otherMethod); some models cannot be quantized so"
      }
    case .none(let reason): unverified = reason
    case .failed(let reason): failure = "\(file): \(reason)"
    }
  }

  private var otherMethod: String {
    (Calibration.Method.allCases.first { $0 != quantization?.calibrationMethod } ?? .minMax).rawValue
  }

  // MARK: For people

  func show(on terminal: Terminal) {
    var table = TextTable([.init(format.rawValue), .init(Terminal.plain(model))])
    for file in files { table.add(["file", "\(Terminal.plain(file.path)), \(Quantity.bytes(file.bytes))"]) }
    if let input { table.add(["takes", Terminal.plain(input)]) }
    if let output { table.add(["gives", Terminal.plain(output)]) }
    table.add(["weights", Quantity.integer(weights)])
    if let operatorSet { table.add(["operator set", "\(operatorSet)"]) }
    if let specificationVersion {
      table.add(["version", "\(specificationVersion): iOS 15, macOS 12, tvOS 15, watchOS 8 and later"])
    }
    if let foldedNormalizations, foldedNormalizations > 0 {
      table.add(["normalizations folded", Quantity.integer(foldedNormalizations)])
    }
    if let verification { add(verification, to: &table) }
    if let quantization { add(quantization, to: &table) }
    terminal.write(table.text(for: terminal))
    if format == .coreML, verification != nil {
      terminal.sentences(
        "coremltools read the package and computed its program in Python. Core ML itself, and how fast it is, is known on "
          + "Apple's systems alone.")
    }
    if let unverified { showRemedy(unverified, terminal) }
  }

  private func add(_ check: RuntimeCheck, to table: inout TextTable) {
    table.add([format == .coreML ? "computed by" : "run in", Terminal.plain(check.runtime)])
    if let checker = check.checker { table.add(["found right by", Terminal.plain(checker)]) }
    for batch in check.batches {
      let there = batch.secondsThere.map { "\(Quantity.seconds($0)) there, " } ?? ""
      table.add([
        "batch of \(batch.examples)",
        "differs by \(Quantity.plain(batch.difference)); \(there)\(Quantity.seconds(batch.secondsHere)) here",
      ])
    }
  }

  private func add(_ own: Quantization, to table: inout TextTable) {
    func number(_ count: Int, _ one: String, _ many: String) -> String {
      "\(Quantity.integer(count)) \(count == 1 ? one : many)"
    }
    var parts = [number(own.quantized.products, "product", "products")]
    if own.quantized.embeddings > 0 { parts.append(number(own.quantized.embeddings, "table", "tables")) }
    parts.append(number(own.quantized.activations, "activation", "activations"))
    table.add([
      "in \(own.weights.rawValue)\(own.reducedRange ? ", reduced range" : "")",
      "\(parts.joined(separator: ", ")); \(Quantity.integer(own.quantized.weights)) weights",
    ])
    table.add([
      "calibrated with",
      "\(Quantity.integer(own.calibrationExamples)) \(own.calibrationExamples == 1 ? "example" : "examples") of \(Terminal.plain(own.calibration)), \(own.calibrationMethod.rawValue)",
    ])
    table.add(["numbers", "\(Quantity.bytes(own.bytes)), in float32 \(Quantity.bytes(own.bytesInFloat))"])
    guard let check = own.verification else { return }
    table.add(["run in", Terminal.plain(check.runtime)])
    if let checker = check.checker { table.add(["found right by", Terminal.plain(checker)]) }
    table.add([
      "compared on",
      "\(Quantity.integer(check.examples)) \(check.examples == 1 ? "example" : "examples") of \(Terminal.plain(own.verifiedOn ?? ""))",
    ])
    if let agreement = check.agreement {
      table.add(["same answer as float32", Quantity.percent(agreement)])
    } else {
      table.add(["cosine with float32", Quantity.number(check.similarity, decimals: 4)])
    }
    if let accuracy = check.accuracy, let inFloat = check.accuracyInFloat {
      table.add(["accuracy", "\(Quantity.percent(accuracy)), in float32 \(Quantity.percent(inFloat))"])
    }
    table.add([
      "outputs differ",
      "by \(Quantity.plain(check.meanDifference)) in the mean, \(Quantity.plain(check.greatestDifference)) at most",
    ])
    for batch in check.batches {
      table.add([
        "batch of \(batch.examples)",
        "\(Quantity.seconds(batch.seconds)), in float32 \(Quantity.seconds(batch.secondsInFloat))",
      ])
    }
  }

  private func showRemedy(_ reason: String, _ terminal: Terminal) {
    let (runtime, packages) =
      switch format {
      case .onnx: ("ONNX Runtime", "onnx onnxruntime")
      case .coreML: ("coremltools", "coremltools")
      case .huggingFace: ("PyTorch", "torch")
      }
    terminal.sentences(
      "It was not verified: \(Terminal.plain(reason)). To run it in \(runtime): "
        + "python3 -m venv check && check/bin/pip install \(packages), then this command with "
        + "--force --python check/bin/python")
  }
}
