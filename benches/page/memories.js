// Remembers every WebAssembly memory of this thread, whoever makes it. Imported before any engine.

const { Memory } = WebAssembly;
const memories = new Set();

WebAssembly.Memory = class extends Memory {
  constructor(descriptor) {
    super(descriptor);
    memories.add(this);
  }
};

for (const name of ['instantiate', 'instantiateStreaming']) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (source, imports) => {
    const result = await original(source, imports);
    const { exports } = result instanceof WebAssembly.Instance ? result : result.instance;
    for (const value of Object.values(exports)) {
      if (value instanceof Memory) memories.add(value);
    }
    return result;
  };
}

/** Bytes of WebAssembly memory in use by this thread. */
export function memoryBytes() {
  return [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
}
