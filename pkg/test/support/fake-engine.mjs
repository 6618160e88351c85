// Stands in for the engine's JavaScript. A model's bytes are JSON and say how it behaves:
//   { "run": "echo" | "loop" | "stuck" | "trap" | "lateTrap" | "panic" | "typed", "load": the same without "echo", "help": "trap" }
// `echo` answers with the feeds; `loop` goes on until the checkpoint ends it; `stuck` never returns to the event loop;
// `lateTrap` traps in a microtask, where the engine polls its futures, and leaves its promise pending.

const trapping = new WebAssembly.Module(
  // (module (func (export "f") unreachable))
  new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11,
  ]),
);

let instances = 0;
let shared;
let constructed = false;
let panic;

export default async function init({ module_or_path, memory }) {
  if (!(module_or_path instanceof WebAssembly.Module)) throw new TypeError('no module');
  instances ||= 1;
  shared = memory ?? new WebAssembly.Memory({ initial: 1, maximum: 1000, shared: true });
  return { memory: shared, __wasm_call_ctors: () => (constructed = true) };
}

/** What helpers find in the second number of the memory that they share with the model's thread, once it has read the model. */
const HELP = 1;
const TRAP = 2;

/** Counts the helpers in the first number of that memory, and never returns. */
export function help() {
  const numbers = new Int32Array(shared.buffer);
  Atomics.wait(numbers, 1, 0);
  if (numbers[1] === TRAP) new WebAssembly.Instance(trapping).exports.f();
  Atomics.add(numbers, 0, 1);
  for (;;) Atomics.wait(numbers, 2, 0);
}

export function __wbg_reset_state() {
  instances += 1;
  panic = undefined;
}

export function panicMessage() {
  return panic;
}

async function behave(behaviour, checkpoint) {
  switch (behaviour) {
    case 'loop':
      while (!(await checkpoint()));
      throw engineError('Aborted', 'the caller asked to stop');
    case 'stuck':
      for (;;);
    case 'trap':
      return new WebAssembly.Instance(trapping).exports.f();
    case 'panic':
      panic = 'panicked at op.rs:1:1: index out of bounds';
      return new WebAssembly.Instance(trapping).exports.f();
    case 'lateTrap':
      queueMicrotask(() => new WebAssembly.Instance(trapping).exports.f());
      return new Promise(() => {});
    case 'typed':
      throw engineError('UnsupportedOp', 'no such op', {
        op: 'Frobnicate',
        node: 'node_7',
        remedy: 'export without it',
      });
  }
}

function engineError(code, message, places = {}) {
  return Object.assign(new Error(message), { code, ...places });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw engineError('InvalidModel', 'not well formed');
  }
}

/** An artefact is a model with the mark that `save` leaves. */
function checkArtefact(artefact, digest) {
  if (artefact === undefined) throw engineError('InvalidModel', 'this is no artefact');
  if (digest !== undefined && artefact.digest !== digest) throw engineError('IntegrityError', 'of another model');
}

function readAll(source) {
  const bytes = new Uint8Array(source.size);
  source.readAt(0, bytes);
  return bytes;
}

export class Session {
  #behaviour;
  #options;
  #runs = 0;
  #held = new Map();
  #lastHeld = 0;
  #freed = false;

  static async load(source, options) {
    if (!constructed) throw new Error('used before its constructors were called');
    const session = new Session();
    session.#behaviour = parse(new TextDecoder().decode(readAll(source)));
    session.#options = options;
    if (options.artefact !== undefined) checkArtefact(session.#behaviour.artefact, options.artefact.digest);
    const numbers = new Int32Array(shared.buffer);
    Atomics.store(numbers, 1, session.#behaviour.help === 'trap' ? TRAP : HELP);
    Atomics.notify(numbers, 1);
    await behave(session.#behaviour.load, options.checkpoint);
    return session;
  }

  async run(request, data, checkpoint) {
    if (this.#freed) throw new Error('used after free');
    await behave(this.#behaviour.run, checkpoint);
    this.#runs += 1;
    const { feeds, fetches, hold } = JSON.parse(request);
    const given = [...data];
    const outputs = feeds
      .map((feed, position) => ({ position, tensor: this.#fed(feed, given) }))
      .filter(({ position }) => fetches === undefined || fetches.includes(position))
      .map(({ position, tensor: { type, dims, data } }) => {
        if (!hold.includes(position)) return { header: [dims, null], data: [data.slice()] };
        const held = ++this.#lastHeld;
        this.#held.set(held, { type, dims, data: data.slice() });
        return { header: [dims, held], data: [] };
      });
    return [JSON.stringify(outputs.map(({ header }) => header)), ...outputs.flatMap(({ data }) => data)];
  }

  #fed(feed, given) {
    return Array.isArray(feed) ? { type: feed[0], dims: feed[1], data: given.shift() } : this.#heldTensor(feed);
  }

  #heldTensor(held) {
    const tensor = this.#held.get(held);
    if (tensor === undefined) throw engineError('InvalidInput', 'the tensor was disposed of');
    return tensor;
  }

  save(digest) {
    return new TextEncoder().encode(JSON.stringify({ artefact: { digest }, ...this.#behaviour }));
  }

  download(held) {
    const { type, dims, data } = this.#heldTensor(held);
    return { type, dims, data: data.slice() };
  }

  discard(held) {
    this.#held.delete(held);
  }

  info() {
    const type = this.#behaviour.type ?? 'int64';
    const value = (name) => ({ name, type, shape: ['batch', 'seq'] });
    return JSON.stringify({ inputs: [value('ids')], outputs: [value('out')], loadedFrom: this.#behaviour.artefact ? 'artefact' : 'model' });
  }

  state() {
    const external = this.#options.externalData.map(({ path, source }) => `${path}:${source.size}`);
    return JSON.stringify({
      device: this.#options.device === 'webgpu' ? 'webgpu' : 'cpu',
      deviceReason:
        `asked for ${this.#options.device}, external data ${external.join() || 'none'}, ` +
        `instance ${instances}, holding ${this.#held.size}, helped by ${Atomics.load(new Int32Array(shared.buffer), 0)}`,
      counters: {
        dispatches: 0,
        submissions: 0,
        bytesUploaded: 0,
        bytesReadBack: 0,
        runs: this.#runs,
        attentionOnGpu: 0,
        attentionOnCpu: 0,
      },
    });
  }

  free() {
    this.#freed = true;
  }
}

/** Answers with what it was given. */
export class Pipeline {
  #task;
  #files;

  constructor(task, files) {
    this.#task = task;
    this.#files = files;
  }

  async call(session, texts, optionsJson, checkpoint) {
    await session.run(JSON.stringify({ feeds: [], hold: [] }), [], checkpoint);
    if (this.#task === 'feature-extraction') {
      return {
        tensor: { type: 'float32', dims: [texts.length, 1], data: Float32Array.from(texts, (text) => text.length) },
      };
    }
    const files = Object.entries(this.#files).map(([name, bytes]) => `${name}=${new TextDecoder().decode(bytes)}`);
    return { json: JSON.stringify(texts.map((text) => [{ word: text, options: JSON.parse(optionsJson), files }])) };
  }

  free() {}
}
