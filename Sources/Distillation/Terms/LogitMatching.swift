import DistillData
import Torch
import TorchNN

/// Logit matching: the student's logits are drawn to the teacher's by their squared difference.
///
/// For each example ½ Σᵢ (zᵢ − vᵢ)². With `zeroMean` the mean over the classes is taken from both first, since adding a
/// number to all logits of an example changes no probability. It is what soft targets become at high temperature, up to
/// a factor 1 / C.
///
/// ## Reference
/// Buciluǎ, Caruana, Niculescu-Mizil: Model Compression. KDD 2006. Ba, Caruana: Do Deep Nets Really Need to be Deep?
/// NeurIPS 2014.
public final class LogitMatching: Term {
  public static let kind = TermKind(
    "logit_matching", "the teacher's logits, by squared difference",
    paper: "Buciluǎ et al. 2006; Ba and Caruana 2014, arXiv:1312.6184",
    options: [.flag("zero_mean", false, "take the mean over the classes out of both first")]
  ) { try LogitMatching(zeroMean: $0.flag("zero_mean")) }

  public let name = "logit_matching"
  private let zeroMean: Bool

  public init(zeroMean: Bool = false) { self.zeroMean = zeroMean }

  public func sum(_ input: TermInput) throws -> Tensor {
    let teacher = try input.requireTeacher(for: name).logits()
    return try logitMatching(studentLogits: input.student.output, teacherLogits: teacher, zeroMean: zeroMean).sum
  }
}
