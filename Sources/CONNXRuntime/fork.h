#ifndef ONNX_FORK_H
#define ONNX_FORK_H

#include <sys/types.h>

/// As fork, at a moment when no thread holds the lock of this module, which nobody would give back in the new process.
pid_t onnx_fork(void);

#endif
