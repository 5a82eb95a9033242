import ArgumentParser
import DistillExport
import DistillRecipes

/// What the weights of a quantized file are.
enum QuantizedNumbers: String, CaseIterable, Encodable, ExpressibleByArgument {
  case int8
}

/// Whether an exported file computes in integers, and by which examples.
struct QuantizationOptions: ParsableArguments {
  @Option(help: "Of onnx: compute in integers of eight bits (int8), in a file a quarter as large.")
  var quantize: QuantizedNumbers?

  @Option(
    help: ArgumentHelp(
      "Of --quantize: whose examples show how large activations get: a data set, a recipe, a run folder, a folder of pictures "
        + "or a file of texts; without it the data of the run the model is from. Never its test split.",
      valueName: "source"),
    completion: .file())
  var calibrate: String?

  @Option(help: "Of --calibrate: the folder of the data, for idx, csv, folder and others.", completion: .directory)
  var path: String?

  @Option(help: "Of --calibrate: the column of a table that holds the class.")
  var labelColumn: String?

  @Option(parsing: .unconditional, help: "Of --quantize: how many examples; without it 256.")
  var calibrationExamples: Int?

  @Option(
    help:
      "Of --quantize: ranges of activations from the least to the greatest (min-max), or of the least squared error (mse)."
  )
  var calibrationMethod: Calibration.Method?

  @Flag(help: "Of --quantize: weights of seven bits, for x86 processors without VNNI.")
  var reduceRange = false

  /// How many examples show enough, where nobody says it.
  static let usualExamples = 256

  /// The names of the options that were given.
  var given: [String] {
    [
      ("--quantize", quantize != nil), ("--calibrate", calibrate != nil), ("--path", path != nil),
      ("--label-column", labelColumn != nil), ("--calibration-examples", calibrationExamples != nil),
      ("--calibration-method", calibrationMethod != nil), ("--reduce-range", reduceRange),
    ].filter(\.1).map(\.0)
  }

  /// - Throws: `RunError` when examples are named for nothing.
  func check() throws {
    guard quantize == nil, let lost = given.first else { return }
    throw RunError("\(lost) is a part of --quantize: give --quantize int8, too")
  }

  func data(for source: ExportSource) throws -> CalibrationData {
    try source.calibrationData(
      .init(name: calibrate, path: path, labelColumn: labelColumn), count: calibrationExamples ?? Self.usualExamples)
  }
}

extension Calibration.Method: ExpressibleByArgument {}
