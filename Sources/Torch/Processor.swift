extension Operator {
  fileprivate static let bfloat16Units = Operator("distill::bfloat16_units")
}

/// What the processor of this machine has.
public enum Processor {
  /// Instructions that multiply numbers in bfloat16. Without any of them bfloat16 is imitated, and slow.
  public struct BFloat16: OptionSet, Sendable, Hashable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Intel's matrix unit.
    public static let amx = Self(rawValue: 1)
    /// AVX512-BF16, of Intel's and AMD's.
    public static let avx512 = Self(rawValue: 2)
    /// That of 64-bit ARM processors, FEAT_BF16.
    public static let arm = Self(rawValue: 4)
  }

  /// Those that this processor has.
  ///
  /// - Throws: `TorchError` when libtorch cannot be loaded.
  public static var bfloat16: BFloat16 {
    get throws { BFloat16(rawValue: Int(try Dispatcher.call(.bfloat16Units).item())) }
  }
}
