import Foundation
import HostileReaders

func stop(_ message: String) -> Never {
  FileHandle.standardError.write(Data("\(message)\n".utf8))
  exit(2)
}

struct Options {
  var reader = HostileReader.safetensors
  var seconds = 10.0
  var seed: UInt64 = 1
  var findings = "."
  var fixtures = "Tests/Fixtures"
  var makesTensors = false
  var files: [String] = []

  init(_ arguments: [String]) {
    let readers = HostileReader.allCases.map(\.rawValue).joined(separator: ", ")
    var rest = arguments[...]
    guard let name = rest.popFirst(), let reader = HostileReader(rawValue: name) else {
      stop("name a reader: \(readers)")
    }
    self.reader = reader
    while let word = rest.popFirst() {
      switch word {
      case "--seconds": seconds = rest.popFirst().flatMap { Double($0) } ?? seconds
      case "--seed": seed = rest.popFirst().flatMap { UInt64($0) } ?? seed
      case "--findings": findings = rest.popFirst() ?? findings
      case "--fixtures": fixtures = rest.popFirst() ?? fixtures
      case "--tensors": makesTensors = true
      default: files.append(word)
      }
    }
  }

  func readFiles() throws {
    for file in files {
      guard let data = FileManager.default.contents(atPath: file) else { stop("\(file) cannot be read") }
      print("\(file): \(try read([UInt8](data)) ?? "taken")")
    }
  }

  func read(_ bytes: [UInt8]) throws -> String? {
    makesTensors ? try reader.readTensors(bytes) : try reader.read(bytes)
  }
}

/// The input that is being read, in a file that is mapped: it is there when the process is not any more.
struct Current {
  let path: String
  private let memory: UnsafeMutableRawPointer
  private static let size = 1 << 16

  init(_ path: String) {
    self.path = path
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o644)
    guard descriptor >= 0, ftruncate(descriptor, off_t(Self.size)) == 0,
      let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), memory != MAP_FAILED
    else { stop("\(path) cannot be written") }
    self.memory = memory
  }

  func note(_ bytes: [UInt8]) {
    memory.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
    bytes.withUnsafeBytes {
      (memory + 4).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: $0.count)
    }
  }

  /// What the file of a process that ended holds.
  static func read(_ path: String) -> [UInt8]? {
    guard let data = FileManager.default.contents(atPath: path), data.count > 4 else { return nil }
    let count = data.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    return Array(data[4..<min(data.count, 4 + count)])
  }
}

/// Changed files, one after the other, until the time is over or a reader does not stand one.
struct Fuzzing {
  private let options: Options
  private let seeds: [[UInt8]]
  private let current: Current

  /// Inputs have at most 32 kB; whatever needs so much more memory than that is a finding. Pictures and what is deflated may
  /// be much larger than their files.
  private var memoryAllowance: Int {
    switch options.reader {
    case .image: 256 << 20
    case .npz: 96 << 20
    // ONNX Runtime takes more, and so may what its operators give.
    case .onnx: options.makesTensors ? 1 << 30 : 24 << 20
    default: 24 << 20
    }
  }
  private static let secondsAllowed: UInt32 = 10

  init(_ options: Options) throws {
    self.options = options
    seeds = options.reader.seeds(in: options.fixtures)
    guard !seeds.isEmpty else {
      stop("there are no files to begin with in \(options.fixtures): run this in the package's folder")
    }
    // A model that never ends is a message, and no finding.
    setenv("DISTILL_ONNX_SECONDS", "3", 0)
    // Whatever is made once is made now.
    for seed in seeds { _ = try options.read(seed) }
    current = Current("\(options.findings)/.\(options.reader.rawValue)-current-\(options.seed).bin")
  }

  /// The work is done by a child, whose end is looked at.
  func run() throws {
    let child = fork()
    guard child != 0 else { try work() }
    var status: Int32 = 0
    waitpid(child, &status, 0)
    defer { unlink(current.path) }
    guard status != 0, let bytes = Current.read(current.path) else { return }
    let path = "\(options.findings)/\(options.reader.rawValue)-crash-\(options.seed).bin"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let signal = status & 0x7f
    unlink(current.path)
    stop("\(signal == SIGALRM ? "hung" : "ended by signal \(signal)"): the input is in \(path)")
  }

  private func work() throws -> Never {
    limitMemory()
    var mutator = Mutator(options.reader, seeds: seeds, seed: options.seed)
    var (count, taken, slowest) = (0, 0, UInt64(0))
    let start = DispatchTime.now().uptimeNanoseconds
    var last = start
    while Double(last - start) / 1e9 < options.seconds {
      let input = mutator.next()
      current.note(input)
      alarm(Self.secondsAllowed)
      let begin = DispatchTime.now().uptimeNanoseconds
      do {
        if try options.read(input) == nil { taken += 1 }
      } catch {
        FileHandle.standardError.write(Data("\(error)\n".utf8))
        abort()
      }
      last = DispatchTime.now().uptimeNanoseconds
      slowest = max(slowest, last - begin)
      count += 1
    }
    alarm(0)
    let milliseconds = String(format: "%.1f ms", Double(slowest) / 1e6)
    FileHandle.standardOutput.write(
      Data(
        ("\(options.reader.rawValue), seed \(options.seed): \(count) inputs, \(taken) taken, the others refused; the slowest "
          + "took \(milliseconds)\n").utf8))
    _exit(0)
  }

  /// Beyond what the process has now. Only Linux says what that is.
  private func limitMemory() {
    #if os(Linux)
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmData:") }),
      let used = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { return }
    let most = rlim_t(used << 10 + memoryAllowance)
    var limit = rlimit(rlim_cur: most, rlim_max: most)
    setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
    #endif
  }
}
