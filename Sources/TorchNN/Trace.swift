import Torch

/// A place in a model whose activations are wanted: the input or the output of the module at a path.
public struct Tap: Hashable, Sendable, CustomStringConvertible {
  public enum Side: String, Sendable, Codable, CaseIterable {
    case input
    case output
  }

  /// The module's path, such as `layer3` or `layer1.0.conv2`; empty for the model itself.
  public var path: String
  public var side: Side

  public init(_ path: String, _ side: Side = .output) {
    self.path = path
    self.side = side
  }

  public var description: String { side == .output ? path : "\(path):input" }
}

/// What a model gave for a batch: its output, and the activations at the taps.
public struct Trace {
  /// The model's output, for a classifier the logits `[N, C]`.
  public var output: Tensor
  public var activations: [Tap: Tensor]

  public init(output: Tensor, activations: [Tap: Tensor] = [:]) {
    self.output = output
    self.activations = activations
  }

  /// - Throws: `TapError` when nothing was recorded there.
  public func activation(at tap: Tap) throws -> Tensor {
    guard let tensor = activations[tap] else {
      throw TapError(path: tap.path, suggestions: closest(to: tap.path, in: activations.keys.map(\.path)))
    }
    return tensor
  }
}

/// A tap that matches no module, or a module that the model did not call.
public struct TapError: Error, CustomStringConvertible, Sendable {
  public var path: String
  public var suggestions: [String]

  public init(path: String, suggestions: [String]) {
    self.path = path
    self.suggestions = suggestions
  }

  public var description: String {
    let hint = suggestions.isEmpty ? "" : ". Near it: \(suggestions.joined(separator: ", "))"
    return "no module '\(path)' gave an activation\(hint)"
  }
}

extension Layer {
  /// Computes the output for `input` and records the activations at `taps` on the way. A module that is called several
  /// times leaves the activation of its last call.
  ///
  /// - Throws: `TapError` when a tap matches no module, with near matches, or matches one that was not called.
  public func trace(_ input: Tensor, taps: [Tap] = []) throws -> Trace {
    guard !taps.isEmpty else { return Trace(output: try self(input)) }
    let recorder = TapRecorder(wanted: try resolve(taps))
    let output = try Recorder.$current.withValue(recorder) { try self(input) }
    for tap in taps where recorder.activations[tap] == nil {
      throw TapError(path: tap.path, suggestions: [])
    }
    return Trace(output: output, activations: recorder.activations)
  }

  /// The modules that taps point to.
  ///
  /// - Throws: `TapError` for the first tap that matches no module.
  public func resolve(_ taps: [Tap]) throws -> [ObjectIdentifier: [Tap]] {
    let modules = namedModules
    var wanted: [ObjectIdentifier: [Tap]] = [:]
    for tap in taps {
      guard let found = modules.first(where: { $0.path == tap.path }) else {
        throw TapError(path: tap.path, suggestions: closest(to: tap.path, in: modules.map(\.path)))
      }
      wanted[ObjectIdentifier(found.module), default: []].append(tap)
    }
    return wanted
  }
}

/// Sees every call of a layer inside `Recorder.$current.withValue`.
class Recorder: @unchecked Sendable {
  // A recorder lives on the thread of the scope that put it in force.
  @TaskLocal static var current: Recorder?

  func record(_ module: any Module, input: Tensor, output: Tensor) throws {}

  /// Whether it wants to see what a module gives. Where it does not, the module may be computed in one operator with the
  /// ones after it.
  func watches(_ module: any Module) -> Bool { true }

  /// Whether it asks for the tensor of a tap point.
  func wants(_ point: TapPoint) -> Bool { false }
}

private final class TapRecorder: Recorder, @unchecked Sendable {
  let wanted: [ObjectIdentifier: [Tap]]
  var activations: [Tap: Tensor] = [:]

  init(wanted: [ObjectIdentifier: [Tap]]) { self.wanted = wanted }

  override func watches(_ module: any Module) -> Bool { wanted[ObjectIdentifier(module)] != nil }

  override func wants(_ point: TapPoint) -> Bool { wanted[ObjectIdentifier(point)] != nil }

  override func record(_ module: any Module, input: Tensor, output: Tensor) {
    for tap in wanted[ObjectIdentifier(module)] ?? [] {
      activations[tap] = tap.side == .input ? input : output
    }
  }
}

extension TapError: ReportedError {
  package var isUsersToMend: Bool { true }
}
