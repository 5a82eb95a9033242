import CCrypto
import Foundation
import Torch

/// The SHA-256 of bytes that come in parts, computed by OpenSSL.
public final class SHA256 {
  private let context: OpaquePointer

  public init() throws {
    guard let context = EVP_MD_CTX_new() else { throw DataError("OpenSSL has no memory for a checksum") }
    self.context = context
    guard EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
      throw DataError("OpenSSL on this machine does not offer SHA-256")
    }
  }

  deinit { EVP_MD_CTX_free(context) }

  public func update(_ bytes: UnsafeRawBufferPointer) throws {
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    guard EVP_DigestUpdate(context, start, bytes.count) == 1 else { throw DataError("OpenSSL failed at a checksum") }
  }

  public func update(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try update($0) } }

  /// The checksum, in hexadecimal. Ends the computation.
  public func hex() throws -> String {
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard EVP_DigestFinal_ex(context, &digest, &count) == 1 else { throw DataError("OpenSSL failed at a checksum") }
    let digits = Array("0123456789abcdef".utf8)
    let text = digest.prefix(Int(count)).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    return String(decoding: text, as: UTF8.self)
  }

  /// The SHA-256 of `bytes`, in hexadecimal.
  public static func hex(of bytes: UnsafeRawBufferPointer) throws -> String {
    let digest = try SHA256()
    try digest.update(bytes)
    return try digest.hex()
  }

  /// The SHA-256 of `bytes`, in hexadecimal.
  public static func hex(of bytes: [UInt8]) throws -> String { try bytes.withUnsafeBytes { try hex(of: $0) } }

  /// The SHA-256 of a text's UTF-8 bytes, in hexadecimal.
  public static func hex(of text: String) throws -> String { try hex(of: Array(text.utf8)) }

  /// The SHA-256 of a file's bytes, in hexadecimal.
  ///
  /// - Throws: `DataError` when the file cannot be read.
  public static func hex(ofFile path: String) throws -> String {
    let digest = try SHA256()
    guard !RegularFile.isOtherThanFile(path) else { throw DataError(file: path, RegularFile.refusal) }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw DataError(file: path, "cannot be opened: \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    let part = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { part.deallocate() }
    while true {
      let count = Foundation.read(descriptor, part.baseAddress, part.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw DataError(file: path, "cannot be read: \(String(cString: strerror(errno)))") }
      if count == 0 { break }
      try digest.update(UnsafeRawBufferPointer(rebasing: part[..<count]))
    }
    return try digest.hex()
  }
}
