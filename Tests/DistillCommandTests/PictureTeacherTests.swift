import DistillData
import DistillModels
import DistillRuntime
import Foundation
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// Folders of other libraries that know more classes than the pictures have, as teachers, with the binary.
@Suite("teachers of pictures", .serialized)
struct PictureTeacherTests {
  /// EfficientNet-Lite0, where `scripts/pretrained` fetched it.
  private static let pretrained = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "data/models/efficientnet-lite0").path

  /// Pictures of two colours, in the folders `red` and `grey`.
  private func writePictures(to folder: String) throws {
    for (name, color) in [("red", [200, 20, 30]), ("grey", [120, 120, 110])] as [(String, [UInt8])] {
      for (part, count) in [("train", 6), ("test", 2)] {
        for number in 0..<count {
          let pixels = (0..<40 * 30).flatMap { place in color.map { $0 &+ UInt8((place * (number + 3)) % 37) } }
          let picture = ReportData.Picture(width: 40, height: 30, channels: 3, pixels: Data(pixels))
          let path = "\(folder)/\(part)/\(name)/\(number).png"
          try write(try #require(InlinePicture.encoded(picture, longestSide: 40)), to: path)
        }
      }
    }
  }

  /// A tiny ResNet of timm's for five classes.
  private func writeTeacher(to folder: String) throws {
    try write(
      """
      {"architecture": "resnet18", "num_classes": 5,
       "label_names": ["tench", "stone wall", "bell pepper, red", "a", "b"],
       "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 0.875, "interpolation": "bicubic",
       "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
      """, to: "\(folder)/config.json")
    let model = try withRandomStream(try RandomStream(seed: 1, name: "teacher")) {
      try ModelZoo.make(ForeignModel(folder: folder).specification)
    }
    try model.save(to: "\(folder)/model.safetensors")
  }

  @Test("Classes are found by name, logits and features kept, and learned from")
  func aTinyOneTeaches() throws { try teach(isPretrained: false) }

  @Test(
    "The real EfficientNet-Lite0 sees, and labels with logits and features",
    .enabled(
      if: FileManager.default.fileExists(atPath: "\(pretrained)/model.safetensors"),
      "scripts/pretrained lite0 fetches its weights"))
  func theRealOneLabels() throws { try teach(isPretrained: true) }

  @Test("Pictures of which nobody knows the classes are labelled by a teacher, and learned from")
  func picturesWithoutClasses() throws {
    try withFolder { folder in
      try writePictures(to: "\(folder)/pictures")
      try writeTeacher(to: "\(folder)/teacher")
      // All in one heap.
      try FileManager.default.createDirectory(atPath: "\(folder)/heap", withIntermediateDirectories: true)
      for name in ["red", "grey"] {
        try FileManager.default.moveItem(
          atPath: "\(folder)/pictures/train/\(name)", toPath: "\(folder)/heap/\(name) ones")
      }
      for number in 0..<2 {
        try FileManager.default.moveItem(
          atPath: "\(folder)/pictures/test/red/\(number).png", toPath: "\(folder)/heap/\(number).png")
      }
      try write("no picture", to: "\(folder)/heap/broken.png")
      let labelled = try Command.run(["predict", "teacher", "heap", "--labels", "--json"], in: folder)
      #expect(labelled.code == 2)
      #expect(labelled.everything.contains("heap/broken.png: is neither a PNG nor a JPEG picture"))
      let list = try String(decoding: read("\(folder)/heap/metadata.csv"), as: UTF8.self).split(separator: "\n")
      #expect(list.count == 15 && list[0] == "file_name,label,probability")
      #expect(list.contains { $0.hasPrefix("red ones/0.png,") } && list.contains { $0.hasPrefix("0.png,") })
      try FileManager.default.removeItem(atPath: "\(folder)/heap/broken.png")
      let again = try Command.run(["predict", "teacher", "heap", "--labels"], in: folder)
      #expect(again.code == 2 && again.everything.contains("metadata.csv is there already"), "\(again.everything)")
      let unsure = try Command.run(
        ["predict", "teacher", "heap", "--labels", "--force", "--at-least", "1"], in: folder)
      #expect(unsure.code == 2 && unsure.everything.contains("is not written"), "\(unsure.everything)")

      // Two classes, whatever a teacher with random weights saw.
      let rows = list.dropFirst().enumerated().map { number, line in
        "\(line.prefix { $0 != "," }),\(number % 2 == 0 ? "stone wall" : "\"bell pepper, red\"")"
      }
      try write((["file_name,label"] + rows).joined(separator: "\n"), to: "\(folder)/heap/metadata.csv")
      try write(
        """
        name: heap
        data:
          dataset: folder
          path: heap
          image_size: 32
          shorter_side: 37
          interpolation: bicubic
          test_fraction: 0.3
          validation: 2
          normalize: {mean: [0.5, 0.5, 0.5], standard_deviation: [0.5, 0.5, 0.5]}
        teacher: {weights: teacher, classes: by_name, precision: float32}
        student: {model: {architecture: convnet, widths: [4, 8]}}
        terms: [{soft_targets: {temperature: 2}}]
        training: {epochs: 1, batch_size: 4, precision: float32}
        seeds: [1]
        """, to: "\(folder)/recipe.yaml")
      let run = try Command.run(["run", "--quiet", "--output", "run"], in: folder)
      #expect(run.code == 0, "\(run.everything)")
      let student = try ModelFolder("\(folder)/run/student").description()
      #expect(student.labels == ["bell pepper, red", "stone wall"])
    }
  }

  private func teach(isPretrained: Bool) throws {
    try withFolder { folder in
      try writePictures(to: "\(folder)/pictures")
      if !isPretrained { try writeTeacher(to: "\(folder)/teacher") }
      let (teacher, place, size, side) =
        isPretrained ? (Self.pretrained, "blocks.4", 224, 256) : ("teacher", "layer2", 32, 37)
      try write(
        """
        name: pictures
        data:
          dataset: folder
          path: pictures
          image_size: \(size)
          shorter_side: \(side)
          interpolation: bicubic
          channels: 3
          validation: 0
          normalize: {mean: [0.5, 0.5, 0.5], standard_deviation: [0.5, 0.5, 0.5]}
        teacher:
          weights: \(teacher)
          classes: {red: bell pepper, grey: stone wall}
          precision: float32
        student: {model: {architecture: convnet, widths: [4, 8]}}
        terms:
          - soft_targets: {temperature: 2}
          - hints: {layers: [{student: features.1, teacher: \(place)}]}
        training: {epochs: 1, batch_size: 4, precision: float32}
        seeds: [1]
        """, to: "\(folder)/recipe.yaml")
      let predicted = try Command.run(
        ["predict", teacher, "pictures/test/red/0.png", "--top", "3", "--json"], in: folder)
      try #require(predicted.code == 0, "\(predicted.everything)")
      let item = try #require((try predicted.object()["items"] as? [[String: Any]])?.first)
      #expect((item["top"] as? [[String: Any]])?.count == 3)
      let label = try Command.run(["label", "--json", "--output", "cache"], in: folder)
      try #require(label.code == 0, "\(label.everything)")
      let cache = try String(decoding: read("\(folder)/cache/cache.json"), as: UTF8.self)
      #expect(cache.contains(place))
      // Trainings on pictures of this size are long for a program that was built for debugging.
      if isPretrained { return }
      for (name, change) in [("live", "teacher.precompute=false"), ("cached", "teacher.cache=cache")] {
        let run = try Command.run(["run", "--quiet", change, "--output", name], in: folder)
        #expect(run.code == 0, "\(run.everything)")
      }
      // The student's folder says how its pictures were prepared.
      let student = try ModelFolder("\(folder)/live/student").description()
      #expect(student.pictureFit?.shorterSide == side)
      #expect(student.pictureFit?.interpolation == .bicubic)
      let unnamed = try Command.run(["check", "teacher.classes=by_name"], in: folder)
      #expect(unnamed.code == 2)
      #expect(unnamed.everything.contains("has no class 'grey': say what it calls it"), "\(unnamed.everything)")
      let all = try Command.run(["check", "teacher.classes=null"], in: folder)
      #expect(all.everything.contains("classes: by_name"), "\(all.everything)")
    }
  }
}
