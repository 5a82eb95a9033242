import CTorch

/// Where a tensor lives and is computed.
public struct Device: Hashable, Sendable, CustomStringConvertible {
  /// The kinds of device. The raw value is the number that libtorch gives it (`c10::DeviceType`).
  public enum Kind: Int32, Sendable, CaseIterable {
    case cpu = 0
    case cuda = 1
    case mps = 13
  }

  public var kind: Kind
  public var index: Int

  public init(_ kind: Kind, index: Int = 0) {
    self.kind = kind
    self.index = index
  }

  public static let cpu = Device(.cpu)
  public static let cuda = Device(.cuda)
  public static let mps = Device(.mps)

  /// Reads `cpu`, `cuda`, `cuda:1` or `mps`; nil for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard let kind = Kind.allCases.first(where: { "\($0)" == parts[0] }), parts.count <= 2 else { return nil }
    var index = 0
    if parts.count == 2 {
      guard kind == .cuda, let number = Int(parts[1]), number >= 0 else { return nil }
      index = number
    }
    self.init(kind, index: index)
  }

  public var description: String { index == 0 ? "\(kind)" : "\(kind):\(index)" }

  /// Whether libtorch on this machine can compute on the device.
  public var isAvailable: Bool {
    get throws {
      var available = false
      try Bridge.call("device") { $0.device_available(kind.rawValue, Int32(clamping: index), &available, $1) }
      return available
    }
  }

  /// Waits until everything that was asked of the device is done. On the CPU everything always is.
  public func synchronize() throws {
    try Bridge.call("synchronize") { $0.synchronize(kind.rawValue, Int32(clamping: index), $1) }
  }
}
