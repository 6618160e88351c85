// docs/agreement.md, from figures.

import { NO_BFLOAT16, type Result } from '../pages/models.js';
import { TIE } from './fixtures.ts';

export type BackendName = 'native' | 'wasm simd' | 'wasm relaxed' | 'WebGPU';

export interface Figures {
  /** Exports that are refused, with the reasons. */
  readonly refusals: Readonly<Record<string, string>>;
  /** Node tests that are refused, with the reasons. */
  readonly nodeRefusals: Readonly<Record<string, string>>;
  readonly backends: ({ readonly name: BackendName } & Readonly<Record<Group, readonly Result[]>>)[];
}

type Group = 'real' | 'exports' | 'nodes';

/** The report: the same text from the same figures. */
export function agreementReport(figures: Figures): string {
  const { refusals, nodeRefusals, backends } = figures;
  const names = backends.map(({ name }) => name);
  const sections = [
    INTRODUCTION,
    `## Real models\n\n${modelTable(names, backends.map(({ real }) => real))}`,
    `## Exports\n\n${summary(backends, 'exports')}\n\n${modelTable(names, backends.map(({ exports }) => exports))}`,
    `## Single operators\n\nBy operator: [operators.md](operators.md).\n\n${summary(backends, 'nodes')}`,
    `## Wrong or failed\n\n${differenceTable(differences(figures))}`,
    `## Refused\n\n${refusalTable({ ...refusals, ...nodeRefusals })}`,
  ];
  return `${sections.join('\n\n')}\n`;
}

/** A model that a backend answers otherwise than ONNX Runtime, or not at all. */
export interface Difference {
  readonly backend: BackendName;
  readonly result: Result;
}

/** All models that are wrong or failed. */
export function differences({ backends }: Figures): Difference[] {
  return backends.flatMap(({ name: backend, real, exports, nodes }) =>
    [...real, ...exports, ...nodes]
      .filter(({ outcome }) => outcome === 'wrong' || outcome === 'failed')
      .map((result) => ({ backend, result })),
  );
}

const INTRODUCTION = `# Agreement with ONNX Runtime

Written by \`cargo xtask agree\`; do not edit. Every model ran on every backend on the inputs for which ONNX Runtime's answers are recorded
(1.32, CPU, optimisation off): *native*, the command line; *wasm simd* and *wasm relaxed*, the npm package in Chromium with the one or the other
module; *WebGPU*, the package on Chromium's software adapter, which runs the attention (of single operators, those with one).

A backend's column holds the largest absolute error over all cases and outputs. *cosine* is the smallest cosine of an output with the recorded one
over all backends. *top-1* is in how many positions the most likely token is the recorded one, on the backend where it is in fewest, for models
that predict tokens; each position sees the recorded tokens before it.
\`refused\`: a typed error, whose reason is below. \`bf16\`: not run, because JavaScript's tensors cannot express bfloat16. A model whose error is
beyond the tolerance recorded with it (ten times that on WebGPU) is \`wrong\`; SmolLM2, which rounds activations to int8 where the record is in f32,
also where a recorded token's logit is more than ${TIE} below that of the most likely one.`;

const STANDINGS = ['right', 'refused', 'bf16', 'wrong', 'failed'] as const;

type Standing = (typeof STANDINGS)[number];

/** What became of a model; `bf16` where JavaScript cannot express its tensors. */
function standingOf({ outcome, reason }: Result): Standing {
  return reason === NO_BFLOAT16 ? 'bf16' : outcome;
}

function summary(backends: Figures['backends'], group: Group): string {
  const rows = backends.map(({ name, [group]: results }) => {
    const count = (standing: Standing) => String(results.filter((result) => standingOf(result) === standing).length);
    return [name, String(results.length), ...STANDINGS.map(count)];
  });
  return table(['backend', 'models', ...STANDINGS], rows);
}

/** One row a model, of the results of each backend in order. */
function modelTable(backends: readonly string[], results: readonly (readonly Result[])[]): string {
  const rows = (results[0] ?? []).map(({ name }, at) => {
    const own = results.map((backend) => backend[at]!);
    const answered = own.filter(({ outcome }) => outcome === 'right' || outcome === 'wrong');
    const cosine = answered.length === 0 ? '' : Math.min(...answered.map(({ cosine }) => cosine)).toFixed(6);
    return [name, ...own.map(cell), cosine, topOne(answered)];
  });
  return table(['model', ...backends, 'cosine', 'top-1'], rows);
}

function cell(result: Result): string {
  const standing = standingOf(result);
  if (standing === 'right') return errorOf(result);
  if (standing === 'wrong') return `**wrong** ${errorOf(result)}`;
  return standing === 'failed' ? '**failed**' : standing;
}

function errorOf({ maxAbsError }: Result): string {
  return maxAbsError === 0 ? '0' : maxAbsError.toExponential(0);
}

function topOne(results: readonly Result[]): string {
  const fractions = results.filter(({ topOnes }) => topOnes.all > 0).map(({ topOnes }) => topOnes);
  const [fewest] = fractions.sort((one, other) => one.same / one.all - other.same / other.all);
  return fewest === undefined ? '' : `${fewest.same} of ${fewest.all}`;
}

function differenceTable(differences: readonly Difference[]): string {
  const rows = differences.map(({ backend, result }) => [result.name, backend, errorOf(result), result.reason]);
  return rows.length === 0 ? 'None.' : table(['model', 'backend', 'error', 'what differs'], rows);
}

function refusalTable(refusals: Figures['refusals']): string {
  const rows = Object.entries(refusals).sort(([one], [other]) => (one < other ? -1 : 1));
  return rows.length === 0 ? 'None.' : table(['model', 'reason'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}
