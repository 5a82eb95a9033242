#ifndef ONNX_INTERNAL_H
#define ONNX_INTERNAL_H

/// The path of the library that was opened; null as long as none is.
const char *onnx_runtime_library(void);

/// Keeps a copy of what went wrong; one without words says so.
///
/// - Returns: 1
int onnx_fail(char **error, const char *message);

#endif
