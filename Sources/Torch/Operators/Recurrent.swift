extension Operator {
  fileprivate static let lstm = Operator("aten::lstm", overload: "input")
  fileprivate static let gru = Operator("aten::gru", overload: "input")
  fileprivate static let embedding = Operator("aten::embedding")
}

/// A stack of LSTM layers over `[N, L, in]`. With the input x and the last hidden state h, a layer's step is
///
///     i = σ(W_ii x + b_ii + W_hi h + b_hi)      f, o likewise
///     g = tanh(W_ig x + b_ig + W_hg h + b_hg)
///     c ← f · c + i · g        h ← o · tanh(c)
///
/// The rows of `weight_ih` `[4 · hidden, in]` are those of i, f, g and o, as are those of `weight_hh` `[4 · hidden, hidden]`.
/// While training, `dropout` is the probability with which a layer's outputs are zeroed on their way to the next layer.
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

/// A stack of GRU layers over `[N, L, in]`. With the input x and the last hidden state h, a layer's step is
///
///     r = σ(W_ir x + b_ir + W_hr h + b_hr)      z likewise
///     n = tanh(W_in x + b_in + r · (W_hn h + b_hn))
///     h ← (1 − z) · n + z · h
///
/// The rows of `weight_ih` `[3 · hidden, in]` are those of r, z and n. The other parameters, and what it returns, are as for
/// `lstm`, with `hidden` for the state.
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
