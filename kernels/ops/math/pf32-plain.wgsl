// Rounded f32 operations on u32 bit patterns, for SwiftShader: its compiler neither fuses nor reassociates, which the conformance suite checks (that of
// lavapipe does, and gets the barrier), so the barrier of pf32-barrier.wgsl, a third of an operation's time there, is left out.
//
// Equation   radd, rsub, rmul = RNE(op): raw, what lies below 2^-100 may be flushed or not. floor4 is exact by the WGSL specification.
// Bindings   As in pf32-barrier.wgsl, whose `z` an entry point may set here too.

@group(0) @binding(1) var<storage, read_write> zero: array<u32>;
var<private> z: u32;

fn radd(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b));
}

fn rsub(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) - bitcast<f32>(b));
}

fn rmul(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b));
}

fn radd4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) + bitcast<vec4f>(b));
}

fn rsub4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) - bitcast<vec4f>(b));
}

fn rmul4(a: vec4u, b: vec4u) -> vec4u {
  return bitcast<vec4u>(bitcast<vec4f>(a) * bitcast<vec4f>(b));
}

fn floor4(x: vec4u) -> vec4u {
  return bitcast<vec4u>(floor(bitcast<vec4f>(x)));
}
