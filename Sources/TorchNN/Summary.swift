import Torch

/// A layer that can say how many multiplications (each with its addition) one call costs.
public protocol MultiplyAddCounting: Module {
  /// - Parameters:
  ///   - input: the shape of what came in, batch included
  ///   - output: the shape of what went out
  func multiplyAdds(input: [Int], output: [Int]) throws -> Int
}

/// What a model is made of, and what one input costs.
public struct ModelSummary: Sendable, Codable {
  public struct Row: Sendable, Codable {
    public var path: String
    public var kind: String
    public var outputShape: [Int]
    public var parameters: Int
    public var multiplyAdds: Int
  }

  /// The layers without layers inside, in the order in which they were called.
  public var rows: [Row]
  public var parameters: Int
  /// Bytes of parameters and buffers.
  public var bytes: Int
  /// For one input.
  public var multiplyAdds: Int
}

extension Layer {
  /// Runs the model once, in evaluation mode, on zeros of the shape of one input, such as `[1, 28, 28]`, and says what
  /// it is made of. Of a model whose inside cannot be looked at there are no layers and no costs, and its parameters are 0
  /// where their number is not to be had.
  public func summary(inputShape: [Int]) throws -> ModelSummary {
    if let opaque = self as? any OpaqueLayer {
      return ModelSummary(
        rows: [], parameters: opaque.ownParameterCount ?? 0, bytes: opaque.byteCount, multiplyAdds: 0)
    }
    let modules = namedModules
    let paths = Dictionary(modules.map { (ObjectIdentifier($0.module), $0.path) }) { first, _ in first }
    let recorder = SummaryRecorder(paths: paths)
    let device = parameters.first?.device ?? .cpu
    try withMode(training: false) {
      try withoutGradient {
        let input = try Tensor.zeros([1] + inputShape, device: device)
        _ = try Recorder.$current.withValue(recorder) { try self(input) }
      }
    }
    return ModelSummary(
      rows: recorder.rows, parameters: parameterCount,
      bytes: state.reduce(0) { $0 + $1.tensor.count * $1.tensor.dtype.byteCount },
      multiplyAdds: recorder.rows.reduce(0) { $0 + $1.multiplyAdds })
  }
}

private final class SummaryRecorder: Recorder, @unchecked Sendable {
  let paths: [ObjectIdentifier: String]
  var rows: [ModelSummary.Row] = []

  init(paths: [ObjectIdentifier: String]) { self.paths = paths }

  override func record(_ module: any Module, input: Tensor, output: Tensor) throws {
    let counting = module as? any MultiplyAddCounting
    guard counting != nil || module.namedModules.count == 1 else { return }
    let shape = Array(output.shape.dropFirst())
    rows.append(
      ModelSummary.Row(
        path: paths[ObjectIdentifier(module)] ?? "", kind: "\(type(of: module))", outputShape: shape,
        parameters: module.parameterCount,
        multiplyAdds: try counting?.multiplyAdds(input: input.shape, output: output.shape) ?? 0))
  }
}

extension ModelSummary: CustomStringConvertible {
  /// A table: a row for each layer, and below it the totals.
  public var description: String {
    var table = [["layer", "kind", "output", "parameters", "multiply-adds"]]
    table += rows.map { row in
      [
        row.path, row.kind, row.outputShape.map(String.init).joined(separator: " × "), grouped(row.parameters),
        grouped(row.multiplyAdds),
      ]
    }
    let total = ["total", "", "\(grouped(bytes)) bytes", grouped(parameters), grouped(multiplyAdds)]
    let widths = total.indices.map { column in (table + [total]).map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      let padded = zip(cells, widths).enumerated().map { column, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return column < 3 ? cell.0 + space : space + cell.0
      }
      return padded.joined(separator: "  ")
    }
    let rule = String(repeating: "─", count: widths.reduce(0, +) + 2 * (widths.count - 1))
    return ([line(table[0]), rule] + table.dropFirst().map(line) + [rule, line(total)]).joined(separator: "\n")
  }

  /// 1234567 → 1,234,567
  private func grouped(_ number: Int) -> String {
    var result = ""
    for (index, digit) in String(number).reversed().enumerated() {
      if index > 0 && index % 3 == 0 && digit != "-" { result.append(",") }
      result.append(digit)
    }
    return String(result.reversed())
  }
}
