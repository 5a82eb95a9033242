/// Something wrong with a tokenizer's files, or with what is asked of it: where, what, and how to mend it.
public struct TokenizerError: Error, CustomStringConvertible, Sendable, Equatable {
  /// The file or folder it is about; nil when it is about none.
  public var file: String?
  public var problem: String
  /// What a person can do about it.
  public var remedy: String?

  public init(file: String? = nil, _ problem: String, remedy: String? = nil) {
    self.file = file
    self.problem = problem
    self.remedy = remedy
  }

  public var description: String {
    var text = problem
    if let file { text = "\(file): \(text)" }
    if let remedy { text += ". \(remedy)" }
    return text
  }
}
