#ifndef ONNX_INTERNAL_H
#define ONNX_INTERNAL_H

#include <sys/types.h>

/// As fork, at a moment when no thread holds the lock of this module, which nobody would give back in the new process.
pid_t onnx_fork(void);

/// Keeps a copy of what went wrong; one without words says so.
///
/// - Returns: 1
int onnx_fail(char **error, const char *message);

#endif
