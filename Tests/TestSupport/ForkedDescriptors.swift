import Foundation

/// Copies of the descriptors by which this process has a file open, as a process that forks off has them; to be closed.
public func copiesOfDescriptors(of path: String) -> [Int32] {
  var file = stat()
  guard stat(path, &file) == 0 else { return [] }
  return (0..<Int32(getdtablesize())).filter { descriptor in
    var open = stat()
    return fstat(descriptor, &open) == 0 && open.st_ino == file.st_ino && open.st_dev == file.st_dev
  }.map { dup($0) }
}
