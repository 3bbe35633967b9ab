#include "cuda/kernel_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace segsam {

namespace {

// libtorch may bring a std::filesystem of its own, which does not work: this is POSIX's.

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Empty where there is no home.
std::string cacheFolder() {
  if (!variable("SEG_SAM_CACHE").empty()) return variable("SEG_SAM_CACHE");
  if (!variable("XDG_CACHE_HOME").empty()) return variable("XDG_CACHE_HOME") + "/seg-sam";
  return variable("HOME").empty() ? "" : variable("HOME") + "/.cache/seg-sam";
}

/// FNV-1a of 64 bits, as 16 digits.
std::string hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char character : text) hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3U;
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

std::string fileOf(const std::string& key) { return cacheFolder() + "/kernels/" + hashOf(key) + ".cubin"; }

/// With the folders that it lies in.
void makeFolder(const std::string& folder) {
  for (size_t end = folder.find('/', 1); end != std::string::npos; end = folder.find('/', end + 1)) {
    mkdir(folder.substr(0, end).c_str(), 0700);
  }
  mkdir(folder.c_str(), 0700);
}

/// Of a file that none but this user can have written; empty where it is none, or cannot be read.
std::string contentOf(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  struct stat status {};
  std::string content;
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
      (status.st_mode & (S_IWGRP | S_IWOTH)) == 0) {
    content.resize(static_cast<size_t>(status.st_size));
    if (read(file, content.data(), content.size()) != static_cast<ssize_t>(content.size())) content.clear();
  }
  close(file);
  return content;
}

}  // namespace

std::string cachedKernel(const std::string& key) {
  if (cacheFolder().empty()) return "";
  const std::string content = contentOf(fileOf(key));
  const std::string hash = hashOf("");
  if (content.size() <= hash.size()) return "";
  const std::string binary = content.substr(hash.size());
  return content.substr(0, hash.size()) == hashOf(key + binary) ? binary : "";
}

void cacheKernel(const std::string& key, const std::string& binary) {
  if (cacheFolder().empty()) return;
  makeFolder(cacheFolder() + "/kernels");
  const std::string path = fileOf(key);
  // Whole or not at all, whoever else writes it.
  const std::string draft = path + "." + std::to_string(getpid());
  std::ofstream file(draft, std::ios::binary);
  file << hashOf(key + binary) << binary;
  file.close();
  if (file.fail() || chmod(draft.c_str(), 0600) != 0 || std::rename(draft.c_str(), path.c_str()) != 0)
    std::remove(draft.c_str());
}

}  // namespace segsam
