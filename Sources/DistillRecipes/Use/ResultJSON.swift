import Foundation

/// Results for machines to read: indented JSON with sorted snake_case keys. A number that is not finite is a text.
public enum ResultJSON {
  public static func encode(_ result: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return try encoder.encode(result) + Data("\n".utf8)
  }
}
