// A model is opened, and asked for the first time, in a process of its own: ONNX Runtime does not stand every file that means
// harm, and what it does not stand would end this process.
#define _GNU_SOURCE
#include "CONNXRuntime.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int attempt(const char *path, int32_t threads, const onnx_batch *batch, char **error) {
  onnx_session *session = NULL;
  if (onnx_session_open(path, threads, &session, error)) return 1;
  for (int inputs = 0; inputs < 2; inputs++) {
    size_t count = 0;
    if (onnx_session_count(session, inputs, &count, error)) return 1;
    for (size_t i = 0; i < count; i++) {
      onnx_port port;
      if (onnx_session_port(session, inputs, i, &port, error)) return 1;
      free(port.name);
    }
  }
  onnx_result result;
  return batch && onnx_session_run(
    session, batch->input, batch->type, batch->data, batch->bytes, batch->sizes, batch->dimensions, batch->output,
    &result, error);
}

/// What the process of its own does. Nothing of Swift may be called here, where all threads but this one are gone.
static void work(
  int out, const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds) {
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What a runtime that falls says is not for people.
  const int nothing = open("/dev/null", O_WRONLY);
  if (nothing >= 0) {
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
  }
  struct rlimit limit = {0, 0};
  setrlimit(RLIMIT_CORE, &limit);
  if (!getrlimit(RLIMIT_DATA, &limit) && most_bytes < limit.rlim_cur) {
    limit.rlim_cur = most_bytes;
    setrlimit(RLIMIT_DATA, &limit);
  }
  alarm(seconds);
  char *error = NULL;
  const int failed = attempt(path, threads, batch, &error);
  if (failed) {
    const char *message = error ? error : "without a reason";
    if (write(out, message, strlen(message)) < 0) _exit(2);
  }
  _exit(failed ? 1 : 0);
}

/// All that comes, up to a size; then what is left is not waited for.
static void take(int in, char *text, size_t size) {
  size_t count = 0;
  while (count + 1 < size) {
    const ssize_t got = read(in, text + count, size - 1 - count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    count += (size_t)got;
  }
  text[count] = 0;
}

int onnx_try(
  const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds, char **error) {
  char text[4096];
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) return onnx_fail(error, "it cannot be tried in a process of its own: no pipe");
  const pid_t child = onnx_fork();
  if (child == 0) work(ends[1], path, threads, batch, most_bytes, seconds);
  const int code = errno;
  close(ends[1]);
  if (child < 0) {
    snprintf(text, sizeof text, "it cannot be tried in a process of its own: %s", strerror(code));
    close(ends[0]);
    return onnx_fail(error, text);
  }
  take(ends[0], text, sizeof text);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return onnx_fail(error, "the process in which it was tried is lost");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  if (!WIFSIGNALED(status)) return onnx_fail(error, text);
  const int number = WTERMSIG(status);
  if (number == SIGALRM) {
    snprintf(text, sizeof text, "it takes more than %u seconds; DISTILL_ONNX_SECONDS allows more", seconds);
  } else if (number == SIGKILL) {
    snprintf(text, sizeof text, "the system ended it, most likely because it takes more memory than there is");
  } else {
    snprintf(
      text, sizeof text, "ONNX Runtime does not stand it (%s): the file is damaged, or means harm", strsignal(number));
  }
  return onnx_fail(error, text);
}
#else
int onnx_try(
  const char *path, int32_t threads, const onnx_batch *batch, uint64_t most_bytes, uint32_t seconds, char **error) {
  (void)path, (void)threads, (void)batch, (void)most_bytes, (void)seconds, (void)error;
  return 0;
}
#endif
