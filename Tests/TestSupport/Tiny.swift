import DistillData
import Torch
import TorchNN

/// Data sets small enough to train on in a test.
public enum TinyData {
  /// `count` vectors `[6]` of three classes: noise around a corner for each class. The same each time.
  public static func vectors(count: Int) throws -> ArrayDataset {
    let classes = 3
    let features = 6
    var random = RandomSource(seed: 11, "tiny vectors")
    var values: [Float] = []
    var labels: [Int] = []
    for index in 0..<count {
      let label = index % classes
      labels.append(label)
      for feature in 0..<features {
        values.append(Float(feature % classes == label ? 1 : 0) + Float(random.uniform() * 1.6 - 0.8))
      }
    }
    return try ArrayDataset(
      name: "tiny vectors", values: values, exampleShape: [features], labels: labels, classNames: ["a", "b", "c"])
  }

  /// `count` images `[1, 8, 8]` of two classes: a bar that stands or lies, in noise. The same each time.
  public static func images(count: Int) throws -> ArrayDataset {
    let size = 8
    var random = RandomSource(seed: 12, "tiny images")
    var values: [Float] = []
    var labels: [Int] = []
    for index in 0..<count {
      let label = index % 2
      let place = Int(random.uniform() * Double(size))
      labels.append(label)
      for row in 0..<size {
        for column in 0..<size {
          let isBar = (label == 0 ? column : row) == place
          values.append(Float(isBar ? 0.7 : 0) + Float(random.uniform() * 0.3))
        }
      }
    }
    return try ArrayDataset(
      name: "tiny images", values: values, exampleShape: [1, size, size], labels: labels,
      classNames: ["standing", "lying"])
  }
}

/// Models small enough to train in a test. They draw their weights from a stream of their own, so that they are the same
/// each time.
public enum TinyModel {
  public static func mlp(_ features: Int = 6, hidden: Int = 8, classes: Int = 3, seed: UInt64 = 1) throws -> Sequential
  {
    try withRandomStream(try RandomStream(seed: seed, name: "init")) {
      try Sequential {
        try Linear(features, hidden)
        ReLU()
        try Linear(hidden, classes)
      }
    }
  }

  /// `[N, 1, 8, 8]` → `[N, classes]`, with batch normalization and dropout.
  public static func convNet(classes: Int = 2, seed: UInt64 = 1) throws -> Sequential {
    try withRandomStream(try RandomStream(seed: seed, name: "init")) {
      try Sequential {
        try Conv2d(1, 4, kernel: 3, padding: 1, bias: false)
        try BatchNorm(4)
        ReLU()
        MaxPool2d(2)
        Flatten()
        try Dropout(0.2)
        try Linear(64, classes)
      }
    }
  }
}
