// The tool "Hide personal details": marks what the model finds and keeps a copy without it.

import { element } from './dom.js';
import { GROUPS, KINDS, partsOf, placeholder, wholeDetails } from './entities.js';
import { latestRun } from './latest-run.js';
import { milliseconds } from './words.js';

const EXAMPLE = `Dear Ms Okafor,

I would like to cancel my membership. My name is Eleanor Marsh and I live at 48 Larkspur Lane, Millbrook, Oregon 97304. You can reach me at eleanor.marsh@example.com or (503) 555-0142.

Please refund the deposit to account 000123456789, routing number 123456780.

Kind regards,
Eleanor Marsh`;

const TYPING_PAUSE = 150;

const input = document.getElementById('pii-input');
const marked = document.getElementById('pii-marked');
const redacted = document.getElementById('pii-redacted');
const legend = document.getElementById('pii-legend');
const summary = document.getElementById('pii-summary');
const copyButton = document.getElementById('pii-copy');

/**
 * @param {import('./model.js').Model} model a token-classification model
 * @param {{ onAnswer(elapsed: number, task: string): void, onError(error: unknown, retry: () => void): void }} listeners
 * @returns {{ refresh(): void, stop(): void }} `refresh` reads the text again, `stop` gives up what is being read
 */
export function createPersonalDetails(model, { onAnswer, onError }) {
  const reading = latestRun(
    async (signal) => {
      const text = input.value;
      const start = performance.now();
      const entities = await model.run(text, { aggregation_strategy: 'simple', signal });
      const elapsed = performance.now() - start;
      signal.throwIfAborted();
      show(text, wholeDetails(text, entities), elapsed);
      onAnswer(elapsed, 'to read your text');
    },
    TYPING_PAUSE,
    onError,
  );

  function textChanged() {
    setBusy(true);
    if (model.loaded) reading.soon();
  }

  function replaceText(text) {
    input.value = text;
    input.focus();
    textChanged();
  }

  input.addEventListener('input', textChanged);
  document.getElementById('pii-clear').addEventListener('click', () => replaceText(''));
  document.getElementById('pii-example').addEventListener('click', () => replaceText(EXAMPLE));
  copyButton.addEventListener('click', copy);

  input.value ||= EXAMPLE;
  setBusy(true);
  showLegend([]);
  return { refresh: reading.now, stop: reading.stop };
}

/** While the panes lag behind the text, the copy must not be taken. */
function setBusy(busy) {
  marked.ariaBusy = redacted.ariaBusy = String(busy);
  copyButton.disabled = busy || input.value === '';
  copyButton.textContent = 'Copy';
}

function show(text, details, elapsed) {
  const parts = partsOf(text, details);
  marked.replaceChildren(...parts.map(markedPart));
  redacted.replaceChildren(...parts.map(redactedPart));
  showLegend(details);
  summary.textContent = text === '' ? '' : `${countOf(details)} found in ${milliseconds(elapsed)}`;
  setBusy(false);
}

function markedPart({ text, kind }) {
  if (!kind) return text;
  const { label, group } = KINDS[kind];
  return element('mark', { data: { group } }, text, element('span', { className: 'mark-label' }, ` ${label}`));
}

function redactedPart({ text, kind }) {
  if (!kind) return text;
  return element('span', { className: 'placeholder', data: { group: KINDS[kind].group } }, placeholder(kind));
}

function showLegend(details) {
  const entries = Object.entries(GROUPS).map(([group, label]) => {
    const count = details.filter(({ kind }) => KINDS[kind].group === group).length;
    return element('li', { data: { group } }, `${label} `, element('span', { className: 'count' }, String(count)));
  });
  legend.replaceChildren(...entries);
}

function countOf({ length }) {
  if (length === 0) return 'No personal details';
  return length === 1 ? '1 personal detail' : `${length} personal details`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(redacted.textContent);
    copyButton.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(redacted);
    copyButton.textContent = 'Selected: now press Ctrl+C';
  }
}
