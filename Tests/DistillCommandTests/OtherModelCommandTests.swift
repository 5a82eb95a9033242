import DistillModels
import Foundation
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

@Suite("Folders of other libraries with the command")
struct OtherModelCommandTests {
  /// A tiny ResNet of timm's, for 32×32 pixels, whose class 'second' wins whatever it sees.
  private func prepare(_ folder: String) throws {
    try write(
      """
      {"architecture": "resnet18", "num_classes": 3, "label_names": ["first", "second", "third"],
       "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 0.5, "interpolation": "bilinear",
       "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
      """, to: "\(folder)/theirs/config.json")
    let model = try ModelZoo.make(ForeignModel(folder: "\(folder)/theirs").specification)
    let bias = try #require(model.state.first { $0.name == "fc.bias" }).tensor
    try withoutGradient { try bias.copy(from: Tensor([0, 1000, 0] as [Float])) }
    try model.save(to: "\(folder)/theirs/model.safetensors")
    let picture = ReportData.Picture(width: 40, height: 20, channels: 3, pixels: Data(repeating: 99, count: 2_400))
    try write(try #require(InlinePicture.encoded(picture, longestSide: 40)), to: "\(folder)/picture.png")
  }

  @Test("inspect says whose it is, how it wants pictures, and what it consists of")
  func inspect() throws {
    try withFolder { folder in
      try prepare(folder)
      let outcome = try Command.run(["inspect", "theirs"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      for words in ["resnet18 of timm", "the shorter side to 64 pixels", "bilinear", "layer4.1.conv2", "3 classes"] {
        #expect(outcome.output.contains(words), "\(words): \(outcome.output)")
      }
      let json = try Command.run(["inspect", "theirs", "--json"], in: folder).object()
      let model = try #require((json["models"] as? [[String: Any]])?.first)
      #expect(model["origin"] as? String == "resnet18 of timm")
      #expect((model["labels"] as? [String]) == ["first", "second", "third"])
    }
  }

  @Test("predict prepares a picture as the folder says, and knows the names of the classes")
  func predict() throws {
    try withFolder { folder in
      try prepare(folder)
      let outcome = try Command.run(["predict", "theirs", "picture.png", "--top", "1", "--json"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      let item = try #require((try outcome.object()["items"] as? [[String: Any]])?.first)
      #expect((item["top"] as? [[String: Any]])?.first?["name"] as? String == "second")
    }
  }

  @Test("What is not known is refused by name, and so are weights that do not fit")
  func refused() throws {
    try withFolder { folder in
      try prepare(folder)
      let config = try String(decoding: read("\(folder)/theirs/config.json"), as: UTF8.self)
      try write(config.replacingOccurrences(of: "resnet18", with: "resnet34"), to: "\(folder)/theirs/config.json")
      let misfit = try Command.run(["inspect", "theirs"], in: folder)
      #expect(misfit.code == 2)
      #expect(misfit.errors.contains("missing in the file") && misfit.errors.contains("layer1.2.conv1.weight"))
      try write(config.replacingOccurrences(of: "resnet18", with: "swin_tiny"), to: "\(folder)/theirs/config.json")
      let unknown = try Command.run(["inspect", "theirs"], in: folder)
      #expect(unknown.code == 2)
      #expect(unknown.errors.contains("architecture is 'swin_tiny', which is not known here; accepted of timm are"))
    }
  }
}
