import DistillPrograms
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Packages of AOTInductor hold machine code for the processor on which they were made: the tests make them, where there is
/// a Python with PyTorch and a compiler.
enum Packages {
  /// The folder with the packages that the script made; nil where it could not.
  static let folder: String? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    let named = ProcessInfo.processInfo.environment["DISTILL_TORCH_PYTHON"].map { [$0] } ?? []
    let pythons = named + ["\(root)/.venv-fixtures/bin/python", "python3"]
    guard let python = pythons.first(where: { PythonEnvironment.run($0, ["-c", "import torch"]) }) else { return nil }
    let folder = FileManager.default.temporaryDirectory.appending(path: "distill-packages-\(getpid())").path
    let script = "\(root)/scripts/fixtures/packages/make.py"
    return PythonEnvironment.run(python, [script, folder]) ? folder : nil
  }()
}

/// Packages of AOTInductor as layers.
@Suite(.enabled(if: Packages.folder != nil, "no Python with PyTorch and a C++ compiler here: left out"), .serialized)
struct PackageTests {
  @Test("Batches of any size, also of a package for one size", arguments: ["any", "four"], [1, 3, 4, 9])
  func equalsPyTorch(_ name: String, _ count: Int) throws {
    let folder = try #require(Packages.folder)
    let program = try ForeignProgram("\(folder)/\(name).pt2", isTrusted: true)
    #expect(program.format == .package)
    #expect(program.ownParameterCount == nil)
    let images = try TorchProgramTests.images(count)
    let output = try program(images)
    #expect(output.shape == [count, 10])
    let rows = min(count, 2)
    try assertClose(
      output.sliced(0, from: 0, to: rows), TorchProgramTests.logits().sliced(0, from: 0, to: rows), absolute: 1e-5)
    // The same again, and as the TorchScript program has it.
    let script = try ForeignProgram("\(TorchProgramTests.folder)/scripted.pt", isTrusted: true)
    try assertClose(program(images), try script(images), absolute: 1e-5)
  }

  @Test func choosesOutputsByNameAndPlace() throws {
    let folder = try #require(Packages.folder)
    let images = try TorchProgramTests.images(2)
    for output in [OutputChoice.named("features"), .place(0)] {
      #expect(try ForeignProgram("\(folder)/any.pt2", output: output, isTrusted: true)(images).shape == [2, 64])
    }
    let error = try #require(throws: ProgramError.self) {
      try ForeignProgram("\(folder)/any.pt2", output: .named("scores"), isTrusted: true)(images)
    }
    #expect(error.description.contains("there is no output 'scores': it gives 2 outputs (0 'features', 1 'logits')"))
  }

  @Test func saysWhatDoesNotFit() throws {
    let folder = try #require(Packages.folder)
    let program = try ForeignProgram("\(folder)/any.pt2", isTrusted: true)
    let error = try #require(throws: ProgramError.self) { try program(try Tensor.zeros([2, 3, 8, 8])) }
    #expect(error.description.contains("unmatched dim value at 1, expected: 1, but got: 3"), "\(error)")
    let untrusted = try #require(throws: ProgramError.self) { try ForeignProgram("\(folder)/any.pt2") }
    #expect(untrusted.description.contains("it is a package of AOTInductor, which is code"))
    let whole = try Data(contentsOf: URL(filePath: "\(folder)/any.pt2"))
    try withTemporaryFolder { temporary in
      try whole.prefix(whole.count / 2).write(to: URL(filePath: "\(temporary)/half.pt2"))
      #expect(throws: ProgramError.self) { try ForeignProgram("\(temporary)/half.pt2", isTrusted: true) }
    }
  }
}
