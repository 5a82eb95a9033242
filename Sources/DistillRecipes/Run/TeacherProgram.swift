import DistillData
import DistillModels
import DistillPrograms
import Synchronization
import Torch
import TorchNN

// Teachers that are models as a whole: files of TorchScript, of AOTInductor, and of ONNX.

extension Configuration.Program {
  /// - Throws: `ProgramError` when the file is not trusted, or cannot be loaded
  func open(_ path: String, on device: Device) throws -> ForeignProgram {
    try ForeignProgram(
      path, output: output, givesProbabilities: givesProbabilities, isTrusted: isTrusted, device: device)
  }

  /// What makes the same file another teacher; nil where it is used as it is.
  var meaning: String? {
    output == .automatic && !givesProbabilities ? nil : "output \(output), probabilities \(givesProbabilities)"
  }
}

extension Configuration.Member {
  /// What is said of weights alone does not fit a model as a whole.
  func requireProgram(_ format: ProgramFormat) throws {
    guard model == nil else {
      throw RunError("\(weights ?? "") is \(format.name), which needs no teacher.model: leave it out")
    }
  }

  /// What is said of a model as a whole does not fit weights. Where nothing says which model it is, the file itself has to be
  /// one of weights, or a damaged program would be taken for one.
  ///
  /// - Throws: `RunError`, `ProgramError`
  func requireNoProgram(_ source: ModelSource) throws {
    let key = program.given.first
    if key != nil || (model == nil && source.specification == nil),
      let problem = ProgramFormat.problem(of: source.weights)
    {
      throw ProgramError(path: source.weights, problem: problem)
    }
    guard let key else { return }
    throw RunError(
      "'\(key)' is for a teacher that is a model as a whole (TorchScript, a package of AOTInductor, ONNX), and "
        + "\(weights ?? "this one") holds weights: leave it out")
  }
}

extension TeacherMember {
  /// The programs that have been tried on the data, by all that counts.
  private static let tried = Mutex<Set<String>>([])

  /// Whether the program gives a row of logits for each example, one for each class.
  ///
  /// - Throws: `RunError`, `ProgramError` that say what it gives instead.
  func requireLogits(_ materials: Materials) throws {
    guard let program else { return }
    let key =
      "\(try hash()) \(program.isTrusted) \(specification.classCount) \(try materials.train.contentHash) "
      + "\(String(describing: materials.normalization))"
    guard !Self.tried.withLock({ $0.contains(key) }) else { return }
    let model = try program.open(weights, on: .cpu)
    let batch = try materials.firstBatch(8)
    let output = try withoutGradient { try model(batch.inputs) }
    let expected =
      (batch.predictsTokens ? Array(batch.inputs.shape.prefix(2)) : [batch.count]) + [specification.classCount]
    guard output.shape == expected else {
      let (own, wanted) = (output.shape.last ?? 0, specification.classCount)
      throw RunError(
        output.shape.dropLast() == expected.dropLast()
          ? "the teacher in \(weights) knows \(own) classes, but the data has \(wanted): where it knows others too, "
            + "give the class of each of its outputs: classes: [...]"
          : "the teacher in \(weights) gives a tensor of the shape \(output.shape) for \(batch.count) examples, and "
            + "not \(expected): say with 'output' which of its outputs are the logits")
    }
    guard try output.isFinite().all() else {
      throw RunError("the teacher in \(weights) gives numbers that are not finite for the first examples of the data")
    }
    guard try program.givesProbabilities || !output.holdsProbabilities() else {
      throw RunError(
        "the teacher in \(weights) gives probabilities, which as logits would be softened twice: name the output "
          + "before the softmax (output: ...), or say 'probabilities: true', and their logarithms are taken")
    }
    Self.tried.withLock { _ = $0.insert(key) }
  }
}

extension Tensor {
  /// Whether no number is negative and all rows sum to 1.
  fileprivate func holdsProbabilities() throws -> Bool {
    let (numbers, classes) = (try floats(), shape.last ?? 0)
    guard classes > 0, numbers.allSatisfy({ $0 >= 0 }) else { return false }
    return stride(from: 0, to: numbers.count, by: classes).allSatisfy { row in
      abs(numbers[row..<row + classes].reduce(0, +) - 1) < 1e-3
    }
  }
}

extension Materials {
  /// Some training examples as they are, without augmentation.
  fileprivate func firstBatch(_ count: Int) throws -> Batch {
    let examples = Array(split.train.prefix(count))
    var options = DataLoader.Options(batchSize: max(1, examples.count))
    options.normalization = normalization
    return try DataLoader(dataset: train, examples: examples, options: options).batch(ids: examples)
  }
}
