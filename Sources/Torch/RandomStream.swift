import CTorch
import Synchronization

/// A named, seeded source of random tensors. Streams with different names or seeds are independent of each other, and a
/// stream can be saved and restored, so a run can be interrupted and continued.
///
/// Layers draw their initial weights and their dropout masks from `RandomStream.current`.
public final class RandomStream: @unchecked Sendable {
  let reference: ct_generator_ref
  private let lock = Mutex(())

  /// - Throws: `TorchError` when the device has no generator here.
  public init(seed: UInt64, name: String = "", device: Device = .cpu) throws {
    var made: ct_generator_ref?
    let mixed = RandomSource(seed: seed, name).seed
    try Bridge.call("generator") { $0.generator_create(device.kind.rawValue, mixed, &made, $1) }
    reference = try Bridge.given(made, by: "generator")
  }

  deinit { Bridge.opened.generator_release(reference) }

  /// The stream that `withRandomStream` put in force; nil outside.
  @TaskLocal static var scoped: RandomStream?

  /// The stream that layers draw from: the one in force, or else libtorch's own default.
  public static var current: RandomStream? { scoped }

  /// Everything that is needed to continue the stream from here, as bytes.
  public func state() throws -> [UInt8] {
    try lock.withLock { _ in
      var found: ct_tensor_ref?
      try Bridge.call("generator state") { $0.generator_state(reference, &found, $1) }
      return try Tensor(owning: Bridge.given(found, by: "generator state")).array()
    }
  }

  /// Continues from a saved state.
  public func restore(_ state: [UInt8]) throws {
    let tensor = try Tensor(state)
    try lock.withLock { _ in
      try Bridge.call("generator state") { $0.generator_set_state(reference, tensor.reference, $1) }
    }
  }
}

/// Runs `body` with `stream` as the one that layers draw their initial weights and dropout masks from.
public func withRandomStream<Result>(_ stream: RandomStream, _ body: () throws -> Result) rethrows -> Result {
  try RandomStream.$scoped.withValue(stream, operation: body)
}

/// A small random number generator for the host: SplitMix64, seeded by a seed and any number of keys. Two sources with
/// the same seed and keys give the same numbers, wherever and in whatever order they are made; that is what lets the
/// order of examples and the augmentation of each one be found again without having been stored.
///
/// ## Reference
/// Steele, Lea, Flood: Fast splittable pseudorandom number generators. OOPSLA 2014.
public struct RandomSource: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  /// A source for a name, such as `order`, and numbers, such as the epoch.
  public init(seed: UInt64, _ name: String, _ keys: UInt64...) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a over the name's bytes
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    state = Self.mix(seed &+ 0x9e37_79b9_7f4a_7c15) ^ hash
    for key in keys { state = Self.mix(state &+ Self.mix(key &+ 0x9e37_79b9_7f4a_7c15)) }
  }

  /// A seed for another generator that is to go on from here.
  public var seed: UInt64 { Self.mix(state) }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return Self.mix(state)
  }

  /// A number in [0, 1).
  public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  private static func mix(_ value: UInt64) -> UInt64 {
    var value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
