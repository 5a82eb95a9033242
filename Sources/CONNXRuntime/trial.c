// A model is opened, and asked for the first time, in a process of its own: ONNX Runtime does not stand every file that means
// harm, and what it does not stand would end this process.
//
// That process is the same program started anew. A copy of this one (fork) would have the locks of ONNX Runtime as they are
// at that moment, and wait for ever for those that other threads hold.
#define _GNU_SOURCE
#include "CONNXRuntime.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The constructor below is given the arguments of the program by glibc.
#if defined(__linux__) && defined(__GLIBC__)
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/// How the process is called, by which it knows that it is one.
static const char name[] = "distill-onnx-trial";

/// What it is to do, and what came of it: in memory that both processes have, behind the standard input of the new one.
/// Then come the paths of the library and of the model, the names of the input and of the output, and the input's bytes.
typedef struct {
  char sort[sizeof name];
  pid_t asked_by;
  int32_t threads;
  uint64_t most_bytes;
  uint32_t seconds;
  bool has_batch;
  int32_t type;
  size_t dimensions;
  int64_t sizes[ONNX_MAX_DIMENSIONS];
  size_t bytes;
  bool has_succeeded;
  char message[4096];
} request;

static int attempt(const request *asked, char **error) {
  const char *library = (const char *)(asked + 1);
  const char *path = library + strlen(library) + 1;
  onnx_session *session = NULL;
  if (onnx_open_runtime(library, error) || onnx_session_open(path, asked->threads, &session, error)) return 1;
  for (int inputs = 0; inputs < 2; inputs++) {
    size_t count = 0;
    if (onnx_session_count(session, inputs, &count, error)) return 1;
    for (size_t i = 0; i < count; i++) {
      onnx_port port;
      if (onnx_session_port(session, inputs, i, &port, error)) return 1;
      free(port.name);
    }
  }
  if (!asked->has_batch) return 0;
  const char *input = path + strlen(path) + 1;
  const char *output = input + strlen(input) + 1;
  const void *data = output + strlen(output) + 1;
  onnx_result result;
  return onnx_session_run(
    session, input, asked->type, data, asked->bytes, asked->sizes, asked->dimensions, output, &result, error);
}

static void limit_itself(const request *asked) {
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != asked->asked_by) _exit(1);
  struct rlimit limit = {0, 0};
  setrlimit(RLIMIT_CORE, &limit);
  if (!getrlimit(RLIMIT_DATA, &limit) && asked->most_bytes < limit.rlim_cur) {
    limit.rlim_cur = asked->most_bytes;
    setrlimit(RLIMIT_DATA, &limit);
  }
  alarm(asked->seconds);
}

/// Before anything else of a program that is started for a trial, and instead of it.
__attribute__((constructor)) static void be_the_trial(int count, char **arguments) {
  if (count < 1 || strcmp(arguments[0], name)) return;
  struct stat file;
  if (fstat(STDIN_FILENO, &file) || (size_t)file.st_size < sizeof(request)) return;
  request *asked = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, STDIN_FILENO, 0);
  if (asked == MAP_FAILED || memcmp(asked->sort, name, sizeof name)) return;
  limit_itself(asked);
  char *error = NULL;
  asked->has_succeeded = !attempt(asked, &error);
  if (error) snprintf(asked->message, sizeof asked->message, "%s", error);
  _exit(0);
}

/// Whether this is part of the program's own file, which then has the function above.
static bool can_start_itself(void) {
  extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));
  return getauxval(AT_PHDR) == (uintptr_t)&__ehdr_start + __ehdr_start.e_phoff;
}

/// Memory with the request, and its file.
static request *make_request(
  const char *library, const char *path, const onnx_batch *batch, size_t *size, int *file) {
  const char *texts[] = {library, path, batch ? batch->input : "", batch ? batch->output : ""};
  const size_t bytes = batch ? batch->bytes : 0;
  *size = sizeof(request) + bytes;
  for (int i = 0; i < 4; i++) *size += strlen(texts[i]) + 1;
  *file = memfd_create(name, MFD_CLOEXEC);
  if (*file < 0) return NULL;
  // Taken at once: memory that is missing is an error here, and no signal later.
  const int code = posix_fallocate(*file, 0, (off_t)*size);
  request *made = code ? MAP_FAILED : mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
  if (made == MAP_FAILED) {
    close(*file);
    if (code) errno = code;
    return NULL;
  }
  memcpy(made->sort, name, sizeof name);
  made->asked_by = getpid();
  if (batch) {
    made->has_batch = true;
    made->type = batch->type;
    made->dimensions = batch->dimensions;
    memcpy(made->sizes, batch->sizes, batch->dimensions * sizeof *batch->sizes);
    made->bytes = bytes;
  }
  char *end = (char *)(made + 1);
  for (int i = 0; i < 4; i++) end = stpcpy(end, texts[i]) + 1;
  if (bytes) memcpy(end, batch->data, bytes);
  return made;
}

/// The program anew, with a file as its standard input and nothing else of this process. What a runtime that falls says is
/// not for people.
///
/// - Returns: as posix_spawn
static int start(int file, const char *path, pid_t *child) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int code = posix_spawnattr_init(&attributes);
  if (code) return code;
  code = posix_spawn_file_actions_init(&actions);
  if (!code) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    code = posix_spawn_file_actions_adddup2(&actions, file, STDIN_FILENO);
    for (int out = STDOUT_FILENO; !code && out <= STDERR_FILENO; out++)
      code = posix_spawn_file_actions_addopen(&actions, out, "/dev/null", O_WRONLY, 0);
    char *arguments[] = {(char *)name, (char *)path, NULL};
    if (!code) code = posix_spawn(child, "/proc/self/exe", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attributes);
  return code;
}

/// Waits for the process.
///
/// - Returns: the signal that ended it; 0: none, or nobody knows
static int signal_of_the_end(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return 0;
  }
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int outcome(request *asked, int number, char **error) {
  if (asked->has_succeeded) return 0;
  asked->message[sizeof asked->message - 1] = 0;
  if (!number) return onnx_fail(error, *asked->message ? asked->message : "the process in which it was tried is lost");
  char text[200];
  if (number == SIGALRM) {
    snprintf(text, sizeof text, "it takes more than %u seconds; DISTILL_ONNX_SECONDS allows more", asked->seconds);
  } else if (number == SIGKILL) {
    snprintf(text, sizeof text, "the system ended it, most likely because it takes more memory than there is");
  } else {
    snprintf(
      text, sizeof text, "ONNX Runtime does not stand it (%s): the file is damaged, or means harm", strsignal(number));
  }
  return onnx_fail(error, text);
}

static int cannot(int code, char **error) {
  char text[200];
  snprintf(text, sizeof text, "it cannot be tried in a process of its own: %s", strerror(code));
  return onnx_fail(error, text);
}

int onnx_try(
  const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds, char **error) {
  const char *library = onnx_runtime_library();
  if (!library) return onnx_fail(error, "ONNX Runtime was not opened");
  if (batch && batch->dimensions > ONNX_MAX_DIMENSIONS) return onnx_fail(error, "a tensor has too many dimensions");
  if (!can_start_itself()) return 0;
  size_t size = 0;
  int file = -1;
  request *asked = make_request(library, path, batch, &size, &file);
  if (!asked) return cannot(errno, error);
  asked->threads = threads;
  asked->most_bytes = most_bytes;
  asked->seconds = seconds;
  pid_t child = 0;
  const int code = start(file, path, &child);
  close(file);
  const int failed = code ? cannot(code, error) : outcome(asked, signal_of_the_end(child), error);
  munmap(asked, size);
  return failed;
}
#else
int onnx_try(
  const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds, char **error) {
  (void)path, (void)threads, (void)batch, (void)most_bytes, (void)seconds, (void)error;
  return 0;
}
#endif
