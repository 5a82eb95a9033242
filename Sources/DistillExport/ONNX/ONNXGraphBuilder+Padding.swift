import Torch

extension ONNXGraphBuilder {
  /// Lets convolutions do the padding with zeros that stands before them, where nobody else reads what is padded: integer
  /// kernels pad while they compute, and `Pad` has none.
  func padInConvolutions() throws {
    let numbers = Dictionary(initializers.map { ($0.name, $0.tensor) }) { first, _ in first }
    var readers: [String: Int] = [:]
    for node in nodes { for name in node.input { readers[name, default: 0] += 1 } }
    let pads = Dictionary(
      nodes.filter { $0.opType == "Pad" && readers[$0.output[0]] == 1 }.map { ($0.output[0], $0) }
    ) { first, _ in first }
    var gone: Set<String> = []
    let padded = try takeNodes().map { node in
      guard node.opType == "Conv", let pad = pads[node.input[0]], let own = node.integers("pads"), pad.input.count == 3,
        let amounts = try numbers[pad.input[1]]?.array(of: Int64.self).map({ Int($0) }),
        let value = try numbers[pad.input[2]]?.item(), value == 0, amounts.count == own.count + 4,
        amounts.allSatisfy({ $0 >= 0 })
      else { return node }
      let rank = amounts.count / 2
      // Batch and channels are not padded by a convolution.
      guard [0, 1, rank, rank + 1].allSatisfy({ amounts[$0] == 0 }) else { return node }
      let spatial = amounts[2..<rank] + amounts[(rank + 2)...]
      var node = node
      node.attribute = node.attribute.map {
        $0.name == "pads" ? ONNXAttribute.integers("pads", zip(own, spatial).map { $0 + $1 }).proto : $0
      }
      gone.insert(node.input[0])
      node.input[0] = pad.input[0]
      return node
    }
    for node in padded where !gone.contains(node.output[0]) { put(node) }
  }
}
