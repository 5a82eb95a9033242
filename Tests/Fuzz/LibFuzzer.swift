#if LIBFUZZER
import Foundation
import HostileReaders

/// The readers under libFuzzer, with our knowledge of the formats in every second change.
enum LibFuzzer {
  nonisolated(unsafe) static var reader = HostileReader.safetensors
  nonisolated(unsafe) static var seeds: [[UInt8]] = []

  static func run() -> Never {
    var arguments = CommandLine.arguments
    guard arguments.count > 1, let named = HostileReader(rawValue: arguments.remove(at: 1)) else {
      stop("name a reader: \(HostileReader.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    reader = named
    seeds = reader.seeds(in: "Tests/Fixtures")
    var count = Int32(arguments.count)
    var pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = .allocate(capacity: arguments.count + 1)
    for (index, argument) in arguments.enumerated() { pointers?[index] = strdup(argument) }
    pointers?[arguments.count] = nil
    exit(
      runDriver(&count, &pointers) { start, count in
        let bytes = Array(UnsafeBufferPointer(start: start, count: count))
        do { _ = try LibFuzzer.reader.read(bytes) } catch { stop("\(error)") }
        return 0
      })
  }
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<Int32>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ read: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

@_silgen_name("LLVMFuzzerMutate")
private func mutate(_ data: UnsafeMutablePointer<UInt8>, _ count: Int, _ most: Int) -> Int

@_cdecl("LLVMFuzzerCustomMutator")
func customMutator(_ data: UnsafeMutablePointer<UInt8>, _ count: Int, _ most: Int, _ seed: UInt32) -> Int {
  guard seed % 2 == 0 else { return mutate(data, count, most) }
  var mutator = Mutator(LibFuzzer.reader, seeds: LibFuzzer.seeds, seed: UInt64(seed))
  let changed = mutator.mutated(Array(UnsafeBufferPointer(start: data, count: count))).prefix(most)
  for (index, byte) in changed.enumerated() { data[index] = byte }
  return changed.count
}
#endif
