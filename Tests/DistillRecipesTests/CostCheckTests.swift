import Testing

@testable import DistillRecipes

@Suite struct CostCheckTests {
  @Test func aPauseInBetweenDoesNotCount() {
    // Ten steps of a tenth of a second after a slow first one; another program takes two seconds in the middle.
    let times = (0..<10).map { 0.5 + 0.1 * Double($0) + ($0 >= 5 ? 2 : 0) }
    #expect(abs(CostCheck.bestStep(times) - 0.1) < 1e-9)
  }

  @Test func stepsOfChangingLengthAreAveraged() {
    // Steps take a tenth and three tenths of a second in turn: the shortest alone would be too little.
    let times = (0..<31).map { 0.2 * Double($0) - ($0 % 2 == 1 ? 0.1 : 0) }
    #expect(abs(CostCheck.bestStep(times) - 0.2) < 1e-9)
  }

  @Test func fewStepsAreEnough() {
    #expect(CostCheck.bestStep([]) == 0)
    #expect(CostCheck.bestStep([0.7]) == 0.7)
    #expect(abs(CostCheck.bestStep([3, 3.5]) - 0.5) < 1e-9)
    #expect(abs(CostCheck.bestStep([3, 3.5, 4.5]) - 0.75) < 1e-9)
    #expect(abs(CostCheck.bestStep([1, 2, 3, 4, 5]) - 1) < 1e-9)
  }
}
