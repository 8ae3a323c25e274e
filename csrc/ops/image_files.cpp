// Image files, many at a time and without Python, which one thread at a time may run: a folder of small images is read
// by all threads at once. What is in the files is for amgan_fast/images to say, and libpng is torchvision's.
//
//   first_bytes   [N, count] of N files, zeros behind the end of one, for headers
//   decode_pngs   pixels of those files that begin as one does whose header is known
//
// A path is a row of bytes, zeros behind it. Nothing is said of a file that cannot be read: who wants to know reads it
// again.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "ops/register.h"

namespace amgan::ops {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// Without a buffer: a read of many bytes is one of the system, and nothing is copied twice.
File open_file(const std::string& path) {
  File file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file) std::setvbuf(file.get(), nullptr, _IONBF, 0);
  return file;
}

void check_bytes(const at::Tensor& tensor, const char* name, int64_t dim) {
  TORCH_CHECK(tensor.scalar_type() == at::kByte && tensor.dim() == dim && tensor.is_contiguous(), name, " is ",
              tensor.sizes(), " of ", tensor.scalar_type(), ", wanted contiguous bytes in ", dim, " dimensions");
}

std::string path_at(const at::Tensor& paths, int64_t i) {
  const auto* row = reinterpret_cast<const char*>(paths.const_data_ptr<uint8_t>()) + i * paths.size(1);
  return {row, std::find(row, row + paths.size(1), '\0')};
}

at::Tensor first_bytes(const at::Tensor& paths, int64_t count) {
  check_bytes(paths, "paths", 2);
  TORCH_CHECK(count > 0, "count is ", count, ", wanted at least 1");
  const int64_t files = paths.size(0);
  at::Tensor bytes = at::zeros({files, count}, at::kByte);
  auto* row = bytes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < files; ++i, row += count) {
    const File file = open_file(path_at(paths, i));
    // Of a shorter file, or one that cannot be read, zeros are left.
    if (file) std::ignore = std::fread(row, 1, count, file.get());
  }
  return bytes;
}

// Bytes 33 to 36 of a PNG file whose pixels follow its header say how many bytes these take: of each file its own.
constexpr size_t kLength = 33, kLengthEnd = 37;

bool begins_as(const std::vector<uint8_t>& data, size_t size, const at::Tensor& start) {
  const uint8_t* wanted = start.const_data_ptr<uint8_t>();
  const auto count = static_cast<size_t>(start.numel());
  return size >= count && std::equal(wanted, wanted + kLength, data.begin()) &&
         std::equal(wanted + kLengthEnd, wanted + count, data.begin() + kLengthEnd);
}

// Reads the whole of a file that begins as `start` into `data`, whose capacity is kept; returns its size, 0 for others.
size_t read_alike(const std::string& path, const at::Tensor& start, std::vector<uint8_t>& data) {
  constexpr size_t kAtOnce = 16384;
  const File file = open_file(path);
  size_t size = 0;
  for (bool more = file != nullptr; more;) {
    data.resize(std::max(data.size(), 2 * size + kAtOnce));
    const size_t room = data.size() - size;
    const size_t read = std::fread(data.data() + size, 1, room, file.get());
    if (size == 0 && !begins_as(data, read, start)) return 0;
    size += read;
    more = read == room;
  }
  return size;
}

// [C, H, W] to `planes`. Not by copy_, which for large images would start threads for each thread that reads.
void unpack(const at::Tensor& image, uint8_t* planes) {
  const at::Tensor pixels = image.permute({1, 2, 0}).contiguous();  // as libpng leaves them: no copy
  const uint8_t* from = pixels.const_data_ptr<uint8_t>();
  const int64_t channels = image.size(0), places = image.numel() / channels;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t place = 0; place < places; ++place) planes[c * places + place] = from[place * channels + c];
  }
}

std::tuple<at::Tensor, at::Tensor> decode_pngs(const at::Tensor& paths, const at::Tensor& start, int64_t channels,
                                               int64_t height, int64_t width) {
  check_bytes(paths, "paths", 2);
  check_bytes(start, "start", 1);
  TORCH_CHECK(start.numel() >= static_cast<int64_t>(kLengthEnd), "start has ", start.numel(),
              " bytes, wanted at least ", kLengthEnd);
  const auto decode_png = c10::Dispatcher::singleton()
                              .findSchemaOrThrow("image::decode_png", "")
                              .typed<at::Tensor(const at::Tensor&, int64_t, bool)>();
  const int64_t files = paths.size(0);
  at::Tensor images = at::empty({files, channels, height, width}, at::kByte), decoded = at::zeros({files}, at::kBool);
  std::vector<uint8_t> data;
  for (int64_t i = 0; i < files; ++i) {
    const size_t size = read_alike(path_at(paths, i), start, data);
    if (size == 0) continue;
    try {
      // The mode of torchvision is the number of channels: 1 grey, 3 RGB.
      const at::Tensor image = decode_png.call(at::from_blob(data.data(), {static_cast<int64_t>(size)}, at::kByte),
                                               channels, /*apply_exif_orientation=*/false);
      if (image.sizes() != images.sizes().slice(1)) continue;
      unpack(image, images.mutable_data_ptr<uint8_t>() + i * image.numel());
      decoded.mutable_data_ptr<bool>()[i] = true;
    } catch (const std::exception&) {  // a damaged file; torchvision raises what is no error of torch
    }
  }
  return {images, decoded};
}

// A namespace of its own: these are no operations on tensors of any device.
TORCH_LIBRARY(amgan_fast_images, m) {
  m.def("first_bytes(Tensor paths, int count) -> Tensor", torch::dispatch(at::kCPU, first_bytes));
  m.def(
      "decode_pngs(Tensor paths, Tensor start, int channels, int height, int width) -> (Tensor images, Tensor decoded)",
      torch::dispatch(at::kCPU, decode_pngs));
}

}  // namespace
}  // namespace amgan::ops
