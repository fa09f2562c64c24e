/** Stochastic-rounding sites: fixed numbers, part of a program's identity. `index` is a parameter's place in the layout. */
export const sites = {
  /** `part`: which chunk of rows. */
  dx: (index: number, part = 0) => (index * 4 + part * 0x400000) >>> 0,
  dw: (index: number, part = 0) => (index * 4 + 1 + part * 0x400000) >>> 0,
  scatter: (index: number) => index * 4 + 2,
  /** Layers below 128, tiles below 32, heads j of a group below 128. */
  attention: (layer: number, product: 0 | 1 | 2 | 3, tile: number, j: number) =>
    0x100000 + j * 0x4000 + tile * 0x200 + layer * 4 + product,
} as const;
