import DistillData
import DistillModels
import DistillRuntime
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct PredictorTests {
  /// A model folder with random weights, and running statistics of batch normalization that are not those of the start.
  static func write(
    _ specification: ModelSpecification, labels: [String]? = nil, normalization: Normalization? = nil,
    pictureFit: PictureFit? = nil, to folder: String, change: (any Layer) throws -> Void = { _ in }
  ) throws -> any Layer {
    try withRandomStream(RandomStream(seed: 3, name: "weights")) {
      let specification = try ModelZoo.resolve(specification)
      let model = try ModelZoo.make(specification)
      for named in model.state where named.name.hasSuffix("running_var") {
        _ = try withoutGradient { try named.tensor.drawUniform(from: 0.5, to: 2) }
      }
      try change(model)
      model.eval()
      let description = ModelFolder.Description(
        model: specification, labels: labels ?? (0..<specification.classCount).map { "class \($0)" },
        normalization: normalization, pictureFit: pictureFit)
      try JSONEncoder().encode(description).write(to: URL(filePath: "\(folder)/config.json"))
      try Checkpoint.write(model.state, to: "\(folder)/model.safetensors")
      return model
    }
  }

  static let pictures = "\(fixtureFolder)/pictures"
  static let colours = ModelSpecification(
    "resnet-cifar", ["depth": 8, "width": 0.5], inputShape: [3, 16, 16], classCount: 4)
  static let normalization = Normalization(mean: [0.4, 0.5, 0.6], standardDeviation: [0.2, 0.25, 0.3])

  /// Colours, size and normalization step by step, and the model itself, against everything in one call.
  @Test(arguments: [true, false], [nil, RawImage.Interpolation.bicubic])
  func picturesComeAsTheFolderSays(folds: Bool, interpolation: RawImage.Interpolation?) throws {
    try withTemporaryFolder { folder in
      let (mean, deviation) = (Self.normalization.mean, Self.normalization.standardDeviation)
      let fit = interpolation.map { PictureFit(shorterSide: 20, interpolation: $0) }
      let model = try Self.write(
        Self.colours, normalization: Self.normalization, pictureFit: fit, to: folder)
      let paths = ["colour.png", "grey.jpg", "palette.png"].map { "\(Self.pictures)/\($0)" }
      var values: [Float] = []
      for path in paths {
        let image = try RawImage.read(path).converted(channels: 3)
        let small = try image.fitted(height: 16, width: 16, fit)
        values += small.planes.enumerated().map { place, byte in
          (Float(byte) / 255 - mean[place / 256]) / deviation[place / 256]
        }
      }
      let expected = try withoutGradient { try model(Tensor(values, shape: [3, 3, 16, 16])) }
      let predictor = try Predictor(folder, folds: folds)
      let images = try paths.map { try RawImage.read($0) }
      try assertClose(predictor.outputs(of: images), expected, relative: 1e-4, absolute: 1e-4)

      let found = try predictor.predict(pictures: paths, top: 4)
      let logits = try expected.doubles()
      for row in 0..<3 {
        let powers = logits[4 * row..<4 * row + 4].map { exp($0) }
        let wanted = powers.enumerated().map { (name: "class \($0)", probability: $1 / powers.reduce(0, +)) }
          .sorted { $0.probability > $1.probability }
        #expect(found[row].map(\.name) == wanted.map(\.name))
        for (one, other) in zip(found[row], wanted) { #expect(abs(one.probability - other.probability) < 1e-3) }
      }
      #expect(try predictor.predict(images: images, top: 4) == found)
      #expect(try predictor.predict(images: images, top: 9)[0].count == 4)
    }
  }

  /// A linear layer, by hand.
  @Test func rowsAreNormalized() throws {
    try withTemporaryFolder { folder in
      _ = try Self.write(
        ModelSpecification("mlp", ["hidden": [2]], inputShape: [2], classCount: 2),
        labels: ["no", "yes"],
        normalization: Normalization(mean: [1, 2], standardDeviation: [2, 4]), to: folder
      ) { model in
        let numbers: [Float] = [1, 0, 0, 1]
        for named in model.state {
          try withoutGradient {
            if named.tensor.rank == 2 {
              try named.tensor.copy(from: Tensor(numbers, shape: [2, 2]))
            } else {
              try named.tensor.fill(0)
            }
          }
        }
      }
      let predictor = try Predictor(folder)
      // (5 − 1) / 2 = 2 and (6 − 2) / 4 = 1; below zero ReLU cuts.
      try assertClose(
        predictor.outputs(Tensor([5, 6, -3, 10] as [Float], shape: [2, 2])),
        Tensor([2, 1, 0, 2] as [Float], shape: [2, 2]),
        relative: 0, absolute: 1e-6)
      let best = try predictor.predict(rows: [[5, 6], [-3, 10]], top: 1).map { $0[0] }
      #expect(best.map(\.name) == ["no", "yes"])
      #expect(abs(best[0].probability - 1 / (1 + exp(-1))) < 1e-6)
      #expect(abs(best[1].probability - 1 / (1 + exp(-2))) < 1e-6)
      #expect(try predictor.predict(rows: []).isEmpty)
    }
  }

  private static let reader = ModelSpecification(
    "bert", ["vocabulary": 8, "depth": 1, "width": 8, "heads": 2, "separator": 3], inputShape: [6], classCount: 3)

  @Test func textsGoThroughTheTokenizerOfTheFolder() throws {
    try withTemporaryFolder { folder in
      let model = try Self.write(Self.reader, to: folder)
      let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "game", "of", "chess"]
      try Data(words.joined(separator: "\n").utf8).write(to: URL(filePath: "\(folder)/vocab.txt"))
      let predictor = try Predictor(folder)
      let texts = ["A game of chess and more", "chess"]
      let tokens: [Int64] = [2, 4, 5, 6, 7, 3, 2, 7, 3, 0, 0, 0]
      let expected = try withoutGradient { try model(Tensor(tokens, shape: [2, 6])) }
      try assertClose(predictor.outputs(of: texts), expected, relative: 1e-5, absolute: 1e-6)
      let pair: [Int64] = [2, 5, 3, 7, 3, 0]
      try assertClose(
        predictor.outputs(of: ["game"], pairs: ["chess"]), withoutGradient { try model(Tensor(pair, shape: [1, 6])) },
        relative: 1e-5, absolute: 1e-6)
      #expect(try predictor.predict(texts: texts).map(\.count) == [3, 3])
    }
  }

  /// More than are computed at a time, in order.
  @Test func manyAreComputedInBatches() throws {
    try withTemporaryFolder { folder in
      _ = try Self.write(
        ModelSpecification("mlp", ["hidden": [5]], inputShape: [3], classCount: 4), to: folder)
      let predictor = try Predictor(folder)
      let rows: [[Float]] = (0..<70).map { row in [Float(row % 11) - 5, Float(row % 7) - 3, Float(row % 3)] }
      let together = try predictor.predict(rows: rows, top: 4)
      #expect(together.count == 70)
      for (row, found) in zip(rows, together) {
        let alone = try predictor.predict(rows: [row], top: 4)[0]
        #expect(alone.map(\.name) == found.map(\.name))
        for (one, other) in zip(alone, found) { #expect(abs(one.probability - other.probability) < 1e-6) }
      }
    }
  }

  @Test func whatDoesNotFitIsSaid() throws {
    func message(_ body: () throws -> Void) -> String {
      do {
        try body()
        return ""
      } catch { return "\(error)" }
    }
    #expect(message { _ = try Predictor("/nowhere") }.contains("there is no model in /nowhere"))
    try withTemporaryFolder { folder in
      _ = try Self.write(Self.colours, labels: ["one"], to: folder)
      #expect(message { _ = try Predictor(folder) } == "\(folder)/config.json: 1 labels for 4 classes")
      _ = try Self.write(Self.colours, normalization: Self.normalization, to: folder)
      let seeing = try Predictor(folder)
      #expect(message { _ = try seeing.predict(texts: ["a"]) }.contains("takes inputs of shape [3, 16, 16]"))
      #expect(message { _ = try seeing.predict(rows: [[1]]) }.contains("row 0 has 1 numbers"))
      #expect(message { _ = try seeing.predict(pictures: ["/nowhere.png"]) }.contains("/nowhere.png"))
      let path = "\(Self.pictures)/colour.png"
      #expect(message { _ = try seeing.predict(pictures: [path], top: 0) }.contains("at least 1, not 0"))
      #expect(message { _ = try seeing.outputs(.zeros([2, 3, 8, 8])) }.contains("these are [2, 3, 8, 8]"))
      let infinite = try Tensor.zeros([1, 3, 16, 16]) + Double.infinity
      #expect(message { _ = try seeing.outputs(infinite) }.contains("not finite"))
    }
    try withTemporaryFolder { folder in
      _ = try Self.write(Self.reader, to: folder)
      let reading = try Predictor(folder)
      #expect(
        message { _ = try reading.predict(texts: ["a", "b"], pairs: ["c"]) } == "2 texts cannot be paired with 1")
      #expect(message { _ = try reading.predict(texts: ["a"]) }.contains("there is no tokenizer"))
      #expect(message { _ = try reading.predict(pictures: ["a.png"]) }.contains("no such file") == false)
      var embedding = Self.reader
      embedding.options["head"] = "embedding"
      embedding.classCount = 8
      _ = try Self.write(embedding, to: folder)
      try Data("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd".utf8).write(to: URL(filePath: "\(folder)/vocab.txt"))
      let pointing = try Predictor(folder)
      let config = try String(contentsOfFile: "\(folder)/config.json", encoding: .utf8)
      let other = config.replacingOccurrences(of: #""padding":0"#, with: #""padding":5"#)
      #expect(other != config)
      try Data(other.utf8).write(to: URL(filePath: "\(folder)/config.json"))
      let misfit = try Predictor(folder)
      #expect(message { _ = try misfit.outputs(of: ["a"]) }.contains("fills texts up with token 0"))
      #expect(try pointing.outputs(of: ["a", "b c"]).shape == [2, 8])
      #expect(message { _ = try pointing.predict(texts: ["a"]) }.contains("tells no classes apart"))
    }
    for side in [Int.max, 0] {
      try withTemporaryFolder { folder in
        let fit = PictureFit(shorterSide: side, interpolation: .bilinear)
        _ = try Self.write(Self.colours, pictureFit: fit, to: folder)
        #expect(message { _ = try Predictor(folder) }.contains("a shorter_side from 1 to 65536"))
      }
    }
    try withTemporaryFolder { folder in
      _ = try Self.write(Self.colours, to: folder) { model in
        try withoutGradient { try model.state[0].tensor.fill(.nan) }
      }
      #expect(message { _ = try Predictor(folder) }.contains("not finite"))
    }
  }
}
