/// The product of whole numbers, such as the sizes of a shape; nil where it, or a part of it from the left, does not fit
/// in an `Int`.
package func product(_ factors: [Int]) -> Int? {
  var result = 1
  for factor in factors {
    let (next, overflow) = result.multipliedReportingOverflow(by: factor)
    if overflow { return nil }
    result = next
  }
  return result
}
