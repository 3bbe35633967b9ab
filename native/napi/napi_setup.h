#pragma once

// The one place that includes Node-API, so that every file sees it with the same defines.

#define NAPI_VERSION 8
#define NAPI_CPP_EXCEPTIONS
// Electron forbids array buffers that wrap native memory: results are written into memory that JavaScript allocated.
#define NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED
// A worker that is being terminated cannot run the JavaScript that would receive an exception.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS

#include <napi.h>
