// One token a row from logits. Body; pf32.wgsl comes first.
//
// Equation   See spec.ts: the largest of l, or of (l - max l) * recip(T) - ln(e), among the logits that are at least the k-th largest.
// Layout     logits [rows][V]; dst [rows]; temperature[0] an f32, scalars[0] the seed.
// Work       A workgroup a row. The k-th largest is found exactly, eight bits a round: a histogram of the bytes of the logits that share the digits found so
//            far, walked from the top by one invocation. Counts and maxima are integers, so no order matters; equal scores go to the lower column.

const width = 256u;

struct Params {
  rows: u32,
  V: u32,
  // 0: every logit is a candidate.
  top_k: u32,
  site: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read> temperature: array<u32>;
@group(0) @binding(4) var<storage, read> scalars: array<u32>;
@group(0) @binding(5) var<storage, read_write> dst: array<u32>;

var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> digits: u32;
var<workgroup> wanted: u32;
var<workgroup> keys: array<u32, 256>;
var<workgroup> columns: array<u32, 256>;

// Orders bit patterns as u32: its upper half are the positive ones.
fn key_of(u: u32) -> u32 {
  return bitcast<u32>(order(u)) ^ sign_bit;
}

fn value_of(key: u32) -> u32 {
  return bitcast<u32>(order(key ^ sign_bit));
}

fn exponential(random: u32) -> u32 {
  if (random < 0x400000u) {
    let w = mul(bitcast<u32>(f32(i32(2u * random + 1u))), 0x2f000000u); // 2^-33
    return mul(w, add(one, mul(w, add(half, mul(w, 0x3eaaaaabu)))));
  }
  let u = mul(bitcast<u32>(f32(i32(0xffffffu - 2u * (random >> 9u)))), 0x33800000u); // 2^-24
  return ln_(u) ^ sign_bit;
}

// The key of the k-th largest logit of the row.
fn threshold(base: u32, lane: u32) -> u32 {
  if (lane == 0u) {
    digits = 0u;
    wanted = params.top_k;
  }
  for (var shift = 24; shift >= 0; shift -= 8) {
    atomicStore(&histogram[lane], 0u);
    workgroupBarrier();
    let found = digits;
    for (var c = lane; c < params.V; c += width) {
      let key = key_of(logits[base + c]);
      // Two shifts, as one by 32 is not defined.
      if (((key ^ found) >> u32(shift)) >> 8u == 0u) {
        atomicAdd(&histogram[(key >> u32(shift)) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var bin = 255u;
      var left = wanted;
      for (; bin > 0u; bin--) {
        let count = atomicLoad(&histogram[bin]);
        if (count >= left) {
          break;
        }
        left -= count;
      }
      wanted = left;
      digits = found | (bin << u32(shift));
    }
    workgroupBarrier();
  }
  return digits;
}

// The lane with the largest key, the lowest column among equals, in element 0.
fn reduce(lane: u32, key: u32, column: u32) {
  workgroupBarrier();
  keys[lane] = key;
  columns[lane] = column;
  for (var s = width / 2u; s > 0u; s >>= 1u) {
    workgroupBarrier();
    if (lane < s) {
      let other = keys[lane + s];
      if (other > keys[lane] || (other == keys[lane] && columns[lane + s] < columns[lane])) {
        keys[lane] = other;
        columns[lane] = columns[lane + s];
      }
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  z = zero[0];
  let row = group.y * grid.x + group.x;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.V;
  var best = 0u;
  var at = 0xffffffffu;
  for (var c = lane; c < params.V; c += width) {
    let key = key_of(logits[base + c]);
    if (key > best) {
      best = key;
      at = c;
    }
  }
  reduce(lane, best, at);
  let size = temperature[0] & abs_mask;
  if (size >= tiny) {
    let largest = value_of(keys[0]);
    var least = 0u;
    if (params.top_k != 0u) {
      least = threshold(base, lane);
    }
    let inverse = recip_(min(max(size, 0x35800000u), clamp_max));
    let seed = lowbias32(scalars[0] ^ (params.site * 0x85ebca6bu));
    best = 0u;
    at = 0xffffffffu;
    for (var c = lane; c < params.V; c += width) {
      let l = logits[base + c];
      if (key_of(l) >= least) {
        let e = exponential(lowbias32(seed + (base + c) * 0x9e3779b9u));
        let key = key_of(sub(mul(sub(l, largest), inverse), ln_(e)));
        if (key > best) {
          best = key;
          at = c;
        }
      }
    }
    reduce(lane, best, at);
  }
  if (lane == 0u) {
    dst[row] = columns[0];
  }
}
