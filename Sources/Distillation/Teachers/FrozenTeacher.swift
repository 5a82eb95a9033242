import DistillData
import Torch
import TorchNN

/// A model as a teacher: always in evaluation mode, never with a gradient.
///
/// Its batch normalizations are folded into the convolutions before them, and residual additions and ReLU are computed with
/// these (see `FrozenPlan`), without a change to the model, which may be used elsewhere at the same time. Terms that look
/// at layers see what these give. Where its weights change all the same, folding starts anew with each change; for a model
/// that changes at every step, say `folds: false`. A model whose computation depends on what it sees is not folded, nor is
/// one whose inside cannot be looked at.
public final class FrozenTeacher: Teacher {
  private let model: any Layer
  private let precision: TeacherPrecision
  /// nil where nothing is to be folded.
  private let folded: FoldedModel?
  /// The modules that have a mode, found once: the walk over a model is too slow for every step.
  private let modeDependents: [any ModeDependent]

  /// - Parameters:
  ///   - precision: what the teacher's matrix products are computed in
  ///   - folds: whether normalizations are folded and activations fused; the outputs are then the same within rounding
  public init(_ model: any Layer, precision: Precision = .float32, folds: Bool = true) {
    self.model = model
    self.precision = TeacherPrecision(precision)
    folded = folds && !(model is any OpaqueLayer) ? FoldedModel(model, precision: self.precision) : nil
    modeDependents = Self.modeDependents(model)
  }

  /// A teacher quantized to eight bits (`FrozenPlan.quantize(calibratedOn:)`), on the processor.
  ///
  /// - Parameter calibration: examples like those that it will teach, some hundreds, as its model takes them: they say what
  ///   range its activations have
  /// - Throws: `DistillationError` when its computation cannot be written down, or no product of it can be computed so.
  public convenience init(_ model: any Layer, int8CalibratedOn calibration: Tensor) throws {
    self.init(model, folded: FoldedModel(model, precision: .int8, calibration: calibration))
    for module in modeDependents { module.isTraining = false }
    try withoutGradient {
      guard calibration.device.kind == .cpu else {
        throw DistillationError("a teacher in int8 runs on a processor, not on \(calibration.device)")
      }
      if let why = try folded?.refusal(calibration) {
        throw DistillationError("the teacher cannot be computed in int8: \(why); take float32 or bfloat16")
      }
      guard let counts = try folded?.counts(calibration), counts.quantizedProducts > 0 else {
        throw DistillationError(
          "the teacher cannot be computed in int8: it has no convolution over images and no linear layer over rows that "
            + "is large enough; take float32 or bfloat16")
      }
    }
  }

  private init(_ model: any Layer, folded: FoldedModel) {
    self.model = model
    precision = .int8
    self.folded = folded
    modeDependents = Self.modeDependents(model)
  }

  private static func modeDependents(_ model: any Layer) -> [any ModeDependent] {
    model.namedModules.compactMap { $0.module as? any ModeDependent }
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    let trace = try trace(batch.inputsForTeacher, taps: taps)
    return TeacherTrace(logits: trace.output, activations: trace.activations)
  }

  public func linearOutput(_ batch: Batch) throws -> LinearOutput? {
    guard precision != .int8 else { return nil }
    for module in modeDependents { module.isTraining = false }
    return try withoutGradient { try precision.mixed.linearOutput(of: model, batch.inputsForTeacher) }
  }

  /// What the model gives for inputs.
  func trace(_ inputs: Tensor, taps: [Tap] = []) throws -> Trace {
    // Again at every step: someone may have called train() on the model since.
    for module in modeDependents { module.isTraining = false }
    return try withoutGradient {
      if let trace = try folded?.trace(inputs, taps: taps) { return trace }
      guard precision != .int8 else {
        throw DistillationError("the teacher cannot be computed in int8 on inputs of shape \(inputs.shape)")
      }
      return try precision.compute(on: inputs.device) { try model.trace(inputs, taps: taps) }
    }
  }

  /// What was made faster for batches like this one; nil where nothing was.
  func counts(like inputs: Tensor) throws -> FrozenPlan.Counts? {
    for module in modeDependents { module.isTraining = false }
    return try withoutGradient { try folded?.counts(inputs) }
  }
}
