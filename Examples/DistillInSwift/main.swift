import Distillation

// The digits that come with the package: one in twenty shows its label, all of them can be learned from.
let (training, test) = try Digits.load()
let (labelled, unlabelled) = try Splits.stratified(dataset: training, fraction: 0.05, seed: 1)

func train(
  _ name: String, hidden: Int, on examples: [Int], hiding: [Int] = [], _ objective: Objective,
  teacher: (any Teacher)? = nil
) throws -> Sequential {
  let model = try withRandomStream(RandomStream(seed: 1, name: "init")) {
    try Sequential([Flatten(), Linear(64, hidden), ReLU(), Linear(hidden, 10)])
  }
  let trainer = try Trainer(
    student: model, teacher: teacher, objective: objective,
    optimizer: AdamW(model.namedParameters, learningRate: 0.01), schedule: .cosine(),
    loader: DataLoader(
      dataset: training, examples: examples, options: .init(batchSize: 64, shuffle: true, hiddenLabels: Set(hiding))),
    options: .init(steps: 300))
  _ = try trainer.run()
  print(name, try EvaluationSet(test, normalization: nil).score(model).accuracy)
  return model
}

let all = labelled + unlabelled
let labels = try Objective([.init(HardLabels())])
let softTargets = try Objective.weightedAverage(alpha: 0.9, temperature: 4)

let teacher = try train("teacher", hidden: 256, on: all, labels)
_ = try train("student alone", hidden: 12, on: labelled, labels)
_ = try train(
  "student distilled", hidden: 12, on: all, hiding: unlabelled, softTargets, teacher: FrozenTeacher(teacher))
