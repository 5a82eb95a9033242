/// What is done to examples before a teacher sees them. Together with the data's `contentHash`, an example's number and a
/// view, it says what a teacher saw: loaders with equal ones show the same pixels.
public struct InputIdentity: Codable, Equatable, Sendable, CustomStringConvertible {
  /// The steps of the augmentation with all their numbers, and the version of their code; `none` without one.
  public var augmentation: String
  /// Whether the teacher sees another draw of the augmentation than the student.
  public var isDrawnForTeacher: Bool
  /// The seed of the augmented views; nil where nothing is augmented.
  public var seed: UInt64?
  public var normalization: Normalization?
  /// The SHA-256 of the examples among which the partners of mixed ones are chosen; nil where none are mixed.
  public var partners: String?

  public init(
    augmentation: String = "none", isDrawnForTeacher: Bool = false, seed: UInt64? = nil,
    normalization: Normalization? = nil, partners: String? = nil
  ) {
    self.augmentation = augmentation
    self.isDrawnForTeacher = isDrawnForTeacher
    self.seed = seed
    self.normalization = normalization
    self.partners = partners
  }

  private enum CodingKeys: String, CodingKey {
    case augmentation
    case isDrawnForTeacher = "drawn_for_teacher"
    case seed, normalization, partners
  }

  /// All of it in one line.
  public var description: String {
    var text = augmentation
    if isDrawnForTeacher { text += ", drawn anew for the teacher" }
    if let seed { text += "; seed \(seed)" }
    if let normalization { text += "; \(Self.words(normalization))" }
    if let partners { text += "; partners \(partners)" }
    return text
  }

  /// A sentence for each thing in which these inputs are not those of `other`; none where they are the same.
  public func differences(from other: InputIdentity) -> [String] {
    var sentences: [String] = []
    if augmentation != other.augmentation {
      sentences.append("the augmentation is '\(augmentation)', not '\(other.augmentation)'")
    }
    if isDrawnForTeacher != other.isDrawnForTeacher {
      sentences.append(
        isDrawnForTeacher
          ? "the teacher sees another draw of the augmentation, not the student's"
          : "the teacher sees the student's draw of the augmentation, not another one")
    }
    if seed != other.seed, augmentation == other.augmentation {
      sentences.append("the seed of the augmentation is \(Self.words(seed)), not \(Self.words(other.seed))")
    }
    if normalization != other.normalization {
      let (own, others) = (normalization.map(Self.words), other.normalization.map(Self.words))
      sentences.append("the normalization is \(own ?? "none"), not \(others ?? "none")")
    }
    if partners != other.partners {
      sentences.append("examples are mixed with partners from another set of examples")
    }
    return sentences
  }

  private static func words(_ seed: UInt64?) -> String { seed.map { "\($0)" } ?? "none" }

  private static func words(_ normalization: Normalization) -> String {
    "mean \(normalization.mean), standard deviation \(normalization.standardDeviation)"
  }
}
