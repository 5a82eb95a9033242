// The C face of libtorch: the one door through which Distill reaches it.
//
// Every function that can fail returns 0 on success and another number on failure; then `*error` points to a
// message that the caller frees with the table's `free`. No C++ exception crosses this header.
//
// The functions live in a small library of their own (bridge/, compiled by scripts/bootstrap), which
// ct_load opens at run time. So nothing that uses this target needs linker flags, and a program that never
// touches a tensor never loads libtorch.
#ifndef CTORCH_H
#define CTORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An owned reference to a tensor (`at::TensorImpl *`, counted). Freed with tensor_release.
typedef struct ct_tensor *ct_tensor_ref;
/// An operator's handle. Lives as long as the process.
typedef const struct ct_operator *ct_operator_ref;
/// An owned random number generator (`at::Generator *`). Freed with generator_release.
typedef struct ct_generator *ct_generator_ref;

typedef enum {
  CT_NONE = 0,
  CT_TENSOR,
  CT_INT,
  CT_DOUBLE,
  CT_BOOL,
  CT_STRING,
  CT_INT_LIST,
  CT_DOUBLE_LIST,
  CT_BOOL_LIST,
  CT_TENSOR_LIST,
  CT_GENERATOR,
} ct_tag;

/// One argument or result of an operator. Lists point to memory that the caller keeps alive during the call;
/// a list in a result is allocated by the bridge and freed by the caller with the table's `free`.
typedef struct {
  ct_tag tag;
  int64_t integer;  // CT_INT, CT_BOOL; the number of elements of a list
  double real;      // CT_DOUBLE
  const void *pointer;  // CT_TENSOR, CT_GENERATOR, CT_STRING, lists
} ct_value;

#define CT_MAX_DIMENSIONS 16

typedef struct {
  int32_t dtype;   // c10::ScalarType
  int32_t device;  // c10::DeviceType
  int32_t device_index;
  int32_t dimensions;
  int64_t sizes[CT_MAX_DIMENSIONS];
  int64_t strides[CT_MAX_DIMENSIONS];
  int64_t count;
  bool requires_gradient;
  bool contiguous;
} ct_tensor_info;

typedef void (*ct_deleter)(void *context);

/// The functions of the bridge. `version` guards against a bridge that was built from another header.
typedef struct {
  int32_t version;

  // Operators
  int (*operator_find)(const char *name, const char *overload, ct_operator_ref *out, char **error);
  /// Calls an operator. Trailing arguments that are not given take the schema's defaults. At most
  /// `result_capacity` results are written; `*result_count` says how many there were.
  int (*operator_call)(
    ct_operator_ref op, const ct_value *arguments, int32_t argument_count, ct_value *results,
    int32_t result_capacity, int32_t *result_count, char **error);

  // Tensors
  void (*tensor_release)(ct_tensor_ref tensor);
  ct_tensor_ref (*tensor_retain)(ct_tensor_ref tensor);
  int (*tensor_info)(ct_tensor_ref tensor, ct_tensor_info *out, char **error);
  int (*tensor_data)(ct_tensor_ref tensor, void **out, char **error);
  /// A tensor over memory that the caller owns; `deleter(context)` runs when libtorch lets go of it.
  int (*tensor_from_memory)(
    void *memory, const int64_t *sizes, int32_t dimensions, int32_t dtype, ct_deleter deleter, void *context,
    ct_tensor_ref *out, char **error);

  // Gradients
  int (*set_requires_gradient)(ct_tensor_ref tensor, bool value, char **error);
  int (*gradient)(ct_tensor_ref tensor, ct_tensor_ref *out, char **error);
  int (*set_gradient)(ct_tensor_ref tensor, ct_tensor_ref gradient, char **error);
  int (*backward)(
    const ct_tensor_ref *roots, const ct_tensor_ref *gradients, int32_t count, bool retain_graph, bool create_graph,
    char **error);
  int (*gradients_of)(
    const ct_tensor_ref *outputs, const ct_tensor_ref *output_gradients, int32_t output_count,
    const ct_tensor_ref *inputs, int32_t input_count, bool retain_graph, bool create_graph, ct_tensor_ref *out,
    char **error);
  bool (*gradient_enabled)(void);
  void (*set_gradient_enabled)(bool value);

  // Autocast
  int (*autocast_enter)(int32_t device, int32_t dtype, bool *was_enabled, int32_t *old_dtype, char **error);
  int (*autocast_exit)(int32_t device, bool was_enabled, int32_t old_dtype, char **error);
  /// Sets whether autocast is on, and tells whether it was.
  int (*autocast_switch)(int32_t device, bool enabled, bool *was_enabled, char **error);

  // Random numbers
  int (*generator_create)(int32_t device, uint64_t seed, ct_generator_ref *out, char **error);
  void (*generator_release)(ct_generator_ref generator);
  int (*generator_set_seed)(ct_generator_ref generator, uint64_t seed, char **error);
  int (*generator_state)(ct_generator_ref generator, ct_tensor_ref *out, char **error);
  int (*generator_set_state)(ct_generator_ref generator, ct_tensor_ref state, char **error);

  // The machine
  const char *(*torch_version)(void);
  int (*device_available)(int32_t device, int32_t index, bool *out, char **error);
  int (*synchronize)(int32_t device, int32_t index, char **error);
  int32_t (*thread_count)(void);
  void (*set_thread_count)(int32_t count);

  void (*free)(void *memory);

  /// Calls `body(first, last, context)` for parts of 0 ..< count, of at least `grain` each, on libtorch's threads; returns
  /// when all are done.
  int (*share)(
    int64_t count, int64_t grain, void (*body)(int64_t first, int64_t last, void *context), void *context, char **error);
} ct_functions;

#define CT_VERSION 4

/// Opens the bridge and libtorch with it, once, and returns its functions. On failure returns NULL and, in
/// `*error`, a message owned by this target (not to be freed) that says where it looked and what to do.
///
/// It looks in `$DISTILL_LIBTORCH`, beside the running program (`libtorch/`, `../lib/distill/libtorch/`) and in
/// the folder `libtorch/` of the package that this was built from.
const ct_functions *ct_load(const char **error);

/// From now on the C library keeps large freed blocks for reuse instead of giving them back to the system and asking
/// for them again at every step, which costs a page fault for each page. Does nothing where the library cannot.
void ct_keep_freed_memory(void);

/// out[i] = table[bytes[i]], with a table of 256 numbers. Needs no libtorch.
void ct_look_up(const uint8_t *bytes, size_t count, const float *table, float *out);

/// Asks the processor to bring bytes near that are soon to be read.
void ct_fetch(const void *bytes, size_t count);

/// The name under which the bridge exports its table of functions.
#define CT_ENTRY "ct_bridge_functions"

#ifdef __cplusplus
}
#endif
#endif
