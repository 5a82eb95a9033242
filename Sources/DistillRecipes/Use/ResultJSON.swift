import Foundation

/// The JSON that Distill writes and reads: keys sorted, dates as ISO 8601, a number that is not finite as a text.
public enum ResultJSON {
  /// A command's result: as `pretty`, with keys in snake_case.
  public static func encode(_ result: some Encodable) throws -> Data {
    let encoder = encoder(.prettyPrinted)
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return try encoder.encode(result) + newline
  }

  /// For files that people read too: indented.
  static func pretty(_ value: some Encodable) throws -> Data { try encoder(.prettyPrinted).encode(value) + newline }

  /// For logs and for what only programs read: one line.
  static func line(_ value: some Encodable) throws -> Data { try encoder([]).encode(value) + newline }

  /// Reads what `pretty` or `line` wrote.
  static func decode<Value: Decodable>(_ data: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: infinity, negativeInfinity: "-\(infinity)", nan: notANumber)
    return try decoder.decode(Value.self, from: data)
  }

  private static let newline = Data("\n".utf8)
  private static let (infinity, notANumber) = ("Infinity", "NaN")

  private static func encoder(_ formatting: JSONEncoder.OutputFormatting) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
    encoder.dateEncodingStrategy = .iso8601
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: infinity, negativeInfinity: "-\(infinity)", nan: notANumber)
    return encoder
  }
}
