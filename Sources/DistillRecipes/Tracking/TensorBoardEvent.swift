/// What a record of TensorBoard's files says: the message `tensorboard.Event`, as far as it is needed here.
struct TensorBoardEvent: Equatable {
  struct Scalar: Equatable {
    /// Tags with the same beginning up to a slash are shown together.
    var tag: String
    var value: Float
  }

  /// Something for the table of hyperparameters.
  struct Hyperparameters: Equatable {
    var tag: String
    /// The message `HParamsPluginData`.
    var content: [UInt8]
  }

  /// Seconds since 1970.
  var wallTime: Double
  var step = 0
  /// In the first record of a file, and in no other.
  var fileVersion: String?
  var scalars: [Scalar] = []
  var hyperparameters: [Hyperparameters] = []

  private static let plugin = "hparams"

  init(wallTime: Double, step: Int = 0) {
    self.wallTime = wallTime
    self.step = step
  }

  // MARK: Bytes

  var encoded: [UInt8] {
    var event = ProtobufMessage()
    event.append(wallTime, as: 1)
    if step != 0 { event.append(step, as: 2) }
    if let fileVersion { event.append(fileVersion, as: 3) }
    if !scalars.isEmpty || !hyperparameters.isEmpty {
      var summary = ProtobufMessage()
      for scalar in scalars {
        var value = ProtobufMessage()
        value.append(scalar.tag, as: 1)
        value.append(scalar.value, as: 2)
        summary.append(value, as: 1)
      }
      for entry in hyperparameters { summary.append(Self.value(entry), as: 1) }
      event.append(summary, as: 5)
    }
    return event.bytes
  }

  private static func value(_ entry: Hyperparameters) -> ProtobufMessage {
    var data = ProtobufMessage()
    data.append(plugin, as: 1)
    data.append(entry.content, as: 2)
    var metadata = ProtobufMessage()
    metadata.append(data, as: 1)
    var value = ProtobufMessage()
    value.append(entry.tag, as: 1)
    value.append(metadata, as: 9)
    return value
  }

  /// Nil where the bytes are no event. What is not known here is left out.
  init?(decoding bytes: [UInt8]) {
    guard let fields = ProtobufMessage.fields(of: bytes) else { return nil }
    self.init(wallTime: 0)
    for field in fields {
      switch (field.number, field.value) {
      case (1, .fixed64(let bits)): wallTime = Double(bitPattern: bits)
      case (2, .varint(let value)): step = Int(Int64(bitPattern: value))
      case (3, .bytes(let text)): fileVersion = String(decoding: text, as: UTF8.self)
      case (5, .bytes(let summary)):
        guard let values = ProtobufMessage.fields(of: summary) else { return nil }
        for value in values {
          guard value.number == 1, case .bytes(let content) = value.value else { continue }
          guard let inner = ProtobufMessage.fields(of: content) else { return nil }
          note(inner)
        }
      default: break
      }
    }
  }

  private mutating func note(_ value: [ProtobufMessage.Field]) {
    var tag = ""
    for field in value {
      switch (field.number, field.value) {
      case (1, .bytes(let text)): tag = String(decoding: text, as: UTF8.self)
      case (2, .fixed32(let bits)): scalars.append(Scalar(tag: tag, value: Float(bitPattern: bits)))
      case (9, .bytes(let metadata)):
        guard let content = Self.pluginContent(metadata) else { continue }
        hyperparameters.append(Hyperparameters(tag: tag, content: content))
      default: break
      }
    }
  }

  private static func pluginContent(_ metadata: [UInt8]) -> [UInt8]? {
    for field in ProtobufMessage.fields(of: metadata) ?? [] {
      guard field.number == 1, case .bytes(let data) = field.value,
        let fields = ProtobufMessage.fields(of: data),
        fields.contains(ProtobufMessage.Field(number: 1, value: .bytes(Array(plugin.utf8))))
      else { continue }
      for inner in fields {
        if inner.number == 2, case .bytes(let content) = inner.value { return content }
      }
    }
    return nil
  }
}

// MARK: - Hyperparameters

extension TensorBoardEvent {
  /// A setting of a training.
  enum Setting: Equatable {
    case number(Double)
    case text(String)

    fileprivate var message: ProtobufMessage {
      var value = ProtobufMessage()
      switch self {
      case .number(let number): value.append(number, as: 2)
      case .text(let text): value.append(text, as: 3)
      }
      return value
    }
  }

  private static let startTag = "_hparams_/session_start_info"
  private static let endTag = "_hparams_/session_end_info"

  /// Says how a training is set, for the table that compares trainings.
  mutating func noteStart(_ settings: [(name: String, value: Setting)]) {
    var start = ProtobufMessage()
    for setting in settings {
      var entry = ProtobufMessage()
      entry.append(setting.name, as: 1)
      entry.append(setting.value.message, as: 2)
      start.append(entry, as: 1)
    }
    start.append(wallTime, as: 5)
    note(start, as: 3, tag: Self.startTag)
  }

  /// Says that the training is over, and went well.
  mutating func noteEnd() {
    var end = ProtobufMessage()
    end.append(1, as: 1)
    end.append(wallTime, as: 2)
    note(end, as: 4, tag: Self.endTag)
  }

  private mutating func note(_ message: ProtobufMessage, as field: Int, tag: String) {
    var data = ProtobufMessage()
    data.append(message, as: field)
    hyperparameters.append(Hyperparameters(tag: tag, content: data.bytes))
  }

  var isStart: Bool { hyperparameters.contains { $0.tag == Self.startTag } }
  var isEnd: Bool { hyperparameters.contains { $0.tag == Self.endTag } }
}
