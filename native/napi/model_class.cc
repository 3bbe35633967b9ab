#include "napi/model_class.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/job.h"
#include "napi/large_pages.h"
#include "napi/scene_class.h"
#include "napi/traffic.h"

namespace segsam {

namespace {

constexpr int64_t kMaxTextWidth = 65536;
constexpr int64_t kMaxRows = 0x7fffffff;
constexpr int64_t kMaxBatch = 65536;
constexpr int64_t kMaxQueue = int64_t{1} << 53;

struct PrecisionName {
  Precision precision;
  const char* name;
};

constexpr std::array<PrecisionName, 5> kPrecisions = {{{Precision::kAuto, "auto"},
                                                       {Precision::kFp32, "fp32"},
                                                       {Precision::kBf16, "bf16"},
                                                       {Precision::kFp16, "fp16"},
                                                       {Precision::kInt8, "int8"}}};
static_assert(kPrecisions[static_cast<int>(Precision::kAuto)].precision == Precision::kAuto);
static_assert(kPrecisions[static_cast<int>(Precision::kFp32)].precision == Precision::kFp32);
static_assert(kPrecisions[static_cast<int>(Precision::kBf16)].precision == Precision::kBf16);
static_assert(kPrecisions[static_cast<int>(Precision::kFp16)].precision == Precision::kFp16);
static_assert(kPrecisions[static_cast<int>(Precision::kInt8)].precision == Precision::kInt8);

Precision readPrecision(const Napi::Value& value) {
  const std::string name = readString(value, "precision");
  for (const PrecisionName& known : kPrecisions) {
    if (name == known.name) return known.precision;
  }
  throw Error(kInvalidArgument, "Expected precision auto, fp32, bf16, fp16 or int8, got " + name);
}

std::array<float, 3> readChannels(const Napi::Value& value, const char* name, bool positive) {
  const Napi::Object list = readObject(value, name);
  std::array<float, 3> channels{};
  for (uint32_t i = 0; i < channels.size(); ++i) {
    channels[i] = static_cast<float>(readNumber(list.Get(i), name));
    if (positive && !(channels[i] > 0.0f))
      throw Error(kInvalidArgument, std::string("Expected numbers above 0 for ") + name);
  }
  return channels;
}

ModelFiles readFiles(const Napi::Value& value) {
  const Napi::Object files = readObject(value, "files");
  ModelFiles result{readString(files.Get("encoder"), "files.encoder"),
                    readString(files.Get("decoder"), "files.decoder"), std::nullopt};
  const Napi::Value text = files.Get("textEncoder");
  if (!text.IsNull()) result.textEncoder = readString(text, "files.textEncoder");
  return result;
}

ModelOptions readOptions(const Napi::Value& value) {
  const Napi::Object object = readObject(value, "options");
  ModelOptions options;
  const Precision asked = readPrecision(object.Get("precision"));
  options.imageSize = readInteger(object.Get("imageSize"), "imageSize", 1, kMaxImageSize);
  options.resizeMode = readResizeMode(object.Get("resizeMode"));
  options.normalisation.mean = readChannels(object.Get("pixelMean"), "pixelMean", false);
  options.normalisation.std = readChannels(object.Get("pixelStd"), "pixelStd", true);
  options.maskSize = readInteger(object.Get("maskSize"), "maskSize", 1, kMaxMaskSize);
  options.textWidth = readInteger(object.Get("textWidth"), "textWidth", 1, kMaxTextWidth);
  options.namesObjects = readBoolean(object.Get("namesObjects"), "namesObjects");
  options.maxEncodeBatch = readInteger(object.Get("maxEncodeBatch"), "maxEncodeBatch", 1, kMaxBatch);
  options.maxDecodeBatch = readInteger(object.Get("maxDecodeBatch"), "maxDecodeBatch", 1, kMaxBatch);
  options.device = resolveDevice(readString(object.Get("device"), "device"));
  options.precision = resolvePrecision(asked, options.device);
  return options;
}

int64_t readMaxQueue(const Napi::Value& options) {
  const Napi::Value value = readObject(options, "options").Get("maxQueue");
  return value.IsNull() ? kMaxQueue : readInteger(value, "maxQueue", 1, kMaxQueue);
}

Napi::Value load(const Napi::CallbackInfo& info) {
  return rejecting(info.Env(), [&] {
    struct Call {
      ModelFiles files;
      ModelOptions options;
      std::shared_ptr<Model> model;
    };
    const auto call = std::make_shared<Call>(Call{readFiles(info[0]), readOptions(info[1]), nullptr});
    const int64_t maxQueue = readMaxQueue(info[1]);
    const auto executor = Executor::of(call->options.device.str());
    return Job::start(
        info.Env(), executor, info[2], [call] { call->model = Model::load(call->files, call->options); },
        [call, executor, maxQueue](Napi::Env env, const Job::Kept&) -> Napi::Value {
          auto handle = std::make_shared<ModelHandle>(env, executor, std::move(call->model), maxQueue);
          return wrap(Environment::of(env).model, std::make_unique<ModelObject>(ModelObject{std::move(handle)}));
        });
  });
}

Napi::Value embedText(const Napi::CallbackInfo& info) {
  return rejecting(info.Env(), [&] {
    const ModelHandle& handle = *unwrap<ModelObject>(info.This()).handle;
    const std::shared_ptr<Model> model = handle.model();
    if (!model->hasTextEncoder()) throw Error(kInvalidArgument, "The bundle has no text encoder");
    const int64_t rows = readInteger(info[2], "rows", 1, kMaxRows);
    const int64_t length = readInteger(info[3], "length", 1, kMaxRows);
    const NewArray<float> result = newArray<float>(info.Env(), product(rows, model->options().textWidth));
    auto ids = copyOf(readArray<int64_t>(info[0], "ids", product(rows, length)));
    auto attention = copyOf(readArray<int64_t>(info[1], "attention", product(rows, length)));
    return Job::start(
        info.Env(), handle.executor(), info[4],
        [model, rows, length, ids = std::move(ids), attention = std::move(attention), target = result.elements] {
          model->embedText(ids.data(), attention.data(), rows, length, target);
        },
        [](Napi::Env, const Job::Kept& kept) { return kept[0].Value(); }, {result.value});
  });
}

Napi::Value prepareClasses(const Napi::CallbackInfo& info) {
  return rejecting(info.Env(), [&] {
    const std::shared_ptr<ModelHandle> handle = unwrap<ModelObject>(info.This()).handle;
    const std::shared_ptr<Model> model = handle->model();
    auto counts = copyOf(readArray<int32_t>(info[1], "counts"));
    if (counts.empty()) throw Error(kInvalidArgument, "Expected at least one class in counts");
    int64_t rows = 0;
    for (int32_t count : counts) {
      if (count < 1) throw Error(kInvalidArgument, "Expected at least one sentence for each class in counts");
      rows += count;
    }
    const int64_t values = product(rows, model->options().textWidth);
    auto sentences = copyOf(readArray<float>(info[0], "sentences", values));
    const auto classes = std::make_shared<std::shared_ptr<const ClassSet>>();
    return Job::start(
        info.Env(), handle->executor(), info[2],
        [model, classes, sentences = std::move(sentences), counts = std::move(counts)] {
          *classes = model->prepareClasses(sentences.data(), counts);
        },
        [handle, classes](Napi::Env env, const Job::Kept&) -> Napi::Value {
          const int64_t size = (*classes)->size;
          return wrap(Environment::of(env).classSet,
                      std::make_unique<ClassSetObject>(ClassSetObject{handle, std::move(*classes), size}));
        });
  });
}

PixelType readPixelType(napi_typedarray_type type) {
  switch (type) {
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return PixelType::kUint8;
    case napi_uint16_array:
      return PixelType::kUint16;
    case napi_int16_array:
      return PixelType::kInt16;
    case napi_float32_array:
      return PixelType::kFloat32;
    default:
      throw Error(kInvalidImage, "Expected 8-bit, 16-bit or 32-bit float pixels");
  }
}

size_t bytesOf(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return 1;
    case PixelType::kUint16:
    case PixelType::kInt16:
      return 2;
    case PixelType::kFloat32:
      return 4;
  }
  return 0;
}

/// Copies of pixels that are kept for later images, in bytes.
constexpr size_t kLargestKept = size_t{64} << 20;

struct ImageArgument {
  Image image;
  /// The copy of the pixels; empty where they are borrowed.
  c10::DataPtr copy;
  /// What keeps borrowed pixels alive; empty where they are copied.
  Napi::Value borrowed;
};

ImageArgument readImage(const Napi::Value& value) {
  const Napi::Object object = readObject(value, "an image", kInvalidImage);
  Image image{};
  image.width = readInteger(object.Get("width"), "width", 1, kMaxSide, kInvalidImage);
  image.height = readInteger(object.Get("height"), "height", 1, kMaxSide, kInvalidImage);
  image.channels = static_cast<int>(readInteger(object.Get("channels"), "channels", 1, 4, kInvalidImage));
  if (image.channels == 2) throw Error(kInvalidImage, "Expected 1, 3 or 4 channels, got 2");
  const Napi::Value window = object.Get("window");
  if (!window.IsNull()) {
    const Napi::Object pair = readObject(window, "window", kInvalidImage);
    image.window = {readNumber(pair.Get(0U), "window", kInvalidImage),
                    readNumber(pair.Get(1U), "window", kInvalidImage)};
    if (!((*image.window)[0] < (*image.window)[1])) {
      throw Error(kInvalidImage, "Expected a window whose first intensity is below its second");
    }
  }
  const bool borrow = readBoolean(object.Get("borrow"), "borrow", kInvalidImage);
  const Napi::Value pixels = object.Get("data");
  const TypedArrayView view = readTypedArray(pixels, "data", kInvalidImage);
  image.type = readPixelType(view.type);
  const int64_t expected = product(product(image.width, image.height), image.channels);
  if (static_cast<int64_t>(view.length) != expected) {
    throw Error(kInvalidImage, "Expected " + std::to_string(expected) +
                                   " values of pixels (width * height * channels), got " + std::to_string(view.length) +
                                   " (0 where the buffer was transferred)");
  }
  image.pixels = view.elements;
  if (borrow) return {image, {}, pixels};
  const size_t bytes = view.length * bytesOf(image.type);
  // Memory that was used before, where there is some: the system takes longer to clear new pages than this to fill
  // them. What few images have the size of goes back at once.
  c10::DataPtr copy = bytes > kLargestKept ? c10::GetDefaultCPUAllocator()->allocate(bytes)
                                           : c10::GetAllocator(c10::kCPU)->allocate(bytes);
  useLargePages(copy.get(), static_cast<int64_t>(bytes));
  std::memcpy(copy.get(), view.elements, bytes);
  image.pixels = copy.get();
  return {image, std::move(copy), {}};
}

Napi::Value encode(const Napi::CallbackInfo& info) {
  return rejecting(info.Env(), [&] {
    const std::shared_ptr<ModelHandle> handle = unwrap<ModelObject>(info.This()).handle;
    const std::shared_ptr<Model> model = handle->model();
    if (!info[0].IsArray()) throw Error(kInvalidArgument, "Expected an array of images");
    const auto list = info[0].As<Napi::Array>();
    if (list.Length() == 0) throw Error(kInvalidImage, "Expected at least one image");
    std::vector<Image> images;
    std::vector<c10::DataPtr> copies;
    std::vector<Napi::Value> kept;
    for (uint32_t i = 0; i < list.Length(); ++i) {
      ImageArgument argument = readImage(list.Get(i));
      images.push_back(argument.image);
      copies.push_back(std::move(argument.copy));
      if (!argument.borrowed.IsEmpty()) kept.push_back(argument.borrowed);
    }
    const auto work = std::make_shared<EncodeWork>(model, std::move(images), std::move(copies));
    return Job::start(
        info.Env(), handle->executor(), info[2], work, readSchedule(info[1], WorkKind::kEncode, handle->traffic()),
        [handle, work](Napi::Env env, const Job::Kept&) -> Napi::Value {
          const auto scenes = Napi::Array::New(env, work->scenes().size());
          for (uint32_t i = 0; i < work->scenes().size(); ++i) {
            scenes.Set(i, makeScene(env, handle, std::move(work->scenes()[i])));
          }
          return scenes;
        },
        kept);
  });
}

Napi::Value stats(const Napi::CallbackInfo& info) {
  const ModelHandle& handle = *unwrap<ModelObject>(info.This()).handle;
  const auto result = describe(info.Env(), handle.traffic()->stats());
  const auto set = [&](const char* name, int64_t value) { result.Set(name, static_cast<double>(value)); };
  set("weightBytes", handle.disposed() ? 0 : handle.model()->bytes());
  set("scenes", handle.scenes().scenes);
  set("sceneBytes", handle.scenes().bytes);
  return result;
}

std::vector<std::vector<int64_t>> readShapes(const Napi::Value& value) {
  if (!value.IsArray()) throw Error(kInvalidArgument, "Expected an array of shapes");
  const auto list = value.As<Napi::Array>();
  std::vector<std::vector<int64_t>> shapes(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value shape = list.Get(i);
    if (!shape.IsArray()) throw Error(kInvalidArgument, "Expected an array of sizes in shapes");
    const auto sizes = shape.As<Napi::Array>();
    for (uint32_t j = 0; j < sizes.Length(); ++j) {
      shapes[i].push_back(readInteger(sizes.Get(j), "a size in shapes", 1, j == 0 ? 1 : kMaxRows));
    }
    if (shapes[i].empty()) throw Error(kInvalidArgument, "Expected at least one size in each of shapes");
  }
  return shapes;
}

Napi::Value restore(const Napi::CallbackInfo& info) {
  return rejecting(info.Env(), [&] {
    const std::shared_ptr<ModelHandle> handle = unwrap<ModelObject>(info.This()).handle;
    const Napi::Object features = readObject(info[0], "features");
    const int64_t width = readInteger(features.Get("width"), "width", 1, kMaxSide);
    const int64_t height = readInteger(features.Get("height"), "height", 1, kMaxSide);
    auto shapes = readShapes(features.Get("shapes"));
    int64_t total = 0;
    for (const auto& shape : shapes) {
      total += std::accumulate(shape.begin(), shape.end(), int64_t{1}, product);
    }
    auto data = copyOf(readArray<float>(features.Get("data"), "data", total));
    const std::shared_ptr<Model> model = handle->model();
    const auto scene = std::make_shared<std::shared_ptr<Scene>>();
    return Job::start(
        info.Env(), handle->executor(), info[1],
        [model, scene, width, height, shapes = std::move(shapes), data = std::move(data)] {
          *scene = model->restore(width, height, shapes, data.data());
        },
        [handle, scene](Napi::Env env, const Job::Kept&) -> Napi::Value {
          return makeScene(env, handle, std::move(*scene));
        });
  });
}

}  // namespace

ModelHandle::ModelHandle(Napi::Env env, std::shared_ptr<Executor> executor, std::shared_ptr<Model> model,
                         int64_t maxQueue)
    : executor_(std::move(executor)),
      model_(std::move(model)),
      options_(model_->options()),
      traffic_(std::make_shared<Traffic>(maxQueue)),
      scenes_(model_->scenes()),
      memory_(Environment::of(env).modelMemory, options_.device.is_cpu() ? model_->bytes() : 0) {}

const std::shared_ptr<Model>& ModelHandle::model() const {
  if (disposed()) throw Error(kDisposed, "The model was disposed");
  return model_;
}

void ModelHandle::dispose() {
  model_ = nullptr;
  memory_.release();
}

Napi::Function modelClass(Napi::Env env) {
  return defineClass<ModelObject>(
      env,
      {staticMethod("load", load), method("embedText", embedText), method("prepareClasses", prepareClasses),
       method("encode", encode), method("stats", stats), method("restore", restore),
       method("dispose",
              [](const Napi::CallbackInfo& info) -> Napi::Value {
                unwrap<ModelObject>(info.This()).handle->dispose();
                return info.Env().Undefined();
              }),
       getter("device",
              [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::String::New(info.Env(), unwrap<ModelObject>(info.This()).handle->options().device.str());
              }),
       getter("precision",
              [](const Napi::CallbackInfo& info) -> Napi::Value {
                const Precision precision = unwrap<ModelObject>(info.This()).handle->options().precision;
                return Napi::String::New(info.Env(), kPrecisions[static_cast<int>(precision)].name);
              }),
       getter("decodesBinary",
              [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::Boolean::New(info.Env(),
                                          unwrap<ModelObject>(info.This()).handle->model()->decodesBinary());
              }),
       getter("kernelFailure",
              [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::String::New(info.Env(), unwrap<ModelObject>(info.This()).handle->model()->kernelFailure());
              }),
       getter("disposed", [](const Napi::CallbackInfo& info) -> Napi::Value {
         return Napi::Boolean::New(info.Env(), unwrap<ModelObject>(info.This()).handle->disposed());
       })});
}

Napi::Function classSetClass(Napi::Env env) {
  return defineClass<ClassSetObject>(
      env, {method("dispose",
                   [](const Napi::CallbackInfo& info) -> Napi::Value {
                     unwrap<ClassSetObject>(info.This()).classes = nullptr;
                     return info.Env().Undefined();
                   }),
            getter("size", [](const Napi::CallbackInfo& info) -> Napi::Value {
              return Napi::Number::New(info.Env(), static_cast<double>(unwrap<ClassSetObject>(info.This()).size));
            })});
}

}  // namespace segsam
