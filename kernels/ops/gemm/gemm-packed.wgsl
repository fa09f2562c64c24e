// Operands of the GEMM kernels as gemm-pack.wgsl writes them: 16 mantissas of 7 bits a vec4, K padded with zeros. After gemm-tile.wgsl.

@group(0) @binding(2) var<storage, read> a: array<vec4u>;
@group(0) @binding(4) var<storage, read> b: array<vec4u>;
