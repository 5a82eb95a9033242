import Testing
import Torch
import TorchNN

/// Checks a layer against PyTorch's module of the same kind.
///
/// The fixture holds under `case/`: `input`; `output`; `weight-of-output`, the gradient that `backward` starts from;
/// `input-gradient`, if the input has one; `state/KEY` for each parameter and buffer before the call; `gradient/KEY` for
/// each parameter; and `after/KEY` for the buffers that the call changes. The layer's keys must be those of PyTorch's
/// `state_dict`, in its order.
public func checkLayer(
  _ layer: some Layer, _ fixture: Fixture, _ name: String, relative: Double = 1e-4, absolute: Double = 1e-5,
  sourceLocation: SourceLocation = #_sourceLocation, call: ((Tensor) throws -> Tensor)? = nil
) throws {
  let state = fixture.tensors(under: "\(name)/state")
  #expect(
    Set(layer.state.map(\.name)) == Set(state.map(\.name)), "keys of \(name)", sourceLocation: sourceLocation)
  try layer.load(Checkpoint(tensors: state))
  let input = try fixture["\(name)/input"].copied()
  let hasInputGradient = fixture.contains("\(name)/input-gradient")
  if hasInputGradient { try input.requireGradient() }
  let output = try call.map { try $0(input) } ?? layer(input)
  try assertClose(
    output, fixture["\(name)/output"], relative: relative, absolute: absolute, "\(name) output",
    sourceLocation: sourceLocation)
  if fixture.contains("\(name)/weight-of-output") {
    try output.backward(gradient: fixture["\(name)/weight-of-output"])
    if hasInputGradient {
      let gradient = try #require(input.gradient, sourceLocation: sourceLocation)
      try assertClose(
        gradient, fixture["\(name)/input-gradient"], relative: relative, absolute: absolute, "\(name) input gradient",
        sourceLocation: sourceLocation)
    }
    for parameter in layer.namedParameters {
      let gradient = try #require(parameter.tensor.gradient, "\(parameter.name)", sourceLocation: sourceLocation)
      try assertClose(
        gradient, fixture["\(name)/gradient/\(parameter.name)"], relative: relative, absolute: absolute,
        "\(name) gradient of \(parameter.name)", sourceLocation: sourceLocation)
    }
  }
  for buffer in layer.namedBuffers where fixture.contains("\(name)/after/\(buffer.name)") {
    try assertClose(
      buffer.tensor, fixture["\(name)/after/\(buffer.name)"], relative: relative, absolute: absolute,
      "\(name) \(buffer.name) afterwards", sourceLocation: sourceLocation)
  }
}

/// Checks the gradient that `backward` finds for `function` at `point`, both in float64, against central differences.
public func checkGradient(
  at point: Tensor, relative: Double = 1e-5, absolute: Double = 1e-7, step: Double = 1e-5,
  sourceLocation: SourceLocation = #_sourceLocation, _ function: (Tensor) throws -> Tensor
) throws {
  let values = try point.doubles()
  let variable = try Tensor(values, shape: point.shape).requireGradient()
  try function(variable).backward()
  let found = try #require(variable.gradient, sourceLocation: sourceLocation).doubles()
  for index in values.indices {
    func value(moved distance: Double) throws -> Double {
      var changed = values
      changed[index] += distance
      return try function(Tensor(changed, shape: point.shape)).item()
    }
    let expected = try (value(moved: step) - value(moved: -step)) / (2 * step)
    assertClose(
      found[index], expected, relative: relative, absolute: absolute, "gradient \(index)",
      sourceLocation: sourceLocation)
  }
}
