#ifdef __linux__
#define _GNU_SOURCE  // for dl_iterate_phdr
#include <link.h>
#include <sys/mman.h>
#endif
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "CTorch.h"

#ifdef __APPLE__
#define BRIDGE "bridge/libctorch_bridge.dylib"
#define CUDA_LIBRARY ""
#else
#define BRIDGE "bridge/libctorch_bridge.so"
#define CUDA_LIBRARY "torch/lib/libtorch_cuda.so"
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const ct_functions *functions = NULL;
static char failure[8192] = "";

static void program_folder(char *out, size_t size) {
  out[0] = 0;
#ifdef __APPLE__
  uint32_t length = (uint32_t)size;
  if (_NSGetExecutablePath(out, &length) != 0) out[0] = 0;
#else
  ssize_t length = readlink("/proc/self/exe", out, size - 1);
  out[length > 0 ? length : 0] = 0;
#endif
  char *slash = strrchr(out, '/');
  if (slash) *slash = 0;
}

#ifdef __linux__
/// Takes the parts of libtorch's file that are only read out of this process's memory; what is needed again comes back
/// from the system's cache at the next touch.
static int release_read_only_parts(struct dl_phdr_info *library, size_t size, void *unused) {
  (void)size, (void)unused;
  if (!library->dlpi_name || !strstr(library->dlpi_name, "/libtorch_cpu.so")) return 0;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &library->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || (part->p_flags & PF_W)) continue;
    const uintptr_t begin = (library->dlpi_addr + part->p_vaddr + page - 1) / page * page;
    const uintptr_t end = (library->dlpi_addr + part->p_vaddr + part->p_memsz) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
  }
  return 1;
}
#endif

/// When libtorch is opened, it registers thousands of operators, and touches 45 MB of its file that nobody needs again.
static void release_what_only_opening_needs(void) {
#ifdef __linux__
  dl_iterate_phdr(release_read_only_parts, NULL);
#endif
}

/// Tries one folder. Returns true when the search is over: the bridge was opened, or it is there but unusable.
static bool try_folder(const char *folder) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/" BRIDGE, folder);
  if (access(path, R_OK) != 0) return false;
  void *handle = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
  if (!handle) {
    snprintf(failure, sizeof failure, "libtorch in %s cannot be opened: %s. Run scripts/bootstrap again", folder,
             dlerror());
    return true;
  }
  const ct_functions *(*entry)(void) = (const ct_functions *(*)(void))dlsym(handle, CT_ENTRY);
  const ct_functions *table = entry ? entry() : NULL;
  if (!table || table->version != CT_VERSION) {
    snprintf(failure, sizeof failure, "the bridge to libtorch in %s was built from another version of Distill. Run "
             "scripts/bootstrap again", folder);
    return true;
  }
  // Where libtorch was built with CUDA, its kernels register themselves when this library is opened. A machine
  // without the driver cannot open it, and goes on with the CPU.
  if (CUDA_LIBRARY[0]) {
    char cuda[PATH_MAX];
    snprintf(cuda, sizeof cuda, "%s/" CUDA_LIBRARY, folder);
    if (access(cuda, R_OK) == 0) dlopen(cuda, RTLD_LAZY | RTLD_GLOBAL);
  }
  release_what_only_opening_needs();
  functions = table;
  return true;
}

static void load(void) {
  const char *chosen = getenv("DISTILL_LIBTORCH");
  if (chosen && chosen[0]) {
    if (!try_folder(chosen))
      snprintf(failure, sizeof failure, "DISTILL_LIBTORCH names %s, but there is no %s in it", chosen, BRIDGE);
    return;
  }
  char folder[PATH_MAX], candidate[PATH_MAX + 64];
  program_folder(folder, sizeof folder);
  snprintf(candidate, sizeof candidate, "%s/libtorch", folder);
  if (try_folder(candidate)) return;
  snprintf(candidate, sizeof candidate, "%s/../lib/distill/libtorch", folder);
  if (try_folder(candidate)) return;
  snprintf(candidate, sizeof candidate, "%s/libtorch", DISTILL_PACKAGE_DIRECTORY);
  if (try_folder(candidate)) return;
  snprintf(failure, sizeof failure, "libtorch was not found in %s. Run scripts/bootstrap there, or set "
           "DISTILL_LIBTORCH to the folder that holds it", candidate);
}

const ct_functions *ct_load(const char **error) {
  pthread_once(&once, load);
  if (!functions && error) *error = failure;
  return functions;
}

void ct_keep_freed_memory(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}
