import DistillPrograms
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Programs of PyTorch as layers, held against what PyTorch computes of the same weights in float64.
@Suite struct TorchProgramTests {
  static let folder = "\(fixtureFolder)/programs"

  /// N images whose pixel p, counted through all of them, has the value sin(p).
  static func images(_ count: Int) throws -> Tensor {
    try Tensor((0..<count * 64).map { Float(sin(Double($0))) }, shape: [count, 1, 8, 8])
  }

  /// The logits of the first two of them.
  static func logits(_ name: String = "values", key: String = "logits") throws -> Tensor {
    let text = try Data(contentsOf: URL(filePath: "\(folder)/\(name).json"))
    let rows = try #require(try JSONDecoder().decode([String: [[Double]]].self, from: text)[key])
    return try Tensor(rows.flatMap { $0.map { Float($0) } }, shape: [rows.count, rows[0].count])
  }

  @Test(
    arguments: [
      ("traced", OutputChoice.automatic), ("scripted", .automatic), ("dictionary", .automatic), ("named", .automatic),
      ("dictionary", .named("logits")), ("dictionary", .place(1)), ("tuple", .place(1)), ("list", .place(1)),
    ])
  func equalsPyTorch(_ name: String, _ output: OutputChoice) throws {
    let program = try ForeignProgram("\(Self.folder)/\(name).pt", output: output, isTrusted: true)
    #expect(program.format == .torchScript)
    try assertClose(program(try Self.images(2)), try Self.logits())
    // Evaluation mode also the second time, and no gradient.
    let again = try program(try Self.images(2).requireGradient())
    try assertClose(again, try Self.logits())
    #expect(!again.requiresGradient)
  }

  @Test func countsParameters() throws {
    #expect(try ForeignProgram("\(Self.folder)/scripted.pt", isTrusted: true).ownParameterCount == 652)
    let summary = try ForeignProgram("\(Self.folder)/scripted.pt", isTrusted: true).summary(inputShape: [1, 8, 8])
    #expect(summary.parameters == 652)
    #expect(summary.rows.isEmpty)
  }

  @Test func probabilitiesBecomeLogits() throws {
    let program = try ForeignProgram(
      "\(Self.folder)/probabilities.pt", givesProbabilities: true, isTrusted: true)
    try assertClose(program(try Self.images(2)), try Self.logits().logSoftmax(along: 1), absolute: 1e-5)
  }

  /// A batch that suits no program is a message, not a wrong number.
  @Test func refusesABatchThatItCannotTake() throws {
    let program = try ForeignProgram("\(Self.folder)/rigid.pt", isTrusted: true)
    #expect(try program(try Self.images(4)).shape == [4, 10])
    let error = try #require(throws: ProgramError.self) { try program(try Self.images(3)) }
    #expect(error.description.contains("for a batch of the shape [3, 1, 8, 8]: shape '[4, 64]' is invalid"))
  }

  @Test func isNotOpenedWithoutTrust() throws {
    let error = try #require(throws: ProgramError.self) { try ForeignProgram("\(Self.folder)/scripted.pt") }
    #expect(error.description.contains("it is a TorchScript program, which is code"))
    #expect(error.description.contains("say 'trusted: true'"))
  }

  @Test(
    arguments: [
      ("tuple", OutputChoice.automatic, "it gives 2 outputs (0, 1): say which of them are the logits"),
      ("dictionary", .named("logit"), "there is no output 'logit': it gives 2 outputs (0 'features', 1 'logits')"),
      ("named", .place(2), "there is no output '2': it gives 2 outputs (0 'features', 1 'logits')"),
      ("word", .automatic, "its output logits is of the kind String, and not a tensor"),
      ("nested", .place(1), "its output 1 is of the kind Tuple, and not a tensor"),
      ("two", .automatic, "it takes 2 inputs (images, mask), and an example is one tensor"),
      ("operator", .automatic, "elsewhere::twice"),
    ])
  func saysWhatDoesNotFit(_ name: String, _ output: OutputChoice, _ message: String) throws {
    let error = try #require(throws: ProgramError.self) {
      let program = try ForeignProgram("\(Self.folder)/\(name).pt", output: output, isTrusted: true)
      _ = try program(try Self.images(2))
    }
    #expect(error.description.contains(message), "\(error)")
  }

  /// Whatever its bytes are, a file is a program or a message.
  @Test func refusesDamagedFiles() throws {
    let whole = try Data(contentsOf: URL(filePath: "\(Self.folder)/scripted.pt"))
    var files: [Data] = [Data(), Data("no program".utf8), whole.prefix(1_000), whole.dropLast(10)]
    for place in stride(from: 40, to: whole.count, by: whole.count / 24) {
      var changed = whole
      changed[place] ^= 0xff
      files.append(changed)
    }
    try withTemporaryFolder { folder in
      for (index, file) in files.enumerated() {
        let path = "\(folder)/\(index).pt"
        try file.write(to: URL(filePath: path))
        do {
          let program = try ForeignProgram(path, isTrusted: true)
          #expect(try program(try Self.images(2)).shape == [2, 10])
        } catch let error as ProgramError {
          #expect(error.path == path)
          #expect(error.description.count < 600, "\(error)")
        }
      }
      #expect(throws: ProgramError.self) { try ForeignProgram("\(folder)/none.pt", isTrusted: true) }
      #expect(throws: ProgramError.self) { try ForeignProgram(folder, isTrusted: true) }
    }
  }

  /// A file of weights is no program, and the other way round.
  @Test func isNotAFileOfWeights() throws {
    #expect(ProgramFormat(of: "\(fixtureFolder)/torch/zip.pth") == nil)
    #expect(ProgramFormat(of: "\(fixtureFolder)/layers.safetensors") == nil)
    #expect(ProgramFormat(of: "\(fixtureFolder)/torch/script.pt") == .torchScript)
  }
}
