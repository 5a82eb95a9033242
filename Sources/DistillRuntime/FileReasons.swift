import Foundation
import Torch

/// The words for why a file operation failed.
package func reason(_ error: any Error) -> String {
  if let error = error as? FileError { return error.reason }
  let error = error as NSError
  if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))) }
  if let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError, underlying.domain == NSPOSIXErrorDomain {
    return String(cString: strerror(Int32(underlying.code)))
  }
  guard error.domain == NSCocoaErrorDomain else { return error.localizedDescription }
  switch CocoaError.Code(rawValue: error.code) {
  case .fileNoSuchFile, .fileReadNoSuchFile: return "there is no such file or folder"
  case .fileReadNoPermission: return "no permission to read it"
  case .fileWriteNoPermission: return "no permission to write there"
  case .fileWriteOutOfSpace: return "the disk is full"
  case .fileWriteVolumeReadOnly: return "the file system is read-only"
  case .fileWriteFileExists: return "there is something of that name already"
  case .fileReadInapplicableStringEncoding, .fileReadUnknownStringEncoding: return "it is not UTF-8 text"
  case .fileReadCorruptFile, .propertyListReadCorrupt: return "it is damaged"
  default: return "the system gives no reason (error \(error.code))"
  }
}

/// What is wrong with a JSON file, in words.
package func explanation(_ error: any Error) -> String {
  guard let error = error as? DecodingError else { return reason(error) }
  func place(_ context: DecodingError.Context) -> String {
    let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    return path.isEmpty ? "" : " in \(path)"
  }
  switch error {
  case .keyNotFound(let key, let context): return "'\(key.stringValue)' is missing\(place(context))"
  case .typeMismatch(_, let context), .valueNotFound(_, let context):
    return "a value of the wrong kind\(place(context))"
  case .dataCorrupted(let context) where context.codingPath.isEmpty: return "it is no JSON: damaged, or cut off"
  case .dataCorrupted(let context): return "\(context.debugDescription)\(place(context))"
  @unknown default: return "\(error)"
  }
}
