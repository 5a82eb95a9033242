import Torch

/// A place inside a module's computation that no layer gives and that a tap can ask for all the same, under the path of
/// the property that holds it. It computes nothing and has no parameters.
///
/// A module that holds one records a tensor there; what is costly to compute it computes only if `isTapped`.
public final class TapPoint: Module {
  public init() {}

  /// Whether a tap asks for it at this moment.
  public var isTapped: Bool { Recorder.current?.wants(self) ?? false }

  /// Leaves a tensor for the tap that asks for it, if one does.
  public func record(_ tensor: Tensor) throws {
    guard let recorder = Recorder.current, recorder.wants(self) else { return }
    try recorder.record(self, input: tensor, output: tensor)
  }
}
