import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

struct CheckpointTests {
  /// The names that the format gives to the types of elements.
  static let types: [(name: String, dtype: DType)] = [
    ("BOOL", .bool), ("U8", .uint8), ("I8", .int8), ("I16", .int16), ("I32", .int32), ("I64", .int64),
    ("F16", .float16), ("BF16", .bfloat16), ("F32", .float32), ("F64", .float64),
  ]

  @Test func whatPythonWroteIsRead() throws {
    let checkpoint = try Checkpoint.read("\(fixtureFolder)/interchange.safetensors")
    for (name, dtype) in Self.types {
      let tensor = try #require(checkpoint["type/\(name)"])
      #expect(tensor.dtype == dtype && tensor.shape == [2, 3])
      #expect(try tensor.doubles() == (0..<6).map { Double(dtype == .bool ? $0 % 2 : $0) }, "\(name)")
    }
    #expect(checkpoint["empty"]?.shape == [0, 3])
    #expect(try checkpoint["scalar"]?.item() == 2.5)
    #expect(checkpoint["scalar"]?.shape == [])
    #expect(try checkpoint["odd \"name\" \\ \n ü 😀"]?.doubles() == [1, 2, 3])
    #expect(checkpoint.metadata == ["format": "pt", "ein \"Text\"": "Zeile 1\nZeile 2 ☃"])
    #expect(checkpoint["absent"] == nil)
    #expect(checkpoint.tensors.count == Self.types.count + 3)
  }

  private func sample() throws -> [NamedTensor] {
    var tensors = try Self.types.map { name, dtype in
      NamedTensor(name: "type/\(name)", tensor: try Tensor.range(0, 6).reshaped([2, 3]).to(dtype))
    }
    tensors.append(NamedTensor(name: "scalar", tensor: try Tensor([2.5] as [Float], shape: [])))
    tensors.append(NamedTensor(name: "empty", tensor: try .zeros([0, 3])))
    tensors.append(NamedTensor(name: "odd \"name\" \\ \n\u{1} ü 😀", tensor: try Tensor([1, 2, 3] as [UInt8])))
    let images = try Tensor((0..<24).map(Float.init), shape: [1, 2, 3, 4])
    tensors.append(NamedTensor(name: "channels last", tensor: try images.contiguous(.channelsLast)))
    tensors.append(NamedTensor(name: "transposed", tensor: try images.transposed(1, 3)))
    return tensors
  }

  private static let metadata = ["format": "pt", "note": "\"quoted\" \\ \t ☃"]

  @Test func whatIsWrittenIsRead() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      let tensors = try sample()
      try Checkpoint.write(tensors, metadata: Self.metadata, to: path)
      let read = try Checkpoint.read(path)
      #expect(read.metadata == Self.metadata && read.path == path)
      #expect(read.tensors.count == tensors.count)
      for named in tensors {
        let found = try #require(read[named.name], "\(named.name)")
        #expect(found.dtype == named.tensor.dtype && found.shape == named.tensor.shape)
        #expect(try found.doubles() == named.tensor.doubles(), "\(named.name)")
      }
      try read.write(to: "\(folder)/b.safetensors")
      #expect(
        FileManager.default.contents(atPath: path) == FileManager.default.contents(atPath: "\(folder)/b.safetensors"),
        "the same content gives the same bytes")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
    }
  }

  @Test func anEmptyCheckpoint() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      try Checkpoint.write([], to: path)
      let read = try Checkpoint.read(path)
      #expect(read.tensors.isEmpty && read.metadata.isEmpty)
    }
  }

  @Test func theOrderOfEqualElementsIsKept() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      let names = ["z", "a", "m", "b"]
      let dtypes: [DType] = [.float32, .uint8, .float32, .int64]
      try Checkpoint.write(
        zip(names, dtypes).map { NamedTensor(name: $0, tensor: try .zeros([3], dtype: $1)) }, to: path)
      #expect(try Checkpoint.read(path).tensors.map(\.name) == ["b", "z", "m", "a"])
    }
  }

  /// A file may be replaced while its tensors are in use: they lie over the old one.
  @Test func aFileCanBeReplacedByItsOwnTensors() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      try Checkpoint.write([NamedTensor(name: "a", tensor: Tensor([1, 2, 3] as [Float]))], to: path)
      let read = try Checkpoint.read(path)
      try read.tensors[0].tensor.multiply(by: 2)
      try read.write(to: path)
      #expect(try Checkpoint.read(path)["a"]?.floats() == [2, 4, 6])
      #expect(try read["a"]?.floats() == [2, 4, 6])
    }
  }

  @Test func twoTensorsOfOneNameAreRefused() throws {
    let tensor = try Tensor.zeros([1])
    for names in [["a", "a"], ["__metadata__"]] {
      let error = try #require(throws: CheckpointError.self) {
        try Checkpoint.write(names.map { NamedTensor(name: $0, tensor: tensor) }, to: "/nowhere/a")
      }
      #expect(error.problem.contains("'\(names[0])'"))
    }
  }

  @Test func whatCannotBeWrittenIsRefused() throws {
    try withTemporaryFolder { folder in
      #expect(throws: FileError.self) { try Linear(2, 2).save(to: "\(folder)/no/a.safetensors") }
    }
  }

  /// A Python that has the library: that of the fixtures, or any.
  static let python: String? = {
    let own = URL(fileURLWithPath: fixtureFolder).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent(".venv-fixtures/bin/python").path
    return [own, "python3"].first { run($0, ["-c", "import safetensors.torch"])?.status == 0 }
  }()

  private static func run(_ program: String, _ arguments: [String]) -> (status: Int32, output: String)? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  @Test(.enabled(if: python != nil, "no Python with torch and safetensors here; 'make fixtures' makes one"))
  func whatIsWrittenIsReadByPython() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      let tensors = try sample()
      try Checkpoint.write(tensors, metadata: Self.metadata, to: path)
      let script = """
        import json, sys
        from safetensors import safe_open
        with safe_open(sys.argv[1], "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            print(json.dumps({
                "metadata": file.metadata(),
                "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()},
                "types": {name: str(tensor.dtype) for name, tensor in tensors.items()},
                "values": {name: tensor.double().flatten().tolist() for name, tensor in tensors.items()},
            }))
        """
      struct Report: Decodable {
        var metadata: [String: String]
        var shapes: [String: [Int]]
        var types: [String: String]
        var values: [String: [Double]]
      }
      let python = try #require(Self.python)
      let result = try #require(Self.run(python, ["-c", script, path]))
      #expect(result.status == 0)
      let report = try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
      #expect(report.metadata == Self.metadata)
      #expect(report.shapes.count == tensors.count)
      for named in tensors {
        #expect(report.shapes[named.name] == named.tensor.shape)
        #expect(report.types[named.name] == "torch.\(named.tensor.dtype)")
        #expect(try report.values[named.name] == named.tensor.doubles(), "\(named.name)")
      }
    }
  }
}
