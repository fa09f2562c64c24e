// Rounded f32 operations on u32 bit patterns, for compilers that are not known: every result passes through `^ z`, z being a word the compiler cannot
// know to be 0, so that it may neither fuse nor reassociate. One of three files that can come before pf32.wgsl; pf32-plain.wgsl and pf32-soft.wgsl
// define the same functions.
//
// Equation   radd, rsub, rmul = RNE(op): raw, what lies below 2^-100 may be flushed or not. floor_ is exact by the WGSL specification.
// Requires   An entry point begins with `z = zero[0];`.
// Bindings   Group 0: 0 is the kernel's uniform struct, 1 is `zero`, a kernel's own buffers start at 2.

@group(0) @binding(1) var<storage, read_write> zero: array<u32>;
var<private> z: u32;

fn radd(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b)) ^ z;
}

fn rsub(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) - bitcast<f32>(b)) ^ z;
}

fn rmul(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b)) ^ z;
}

fn radd4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) + bitcast<vec4f>(b)) ^ vec4u(z);
}

fn rsub4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) - bitcast<vec4f>(b)) ^ vec4u(z);
}

fn rmul4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) * bitcast<vec4f>(b)) ^ vec4u(z);
}

fn floor4(x: vec4u) -> vec4u {
  return bitcast<vec4u>(floor(bitcast<vec4f>(x)));
}
