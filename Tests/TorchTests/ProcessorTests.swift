import Foundation
import Testing
import Torch

@Suite struct ProcessorTests {
  /// The system's own list of what the processor has, where it keeps one.
  @Test func bfloat16IsWhatTheSystemSays() throws {
    let found = try Processor.bfloat16
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags") || $0.hasPrefix("Features") })
    else { return }
    let words = Set(line.split(whereSeparator: \.isWhitespace).map(String.init))
    #if arch(x86_64)
    #expect(found.contains(.avx512) == words.contains("avx512_bf16"))
    #expect(found.contains(.amx) == words.isSuperset(of: ["amx_tile", "amx_bf16"]))
    #expect(!found.contains(.arm))
    #elseif arch(arm64)
    #expect(found == (words.contains("bf16") ? .arm : []))
    #endif
  }
}
