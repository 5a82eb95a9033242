import Foundation
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

@Suite("convert, and files of torch.save where weights are named")
struct ConvertCommandTests {
  private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/torch").path

  /// A folder with copies of PyTorch's files.
  private func withFiles<Result>(_ body: (String) throws -> Result) throws -> Result {
    try withFolder { folder in
      for name in try FileManager.default.contentsOfDirectory(atPath: Self.fixtures) {
        try FileManager.default.copyItem(atPath: "\(Self.fixtures)/\(name)", toPath: "\(folder)/\(name)")
      }
      return try body(folder)
    }
  }

  @Test("A file becomes safetensors with the same numbers", arguments: ["zip.pth", "old.pth", "big.pth"])
  func converts(name: String) throws {
    try withFiles { folder in
      let outcome = try Command.run(["convert", name, "-o", "made.safetensors"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      #expect(outcome.output.contains("made.safetensors: 19 tensors, 131 numbers"))
      let expected = try Checkpoint.read("\(folder)/values.safetensors")
      let made = try Checkpoint.read("\(folder)/made.safetensors")
      #expect(Checkpoint.format(of: "\(folder)/made.safetensors") == .safetensors)
      #expect(made.metadata["format"] == "pt")
      #expect(made.tensors.count == expected.tensors.count)
      for named in expected.tensors {
        let found = try #require(made[named.name])
        #expect(found.dtype == named.tensor.dtype && found.shape == named.tensor.shape)
        #expect(try found.withBytes { Array($0) } == named.tensor.withBytes { Array($0) }, "\(named.name)")
      }
    }
  }

  @Test("It says what it wrote, beside the input, and replaces nothing without --force")
  func outputs() throws {
    try withFiles { folder in
      let result = try Command.run(["convert", "training.pth", "--json"], in: folder).object()
      #expect(result["output"] as? String == "training.safetensors")
      #expect(result["format"] as? String == "torch")
      #expect(result["tensors"] as? Int == 2)
      #expect(result["bytes"] as? Int == 24)
      #expect((result["metadata"] as? [String: String])?["epoch"] == "3")
      let again = try Command.run(["convert", "training.pth"], in: folder)
      #expect(again.code == 2 && again.errors.contains("--force"))
      #expect(try Command.run(["convert", "training.pth", "--force", "--quiet"], in: folder).errors.isEmpty)
      let itself = try Command.run(
        ["convert", "training.safetensors", "-o", "./training.safetensors", "--force"], in: folder)
      #expect(itself.code == 2 && itself.errors.contains("is what is read"))
      let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(!names.contains { $0.hasSuffix(".tmp") })
    }
  }

  @Test("Parts, prefixes, types and shards")
  func choices() throws {
    try withFiles { folder in
      let asked = try Command.run(["convert", "several.pth"], in: folder)
      #expect(asked.code == 2 && asked.errors.contains("--part model"))
      let part = try Command.run(["convert", "several.pth", "--part", "ema", "-o", "ema.safetensors"], in: folder)
      #expect(part.code == 0, "\(part.everything)")
      #expect(try Checkpoint.read("\(folder)/ema.safetensors")["weight"]?.doubles() == [2, 2])
      let prefix = try Command.run(
        ["convert", "teacher.pth", "--remove-prefix", "output.", "-o", "head.safetensors", "--json"], in: folder)
      #expect(try prefix.object()["left_out"] as? [String] == ["hidden.0.linear.weight", "hidden.0.linear.bias"])
      #expect(
        try Checkpoint.read("\(folder)/head.safetensors").tensors.map(\.name).sorted() == ["bias", "weight"])
      let wrong = try Command.run(["convert", "teacher.pth", "--remove-prefix", "nope."], in: folder)
      #expect(wrong.code == 2 && wrong.errors.contains("no name in teacher.pth begins with 'nope.'"))
      let half = try Command.run(
        ["convert", "teacher.pth", "--type", "bfloat16", "-o", "half.safetensors"], in: folder)
      #expect(half.code == 0 && half.output.contains("1.82 kB"), "\(half.everything)")
      #expect(try Checkpoint.read("\(folder)/half.safetensors").tensors.allSatisfy { $0.tensor.dtype == .bfloat16 })
      for (input, output) in [("sharded", "one.safetensors"), ("shardedbins", "two.safetensors")] {
        #expect(try Command.run(["convert", input, "-o", output], in: folder).code == 0)
        #expect(try Checkpoint.read("\(folder)/\(output)")["c"]?.doubles() == [4, 5])
      }
    }
  }

  @Test("What asks for more than tensors is refused by name, and nothing is executed")
  func refused() throws {
    try withFiles { folder in
      let before = try contents(of: folder)
      for (name, words) in [
        ("system.pth", "posix.system"), ("oldsystem.pth", "posix.system"), ("module.pth", "Identity"),
        ("script.pt", "TorchScript"), ("complex.pth", "complex64"), ("nothere.pth", "no such file"),
      ] {
        for command in ["convert", "inspect"] where command == "convert" || name != "nothere.pth" {
          let outcome = try Command.run([command, name], in: folder)
          #expect(outcome.code == 2 && outcome.errors.contains(words), "\(command) \(name): \(outcome.everything)")
          #expect(!outcome.output.contains("executed"))
        }
      }
      #expect(try contents(of: folder) == before)
    }
  }

  @Test("inspect shows them")
  func inspect() throws {
    try withFiles { folder in
      let file = try #require(
        try Command.run(["inspect", "training.pth", "--json"], in: folder).object()["file"] as? [String: Any])
      #expect(file["format"] as? String == "torch")
      #expect((file["tensors"] as? [[String: Any]])?.compactMap { $0["name"] as? String } == ["weight", "bias"])
      #expect(try Command.run(["inspect", "several.pth", "--part", "ema"], in: folder).output.contains("weight"))
      #expect(try Command.run(["inspect", "sharded"], in: folder).output.contains("3 tensors"))
      #expect(
        try Command.run(["inspect", "sharded/model.safetensors.index.json"], in: folder).output.contains("3 tensors"))
    }
  }

  @Test("A recipe names such a file as its teacher's weights")
  func teaches() throws {
    try withFiles { folder in
      try write(
        """
        name: elsewhere
        seeds: [1, 2]
        threads: 1
        data: {dataset: digits}
        teacher:
          model: {architecture: mlp, hidden: [12]}
          weights: teacher.pth
        student: {model: {architecture: mlp, hidden: [4]}}
        terms: [soft_targets, hard_labels]
        training: {epochs: 1, batch_size: 256}
        """, to: "\(folder)/recipe.yaml")
      let check = try Command.run(["check"], in: folder)
      // It knows nothing, which is all that is wrong with it.
      #expect(check.everything.contains("weights teacher.pth"), "\(check.everything)")
      #expect(check.everything.contains("1 problem to mend") && check.everything.contains("that is guessing"))
      let run = try Command.run(["run"], in: folder)
      #expect(run.code == 0, "\(run.everything)")
      let evil = try Command.run(["check", "teacher.weights=system.pth"], in: folder)
      #expect(evil.code == 2 && evil.everything.contains("posix.system"), "\(evil.everything)")
    }
  }

  // MARK: Python

  private static let python: String? = {
    let own = URL(fileURLWithPath: fixtures).appendingPathComponent("../../../.venv-fixtures/bin/python").path
    return [own, "python3"].first { call($0, ["-c", "import torch, safetensors.torch"]) == 0 }
  }()

  private static func call(_ program: String, _ arguments: [String]) -> Int32? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardError = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    process.waitUntilExit()
    return process.terminationStatus
  }

  @Test(
    "PyTorch finds the same in what it saved and in what was made of it",
    .enabled(if: python != nil, "no Python with torch and safetensors here; 'make fixtures' makes one"),
    arguments: [
      [], ["_use_new_zipfile_serialization=False"], ["pickle_protocol=3"], ["pickle_protocol=4"], ["pickle_protocol=5"],
    ])
  func againstPython(options: [String]) throws {
    try withFolder { folder in
      let python = try #require(Self.python)
      let make = """
        import torch, sys
        torch.manual_seed(1)
        model = torch.nn.DataParallel(torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.LSTM(4, 5), torch.nn.Embedding(7, 3)))
        state = model.state_dict()
        state["module.view"] = state["module.0.weight"].permute(3, 1, 0, 2)[1:, :2]
        torch.save({"model": state, "epoch": 5, "lr": 0.1}, "made.pt"\(options.map { ", \($0)" }.joined()))
        """
      let compare = """
        import torch
        from safetensors.torch import load_file
        expected = torch.load("made.pt", weights_only=False)["model"]
        found = load_file("made.safetensors")
        assert len(expected) == len(found), (len(expected), len(found))
        for name, tensor in expected.items():
            other = found[name.removeprefix("module.")]
            assert tensor.dtype == other.dtype and torch.equal(tensor, other), name
        """
      try write("import os\nos.chdir('\(folder)')\n" + make, to: "\(folder)/make.py")
      try write("import os\nos.chdir('\(folder)')\n" + compare, to: "\(folder)/compare.py")
      #expect(Self.call(python, ["\(folder)/make.py"]) == 0)
      let outcome = try Command.run(["convert", "made.pt"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      #expect(Self.call(python, ["\(folder)/compare.py"]) == 0)
    }
  }
}
