import Foundation

/// How the learning rate changes over a run: a pure function from the step to a factor of the learning rate.
///
/// Steps count from 0. They may be optimizer steps or epochs, as long as `every`, `milestones` and `totalSteps` count
/// the same. Each case equals the scheduler of the same name in PyTorch.
public indirect enum Schedule: Sendable, Equatable {
  /// 1 throughout.
  case constant
  /// Multiplied by `gamma` after every `every` steps.
  case step(every: Int, gamma: Double = 0.1)
  /// Multiplied by `gamma` at each of the milestones.
  case multiStep(milestones: [Int], gamma: Double = 0.1)
  /// Half a cosine from 1 at the first step to `minimum`, a fraction, at `totalSteps`.
  ///
  /// ## Reference
  /// Loshchilov, Hutter: SGDR: stochastic gradient descent with warm restarts. ICLR 2017.
  case cosine(minimum: Double = 0)
  /// Up and down again: see `OneCycle`. The learning rate of the optimizer is the highest.
  case oneCycle(OneCycle = OneCycle())
  /// In `steps` steps linearly from the fraction `start` to 1, then another schedule over the steps that are left.
  case warmUp(steps: Int, from: Double = 1.0 / 3, then: Schedule)

  /// What to multiply the learning rate with at `step`, the steps of the whole run being `totalSteps`. Steps before the
  /// first count as the first, steps after the end as the end.
  public func factor(step: Int, of totalSteps: Int) -> Double {
    let step = max(0, step)
    switch self {
    case .constant: return 1
    case .step(let every, let gamma): return pow(gamma, Double(step / max(1, every)))
    case .multiStep(let milestones, let gamma): return pow(gamma, Double(milestones.count { $0 <= step }))
    case .cosine(let minimum):
      let progress = totalSteps > 0 ? min(1, Double(step) / Double(totalSteps)) : 1
      return minimum + (1 - minimum) * (1 + cos(.pi * progress)) / 2
    case .oneCycle(let cycle): return cycle.factor(step: step, of: totalSteps)
    case .warmUp(let steps, let start, let then):
      guard step < steps else { return then.factor(step: step - max(0, steps), of: totalSteps - max(0, steps)) }
      return start + (1 - start) * Double(step) / Double(steps)
    }
  }

  /// The optimizer's momentum at `step`; nil where the schedule leaves it alone.
  public func momentum(step: Int, of totalSteps: Int) -> Double? {
    switch self {
    case .oneCycle(let cycle): return cycle.momentum(step: max(0, step), of: totalSteps)
    case .warmUp(let steps, _, let then):
      return then.momentum(step: step - max(0, steps), of: totalSteps - max(0, steps))
    case .constant, .step, .multiStep, .cosine: return nil
    }
  }
}

/// The one-cycle policy: the learning rate climbs along half a cosine from 1 / `divisor` of its highest value to that,
/// and falls along another to 1 / `finalDivisor` of where it began, while the momentum goes the other way.
///
/// ## Reference
/// Smith, Topin: Super-convergence. 2018; with the two phases of PyTorch's `OneCycleLR`.
public struct OneCycle: Sendable, Equatable {
  /// The part of the run in which the learning rate climbs.
  public var climb: Double
  public var divisor: Double
  public var finalDivisor: Double
  /// Lowest and highest momentum; nil leaves the momentum alone.
  public var momentum: ClosedRange<Double>?

  public init(
    climb: Double = 0.3, divisor: Double = 25, finalDivisor: Double = 1e4, momentum: ClosedRange<Double>? = 0.85...0.95
  ) {
    self.climb = climb
    self.divisor = divisor
    self.finalDivisor = finalDivisor
    self.momentum = momentum
  }

  func factor(step: Int, of totalSteps: Int) -> Double {
    value(step: step, of: totalSteps, start: 1 / divisor, peak: 1, end: 1 / divisor / finalDivisor)
  }

  func momentum(step: Int, of totalSteps: Int) -> Double? {
    momentum.map {
      value(step: step, of: totalSteps, start: $0.upperBound, peak: $0.lowerBound, end: $0.upperBound)
    }
  }

  private func value(step: Int, of totalSteps: Int, start: Double, peak: Double, end: Double) -> Double {
    let top = climb * Double(totalSteps) - 1
    let last = Double(totalSteps) - 1
    let step = min(Double(step), last)
    if step <= top { return top > 0 ? cosine(from: start, to: peak, step / top) : peak }
    return last > top ? cosine(from: peak, to: end, (step - top) / (last - top)) : peak
  }
}

/// Half a cosine: `start` at progress 0, `end` at progress 1.
private func cosine(from start: Double, to end: Double, _ progress: Double) -> Double {
  end + (start - end) * (1 + cos(.pi * progress)) / 2
}
