import DistillData
import Foundation
import Torch

/// What is needed to make a run's numbers again, and what they were made on.
enum Manifest {
  static func entries(
    _ configuration: Configuration, precisions: [ReportData.ManifestEntry], materials: Materials,
    teacherHashes: [String], seconds: Double?
  ) throws -> [ReportData.ManifestEntry] {
    var entries = [
      ReportData.ManifestEntry("recipe hash", try configuration.hash),
      ReportData.ManifestEntry("seeds", configuration.seeds.map(String.init).joined(separator: ", ")),
      ReportData.ManifestEntry("training data", "\(materials.train.name), \(materials.train.count) examples"),
      ReportData.ManifestEntry("training data hash", try materials.train.contentHash),
      ReportData.ManifestEntry("test data", "\(materials.test.name), \(materials.test.count) examples"),
      ReportData.ManifestEntry("test data hash", try materials.test.contentHash),
      ReportData.ManifestEntry("trained on", "\(materials.split.train.count) examples"),
      ReportData.ManifestEntry("validated on", "\(materials.split.validation.count) examples"),
      ReportData.ManifestEntry("test split", "each model looked at it once, after its training"),
    ]
    for part in materials.parts {
      entries.append(ReportData.ManifestEntry("also shown", "\(part.name), \(part.range.count) examples"))
      entries.append(ReportData.ManifestEntry("their hash", String(part.hash.prefix { $0 != " " })))
    }
    entries += teacherHashes.map { ReportData.ManifestEntry("teacher weights hash", $0) }
    entries += [
      ReportData.ManifestEntry("Distill", Distill.version),
      ReportData.ManifestEntry("libtorch", try TorchRuntime.version),
      ReportData.ManifestEntry("device", configuration.device),
    ]
    entries += precisions
    entries += [
      ReportData.ManifestEntry("threads", "\(try TorchRuntime.threadCount)"),
      ReportData.ManifestEntry("trainings at a time", "\(configuration.parallel)"),
      ReportData.ManifestEntry("machine", machine),
    ]
    if let seconds { entries.append(ReportData.ManifestEntry("seconds, this time", String(format: "%.0f", seconds))) }
    return entries
  }

  static func encode(_ entries: [ReportData.ManifestEntry]) throws -> Data { try ResultJSON.pretty(entries) }

  /// The processor, as far as the system names it.
  private static var machine: String {
    let info = ProcessInfo.processInfo
    let names = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n")
      .first { $0.hasPrefix("model name") }?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    return "\(names ?? "processor"), \(info.activeProcessorCount) cores, \(info.operatingSystemVersionString)"
  }
}

/// This toolkit.
public enum Distill {
  public static let version = "0.1.0"
}
