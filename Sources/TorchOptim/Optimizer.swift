import Torch
import TorchNN

/// Changes parameters by their gradients.
///
///     let optimizer = try SGD(model.namedParameters, learningRate: 0.1, momentum: 0.9)
///     for batch in batches {
///       try optimizer.zeroGradients()
///       try loss(batch).backward()
///       optimizer.learningRateFactor = schedule.factor(step: step, of: totalSteps)
///       try optimizer.step()
///     }
///
/// A parameter without a gradient is left alone, and so is one that is frozen (`requiresGradient` is false).
/// Move a model to its device before an optimizer takes its parameters.
public protocol Optimizer: AnyObject {
  /// The parameters, in groups that may have settings of their own.
  var parameterGroups: [ParameterGroup] { get set }
  /// The learning rate of the groups that have none of their own, before the factor.
  var learningRate: Double { get set }
  /// Multiplies the learning rate of every group: the place for a schedule. 1 at first.
  var learningRateFactor: Double { get set }
  /// The momentum of SGD, or β₁ of Adam: what a one-cycle schedule moves along with the learning rate.
  var momentum: Double { get set }

  /// Changes the parameters once.
  func step() throws

  /// What has to be saved to go on exactly from here, by the parameter's name and the name that PyTorch gives it:
  /// `layer1.weight.exp_avg`. The tensors are the optimizer's own; copy those that have to outlive the next step.
  func state() -> [String: Tensor]

  /// Goes on from a saved state. What the state does not mention starts anew.
  ///
  /// - Throws: `OptimizerError` that lists everything in `state` that does not belong here; nothing is changed then.
  func load(state: [String: Tensor]) throws
}

extension Optimizer {
  /// Forgets the gradients of all parameters. That is faster than overwriting them with zeros, since the next backward
  /// pass can then hand over its own tensors instead of adding to these.
  public func zeroGradients() throws {
    for group in parameterGroups {
      for parameter in group.parameters { try parameter.tensor.setGradient(nil) }
    }
  }
}

/// Parameters with common settings. A setting that is nil is the optimizer's own.
public struct ParameterGroup {
  public var name: String
  public let parameters: [NamedTensor]
  public var learningRate: Double?
  public var momentum: Double?
  public var weightDecay: Double?

  public init(
    _ name: String, _ parameters: [NamedTensor], learningRate: Double? = nil, momentum: Double? = nil,
    weightDecay: Double? = nil
  ) {
    self.name = name
    self.parameters = parameters
    self.learningRate = learningRate
    self.momentum = momentum
    self.weightDecay = weightDecay
  }

  /// Two groups: weights of matrices and convolutions, which decay as the optimizer says, and biases and the scales and
  /// shifts of normalizations (tensors of rank 0 and 1), which do not. A group that would be empty is left out.
  public static func splitByDecay(_ parameters: [NamedTensor]) -> [ParameterGroup] {
    let groups = [
      ParameterGroup("decay", parameters.filter { $0.tensor.rank >= 2 }),
      ParameterGroup("no decay", parameters.filter { $0.tensor.rank < 2 }, weightDecay: 0),
    ]
    return groups.filter { !$0.parameters.isEmpty }
  }
}

/// Settings that an optimizer cannot work with, or a saved state that does not belong to it.
public struct OptimizerError: Error, CustomStringConvertible, Sendable, Equatable {
  public var problems: [String]

  public init(_ problems: [String]) { self.problems = problems }

  public var description: String { problems.joined(separator: "\n") }
}

extension OptimizerError: ReportedError {
  package var isUsersToMend: Bool { true }
}
