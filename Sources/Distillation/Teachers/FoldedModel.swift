import Torch
import TorchNN

/// A frozen model's computation with batch normalization folded into what comes before it: a `FrozenPlan` for each kind of
/// batch and each choice of taps, made when the first such batch comes.
///
/// What is tapped is computed as it is: a convolution whose output somebody asks for keeps its normalization behind it.
/// The model itself stays untouched. When its weights have changed, the plans are made anew, so that what it says is always
/// a function of the weights and the batch alone.
final class FoldedModel {
  /// How far the plan in float32 (or float64) may be from the model, relative to the largest number of an output. One in
  /// a precision of fewer bits only has to give numbers: whether they are near enough to teach is another question
  /// (`TeacherFidelity`).
  static let allowedDeviation = 1e-4
  /// More kinds of batches than that are computed without a plan.
  static let mostPlans = 8

  private let model: any Layer
  private let precision: TeacherPrecision
  private let calibration: Tensor?
  private var plans: [Kind: Entry] = [:]
  private var isSameState: (() -> Bool)?

  private struct Kind: Hashable {
    var shape: [Int]
    var type: DType
    var device: Device
    var taps: [Tap]
  }

  private enum Entry {
    case plan(FrozenPlan)
    /// Why there is none.
    case refused(String)
  }

  init(_ model: any Layer, precision: TeacherPrecision, calibration: Tensor? = nil) {
    self.model = model
    self.precision = precision
    self.calibration = calibration
  }

  /// - Returns: nil where there is no plan for such a batch
  func trace(_ inputs: Tensor, taps: [Tap]) throws -> Trace? {
    let taps = Array(Set(taps)).sorted { ($0.path, $0.side.rawValue) < ($1.path, $1.side.rawValue) }
    guard case .plan(let plan) = try entry(for: inputs, taps) else { return nil }
    let outputs = try precision.compute(on: inputs.device) { try plan(inputs) }
    return Trace(
      output: outputs[0], activations: Dictionary(zip(taps, outputs.dropFirst())) { first, _ in first })
  }

  /// What was made faster for such a batch; nil where nothing was.
  func counts(_ inputs: Tensor) throws -> FrozenPlan.Counts? {
    guard case .plan(let plan) = try entry(for: inputs, []) else { return nil }
    return try plan.counts
  }

  /// Why there is no plan for such a batch; nil where there is one.
  func refusal(_ inputs: Tensor) throws -> String? {
    guard case .refused(let why) = try entry(for: inputs, []) else { return nil }
    return why
  }

  private func entry(for inputs: Tensor, _ taps: [Tap]) throws -> Entry {
    guard inputs.rank > 0, inputs.shape[0] > 0 else { return .refused("the batch is empty") }
    if let isSameState, try !isSameState() || !plansAreCurrent() { plans = [:] }
    let kind = Kind(
      shape: Array(inputs.shape.dropFirst()), type: inputs.dtype, device: inputs.device, taps: taps)
    if let known = plans[kind] { return known }
    guard plans.count < Self.mostPlans else { return .refused("there are too many kinds of batches") }
    if plans.isEmpty { isSameState = model.stateCheck() }
    let made = try withoutAutocast(on: inputs.device) { try make(inputs, taps) }
    plans[kind] = made
    return made
  }

  private func plansAreCurrent() throws -> Bool {
    try plans.values.allSatisfy { entry in
      // A model that could not be written down is not looked at again.
      if case .plan(let plan) = entry { try plan.isCurrent } else { true }
    }
  }

  private func make(_ inputs: Tensor, _ taps: [Tap]) throws -> Entry {
    let model = model
    let function = { (batch: Tensor) -> [Tensor] in
      let trace = try model.trace(batch, taps: taps)
      return try [trace.output] + taps.map { try trace.activation(at: $0) }
    }
    // With the channels of a pixel side by side, where that comes to the same: a model that looks at the order of numbers
    // in memory is computed in its own.
    var refusal = ""
    for channelsLast in inputs.device.kind == .cpu ? [true, false] : [false] {
      do {
        let plan = try FrozenPlan(like: inputs, channelsLast: channelsLast, of: function)
        let deviation = try plan.deviation()
        guard deviation <= Self.allowedDeviation else {
          refusal = "what was folded differs by \(deviation) of the largest output"
          continue
        }
        let chosen: FrozenPlan
        switch precision {
        case .float32: chosen = plan
        case .int8:
          guard let calibration else { throw DistillationError("int8 needs examples to be calibrated on") }
          try plan.quantize(calibratedOn: calibration)
          chosen = plan
        case .bfloat16:
          chosen = try FrozenPlan(like: inputs, type: .bfloat16, channelsLast: channelsLast, of: function)
        // Mixed precision computes it, with the weights that were folded.
        case .float16: chosen = plan
        }
        let rounding = try precision.compute(on: inputs.device) { try chosen.deviation() }
        guard rounding.isFinite else {
          refusal = "in \(precision.rawValue) it gives numbers that are not finite"
          continue
        }
        return .plan(chosen)
      } catch let error as TorchError {
        // Where the model itself fails, the call that is not folded says so.
        refusal = error.message
      }
    }
    return .refused(refusal)
  }
}
