#include "engine/attention.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/operators.h"
#include "engine/packed_matrix.h"
#include "ops/softmax_tile.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

namespace cpublas = at::native::cpublas;

/// Sizes of a tile: its products take 256 KiB, which a core's second-level cache holds.
constexpr int64_t kQueries = 128;
constexpr int64_t kKeys = 512;

/// Of bfloat16, two consecutive values along the summed dimension lie side by side, as the instructions want them.
template <class T>
constexpr int64_t kTogether = sizeof(float) / sizeof(T);

/// Keys (rows, columns), `stride` apart, to their transpose, `kTogether` columns as one value.
template <class T>
void packKeys(const T* source, int64_t stride, int64_t rows, int64_t columns, T* target) {
  constexpr int64_t n = kTogether<T>;
  // Only moved, two of bfloat16 as if they were one float.
  transpose(reinterpret_cast<const float*>(source), rows, columns / n, stride / n, reinterpret_cast<float*>(target));
}

/// Values (rows, columns), `stride` apart, with `kTogether` rows interleaved.
void packValues(const float* source, int64_t stride, int64_t rows, int64_t columns, float* target) {
  for (int64_t row = 0; row < rows; ++row) std::copy_n(source + row * stride, columns, target + row * columns);
}

void packValues(const c10::BFloat16* source, int64_t stride, int64_t rows, int64_t columns, c10::BFloat16* target) {
  interleave(reinterpret_cast<const uint16_t*>(source), rows, columns, stride, reinterpret_cast<uint16_t*>(target));
}

template <class T>
const T* rowsOf(const at::Tensor& tensor, int64_t b, int64_t h, int64_t row) {
  return tensor.const_data_ptr<T>() + b * tensor.stride(0) + h * tensor.stride(1) + row * tensor.stride(2);
}

/// As products take it.
template <class T>
using Operand = std::conditional_t<kTogether<T> == 1, float, uint16_t>;

template <class T>
const Operand<T>* bitsOf(const T* values) {
  return reinterpret_cast<const Operand<T>*>(values);
}

/// Memory of one thread.
struct Scratch {
  std::vector<float> scores, biasH, biasW, sums, maximum, sum, correction, softmax, products;
  std::vector<c10::BFloat16> rounded;
};

void toFloat(const float* source, int64_t count, float* target) { std::copy_n(source, count, target); }

void toFloat(const c10::BFloat16* source, int64_t count, float* target) {
  std::transform(source, source + count, target, [](c10::BFloat16 value) { return static_cast<float>(value); });
}

/// The position bias of queries, from the rows and columns of the grid's keys.
template <class T>
class Bias {
 public:
  /// Each query's own: (B, heads, N, H) and (B, heads, N, W).
  Bias(const at::Tensor& biasH, const at::Tensor& biasW)
      : gridRows(biasH.size(3)), gridColumns(biasW.size(3)), biasH_(biasH), biasW_(biasW) {}

  /// A query's products with the relative positions, of which `tables` has a column each.
  explicit Bias(const PositionTables& tables)
      : gridRows((tables.rows.size(1) + 1) / 2), gridColumns((tables.columns.size(1) + 1) / 2) {
    tableH_.pack(tables.rows.template const_data_ptr<float>(), tables.rows.size(0), tables.rows.size(1));
    tableW_.pack(tables.columns.template const_data_ptr<float>(), tables.columns.size(0), tables.columns.size(1));
  }

  const int64_t gridRows, gridColumns;

  /// Of `count` queries from `first` on: biasH (count, H) and biasW (count, W) of the scratch.
  void of(const at::Tensor& q, int64_t b, int64_t h, int64_t first, int64_t count, Scratch& scratch) const {
    scratch.biasH.resize(count * gridRows);
    scratch.biasW.resize(count * gridColumns);
    if (biasH_.defined()) {
      toFloat(rowsOf<T>(biasH_, b, h, first), count * gridRows, scratch.biasH.data());
      toFloat(rowsOf<T>(biasW_, b, h, first), count * gridColumns, scratch.biasW.data());
      return;
    }
    const auto* queries = bitsOf(rowsOf<T>(q, b, h, first));
    const auto place = [&](const PackedMatrix<Operand<T>>& table, int64_t size, auto indexOf, float* bias) {
      scratch.products.resize(count * table.columns());
      table.multiply(queries, count, q.stride(2), scratch.products.data(), false);
      for (int64_t i = 0; i < count; ++i) {
        const float* products = scratch.products.data() + i * table.columns() + size - 1 - indexOf(first + i);
        std::copy_n(products, size, bias + i * size);
      }
    };
    place(
        tableH_, gridRows, [&](int64_t position) { return position / gridColumns; }, scratch.biasH.data());
    place(
        tableW_, gridColumns, [&](int64_t position) { return position % gridColumns; }, scratch.biasW.data());
  }

 private:
  at::Tensor biasH_, biasW_;
  PackedMatrix<Operand<T>> tableH_, tableW_;
};

/// The parts of one call that all tiles share.
template <class T>
struct Grid {
  int64_t batch, heads, positions, width, gridRows, gridColumns;
  /// Grid rows in a tile of keys.
  int64_t tileRows;
  at::Tensor q, packedK, packedV, out;
  float scale;
  const Bias<T>& bias;

  int64_t packedRows() const { return at::divup(positions, kTogether<T>) * kTogether<T>; }
  T* keys(int64_t head, int64_t tile) const {
    return packedK.data_ptr<T>() + head * positions * width + tile * tileRows * gridColumns * width;
  }
  T* values(int64_t head, int64_t tile) const {
    return packedV.data_ptr<T>() + head * packedRows() * width + tile * tileRows * gridColumns * width;
  }
};

/// The keys of a head, or its values.
template <class T>
void packHead(const Grid<T>& grid, const at::Tensor& source, bool isKeys, int64_t head) {
  const int64_t b = head / grid.heads;
  const int64_t h = head % grid.heads;
  for (int64_t row = 0, tile = 0; row < grid.gridRows; row += grid.tileRows, ++tile) {
    const int64_t first = row * grid.gridColumns;
    const int64_t count = std::min(grid.tileRows, grid.gridRows - row) * grid.gridColumns;
    const T* rows = rowsOf<T>(source, b, h, first);
    if (isKeys) {
      packKeys(rows, source.stride(2), count, grid.width, grid.keys(head, tile));
    } else {
      packValues(rows, source.stride(2), count, grid.width, grid.values(head, tile));
    }
  }
}

/// The exponentials as the second product wants them: of bfloat16 an even number to the row.
template <class T>
const T* operand(Scratch& scratch, int64_t queries, int64_t keys) {
  if constexpr (kTogether<T> == 1) {
    return scratch.scores.data();
  } else {
    const int64_t even = keys + (keys & 1);
    scratch.rounded.resize(static_cast<size_t>(queries * even));
    auto* target = reinterpret_cast<uint16_t*>(scratch.rounded.data());
    for (int64_t i = 0; i < queries; ++i) {
      roundValues(scratch.scores.data() + i * keys, keys, target + i * even);
      if (even > keys) target[i * even + keys] = 0;
    }
    return scratch.rounded.data();
  }
}

/// `count` queries of one head, from `first` on.
template <class T>
void attendBlock(const Grid<T>& grid, int64_t head, int64_t first, int64_t count, Scratch& scratch) {
  constexpr bool kPacked = (kTogether<T>) > 1;
  const int64_t b = head / grid.heads;
  const int64_t h = head % grid.heads;
  const auto rows = static_cast<size_t>(count);
  grid.bias.of(grid.q, b, h, first, count, scratch);
  scratch.maximum.assign(rows, -std::numeric_limits<float>::infinity());
  scratch.sum.assign(rows, 0.0f);
  scratch.correction.assign(rows, 0.0f);
  scratch.sums.resize(rows * grid.width);
  for (int64_t row = 0, tile = 0; row < grid.gridRows; row += grid.tileRows, ++tile) {
    const int64_t tileRows = std::min(grid.tileRows, grid.gridRows - row);
    const int64_t keys = tileRows * grid.gridColumns;
    scratch.scores.resize(rows * keys);
    cpublas::brgemm(count, keys, grid.width, grid.q.stride(2), keys, keys, false, rowsOf<T>(grid.q, b, h, first),
                    grid.keys(head, tile), scratch.scores.data(), kPacked);
    const TileBias bias{scratch.biasH.data() + row, scratch.biasW.data(), tileRows, grid.gridColumns, grid.gridRows};
    scratch.softmax.resize(static_cast<size_t>(softmaxScratch(bias)));
    softmaxTile(scratch.scores.data(), count, bias, grid.scale,
                {scratch.maximum.data(), scratch.sum.data(), scratch.correction.data()}, scratch.softmax.data());
    if (row > 0) scaleRows(scratch.sums.data(), count, grid.width, scratch.correction.data());
    const int64_t together = at::divup(keys, kTogether<T>) * kTogether<T>;
    cpublas::brgemm(count, grid.width, together, together, grid.width, grid.width, row > 0,
                    operand<T>(scratch, count, keys), grid.values(head, tile), scratch.sums.data(), kPacked);
  }
  for (int64_t i = 0; i < count; ++i) {
    T* target = grid.out.template data_ptr<T>() + ((b * grid.positions + first + i) * grid.heads + h) * grid.width;
    const float factor = 1.0f / scratch.sum[i];
    const float* source = scratch.sums.data() + i * grid.width;
    std::transform(source, source + grid.width, target, [=](float value) { return static_cast<T>(value * factor); });
  }
}

/// In T, whose values the products take; `q` and the others are of that type.
template <class T>
at::Tensor attendIn(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Bias<T>& bias, double scale) {
  Grid<T> grid{q.size(0),
               q.size(1),
               q.size(2),
               q.size(3),
               bias.gridRows,
               bias.gridColumns,
               0,
               q,
               {},
               {},
               {},
               static_cast<float>(scale),
               bias};
  // An even number of keys in all tiles but the last.
  grid.tileRows = std::max<int64_t>(1, kKeys / grid.gridColumns);
  if (grid.tileRows > 1) grid.tileRows -= grid.tileRows % 2;
  if (grid.tileRows * grid.gridColumns % kTogether<T> != 0) grid.tileRows *= kTogether<T>;
  const int64_t heads = grid.batch * grid.heads;
  grid.packedK = at::empty({heads, grid.positions, grid.width}, q.options());
  grid.packedV = at::empty({heads, grid.packedRows(), grid.width}, q.options());
  grid.out = at::empty({grid.batch, grid.positions, grid.heads, grid.width}, q.options());
  at::parallel_for(0, 2 * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const bool isKeys = task < heads;
      packHead(grid, isKeys ? k : v, isKeys, task % heads);
    }
  });
  const int64_t blocks = at::divup(grid.positions, kQueries);
  const int64_t queries = at::divup(grid.positions, blocks);
  at::parallel_for(0, heads * blocks, 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kTogether<T> > 1);
    Scratch scratch;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % blocks * queries;
      attendBlock(grid, task / blocks, first, std::min(queries, grid.positions - first), scratch);
    }
  });
  return grid.out.transpose(1, 2);
}

/// Whether each row begins where two values may be read as one.
bool liesInPairs(const at::Tensor& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
  return address % alignof(float) == 0 && tensor.stride(0) % 2 == 0 && tensor.stride(1) % 2 == 0 &&
         tensor.stride(2) % 2 == 0;
}

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "attend_grid: expected ", what); }

void replaceBody(const std::shared_ptr<torch::jit::Graph>& shared) {
  torch::jit::Graph& graph = *shared;
  torch::jit::Node* call = graph.create(Operators::registered().attendGrid, graph.inputs().slice(0, 6));
  graph.prependNode(call)->output()->setType(c10::TensorType::get());
  graph.block()->replaceOutput(0, call->output());
  torch::jit::EliminateDeadCode(shared);
}

/// (Tensor q, Tensor k, Tensor v, Tensor bias_h, Tensor bias_w, float scale, ...) -> Tensor
bool isAttention(const c10::FunctionSchema& schema) {
  const auto& arguments = schema.arguments();
  if (schema.name() != "attend_masked" && schema.name() != "attend_folded") return false;
  if (arguments.size() < 6 || schema.returns().size() != 1) return false;
  const auto isTensor = [](const c10::Argument& argument) {
    return argument.type()->kind() == c10::TypeKind::TensorType;
  };
  return std::all_of(arguments.begin(), arguments.begin() + 5, isTensor) &&
         arguments[5].type()->kind() == c10::TypeKind::FloatType && isTensor(schema.returns()[0]);
}

}  // namespace

at::Tensor attendGrid(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& biasH,
                      const at::Tensor& biasW, double scale) {
  expect(q.dim() == 4 && k.sizes() == q.sizes() && v.sizes() == q.sizes(), "q, k and v of one shape (B, heads, N, D)");
  expect(biasH.dim() == 4 && biasW.dim() == 4 && biasH.size(3) * biasW.size(3) == q.size(2),
         "biases of a grid with as many positions as q");
  expect(biasH.sizes().slice(0, 3) == q.sizes().slice(0, 3) && biasW.sizes().slice(0, 3) == q.sizes().slice(0, 3),
         "a bias for each query");
  expect(q.numel() > 0, "at least one value");
  expect(q.device().is_cpu(), "tensors on the CPU");
  const bool isBf16 = q.scalar_type() == at::kBFloat16 && q.size(3) % 2 == 0 && multipliesPackedBf16();
  const auto type = isBf16 ? at::kBFloat16 : at::kFloat;
  const auto typedRows = [&](const at::Tensor& tensor) {
    const at::Tensor typed = tensor.to(type);
    const bool areRows = typed.stride(3) == 1 && typed.stride(2) >= typed.size(3);
    return areRows && (!isBf16 || liesInPairs(typed)) ? typed : typed.contiguous();
  };
  const auto attend = [&](auto zero) {
    using T = decltype(zero);
    const Bias<T> bias(biasH.to(type).contiguous(), biasW.to(type).contiguous());
    return attendIn<T>(typedRows(q), typedRows(k), typedRows(v), bias, scale).to(q.scalar_type());
  };
  return isBf16 ? attend(c10::BFloat16()) : attend(0.0f);
}

at::Tensor attendRelative(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PositionTables& tables,
                          double scale) {
  expect(q.dim() == 4 && k.sizes() == q.sizes() && v.sizes() == q.sizes(), "q, k and v of one shape (B, heads, N, D)");
  for (const at::Tensor& table : {tables.rows, tables.columns}) {
    expect(table.dim() == 2 && table.size(0) == q.size(3) && table.size(1) % 2 == 1, "tables (D, an odd number)");
    expect(table.is_contiguous() && table.scalar_type() == at::kFloat, "tables of float32");
  }
  expect((tables.rows.size(1) + 1) / 2 * ((tables.columns.size(1) + 1) / 2) == q.size(2), "tables of q's grid");
  expect(q.numel() > 0 && q.stride(3) == 1, "at least one value, those of a row side by side");
  if (q.scalar_type() == at::kFloat) return attendIn<float>(q, k, v, Bias<float>(tables), scale);
  expect(q.scalar_type() == at::kBFloat16 && q.size(3) % 2 == 0 && multipliesPackedBf16(), "float32 or bfloat16");
  expect(liesInPairs(k), "rows of keys that begin where a pair does");
  return attendIn<c10::BFloat16>(q, k, v, Bias<c10::BFloat16>(tables), scale);
}

int64_t fuseAttention(const torch::jit::Module& module) {
  int64_t replaced = 0;
#if !defined(_OPENMP)
  // On one core it would be slower than libtorch's attention on all.
  return replaced;
#endif
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    if (!isAttention(function->getSchema())) continue;
    replaceBody(torch::jit::toGraphFunction(*function).graph());
    ++replaced;
  }
  return replaced;
}

}  // namespace segsam
