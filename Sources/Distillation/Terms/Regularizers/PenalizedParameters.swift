import DistillData
import Torch
import TorchNN

/// The parameters of the student that a penalty acts on: found once, when the training is prepared.
struct PenalizedParameters {
  let term: String
  /// Modules whose parameters they are; all if empty.
  let modules: [Tap]
  private var found: [Tensor]?

  init(of modules: [Tap], term: String) {
    self.term = term
    self.modules = modules
  }

  /// Finds them: the weights, which have at least two dimensions, in the modules that are named. Biases and the parameters
  /// of normalization stay free.
  ///
  /// - Throws: `DistillationError` when a module has no weights, or the student has none.
  mutating func prepare(_ first: TermInput) throws {
    let weights = first.parameters.filter { $0.tensor.rank >= 2 }
    for module in modules where !weights.contains(where: { Self.isInside($0.name, module.path) }) {
      let owners = weights.map { $0.name.split(separator: ".").dropLast().joined(separator: ".") }
      let near = closest(to: module.path, in: owners)
      let hint = near.isEmpty ? "" : ". Near it: \(near.joined(separator: ", "))"
      throw DistillationError("\(term): the student has no weights in a module '\(module.path)'\(hint)")
    }
    let chosen = weights.filter { named in
      modules.isEmpty || modules.contains { Self.isInside(named.name, $0.path) }
    }
    guard !chosen.isEmpty else { throw DistillationError("\(term): the student has no weights") }
    found = chosen.map(\.tensor)
  }

  /// count · Σ over the parameters of `penalty`, in float32. The objective divides by the count, so that the penalty does
  /// not depend on the size of the batch.
  func sum(count: Int, _ penalty: (Tensor) throws -> Tensor) throws -> Tensor {
    guard let found else { throw DistillationError("the term \(term) must be prepared with the student first") }
    return try found.map { try penalty($0.to(.float32)) }.total() * Double(count)
  }

  private static func isInside(_ name: String, _ path: String) -> Bool {
    path.isEmpty || name == path || name.hasPrefix(path + ".")
  }
}

extension TermOption {
  /// The modules that a penalty acts on; it may be left out.
  static var penalizedModules: TermOption {
    TermOption(
      name: "modules", form: .taps, default: nil, isRequired: false,
      meaning: "modules of the student whose weights count; all if left out")
  }
}

extension TermOptions {
  /// None where it was left out.
  var penalizedModules: [Tap] { if case .taps(let taps) = values["modules"] { taps } else { [] } }
}
