// The loops that bound what a kernel can reach, as a WebAssembly module written out byte by byte: nothing in them but the one
// instruction that is measured, so that no compiler is between the figure and the machine.

const I32 = 0x7f;
const V128 = 0x7b;
const EMPTY = 0x40;

/** Sums that are live at once: they hide the latency of the instruction, and V8 has registers for them and two operands. */
const SUMS = 12;
/** Bytes that an iteration of the stream reads. */
const STRIDE = 128;
const PAGE_BYTES = 65_536;

const STREAM_BYTES = 200e6;
const ARITHMETIC_ROUNDS = 10_000_000;
const REPETITIONS = 5;

/** @returns what one thread does at best, a second: `fusedMultiplyAdd` and `byteDot` in operations (two a product), `stream` in bytes */
export function limits() {
  const arithmetic = (kernel, lanes) => best(() => kernel(ARITHMETIC_ROUNDS), ARITHMETIC_ROUNDS * SUMS * lanes * 2);
  const { fused_multiply_add, byte_dot, stream, memory } = new WebAssembly.Instance(new WebAssembly.Module(module())).exports;
  memory.grow(Math.ceil(STREAM_BYTES / PAGE_BYTES));
  new Uint8Array(memory.buffer).fill(1);
  const end = Math.floor(STREAM_BYTES / STRIDE) * STRIDE;
  return { fusedMultiplyAdd: arithmetic(fused_multiply_add, 4), byteDot: arithmetic(byte_dot, 16), stream: best(() => stream(end), end) };
}

/** The most that was done a second. */
function best(run, amount) {
  const durations = Array.from({ length: REPETITIONS + 1 }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
  // The first run is compiled while it runs.
  return (1000 * amount) / Math.min(...durations.slice(1));
}

function module() {
  const kernels = [
    ['fused_multiply_add', arithmeticKernel(simd(0x105))], // f32x4.relaxed_madd
    ['byte_dot', arithmeticKernel(simd(0x113))], // i32x4.relaxed_dot_i8x16_i7x16_add_s
    ['stream', streamKernel()],
  ];
  const exported = (name, kind, index) => [...text(name), kind, index];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[0x60, 1, I32, 1, I32]]),
    ...section(3, kernels.map(() => [0])),
    ...section(5, [[0, 1]]),
    ...section(7, [...kernels.map(([name], index) => exported(name, 0, index)), exported('memory', 2, 0)]),
    ...section(10, kernels.map(([, code]) => [...leb(code.length), ...code])),
  ]);
}

/** `(rounds) -> a sum`: so many times, every sum becomes `instruction(0, 0, sum)`. */
function arithmeticKernel(instruction) {
  const operand = 1 + SUMS;
  const sums = Array.from({ length: SUMS }, (_, index) => 1 + index);
  const work = sums.flatMap((sum) => [...get(operand), ...get(operand), ...get(sum), ...instruction, ...set(sum)]);
  const countDown = [...get(0), 0x41, 1, 0x6b, 0x22, 0]; // i32.const 1, i32.sub, local.tee
  return code(SUMS + 1, [...loop([...work, ...countDown]), ...reduce(sums)]);
}

/** `(end) -> a sum`: the bitwise or of all bytes from `end` down to 0. */
function streamKernel() {
  const sums = [1, 2, 3, 4];
  const back = [...get(0), 0x41, ...signedLeb(STRIDE), 0x6b, 0x21, 0];
  const load = (offset) => [...get(0), ...simd(0x00), 4, ...leb(offset)];
  const work = Array.from({ length: STRIDE / 16 }, (_, index) => index).flatMap((index) => {
    const sum = sums[index % sums.length];
    return [...get(sum), ...load(16 * index), ...simd(0x50), ...set(sum)]; // v128.or
  });
  return code(sums.length, [...loop([...back, ...work, ...get(0)]), ...reduce(sums)]);
}

/** A body with so many vectors, all 0, as local variables after its parameter. */
function code(vectors, instructions) {
  return [1, vectors, V128, ...instructions, 0x0b];
}

/** Repeats while `body` leaves something other than 0. */
function loop(body) {
  return [0x03, EMPTY, ...body, 0x0d, 0, 0x0b];
}

/** One number that depends on every sum. */
function reduce([first, ...rest]) {
  return [...get(first), ...rest.flatMap((sum) => [...get(sum), ...simd(0x51)]), ...simd(0x1b), 0]; // v128.xor, i32x4.extract_lane
}

function get(local) {
  return [0x20, local];
}

function set(local) {
  return [0x21, local];
}

function simd(opcode) {
  return [0xfd, ...leb(opcode)];
}

function section(id, items) {
  const content = [...leb(items.length), ...items.flat()];
  return [id, ...leb(content.length), ...content];
}

function text(name) {
  return [name.length, ...new TextEncoder().encode(name)];
}

function leb(number) {
  return number < 0x80 ? [number] : [(number & 0x7f) | 0x80, ...leb(number >>> 7)];
}

/** Of a number that is not negative. */
function signedLeb(number) {
  return number < 0x40 ? [number] : [(number & 0x7f) | 0x80, ...signedLeb(number >>> 7)];
}
