// swift-tools-version: 6.2
import PackageDescription

// libtorch is opened at run time (see Sources/CTorch/include/CTorch.h), so no target here needs linker flags and
// the libraries can be used by any other package. `scripts/bootstrap` fetches it into the folder `libtorch/`.

let package = Package(
  name: "distill",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "distill", targets: ["distill"]),
    .library(name: "Distillation", targets: ["Distillation"]),
    .library(name: "DistillRecipes", targets: ["DistillRecipes"]),
    .library(name: "DistillModels", targets: ["DistillModels"]),
    .library(name: "DistillSearch", targets: ["DistillSearch"]),
    .library(name: "DistillTokenizers", targets: ["DistillTokenizers"]),
    .library(name: "DistillExport", targets: ["DistillExport"]),
    .library(name: "DistillRuntime", targets: ["DistillRuntime"]),
    .library(name: "DistillPrograms", targets: ["DistillPrograms"]),
    .library(name: "TorchNN", targets: ["Torch", "TorchNN", "TorchOptim"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
  ],
  targets: [
    // Each target depends on targets above it only, and names every module that it imports.
    .systemLibrary(
      name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"]), .brew(["libpng"])]),
    .systemLibrary(
      name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"]), .brew(["jpeg-turbo"])]),
    .systemLibrary(
      name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .systemLibrary(
      name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"]), .brew(["openssl"])]),
    .target(
      name: "CTorch",
      exclude: ["bridge"],
      cSettings: [.define("DISTILL_PACKAGE_DIRECTORY", to: "\"\(Context.packageDirectory)\"")]
    ),
    .target(name: "Torch", dependencies: ["CTorch"]),
    .target(name: "TorchNN", dependencies: ["Torch"]),
    .target(name: "TorchOptim", dependencies: ["Torch", "TorchNN"]),
    .target(name: "DistillTokenizers"),
    .target(
      name: "DistillData", dependencies: ["Torch", "DistillTokenizers", "CPNG", "CTurboJPEG", "CZlib", "CCrypto"]),
    .target(name: "DistillModels", dependencies: ["Torch", "TorchNN"]),
    .target(
      name: "DistillRuntime", dependencies: ["Torch", "TorchNN", "DistillTokenizers", "DistillData", "DistillModels"]),
    .target(
      name: "CONNXRuntime",
      cSettings: [.define("DISTILL_PACKAGE_DIRECTORY", to: "\"\(Context.packageDirectory)\"")]
    ),
    .target(name: "DistillPrograms", dependencies: ["Torch", "TorchNN", "CONNXRuntime"]),
    .target(name: "Distillation", dependencies: ["Torch", "TorchNN", "TorchOptim", "DistillData"]),
    .target(
      name: "DistillSearch", dependencies: ["Torch", .product(name: "GRDB", package: "GRDB.swift")]),
    .target(
      name: "DistillRecipes",
      dependencies: [
        "Torch", "TorchNN", "TorchOptim", "DistillTokenizers", "DistillData", "DistillModels", "DistillRuntime",
        "DistillPrograms",
        "Distillation", "DistillSearch", .product(name: "Yams", package: "Yams"),
      ]),
    .target(
      name: "DistillExport",
      dependencies: [
        "Torch", "TorchNN", "DistillData", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ]),
    .executableTarget(
      name: "distill",
      dependencies: [
        "Torch", "TorchNN", "TorchOptim", "DistillData", "DistillModels", "DistillRuntime", "Distillation",
        "DistillSearch", "DistillRecipes", "DistillExport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(
      name: "distill-bench",
      dependencies: ["Torch", "TorchNN", "TorchOptim", "DistillData", "DistillModels", "Distillation"],
      path: "Benchmarks/Sources/distill-bench"),
    .executableTarget(name: "distill-in-swift", dependencies: ["Distillation"], path: "Examples/DistillInSwift"),
    .executableTarget(name: "own-term", dependencies: ["Distillation"], path: "Examples/OwnTerm"),
    .executableTarget(name: "predict", dependencies: ["DistillRuntime"], path: "Examples/Predict"),
    .executableTarget(
      name: "sentence-embeddings", dependencies: ["Distillation", "DistillModels"], path: "Examples/SentenceEmbeddings"),
    .executableTarget(
      name: "distill-text", dependencies: ["Distillation", "DistillModels"], path: "Examples/DistillText"),
    .target(name: "TestSupport", dependencies: ["Torch", "TorchNN", "DistillData"], path: "Tests/TestSupport"),
    .testTarget(name: "TorchTests", dependencies: ["Torch", "TestSupport"]),
    .testTarget(name: "TorchNNTests", dependencies: ["Torch", "TorchNN", "TestSupport"]),
    .testTarget(name: "TorchOptimTests", dependencies: ["Torch", "TorchNN", "TorchOptim"]),
    .testTarget(name: "DistillTokenizersTests", dependencies: ["DistillTokenizers"]),
    // The readers of files from anywhere, and a program that gives them what nobody would write: see Tests/Fuzz/main.swift.
    .target(
      name: "HostileReaders", dependencies: ["Torch", "TorchNN", "DistillTokenizers", "DistillData"],
      path: "Tests/HostileReaders"),
    .executableTarget(name: "distill-fuzz", dependencies: ["HostileReaders"], path: "Tests/Fuzz"),
    .testTarget(
      name: "DistillDataTests",
      dependencies: [
        "Torch", "TorchNN", "DistillTokenizers", "DistillData", "TestSupport", "HostileReaders", "CPNG", "CTurboJPEG",
        "CZlib",
      ]),
    .testTarget(
      name: "DistillProgramsTests",
      dependencies: ["Torch", "TorchNN", "DistillModels", "DistillExport", "DistillPrograms", "TestSupport"]),
    .testTarget(
      name: "DistillModelsTests", dependencies: ["Torch", "TorchNN", "TorchOptim", "DistillModels", "TestSupport"]),
    // A program that tests of teacher caches run several times at once.
    .executableTarget(
      name: "teacher-cache-helper", dependencies: ["Torch", "TorchNN", "DistillData", "Distillation"],
      path: "Tests/TeacherCacheHelper"),
    .testTarget(
      name: "DistillationTests",
      dependencies: [
        "Torch", "TorchNN", "TorchOptim", "DistillData", "DistillModels", "Distillation", "TestSupport",
        "teacher-cache-helper",
      ]),
    .testTarget(
      name: "DistillRuntimeTests",
      dependencies: ["Torch", "TorchNN", "DistillData", "DistillModels", "DistillRuntime", "TestSupport"]),
    .testTarget(
      name: "DistillSearchTests",
      dependencies: ["Torch", "DistillSearch", .product(name: "GRDB", package: "GRDB.swift")]),
    .testTarget(
      name: "DistillRecipesTests",
      dependencies: [
        "Torch", "TorchNN", "DistillData", "DistillModels", "DistillRuntime", "DistillPrograms", "Distillation",
        "DistillSearch", "DistillRecipes", "TestSupport",
      ]),
    .testTarget(
      name: "DistillExportTests",
      dependencies: [
        "Torch", "TorchNN", "DistillData", "DistillModels", "DistillExport", "TestSupport",
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ]),
    .testTarget(name: "distillTests", dependencies: ["DistillRecipes", "distill"]),
    // They run the binary, which this dependency builds.
    .testTarget(
      name: "DistillCommandTests",
      dependencies: [
        "Torch", "TorchNN", "DistillData", "DistillModels", "DistillRuntime", "DistillRecipes", "distill",
        "TestSupport",
      ]),
    .testTarget(
      name: "DocumentationTests",
      dependencies: [
        "Torch", "DistillTokenizers", "DistillData", "DistillRecipes", "distill", "distill-in-swift", "own-term",
        "distill-text", "predict",
      ]),
  ],
  swiftLanguageModes: [.v6]
)

// The same settings for every Swift target of ours; in continuous integration a warning is an error.
let ofC = ["CTorch", "CONNXRuntime"]
for target in package.targets where ![.system, .plugin].contains(target.type) && !ofC.contains(target.name) {
  var settings = target.swiftSettings ?? []
  settings.append(.enableUpcomingFeature("ExistentialAny"))
  settings.append(.enableUpcomingFeature("MemberImportVisibility"))
  if Context.environment["CI"] == "true" { settings.append(.treatAllWarnings(as: .error)) }
  target.swiftSettings = settings
}

// libFuzzer has to see which branches the readers take: see Tests/Fuzz/main.swift.
if Context.environment["DISTILL_LIBFUZZER"] == "1" {
  let readers = ["Torch", "TorchNN", "DistillTokenizers", "DistillData", "HostileReaders", "distill-fuzz"]
  for target in package.targets where readers.contains(target.name) {
    target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(["-sanitize=fuzzer"]), .define("LIBFUZZER")]
    if target.name == "distill-fuzz" { target.linkerSettings = [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])] }
  }
}
