import CTorch

/// libtorch on this machine.
public enum TorchRuntime {
  /// libtorch's version, such as `2.13.0`.
  public static var version: String {
    get throws { try Bridge.functions.torch_version().map { String(cString: $0) } ?? "" }
  }

  /// How many threads one operator may use.
  public static var threadCount: Int {
    get throws { Int(try Bridge.functions.thread_count()) }
  }

  public static func setThreadCount(_ count: Int) throws {
    guard count >= 1, let number = Int32(exactly: count) else {
      throw TorchError(operation: "threads", message: "\(count) threads cannot be used")
    }
    try Bridge.functions.set_thread_count(number)
  }

  /// Lets this process keep the memory of freed tensors for the next ones. Training frees and makes the same large
  /// tensors at every step; handing them back to the system in between costs up to a quarter of a small model's time.
  /// Meant for programs whose main work is training: it holds for the whole process.
  public static func keepFreedMemory() { ct_keep_freed_memory() }
}
