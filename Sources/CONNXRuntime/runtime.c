#include "CONNXRuntime.h"
#include "internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// A failure; null is success.
typedef struct status status;
typedef void *handle;

/// Where the functions that are used stand in ONNX Runtime's table.
enum {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_INTRA_OP_NUM_THREADS = 24,
  SESSION_GET_INPUT_COUNT = 30,
  SESSION_GET_OUTPUT_COUNT = 31,
  SESSION_GET_INPUT_TYPE_INFO = 33,
  SESSION_GET_OUTPUT_TYPE_INFO = 34,
  SESSION_GET_INPUT_NAME = 36,
  SESSION_GET_OUTPUT_NAME = 37,
  CREATE_TENSOR_WITH_DATA = 49,
  IS_TENSOR = 50,
  GET_TENSOR_MUTABLE_DATA = 51,
  CAST_TYPE_INFO_TO_TENSOR_INFO = 55,
  GET_TENSOR_ELEMENT_TYPE = 60,
  GET_DIMENSIONS_COUNT = 61,
  GET_DIMENSIONS = 62,
  GET_TENSOR_TYPE_AND_SHAPE = 65,
  CREATE_CPU_MEMORY_INFO = 69,
  ALLOCATOR_FREE = 76,
  GET_ALLOCATOR = 78,
  RELEASE_STATUS = 93,
  RELEASE_MEMORY_INFO = 94,
  RELEASE_SESSION = 95,
  RELEASE_VALUE = 96,
  RELEASE_TYPE_INFO = 98,
  RELEASE_TENSOR_INFO = 99,
  RELEASE_SESSION_OPTIONS = 100,
  ADD_SESSION_CONFIG_ENTRY = 130,
};

/// The version of the table that is asked for: the functions above are all older.
static const uint32_t table_version = 16;
// What fails is said by the status of the call.
static const int nothing_but_the_end = 4;

typedef void (*function)(void);
typedef struct {
  const function *(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} base;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static const base *runtime = NULL;
static const function *table = NULL;
static handle environment = NULL;
static const char *library_path = NULL;

// A function of the table, with the types of its arguments.
#define CALL(place, ...) ((status * (*)(__VA_ARGS__)) table[place])
#define RELEASE(place) ((void (*)(handle))table[place])

struct onnx_session {
  handle session;
};

int onnx_fail(char **error, const char *message) {
  if (error) *error = strdup(message && *message ? message : "without a reason");
  return 1;
}

/// Turns a failure of ONNX Runtime into a message.
static int check(status *failure, char **error) {
  if (!failure) return 0;
  onnx_fail(error, ((const char *(*)(const status *))table[GET_ERROR_MESSAGE])(failure));
  RELEASE(RELEASE_STATUS)(failure);
  return 1;
}

const char *onnx_package_directory(void) { return DISTILL_PACKAGE_DIRECTORY; }

const char *onnx_runtime_version(void) {
  pthread_mutex_lock(&guard);
  const char *version = runtime ? runtime->get_version() : "";
  pthread_mutex_unlock(&guard);
  return version ? version : "";
}

/// What a library that was opened has, where it fits: then it stays, and is used from now on.
static int take(handle opened, char **error) {
  const base *(*entry)(void) = (const base *(*)(void))dlsym(opened, "OrtGetApiBase");
  const base *found = entry ? entry() : NULL;
  if (!found) return onnx_fail(error, "it has no OrtGetApiBase: it is another library");
  const function *functions = found->get_api(table_version);
  if (!functions) {
    const char *version = found->get_version();
    char message[200];
    snprintf(message, sizeof message, "it is version %.100s, and 1.16 or newer is needed", version ? version : "unknown");
    return onnx_fail(error, message);
  }
  table = functions;
  handle made = NULL;
  if (check(CALL(CREATE_ENV, int, const char *, handle *)(nothing_but_the_end, "distill", &made), error)) {
    table = NULL;
    return 1;
  }
  runtime = found;
  environment = made;
  return 0;
}

// Once it is open, nothing of the runtime changes any more, and it may be used without the lock.
const char *onnx_runtime_library(void) {
  pthread_mutex_lock(&guard);
  const char *result = library_path;
  pthread_mutex_unlock(&guard);
  return result;
}

static int open_runtime(const char *library, char **error) {
  if (environment) return 0;
  handle opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!opened) return onnx_fail(error, dlerror());
  char *kept = strdup(library);
  if (kept ? take(opened, error) : onnx_fail(error, "out of memory")) {
    free(kept);
    dlclose(opened);
    return 1;
  }
  library_path = kept;
  return 0;
}

int onnx_open_runtime(const char *library, char **error) {
  pthread_mutex_lock(&guard);
  const int result = open_runtime(library, error);
  pthread_mutex_unlock(&guard);
  return result;
}

static int make_session(const char *path, handle options, int32_t threads, handle *out, char **error) {
  // Threads that wait busily for work take the processor from the student's step.
  if (check(CALL(SET_INTRA_OP_NUM_THREADS, handle, int)(options, threads), error) ||
      check(CALL(ADD_SESSION_CONFIG_ENTRY, handle, const char *, const char *)(
              options, "session.intra_op.allow_spinning", "0"), error))
    return 1;
  return check(
    CALL(CREATE_SESSION, handle, const char *, handle, handle *)(environment, path, options, out), error);
}

int onnx_session_open(const char *path, int32_t threads, onnx_session **out, char **error) {
  *out = NULL;
  if (!onnx_runtime_library()) return onnx_fail(error, "ONNX Runtime was not opened");
  handle options = NULL, session = NULL;
  if (check(CALL(CREATE_SESSION_OPTIONS, handle *)(&options), error)) return 1;
  const int failed = make_session(path, options, threads, &session, error);
  RELEASE(RELEASE_SESSION_OPTIONS)(options);
  if (failed) return 1;
  *out = malloc(sizeof **out);
  if (!*out) {
    RELEASE(RELEASE_SESSION)(session);
    return onnx_fail(error, "out of memory");
  }
  (*out)->session = session;
  return 0;
}

void onnx_session_close(onnx_session *session) {
  if (!session) return;
  RELEASE(RELEASE_SESSION)(session->session);
  free(session);
}

int onnx_session_count(onnx_session *session, bool inputs, size_t *out, char **error) {
  *out = 0;
  const int place = inputs ? SESSION_GET_INPUT_COUNT : SESSION_GET_OUTPUT_COUNT;
  return check(CALL(place, handle, size_t *)(session->session, out), error);
}

/// Type and sizes of a tensor.
static int describe(handle info, int32_t *type, int32_t *dimensions, int64_t *sizes, char **error) {
  int element = 0;
  size_t count = 0;
  if (check(CALL(GET_TENSOR_ELEMENT_TYPE, handle, int *)(info, &element), error) ||
      check(CALL(GET_DIMENSIONS_COUNT, handle, size_t *)(info, &count), error))
    return 1;
  if (count > ONNX_MAX_DIMENSIONS) return onnx_fail(error, "a tensor has too many dimensions");
  *type = element;
  *dimensions = (int32_t)count;
  return check(CALL(GET_DIMENSIONS, handle, int64_t *, size_t)(info, sizes, count), error);
}

int onnx_session_port(onnx_session *session, bool inputs, size_t index, onnx_port *out, char **error) {
  memset(out, 0, sizeof *out);
  handle allocator = NULL, type = NULL, info = NULL;
  char *name = NULL;
  const int names = inputs ? SESSION_GET_INPUT_NAME : SESSION_GET_OUTPUT_NAME;
  const int types = inputs ? SESSION_GET_INPUT_TYPE_INFO : SESSION_GET_OUTPUT_TYPE_INFO;
  if (check(CALL(GET_ALLOCATOR, handle *)(&allocator), error) ||
      check(CALL(types, handle, size_t, handle *)(session->session, index, &type), error))
    return 1;
  int failed = check(CALL(CAST_TYPE_INFO_TO_TENSOR_INFO, handle, handle *)(type, &info), error) ||
               (info && describe(info, &out->type, &out->dimensions, out->sizes, error)) ||
               check(CALL(names, handle, size_t, handle, char **)(session->session, index, allocator, &name), error);
  RELEASE(RELEASE_TYPE_INFO)(type);
  if (failed) return 1;
  out->name = strdup(name ? name : "");
  failed = check(CALL(ALLOCATOR_FREE, handle, void *)(allocator, name), error);
  if (!failed && !out->name) failed = onnx_fail(error, "out of memory");
  if (!failed) return 0;
  free(out->name);
  out->name = NULL;
  return 1;
}

static int read_result(handle value, onnx_result *out, char **error) {
  int is_tensor = 0;
  if (!value) return onnx_fail(error, "the output is missing");
  if (check(CALL(IS_TENSOR, handle, int *)(value, &is_tensor), error)) return 1;
  if (!is_tensor) return onnx_fail(error, "the output is no tensor");
  handle info = NULL;
  if (check(CALL(GET_TENSOR_TYPE_AND_SHAPE, handle, handle *)(value, &info), error)) return 1;
  const int failed = describe(info, &out->type, &out->dimensions, out->sizes, error);
  RELEASE(RELEASE_TENSOR_INFO)(info);
  if (failed) return 1;
  void *data = NULL;
  if (check(CALL(GET_TENSOR_MUTABLE_DATA, handle, void **)(value, &data), error)) return 1;
  out->data = data;
  out->value = value;
  return 0;
}

int onnx_session_run(
  onnx_session *session, const char *input, int32_t type, const void *data, size_t bytes, const int64_t *sizes,
  size_t dimensions, const char *output, onnx_result *out, char **error) {
  memset(out, 0, sizeof *out);
  handle memory = NULL, given = NULL, made = NULL;
  // The arena allocator, and its default memory.
  if (check(CALL(CREATE_CPU_MEMORY_INFO, int, int, handle *)(1, 0, &memory), error)) return 1;
  int failed = check(
    CALL(CREATE_TENSOR_WITH_DATA, handle, void *, size_t, const int64_t *, size_t, int, handle *)(
      memory, (void *)data, bytes, sizes, dimensions, type, &given), error);
  RELEASE(RELEASE_MEMORY_INFO)(memory);
  if (failed) return 1;
  failed = check(
    CALL(RUN, handle, handle, const char *const *, const handle *, size_t, const char *const *, size_t, handle *)(
      session->session, NULL, &input, &given, 1, &output, 1, &made), error);
  RELEASE(RELEASE_VALUE)(given);
  if (failed) return 1;
  if (!read_result(made, out, error)) return 0;
  if (made) RELEASE(RELEASE_VALUE)(made);
  return 1;
}

void onnx_result_release(onnx_result *result) {
  if (result->value) RELEASE(RELEASE_VALUE)(result->value);
  result->value = NULL;
}
