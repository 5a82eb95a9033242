import Torch
import TorchNN

/// A student with its teacher's classifier: the student's features go through a projector into the teacher's space, and
/// there the teacher's pooling and classifier, which are never trained, tell the classes apart.
///
/// With the student's features s `[N, C, H, W]`, the teacher's `[N, T, h, w]`, and r the reduction,
///
///     projector(s) = ReLU(BN(W₃ * ReLU(BN(W₂ * ReLU(BN(W₁ * s))))))    [N, T, min(H, h), min(W, w)]
///     logits       = classifier(pooling(projector(s)))
///
/// W₁ is a 1×1 convolution to T / r channels, W₂ a 3×3 one that keeps them, W₃ a 1×1 one to T channels. Where the
/// student's maps are larger than the teacher's, they are pooled to their size before. Features without maps count as maps
/// of one pixel, and W₂ is 1×1 where there is one pixel only.
///
/// The modules of the student have the paths that they have in the student by itself, without its own classifier, which
/// is not there. Taps: theirs; `projector` and `last_features`, which are the same; `teacher_classifier`.
///
/// ## Reference
/// Chen, Mei, Zhang, Wang, Feng, Chen: Knowledge distillation with the reused teacher classifier. CVPR 2022,
/// arXiv:2203.14001, section 3.2.
public final class ReusedClassifier: ZooModel {
  public static let keys = ["student": ""]

  static let architecture = Architecture(
    name: "reused-classifier", summary: "a student that ends in its teacher's classifier, behind a projector",
    paper: "Chen et al.: Knowledge distillation with the reused teacher classifier. CVPR 2022, arXiv:2203.14001",
    input: .anything,
    options: [
      ModelOption(
        "student", .model,
        default: .model(InnerModel("resnet-cifar", ["depth": 8, "width": 1.0, "shortcut": "zero-padding"])),
        "the student, of which everything but the classifier is used"),
      ModelOption(
        "teacher_features", .integers(1...65_536, count: 3), default: [64, 8, 8],
        "the shape of the teacher's last features: channels, height, width, or channels alone"),
      ModelOption(
        "teacher_pooling", .word(["average", "max", "flatten"]), default: "average",
        "what the teacher's classifier sees: the mean or the maximum of each channel, or everything"),
      ModelOption(
        "reduction", .integer(1...1024), default: 2,
        "how many times fewer channels than the teacher's the middle of the projector has"),
    ],
    classifier: "teacher_classifier",
    build: { try ReusedClassifier($0) })

  // Before the student, whose own has the same path: the tap finds the first.
  public let lastFeatures = TapPoint()
  public let student: any FeatureClassifier
  public let projector: Projector
  public let teacherPooling: any Layer
  public let teacherClassifier: any Layer

  init(_ builder: ModelBuilder) throws {
    let backbone = try builder.backbone("student")
    let pooling = try builder.word("teacher_pooling")
    let own = try FeatureShape(backbone.featureShape(inputShape: builder.inputShape), of: "student")
    let teacher = try FeatureShape(builder.integers("teacher_features"), of: "teacher")
    let size = zip(own.size, teacher.size).map { min($0, $1) }
    guard teacher.hasMaps || pooling == "flatten" else {
      throw ModelError([
        "the teacher's features \(teacher.shape) of \(Self.architecture.name) have no height and width to pool: "
          + "teacher_pooling has to be flatten"
      ])
    }
    guard pooling != "flatten" || size == teacher.size else {
      throw ModelError([
        "the teacher's classifier looks at every pixel of \(teacher.size[0]) × \(teacher.size[1]) (teacher_pooling: "
          + "flatten), and the student's features have only \(own.size[0]) × \(own.size[1]); take a student that keeps "
          + "the image larger, or a teacher that pools"
      ])
    }
    student = backbone
    projector = try Projector(
      builder, from: own.channels, to: teacher, kernel: size == [1, 1] ? 1 : 3,
      reduction: builder.integer("reduction"))
    teacherPooling = makeHead(pooling)
    let row = teacher.channels * (pooling == "flatten" ? size[0] * size[1] : 1)
    teacherClassifier = try builder.isBackbone ? Identity() : builder.fixedClassifier(row)
  }

  var pooling: any Layer { teacherPooling }

  public func features(of input: Tensor) throws -> Tensor { try projector(student.features(of: input)) }

  public func classify(_ features: Tensor) throws -> Tensor { try teacherClassifier(teacherPooling(features)) }

  // MARK: From a teacher

  /// The specification of a student that reuses the classifier of a teacher. The classifier itself is taken over by
  /// `takeClassifier(from:of:)`.
  ///
  ///     let specification = try ReusedClassifier.specification(student: student, teacher: teacher)
  ///     let model = try ModelZoo.make(specification)
  ///     try (model as? ReusedClassifier)?.takeClassifier(from: teacherModel.state, of: teacher)
  ///
  /// - Parameters:
  ///   - student: the student as it would be by itself
  ///   - teacher: for the same inputs and classes
  /// - Throws: `ModelError` with everything that does not fit.
  public static func specification(
    student: ModelSpecification, teacher: ModelSpecification, reduction: Int = 2
  ) throws -> ModelSpecification {
    let (student, teacher) = (try ModelZoo.resolve(student), try ModelZoo.resolve(teacher))
    var problems: [String] = []
    if student.inputShape != teacher.inputShape {
      problems.append("the student takes inputs \(student.inputShape), the teacher \(teacher.inputShape)")
    }
    if student.classCount != teacher.classCount {
      problems.append(
        "the teacher's classifier tells \(teacher.classCount) classes apart, and the student has \(student.classCount)")
    }
    guard problems.isEmpty else { throw ModelError(problems) }
    // Its weights say nothing here, and nobody's random numbers are used up.
    let backbone = try withRandomStream(RandomStream(seed: 0, name: "shapes")) {
      try ModelZoo.architecture(named: teacher.architecture).build(ModelBuilder(teacher, isBackbone: true))
    }
    let features = try FeatureShape(backbone.featureShape(inputShape: teacher.inputShape), of: "teacher")
    let pooling: OptionValue =
      switch backbone.pooling {
      case is GlobalAvgPool2d: "average"
      case is GlobalMaxPool2d: "max"
      default: "flatten"
      }
    return try ModelZoo.resolve(
      ModelSpecification(
        architecture.name,
        [
          "student": .model(InnerModel(student.architecture, student.options)),
          "teacher_features": .integers(features.shape), "teacher_pooling": pooling, "reduction": .integer(reduction),
        ], inputShape: student.inputShape, classCount: student.classCount))
  }

  /// Copies the classifier of a teacher.
  ///
  /// - Parameters:
  ///   - state: the teacher's weights: `state` of a model, or the tensors of a checkpoint
  ///   - teacher: what they are weights of
  /// - Throws: `ModelError` when there is no such classifier among them, or it has another shape. Nothing is changed then.
  public func takeClassifier(from state: [NamedTensor], of teacher: ModelSpecification) throws {
    let path = try ModelZoo.architecture(named: teacher.architecture).classifier
    guard let own = teacherClassifier as? FixedLinear else {
      throw ModelError(["a backbone has no classifier to copy the teacher's into"])
    }
    let copies = try [("weight", own.weight), ("bias", own.bias)].map { name, target in
      guard let source = state.first(where: { $0.name == "\(path).\(name)" })?.tensor else {
        throw ModelError(["the teacher's weights have no \(path).\(name), the classifier of \(teacher.architecture)"])
      }
      guard source.shape == target.shape else {
        throw ModelError([
          "the teacher's \(path).\(name) is \(source.shape), and the student was made for \(target.shape)"
        ])
      }
      return (source, target)
    }
    try withoutGradient { for (source, target) in copies { try target.copy(from: source) } }
  }
}

/// From the student's features to the teacher's: three convolutions, each with batch normalization and ReLU.
public final class Projector: Layer {
  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let conv2: Conv2d
  public let bn2: BatchNorm
  public let conv3: Conv2d
  public let bn3: BatchNorm
  private let target: FeatureShape

  fileprivate init(
    _ builder: ModelBuilder, from channels: Int, to target: FeatureShape, kernel: Int, reduction: Int
  ) throws {
    let middle = max(1, target.channels / reduction)
    conv1 = try builder.convolution(channels, middle, kernel: 1)
    bn1 = try builder.batchNorm(middle)
    conv2 = try builder.convolution(middle, middle, kernel: kernel)
    bn2 = try builder.batchNorm(middle)
    conv3 = try builder.convolution(middle, target.channels, kernel: 1)
    bn3 = try builder.batchNorm(target.channels)
    self.target = target
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    var maps = input.rank == 2 ? try input.reshaped(input.shape + [1, 1]) : input
    let size = zip(maps.shape.suffix(2), target.size).map { min($0, $1) }
    if size != Array(maps.shape.suffix(2)) { maps = try maps.adaptiveAvgPool2d(size) }
    let narrow = try bn1.followedByReLU(conv1(maps))
    let inner = try bn2.followedByReLU(conv2(narrow))
    let output = try bn3.followedByReLU(conv3(inner))
    return target.hasMaps ? output : try output.flattened(from: 1)
  }
}

/// The shape of the last features of one input: channels, or channels, height and width.
private struct FeatureShape {
  let shape: [Int]

  init(_ shape: [Int], of model: String) throws {
    guard [1, 3].contains(shape.count) else {
      throw ModelError([
        "the \(model)'s features \(shape) of \(ReusedClassifier.architecture.name) have to be [channels, height, width] "
          + "or [channels]"
      ])
    }
    self.shape = shape
  }

  var hasMaps: Bool { shape.count == 3 }
  var channels: Int { shape[0] }
  var size: [Int] { hasMaps ? Array(shape[1...]) : [1, 1] }
}
