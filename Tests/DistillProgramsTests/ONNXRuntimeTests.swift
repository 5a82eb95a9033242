import CONNXRuntime
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillPrograms

/// Libraries that are none of ONNX Runtime, each in a process of its own: the first one that fits stays.
struct ONNXRuntimeTests {
  /// Compiles C into a library; nil without a compiler.
  fileprivate static func library(_ source: String, in folder: String) throws -> String? {
    let (file, library) = ("\(folder)/library.c", "\(folder)/libonnxruntime.so")
    try source.write(toFile: file, atomically: true, encoding: .utf8)
    return PythonEnvironment.run("cc", ["-shared", "-fPIC", "-w", "-o", library, file]) ? library : nil
  }

  fileprivate static func failure(_ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32) -> String? {
    var message: UnsafeMutablePointer<CChar>?
    guard body(&message) != 0 else { return nil }
    defer { free(message) }
    return message.map { String(cString: $0) } ?? ""
  }

  /// Outside of the macro, whose expansion of closures that change variables the compiler does not stand.
  fileprivate static func expectMessage(_ message: String?, _ expected: String?) { #expect(message == expected) }

  fileprivate static func isMapped(_ library: String) -> Bool {
    ((try? String(contentsOfFile: "/proc/self/maps", encoding: .utf8)) ?? "").contains(library)
  }

  /// What such a library gives: a version, and a table for the versions of the interface that it knows.
  fileprivate static let base = """
    static const char *version(void) { return "1.2.3"; }
    static const void *api(unsigned version);
    static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = {api, version};
    const void *OrtGetApiBase(void) { return &base; }
    """

  @Test("One that is refused leaves nothing behind, and another may be tried")
  func refusal() async {
    await #expect(processExitsWith: .success) { try ONNXRuntimeTests.refuse() }
  }

  fileprivate static func refuse() throws {
    try withTemporaryFolder { folder in
      let old = ONNXRuntimeTests.base + "\nstatic const void *api(unsigned version) { return 0; }"
      guard let library = try ONNXRuntimeTests.library(old, in: folder) else { return }
      expectMessage(
        ONNXRuntimeTests.failure { onnx_open_runtime(library, $0) }, "it is version 1.2.3, and 1.16 or newer is needed")
      #expect(String(cString: onnx_runtime_version()) == "" && ONNXRuntimeLibrary.version == nil)
      #expect(!ONNXRuntimeTests.isMapped(library))
      var session: OpaquePointer?
      expectMessage(
        ONNXRuntimeTests.failure { onnx_session_open("x.onnx", 1, &session, $0) }, "ONNX Runtime was not opened")
      guard let other = try ONNXRuntimeTests.library("int nothing;", in: folder) else { return }
      expectMessage(
        ONNXRuntimeTests.failure { onnx_open_runtime(other, $0) }, "it has no OrtGetApiBase: it is another library")
      #expect(!ONNXRuntimeTests.isMapped(other))
      let text = "\(folder)/text.so"
      try "no library".write(toFile: text, atomically: true, encoding: .utf8)
      let message = ONNXRuntimeTests.failure { onnx_open_runtime(text, $0) }
      #expect(message?.contains("text.so") == true)
    }
  }

  /// Functions that succeed and do nothing, but for those of which the test is.
  fileprivate static func runtime(_ functions: String, _ places: [Int: String]) -> String {
    let own = places.sorted { $0.key < $1.key }.map { "table[\($0.key)] = (void *)\($0.value);" }.joined(separator: " ")
    return base + """

      #include <stddef.h>
      static void *table[300];
      static void *nothing(void) { return 0; }
      static const char *message(void *failure) { return failure; }
      static void *make_environment(int level, const char *name, void **out) { *out = table; return 0; }
      static void *make(void **out) { *out = table; return 0; }
      static void *session(void *env, const char *path, void *options, void **out) { *out = table; return 0; }
      static void *type(void *session, size_t index, void **out) { *out = table; return 0; }
      static void *cast(void *type, void **out) { *out = 0; return 0; }
      static char text[] = "a name";
      static void *name(void *session, size_t index, void *allocator, char **out) { *out = text; return 0; }
      \(functions)
      static const void *api(unsigned version) {
        for (int i = 0; i < 300; i++) table[i] = (void *)nothing;
        table[2] = (void *)message; table[3] = (void *)make_environment; table[7] = (void *)session; table[10] = (void *)make;
        table[33] = table[34] = (void *)type; table[36] = table[37] = (void *)name; table[55] = (void *)cast;
        table[78] = (void *)make;
        \(own)
        return table;
      }
      """
  }

  fileprivate static func session(of source: String, in folder: String) throws -> OpaquePointer? {
    guard let library = try library(source, in: folder) else { return nil }
    expectMessage(failure { onnx_open_runtime(library, $0) }, nil)
    #expect(ONNXRuntimeLibrary.version == "1.2.3")
    var session: OpaquePointer?
    expectMessage(failure { onnx_session_open("x.onnx", 1, &session, $0) }, nil)
    return session
  }

  @Test("A port that fails after its name is known has none")
  func portThatFails() async {
    await #expect(processExitsWith: .success) { try ONNXRuntimeTests.failAfterTheName() }
  }

  fileprivate static func failAfterTheName() throws {
    try withTemporaryFolder { folder in
      let functions = "static void *release(void *allocator, void *memory) { return \"no release\"; }"
      guard
        let session = try ONNXRuntimeTests.session(
          of: ONNXRuntimeTests.runtime(functions, [76: "release"]), in: folder)
      else { return }
      var port = onnx_port()
      expectMessage(ONNXRuntimeTests.failure { onnx_session_port(session, true, 0, &port, $0) }, "no release")
      #expect(port.name == nil)
      onnx_session_close(session)
    }
  }

  @Test("Tensors of too many sizes, and outputs that are missing, are messages")
  func strangeAnswers() async {
    await #expect(processExitsWith: .success) { try ONNXRuntimeTests.answerStrangely() }
  }

  fileprivate static func answerStrangely() throws {
    try withTemporaryFolder { folder in
      let functions = """
        static void *cast_tensor(void *type, void **out) { *out = table; return 0; }
        static void *count(void *info, size_t *out) { *out = 17; return 0; }
        """
      let source = ONNXRuntimeTests.runtime(functions, [55: "cast_tensor", 61: "count"])
      guard let session = try ONNXRuntimeTests.session(of: source, in: folder) else { return }
      var port = onnx_port()
      expectMessage(
        ONNXRuntimeTests.failure { onnx_session_port(session, false, 0, &port, $0) }, "a tensor has too many dimensions"
      )
      #expect(port.name == nil)
      var result = onnx_result()
      let message = ONNXRuntimeTests.failure {
        onnx_session_run(session, "x", 1, "abcd", 4, [1], 1, "y", &result, $0)
      }
      #expect(message == "the output is missing" && result.value == nil)
      onnx_result_release(&result)
      onnx_session_close(session)
    }
  }

  @Test("A model is tried while another thread is in the middle of ONNX Runtime")
  func trialBesideOthers() async {
    #if os(Linux)
    await #expect(processExitsWith: .success) { try ONNXRuntimeTests.tryBesideOthers() }
    #endif
  }

  fileprivate static func tryBesideOthers() throws {
    try withTemporaryFolder { folder in
      // The model "slow" is loaded until the file "inside" is gone; meanwhile no other can be.
      let functions = """
        #include <pthread.h>
        #include <stdio.h>
        #include <string.h>
        #include <unistd.h>
        static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
        static void *load(void *environment, const char *path, void *options, void **out) {
          pthread_mutex_lock(&guard);
          if (!strcmp(path, "slow")) {
            fclose(fopen("\(folder)/inside", "w"));
            while (!access("\(folder)/inside", F_OK)) usleep(1000);
          }
          pthread_mutex_unlock(&guard);
          *out = table;
          return 0;
        }
        """
      let source = ONNXRuntimeTests.runtime(functions, [7: "load"])
      guard let session = try ONNXRuntimeTests.session(of: source, in: folder) else { return }
      onnx_session_close(session)
      let slow = Thread {
        var session: OpaquePointer?
        ONNXRuntimeTests.expectMessage(
          ONNXRuntimeTests.failure { onnx_session_open("slow", 1, &session, $0) }, nil)
      }
      slow.start()
      let inside = "\(folder)/inside"
      while !FileManager.default.fileExists(atPath: inside) { usleep(1000) }
      ONNXRuntimeTests.expectMessage(
        ONNXRuntimeTests.failure { ONNXTrial(seconds: 60).run("x.onnx", threads: 1, nil, $0) }, nil)
      try FileManager.default.removeItem(atPath: inside)
      while !slow.isFinished { usleep(1000) }
    }
  }
}

/// Models that ONNX Runtime does not stand, or that never end.
@Suite(.enabled(if: ONNXRuntimeForTests.isThere, PythonEnvironment.onnx.missing)) struct ONNXTrialTests {
  private static func finding(_ name: String, in folder: String) throws -> String {
    let path = "\(folder)/model.onnx"
    try FileManager.default.copyItem(atPath: "\(fixtureFolder)/findings/\(name).bin", toPath: path)
    return path
  }

  @Test(
    arguments: [
      "onnx-layer-norm-with-an-empty-name", "onnx-function-that-ends-the-runtime",
      "onnx-shapes-that-end-the-runtime",
    ])
  func endsAnotherProcess(_ name: String) throws {
    #if os(Linux)
    try withTemporaryFolder { folder in
      let path = try Self.finding(name, in: folder)
      let error = try #require(throws: ProgramError.self) {
        _ = try ForeignProgram(path)(try TorchProgramTests.images(2))
      }
      #expect(error.problem.contains("ONNX Runtime does not stand it (Segmentation fault)"), "\(error)")
    }
    #endif
  }

  private static func message(of path: String, _ images: Tensor, seconds: UInt32) throws -> String {
    let sizes = images.shape.map { Int64($0) }
    return try images.withBytes { bytes in
      "images".withCString { input in
        "logits".withCString { output in
          sizes.withUnsafeBufferPointer { sizes in
            let batch = onnx_batch(
              input: input, type: 1, data: bytes.baseAddress, bytes: bytes.count, sizes: sizes.baseAddress,
              dimensions: sizes.count, output: output)
            var message: UnsafeMutablePointer<CChar>?
            let code = ONNXTrial(seconds: seconds).run(path, threads: 1, batch, &message)
            return code == 0 ? "" : ONNXRuntimeLibrary.text(of: message)
          }
        }
      }
    }
  }

  @Test func neverEnds() throws {
    #if os(Linux)
    try withTemporaryFolder { folder in
      let path = try Self.finding("onnx-loop-without-end", in: folder)
      try ONNXRuntimeLibrary.open(for: path)
      let message = try Self.message(of: path, try TorchProgramTests.images(2), seconds: 2)
      #expect(message == "it takes more than 2 seconds; DISTILL_ONNX_SECONDS allows more")
    }
    #endif
  }

  /// 65,536 pictures of 3 × 224 × 224 are 39 GB.
  @Test func batchesThatNoMemoryHas() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/model.onnx"
      let shape: [Int?] = [65_536, 3, 224, 224]
      try Data(ProtobufMaker.model(input: shape, output: shape)).write(to: URL(filePath: path))
      let program = try ForeignProgram(path)
      let error = try #require(throws: ProgramError.self) { try program(try Tensor.zeros([1, 3, 224, 224])) }
      #expect(error.problem.contains("65536 examples of the shape [3, 224, 224] at once"), "\(error)")
    }
  }

  @Test func weightsInAnotherFile() throws {
    let images = try TorchProgramTests.images(3)
    let program = try ForeignProgram("\(TorchProgramTests.folder)/external.onnx", output: .named("logits"))
    try assertClose(program(images), try ForeignProgram("\(TorchProgramTests.folder)/linear.onnx")(images))
  }
}
