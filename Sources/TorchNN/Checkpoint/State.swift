import Torch

extension Module {
  /// Overwrites all parameters and buffers with those of a checkpoint, strictly: every key of the module must be there,
  /// no other, and all of the same shape. Numbers that float may be of another type that floats, and are converted; all
  /// others must be of the module's own type. A tensor that the module has under several keys may stand under any of them.
  ///
  /// One thing may be missing: the batch counts of `BatchNorm` (`num_batches_tracked`), if the file has none of them at
  /// all. PyTorch did not count batches before version 0.4.1, and foreign checkpoints of that time are still around. No
  /// result depends on these counts; they start at 0 then.
  ///
  /// - Parameter keyMap: translates the checkpoint's keys into the module's
  /// - Throws: `StateError`, which lists everything that does not fit. Then nothing was loaded.
  public func load(_ checkpoint: Checkpoint, keyMap: KeyMap? = nil) throws {
    var found: [String: Tensor] = [:]
    var error = StateError(path: checkpoint.path, missing: [], unexpected: [], misfits: [])
    let own = stateUnderEveryKey
    let known = Set(own.map(\.name))
    for named in checkpoint.tensors {
      let key = keyMap?.ours(named.name) ?? named.name
      if known.contains(key) && found[key] == nil {
        found[key] = named.tensor
      } else {
        let translated = key == named.name ? "" : " (\(key) here)"
        error.unexpected.append("\(named.name)\(translated) \(form(named.tensor))")
      }
    }
    var keys: [ObjectIdentifier: [String]] = [:]
    for named in own { keys[ObjectIdentifier(named.tensor), default: []].append(named.name) }
    let batchCounts = Set(namedModules.compactMap { ($0.module as? BatchNorm).map { ObjectIdentifier($0.batchCount) } })
    let isWithoutCounts = !own.contains { batchCounts.contains(ObjectIdentifier($0.tensor)) && found[$0.name] != nil }
    var uncounted: [Tensor] = []
    var copies: [(from: Tensor, to: Tensor)] = []
    for named in state {
      let names = keys[ObjectIdentifier(named.tensor)] ?? []
      let given = names.compactMap { name in found[name].map { (name, $0) } }
      if given.isEmpty {
        if isWithoutCounts, batchCounts.contains(ObjectIdentifier(named.tensor)) {
          uncounted.append(named.tensor)
        } else {
          error.missing.append("\(keyMap?.foreign(named.name) ?? named.name) \(form(named.tensor))")
        }
      }
      for (name, tensor) in given {
        let areFloating = tensor.dtype.isFloatingPoint && named.tensor.dtype.isFloatingPoint
        if tensor.shape == named.tensor.shape && (tensor.dtype == named.tensor.dtype || areFloating) {
          copies.append((tensor, named.tensor))
        } else {
          let key = keyMap?.foreign(name) ?? name
          error.misfits.append(StateError.Misfit(key: key, needed: form(named.tensor), found: form(tensor)))
        }
      }
    }
    guard error.missing.isEmpty && error.unexpected.isEmpty && error.misfits.isEmpty else { throw error }
    try withoutGradient {
      for copy in copies { try copy.to.copy(from: copy.from) }
      for count in uncounted { try count.fill(0) }
    }
  }

  /// Writes all parameters and buffers to a file in the format safetensors. A tensor that the module has under several
  /// keys stands there once, under the first.
  ///
  /// - Parameter keyMap: translates the module's keys into those of the file
  public func save(to path: String, metadata: [String: String] = [:], keyMap: KeyMap? = nil) throws {
    let tensors = state.map { NamedTensor(name: keyMap?.foreign($0.name) ?? $0.name, tensor: $0.tensor) }
    try Checkpoint.write(tensors, metadata: metadata, to: path)
  }
}

/// Such as `[10, 300] float32`.
private func form(_ tensor: Tensor) -> String { "\(tensor.shape) \(tensor.dtype)" }
