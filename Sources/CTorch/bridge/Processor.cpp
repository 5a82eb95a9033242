// Which instructions for bfloat16 the processor has.

#include <ATen/ATen.h>
#include <ATen/cpu/Utils.h>
#include <torch/library.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace {

constexpr int64_t amx = 1, avx512 = 2, arm = 4;

/// A bit for each kind.
int64_t units() {
#if defined(__x86_64__)
  const auto known = at::cpu::get_cpu_capabilities();
  const auto has = [&](const char* name) {
    const auto found = known.find(name);
    return found != known.end() && found->second.isBool() && found->second.toBool();
  };
  return (has("amx_tile") && has("amx_bf16") ? amx : 0) | (has("avx512_bf16") ? avx512 : 0);
#elif defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long bf16 = 1UL << 14;  // HWCAP2_BF16, which older headers lack
  return getauxval(AT_HWCAP2) & bf16 ? arm : 0;
#elif defined(__aarch64__) && defined(__APPLE__)
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &value, &size, nullptr, 0) == 0 && value != 0 ? arm : 0;
#else
  return 0;
#endif
}

at::Tensor bfloat16_units() { return at::scalar_tensor(units(), at::kLong); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(distill, library) { library.def("bfloat16_units() -> Tensor", bfloat16_units); }
