import DistillRecipes
import Foundation

/// Where the command writes, and what that place can show.
///
/// Colours need a terminal, and neither `NO_COLOR` nor `TERM=dumb`; redrawing needs a terminal that is not dumb; quiet
/// silences everything but results, warnings and errors, which do not come through here.
struct Terminal: Sendable {
  /// Whether a line can be drawn again in place.
  var canRedraw: Bool
  var usesColour: Bool
  /// Whether lines and bars may be drawn with characters beyond ASCII.
  var usesUnicode: Bool
  var isQuiet: Bool
  /// How many columns a line has, asked anew each time, since people resize windows; `nil` where nothing limits it.
  var columns: @Sendable () -> Int?
  /// Writes text, in plain characters where others cannot be shown or would be in the way of other programs.
  var write: @Sendable (String) -> Void

  enum Style: Int, Sendable {
    case bold = 1
    case dim = 2
    case red = 31
    case green = 32
    case yellow = 33
    case blue = 34
    case cyan = 36
  }

  /// The standard output, for results.
  static func standardOutput(isQuiet: Bool = false) -> Terminal {
    Terminal(descriptor: StandardOutput.descriptor, isQuiet: isQuiet)
  }

  /// The standard error, for progress: results can then be piped on while the progress stays visible.
  static func standardError(isQuiet: Bool = false) -> Terminal {
    Terminal(descriptor: STDERR_FILENO, isQuiet: isQuiet)
  }

  init(
    descriptor: Int32, isQuiet: Bool = false, environment: [String: String] = ProcessInfo.processInfo.environment
  ) {
    let isTerminal = isatty(descriptor) == 1
    let given = environment["COLUMNS"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    self.init(
      isTerminal: isTerminal, isQuiet: isQuiet, environment: environment,
      columns: { isTerminal ? Terminal.width(of: descriptor) ?? given ?? 80 : given },
      write: { text in
        if descriptor == StandardOutput.descriptor {
          StandardOutput.write(text)
        } else {
          // Nobody who could be told of a failure here is left.
          writeAll(Data(text.utf8), to: descriptor)
        }
      })
  }

  /// - Parameter isTerminal: whether a person looks at it, rather than a file or a pipe.
  init(
    isTerminal: Bool, isQuiet: Bool = false, environment: [String: String] = [:],
    columns: @escaping @Sendable () -> Int?, write: @escaping @Sendable (String) -> Void
  ) {
    let isDumb = environment["TERM"] == "dumb"
    canRedraw = isTerminal && !isDumb
    usesColour = isTerminal && !isDumb && (environment["NO_COLOR"] ?? "").isEmpty
    // What is piped on is searched and cut by other programs, which a line or a space of another kind would mislead.
    let usesUnicode = isTerminal && !isDumb && Terminal.readsUnicode(environment)
    self.usesUnicode = usesUnicode
    self.isQuiet = isQuiet
    self.columns = columns
    self.write = { text in write(usesUnicode ? text : Terminal.inPlainCharacters(text)) }
  }

  /// Sentences, broken into lines of the terminal's width; nothing when quiet.
  func sentences(_ text: String) { line(Paragraph.wrapped(text, in: self)) }

  /// A line of its own; nothing when quiet.
  func line(_ text: String = "") {
    guard !isQuiet else { return }
    write(text + "\n")
  }

  /// The text in colour, where there is colour.
  func styled(_ text: String, _ styles: Style...) -> String {
    guard usesColour, !styles.isEmpty, !text.isEmpty else { return text }
    return "\u{1B}[\(styles.map { String($0.rawValue) }.joined(separator: ";"))m\(text)\u{1B}[0m"
  }

  /// The text without what would move the cursor or change colours: names come from files, and files from anywhere.
  static func plain(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
      result.unicodeScalars.append(
        scalar.properties.generalCategory != .control ? scalar : scalar == "\t" || scalar == "\n" ? " " : "\u{FFFD}")
    }
    return result
  }

  /// The text with ordinary characters for the signs that this program uses. Letters of other languages stay.
  static func inPlainCharacters(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 > 127 }) else { return text }
    return text.reduce(into: "") { result, character in result += signs[character] ?? String(character) }
  }

  private static let signs: [Character: String] = [
    "\u{A0}": " ", "\u{202F}": " ", "\u{2009}": " ", "−": "-", "–": "-", "—": "-", "±": "+/-", "×": "x", "·": ".",
    "…": "...", "µ": "u", "→": "->", "≥": ">=", "≤": "<=", "✓": "+", "✗": "x", "α": "alpha", "‖": "||",
  ]

  // MARK: The system

  /// The first of these that is set decides, as in the C library; where none is, almost every terminal reads UTF-8.
  private static func readsUnicode(_ environment: [String: String]) -> Bool {
    for name in ["LC_ALL", "LC_CTYPE", "LANG"] {
      guard let value = environment[name], !value.isEmpty else { continue }
      let locale = value.lowercased()
      return locale.contains("utf-8") || locale.contains("utf8")
    }
    return true
  }

  private static func width(of descriptor: Int32) -> Int? {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }
}
