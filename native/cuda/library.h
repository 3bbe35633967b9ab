#pragma once

#include <dlfcn.h>

#include <string>
#include <vector>

namespace segsam {

/// A shared library that is looked for when it is needed, and stays loaded.
class Library {
 public:
  /// The first of `names` that can be loaded and has the symbol, itself or in one that it needs, if any.
  Library(const std::vector<std::string>& names, const char* symbol) {
    for (const std::string& name : names) {
      handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr && dlsym(handle_, symbol) != nullptr) return;
    }
    handle_ = nullptr;
  }

  bool isLoaded() const { return handle_ != nullptr; }

  /// Of this library or one that it needs; null where there is none.
  template <class Signature>
  Signature* symbol(const char* name) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Signature*>(dlsym(handle_, name));
  }

 private:
  void* handle_ = nullptr;
};

}  // namespace segsam
