import CTorch

/// The opened bridge to libtorch. Everything in this module reaches libtorch through it.
enum Bridge {
  /// The bridge's functions, opened at first use; nil when they cannot be had, for `reason`.
  // Written once, before it can be read, and never changed.
  nonisolated(unsafe) static let table: UnsafePointer<ct_functions>? = {
    var message: UnsafePointer<CChar>?
    return ct_load(&message)
  }()

  private static let reason: TorchError = {
    var message: UnsafePointer<CChar>?
    _ = ct_load(&message)  // Tried once; it tells again why it failed.
    return TorchError(
      operation: "libtorch", message: message.map { String(cString: $0) } ?? "libtorch cannot be opened")
  }()

  static var functions: ct_functions {
    @inline(__always) get throws {
      guard let table else { throw reason }
      return table.pointee
    }
  }

  /// The functions, where a tensor exists and the bridge is therefore open.
  static var opened: ct_functions {
    @inline(__always) get {
      guard let table else { preconditionFailure("libtorch is not open") }
      return table.pointee
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
