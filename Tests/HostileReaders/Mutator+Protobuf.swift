/// A field of a message as protobuf writes them.
private struct ProtobufField {
  var number: UInt64
  /// 0: of variable length; 1: eight bytes; 2: a message or a text; 5: four bytes.
  var kind: UInt64
  /// What is in it; of a number of variable length its eight bytes.
  var content: [UInt8]

  /// The fields of a message; nil for what is none.
  static func all(of bytes: [UInt8]) -> [ProtobufField]? {
    var (place, fields) = (0, [ProtobufField]())
    func number() -> UInt64? {
      var (value, shift) = (UInt64(0), UInt64(0))
      while place < bytes.count, shift < 64 {
        let byte = UInt64(bytes[place])
        place += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80 { return value }
        shift += 7
      }
      return nil
    }
    while place < bytes.count {
      guard let tag = number(), tag >> 3 > 0, tag >> 3 < 100 else { return nil }
      var count = 8
      switch tag & 7 {
      case 0:
        guard let value = number() else { return nil }
        fields.append(ProtobufField(number: tag >> 3, kind: 0, content: Self.bytes(of: value)))
        continue
      case 1: count = 8
      case 2:
        guard let length = number(), length <= bytes.count else { return nil }
        count = Int(length)
      case 5: count = 4
      default: return nil
      }
      guard count <= bytes.count - place else { return nil }
      fields.append(ProtobufField(number: tag >> 3, kind: tag & 7, content: Array(bytes[place..<place + count])))
      place += count
    }
    return fields
  }

  static func bytes(of value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

  private static func written(_ value: UInt64) -> [UInt8] {
    var (value, bytes) = (value, [UInt8]())
    while value > 0x7f {
      bytes.append(UInt8(value & 0x7f) | 0x80)
      value >>= 7
    }
    return bytes + [UInt8(value)]
  }

  /// The field with its tag, and its length where it has one.
  var written: [UInt8] {
    let tag = Self.written(number << 3 | kind)
    switch kind {
    case 0: return tag + Self.written(content.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    case 2: return tag + Self.written(UInt64(content.count)) + content
    default: return tag + content
    }
  }
}

extension Mutator {
  /// Operators that the seeds do not call, or call with other inputs.
  static let operators =
    """
    Conv MaxPool AveragePool Reshape Slice Split Resize LSTM GRU RNN Loop If Scan Einsum GatherND ScatterND Pad Tile \
    ConstantOfShape Range TopK OneHot NonMaxSuppression RoiAlign MaxRoiPool QuantizeLinear DequantizeLinear Expand Cast \
    Unique ConvTranspose Softmax Flatten Gemm MatMul Gather Concat Transpose Squeeze Unsqueeze DepthToSpace SpaceToDepth \
    GridSample LpPool Compress ReverseSequence EyeLike CumSum BatchNormalization InstanceNormalization \
    LayerNormalization Col2Im MatMulInteger ConvInteger Where ReduceSum ArgMax Trilu SequenceConstruct SequenceAt \
    SplitToSequence ConcatFromSequence TfIdfVectorizer DFT STFT AffineGrid Identity Shape NonZero Mod Hardmax Upsample \
    axis axes perm kernel_shape strides pads dilations group N batch ../x /etc/passwd location offset length
    """.split(separator: " ").map(String.init)

  /// A message with one of its fields changed, however deep that lies; the lengths around it are right again.
  mutating func inMessage(_ bytes: [UInt8], depth: Int) -> [UInt8]? {
    guard var fields = ProtobufField.all(of: bytes), !fields.isEmpty, depth < 2 || !chance(15) else { return nil }
    let which = below(fields.count)
    if fields[which].kind == 2, chance(85) {
      if let changed = inMessage(fields[which].content, depth: depth + 1) {
        fields[which].content = changed
      } else if chance(30) {
        fields[which].content = Array((Self.operators.randomElement(using: &random) ?? "").utf8)
      } else {
        change(&fields[which].content)
      }
    } else {
      switch below(8) {
      case 0: fields.append(fields[which])
      case 1: fields.remove(at: which)
      case 2: fields.swapAt(which, below(fields.count))
      case 3: fields[which].number = UInt64(1 + below(26))
      default:
        if fields[which].kind == 0 {
          let value = chance(50) ? below(20) : numberNear(64)
          fields[which].content = ProtobufField.bytes(of: UInt64(bitPattern: Int64(value)))
        } else if fields[which].kind == 2 {
          change(&fields[which].content)
        } else {
          for index in fields[which].content.indices { fields[which].content[index] = UInt8(below(256)) }
        }
      }
    }
    return fields.flatMap(\.written)
  }
}
