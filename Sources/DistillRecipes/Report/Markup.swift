/// A piece of the page. Text becomes markup only by being escaped, so nothing that a person wrote (a class name, a
/// recipe) can become an element.
///
/// What is built is both HTML and well-formed XML: every element is closed, every attribute is quoted.
struct Markup: Sendable, ExpressibleByStringInterpolation {
  private(set) var source: String

  init() { source = "" }

  init(stringLiteral text: String) { self.init(text) }

  /// Text, escaped.
  init(_ text: String) { source = Markup.escaped(text) }

  /// Style sheets and scripts of ours, which must not be escaped.
  init(trusted source: String) { self.source = source }

  mutating func append(_ other: Markup) { source += other.source }

  /// The text with the five characters that mean something in HTML spelled out, and with control characters, which
  /// may not occur in it at all, replaced.
  static func escaped(_ text: String) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\n", "\t": result.unicodeScalars.append(scalar)
      case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{FFFE}", "\u{FFFF}": result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

/// Attributes in the order in which they are written; one without a value is left out.
typealias Attributes = KeyValuePairs<String, String?>

/// An element with its content.
func element(
  _ name: String, _ attributes: Attributes = [:], @MarkupBuilder _ content: () -> Markup = { Markup() }
) -> Markup {
  var source = "<" + name
  for (key, value) in attributes {
    guard let value else { continue }
    source += " \(key)=\"\(Markup.escaped(value))\""
  }
  let inner = content().source
  if inner.isEmpty, selfClosing.contains(name) {
    source += " />"
  } else {
    source += ">" + inner + "</\(name)>"
  }
  return Markup(trusted: source)
}

/// The elements that have no content: those of HTML, and the shapes of SVG.
private let selfClosing: Set = ["meta", "br", "hr", "img", "rect", "line", "circle", "path", "polygon", "image"]

@resultBuilder
enum MarkupBuilder {
  static func buildExpression(_ expression: Markup) -> Markup { expression }
  static func buildExpression(_ expression: Markup?) -> Markup { expression ?? Markup() }
  static func buildExpression(_ expression: String) -> Markup { Markup(expression) }
  static func buildBlock(_ parts: Markup...) -> Markup { joined(parts) }
  static func buildOptional(_ part: Markup?) -> Markup { part ?? Markup() }
  static func buildEither(first: Markup) -> Markup { first }
  static func buildEither(second: Markup) -> Markup { second }
  static func buildArray(_ parts: [Markup]) -> Markup { joined(parts) }

  private static func joined(_ parts: [Markup]) -> Markup {
    var result = Markup()
    for part in parts { result.append(part) }
    return result
  }
}
