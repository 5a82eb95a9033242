import Distillation
import Foundation

@testable import DistillRecipes

/// Made-up results with the shape of real ones, to look at and to test the report with.
enum ReportSample {
  static let garments = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
  ]

  /// Which garments are taken for which, and how often beside the others.
  private static let likeness: [(Int, Int, Double)] = [
    (0, 6, 0.55), (0, 3, 0.12), (2, 4, 0.45), (2, 6, 0.35), (3, 4, 0.2), (3, 6, 0.15), (4, 6, 0.4), (5, 7, 0.3),
    (5, 9, 0.15), (7, 9, 0.3), (0, 2, 0.1), (8, 0, 0.04), (1, 3, 0.12),
  ]

  static func likeness(_ row: Int, _ column: Int) -> Double {
    likeness.first { ($0.0 == row && $0.1 == column) || ($0.1 == row && $0.0 == column) }?.2 ?? 0.01
  }

  /// Counts with the given accuracy, errors where classes are alike.
  static func confusion(accuracy: Double, perClass: Int) -> [[Int]] {
    (0..<10).map { row in
      let weights = (0..<10).map { $0 == row ? 0 : likeness(row, $0) }
      let total = weights.reduce(0, +)
      let errors = min(0.6, (1 - accuracy) * (0.15 + total * 1.35)) * Double(perClass)
      var counts = weights.map { Int(($0 / total * errors).rounded()) }
      counts[row] = perClass - counts.reduce(0, +)
      return counts
    }
  }

  static func classScores(_ confusion: [[Int]]) -> [Metrics.ClassScore] {
    confusion.indices.map { index in
      let support = confusion[index].reduce(0, +)
      let predicted = confusion.reduce(0) { $0 + $1[index] }
      let right = Double(confusion[index][index])
      let (recall, precision) = (right / Double(max(1, support)), right / Double(max(1, predicted)))
      return Metrics.ClassScore(
        precision: precision, recall: recall, f1: 2 * precision * recall / max(1e-9, precision + recall),
        count: support)
    }
  }

  static func reliability(overconfidence: Double, count: Int) -> [Metrics.ReliabilityBin] {
    (0..<15).map { index in
      let (low, high) = (Double(index) / 15, Double(index + 1) / 15)
      let confidence = (low + high) / 2
      let share = index == 14 ? 0.62 : index < 3 ? 0 : 0.01 + 0.012 * Double(index - 3)
      return Metrics.ReliabilityBin(
        lower: low, upper: high, count: Int(share * Double(count)), confidence: confidence,
        accuracy: max(0, confidence - overconfidence * (1.2 - confidence)))
    }
  }

  static func curve(to accuracy: Double, seed: Int, isDistilled: Bool, epochs: Int = 24) -> [ReportData.CurvePoint] {
    (1...epochs).map { epoch in
      let progress = 1 - exp(-Double(epoch) / 5)
      let wobble = sin(Double(epoch * 7 + seed * 13)) * 0.006 * (1.3 - progress)
      let hard = 0.12 + 0.9 * exp(-Double(epoch) / 4) + wobble
      let soft = 0.3 + 1.1 * exp(-Double(epoch) / 5) + wobble * 2
      return ReportData.CurvePoint(
        epoch: Double(epoch), trainLoss: isDistilled ? soft + 0.1 * hard : hard,
        lossParts: isDistilled
          ? [ReportData.LossPart("soft targets", soft), ReportData.LossPart("hard labels", 0.1 * hard)]
          : [ReportData.LossPart("hard labels", hard)],
        validationAccuracy: accuracy - 0.25 * exp(-Double(epoch) / 4) + wobble + Double(seed) * 0.002,
        validationLoss: 0.29 + (0.93 - accuracy) * 2 + 0.7 * exp(-Double(epoch) / 4) + wobble
          + (isDistilled ? 0 : 0.006 * Double(epoch)))
    }
  }

  static func arm(
    _ name: String, accuracies: [Double], gain: ReportData.Interval? = nil, isDistilled: Bool = false
  ) -> ReportData.Arm {
    let mean = accuracies.reduce(0, +) / Double(accuracies.count)
    let confusion = confusion(accuracy: mean, perClass: 1000 * accuracies.count)
    let seeds = accuracies.enumerated().map { index, accuracy in
      ReportData.SeedResult(
        seed: UInt64(index + 1),
        scores: ReportData.Scores(
          accuracy: accuracy, topKAccuracy: 1 - (1 - accuracy) * 0.2, topK: 3,
          negativeLogLikelihood: (1 - accuracy) * 3.1, calibrationError: isDistilled ? 0.021 : 0.063,
          agreement: accuracy + 0.022, divergence: isDistilled ? 0.18 : 0.61),
        curve: curve(to: accuracy, seed: index, isDistilled: isDistilled))
    }
    return ReportData.Arm(
      isDistilled ? .distilled : .alone, name: name, seeds: seeds, gain: gain, classScores: classScores(confusion),
      confusion: confusion,
      reliability: reliability(overconfidence: isDistilled ? 0.05 : 0.2, count: 10_000 * accuracies.count))
  }

  static func similarity(_ temperature: Double) -> ReportData.Similarity {
    let matrix = (0..<10).map { row -> [Double] in
      let logits = (0..<10).map { $0 == row ? 8.5 : 8.5 + 1.6 * log(likeness(row, $0) * 0.06) }
      let scaled = logits.map { exp($0 / temperature) }
      return scaled.map { $0 / scaled.reduce(0, +) }
    }
    return ReportData.Similarity(temperature: temperature, matrix: matrix)
  }

  static func picture(_ kind: Int, channels: Int = 1) -> ReportData.Picture {
    var pixels = Data()
    for y in 0..<28 {
      for x in 0..<28 {
        let (h, v) = (abs(Double(x) - 13.5), Double(y))
        let isBody = h < (kind.isMultiple(of: 2) ? 6 : 4 + v / 5) && v > 3 && v < 25
        let isSleeve = !kind.isMultiple(of: 3) && h < 11 && v > 3 + h / 4 && v < Double(10 + kind)
        let isNeck = h < 2.5 && v < 6
        let value = (isBody || isSleeve) && !isNeck ? 150 + 70 * sin(Double(x * kind) / 4) * cos(v / 6) : 0
        for channel in 0..<channels { pixels.append(UInt8(min(255, max(0, value - Double(channel * 30))))) }
      }
    }
    return ReportData.Picture(width: 28, height: 28, channels: channels, pixels: pixels)
  }

  static func example(_ index: Int) -> ReportData.Example {
    let cases: [(Int, Int, Int)] = [
      (6, 0, 6), (4, 2, 4), (2, 4, 6), (0, 6, 3), (9, 7, 5), (3, 4, 6), (5, 7, 9), (6, 2, 4),
    ]
    let (label, other, third) = cases[index % cases.count]
    func top(_ first: Int, _ second: Int, _ last: Int, _ sharpness: Double) -> [ReportData.ClassProbability] {
      let weights = [3, 1.9, 1].map { exp($0 * sharpness) }
      let total = weights.reduce(0, +) * 1.02
      return zip([first, second, last], weights).map {
        ReportData.ClassProbability(classIndex: $0, probability: $1 / total)
      }
    }
    let last = third == label ? 8 : third
    return ReportData.Example(
      id: 137 + index * 1171, picture: picture(index + 1, channels: index == 3 ? 3 : 1), label: label,
      opinions: [
        ReportData.Opinion(model: "teacher", top: top(label, other, last, 2.2)),
        ReportData.Opinion(model: "teacher", temperature: 4, top: top(label, other, last, 0.55)),
        ReportData.Opinion(model: "alone", top: top(other, label, last, 1.3)),
        ReportData.Opinion(
          model: "distilled",
          top: index.isMultiple(of: 3) ? top(other, label, last, 0.6) : top(label, other, last, 1.1)),
      ])
  }

  static let student = ReportData.Figures(
    architecture: "convnet 16-32-64", parameters: 25_578, bytes: 103_400, multiplyAdds: 1_214_000,
    latencySeconds: 0.000_184, imagesPerSecond: 41_870)

  static let teacher = ReportData.Teacher(
    name: "teacher",
    figures: ReportData.Figures(
      architecture: "wide resnet 16-2", parameters: 691_674, bytes: 2_784_900, multiplyAdds: 72_300_000,
      latencySeconds: 0.004_31, imagesPerSecond: 1_143),
    scores: ReportData.Scores(
      accuracy: 0.9374, topKAccuracy: 0.997, topK: 3, negativeLogLikelihood: 0.193, calibrationError: 0.0152),
    confusion: confusion(accuracy: 0.9374, perClass: 1000),
    reliability: reliability(overconfidence: 0.03, count: 10_000))

  static let recipe = """
    # Few labels: the teacher teaches on images that nobody labelled.
    name: fashion-mnist-few-labels
    seed: 17
    data:
      dataset: fashion-mnist
      labelled: 0.03
      validation: 5000
    teacher:
      weights: teachers/fashion-mnist.safetensors
      architecture: wide-resnet
    student:
      architecture: convnet
      widths: [16, 32, 64]
    objective:
      - soft_targets: { temperature: 2.0, weight: 0.9 }
      - hard_labels: { weight: 0.1 }
    training:
      epochs: 24
      batch: 128
      optimizer: { name: sgd, learning_rate: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.0005 }
      schedule: { name: one_cycle, warm_up: 0.2 }
    """

  static var data: ReportData {
    ReportData(
      title: "Fashion-MNIST: a small ConvNet learns from a WideResNet",
      date: Date(timeIntervalSince1970: 1_795_233_120),
      recipe: recipe,
      manifest: [
        ReportData.ManifestEntry("seed", "17"), ReportData.ManifestEntry("distill", "0.1.0"),
        ReportData.ManifestEntry("libtorch", "2.13.0"),
        ReportData.ManifestEntry("machine", "2 cores, AVX-512, 8 GB, Linux 6.1"),
        ReportData.ManifestEntry("data", "sha256 9a1f0c55c2a4d3f78e10b7a1b4a5f6e2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d"),
        ReportData.ManifestEntry("teacher", "sha256 0f4e2d1c3b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeeff0"),
        ReportData.ManifestEntry("time", "8 min 41 s"),
      ],
      classNames: garments, teacher: teacher,
      settings: [
        ReportData.Setting(
          name: "few labels",
          description:
            "3 % of the training images are labelled. The student alone learns from those; the distilled student "
            + "also sees the other images, with the teacher's soft targets instead of labels.",
          conclusion:
            "With few labels, a teacher that labels the rest is worth 9.6 points: the student keeps most of the "
            + "teacher's accuracy at a sixtieth of its multiply-adds.",
          student: student,
          arms: [
            arm("alone", accuracies: [0.8131, 0.8192, 0.8160]),
            arm(
              "distilled", accuracies: [0.9108, 0.9136, 0.9121],
              gain: ReportData.Interval(mean: 0.0961, low: 0.0917, high: 0.1005), isDistilled: true),
          ]),
        ReportData.Setting(
          name: "all labels",
          description: "Both students have every label; the distilled one has soft targets as well.",
          conclusion:
            "With every label there is little left to teach: the gain is small but its interval lies above zero.",
          student: student,
          arms: [
            arm("alone", accuracies: [0.9191, 0.9203, 0.9186]),
            arm(
              "distilled", accuracies: [0.9224, 0.9229, 0.9221],
              gain: ReportData.Interval(mean: 0.0031, low: 0.0004, high: 0.0058), isDistilled: true),
          ]),
        ReportData.Setting(
          name: "the paper's regularizer",
          description: "The same 3 % of the images for both: hard labels against soft targets, and logit matching.",
          conclusion:
            "Soft targets alone act as a regularizer and are worth 3.8 points; logit matching shows no clear gain.",
          student: student,
          arms: [
            arm("hard labels", accuracies: [0.8131, 0.8192, 0.8160]),
            arm(
              "soft targets", accuracies: [0.8512, 0.8561, 0.8547],
              gain: ReportData.Interval(mean: 0.0379, low: 0.0341, high: 0.0417), isDistilled: true),
            arm(
              "logits", accuracies: [0.8122, 0.8251, 0.8192],
              gain: ReportData.Interval(mean: 0.0027, low: -0.0062, high: 0.0116), isDistilled: true),
          ]),
      ],
      similarities: [1, 2, 4, 8].map(similarity), examples: (0..<8).map(example))
  }
}
