// The tool "Search your notes by meaning": ranks notes by how close they lie to the question.

import { element } from './dom.js';
import { latestRun } from './latest-run.js';
import { milliseconds } from './words.js';

const EXAMPLE_NOTES = [
  'The spare house key is with Mrs Adeyemi on the second floor.',
  'Dentist: Tuesday the 14th at half past nine.',
  'Grandma’s soup: leeks, potatoes, nutmeg, a splash of cream.',
  'Car insurance has to be renewed before the end of March.',
  'Boiler makes a knocking noise when the heating comes on.',
  'Idea for Dad’s seventieth: a weekend in the mountains.',
  'The wifi in the cabin is slow; bring the maps offline.',
  'Maya is allergic to peanuts. Tell the school kitchen.',
  'Returned the blue jumper, money back within ten days.',
  'Bread: 500 g flour, 350 g water, 10 g salt, one night in the fridge.',
  'Piano lesson moved from Monday to Wednesday afternoon.',
  'The landlord promised to fix the leaking kitchen tap.',
];

const EXAMPLE_QUESTIONS = ['What can I cook tonight?', 'birthday present for my father', 'when do I see the doctor?', 'paperwork with a deadline'];

const TYPING_PAUSE = 200;
const RESULTS_SHOWN = 5;

const query = document.getElementById('search-query');
const examples = document.getElementById('search-examples');
const summary = document.getElementById('search-summary');
const results = document.getElementById('search-results');
const notes = document.getElementById('notes');
const addButton = document.getElementById('note-add');

/**
 * @param {import('./model.js').Model} model a feature-extraction model
 * @param {{ onAnswer(elapsed: number, task: string): void, onError(error: unknown, retry: () => void): void }} listeners
 * @returns {{ refresh(): void, stop(): void }} `refresh` searches again, `stop` gives up the search under way
 */
export function createNoteSearch(model, { onAnswer, onError }) {
  const searching = latestRun(
    async (signal) => {
      const question = query.value.trim();
      const texts = noteTexts();
      if (question === '' || texts.length === 0) {
        showNothing(question === '' ? 'Ask something, or choose an example.' : 'Add a note to search in.');
        return;
      }
      const start = performance.now();
      await embedMissing(model, [...texts, question], signal);
      const ranked = rank(question, texts);
      const elapsed = performance.now() - start;
      show(ranked, elapsed);
      onAnswer(elapsed, 'to search your notes');
    },
    TYPING_PAUSE,
    onError,
  );

  function changed() {
    results.ariaBusy = 'true';
    if (model.loaded) searching.soon();
  }

  function addNote(text) {
    notes.append(noteItem(text, changed));
  }

  function addEmptyNote() {
    addNote('');
    notes.lastElementChild.querySelector('textarea').focus();
  }

  for (const text of EXAMPLE_NOTES) addNote(text);
  examples.replaceChildren(...EXAMPLE_QUESTIONS.map((question) => exampleItem(question, changed)));
  query.value ||= EXAMPLE_QUESTIONS[0];
  query.addEventListener('input', changed);
  addButton.addEventListener('click', addEmptyNote);
  return { refresh: searching.now, stop: searching.stop };
}

/** Embeddings of unit length by text; kept only for the notes and the question of the latest search. */
const embeddings = new Map();

/** Embeds, in one batch, the texts that have no embedding yet. */
async function embedMissing(model, texts, signal) {
  const missing = [...new Set(texts)].filter((text) => !embeddings.has(text));
  if (missing.length > 0) {
    const { dims, data } = await model.run(missing, { pooling: 'mean', normalize: true, signal });
    signal.throwIfAborted();
    const [, width] = dims;
    missing.forEach((text, row) => embeddings.set(text, data.slice(row * width, (row + 1) * width)));
  }
  for (const text of embeddings.keys()) {
    if (!texts.includes(text)) embeddings.delete(text);
  }
}

/** The notes with their cosine similarity to the question, closest first. */
function rank(question, texts) {
  const target = embeddings.get(question);
  return texts
    .map((text) => ({ text, similarity: dotProduct(embeddings.get(text), target) }))
    .sort((a, b) => b.similarity - a.similarity);
}

function dotProduct(a, b) {
  return a.reduce((sum, value, index) => sum + value * b[index], 0);
}

function show(ranked, elapsed) {
  results.replaceChildren(...ranked.slice(0, RESULTS_SHOWN).map(resultItem));
  results.ariaBusy = 'false';
  const shown = Math.min(RESULTS_SHOWN, ranked.length);
  summary.textContent = `The ${shown} closest of ${ranked.length} notes, found in ${milliseconds(elapsed)}`;
}

function showNothing(reason) {
  results.replaceChildren();
  results.ariaBusy = 'false';
  summary.textContent = reason;
}

function resultItem({ text, similarity }) {
  const bar = element('span', { className: 'bar', ariaHidden: 'true' });
  bar.style.setProperty('--similarity', Math.max(0, similarity).toFixed(3));
  const number = element('span', { className: 'similarity' }, 'similarity ', element('b', {}, similarity.toFixed(2)));
  return element('li', {}, element('p', {}, text), bar, number);
}

function exampleItem(question, changed) {
  const button = element('button', { type: 'button', className: 'example' }, question);
  button.addEventListener('click', () => {
    query.value = question;
    changed();
  });
  return element('li', {}, button);
}

function noteItem(text, changed) {
  const editor = element('textarea', { rows: 1, value: text, ariaLabel: 'Note', placeholder: 'Write a note' });
  const grower = element('span', { className: 'grower', data: { text } }, editor);
  const remove = element('button', { type: 'button', className: 'remove', ariaLabel: 'Remove this note' }, '×');
  const item = element('li', {}, grower, remove);
  editor.addEventListener('input', () => {
    grower.dataset.text = editor.value;
    changed();
  });
  remove.addEventListener('click', () => {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    (neighbour?.querySelector('textarea') ?? addButton).focus();
    changed();
  });
  return item;
}

function noteTexts() {
  return [...notes.querySelectorAll('textarea')].map((editor) => editor.value.trim()).filter(Boolean);
}
