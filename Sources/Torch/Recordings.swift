extension Operator {
  fileprivate static let begin = Operator("distill::recording_begin")
  fileprivate static let cancel = Operator("distill::recording_cancel")
  fileprivate static let end = Operator("distill::recording_end")
  fileprivate static let forget = Operator("distill::recording_forget")
}

/// Which operators a function of a batch calls, written down by the bridge.
enum Recordings {
  /// Calls a function with two small batches of different sizes. Whoever takes the two recordings, by their numbers, forgets
  /// them.
  ///
  /// - Parameter allowsUnusedRandomness: whether operators are welcome that could draw random numbers for dropout, but do
  ///   not as they are called, such as attention
  /// - Throws: `TorchError` when the function throws, or cannot be written down.
  static func make(
    like inputs: Tensor, allowsUnusedRandomness: Bool, of function: (Tensor) throws -> [Tensor]
  ) throws -> (first: Int, second: Int) {
    let first = try record(try examples(2, of: inputs), allowsUnusedRandomness, function)
    do {
      return (first, try record(try examples(3, of: inputs), allowsUnusedRandomness, function))
    } catch {
      try? Dispatcher.callForEffect(.forget, first)
      throw error
    }
  }

  /// So many rows of a batch, from the first again where there are not as many.
  private static func examples(_ count: Int, of inputs: Tensor) throws -> Tensor {
    let rows = try inputs.size(0)
    guard rows > 0 else { throw TorchError(operation: "recording", message: "it needs a batch with examples") }
    let picked = try inputs.gathered(Tensor((0..<count).map { Int64($0 % rows) }).to(inputs.device))
    return inputs.rank == 4 ? try picked.contiguous() : picked
  }

  private static func record(
    _ inputs: Tensor, _ allowsUnusedRandomness: Bool, _ function: (Tensor) throws -> [Tensor]
  ) throws -> Int {
    try record(inputs, allowsUnusedRandomness: allowsUnusedRandomness, function) { outputs in
      Int(try Dispatcher.call(.end, outputs).item())
    }
  }

  /// Records a function of a batch; `end` ends the recording, and is given what the function gave.
  static func record<Result>(
    _ inputs: Tensor, allowsUnusedRandomness: Bool, _ function: (Tensor) throws -> [Tensor],
    end: ([Tensor]) throws -> Result
  ) throws -> Result {
    try Dispatcher.callForEffect(.begin, inputs, allowsUnusedRandomness)
    let outputs: [Tensor]
    do {
      outputs = try function(inputs)
    } catch {
      try? Dispatcher.callForEffect(.cancel)
      throw error
    }
    return try end(outputs)
  }
}
