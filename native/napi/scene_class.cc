#include "napi/scene_class.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/host_memory.h"
#include "napi/job.h"
#include "napi/large_pages.h"
#include "napi/logits_class.h"
#include "napi/mask_bits_class.h"
#include "napi/traffic.h"
#include "napi/wrapped.h"

namespace segsam {

namespace {

constexpr int64_t kMaxPrompts = 0x7fffffff;
constexpr int32_t kLeastLabel = -1;
constexpr int32_t kGreatestLabel = 3;

/// Behind a Scene of JavaScript.
struct SceneObject {
  SceneObject(Napi::Env env, std::shared_ptr<ModelHandle> itsModel, std::shared_ptr<Scene> itsScene, bool shared)
      : model(std::move(itsModel)),
        scene(std::move(itsScene)),
        width(scene->frame().width),
        height(scene->frame().height),
        bytes(scene->bytes()),
        memory(Environment::of(env).sceneMemory, model->options().device.is_cpu() && !shared ? bytes : 0) {}

  void dispose() {
    scene = nullptr;
    memory.release();
  }

  std::shared_ptr<ModelHandle> model;
  /// Null once disposed.
  std::shared_ptr<Scene> scene;
  int64_t width;
  int64_t height;
  int64_t bytes;
  HostMemory memory;
};

Prompts readPrompts(const Napi::Value& value, int64_t maskSize) {
  const Napi::Object object = readObject(value, "prompts", kInvalidPrompt);
  Prompts prompts{};
  prompts.count = readInteger(object.Get("count"), "count", 1, kMaxPrompts, kInvalidPrompt);
  prompts.pointsPerPrompt =
      readInteger(object.Get("pointsPerPrompt"), "pointsPerPrompt", 1, kMaxPrompts, kInvalidPrompt);
  const Napi::Value points = object.Get("points");
  const Napi::Value labels = object.Get("labels");
  const Napi::Value masks = object.Get("masks");
  const int64_t total = product(prompts.count, prompts.pointsPerPrompt);
  prompts.points = copyOf(readArray<float>(points, "points", product(total, 2), kInvalidPrompt));
  prompts.labels = copyOf(readArray<int32_t>(labels, "labels", total, kInvalidPrompt));
  if (!masks.IsNull()) {
    const int64_t values = product(prompts.count, maskSize * maskSize);
    prompts.masks = copyOf(readArray<float>(masks, "masks", values, kInvalidPrompt));
  }
  for (float coordinate : prompts.points) {
    if (!std::isfinite(coordinate)) throw Error(kInvalidPrompt, "Expected finite coordinates of points");
  }
  for (int32_t label : prompts.labels) {
    if (label < kLeastLabel || label > kGreatestLabel) {
      throw Error(kInvalidPrompt, "Expected labels of points from -1 to 3, got " + std::to_string(label));
    }
  }
  return prompts;
}

struct Options {
  int64_t masksPerPrompt;
  float threshold;
  Napi::Value out;
};

Options readOptions(const Napi::Value& value) {
  const Napi::Object object = readObject(value, "options");
  return {readBoolean(object.Get("multimask"), "multimask") ? 3 : 1,
          static_cast<float>(readNumber(object.Get("threshold"), "threshold")), object.Get("out")};
}

/// Copies a result into the caller's array, which may have been detached while the job ran.
void deliver(const uint8_t* staged, int64_t length, const Napi::Value& out) {
  const ArrayView<uint8_t> target = readArray<uint8_t>(out, "out", length);
  std::copy_n(staged, length, target.elements);
}

/// The arrays of a decode that JavaScript sees, in the order in which the job keeps them. The caller's follows, if
/// there is one.
enum Result { kIou, kAgreement, kClassProbabilities, kPresence, kResults, kOut = kResults };

constexpr const char* kResultNames[] = {"iou", "agreement", "classProbabilities", "presence"};
static_assert(std::size(kResultNames) == kResults);

/// Null: none are to be named.
std::shared_ptr<const ClassSet> readClasses(const Napi::Value& value, const SceneObject& scene) {
  if (value.IsNull()) {
    if (!scene.model->model()->decodesBinary()) {
      throw Error(kInvalidArgument, "The bundle cannot decode without classes: its decoder.pt has no decode_binary");
    }
    return nullptr;
  }
  const ClassSetObject& classSet = unwrap<ClassSetObject>(value);
  if (!classSet.classes) throw Error(kDisposed, "The class set was disposed");
  if (classSet.model != scene.model) {
    throw Error(kInvalidArgument, "The class set is of another model than the scene");
  }
  return classSet.classes;
}

Napi::Value decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return rejecting(env, [&] {
    // Getters of the arguments may run JavaScript, which may dispose anything: all of them are read first.
    auto& object = unwrap<SceneObject>(info.This());
    const ModelOptions& modelOptions = object.model->options();
    const Options options = readOptions(info[2]);
    Prompts prompts = readPrompts(info[0], modelOptions.maskSize);
    const Schedule schedule = readSchedule(info[3], WorkKind::kDecode, object.model->traffic());

    const std::shared_ptr<Model> model = object.model->model();
    const std::shared_ptr<Scene> scene = object.scene;
    if (!scene) throw Error(kDisposed, "The scene was disposed");
    const std::shared_ptr<const ClassSet> classes = readClasses(info[1], object);

    const int64_t count = prompts.count;
    const int64_t masks = product(count, options.masksPerPrompt);
    const int64_t pixels = product(object.width, object.height);
    const int64_t maskPixels = product(masks, pixels);
    const bool hasOut = !options.out.IsNull() && !options.out.IsUndefined();
    std::shared_ptr<uint8_t[]> staging;
    uint8_t* maskBytes = nullptr;
    if (hasOut) {
      maskBytes = readArray<uint8_t>(options.out, "out", maskPixels).elements;
      // Shared memory is neither detached nor shrunk while the job runs.
      if (!isShared(options.out)) {
        staging.reset(new uint8_t[maskPixels]);
        useLargePages(staging.get(), maskPixels);
        maskBytes = staging.get();
      }
    }
    const auto iou = newArray<float>(env, masks);
    const auto agreement = newArray<float>(env, classes ? masks : 0);
    const auto classProbabilities = newArray<float>(env, classes ? product(count, classes->size + 1) : 0);
    const auto presence = newArray<float>(env, classes ? product(count, classes->size) : 0);
    std::vector<Napi::Value> kept{iou.value, agreement.value, classProbabilities.value, presence.value};
    if (hasOut) kept.push_back(options.out);
    const DecodedViews views{.masksPerPrompt = options.masksPerPrompt,
                             .iou = iou.elements,
                             .agreement = agreement.elements,
                             .classProbabilities = classProbabilities.elements,
                             .presence = presence.elements,
                             .maskBytes = maskBytes};
    const auto work = std::make_shared<DecodeWork>(model, scene, classes, std::move(prompts), options.threshold, views);
    return Job::start(
        env, object.model->executor(), info[4], work, schedule,
        [work, staging, frame = scene->frame(), maskPixels, masksPerPrompt = options.masksPerPrompt](
            Napi::Env resultEnv, const Job::Kept& arrays) -> Napi::Value {
          if (staging) deliver(staging.get(), maskPixels, arrays[kOut].Value());
          const auto decoded = Napi::Object::New(resultEnv);
          decoded.Set("masksPerPrompt", Napi::Number::New(resultEnv, static_cast<double>(masksPerPrompt)));
          for (int i = 0; i < kResults; ++i) decoded.Set(kResultNames[i], arrays[i].Value());
          decoded.Set("masks", makeMaskBits(resultEnv, work->masks(), frame));
          decoded.Set("semanticMasks", makeMaskBits(resultEnv, work->semanticMasks(), frame));
          decoded.Set("logits", makeLogits(resultEnv, work->logits()));
          decoded.Set("semanticLogits", makeLogits(resultEnv, work->semanticLogits()));
          return decoded;
        },
        kept);
  });
}

/// A second handle of the same features. V8 is told of them once.
Napi::Value share(const Napi::CallbackInfo& info) {
  auto& object = unwrap<SceneObject>(info.This());
  if (!object.scene) throw Error(kDisposed, "The scene was disposed");
  return wrap(Environment::of(info.Env()).scene,
              std::make_unique<SceneObject>(info.Env(), object.model, object.scene, true));
}

Napi::Value features(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return rejecting(env, [&] {
    auto& object = unwrap<SceneObject>(info.This());
    const std::shared_ptr<Model> model = object.model->model();
    const std::shared_ptr<Scene> scene = object.scene;
    if (!scene) throw Error(kDisposed, "The scene was disposed");
    const auto executor = object.model->executor();
    const auto data = newArray<float>(env, scene->featureValues());
    return Job::start(
        env, executor, info[0], [model, scene, target = data.elements] { scene->copyFeatures(target); },
        [scene](Napi::Env resultEnv, const Job::Kept& kept) -> Napi::Value {
          const auto shapes = Napi::Array::New(resultEnv);
          for (const at::Tensor& feature : scene->features()) {
            const auto shape = Napi::Array::New(resultEnv);
            for (int64_t size : feature.sizes()) shape.Set(shape.Length(), static_cast<double>(size));
            shapes.Set(shapes.Length(), shape);
          }
          const auto result = Napi::Object::New(resultEnv);
          result.Set("width", static_cast<double>(scene->frame().width));
          result.Set("height", static_cast<double>(scene->frame().height));
          result.Set("shapes", shapes);
          result.Set("data", kept[0].Value());
          return result;
        },
        {data.value});
  });
}

Napi::Value numberOf(const Napi::CallbackInfo& info, int64_t SceneObject::*member) {
  return Napi::Number::New(info.Env(), static_cast<double>(unwrap<SceneObject>(info.This()).*member));
}

}  // namespace

template <>
struct WrappedType<SceneObject> {
  static constexpr const char* kName = "Scene";
  static constexpr napi_type_tag kTag = {0x5e65a40c8d6b4f13, 0x47c0a9e8d31b4f64};
};

Napi::Function sceneClass(Napi::Env env) {
  return defineClass<SceneObject>(
      env, {method("decode", decode), method("features", features), method("share", share),
            method("dispose",
                   [](const Napi::CallbackInfo& info) -> Napi::Value {
                     unwrap<SceneObject>(info.This()).dispose();
                     return info.Env().Undefined();
                   }),
            getter("width", [](const Napi::CallbackInfo& info) { return numberOf(info, &SceneObject::width); }),
            getter("height", [](const Napi::CallbackInfo& info) { return numberOf(info, &SceneObject::height); }),
            getter("bytes", [](const Napi::CallbackInfo& info) { return numberOf(info, &SceneObject::bytes); }),
            getter("disposed", [](const Napi::CallbackInfo& info) -> Napi::Value {
              return Napi::Boolean::New(info.Env(), unwrap<SceneObject>(info.This()).scene == nullptr);
            })});
}

Napi::Object makeScene(Napi::Env env, std::shared_ptr<ModelHandle> model, std::shared_ptr<Scene> scene) {
  return wrap(Environment::of(env).scene,
              std::make_unique<SceneObject>(env, std::move(model), std::move(scene), false));
}

ResizeMode readResizeMode(const Napi::Value& value) {
  const std::string name = readString(value, "resizeMode");
  if (name == "longest") return ResizeMode::kLongest;
  if (name == "stretch") return ResizeMode::kStretch;
  throw Error(kInvalidArgument, "Expected resizeMode longest or stretch, got " + name);
}

}  // namespace segsam
