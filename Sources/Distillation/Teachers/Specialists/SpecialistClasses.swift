import DistillData
import Foundation
import Torch
import TorchNN

/// What a specialist tells apart: some classes, and all others together as the dustbin, its last output.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, sections 5.1 and 5.3.
public struct SpecialistClasses: Sendable, Hashable {
  /// Its special classes; output k is class `subset.classes[k]`.
  public let subset: ClassSubset

  /// - Throws: `DistillationError` when a class does not exist or stands there twice, or when no class is left for the
  ///   dustbin.
  public init(_ classes: [Int], of classCount: Int) throws {
    subset = try ClassSubset(classes, of: classCount)
    guard classes.count < classCount else {
      throw DistillationError("a specialist in all \(classCount) classes is none: leave some for the dustbin")
    }
  }

  /// The number of its outputs: one for each special class, and the dustbin.
  public var outputCount: Int { subset.classes.count + 1 }

  /// The output for the dustbin.
  public var dustbin: Int { subset.classes.count }

  /// The classes in the dustbin, in rising order.
  public var others: [Int] {
    let own = Set(subset.classes)
    return (0..<subset.classCount).filter { !own.contains($0) }
  }

  /// The output that a class is to have: its place among the special classes, or the dustbin; −1 stays.
  public func output(of label: Int) -> Int {
    label < 0 ? -1 : subset.classes.firstIndex(of: label) ?? dustbin
  }

  /// Examples for training a specialist: all those of its classes, and others drawn at random, so that the first are
  /// `share` of all; where there are not enough others, all of them.
  ///
  /// - Parameter labels: the class of each example of the data, −1 where it has none: such an example is not used
  /// - Returns: numbers of examples, in rising order
  /// - Throws: `DistillationError` when no example is of its classes, or none is of others, or the share is not between
  ///   0 and 1.
  public func trainingExamples(labels: [Int], share: Double = 0.5, seed: UInt64 = 0) throws -> [Int] {
    try Self.requireShare(share)
    let special = labels.indices.filter { (0..<dustbin).contains(output(of: labels[$0])) }
    let others = labels.indices.filter { output(of: labels[$0]) == dustbin }
    guard !special.isEmpty, !others.isEmpty else {
      throw DistillationError("a specialist needs examples of its classes \(subset.classes), and of others")
    }
    var random = RandomSource(seed: seed, "specialist examples")
    let wanted = Int((Double(special.count) * (1 - share) / share).rounded())
    return (special + others.shuffled(using: &random).prefix(max(1, wanted))).sorted()
  }

  /// What to add to the dustbin's logit of a specialist that saw its classes too often:
  ///
  ///     log ( s / π · (1 − π) / (1 − s) )
  ///
  /// where s is the share of the special classes among the examples that it was trained on, and π their share among all. By
  /// Bayes' rule this is what turns probabilities under the first into those under the second: the special classes were
  /// shown s / π times as often as they come, and the others (1 − s) / (1 − π) times. At s = π it is 0.
  ///
  /// - Throws: `DistillationError` unless both shares are above 0 and below 1.
  public static func dustbinCorrection(trainedShare: Double, share: Double) throws -> Double {
    try requireShare(trainedShare)
    try requireShare(share)
    return Foundation.log(trainedShare / share) + Foundation.log((1 - share) / (1 - trainedShare))
  }

  private static func requireShare(_ share: Double) throws {
    guard share > 0, share < 1 else {
      throw DistillationError("the special classes' share of the examples must be above 0 and below 1, not \(share)")
    }
  }

  /// The last layer of a specialist that starts from a generalist: for its classes the generalist's rows; for the dustbin
  /// the mean of the others' rows, with log of their number added to the bias. Where the other classes have equal logits
  /// it says just what the generalist says, and elsewhere it finds the dustbin less likely than that.
  ///
  /// - Parameters:
  ///   - weight: `[C, D]`
  ///   - bias: `[C]`
  /// - Returns: weight `[K + 1, D]` and bias `[K + 1]`
  public func firstHead(weight: Tensor, bias: Tensor) throws -> (weight: Tensor, bias: Tensor) {
    let shapes = [weight.shape, bias.shape]
    guard shapes[0].count == 2, shapes[0][0] == subset.classCount, shapes[1] == [subset.classCount] else {
      throw DistillationError(
        "the generalist's last layer must be [\(subset.classCount), D] and [\(subset.classCount)], not \(shapes[0]) "
          + "and \(shapes[1])")
    }
    return try withoutGradient {
      let own = try Tensor(subset.classes).to(weight.device)
      let rest = try Tensor(others).to(weight.device)
      let weights = [try weight.gathered(own), try weight.gathered(rest).mean(along: 0, keepDimensions: true)]
      let biases = [
        try bias.gathered(own),
        try bias.gathered(rest).mean(along: 0, keepDimensions: true) + Foundation.log(Double(others.count)),
      ]
      return (try Tensor.concatenated(weights), try Tensor.concatenated(biases))
    }
  }
}

/// A data set as a specialist sees it: the same examples, with its outputs as classes.
public final class SpecialistDataset: Dataset {
  private let base: any Dataset
  private let classes: SpecialistClasses

  /// - Throws: `DistillationError` when the data has another number of classes.
  public init(_ base: any Dataset, _ classes: SpecialistClasses) throws {
    guard base.classCount == classes.subset.classCount else {
      throw DistillationError(
        "\(base.name) has \(base.classCount) classes, and the specialist is for data with \(classes.subset.classCount)")
    }
    self.base = base
    self.classes = classes
  }

  public var name: String { "\(base.name) for a specialist" }
  public var count: Int { base.count }
  public var exampleShape: [Int] { base.exampleShape }
  public var classNames: [String] { classes.subset.classes.map { base.classNames[$0] } + ["other"] }
  public var notices: [String] { base.notices }
  public var isImage: Bool { base.isImage }

  public func textLength(at index: Int) -> Int? { base.textLength(at: index) }

  public func label(at index: Int) -> Int { classes.output(of: base.label(at: index)) }

  public func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    try base.read(index, into: destination)
  }

  public var contentHash: String {
    get throws {
      let digest = try SHA256()
      try digest.update(Array("\(try base.contentHash) as \(classes.subset.classes)".utf8))
      return try digest.hex()
    }
  }
}
