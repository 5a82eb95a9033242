import CTorch

/// The opened bridge to libtorch. Everything in this module reaches libtorch through it.
enum Bridge {
  /// The bridge's functions, opened at first use; or why they cannot be had.
  // Written once, before it can be read, and never changed.
  nonisolated(unsafe) private static let loaded: Result<UnsafePointer<ct_functions>, TorchError> = {
    var message: UnsafePointer<CChar>?
    guard let functions = ct_load(&message) else {
      let reason = message.map { String(cString: $0) } ?? "libtorch cannot be opened"
      return .failure(TorchError(operation: "libtorch", message: reason))
    }
    return .success(functions)
  }()

  static var functions: ct_functions {
    @inline(__always) get throws { try loaded.get().pointee }
  }

  /// The functions, where a tensor exists and the bridge is therefore open.
  static var opened: ct_functions {
    @inline(__always) get {
      guard case .success(let functions) = loaded else { preconditionFailure("libtorch is not open") }
      return functions.pointee
    }
  }

  typealias ErrorOut = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

  /// Calls one of the bridge's functions and turns its message, if it failed, into a `TorchError`.
  static func call(
    _ operation: @autoclosure () -> String, tensors: @autoclosure () -> [Tensor] = [],
    _ body: (ct_functions, ErrorOut) -> Int32
  ) throws {
    let functions = try functions
    var message: UnsafeMutablePointer<CChar>?
    if body(functions, &message) != 0 {
      throw error(operation(), message, functions, tensors())
    }
  }

  /// What a function that did not fail has put in place.
  static func given<Pointer>(_ pointer: Pointer?, by operation: String) throws -> Pointer {
    guard let pointer else { throw TorchError(operation: operation, message: "gave nothing") }
    return pointer
  }

  static func error(
    _ operation: String, _ message: UnsafeMutablePointer<CChar>?, _ functions: ct_functions, _ tensors: [Tensor]
  ) -> TorchError {
    defer { functions.free(message) }
    let text = message.map { String(cString: $0) } ?? "failed without a message"
    return TorchError(
      operation: operation, shapes: tensors.map(\.shape), dtypes: tensors.map(\.dtype),
      message: text.split(separator: "\n").joined(separator: " "))
  }
}
