import Torch

/// Which second example goes into a first one, and how much of it.
struct Mixture {
  enum Kind: Equatable {
    case blend
    /// Rows and columns that come from the second example.
    case rectangle(rows: Range<Int>, columns: Range<Int>)
  }

  /// The number of the second example.
  var partner: Int
  /// The share of the second example, from 0 to 1.
  var weight: Float
  var kind: Kind

  /// Draws the mixture for an example; each of the steps with equal chance.
  ///
  /// - Parameters:
  ///   - partners: the examples among which the second one is chosen
  ///   - shape: of one input
  static func drawn(
    from steps: [AugmentationStep], partners: [Int], shape: [Int], _ random: inout RandomSource
  ) -> Mixture {
    let partner = partners[random.below(partners.count)]
    switch steps[random.below(steps.count)] {
    case .cutmix(let alpha):
      let share = 1 - random.beta(alpha)
      let row = random.below(shape[1])
      let column = random.below(shape[2])
      return .rectangle(of: partner, share: share, row: row, column: column, height: shape[1], width: shape[2])
    case .mixup(let alpha): return Mixture(partner: partner, weight: Float(1 - random.beta(alpha)), kind: .blend)
    default: return Mixture(partner: partner, weight: 0, kind: .blend)
    }
  }

  /// Changes `first` into the mixture of both.
  ///
  /// - Parameters:
  ///   - shape: of one input
  ///   - channelsLast: whether images lie in memory as `[H, W, C]`
  func mix(
    _ first: UnsafeMutablePointer<Float>, _ second: UnsafePointer<Float>, shape: [Int], channelsLast: Bool
  ) {
    switch kind {
    case .blend: Self.blend(first, second, weight: weight, count: shape.reduce(1, *))
    case .rectangle(let rows, let columns):
      Self.paste(first, second, rows: rows, columns: columns, shape: shape, channelsLast: channelsLast)
    }
  }
}
