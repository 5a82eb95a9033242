import Foundation
import Testing
import Torch

/// Records a failure unless |actual − expected| ≤ absolute + relative · |expected|. Infinities must be equal; NaN is close
/// to nothing.
public func assertClose(
  _ actual: Double, _ expected: Double, relative: Double = 1e-5, absolute: Double = 0, _ label: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  if isClose(actual, expected, relative, absolute) { return }
  let place = label.isEmpty ? "" : "\(label): "
  Issue.record("\(place)\(actual) is not close to \(expected)", sourceLocation: sourceLocation)
}

/// Records a failure unless both tensors have one shape and all their elements are close.
public func assertClose(
  _ actual: Tensor, _ expected: Tensor, relative: Double = 1e-5, absolute: Double = 1e-6, _ label: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let place = label.isEmpty ? "" : "\(label): "
  guard actual.shape == expected.shape else {
    Issue.record("\(place)shape \(actual.shape) instead of \(expected.shape)", sourceLocation: sourceLocation)
    return
  }
  let pairs = Array(zip(try actual.doubles(), try expected.doubles()))
  let wrong = pairs.indices.filter { !isClose(pairs[$0].0, pairs[$0].1, relative, absolute) }
  guard let first = wrong.first else { return }
  let worst = wrong.max { abs(pairs[$0].0 - pairs[$0].1) < abs(pairs[$1].0 - pairs[$1].1) } ?? first
  Issue.record(
    """
    \(place)\(wrong.count) of \(pairs.count) elements are not close: at \(first) \(pairs[first].0) instead of \
    \(pairs[first].1), at worst \(pairs[worst].0) instead of \(pairs[worst].1)
    """, sourceLocation: sourceLocation)
}

private func isClose(_ actual: Double, _ expected: Double, _ relative: Double, _ absolute: Double) -> Bool {
  actual == expected || abs(actual - expected) <= absolute + relative * abs(expected)
}
