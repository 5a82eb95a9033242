import ArgumentParser
import DistillData
import DistillModels
import DistillRecipes
import Foundation
import TorchNN

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a model, a recipe, a file of weights or a run folder is made of.",
    discussion: """
      A model folder or a recipe gives the layers with their shapes, parameters and multiply-adds for one input; a file of \
      weights (safetensors, of torch.save, or an index of several) its tensors; a run folder which of its trainings are \
      done, and what they scored.

        distill inspect recipe.yaml
        distill inspect runs/digits
        distill inspect runs/digits/student
        distill inspect weights.safetensors
        distill inspect resnet18.pth
        distill inspect models/all-MiniLM-L6-v2

      Folders of Hugging Face's transformers and of timm are model folders, too.
      """)

  @Argument(help: "A model folder, a run folder, a recipe or a file of weights.", completion: .file())
  var path: String

  @Option(
    help: ArgumentHelp(
      "Of a file of torch.save with several dictionaries of tensors: the key of the one to show.", valueName: "key"))
  var part: String?

  @OptionGroup var output: OutputOptions

  func run() throws {
    let result = try Inspection(path, part: part)
    if output.json {
      try output.printJSON(result)
      return
    }
    let terminal = output.results
    if let run = result.run { show(run, terminal) }
    for model in result.models { show(model, isAlone: result.run == nil, terminal) }
    if let file = result.file { show(file, terminal) }
  }

  private func show(_ model: Inspection.Model, isAlone: Bool, _ terminal: Terminal) {
    let options = model.specification.options.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    terminal.sentences(
      terminal.styled("\(Terminal.plain(model.role)): \(model.specification.architecture)", .bold)
        + (options.isEmpty ? "" : ", \(options.joined(separator: ", "))"))
    let summary = model.summary
    terminal.sentences(
      "input \(sizes(model.specification.inputShape)), \(model.labels.count) classes, "
        + "\(Quantity.integer(summary.parameters)) parameters, \(Quantity.bytes(summary.bytes)), "
        + "\(Quantity.integer(summary.multiplyAdds)) multiply-adds for an input")
    if let path = model.path { terminal.line(Terminal.plain(path)) }
    if let origin = model.origin { terminal.sentences("from a folder with \(Terminal.plain(origin))") }
    if let words = preparation(model) { terminal.sentences(words) }
    for notice in model.notices { terminal.sentences("note: \(Terminal.plain(notice))") }
    if isAlone {
      var table = TextTable([
        .init("layer"), .init("kind"), .init("output"), .init("parameters", .right), .init("multiply-adds", .right),
      ])
      for row in summary.rows {
        table.add([
          row.path, row.kind, sizes(row.outputShape), Quantity.integer(row.parameters),
          Quantity.integer(row.multiplyAdds),
        ])
      }
      terminal.write(table.text(for: terminal))
    }
    terminal.line()
  }

  private func show(_ file: Inspection.File, _ terminal: Terminal) {
    terminal.sentences(
      terminal.styled(Terminal.plain(file.path), .bold) + ": \(file.tensors.count) tensors, "
        + "\(Quantity.integer(file.elements)) numbers, \(Quantity.bytes(file.bytes))")
    for text in file.metadata { terminal.sentences(Terminal.plain(text)) }
    var table = TextTable([.init("tensor"), .init("type"), .init("shape"), .init("bytes", .right)])
    for row in file.tensors { table.add([row.name, row.dtype, sizes(row.shape), Quantity.integer(row.bytes)]) }
    terminal.write(table.text(for: terminal))
  }

  private func show(_ run: Inspection.Run, _ terminal: Terminal) {
    let done = run.trainings.count { $0.state == .done }
    let state =
      run.isInUse
      ? "at work" : run.isComplete ? "complete" : "not complete; go on with: distill resume \(Terminal.plain(run.path))"
    terminal.sentences(
      terminal.styled(Terminal.plain(run.name), .bold)
        + ": \(state); \(done) of \(run.trainings.count) trainings are done")
    for path in [run.report, run.metrics].compactMap({ $0 }) { terminal.line(Terminal.plain(path)) }
    var table = TextTable([
      .init("training"), .init("state"), .init("rounds", .right), .init("validation", .right), .init("test", .right),
      .init("time", .right),
    ])
    for training in run.trainings {
      table.add([
        training.name, training.state.rawValue, "\(training.rounds)", Quantity.percent(training.validationAccuracy),
        Quantity.percent(training.accuracy), Quantity.seconds(training.seconds),
      ])
    }
    terminal.write(table.text(for: terminal))
    terminal.line()
  }

  /// How inputs come to a model.
  private func preparation(_ model: Inspection.Model) -> String? {
    func list(_ numbers: [Float]) -> String { numbers.map { "\($0)" }.joined(separator: ", ") }
    var words: [String] = []
    if let fit = model.pictureFit {
      let cut = fit.shorterSide.map { "the shorter side to \($0) pixels, the middle " } ?? ""
      words.append(
        "pictures: \(cut)\(sizes(Array(model.specification.inputShape.dropFirst()))), \(fit.interpolation.rawValue)")
    }
    if let normalization = model.normalization {
      words.append("mean \(list(normalization.mean)), deviation \(list(normalization.standardDeviation))")
    }
    return words.isEmpty ? nil : words.joined(separator: ", ")
  }

  private func sizes(_ shape: [Int]) -> String {
    shape.isEmpty ? "scalar" : shape.map(String.init).joined(separator: "×")
  }
}
