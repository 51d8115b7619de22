//! The types and words by which a node's exception is recognised as an out-of-memory error.

/// How `exception_type` ends, in small letters: `torch.OutOfMemoryError` and
/// `torch.cuda.OutOfMemoryError`, Python's `MemoryError` (that of `comfy_aimdo`'s `VBAR allocation
/// failed` too), `_ArrayMemoryError` of `numpy/_core/_exceptions.py`, `av.error.MemoryError`,
/// `cupy.cuda.memory.OutOfMemoryError`.
const TYPE: &str = "memoryerror";

/// Parts of `exception_message`, in small letters, with where they were seen. Of one with `…` all
/// pieces, in this order.
const WORDS: &[&str] = &[
    // Any device.
    "out of memory", // PyTorch's CUDA, HIP, XPU and MPS allocators; ComfyUI's tip in execution.py
    "outofmemory",   // hipErrorOutOfMemory; Metal's kIOGPU…ErrorOutOfMemory; TensorRT's code 2
    "out_of_memory", // CUDA_ERROR_OUT_OF_MEMORY (cuda.h), NVRTC_ERROR_OUT_OF_MEMORY (nvrtc.h)
    "memoryerror",   // raised again with its type in the text; OpenCV, modules/core/src/alloc.cpp
    "out of vram",   // node packs that put their own message in place of PyTorch's
    "not enough vram", // the same
    "insufficient vram", // the same
    "not enough gpu memory", // the same
    "oom when allocating", // TensorFlow, core/framework/op_kernel.cc
    // CUDA and its libraries.
    "allocation on device", // PyTorch, c10/cuda/CUDAMallocAsyncAllocator.cpp
    "failed with oom",      // PyTorch, c10/cuda/CUDACachingAllocator.cpp
    "nvml_success == … cudacachingallocator.cpp", // the same: NVML failed while OOM was reported
    "errormemoryallocation", // cudaErrorMemoryAllocation, hipErrorMemoryAllocation
    "status_alloc_failed",  // cuBLAS, cuDNN 8, cuSOLVER, cuSPARSE, hipBLAS
    "allocation_failed",    // cuDNN 9 (cudnn_graph.h, HOST and DEVICE), cuRAND (curand.h)
    "fft_alloc_failed",     // CUFFT_ALLOC_FAILED, HIPFFT_ALLOC_FAILED
    "requested amount of … could not be allocated", // TensorRT
    "hostbuffer",           // comfy_aimdo/host_buffer.py: pinned memory not to be had
    "vram grow failed",     // comfy_aimdo/vram_buffer.py
    // HIP.
    "miopenstatusallocfailed",     // MIOpen, include/miopen/miopen.h
    "rocblas_status_memory_error", // rocBLAS, rocblas-types.h
    // XPU: Level Zero, SYCL and Intel's extension. OpenCL and Vulkan have the same words.
    "out of device memory", // intel-extension-for-pytorch, where it submits a kernel
    "out_of_device_memory", // ZE_RESULT_ERROR_…, UR_RESULT_ERROR_…, VK_ERROR_…
    "out_of_host_memory",   // the same; CL_OUT_OF_HOST_MEMORY
    "error_out_of_resources", // PI_ERROR_…, UR_RESULT_ERROR_…, HSA_STATUS_ERROR_…
    "object_allocation_failure", // CL_MEM_OBJECT_ALLOCATION_FAILURE
    "vkallocatememory failed", // ncnn, src/allocator.cpp
    // MPS.
    "invalid buffer size: … gb", // PyTorch, aten/src/ATen/mps/MPSAllocator.mm
    "invalid buffer size: … gib", // the same, newer
    "insufficient memory",       // Metal's command buffers; OpenCV's error -4
    // DirectML.
    "not enough gpu video memory", // torch-directml
    "could not allocate tensor",   // torch-directml
    "8007000e",                    // E_OUTOFMEMORY in any language: onnxruntime, DML provider
    // The CPU's memory.
    "not enough memory", // PyTorch on Windows, c10/core/impl/alloc_cpu.cpp; ComfyUI, attention.py
    "can't allocate memory", // PyTorch elsewhere, the same file
    "cannot allocate memory", // ENOMEM: a model file mapped by PyTorch or safetensors, PyAV
    "can not allocate memory", // intel-extension-for-pytorch: a block above 4 GB
    "could not allocate memory", // PyTorch, c10/core/impl/SizesAndStrides.cpp
    "failed to allocate memory", // onnxruntime, core/framework/bfc_arena.cc; PyAV
    "unable to allocate memory", // ROCm, roctracer.h
    "smaller than requested bytes", // onnxruntime, the same file
    "unable to mmap memory", // PyTorch, aten/src/ATen/MapAllocator.cpp
    "cannot allocate array memory", // numpy.fromiter
    "unable to allocate … for an array", // numpy/_core/_exceptions.py
    "bad allocation",    // std::bad_alloc as Microsoft's library tells it
    "bad_alloc",         // as the others do
    "[errno 12]",        // ENOMEM in any language: Python's OSError
    // Windows in any language: 1455, the paging file is too small; 8 and 14, no memory; 1450, no
    // system resources.
    "os error 1455)",     // safetensors
    "winerror 1455]",     // Python's OSError
    "error code: <1455>", // PyTorch, aten/src/ATen/MapAllocator.cpp
    "800705af",           // its HRESULT
    "winerror 8]",        // Python's OSError
    "winerror 14]",       // the same
    "winerror 1450]",     // the same
    "os error 1450)",     // safetensors
];

/// What holds [`WORDS`] and is about an address, not an amount.
const ADDRESSES: [&str; 2] = ["out of memory bounds", "out of memory range"];

/// Whether an exception is an out-of-memory error, by its type or its message, in any letter case.
///
/// A wrong yes costs one `/free` before the next attempt; a wrong no lets that attempt fail too.
pub(super) fn is_out_of_memory(exception_type: &str, message: &str) -> bool {
    if exception_type.to_ascii_lowercase().ends_with(TYPE) {
        return true;
    }
    let message = message.to_ascii_lowercase();
    let message = ADDRESSES.iter().fold(message, |rest, words| rest.replace(words, ""));
    WORDS.iter().any(|words| has_pieces(&message, words))
}

/// Whether all pieces of `words` stand in `text`, in this order.
fn has_pieces(text: &str, words: &str) -> bool {
    let mut pieces = words.split('…').map(str::trim);
    pieces.try_fold(text, |rest, piece| rest.split_once(piece).map(|(_, after)| after)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types and messages as people reported them, or as the sources named at [`WORDS`] put them
    /// together.
    const SEEN: &[(&str, &str)] = &[
        // ComfyUI issues 10246, 12360, 10662, 9812, 9529, 7004, 7171 and SUPIR 151.
        ("torch.OutOfMemoryError", "Allocation on device"),
        ("torch.cuda.OutOfMemoryError", ""),
        ("Exception", "Error during sampling: Allocation on device 0 would exceed allowed memory."),
        ("RuntimeError", "CUDA error: Out of memory"),
        (
            "torch.AcceleratorError",
            "CUDA error: out of memory Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com",
        ),
        (
            "RuntimeError",
            "HIP out of memory. Tried to allocate 432.00 MiB. GPU 0 has a total capacity of 15.92 GiB",
        ),
        ("RuntimeError", "XPU out of memory. Tried to allocate 128.00 GiB."),
        (
            "RuntimeError",
            "MPS backend out of memory (MPS allocated: 16.91 GB, other allocations: 2.77 MB, max allowed: 18.13 GB).",
        ),
        ("RuntimeError", "Invalid buffer size: 8.21 GB"),
        ("RuntimeError", "Invalid buffer size: 19.38 GiB"),
        (
            "RuntimeError",
            "[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        ),
        // CUDA's libraries: QwenLM 873, PyTorch 20123, 112569, 130486, TheRock 1708.
        (
            "RuntimeError",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        (
            "RuntimeError",
            "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        ),
        (
            "RuntimeError",
            "CUDA error: CUSPARSE_STATUS_ALLOC_FAILED when calling `cusparseCreate(handle)`",
        ),
        ("RuntimeError", "cuFFT error: CUFFT_ALLOC_FAILED"),
        ("RuntimeError", "CURAND_STATUS_ALLOCATION_FAILED"),
        ("RuntimeError", "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"),
        (
            "RuntimeError",
            "NVML_SUCCESS == r INTERNAL ASSERT FAILED at \"../c10/cuda/CUDACachingAllocator.cpp\":830, please report a bug to PyTorch.",
        ),
        (
            "RuntimeError",
            "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at \"../c10/cuda/CUDACachingAllocator.cpp\":813",
        ),
        ("RuntimeError", "expandable_segments: memory mapping failed with OOM on device 0"),
        ("RuntimeError", "cudaErrorMemoryAllocation"),
        (
            "RuntimeError",
            "[TRT] Requested amount of GPU memory (4294967296 bytes) could not be allocated.",
        ),
        (
            "RuntimeError",
            "[virtualMemoryBuffer.cpp::resizePhysical::160] Error Code 2: OutOfMemory (no further information)",
        ),
        (
            "ResourceExhaustedError",
            "OOM when allocating tensor with shape[16,128,98,98] and type float on DML:0",
        ),
        // HIP.
        (
            "RuntimeError",
            "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        ),
        ("RuntimeError", "miopenStatusAllocFailed"),
        ("RuntimeError", "rocblas_status_memory_error"),
        ("RuntimeError", "HIP error: hipErrorOutOfMemory"),
        (
            "RuntimeError",
            "HSA Error 4104: HSA_STATUS_ERROR_OUT_OF_RESOURCES: The runtime failed to allocate the necessary resources.",
        ),
        // XPU, OpenCL, Vulkan: torch-xpu-ops 1598, ipex-llm 9467, IPEX 629.
        (
            "RuntimeError",
            "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        ),
        (
            "RuntimeError",
            "level_zero backend failed with error: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)",
        ),
        (
            "RuntimeError",
            "level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        ),
        (
            "RuntimeError",
            "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES) -5 (PI_ERROR_OUT_OF_RESOURCES)",
        ),
        ("RuntimeError", "Allocation is out of device memory on current platform."),
        (
            "RuntimeError",
            "Current platform can NOT allocate memory block with size larger than 4GB!",
        ),
        ("RuntimeError", "clEnqueueNDRangeKernel: CL_MEM_OBJECT_ALLOCATION_FAILURE"),
        ("RuntimeError", "vkAllocateMemory failed -2"),
        // DirectML: ComfyUI 3869, diffusers 791.
        (
            "RuntimeError",
            "Could not allocate tensor with 58982400 bytes. There is not enough GPU video memory available!",
        ),
        (
            "RuntimeException",
            "MLOperatorAuthorImpl.cpp(1978) Exception(3) tid(4304) 8007000E Для завершения этой операции недостаточно ресурсов памяти.",
        ),
        // The CPU's memory: ComfyUI 697, 5647, 9178, VideoHelperSuite 167 and 671, HeyGem 15.
        (
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to allocate 13005619200 bytes.",
        ),
        (
            "RuntimeError",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 14643363840 bytes. Error code 12 (Cannot allocate memory)",
        ),
        (
            "RuntimeError",
            "unable to mmap 23802932552 bytes from file <models/unet/flux1-dev.safetensors>: Cannot allocate memory (12)",
        ),
        ("RuntimeError", "$ Torch: unable to mmap memory: you tried to mmap 12GB."),
        ("RuntimeError", "Could not allocate memory for Tensor SizesAndStrides!"),
        (
            "RuntimeError",
            "Not enough memory, use lower resolution (max approx. 448x448). Need: 0.1GB free, Have:0.0GB free",
        ),
        (
            "numpy.core._exceptions._ArrayMemoryError",
            "Unable to allocate 3.72 GiB for an array with shape (361, 1440, 2560, 3) and data type uint8",
        ),
        (
            "Exception",
            "decode failed: Unable to allocate 28.3 GiB for an array with shape (60800, 41600, 3) and data type float32",
        ),
        ("MemoryError", ""),
        ("RuntimeError", "MemoryError: cannot allocate memory for array"),
        ("ValueError", "cannot allocate array memory"),
        ("MemoryError", "VBAR allocation failed"),
        ("RuntimeError", "HostBuffer.read_file_slice failed"),
        ("RuntimeError", "VRAM grow failed: 4294967296 bytes"),
        ("av.error.MemoryError", "[Errno 12] Cannot allocate memory"),
        ("OSError", "[Errno 12] Not enough space"),
        ("OSError", "Unable to allocate memory"),
        ("RuntimeError", "bad allocation"),
        ("RuntimeError", "std::bad_alloc"),
        (
            "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException",
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 643840",
        ),
        (
            "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException",
            "BFCArena::AllocateRawInternal Available memory of 0 is smaller than requested bytes of 2048",
        ),
        (
            "cv2.error",
            "OpenCV(4.9.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 10000400004 bytes in function 'cv::OutOfMemoryError'",
        ),
        // Windows: ComfyUI 8065, 9492, 11009, PyTorch 31874, nnUNet 1652, DeepFaceLab 778.
        ("OSError", "The paging file is too small for this operation to complete. (os error 1455)"),
        (
            "OSError",
            "Le fichier de pagination est insuffisant pour terminer cette opération. (os error 1455)",
        ),
        (
            "OSError",
            "[WinError 1455] 页面文件太小，无法完成操作。 Error loading \"torch\\lib\\cudnn64_9.dll\"",
        ),
        (
            "RuntimeError",
            "Couldn't open shared file mapping: <torch_573824_1569179339>, error code: <1455>",
        ),
        ("OSError", "O arquivo de paginação é muito pequeno. (HRESULT: 0x800705AF)"),
        ("OSError", "[WinError 8] Für diesen Befehl ist nicht genügend Speicher verfügbar"),
        ("OSError", "[WinError 14] Für diesen Vorgang ist nicht genügend Speicher verfügbar"),
        (
            "OSError",
            "[WinError 1450] Nicht genügend Systemressourcen, um den angeforderten Dienst auszuführen",
        ),
        (
            "OSError",
            "Nicht genügend Systemressourcen, um den angeforderten Dienst auszuführen. (os error 1450)",
        ),
        // Node packs.
        (
            "RuntimeError",
            "Out of VRAM on 'KSampler'. Reduce resolution/batch or use a quantized model.",
        ),
        ("RuntimeError", "Not enough VRAM on GPU 0"),
        ("InsufficientVRAMError", "Insufficient VRAM: 9000 MB needed"),
        ("RuntimeError", "not enough GPU memory"),
    ];

    const OTHERS: &[(&str, &str)] = &[
        ("RuntimeError", "deliberate failure"),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered"),
        ("RuntimeError", "memory access out of bounds"),
        ("IndexError", "index 12 is out of memory bounds"),
        ("RuntimeError", "hipErrorInvalidValue: out of memory range"),
        ("RuntimeError", "CUDA error: too many resources requested for launch"),
        ("RuntimeError", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        ("RuntimeError", "cuFFT error: CUFFT_INTERNAL_ERROR"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"),
        (
            "RuntimeError",
            "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at \"c10/cuda/PeerToPeerAccess.cpp\":83",
        ),
        (
            "triton.runtime.errors.OutOfResources",
            "out of resource: shared memory, Required: 106496, Hardware limit: 65536. Reducing block sizes or `num_stages` may help.",
        ),
        ("RuntimeError", "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"),
        ("RuntimeError", "The GPU device instance has been suspended."),
        (
            "RuntimeError",
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        ),
        ("ValueError", "Invalid buffer size: 0"),
        ("RuntimeError", "Couldn't open shared file mapping: <torch_14556_1455>, error code: <2>"),
        ("OSError", "[Errno 28] No space left on device"),
        ("OSError", "[WinError 112] There is not enough space on the disk"),
        ("OSError", "[WinError 87] The parameter is incorrect"),
        ("OSError", "Exec format error (os error 8)"),
        ("OSError", "Not found: 'clip 1455' (os error 2)"),
        (
            "PIL.Image.DecompressionBombError",
            "Image size (225000000 pixels) exceeds limit of 178956970 pixels",
        ),
        ("Exception", "429 RESOURCE_EXHAUSTED: You exceeded your current quota"),
        ("SafetensorError", "Error while deserializing header: HeaderTooLarge"),
    ];

    #[test]
    fn what_people_saw_is_recognised() {
        for (kind, message) in SEEN {
            assert!(is_out_of_memory(kind, message), "{kind}: {message}");
            assert!(is_out_of_memory(&kind.to_uppercase(), &message.to_uppercase()), "{message}");
        }
    }

    #[test]
    fn other_errors_are_not() {
        for (kind, message) in OTHERS {
            assert!(!is_out_of_memory(kind, message), "{kind}: {message}");
        }
    }

    #[test]
    fn every_row_was_seen() {
        for words in WORDS {
            assert_eq!(words.to_ascii_lowercase(), **words);
            let seen = |message: &str| has_pieces(&message.to_ascii_lowercase(), words);
            assert!(SEEN.iter().any(|(_, message)| seen(message)), "{words}");
        }
    }
}
