import Foundation
import HostileReaders
import Synchronization

// Gives readers what nobody would write, until one of them traps, hangs, or takes memory:
//
//     distill-fuzz READER [--seconds N] [--seed S] [--findings FOLDER] [--tensors]
//     distill-fuzz READER FILE…        what the reader says of these files
//
// What a reader does not stand is left in FOLDER/READER-crash-SEED.bin. The same seed gives the same inputs.

/// Inputs have at most 32 kB; whatever needs so much more memory than that is a finding.
let memoryAllowance = 256 << 20
let secondsAllowed = 10.0

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

let options = Options(Array(CommandLine.arguments.dropFirst()))
if !options.files.isEmpty {
  for file in options.files {
    guard let data = FileManager.default.contents(atPath: file) else { stop("\(file) cannot be read") }
    print("\(file): \(try options.read([UInt8](data)) ?? "taken")")
  }
  exit(0)
}

let seeds = options.reader.seeds(in: options.fixtures)
guard !seeds.isEmpty else {
  stop("there are no files to begin with in \(options.fixtures): run this in the package's folder")
}
for seed in seeds { _ = try options.read(seed) }
let current = Current("\(options.findings)/.\(options.reader.rawValue)-current-\(options.seed).bin")

// The work is done by a child, whose end is looked at.
let child = fork()
if child == 0 {
  var used = 0
  if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
    let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmData:") })
  {
    used = (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) << 10
    var limit = rlimit(rlim_cur: rlim_t(used + memoryAllowance), rlim_max: rlim_t(used + memoryAllowance))
    setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
  }
  var mutator = Mutator(options.reader, seeds: seeds, seed: options.seed)
  var (count, taken) = (0, 0)
  let start = Date()
  var slowest = 0.0
  while true {
    let input = mutator.next()
    current.note(input)
    alarm(UInt32(secondsAllowed))
    let begin = DispatchTime.now().uptimeNanoseconds
    do {
      if try options.read(input) == nil { taken += 1 }
    } catch {
      print("finding: \(error)")
      abort()
    }
    slowest = max(slowest, Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9)
    count += 1
    if count % 256 == 0, -start.timeIntervalSinceNow > options.seconds { break }
  }
  alarm(0)
  print(
    "\(options.reader.rawValue), seed \(options.seed): \(count) inputs, \(taken) taken, the others refused; the slowest took "
      + String(format: "%.1f ms", slowest * 1000))
  fflush(stdout)
  _exit(0)
}
var status: Int32 = 0
waitpid(child, &status, 0)
if status != 0, let bytes = Current.read(current.path) {
  let path = "\(options.findings)/\(options.reader.rawValue)-crash-\(options.seed).bin"
  try Data(bytes).write(to: URL(fileURLWithPath: path))
  unlink(current.path)
  let signal = status & 0x7f
  stop("\(signal == SIGALRM ? "hung" : "ended by signal \(signal)"): the input is in \(path)")
}
unlink(current.path)
