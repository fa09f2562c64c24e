/**
 * Constants of the WASM kernels as vectors in memory, at fixed addresses below the host's first block.
 *
 * V8 builds a v128 constant anew at every use inside a loop: three instructions and a move between register files. A load is one.
 * The host calls `fillConstants` once a memory.
 */

export const tiny: usize = 16;
export const clampHigh: usize = 32;
export const clampLow: usize = 48;
export const absMask: usize = 64;
export const signMask: usize = 80;
export const mantissaMask: usize = 96;
export const exponentMask: usize = 112;
export const half: usize = 128;
export const one: usize = 144;
export const oneAndHalf: usize = 160;
export const two23: usize = 176;
export const magic: usize = 192;
export const two31: usize = 208;
export const twoMinus30: usize = 224;
export const high68: usize = 240;
export const low68: usize = 256;
export const log2e: usize = 272;
export const ln2High: usize = 288;
export const ln2Low: usize = 304;
export const exp0: usize = 320;
export const exp1: usize = 336;
export const exp2: usize = 352;
export const exp3: usize = 368;
export const exp4: usize = 384;
export const recipStart: usize = 400;
export const rsqrtStart: usize = 416;
export const tanh0: usize = 432;
export const tanh1: usize = 448;
export const tanh2: usize = 464;
export const tanh3: usize = 480;
export const tanh4: usize = 496;
export const tanhSplit: usize = 512;
export const hash1: usize = 528;
export const hash2: usize = 544;
export const gelu0: usize = 560;
export const gelu1: usize = 576;
export const gelu3: usize = 592;
export const int1: usize = 608;
export const int254: usize = 624;
export const powerBias: usize = 640;
export const lanes: usize = 656;
export const two16AsF64: usize = 672;
export const twoMinus40: usize = 688;
export const twoMinus50: usize = 704;
export const twoMinus60: usize = 720;
export const twoMinus80: usize = 736;
export const two30: usize = 752;
export const two60: usize = 768;

/** The constant at an address above. */
@inline
export function c(at: usize): v128 {
  return v128.load(at);
}

function set(at: usize, bits: u32): void {
  v128.store(at, i32x4.splat(bits));
}

/** A word of a recording, for threads whose view of memory may be older than the recording. */
export function peek(at: usize): f64 {
  return load<f64>(at);
}

export function fillConstants(): void {
  set(tiny, 0x0d800000); // 2^-100
  set(clampHigh, 0x53800000); // 2^40
  set(clampLow, 0xd3800000); // -2^40
  set(absMask, 0x7fffffff);
  set(signMask, 0x80000000);
  set(mantissaMask, 0x007fffff);
  set(exponentMask, 0x7f800000);
  set(half, 0x3f000000);
  set(one, 0x3f800000);
  set(oneAndHalf, 0x3fc00000);
  set(two23, 0x4b000000); // 2^23
  set(magic, 0x4b400000); // 1.5 * 2^23
  set(two31, 0x4f000000); // 2^31
  set(twoMinus30, 0x30800000); // 2^-30
  set(high68, 0x42880000); // 68
  set(low68, 0xc2880000); // -68
  set(log2e, 0x3fb8aa3b);
  set(ln2High, 0x3f318000);
  set(ln2Low, 0xb95e8083);
  set(exp0, 0x3ab5731d);
  set(exp1, 0x3c093444);
  set(exp2, 0x3d2aac13);
  set(exp3, 0x3e2aaa0c);
  set(exp4, 0x3efffffe);
  set(recipStart, 0x7ef311c7);
  set(rsqrtStart, 0x5f375a86);
  set(tanh0, 0xbbbaf0e7);
  set(tanh1, 0x3ca9134e);
  set(tanh2, 0xbd5c1e2d);
  set(tanh3, 0x3e088393);
  set(tanh4, 0xbeaaaa99);
  set(tanhSplit, 0x3f200000); // .625
  set(hash1, 0x7feb352d);
  set(hash2, 0x846ca68b);
  set(gelu0, 0x3f4c422a);
  set(gelu1, 0x3d372713);
  set(gelu3, 0x3e095d4f);
  set(int1, 1);
  set(int254, 254);
  set(powerBias, 0x3b800000);
  set(twoMinus40, 0x2b800000); // 2^-40
  set(twoMinus50, 0x26800000); // 2^-50
  set(twoMinus60, 0x21800000); // 2^-60
  set(twoMinus80, 0x17800000); // 2^-80
  set(two30, 0x4e800000); // 2^30
  set(two60, 0x5d800000); // 2^60
  v128.store(lanes, i32x4(0, 1, 2, 3));
  v128.store(two16AsF64, f64x2.splat(65536));
}
