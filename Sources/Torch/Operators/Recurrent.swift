extension Operator {
  fileprivate static let lstm = Operator("aten::lstm", overload: "input")
  fileprivate static let gru = Operator("aten::gru", overload: "input")
  fileprivate static let embedding = Operator("aten::embedding")
}

/// A stack of LSTM layers over `[N, L, in]`.
///
/// - Parameters:
///   - state: hidden and cell state, each `[layers · directions, N, hidden]`
///   - weights: for each layer and direction `weight_ih`, `weight_hh`, and with biases `bias_ih`, `bias_hh`
/// - Returns: `[N, L, hidden · directions]`, and the last hidden and cell states
public func lstm(
  _ input: Tensor, state: (hidden: Tensor, cell: Tensor), weights: [Tensor], hasBias: Bool, layers: Int,
  dropout: Double, isTraining: Bool, isBidirectional: Bool
) throws -> (output: Tensor, hidden: Tensor, cell: Tensor) {
  let results = try Dispatcher.callTuple(
    .lstm, input, [state.hidden, state.cell], weights, hasBias, layers, dropout, isTraining, isBidirectional, true)
  guard results.count == 3, let output = results[0], let hidden = results[1], let cell = results[2] else {
    throw TorchError(operation: "aten::lstm", message: "did not give three tensors")
  }
  return (output, hidden, cell)
}

/// A stack of GRU layers over `[N, L, in]`; see `lstm`.
public func gru(
  _ input: Tensor, hidden: Tensor, weights: [Tensor], hasBias: Bool, layers: Int, dropout: Double, isTraining: Bool,
  isBidirectional: Bool
) throws -> (output: Tensor, hidden: Tensor) {
  let (output, last) = try Dispatcher.callTuple(
    .gru, input, hidden, weights, hasBias, layers, dropout, isTraining, isBidirectional, true
  ).pair("aten::gru")
  return (output, last)
}

/// The rows of `weight` `[count, features]` that the whole numbers `indices` `[...]` name: `[..., features]`.
public func embedding(_ indices: Tensor, weight: Tensor, paddingIndex: Int? = nil) throws -> Tensor {
  try Dispatcher.call(.embedding, weight, indices, paddingIndex ?? -1)
}
