// docs/agreement.md, from figures.

import type { Result } from '../pages/models.js';

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
export function agreementReport({ refusals, nodeRefusals, backends }: Figures): string {
  const names = backends.map(({ name }) => name);
  const sections = [
    INTRODUCTION,
    `## Real models\n\n${modelTable(names, backends.map(({ real }) => real))}`,
    `## Exports\n\n${summary(backends, 'exports')}\n\n${modelTable(names, backends.map(({ exports }) => exports))}`,
    `## Single operators\n\nBy operator: [operators.md](operators.md).\n\n${summary(backends, 'nodes')}`,
    `## Refused\n\n${refusalTable({ ...refusals, ...nodeRefusals })}`,
  ];
  return `${sections.join('\n\n')}\n`;
}

const INTRODUCTION = `# Agreement with ONNX Runtime

Written by \`cargo xtask agree\`; do not edit. Every model ran on every backend on the inputs for which ONNX Runtime's answers are recorded
(1.32, CPU, optimisation off): *native*, the command line; *wasm simd* and *wasm relaxed*, the npm package in Chromium with the one or the other
module; *WebGPU*, the package on Chromium's software adapter, which runs the attention (of single operators, those with one).

A backend's column holds the largest absolute error over all cases and outputs. *cosine* is the smallest cosine of an output with the recorded one
over all backends. *top-1* is in how many positions the most likely token is the recorded one, on the backend where it is in fewest, for models
that predict tokens; each position sees the recorded tokens before it.
\`refused\`: a typed error, whose reason is below. \`bf16\`: JavaScript has no such tensors. A model whose error is beyond the tolerance recorded with
it (ten times that on WebGPU) is \`wrong\`.`;

function summary(backends: Figures['backends'], group: Group): string {
  const rows = backends.map(({ name, [group]: results }) => {
    const count = (outcome: Result['outcome']) => String(results.filter((result) => result.outcome === outcome).length);
    return [name, String(results.length), count('right'), count('refused'), count('wrong'), count('failed')];
  });
  return table(['backend', 'models', 'right', 'refused', 'wrong', 'failed'], rows);
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

function cell({ outcome, reason, maxAbsError }: Result): string {
  const error = maxAbsError === 0 ? '0' : maxAbsError.toExponential(0);
  if (outcome === 'right') return error;
  if (outcome === 'refused') return /bfloat16/.test(reason) ? 'bf16' : 'refused';
  return outcome === 'wrong' ? `**wrong** ${error}` : '**failed**';
}

function topOne(results: readonly Result[]): string {
  const fractions = results.filter(({ topOnes }) => topOnes.all > 0).map(({ topOnes }) => topOnes);
  const [fewest] = fractions.sort((one, other) => one.same / one.all - other.same / other.all);
  return fewest === undefined ? '' : `${fewest.same} of ${fewest.all}`;
}

function refusalTable(refusals: Figures['refusals']): string {
  const rows = Object.entries(refusals).sort(([one], [other]) => (one < other ? -1 : 1));
  return rows.length === 0 ? 'None.' : table(['model', 'reason'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}
