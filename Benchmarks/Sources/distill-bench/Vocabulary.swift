import Torch
import TorchNN

/// Soft targets over a large vocabulary: linear layer of student and teacher, loss, forward and backward, of features that
/// are given; what `peers/vocabulary.py` does, on numbers of the same distribution.
enum Vocabulary {
  struct Result: Encodable {
    var program = "distill-vocabulary"
    /// The median of the repeats, after one that does not count.
    var seconds: Double
    var peakBytes: Int
    var loss: Double
    var threads: Int
    var versions: [String: String]
  }

  private static let temperature = 4.0
  private static let repeats = 3

  static func measure(_ options: Options) throws -> Result {
    try TorchRuntime.setThreadCount(options.threads)
    TorchRuntime.keepFreedMemory()
    let classes = try options.integer("classes", 32_000)
    let tokens = try options.integer("tokens", 4096)
    let hidden = try options.integer("hidden", 512)
    let precision = options.word("precision", "float32")
    guard ["float32", "bfloat16"].contains(precision) else { throw UsageError("--precision is float32 or bfloat16") }
    let type: DType = precision == "bfloat16" ? .bfloat16 : .float32
    let stream = try RandomStream(seed: 1, name: "vocabulary")
    // Logits of a standard deviation of about 1.
    func output() throws -> LinearOutput {
      try withRandomStream(stream) {
        LinearOutput(
          features: try Tensor.empty([tokens, hidden]).drawNormal(),
          weight: try Tensor.empty([classes, hidden]).drawNormal(standardDeviation: 1 / Double(hidden).squareRoot()))
      }
    }
    let student = try output()
    var teacher = try output()
    try student.features.requireGradient()
    try student.weight.requireGradient()
    teacher.features = try teacher.features.to(type)

    var loss = 0.0
    var seconds: [Double] = []
    let clock = ContinuousClock()
    for _ in 0...repeats {
      try student.features.setGradient(nil)
      try student.weight.setGradient(nil)
      seconds.append(
        Report.seconds(
          try clock.measure {
            var output = student
            output.features = try student.features.to(type)
            let value = try linearSoftTargetLoss(
              student: output, teacher: .layer(teacher), temperature: temperature, softWeight: 1 / Double(tokens))
            try value.total.backward()
            loss = try value.total.item()
          }))
    }
    return Result(
      seconds: Report.median(Array(seconds.dropFirst())), peakBytes: Report.peakBytes, loss: loss,
      threads: try TorchRuntime.threadCount, versions: ["libtorch": try TorchRuntime.version])
  }
}
