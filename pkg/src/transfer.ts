import type { FileBytes } from './bytes.js';
import type { EngineFeed, HeldOutput, NamedTensor, TensorData } from './glue.js';
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
      const feeds = command.input.feeds.map((feed): EngineFeed => (hasData(feed) ? { ...feed, data: feed.data.slice() } : feed));
      return { message: { name: 'run', input: { ...command.input, feeds } }, buffers: dataBuffers(feeds.filter(hasData)) };
    }
    case 'prepare':
    case 'call':
    case 'download':
    case 'discard':
      return { message: command, buffers: [] };
  }
}

/** Readies an answer for the page. */
export function transferAnswer(answer: Answer): Transfer<Answer> {
  const { output } = answer;
  if (Array.isArray(output)) return { message: answer, buffers: dataBuffers(output.filter(hasData)) };
  if (output !== undefined && 'tensor' in output) return { message: answer, buffers: dataBuffers([output.tensor]) };
  return { message: answer, buffers: [] };
}

function ownedBytes(bytes: FileBytes): FileBytes {
  if ('blob' in bytes || bytes.owned) return bytes;
  return { pieces: bytes.pieces.map((piece) => piece.slice()), owned: true };
}

function pieceBuffers(bytes: FileBytes): ArrayBuffer[] {
  return 'blob' in bytes ? [] : bytes.pieces.map((piece) => piece.buffer as ArrayBuffer);
}

function hasData(tensor: EngineFeed | HeldOutput): tensor is NamedTensor {
  return 'data' in tensor;
}

/** Each buffer once: two tensors may share one. */
function dataBuffers(tensors: readonly { data: TensorData }[]): ArrayBuffer[] {
  return [...new Set(tensors.map(({ data }) => data.buffer as ArrayBuffer))];
}
