import { type SottovoceError, typedError } from './errors.js';
import type { SessionState } from './glue.js';
import type { CommandName, Commands } from './protocol.js';

/** Where an engine lives. */
export interface Host {
  /** The session as of the last answer; `undefined` before it is loaded. */
  readonly state: SessionState | undefined;
  /** Threads that compute. */
  readonly threads: number;
  /**
   * Carries out one command after all earlier ones. The signal takes a waiting command out of the queue and stops a
   * running one at its next checkpoint.
   */
  perform<Name extends CommandName>(
    name: Name,
    input: Commands[Name]['input'],
    signal?: AbortSignal,
  ): Promise<Commands[Name]['output']>;
  /** Ends the engine and gives its memory back; the command under way fails with `reason`, later ones say it. */
  close(reason: SottovoceError): Promise<void>;
}

/** The error of a command that comes after its host was closed. */
export function closedError(reason: SottovoceError): SottovoceError {
  const [cause] = reason.message.split(`; ${reason.remedy}`);
  return typedError(reason.code, `this model is closed: ${cause}`, { remedy: 'load the model again' });
}

/** The reason for closing that `dispose()` and `release()` give. */
export function releasedError(): SottovoceError {
  return typedError('InvalidInput', 'the model was released');
}
