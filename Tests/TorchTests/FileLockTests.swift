import Foundation
import TestSupport
import Testing

@testable import Torch

@Suite("File locks")
struct FileLockTests {
  @Test("One at a time holds it, and nothing is left of it")
  func oneAtATime() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.lock"
      var lock = try FileLock.take(path, waits: false)
      #expect(lock != nil)
      let second = try FileLock.take(path, waits: false)
      #expect(second == nil)
      lock = nil
      #expect(!FileManager.default.fileExists(atPath: path))
      lock = try FileLock.take(path, waits: true)
      #expect(lock != nil)
    }
  }

  @Test("It is let go of though a process that forked off still has the file open")
  func forked() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.lock"
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
      try #require(descriptor >= 0 && flock(descriptor, LOCK_EX) == 0)
      let copies = copiesOfDescriptors(of: path)
      defer { for copy in copies { close(copy) } }
      #expect(copies.count == 1)
      FileLock.letGo(descriptor)
      let lock = try FileLock.take(path, waits: false)
      #expect(lock != nil)
    }
  }
}
