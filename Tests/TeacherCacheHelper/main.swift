import DistillData
import Distillation
import Foundation
import Torch
import TorchNN

// A program for tests of teacher caches in several processes:
//
//     teacher-cache-helper label FOLDER MILLISECONDS    labels 60 examples in 2 views, waiting so long at each batch
//     teacher-cache-helper read FOLDER MEGABYTES        looks up all rows in mixed order with so little memory to spare

/// A teacher that takes its time.
final class SlowTeacher: Teacher {
  private let teacher: FrozenTeacher
  private let milliseconds: Int

  init(_ model: any Layer, milliseconds: Int) {
    teacher = FrozenTeacher(model)
    self.milliseconds = milliseconds
  }

  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    usleep(UInt32(milliseconds) * 1000)
    return try teacher.trace(batch, taps: taps)
  }
}

func label(_ folder: String, milliseconds: Int) throws {
  let values = (0..<60 * 48).map { Float(($0 * 7919) % 256) / 255 }
  let data = try ArrayDataset(
    name: "helper", values: values, exampleShape: [3, 4, 4], labels: (0..<60).map { $0 % 2 }, classNames: ["a", "b"])
  let model = try withRandomStream(try RandomStream(seed: 5, name: "init")) {
    try Sequential {
      Flatten()
      try Linear(48, 7)
    }
  }
  let loader = try DataLoader(
    dataset: data,
    options: .init(batchSize: 5, augmentation: [.shift(pixels: 1), .horizontalFlip()], views: 2, prefetch: 0))
  let done = try TeacherCache.label(
    with: SlowTeacher(model, milliseconds: milliseconds), over: loader,
    as: .init(members: [.init(name: "helper", weights: "5")], classCount: 7), in: folder,
    options: .init(rowsPerShard: 10))
  print(done.madeShards, done.foundShards, done.shardCount)
}

func read(_ folder: String, megabytes: Int) throws {
  // A thread that starts later takes memory for its stack.
  try TorchRuntime.setThreadCount(1)
  let cache = try TeacherCache(folder)
  let teacher = cache.makeTeacher()
  let count = cache.key.data.exampleCount
  let order = (0..<count).map { ($0 * 7919) % count }
  let inputs = try Tensor.zeros([64, 1])
  func sum(of ids: [Int]) throws -> Double {
    let batch = Batch(
      ids: ids, inputs: try inputs.sliced(0, from: 0, to: ids.count), labels: try Tensor(ids), labelledCount: 0)
    return try teacher.trace(batch).logits().to(.float64).sum().item()
  }
  // What is made at the first uses of all this, threads and their memory, does not count.
  for _ in 0..<8 { _ = try sum(of: Array(order.prefix(64))) }
  #if os(Linux)
  let used =
    try String(contentsOfFile: "/proc/self/status", encoding: .utf8).split(separator: "\n")
    .first { $0.hasPrefix("VmData:") }?.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap {
      UInt($0)
    } ?? 0
  let most = rlim_t((used << 10) + UInt(megabytes << 20))
  var limit = rlimit(rlim_cur: most, rlim_max: most)
  guard setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0 else { throw DistillationError("no limit") }
  let all = malloc(cache.byteCount)
  print(all == nil ? "limited" : "unlimited")
  free(all)
  #endif
  var total = 0.0
  for start in stride(from: 0, to: count, by: 64) { total += try sum(of: Array(order[start..<min(count, start + 64)])) }
  print(total)
}

let arguments = CommandLine.arguments
do {
  switch arguments.dropFirst().first {
  case "label": try label(arguments[2], milliseconds: Int(arguments[3]) ?? 0)
  case "read": try read(arguments[2], megabytes: Int(arguments[3]) ?? 0)
  default: throw DistillationError("label or read")
  }
} catch {
  FileHandle.standardError.write(Data("\(error)\n".utf8))
  exit(1)
}
