import DistillData
import DistillPrograms
import DistillTokenizers
import Foundation
import Torch
import TorchNN

/// The readers that are given whatever bytes somebody thinks of: by the fuzzer, and by the tests with what it found.
///
/// To add one: a case, what `read` does with the bytes, and what it begins with in `seeds`.
public enum HostileReader: String, CaseIterable, Sendable {
  /// The header and the places of a safetensors file.
  case safetensors
  /// Files of `torch.save`, in both forms.
  case torch
  /// Lists of shards.
  case index
  case npy
  case npz
  /// PNG and JPEG.
  case image
  /// The content of `tokenizer.json`, and what comes of texts with it.
  case tokenizer
  /// What is looked through of an ONNX file before ONNX Runtime sees it; with tensors, ONNX Runtime itself.
  case onnx

  /// Reads bytes; nil where they were taken, otherwise the reader's message.
  ///
  /// - Throws: `HostileFinding` where the reader took what it should not, or refused it in an unknown way. It may also trap,
  ///   hang or take memory, which the caller has to notice.
  public func read(_ bytes: [UInt8]) throws -> String? {
    let buffer = HostBuffer(bytes)
    let raw = UnsafeRawBufferPointer(buffer.bytes)
    let path = "/nowhere/\(rawValue)"
    do {
      switch self {
      case .safetensors, .torch, .index:
        for place in try Checkpoint.places(in: raw, path: path) {
          guard place.lowerBound >= 0, place.upperBound <= raw.count else {
            throw HostileFinding("a tensor lies at \(place) of \(raw.count) bytes")
          }
        }
      case .npy: try Self.look(at: try NPY.read(buffer, 0..<raw.count, name: path))
      case .npz:
        let file = try NPZ(buffer, path: path)
        for name in file.names {
          if let array = try file.array(name) { try Self.look(at: array) }
        }
      case .image: _ = try RawImage.decode(raw, file: path).converted(channels: 3).planes
      case .tokenizer:
        let tokenizer = try Tokenizer(json: bytes, file: path)
        // What is asked of it may be refused without a word of the file.
        do { try Self.use(tokenizer) } catch let error as TokenizerError { return error.description }
      case .onnx: _ = try ONNXFile(raw, path: path)
      }
    } catch let error as any ReportedError {
      let message = "\(error)"
      guard message.hasPrefix(path), message.utf8.count < 4000 else {
        throw HostileFinding("a message that does not name the file, or does not end: \(message.prefix(300))")
      }
      return message
    }
    return nil
  }

  /// Reads as `read`, and makes the tensors of what is taken, whose numbers are all looked at. Needs libtorch, and for ONNX
  /// files ONNX Runtime.
  public func readTensors(_ bytes: [UInt8]) throws -> String? {
    if self == .onnx { return try Self.compute(bytes) }
    guard self == .safetensors || self == .torch else { return try read(bytes) }
    do {
      for named in try Checkpoint.read(HostBuffer(bytes), path: "/nowhere/\(rawValue)").tensors {
        _ = try named.tensor.doubles()
      }
    } catch let error as CheckpointError {
      return "\(error)"
    }
    return nil
  }

  private static let text =
    "The student's caf\u{e9} le\u{301}arns, <s>don't</s> [MASK] \u{6771}\u{4eac} \u{1f469}\u{200d}\u{1f52c}\u{0} 12345  \n\t aaaa"

  private static func use(_ tokenizer: Tokenizer) throws {
    let length = 24
    for pair in [nil, "b a\u{fffd}"] {
      let encoded = try tokenizer.encode(text, pair: pair, maximumLength: length)
      guard encoded.count <= length else { throw HostileFinding("\(encoded.count) tokens where \(length) are allowed") }
      for id in encoded.ids where id < 0 || id >= tokenizer.vocabularySize {
        throw HostileFinding("token \(id) of a vocabulary of \(tokenizer.vocabularySize)")
      }
      _ = try tokenizer.decode(encoded.ids, skipsSpecialTokens: pair == nil)
    }
  }

  private static let model: String = {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-fuzz-\(getpid())").path
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return "\(folder)/model.onnx"
  }()

  /// Opens an ONNX file as a teacher is opened, and gives it two examples: pictures and, where it does not take these, tokens.
  private static func compute(_ bytes: [UInt8]) throws -> String? {
    try Data(bytes).write(to: URL(fileURLWithPath: model))
    do {
      let program = try ForeignProgram(model)
      let pictures = try Tensor((0..<128).map { Float($0 % 17) / 8 - 1 }, shape: [2, 1, 8, 8])
      do { _ = try program(pictures).doubles() } catch is ProgramError {
        _ = try program(try Tensor((0..<16).map { Int64($0) }, shape: [2, 8])).doubles()
      }
    } catch let error as ProgramError {
      guard error.description.hasPrefix(model), error.description.utf8.count < 4000 else {
        throw HostileFinding("a message that does not name the file, or does not end: \(error.description.prefix(300))")
      }
      return error.description
    }
    return nil
  }

  /// Tokenizers of all kinds, with a few words each.
  private static func tokenizers(in fixtures: String) -> [[UInt8]] {
    guard let file = FileManager.default.contents(atPath: "\(fixtures)/tokenizers/cases.json"),
      let cases = try? JSONSerialization.jsonObject(with: file) as? [String: Any],
      let all = cases["tokenizers"] as? [String: [String: Any]]
    else { return [] }
    return all.keys.sorted().compactMap { name in
      guard var whole = all[name]?["tokenizer"] as? [String: Any], var model = whole["model"] as? [String: Any] else {
        return nil
      }
      let added = (whole["added_tokens"] as? [[String: Any]]) ?? []
      var words = Dictionary(
        added.compactMap { token in
          (token["content"] as? String).flatMap { name in (token["id"] as? Int).map { (name, $0) } }
        }
      ) { first, _ in first }
      let more = ["a", "b", "e", "s", "t", "the", "##s", "##a", "aa", "st", "\u{120}a", "\u{2581}a", "<unk>", "<0x61>"]
      for word in more where words[word] == nil { words[word] = (words.values.max() ?? -1) + 1 }
      model["vocab"] = words
      if model["type"] as? String == "BPE" { model["merges"] = [["a", "a"], ["s", "t"]] }
      whole["model"] = model
      return (try? JSONSerialization.data(withJSONObject: whole, options: [.sortedKeys])).map { [UInt8]($0) }
    }
  }

  private static func look(at array: NumberArray) throws {
    let rows = min(array.rowCount, 100)
    guard array.columnCount <= 1 << 20 else { return }
    _ = array.floats(rows: 0..<rows)
    do { _ = try array.integers(fromWholeFractions: true) } catch is DataError {}
  }

  /// Good files to begin with.
  ///
  /// - Parameter fixtures: the folder `Tests/Fixtures`
  public func seeds(in fixtures: String) -> [[UInt8]] {
    if self == .tokenizer { return Self.tokenizers(in: fixtures) }
    let files: [String] =
      switch self {
      case .safetensors: ["torch/values.safetensors", "torch/sharded/model-00001-of-00002.safetensors"]
      case .torch:
        ["zip", "old", "big", "views", "views-big", "protocol4", "training", "several", "system", "oldsystem"].map {
          "torch/\($0).pth"
        }
      case .index:
        ["torch/sharded/model.safetensors.index.json", "torch/shardedbins/pytorch_model.bin.index.json"]
      case .npy:
        ["big", "f2", "f4", "f8", "fortran", "ids", "objects", "records", "version2", "version3", "views"]
          .map { "numpy/\($0).npy" }
      case .npz: ["numpy/stored.npz", "numpy/deflated.npz"]
      case .image:
        ["grey.png", "colour.png", "palette.png", "transparent.png", "deep.png", "bits.png"].map { "pictures/\($0)" }
          + ["grey.jpg", "colour.jpg", "progressive.jpg"].map { "pictures/\($0)" }
      case .tokenizer: []
      case .onnx:
        ["linear", "fixed", "half", "softmax", "tokens", "windows", "sequence", "shapes", "branches", "function"]
          .map { "programs/\($0).onnx" }
      }
    return files.compactMap { FileManager.default.contents(atPath: "\(fixtures)/\($0)").map { [UInt8]($0) } }
  }

  /// What the fuzzer found once: `Tests/Fixtures/findings/READER-WORDS.bin`.
  public func findings(in fixtures: String) -> [(name: String, bytes: [UInt8])] {
    let folder = "\(fixtures)/findings"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().filter { $0.hasPrefix("\(rawValue)-") }.compactMap { name in
      FileManager.default.contents(atPath: "\(folder)/\(name)").map { (name, [UInt8]($0)) }
    }
  }
}

/// Something that a reader must not do.
public struct HostileFinding: Error, CustomStringConvertible {
  public var description: String

  init(_ description: String) { self.description = description }
}
