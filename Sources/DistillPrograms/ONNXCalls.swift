/// Which functions of an ONNX file its nodes call. Before it computes, the runtime puts the nodes of a function in the place of
/// each call: a few functions, each of which calls the next one twice, become more nodes than there is memory.
struct ONNXCalls {
  struct Name: Hashable {
    var domain = ""
    var name = ""
    var overload = ""
  }

  private var functions: [Name: [Name: Int]] = [:]
  private var own: [Name: Int] = [:]
  /// The function that is being read; nil: the graph itself.
  private var current: Name?

  /// What follows is in this function; false where there is one of the name.
  mutating func begin(_ function: Name) -> Bool {
    current = function
    return functions.updateValue([:], forKey: function) == nil
  }

  mutating func end() { current = nil }

  /// A node with this operator.
  mutating func add(_ name: Name) {
    if let current { functions[current]?[name, default: 0] += 1 } else { own[name, default: 0] += 1 }
  }

  /// How many nodes there are then; nil where functions call themselves, or there are more than so many.
  func nodesOnceAllAreInTheirPlace(atMost limit: Int) -> Int? {
    // Each function after those that it calls, without recursion, which deep chains would overflow.
    var counts: [Name: Int] = [:]
    func count(_ nodes: [Name: Int]) -> Int? {
      var sum = 0
      for (name, times) in nodes {
        let (product, isTooLarge) = times.multipliedReportingOverflow(by: counts[name] ?? 1)
        guard !isTooLarge, product <= limit - sum else { return nil }
        sum += product
      }
      return sum
    }
    var open: Set<Name> = []
    for function in functions.keys where counts[function] == nil {
      var waiting = [function]
      while let name = waiting.last {
        if counts[name] != nil {
          waiting.removeLast()
          continue
        }
        let nodes = functions[name] ?? [:]
        guard open.insert(name).inserted else {
          guard let sum = count(nodes) else { return nil }
          counts[name] = sum
          open.remove(name)
          waiting.removeLast()
          continue
        }
        for callee in nodes.keys where functions[callee] != nil && counts[callee] == nil {
          guard !open.contains(callee) else { return nil }
          waiting.append(callee)
        }
      }
    }
    return count(own)
  }
}
