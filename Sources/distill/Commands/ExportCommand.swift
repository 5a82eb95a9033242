import ArgumentParser
import DistillData
import DistillExport
import DistillModels
import DistillRecipes
import DistillRuntime
import Foundation
import Torch
import TorchNN

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a model in a form that other programs run: ONNX, Core ML, or a folder for Python.",
    discussion: """
      A model is named by its folder, or by a run folder, which stands for its student. An ONNX file takes batches of any \
      size and gives the logits. What was written is run by the other program, where a Python has it, and compared with \
      what the model gives here.

        distill export runs/digits -o student.onnx
        distill export Models/mine -o mine.onnx --with-preprocessing
        distill export Models/mine -o mine.onnx --with-preprocessing --resize --layout nchw
        distill export runs/digits -o student.onnx --python ~/onnx/bin/python --json
        distill export runs/digits -o small.onnx --quantize int8
        distill export Models/mine -o mine.onnx --quantize int8 --calibrate folder --path photos
        distill export runs/digits --format core-ml -o Student.mlpackage
        distill export runs/digits --format hugging-face -o student

      With --quantize int8 weights and activations are integers of eight bits, which processors compute faster, and the file is \
      a quarter as large. Examples show how large activations get: those of the run's training split, or of --calibrate. \
      ONNX Runtime then computes both files, and says how often they agree on examples that were held out.

      With --with-preprocessing the file takes pictures as bytes, 0 to 255, and does itself what is done to them in \
      training; with --resize pictures of any size. A package of core-ml takes a picture and gives its class with a \
      probability for each, where the model is for that; with --arrays the numbers that the model takes and gives. The \
      folder of hugging-face has weights, configuration, model card and a Python module, model.py, that needs PyTorch alone.
      """)

  enum Format: String, CaseIterable, Encodable, ExpressibleByArgument {
    case onnx
    case coreML = "core-ml"
    case huggingFace = "hugging-face"
  }

  @Argument(help: "A model folder, or a run folder.", completion: .directory)
  var model: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The file or folder to write, such as student.onnx or Student.mlpackage.",
    completion: .file())
  var place: String

  @Option(help: "What to write: onnx, core-ml or hugging-face.")
  var format = Format.onnx

  @Flag(help: "Replace what is there already.")
  var force = false

  @Flag(help: "Take pictures as bytes, or tables as they are, and normalize them in the file.")
  var withPreprocessing = false

  @Option(help: "Of --with-preprocessing: how the bytes of pictures lie: nhwc (as they are read) or nchw.")
  var layout: ONNXPreprocessing.Layout?

  @Flag(help: "Of --with-preprocessing: take pictures of any size.")
  var resize = false

  @Flag(help: "Of core-ml: take and give arrays of numbers in place of a picture and its class.")
  var arrays = false

  @Flag(help: "Of core-ml: weights and computation in float16, which the Neural Engine needs.")
  var half = false

  @Flag(
    inversion: .prefixedNo,
    help: "Compute batch normalization in the layer before it; without it where that gives the same to 1e-5.")
  var fold: Bool?

  @Option(help: "What the input is called; without it input, or image or tokens.")
  var inputName: String?

  @Option(help: "What the output is called; without it logits.")
  var outputName: String?

  @Flag(help: "Keep the weights in a file beside it; without it where they are over a gigabyte.")
  var externalWeights = false

  @Flag(inversion: .prefixedNo, help: "Let the other program run what was written, and compare.")
  var verify = true

  @Option(
    help: "A Python with onnxruntime and, if possible, onnx; for core-ml with coremltools, for hugging-face with torch."
  )
  var python = "python3"

  @OptionGroup var quantization: QuantizationOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try checkOptions()
    let progress = output.progress()
    defer { output.endProgress() }
    progress(.stage("reading the model"))
    let result: ExportResult
    func source() throws -> ExportSource {
      let source = try ExportSource(model)
      try source.checkItStays(writing: place)
      return source
    }
    switch format {
    case .onnx:
      for path in externalWeights ? [place, "\(place).data"] : [place] {
        try NewFile.check(path, force: force, example: "student.onnx")
      }
      result = try writeONNX(source(), progress)
    case .coreML:
      try checkPackage()
      result = try writePackage(source(), progress)
    case .huggingFace:
      try HuggingFaceFolder(place).check(force: force)
      result = try writeFolder(source(), progress)
    }
    output.endProgress()
    for notice in result.quantization?.notices ?? [] { output.note(notice) }
    if output.json { try output.printJSON(result) } else { result.show(on: output.results) }
    if let failure = result.failure { throw RunError(failure, kind: .failure) }
  }

  private func checkOptions() throws {
    if python.contains("/"), !FileManager.default.isExecutableFile(atPath: (python as NSString).expandingTildeInPath) {
      throw RunError("--python \(python): there is no such program")
    }
    let options: [(name: String, isGiven: Bool, formats: [Format])] =
      [
        ("--with-preprocessing", withPreprocessing, [.onnx]), ("--layout", layout != nil, [.onnx]),
        ("--resize", resize, [.onnx]), ("--external-weights", externalWeights, [.onnx]),
        ("--fold and --no-fold", fold != nil, [.onnx, .coreML]), ("--input-name", inputName != nil, [.onnx, .coreML]),
        ("--output-name", outputName != nil, [.onnx, .coreML]), ("--arrays", arrays, [.coreML]),
        ("--half", half, [.coreML]),
      ] + quantization.given.map { ($0, true, [.onnx]) }
    if let lost = options.first(where: { $0.isGiven && !$0.formats.contains(format) }) {
      let known = lost.formats.map(\.rawValue).joined(separator: " and ")
      throw RunError("\(lost.name) is for --format \(known), and not for \(format.rawValue)")
    }
    if !withPreprocessing, let lost = layout != nil ? "--layout" : resize ? "--resize" : nil {
      throw RunError("\(lost) is a part of --with-preprocessing: give that, too")
    }
    try quantization.check()
  }

  // MARK: ONNX

  private func writeONNX(_ source: ExportSource, _ progress: RunObserver) throws -> ExportResult {
    if resize, !source.isForPictures {
      throw RunError(
        "\(source.path) takes inputs of shape \(source.description.model.inputShape), which are no pictures")
    }
    if resize, source.description.pictureFit != nil {
      throw RunError(
        "--resize brings pictures to their size by areas, and \(source.path) knows them prepared in another way: leave it "
          + "out, and prepare them as its config.json says")
    }
    let examples = try source.examples()
    let options = try options(for: source)
    let float = try ONNXModel(of: source.model, like: examples, options: options)
    let data = try quantization.quantize.map { _ in
      progress(.stage("reading the examples of the calibration"))
      return try quantization.data(for: source)
    }
    let method = quantization.calibrationMethod ?? .minMax
    let made =
      try data.map { data in
        progress(.stage("calibrating"))
        return try ONNXModel(
          of: source.model, like: examples, options: options,
          calibration: Calibration(
            examples: data.examples, method: method, reducesRange: quantization.reduceRange))
      } ?? float
    let paths = made.files(at: place)
    for path in paths { try NewFile.check(path, force: force) }
    progress(.stage("writing \(place)"))
    try made.write(to: place)
    progress(.stage("running it in ONNX Runtime"))
    var result = ExportResult(source.path, format, paths)
    result.operatorSet = ONNXModel.operatorSet
    (result.input, result.output) = (made.inputSentence, made.outputSentence)
    result.weights = made.weightCount
    result.foldedNormalizations = made.foldedNormalizations
    result.operators = made.operators
    if let numbers = quantization.quantize, let data, let summary = made.quantization {
      result.quantization = ExportResult.Quantization(
        weights: numbers, quantized: summary, calibration: data.source,
        calibrationExamples: try data.examples.size(0), calibrationMethod: method,
        reducedRange: quantization.reduceRange, bytes: made.weightBytes,
        bytesInFloat: float.weightBytes, verifiedOn: data.verificationSource, notices: data.notices)
    }
    result.take(
      verification("ONNX Runtime") {
        guard let data else {
          return try .same(made.check(at: place, against: source.model, examples: examples, python: python))
        }
        return try .quantized(
          made.compare(
            at: place, withFloat: float, examples: data.verification, labels: data.labels,
            tellsClasses: source.givesLogits, python: python))
      }, of: place)
    return result
  }

  private func options(for source: ExportSource) throws -> ONNXModel.Options {
    var options = ONNXModel.Options()
    options.foldsNormalization = fold
    options.inputName = inputName
    if let outputName { options.outputName = outputName }
    options.name = source.description.model.architecture
    options.metadata = try source.facts()
    if withPreprocessing {
      options.preprocessing = ONNXPreprocessing(
        layout: layout ?? .nhwc, normalization: source.description.normalization, resizes: resize)
    }
    if externalWeights { options.externalWeightsFrom = 0 }
    return options
  }

  // MARK: Core ML

  private func checkPackage() throws {
    guard place.hasSuffix(".mlpackage") else {
      throw RunError("a package of Core ML is a folder whose name ends with .mlpackage, and \(place) does not")
    }
    guard FileManager.default.fileExists(atPath: place) else { return }
    guard CoreMLModel.isPackage(place) else {
      throw RunError("\(place) is there already and is no package of Core ML, so it is not replaced: name another one")
    }
    guard force else {
      throw RunError("\(place) is there already: name another package, or replace it with --force")
    }
  }

  private func writePackage(_ source: ExportSource, _ progress: RunObserver) throws -> ExportResult {
    let examples = try source.examples(2)
    var options = CoreMLModel.Options()
    options.foldsNormalization = fold
    options.isHalf = half
    options.inputName = inputName
    if let outputName { options.outputName = outputName }
    let shape = source.description.model.inputShape
    options.summary = "\(source.description.model.architecture), by distill"
    options.metadata = try source.facts()
    if !arrays {
      options.labels = source.classes
      if source.isForPictures, [1, 3].contains(shape[0]) {
        options.picture = .init(normalization: source.description.normalization)
      }
    }
    if options.labels != nil, outputName != nil {
      throw RunError("what gives a class calls it \(CoreMLModel.labelName): --output-name is for --arrays")
    }
    let made = try CoreMLModel(of: source.model, like: examples, options: options)
    progress(.stage("writing \(place)"))
    try made.write(to: place)
    progress(.stage("reading it with coremltools"))
    var result = ExportResult(source.path, format, CoreMLModel.files(at: place))
    result.specificationVersion = CoreMLModel.specificationVersion
    (result.input, result.output) = (made.inputSentence, made.outputSentence)
    result.weights = made.weightCount
    result.foldedNormalizations = made.foldedNormalizations
    result.operators = made.operators
    result.take(
      verification("coremltools") {
        try .same(made.check(at: place, against: source.model, examples: examples, python: python))
      }, of: place)
    return result
  }

  // MARK: A folder for Python

  private func writeFolder(_ source: ExportSource, _ progress: RunObserver) throws -> ExportResult {
    let examples = try source.examples()
    var facts = PythonModule.Facts()
    facts.title = "A model of the architecture \(source.description.model.architecture)."
    facts.labels = source.description.labels
    facts.mean = source.description.normalization?.mean ?? []
    facts.standardDeviation = source.description.normalization?.standardDeviation ?? []
    let made = try PythonModule(
      of: source.model, like: examples, facts: facts, keys: HuggingFaceFolder.keys(of: source))
    progress(.stage("writing \(place)"))
    let names = try HuggingFaceFolder(place).write(source, python: made.source, constants: made.constants)
    progress(.stage("running it in PyTorch"))
    var result = ExportResult(source.path, format, names.map { "\(place)/\($0)" })
    result.weights = source.model.state.reduce(0) { $0 + $1.tensor.count }
    result.take(
      verification("PyTorch") {
        try .same(PythonModule.check(in: place, against: source.model, examples: examples, python: python))
      }, of: "\(place)/model.py")
    return result
  }

  // MARK: Verification

  private func verification(
    _ runtime: String, _ check: () throws -> ExportResult.Check
  ) -> ExportResult.Verification {
    guard verify else { return .none("it was not asked for") }
    do {
      return .done(try check())
    } catch Unverified.noRuntime(let reason) {
      return .none(reason)
    } catch Unverified.refused(let reason) {
      return .failed("\(runtime) does not run it: \(reason)")
    } catch {
      return .failed("\(error)")
    }
  }
}

extension ONNXPreprocessing.Layout: ExpressibleByArgument {}
