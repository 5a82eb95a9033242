import CTorch

/// One of libtorch's operators, looked up by its schema name the first time that it is used.
struct Operator: @unchecked Sendable {
  let name: String
  private let handle: ct_operator_ref?
  private let failure: TorchError?

  init(_ name: String, overload: String = "") {
    self.name = name
    do {
      var found: ct_operator_ref?
      try Bridge.call(name) { $0.operator_find(name, overload, &found, $1) }
      handle = try Bridge.given(found, by: name)
      failure = nil
    } catch {
      handle = nil
      failure = error as? TorchError ?? TorchError(operation: name, message: "\(error)")
    }
  }

  /// Whether libtorch has it.
  var exists: Bool { handle != nil }

  fileprivate var reference: ct_operator_ref {
    @inline(__always) get throws {
      if let handle { return handle }
      throw failure ?? TorchError(operation: name, message: "there is no such operator")
    }
  }
}

/// A value that can be handed to an operator.
protocol OperatorArgument {
  func push(to frame: inout ArgumentFrame)
}

/// The arguments of one call, laid out on the stack; lists that do not fit there are on the heap until the call ends.
struct ArgumentFrame {
  /// With the results' room not more than the 1,024 bytes that Swift keeps on the stack whatever the size of the stack.
  static let valueCapacity = 24
  static let numberCapacity = 48

  fileprivate let values: UnsafeMutableBufferPointer<ct_value>
  fileprivate let numbers: UnsafeMutableBufferPointer<Int64>
  fileprivate var count = 0
  private var numberCount = 0
  private var heap: [UnsafeMutableRawPointer] = []
  /// The tensors among the arguments, for the error message; gathered only when a call failed.
  fileprivate var tensorReferences: [ct_tensor_ref] {
    values.prefix(count).filter { $0.tag == CT_TENSOR }.compactMap { $0.pointer.map { ct_tensor_ref($0) } }
  }

  fileprivate init(values: UnsafeMutableBufferPointer<ct_value>, numbers: UnsafeMutableBufferPointer<Int64>) {
    self.values = values
    self.numbers = numbers
  }

  @inline(__always)
  mutating func push(_ value: ct_value) {
    values[count] = value
    count += 1
  }

  /// Room for `count` eight-byte elements that stays valid until the call ends.
  private mutating func room(_ count: Int) -> UnsafeMutableRawPointer {
    if numberCount + count <= Self.numberCapacity, let base = numbers.baseAddress {
      defer { numberCount += count }
      return UnsafeMutableRawPointer(base + numberCount)
    }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(8, count * 8), alignment: 8)
    heap.append(memory)
    return memory
  }

  mutating func pushList<Element: BitwiseCopyable>(_ tag: ct_tag, _ elements: some Collection<Element>) {
    let memory = room(elements.count)
    let typed = memory.bindMemory(to: Element.self, capacity: elements.count)
    for (index, element) in elements.enumerated() { typed[index] = element }
    push(ct_value(tag: tag, integer: Int64(elements.count), real: 0, pointer: UnsafeRawPointer(memory)))
  }

  mutating func pushString(_ text: String) {
    let bytes = Array(text.utf8CString)
    let memory = room((bytes.count + 7) / 8)
    bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(start: memory, count: $0.count).copyMemory(from: $0) }
    push(ct_value(tag: CT_STRING, integer: 0, real: 0, pointer: UnsafeRawPointer(memory)))
  }

  fileprivate func release() {
    for memory in heap { memory.deallocate() }
  }
}

extension Tensor: OperatorArgument {
  @inline(__always)
  func push(to frame: inout ArgumentFrame) {
    frame.push(ct_value(tag: CT_TENSOR, integer: 0, real: 0, pointer: UnsafeRawPointer(reference)))
  }
}

extension Int: OperatorArgument {
  @inline(__always)
  func push(to frame: inout ArgumentFrame) {
    frame.push(ct_value(tag: CT_INT, integer: Int64(self), real: 0, pointer: nil))
  }
}

extension Double: OperatorArgument {
  @inline(__always)
  func push(to frame: inout ArgumentFrame) {
    frame.push(ct_value(tag: CT_DOUBLE, integer: 0, real: self, pointer: nil))
  }
}

extension Bool: OperatorArgument {
  @inline(__always)
  func push(to frame: inout ArgumentFrame) {
    frame.push(ct_value(tag: CT_BOOL, integer: self ? 1 : 0, real: 0, pointer: nil))
  }
}

extension DType: OperatorArgument {
  func push(to frame: inout ArgumentFrame) { Int(rawValue).push(to: &frame) }
}

extension MemoryFormat: OperatorArgument {
  func push(to frame: inout ArgumentFrame) { Int(rawValue).push(to: &frame) }
}

extension Device: OperatorArgument {
  func push(to frame: inout ArgumentFrame) { frame.pushString(kind == .cuda ? "cuda:\(index)" : "\(kind)") }
}

extension String: OperatorArgument {
  func push(to frame: inout ArgumentFrame) { frame.pushString(self) }
}

extension RandomStream: OperatorArgument {
  func push(to frame: inout ArgumentFrame) {
    frame.push(ct_value(tag: CT_GENERATOR, integer: 0, real: 0, pointer: UnsafeRawPointer(reference)))
  }
}

extension Optional: OperatorArgument where Wrapped: OperatorArgument {
  @inline(__always)
  func push(to frame: inout ArgumentFrame) {
    if let self {
      self.push(to: &frame)
    } else {
      frame.push(ct_value(tag: CT_NONE, integer: 0, real: 0, pointer: nil))
    }
  }
}

extension Array: OperatorArgument where Element: OperatorListElement {
  func push(to frame: inout ArgumentFrame) { Element.push(self, to: &frame) }
}

/// What a list handed to an operator can hold.
protocol OperatorListElement {
  static func push(_ elements: [Self], to frame: inout ArgumentFrame)
}

extension Int: OperatorListElement {
  static func push(_ elements: [Int], to frame: inout ArgumentFrame) { frame.pushList(CT_INT_LIST, elements) }
}

extension Double: OperatorListElement {
  static func push(_ elements: [Double], to frame: inout ArgumentFrame) { frame.pushList(CT_DOUBLE_LIST, elements) }
}

extension Tensor: OperatorListElement {
  static func push(_ elements: [Tensor], to frame: inout ArgumentFrame) {
    frame.pushList(CT_TENSOR_LIST, elements.map { Optional($0.reference) })
  }
}

extension Optional: OperatorListElement where Wrapped == Tensor {
  static func push(_ elements: [Tensor?], to frame: inout ArgumentFrame) {
    frame.pushList(CT_TENSOR_LIST, elements.map { $0?.reference })
  }
}

/// The one way by which this module calls libtorch's operators: by schema, through the dispatcher, so that autograd,
/// autocast and every device work as they do from Python. Arguments are given in the order of the operator's
/// schema; the ones left out at the end take its defaults.
enum Dispatcher {
  private static let resultCapacity = 8

  /// Calls an operator that gives one tensor.
  @inline(__always)
  static func call<each Argument: OperatorArgument>(
    _ op: Operator, _ arguments: repeat each Argument
  ) throws -> Tensor {
    try invoke(op, repeat each arguments) { results in
      guard let value = results.first else { return try missing(op) }
      for other in results.dropFirst() { release(other) }
      return try tensor(value) ?? missing(op)
    }
  }

  // The most frequent calls, spelled out without the general machinery.

  /// Calls an operator that takes one tensor and gives one.
  static func call(_ op: Operator, _ tensor: Tensor) throws -> Tensor {
    try callSmall(op, value(tensor), ct_value(), count: 1, tensors: (tensor, nil))
  }

  /// Calls an operator that takes two tensors and gives one.
  static func call(_ op: Operator, _ first: Tensor, _ second: Tensor) throws -> Tensor {
    try callSmall(op, value(first), value(second), count: 2, tensors: (first, second))
  }

  /// Calls an operator that takes a tensor and a number and gives a tensor.
  static func call(_ op: Operator, _ tensor: Tensor, _ number: Double) throws -> Tensor {
    let second = ct_value(tag: CT_DOUBLE, integer: 0, real: number, pointer: nil)
    return try callSmall(op, value(tensor), second, count: 2, tensors: (tensor, nil))
  }

  @inline(__always)
  private static func value(_ tensor: Tensor) -> ct_value {
    ct_value(tag: CT_TENSOR, integer: 0, real: 0, pointer: UnsafeRawPointer(tensor.reference))
  }

  @inline(__always)
  private static func callSmall(
    _ op: Operator, _ first: ct_value, _ second: ct_value, count: Int32, tensors: (Tensor, Tensor?)
  ) throws -> Tensor {
    guard let table = Bridge.table else { return try missing(op) }
    let reference = try op.reference
    var arguments = (first, second)
    var result = ct_value()
    var resultCount: Int32 = 0
    var message: UnsafeMutablePointer<CChar>?
    let status = withUnsafePointer(to: &arguments) {
      UnsafeRawPointer($0).withMemoryRebound(to: ct_value.self, capacity: 2) {
        table.pointee.operator_call(reference, $0, count, &result, 1, &resultCount, &message)
      }
    }
    withExtendedLifetime(tensors) {}
    guard status == 0 else {
      throw Bridge.error(op.name, message, table.pointee, [tensors.0, tensors.1].compactMap(\.self))
    }
    return try tensor(result) ?? missing(op)
  }

  /// Calls an operator that gives several values, and returns the tensors among them; nil where a value is none.
  static func callTuple<each Argument: OperatorArgument>(
    _ op: Operator, _ arguments: repeat each Argument
  ) throws -> [Tensor?] {
    try invoke(op, repeat each arguments) { results in results.map(tensor) }
  }

  /// Calls an operator that gives a list of tensors.
  static func callList<each Argument: OperatorArgument>(
    _ op: Operator, _ arguments: repeat each Argument
  ) throws -> [Tensor] {
    try invoke(op, repeat each arguments) { results in
      guard results.count == 1, let value = results.first, value.tag == CT_TENSOR_LIST, let pointer = value.pointer
      else {
        results.forEach(release)
        return try missing(op)
      }
      defer { Bridge.opened.free(UnsafeMutableRawPointer(mutating: pointer)) }
      let references = pointer.assumingMemoryBound(to: ct_tensor_ref.self)
      return (0..<Int(value.integer)).map { Tensor(owning: references[$0]) }
    }
  }

  /// Calls an operator for what it does to its arguments.
  static func callForEffect<each Argument: OperatorArgument>(
    _ op: Operator, _ arguments: repeat each Argument
  ) throws {
    try invoke(op, repeat each arguments) { results in results.forEach(release) }
  }

  private static func missing<Value>(_ op: Operator) throws -> Value {
    throw TorchError(operation: op.name, message: "gave no result of the expected kind")
  }

  /// The tensor that a result is; nil where it is something else, of which nothing is kept.
  @inline(__always)
  private static func tensor(_ value: ct_value) -> Tensor? {
    guard value.tag == CT_TENSOR, let pointer = value.pointer else {
      release(value)
      return nil
    }
    return Tensor(owning: ct_tensor_ref(pointer))
  }

  private static func release(_ value: ct_value) {
    guard let pointer = value.pointer else { return }
    switch value.tag {
    case CT_TENSOR: Bridge.opened.tensor_release(ct_tensor_ref(pointer))
    case CT_TENSOR_LIST:
      let references = pointer.assumingMemoryBound(to: ct_tensor_ref.self)
      for index in 0..<Int(value.integer) { Bridge.opened.tensor_release(references[index]) }
      Bridge.opened.free(UnsafeMutableRawPointer(mutating: pointer))
    default: Bridge.opened.free(UnsafeMutableRawPointer(mutating: pointer))
    }
  }

  @inline(__always)
  private static func invoke<Value, each Argument: OperatorArgument>(
    _ op: Operator, _ arguments: repeat each Argument,
    results read: (UnsafeMutableBufferPointer<ct_value>.SubSequence) throws -> Value
  ) throws -> Value {
    let functions = try Bridge.functions
    let reference = try op.reference
    return try withUnsafeTemporaryAllocation(of: ct_value.self, capacity: ArgumentFrame.valueCapacity + resultCapacity)
    {
      values in
      try withUnsafeTemporaryAllocation(of: Int64.self, capacity: ArgumentFrame.numberCapacity) { numbers in
        var frame = ArgumentFrame(values: values, numbers: numbers)
        repeat (each arguments).push(to: &frame)
        defer { frame.release() }
        let results = UnsafeMutableBufferPointer(rebasing: values[ArgumentFrame.valueCapacity...])
        var resultCount: Int32 = 0
        var message: UnsafeMutablePointer<CChar>?
        let status = functions.operator_call(
          reference, values.baseAddress, Int32(frame.count), results.baseAddress, Int32(resultCapacity), &resultCount,
          &message)
        guard status == 0 else {
          let tensors = frame.tensorReferences.compactMap { functions.tensor_retain($0) }.map { Tensor(owning: $0) }
          throw Bridge.error(op.name, message, functions, tensors)
        }
        // Everything given must outlive the call: the frame holds plain pointers.
        repeat withExtendedLifetime(each arguments) {}
        return try read(results[..<Int(resultCount)])
      }
    }
  }
}
