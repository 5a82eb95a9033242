import Foundation
import Testing

/// Another package uses the library products. It compiles the libraries anew, which takes minutes, so this runs only in
/// continuous integration or when asked for: `DISTILL_SLOW_TESTS=1 swift test --filter OutsidePackageTests`.
@Suite struct OutsidePackageTests {
  static var isWanted: Bool {
    let environment = ProcessInfo.processInfo.environment
    return environment["CI"] == "true" || environment["DISTILL_SLOW_TESTS"] == "1"
  }

  @Test(.enabled(if: isWanted, "set DISTILL_SLOW_TESTS=1: it takes minutes"))
  func anotherPackageBuildsAndRunsWithTheLibraries() throws {
    // At a fixed place, so that the second time only what changed is compiled.
    let folder = "\(Package.root)/.build/outside-package"
    try FileManager.default.createDirectory(atPath: "\(folder)/Sources/app", withIntermediateDirectories: true)
    let name = (Package.root as NSString).lastPathComponent
    try write(
      """
      // swift-tools-version: 6.2
      import PackageDescription

      let package = Package(
        name: "outside-package",
        platforms: [.macOS(.v15)],
        dependencies: [.package(path: "\(Package.root)")],
        targets: [
          .executableTarget(
            name: "app",
            dependencies: [
              .product(name: "Distillation", package: "\(name)"), .product(name: "DistillModels", package: "\(name)"),
            ])
        ],
        swiftLanguageModes: [.v6]
      )

      """, to: "\(folder)/Package.swift")
    try write(
      """
      import DistillModels
      import Distillation

      // Everything that the package's own example does, with a model of the zoo.
      let (training, test) = try Digits.load()
      let specification = ModelSpecification("mlp", ["hidden": [16]], inputShape: [1, 8, 8], classCount: 10)
      let student = try ModelZoo.make(specification)
      let teacher = FrozenTeacher(try ModelZoo.make(specification))
      let trainer = try Trainer(
        student: student, teacher: teacher, objective: .weightedAverage(alpha: 0.5, temperature: 2),
        optimizer: SGD(student.namedParameters, learningRate: 0.1), schedule: .constant,
        loader: DataLoader(dataset: training, options: .init(batchSize: 64)), options: .init(steps: 5))
      let outcome = try trainer.run()
      let logits = try EvaluationSet(test, normalization: nil).logits(of: student)
      print(outcome.steps, logits.shape)

      """, to: "\(folder)/Sources/app/main.swift")
    func build() throws -> (status: Int32, output: String, errors: String) {
      let built = try run("/usr/bin/env", ["swift", "build", "--product", "app"], in: folder, environment: ["CI": ""])
      return (built.status, built.output, built.errors)
    }
    var built = try build()
    // SwiftPM does not notice that a dependency has fewer files than the last time, or more.
    if built.status != 0 {
      try FileManager.default.removeItem(atPath: "\(folder)/.build")
      built = try build()
    }
    try #require(built.status == 0, "\(built.output)\(built.errors)")
    // From another folder, with nothing in the environment: the libraries find libtorch by themselves.
    let ran = try run("\(folder)/.build/debug/app", [], in: "/")
    #expect(ran.status == 0, "\(ran.errors)")
    #expect(ran.output == "5 [360, 10]\n")
  }

  /// Leaves a file alone that says the same already, so that nothing is compiled again.
  private func write(_ text: String, to path: String) throws {
    if (try? String(contentsOfFile: path, encoding: .utf8)) == text { return }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
  }
}
