/// Compiled kernels on disk.

#include "cuda/kernel_cache.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "check.h"

using segsam::cachedKernel;
using segsam::cacheKernel;

namespace {

/// Of the only kernel in a cache.
std::string onlyFile(const std::string& folder) {
  std::string found;
  DIR* const open = opendir(folder.c_str());
  while (const dirent* entry = readdir(open)) {
    if (entry->d_name[0] != '.') found = folder + "/" + entry->d_name;
  }
  closedir(open);
  return found;
}

}  // namespace

TEST("compiled kernels are read back whole, by what they were made of, or not at all") {
  char pattern[] = "/tmp/seg-sam-test-XXXXXX";
  const std::string folder = mkdtemp(pattern);
  setenv("SEG_SAM_CACHE", (folder + "/a").c_str(), 1);
  EXPECT_EQUAL(cachedKernel("source"), std::string());
  const std::string binary(
      "\x7f"
      "ELF\0\n",
      6);
  cacheKernel("source", binary);
  EXPECT_EQUAL(cachedKernel("source"), binary);
  EXPECT_EQUAL(cachedKernel("other source"), std::string());

  const std::string file = onlyFile(folder + "/a/kernels");
  EXPECT_EQUAL(truncate(file.c_str(), 20), 0);
  EXPECT_EQUAL(cachedKernel("source"), std::string());

  cacheKernel("source", binary);
  std::fstream(file, std::ios::in | std::ios::out).seekp(20) << '?';
  EXPECT_EQUAL(cachedKernel("source"), std::string());
  // Which others may have written.
  cacheKernel("source", binary);
  EXPECT_EQUAL(chmod(file.c_str(), 0620), 0);
  EXPECT_EQUAL(cachedKernel("source"), std::string());

  unlink(file.c_str());
  // In the place of the file.
  EXPECT_EQUAL(mkdir(file.c_str(), 0700), 0);
  EXPECT_EQUAL(cachedKernel("source"), std::string());
  rmdir(file.c_str());
  rmdir((folder + "/a/kernels").c_str());
  rmdir((folder + "/a").c_str());
  // Where no folder can be made.
  std::ofstream(folder + "/a") << "a file";
  cacheKernel("source", binary);
  EXPECT_EQUAL(cachedKernel("source"), std::string());
  unlink((folder + "/a").c_str());
  rmdir(folder.c_str());
  unsetenv("SEG_SAM_CACHE");
}
