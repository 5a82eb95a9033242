import DistillData
import DistillModels
import Distillation
import Foundation
import Torch

/// What a model says of pictures, or of examples of a data set.
public struct ModelPrediction: Encodable, Sendable {
  public struct Guess: Encodable, Sendable, Equatable {
    public var name: String
    public var probability: Double
  }

  public struct Item: Encodable, Sendable {
    /// The file, or the number of the example.
    public var source: String
    /// The true class, where it is known.
    public var label: String?
    /// The most probable classes, the first one first; empty where there is a problem.
    public var top: [Guess]
    /// Why nothing can be said of it.
    public var problem: String?
  }

  public var model: String
  public var items: [Item]

  public var problems: [String] { items.compactMap(\.problem) }

  /// What the model sees in pictures, PNG or JPEG, brought to the size and the colours that it knows. Those that cannot be
  /// read are left out and said.
  public init(model path: String, pictures: [String], top: Int = 3, device deviceName: String? = nil) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    try Self.check(top: top)
    let shape = named.description.model.inputShape
    guard shape.count == 3, shape[0] == 1 || shape[0] == 3 else {
      throw RunError(
        "the model in \(named.folder.path) takes inputs of shape \(shape), which are no pictures: use --dataset and "
          + "--examples")
    }
    var items: [Item] = []
    var pixels: [UInt8] = []
    var places: [Int] = []
    for picture in pictures {
      do {
        let image = try RawImage.read(picture).converted(channels: shape[0]).resized(width: shape[2], height: shape[1])
        pixels += image.planes
        places.append(items.count)
        items.append(Item(source: picture, label: nil, top: [], problem: nil))
      } catch {
        items.append(Item(source: picture, label: nil, top: [], problem: "\(error)"))
      }
    }
    model = named.folder.path
    if !places.isEmpty {
      let data = try ArrayDataset(name: "pictures", pixels: pixels, exampleShape: shape)
      let guesses = try Self.guesses(named, data, Array(0..<places.count), top: top, device)
      for (place, guess) in zip(places, guesses) { items[place].top = guess }
    }
    self.items = items
  }

  /// What the model says of examples of a data set, by their numbers.
  public init(
    model path: String, on choice: DataChoice, examples: [Int], top: Int = 3, device deviceName: String? = nil
  ) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    try Self.check(top: top)
    let data = try choice.load(for: named)
    guard !examples.isEmpty else { throw RunError("name examples by their numbers: --examples 1,5,7") }
    for example in examples where !(0..<data.examples.count).contains(example) {
      throw RunError(
        "the \(choice.split.rawValue) split of \(data.dataset.name) has the examples 0 to \(data.examples.count - 1), and "
          + "so no number \(example)")
    }
    let numbers = examples.map { data.examples[$0] }
    let guesses = try Self.guesses(named, data.dataset, numbers, top: top, device)
    model = named.folder.path
    items = zip(examples, zip(numbers, guesses)).map { example, found in
      let label = data.dataset.label(at: found.0)
      return Item(
        source: "\(example)", label: label >= 0 ? named.description.labels[label] : nil, top: found.1, problem: nil)
    }
  }

  private static func check(top: Int) throws {
    guard top >= 1 else { throw RunError("--top is a number of classes from 1 on, not \(top)") }
  }

  private static func guesses(
    _ named: NamedModel, _ data: any Dataset, _ examples: [Int], top: Int, _ device: Device
  ) throws -> [[Guess]] {
    try topClasses(named.logits(data, examples, on: device), count: top).map { row in
      row.map { Guess(name: named.description.labels[$0.index], probability: $0.probability) }
    }
  }
}
