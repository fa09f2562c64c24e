/**
 * The little of the peers' interfaces that bench/ uses. The packages themselves are installed on demand into bench/peers/node_modules, where the type
 * checker does not look: so types hold whether or not they are there.
 */
declare module '@jax-js/jax' {
  /** Passing an array to a function gives it away; `ref` keeps a reference. */
  export interface Array {
    readonly ref: Array;
    readonly shape: number[];
    readonly dtype: string;
    add(other: Array | number): Array;
    sub(other: Array | number): Array;
    mul(other: Array | number): Array;
    div(other: Array | number): Array;
    sum(axis?: number, options?: { keepdims?: boolean }): Array;
    mean(axis?: number, options?: { keepdims?: boolean }): Array;
    reshape(shape: number[]): Array;
    transpose(axes?: number[]): Array;
    slice(...index: (number | [number, number] | [] | null)[]): Array;
    data(): Promise<Float32Array>;
    dispose(): void;
  }
  type Tree = Array | Tree[] | { [name: string]: Tree };
  export function init(...devices: string[]): Promise<string[]>;
  export function defaultDevice(device: string): string;
  export function jit<A extends Tree[], R extends Tree>(f: (...args: A) => R): (...args: A) => R;
  export function valueAndGrad<P extends Tree, A extends Tree[]>(
    f: (parameters: P, ...rest: A) => Array,
  ): (parameters: P, ...rest: A) => [Array, P];
  export function blockUntilReady<T extends Tree>(tree: T): Promise<T>;
  export const numpy: {
    array(values: Float32Array | Int32Array): Array;
    dot(a: Array, b: Array): Array;
    matmul(a: Array, b: Array): Array;
    einsum(subscripts: string, ...operands: Array[]): Array;
    sqrt(x: Array): Array;
    zeros(shape: number[]): Array;
  };
  export const nn: {
    gelu(x: Array, options?: { approximate?: boolean }): Array;
    oneHot(x: Array, classes: number): Array;
    logSoftmax(x: Array, axis?: number): Array;
    standardize(x: Array, axis?: number, options?: { epsilon?: number }): Array;
    dotProductAttention(q: Array, k: Array, v: Array, options: { isCausal: boolean }): Array;
  };
}

declare module '@tensorflow/tfjs-core' {
  export interface Tensor {
    readonly shape: number[];
    data(): Promise<Float32Array>;
    dispose(): void;
  }
  export interface Variable extends Tensor {
    readonly name: string;
  }
  type Unary = (x: Tensor) => Tensor;
  type Binary = (a: Tensor | number, b: Tensor | number) => Tensor;
  type Reduce = (x: Tensor, axis?: number, keepDims?: boolean) => Tensor;
  export function setBackend(name: string): Promise<boolean>;
  export function ready(): Promise<void>;
  export function getBackend(): string;
  export function tidy<T>(f: () => T): T;
  export function tensor(values: Float32Array | Int32Array, shape: number[], dtype?: string): Tensor;
  export function variable(initial: Tensor, trainable?: boolean, name?: string): Variable;
  export function matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  export function split(x: Tensor, parts: number, axis?: number): Tensor[];
  export function reshape(x: Tensor, shape: number[]): Tensor;
  export function transpose(x: Tensor, axes: number[]): Tensor;
  export function softmax(x: Tensor, axis?: number): Tensor;
  export function logSoftmax(x: Tensor, axis?: number): Tensor;
  export function oneHot(indices: Tensor, depth: number): Tensor;
  export const [tanh, square, rsqrt, neg]: [Unary, Unary, Unary, Unary];
  export const [add, sub, mul]: [Binary, Binary, Binary];
  export const [mean, sum]: [Reduce, Reduce];
  export interface Optimizer {
    minimize(f: () => Tensor, returnCost: boolean, variables?: Variable[]): Tensor | null;
  }
  export const train: {
    adam(learningRate: number, beta1: number, beta2: number, epsilon: number): Optimizer;
  };
}
declare module '@tensorflow/tfjs-core/dist/register_all_gradients' {}
declare module '@tensorflow/tfjs-backend-webgpu' {}
declare module '@tensorflow/tfjs-backend-wasm' {
  export function setWasmPaths(prefix: string): void;
}

declare module 'onnxruntime-web/webgpu' {
  export * from 'onnxruntime-web/wasm';
}
declare module 'onnxruntime-web/wasm' {
  export class Tensor {
    constructor(type: 'float32', data: Float32Array, dims: readonly number[]);
    constructor(type: 'int64', data: BigInt64Array, dims: readonly number[]);
    static fromGpuBuffer(
      buffer: GPUBuffer,
      options: { dataType: 'float32'; dims: readonly number[] },
    ): Tensor;
    readonly data: Float32Array | BigInt64Array;
    readonly dims: readonly number[];
    getData(release?: boolean): Promise<Float32Array>;
    dispose(): void;
  }
  export interface ExternalData {
    path: string;
    data: Uint8Array;
  }
  export interface SessionOptions {
    executionProviders: string[];
    preferredOutputLocation?: 'gpu-buffer' | 'cpu';
    externalData?: ExternalData[];
    graphOptimizationLevel?: 'all' | 'basic' | 'disabled';
    enableMemPattern?: boolean;
    enableCpuMemArena?: boolean;
  }
  export interface Session {
    run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
    release(): Promise<void>;
  }
  export const InferenceSession: {
    create(model: Uint8Array, options: SessionOptions): Promise<Session>;
  };
  export const env: {
    wasm: { wasmPaths: string | { wasm: string; mjs: string }; numThreads: number };
    webgpu: { device: Promise<GPUDevice> };
  };
}
