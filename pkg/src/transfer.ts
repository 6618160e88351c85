import type { FileBytes } from './bytes.js';
import type { TensorData } from './glue.js';
import type { Answer, Command } from './protocol.js';

/** A message and the buffers that move with it instead of being copied. */
export interface Transfer<Message> {
  readonly message: Message;
  readonly buffers: ArrayBuffer[];
}

/** Readies a command for a worker. What belongs to the caller is copied, so that it is never detached. */
export function transferCommand(command: Command): Transfer<Command> {
  switch (command.name) {
    case 'load': {
      const model = ownedBytes(command.input.model);
      const externalData = command.input.externalData.map(({ path, bytes }) => ({ path, bytes: ownedBytes(bytes) }));
      const buffers = [model, ...externalData.map(({ bytes }) => bytes)].flatMap(pieceBuffers);
      return { message: { name: 'load', input: { ...command.input, model, externalData } }, buffers };
    }
    case 'run': {
      const data = command.input.data.map((elements) => elements.slice());
      return { message: { name: 'run', input: { ...command.input, data } }, buffers: buffersOf(data) };
    }
    case 'prepare':
    case 'save':
    case 'call':
    case 'download':
    case 'discard':
      return { message: command, buffers: [] };
  }
}

/** Readies an answer for the page. */
export function transferAnswer(answer: Answer): Transfer<Answer> {
  const { output } = answer;
  if (output !== undefined && 'data' in output) return { message: answer, buffers: buffersOf(output.data) };
  if (output !== undefined && 'tensor' in output) return { message: answer, buffers: buffersOf([output.tensor.data]) };
  if (output !== undefined && 'artefact' in output) return { message: answer, buffers: [output.artefact.buffer] };
  return { message: answer, buffers: [] };
}

function ownedBytes(bytes: FileBytes): FileBytes {
  if ('blob' in bytes || bytes.owned) return bytes;
  return { pieces: bytes.pieces.map((piece) => piece.slice()), owned: true };
}

function pieceBuffers(bytes: FileBytes): ArrayBuffer[] {
  return 'blob' in bytes ? [] : bytes.pieces.map((piece) => piece.buffer as ArrayBuffer);
}

/** Each buffer once: two tensors may share one. */
function buffersOf(data: readonly TensorData[]): ArrayBuffer[] {
  return [...new Set(data.map(({ buffer }) => buffer as ArrayBuffer))];
}
