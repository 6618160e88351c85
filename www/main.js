// The page's start: loads the two models, one after the other, and hands each to the tool that uses it.

import { hideError, showError } from './error-panel.js';
import { Model } from './model.js';
import { createNoteSearch } from './note-search.js';
import { createPersonalDetails } from './personal-details.js';
import { countRequests } from './request-count.js';
import * as status from './status.js';

const root = document.documentElement;
const deviceChoice = document.getElementById('device-choice');
const requests = countRequests((count) => {
  document.getElementById('requests').textContent = count ?? '–';
});

const detailsModel = new Model('token-classification', './models/rampart', 'q4');
const searchModel = new Model('feature-extraction', './models/all-MiniLM-L6-v2', 'q8');
const listeners = { onAnswer: answered, onError: failed };
const tools = [
  { model: detailsModel, tool: createPersonalDetails(detailsModel, listeners) },
  { model: searchModel, tool: createNoteSearch(searchModel, listeners) },
];

let loading = new AbortController();

/** Loads every model that is not yet loaded, starts its tool, and then begins to count requests. */
async function load() {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  root.dataset.state = 'loading';
  hideError();
  requests.stop();
  status.loadingStarted();
  try {
    for (const { model, tool } of tools) {
      await loadModel(model, signal);
      tool.refresh();
    }
  } catch (error) {
    if (!signal.aborted) failed(error, load);
    return;
  }
  root.dataset.state = 'ready';
  status.loadingDone();
  requests.start();
}

async function loadModel(model, signal) {
  if (model.loaded) return;
  try {
    await model.load(deviceChoice.value, signal, (loaded, total) => status.modelProgress(model, loaded, total));
  } catch (error) {
    if (!signal.aborted) status.modelFailed(model);
    throw error;
  }
  status.modelReady(model, tools.map((each) => each.model).filter((each) => each.loaded));
}

function answered(elapsed, task) {
  status.answered(elapsed, task);
  if (!tools.every(({ model }) => model.loaded)) return;
  root.dataset.state = 'ready';
  hideError();
}

function failed(error, retry) {
  root.dataset.state = 'error';
  showError(error, retry);
}

/** Puts every model down and loads it again on the device now chosen. */
async function reload() {
  loading.abort();
  root.dataset.state = 'loading';
  for (const { model, tool } of tools) {
    tool.stop();
    status.modelWaiting(model);
    await model.dispose();
  }
  await load();
}

deviceChoice.addEventListener('change', reload);
load();
