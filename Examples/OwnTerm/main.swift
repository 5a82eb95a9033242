import Distillation

/// A method of one's own: the student keeps the teacher's distance between the likeliest class and the next.
final class MarginMatching: Term {
  let name = "margin_matching"

  func sum(_ input: TermInput) throws -> Tensor {
    let student = try margin(input.student.output)
    let teacher = try margin(input.requireTeacher(for: name).logits())
    return try (student - teacher).squared().sum()
  }

  private func margin(_ logits: Tensor) throws -> Tensor {
    let best = try logits.to(.float32).topK(2).values
    return try best.selected(1, 0) - best.selected(1, 1)
  }
}

let (training, test) = try Digits.load()

func train(_ model: Sequential, _ objective: Objective, teacher: (any Teacher)? = nil) throws -> Double {
  _ = try Trainer(
    student: model, teacher: teacher, objective: objective,
    optimizer: AdamW(model.namedParameters, learningRate: 0.01), schedule: .cosine(),
    loader: DataLoader(dataset: training, options: .init(batchSize: 64, shuffle: true)), options: .init(steps: 200)
  ).run()
  return try EvaluationSet(test, normalization: nil).score(model).accuracy
}

func network(hidden: Int) throws -> Sequential {
  try withRandomStream(RandomStream(seed: 1, name: "init")) {
    try Sequential([Flatten(), Linear(64, hidden), ReLU(), Linear(hidden, 10)])
  }
}

let teacher = try network(hidden: 256)
print("teacher", try train(teacher, Objective([.init(HardLabels())])))
let objective = try Objective([.init(SoftTargets(temperature: 4)), .init(MarginMatching(), weight: 0.01)])
print("student", try train(network(hidden: 12), objective, teacher: FrozenTeacher(teacher)))
