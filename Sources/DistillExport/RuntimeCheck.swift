import Foundation
import Torch
import TorchNN

/// What another program makes of an exported model, beside what the model gives here.
public struct RuntimeCheck: Encodable, Sendable, Equatable {
  public struct Batch: Encodable, Sendable, Equatable {
    public var examples: Int
    /// The largest |difference| of an output.
    public var difference: Double
    /// The same, divided by the largest |number| that the model gives, where that is above 1.
    public var relativeDifference: Double
    /// Seconds for the batch: the median of several.
    public var secondsHere: Double
    /// Nil where what computed there is not what the model is made for.
    public var secondsThere: Double?
  }

  /// The program with its version, such as `ONNX Runtime 1.31.1`.
  public var runtime: String
  /// Who else found the file right, such as `onnx 1.23.2`; nil where it is not installed.
  public var checker: String?
  public var batches: [Batch]

  /// Differences up to this much, of the largest number or of 1, are those of sums in another order.
  public static let tolerance = 1e-5
  /// The same for a model that is computed in float16, which has a thousandth between its numbers.
  public static let halfTolerance = 0.02
  /// The same for a file that brings pictures to their size: a pixel that lies halfway between two levels of grey may be
  /// rounded to either.
  public static let resizingTolerance = 0.02

  /// The differences that are let pass.
  public var tolerance = Self.tolerance

  public var isSame: Bool { batches.allSatisfy { $0.relativeDifference <= tolerance } }
}

/// What was asked of the other program.
struct RuntimeQuestion: Encodable {
  struct Batch: Encodable {
    var inputs: String
    var outputs: String
    var shape: [Int]
    var type: String
  }

  var model: String
  var threads: Int
  /// The names of classes, where the file has them.
  var labels: [String]?
  var batches: [Batch]
}

/// What the program answers.
private struct RuntimeAnswer: Decodable {
  var runtime: String
  var checker: String?
  /// None where there is nothing to be learned from them.
  var seconds: [Double]?
  var shapes: [[Int]]
}

/// Why there was no comparison.
public enum Unverified: Error, Sendable, Equatable {
  /// The program is not installed, or there is no Python.
  case noRuntime(String)
  /// It refuses the file, or gives something else than an output of the model's shape.
  case refused(String)
}

extension RuntimeCheck {
  /// Runs a file in the other program, and the model here, on the same examples.
  ///
  /// - Parameters:
  ///   - program: in Python: reads a `RuntimeQuestion` from the file that is its argument, and prints an answer as JSON
  ///   - python: the interpreter
  ///   - examples: for each batch what the file takes, and what the model takes here
  ///   - labels: the names of classes that the file is to have
  /// - Throws: `Unverified`, and what the model throws.
  static func run(
    _ program: String, python: String, file: String, model: any Layer, examples: [(there: Tensor, here: Tensor)],
    labels: [String]? = nil
  ) throws -> RuntimeCheck {
    try withWorkFolder { folder in
      var question = RuntimeQuestion(
        model: URL(fileURLWithPath: file).path, threads: try TorchRuntime.threadCount, labels: labels,
        batches: [])
      for (number, example) in examples.enumerated() {
        let path = "\(folder)/\(number)"
        try AtomicFile.write(try example.there.withBytes { Data($0) }, to: "\(path).in")
        question.batches.append(
          .init(
            inputs: "\(path).in", outputs: "\(path).out", shape: example.there.shape, type: "\(example.there.dtype)"))
      }
      let said = try Self.answer(to: question, by: program, python: python, in: folder)
      let answer: RuntimeAnswer
      do { answer = try JSONDecoder().decode(RuntimeAnswer.self, from: said) } catch {
        throw Unverified.refused("its answer cannot be understood")
      }
      guard answer.seconds.map({ $0.count == examples.count }) ?? true, answer.shapes.count == examples.count else {
        throw Unverified.refused("its answer is not about all batches")
      }
      let batches = try zip(examples, question.batches).enumerated().map { number, pair in
        let (output, seconds) = try timed(model, pair.0.here)
        let expected = try output.floats()
        guard answer.shapes[number] == output.shape,
          let given = Self.numbers(in: pair.1.outputs), given.count == expected.count
        else { throw Unverified.refused("it gives \(answer.shapes[number]), not \(output.shape)") }
        // What is not finite is as far apart as can be.
        let difference = zip(given, expected).reduce(0.0) { most, numbers in
          let apart = abs(Double(numbers.0) - Double(numbers.1))
          return apart.isFinite ? max(most, apart) : .infinity
        }
        let largest = expected.reduce(1.0) { max($0, abs(Double($1))) }
        return Batch(
          examples: try pair.0.here.size(0), difference: difference, relativeDifference: difference / largest,
          secondsHere: seconds, secondsThere: answer.seconds?[number])
      }
      return RuntimeCheck(runtime: answer.runtime, checker: answer.checker, batches: batches)
    }
  }

  /// What a program prints that is asked by way of a file in a folder.
  ///
  /// - Throws: `Unverified` where there is no such Python, or it did not end well.
  static func answer(
    to question: some Encodable, by program: String, python: String, in folder: String
  ) throws -> Data {
    let file = "\(folder)/question.json"
    try AtomicFile.write(try JSONEncoder().encode(question), to: file)
    guard let outcome = try PythonProgram(interpreter: python).run(program, [file], in: folder) else {
      throw Unverified.noRuntime("there is no \(python)")
    }
    return try answer(of: outcome)
  }

  /// The float32 numbers that a program wrote to a file; nil where it wrote something else.
  static func numbers(in file: String) -> [Float]? {
    guard let data = FileManager.default.contents(atPath: file), data.count % 4 == 0 else { return nil }
    return data.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }

  /// What a program printed.
  ///
  /// - Throws: `Unverified` where it did not end well.
  private static func answer(of outcome: PythonProgram.Outcome) throws -> Data {
    guard outcome.status == 0 else {
      let last = outcome.errors.split(separator: "\n").last.map(String.init) ?? "it said nothing"
      if outcome.status == isMissing { throw Unverified.noRuntime(last) }
      throw Unverified.refused(last)
    }
    return outcome.output
  }

  /// The exit code by which a program says that what it needs is not installed.
  private static let isMissing: Int32 = 3

  /// What a model gives, and the median of its times.
  private static func timed(_ model: any Layer, _ input: Tensor) throws -> (output: Tensor, seconds: Double) {
    try model.withMode(training: false) {
      try withoutGradient {
        let clock = ContinuousClock()
        var output = try model(input)
        var times: [Double] = []
        let end = clock.now + .seconds(0.1)
        while times.count < 5 || (clock.now < end && times.count < 200) {
          times.append(
            try clock.measure {
              output = try model(input)
              try output.device.synchronize()
            } / .seconds(1))
        }
        return (output, times.sorted()[times.count / 2])
      }
    }
  }
}
