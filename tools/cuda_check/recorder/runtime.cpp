// A stand-in for libcudart that launches nothing: it writes every launch to stdout, a line of
// `kernel gx gy gz bx by bz shared parameters`, the parameters in hexadecimal as they lie in memory. How long those of
// a kernel are comes from the file that RECORD_PARAMETERS names, lines of `kernel offset size offset size ...`.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Place {
  size_t offset, size;
};

std::map<const void*, std::string>& names() {
  static std::map<const void*, std::string> all;
  return all;
}

const std::vector<Place>& places(const std::string& kernel) {
  static const std::map<std::string, std::vector<Place>> all = [] {
    std::map<std::string, std::vector<Place>> read;
    std::ifstream file(std::getenv("RECORD_PARAMETERS"));
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string name;
      words >> name;
      for (Place place; words >> place.offset >> place.size;) read[name].push_back(place);
    }
    return read;
  }();
  return all.at(kernel);
}

int number(const char* name) {
  return std::atoi(std::getenv(name));
}

cudaError_t record(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared) {
  const std::string& kernel = names().at(function);
  std::vector<unsigned char> bytes;
  for (size_t i = 0; const Place& place : places(kernel)) {
    bytes.resize(std::max(bytes.size(), place.offset + place.size));
    std::memcpy(bytes.data() + place.offset, arguments[i++], place.size);
  }
  std::printf("%s %u %u %u %u %u %u %zu ", kernel.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
  for (const unsigned char byte : bytes) std::printf("%02x", byte);
  std::printf("\n");
  return cudaSuccess;
}

struct Configuration {
  dim3 grid, block;
  size_t shared;
  void* stream;
};
std::vector<Configuration> configurations;

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) {
  return 1;
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  names()[host] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid, *block = last.block, *shared = last.shared;
  std::memcpy(stream, &last.stream, sizeof last.stream);
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  std::memcpy(kernel, &function, sizeof function);
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t) {
  return record(kernel, grid, block, arguments, shared);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                             cudaStream_t) {
  return record(function, grid, block, arguments, shared);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return record(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes);
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaPeekAtLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t) {
  return "none";
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetId(cudaStream_t, unsigned long long* id) {
  *id = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = number("RECORD_ARCHITECTURE") / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = number("RECORD_ARCHITECTURE") % 10;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = number("RECORD_MULTIPROCESSORS");
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = number("RECORD_BLOCK_SHARED");
      break;
    default:
      std::fprintf(stderr, "attribute %d is asked for, and not known here\n", attribute);
      std::exit(1);
  }
  return cudaSuccess;
}

}  // extern "C"
