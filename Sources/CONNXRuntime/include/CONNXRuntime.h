// The few functions of ONNX Runtime by which a model is loaded and run, of a library that is opened at run time: nothing
// here needs it to compile, and a program that meets no ONNX file never loads it.
//
// ONNX Runtime's C interface is a table of functions to which only ever new ones are added at the end, so that the
// places of those that are used here hold for every version from 1.16 on. Libraries of operators of others are never
// loaded: an ONNX file has no code of its own.
//
// Every function that can fail returns 0 on success; otherwise `*error` is a message that the caller frees.
#ifndef CONNXRUNTIME_H
#define CONNXRUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct onnx_session onnx_session;

#define ONNX_MAX_DIMENSIONS 16

/// An input or an output of a model.
typedef struct {
  char *name;  // freed by the caller; null after a failure
  int32_t type;  // of an element, as ONNX numbers them; 0: no tensor
  int32_t dimensions;
  int64_t sizes[ONNX_MAX_DIMENSIONS];  // −1 where any size will do
} onnx_port;

/// A tensor that a model gave; its memory lives until onnx_result_release.
typedef struct {
  int32_t type;
  int32_t dimensions;
  int64_t sizes[ONNX_MAX_DIMENSIONS];
  const void *data;
  void *value;
} onnx_result;

/// Opens the library, once for the process. One that does not fit is closed again, and another may be tried.
int onnx_open_runtime(const char *library, char **error);

/// Of the library that was opened, such as "1.31.1"; empty as long as none is.
const char *onnx_runtime_version(void);

/// Loads a model; `threads` compute it.
int onnx_session_open(const char *path, int32_t threads, onnx_session **out, char **error);
void onnx_session_close(onnx_session *session);

/// How many inputs or outputs it has.
int onnx_session_count(onnx_session *session, bool inputs, size_t *out, char **error);
int onnx_session_port(onnx_session *session, bool inputs, size_t index, onnx_port *out, char **error);

/// Computes one output from one input, whose memory is only read.
int onnx_session_run(
  onnx_session *session, const char *input, int32_t type, const void *data, size_t bytes, const int64_t *sizes,
  size_t dimensions, const char *output, onnx_result *out, char **error);
void onnx_result_release(onnx_result *result);

/// What a model is asked: as the arguments of onnx_session_run.
typedef struct {
  const char *input;
  int32_t type;
  const void *data;
  size_t bytes;
  const int64_t *sizes;
  size_t dimensions;
  const char *output;
} onnx_batch;

/// Loads a model in a process of its own, and asks it where there is a batch, to see whether ONNX Runtime stands it. The
/// process is this program started anew, which may have so many bytes of data and take so many seconds. Only on Linux, and in
/// a program that has this in its own file; elsewhere nothing is tried.
int onnx_try(
  const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds, char **error);

/// The folder of the package that this was built from.
const char *onnx_package_directory(void);

#endif
