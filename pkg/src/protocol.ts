/** What the page and a model's worker say to each other. */

import type { FileBytes } from './bytes.js';
import type { PlainError } from './errors.js';
import type { EngineDevice, ExpectedArtefact, PlainTensor, SessionInfo, SessionState, TaskAnswer, TaskFiles } from './glue.js';
import type { RunMessage } from './run-message.js';

/** What an engine can be told to do, and what it answers. */
export interface Commands {
  /** Starts the engine, unless it was, and loads its one model. Where that fails it may be told to load another. */
  load: {
    input: {
      module: WebAssembly.Module;
      model: FileBytes;
      externalData: { path: string; bytes: FileBytes }[];
      device: EngineDevice;
      /** Given where `model` must be an artefact. */
      artefact?: ExpectedArtefact;
    };
    output: SessionInfo;
  };
  /** Prepares the task whose texts `call` takes. */
  prepare: { input: { task: string; files: TaskFiles }; output: void };
  /** Forgets what earlier runs left in the engine's memory, then runs the graph. */
  run: { input: RunMessage & { discard: number[] }; output: RunMessage };
  /** Gives what the model can be loaded from again. */
  save: { input: { digest: string | undefined }; output: { artefact: Uint8Array<ArrayBuffer> } };
  /** Copies what a run left in the engine's memory. */
  download: { input: { held: number }; output: { tensor: PlainTensor } };
  /** Forgets what a run left in the engine's memory. */
  discard: { input: { held: number[] }; output: void };
  /** Runs the task. */
  call: { input: { texts: string[]; optionsJson: string }; output: TaskAnswer };
}

export type CommandName = keyof Commands;

/** A command and what it needs. */
export type Command = { [Name in CommandName]: { name: Name; input: Commands[Name]['input'] } }[CommandName];

/** A command's answer. */
export interface Answer<Name extends CommandName = CommandName> {
  output: Commands[Name]['output'];
  state: SessionState;
}

/** What instances of a threaded engine have in common. */
export interface SharedEngine {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** From the page to the worker. */
export type Request =
  | { kind: 'perform'; id: number; command: Command }
  | { kind: 'abort'; id: number }
  /** The worker is to help an engine in another one; it answers nothing any more. */
  | ({ kind: 'help' } & SharedEngine);

/** From the worker to the page. After a failure that is `fatal` the engine is of no further use. */
export type Response =
  | { kind: 'started' }
  /** What a threaded engine is made of: those may share it that are to help it. */
  | ({ kind: 'memory' } & SharedEngine)
  /** A thread that helped an engine does so no more: the engine waits for work that is never finished. */
  | { kind: 'stopped'; message: string }
  | { kind: 'answer'; id: number; answer: Answer }
  | { kind: 'failure'; id: number; error: PlainError; fatal: boolean };
