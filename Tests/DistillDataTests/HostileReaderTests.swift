import HostileReaders
import TestSupport
import Testing

/// What the fuzzer (Tests/Fuzz) found once, and a little of what it does.
struct HostileReaderTests {
  @Test("Good files are taken, and those that must not be are refused", arguments: HostileReader.allCases)
  func seeds(reader: HostileReader) throws {
    let seeds = reader.seeds(in: fixtureFolder)
    #expect(!seeds.isEmpty)
    let taken = try seeds.filter { try reader.read($0) == nil }
    // Calls of the system, several parts, objects, records.
    let refused = [HostileReader.torch: 3, .npy: 2][reader] ?? 0
    #expect(taken.count == seeds.count - refused)
  }

  @Test("What was found stays mended", arguments: HostileReader.allCases)
  func findings(reader: HostileReader) throws {
    for finding in reader.findings(in: fixtureFolder) {
      _ = try reader.read(finding.bytes)
      // Those of ONNX Runtime are in the tests of programs.
      if reader != .onnx { _ = try reader.readTensors(finding.bytes) }
    }
  }

  /// 64 million pixels would be made room for, in hundreds of megabytes, before the decoder notices.
  @Test("A picture cannot have more pixels than its bytes can say")
  func largePictures() throws {
    let findings = HostileReader.image.findings(in: fixtureFolder).filter { $0.name.contains("more-than-its-bytes") }
    #expect(findings.count == 2)
    for finding in findings {
      let message = try HostileReader.image.read(finding.bytes)
      #expect(message?.contains("cannot be right: it claims to have 8000×8000 pixels") == true, "\(message ?? "taken")")
    }
  }

  @Test("Changed files are taken or refused, and end nothing", arguments: HostileReader.allCases)
  func changed(reader: HostileReader) throws {
    var mutator = Mutator(reader, seeds: reader.seeds(in: fixtureFolder), seed: 7)
    var (taken, refused) = (0, 0)
    for index in 0..<1000 {
      let input = mutator.next()
      let answer = try index % 10 == 0 && reader != .onnx ? reader.readTensors(input) : reader.read(input)
      if answer == nil { taken += 1 } else { refused += 1 }
    }
    #expect(taken > 10 && refused > 100, "\(taken) taken, \(refused) refused")
  }
}
