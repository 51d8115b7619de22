//! The words by which a node's exception tells that the process can use its GPU no more: every
//! further prompt fails until `ComfyUI` is started anew.

/// What an exception tells of the process that raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenContext {
    /// The process has to be started anew.
    Certain,
    /// The same if the next prompt fails in that way too.
    IfRepeated,
}

/// Parts of `exception_message`, in small letters, with where they were seen. The texts and names of
/// CUDA are those whose description in CUDA 13's `driver_types.h` says that the process has to be
/// terminated and relaunched; HIP's `hip_runtime_api.h` has the same texts and numbers, and Triton
/// (`Triton Error [CUDA]: …`, `[HIP]`) repeats them.
const CERTAIN: &[&str] = &[
    "illegal memory access", // 700; ComfyUI issue 15271, ROCm issues 5742 and 5814
    "launch timed out and was terminated", // 702
    "device-side assert triggered", // 710
    "hardware stack error",  // 714
    "illegal instruction was encountered", // 715
    "misaligned address",    // 716
    "operation not supported on global/shared address space", // 717
    "invalid program counter", // 718
    "unspecified launch failure", // 719
    "tensor memory not completely freed", // 721
    // Their names, of the runtime as PyTorch quotes them (c10/cuda/CUDAException.cpp: Search for
    // `cudaErrorIllegalAddress'), and of the driver (cuda.h).
    "errorillegaladdress",
    "errorlaunchtimeout", // hipErrorLaunchTimeOut too
    "cudaerrorassert",
    "hiperrorassert",
    "errorhardwarestackerror",
    "errorillegalinstruction",
    "errormisalignedaddress",
    "errorinvalidaddressspace",
    "errorinvalidpc",
    "errorlaunchfailure",
    "errortensormemoryleak",
    "cuda_error_illegal_address",
    "cuda_error_launch_timeout",
    "cuda_error_assert",
    "cuda_error_hardware_stack_error",
    "cuda_error_illegal_instruction",
    "cuda_error_misaligned_address",
    "cuda_error_invalid_address_space",
    "cuda_error_invalid_pc",
    "cuda_error_launch_failed",
    "cuda_error_tensor_memory_leak",
    "result_error_device_lost", // XPU, UR_ and ZE_: ComfyUI issues 7753 and 10847
    "gpu device instance has been suspended", // torch-directml: DirectML issue 550
    "887a0005",                 // its HRESULT in any language: onnxruntime issue 22700
];

/// The same of errors that also come alone.
const IF_REPEATED: &[&str] = &[
    "cuda error: invalid argument",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
];

/// What an exception's message tells, in any letter case. Nothing of one that is out of memory, which
/// has its own table.
pub(super) fn broken_context(message: &str) -> Option<BrokenContext> {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if has(CERTAIN) {
        Some(BrokenContext::Certain)
    } else {
        has(IF_REPEATED).then_some(BrokenContext::IfRepeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_process_is_told_from_what_does_not() {
        for (message, wanted) in [
            (
                "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in https://docs.nvidia.com",
                Some(BrokenContext::Certain),
            ),
            ("HIP error: unspecified launch failure", Some(BrokenContext::Certain)),
            ("CUDA error: device-side assert triggered", Some(BrokenContext::Certain)),
            ("Triton Error [CUDA]: misaligned address", Some(BrokenContext::Certain)),
            (
                "CUDA error: operation not supported on global/shared address space",
                Some(BrokenContext::Certain),
            ),
            (
                "Native API failed. Native API returns: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
                Some(BrokenContext::Certain),
            ),
            (
                "The GPU device instance has been suspended. Use GetDeviceRemovedReason to determine the appropriate action.",
                Some(BrokenContext::Certain),
            ),
            ("CUDA error: invalid argument", Some(BrokenContext::IfRepeated)),
            (
                "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(`",
                Some(BrokenContext::IfRepeated),
            ),
            ("CUDA out of memory. Tried to allocate 2.00 GiB", None),
            ("CUDA error: no kernel image is available for execution on the device", None),
            ("CUDA error: operation not supported", None),
            ("cuDNN Frontend error: [cudnn_frontend] Error: No execution plans", None),
            ("[Errno 28] No space left on device", None),
            ("invalid argument", None),
        ] {
            assert_eq!(broken_context(message), wanted, "{message}");
        }
    }

    #[test]
    fn the_words_are_in_small_letters() {
        for words in CERTAIN.iter().chain(IF_REPEATED) {
            assert_eq!(words.to_ascii_lowercase(), **words);
        }
    }
}
