import DistillData
import DistillModels

extension Materials {
  /// Whether the models that a recipe trains can read the tokens of the data.
  ///
  /// - Throws: `RunError`, as for a single model
  func checkTokens(of recipe: Configuration) throws {
    guard train is ClassifiedTexts else { return }
    let (shape, classes) = (train.exampleShape, train.classCount)
    try checkTokens(of: recipe.studentSpecification(inputShape: shape, classCount: classes), "the student")
    guard let teacher = recipe.teacher else { return }
    if teacher.isToBeTrained {
      try checkTokens(of: teacher.specificationToTrain(inputShape: shape, classCount: classes), "the teacher")
    }
    for peer in teacher.peers {
      try checkTokens(
        of: peer.specification(student: recipe.student, inputShape: shape, classCount: classes),
        "the peer '\(peer.name)'")
    }
  }

  /// Whether a model can read the tokens of the data, where these are texts with a class for each.
  ///
  /// - Parameters:
  ///   - specification: with every option spelled out, or as it was given
  ///   - who: for messages, such as `the student`
  /// - Throws: `RunError` when it reads no tokens, fewer than there are, or takes others for padding.
  func checkTokens(of specification: ModelSpecification, _ who: String) throws {
    guard let texts = train as? ClassifiedTexts else { return }
    let resolved = try ModelZoo.resolve(specification)
    guard case .integer(let vocabulary)? = resolved.options["vocabulary"],
      case .integer(let padding)? = resolved.options["padding"]
    else {
      let families = ModelZoo.architectures.filter { family in
        ["vocabulary", "padding"].allSatisfy { name in family.options.contains { $0.name == name } }
      }
      throw RunError(
        "\(who) is a \(resolved.architecture), which does not read whole texts: take "
          + families.map(\.name).joined(separator: " or "))
    }
    guard vocabulary >= texts.vocabularySize else {
      throw RunError(
        "\(who) knows \(vocabulary) tokens, but the tokenizer of the data has \(texts.vocabularySize): set its "
          + "vocabulary to that, or data.tokenizer to the one that it was trained with")
    }
    guard padding == texts.padding else {
      throw RunError(
        "\(who) takes token \(padding) for padding, but the tokenizer of the data fills texts up with \(texts.padding): "
          + "set its padding to that, or data.tokenizer to the one that it was trained with")
    }
  }
}
