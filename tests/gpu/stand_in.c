/* A libcuda that computes on the CPU: one device, one kernel, and an account of what is held.

   It takes what the driver takes and refuses what the driver refuses, as far as tests go. That its
   functions are declared as the driver's are, the compiler says where it has the driver's header:

       cc -fsyntax-only -include cuda.h tests/gpu/stand_in.c
*/

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CUDA_VERSION
typedef enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_PTX = 218,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500
} CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
#endif

/* What is on the device is nowhere in the host's memory, and its addresses need all their bits. */
#define ELSEWHERE 0x4000000000000000ull
#define BLOCKS 8
#define MOST_THREADS 1024

static struct {
    CUdeviceptr at;
    size_t size;
    char *data;
} blocks[BLOCKS];
static char a_context, a_module, a_function;
static int initialized, retained, loaded, devices = 1;
static CUcontext current;

static char calls[4096], failing[64];
static int failing_with;

static void note(const char *name) {
    size_t length = strlen(calls);
    snprintf(calls + length, sizeof calls - length, "%s ", name);
}

/* Each function notes that it was called, and fails if it is the one that is to fail. */
#define BEGIN                                                                                      \
    note(__func__);                                                                                \
    if (strcmp(__func__, failing) == 0) return (CUresult)failing_with;
#define REFUSE(what, status)                                                                       \
    if (what) return CUDA_ERROR_##status;
#define IN_CONTEXT                                                                                 \
    REFUSE(!initialized, NOT_INITIALIZED) REFUSE(!current || !retained, INVALID_CONTEXT)

/* -- the account ------------------------------------------------------------------------------ */

/* Forget everything; have *function* fail from now on, if it is not empty. */
void stand_in_begin(const char *function, int status, int number_of_devices) {
    for (int i = 0; i < BLOCKS; i++) free(blocks[i].data);
    memset(blocks, 0, sizeof blocks);
    initialized = retained = loaded = 0;
    current = NULL;
    calls[0] = '\0';
    devices = number_of_devices;
    failing_with = status;
    snprintf(failing, sizeof failing, "%s", function);
}

/* The names of the functions that were called, each with a space after it. */
const char *stand_in_calls(void) { return calls; }

/* How much is held: contexts, that one is current, modules and memory. */
int stand_in_held(void) {
    int held = retained + (current != NULL) + loaded;
    for (int i = 0; i < BLOCKS; i++) held += blocks[i].data != NULL;
    return held;
}

/* -- the driver ------------------------------------------------------------------------------- */

CUresult cuInit(unsigned int flags) {
    BEGIN
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    REFUSE(flags != 0, INVALID_VALUE)
    REFUSE(visible && !*visible, NO_DEVICE)
    initialized = 1;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult status, const char **name) {
    switch ((int)status) {
    case 1: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case 2: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case 3: *name = "CUDA_ERROR_NOT_INITIALIZED"; break;
    case 100: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case 101: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case 201: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case 218: *name = "CUDA_ERROR_INVALID_PTX"; break;
    case 400: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
    case 500: *name = "CUDA_ERROR_NOT_FOUND"; break;
    default: *name = NULL; return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
    BEGIN
    REFUSE(!initialized, NOT_INITIALIZED)
    *count = devices;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    BEGIN
    REFUSE(!initialized, NOT_INITIALIZED)
    REFUSE(ordinal < 0 || ordinal >= devices, INVALID_DEVICE)
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    BEGIN
    REFUSE(!initialized, NOT_INITIALIZED)
    REFUSE(device != 0, INVALID_DEVICE)
    REFUSE(length < 1, INVALID_VALUE)
    snprintf(name, (size_t)length, "Stand-in");
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    BEGIN
    REFUSE(!initialized, NOT_INITIALIZED)
    REFUSE(device != 0, INVALID_DEVICE)
    retained++;
    *context = (CUcontext)&a_context;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    BEGIN
    REFUSE(device != 0, INVALID_DEVICE)
    REFUSE(!retained, INVALID_CONTEXT)
    retained--;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    BEGIN
    REFUSE(!initialized, NOT_INITIALIZED)
    REFUSE(context && (context != (CUcontext)&a_context || !retained), INVALID_CONTEXT)
    current = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
    BEGIN
    IN_CONTEXT
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    BEGIN
    IN_CONTEXT
    size_t length = strlen(image); /* the whole text, to its last brace, is there */
    while (length && strchr(" \n", ((const char *)image)[length - 1])) length--;
    REFUSE(strncmp(image, ".version ", 9) != 0, INVALID_PTX)
    REFUSE(!strstr(image, ".entry saxpy("), INVALID_PTX)
    REFUSE(((const char *)image)[length - 1] != '}', INVALID_PTX)
    loaded++;
    *module = (CUmodule)&a_module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    BEGIN
    IN_CONTEXT
    REFUSE(!loaded || module != (CUmodule)&a_module, INVALID_HANDLE)
    REFUSE(strcmp(name, "saxpy") != 0, NOT_FOUND)
    *function = (CUfunction)&a_function;
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
    BEGIN
    IN_CONTEXT
    REFUSE(!loaded || module != (CUmodule)&a_module, INVALID_HANDLE)
    loaded--;
    return CUDA_SUCCESS;
}

static int found(CUdeviceptr at, size_t size) {
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].data && blocks[i].at == at && size <= blocks[i].size) return i;
    return -1;
}

CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t size) {
    BEGIN
    IN_CONTEXT
    REFUSE(size == 0, INVALID_VALUE)
    for (int i = 0; i < BLOCKS; i++) {
        if (blocks[i].data) continue;
        blocks[i].data = malloc(size);
        REFUSE(!blocks[i].data, OUT_OF_MEMORY)
        blocks[i].size = size;
        *at = blocks[i].at = ELSEWHERE | (uintptr_t)blocks[i].data;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFree_v2(CUdeviceptr at) {
    BEGIN
    IN_CONTEXT
    int i = found(at, 0);
    REFUSE(i < 0, INVALID_VALUE)
    free(blocks[i].data);
    memset(&blocks[i], 0, sizeof blocks[i]);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
    BEGIN
    IN_CONTEXT
    int i = found(to, size);
    REFUSE(i < 0 || !from, INVALID_VALUE)
    memcpy(blocks[i].data, from, size);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
    BEGIN
    IN_CONTEXT
    int i = found(from, size);
    REFUSE(i < 0 || !to, INVALID_VALUE)
    memcpy(to, blocks[i].data, size);
    return CUDA_SUCCESS;
}

/* One thread of saxpy.ptx. */
static void saxpy(uint32_t i, uint32_t n, float a, const float *x, float *y) {
    if (i < n) y[i] = a * x[i] + y[i];
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared, CUstream stream,
                        void **arguments, void **extra) {
    BEGIN
    IN_CONTEXT
    REFUSE(!loaded || function != (CUfunction)&a_function, INVALID_HANDLE)
    REFUSE(grid_x == 0 || grid_y != 1 || grid_z != 1, INVALID_VALUE)
    REFUSE(block_x == 0 || block_x > MOST_THREADS || block_y != 1 || block_z != 1, INVALID_VALUE)
    REFUSE(shared || stream || !arguments || extra, INVALID_VALUE)
    uint32_t n = *(uint32_t *)arguments[0];
    float a = *(float *)arguments[1];
    int x = found(*(uint64_t *)arguments[2], n * sizeof(float));
    int y = found(*(uint64_t *)arguments[3], n * sizeof(float));
    REFUSE(x < 0 || y < 0, INVALID_VALUE)
    for (uint32_t i = 0; i < grid_x * block_x; i++)
        saxpy(i, n, a, (float *)blocks[x].data, (float *)blocks[y].data);
    return CUDA_SUCCESS;
}
