// What is running: the models and their sizes, the device and why, and how long the last answer took.

import { megabytes, milliseconds, sentence } from './words.js';

const DEVICES = { cpu: 'Processor (CPU)', webgpu: 'Graphics card (WebGPU)' };

const summary = document.getElementById('load-summary');
const device = document.getElementById('device');
const deviceReason = document.getElementById('device-reason');
const elapsedValue = document.getElementById('elapsed');
const elapsedTask = document.getElementById('elapsed-task');

export function loadingStarted() {
  summary.textContent = 'Loading the models.';
}

export function modelWaiting(model) {
  const cell = cellOf(model, 'waiting');
  cell.progress.removeAttribute('value');
  cell.state.textContent = 'Waiting';
}

/** Shows how many bytes are here; `total` is undefined where the server does not tell. */
export function modelProgress(model, loaded, total) {
  const cell = cellOf(model, 'loading');
  cell.state.textContent = loaded === total ? 'Starting' : `${megabytes(loaded)} here`;
  if (total === undefined) return;
  cell.progress.max = total;
  cell.progress.value = loaded;
  cell.size.textContent = megabytes(total);
}

/** Shows that a model is ready, and the devices of all the models loaded so far. */
export function modelReady(model, loadedModels) {
  const cell = cellOf(model, 'ready');
  cell.size.textContent = megabytes(model.bytes);
  cell.state.textContent = 'Loaded, ready';
  device.textContent = distinct(loadedModels.map((loaded) => DEVICES[loaded.device])).join(' and ');
  deviceReason.textContent = distinct(loadedModels.map((loaded) => sentence(loaded.deviceReason))).join(' ');
}

export function modelFailed(model) {
  const cell = cellOf(model, 'failed');
  cell.state.textContent = 'Not loaded';
  summary.textContent = '';
}

export function loadingDone() {
  summary.textContent = 'Both models are loaded and ready.';
}

/** Shows how long the latest answer took, in milliseconds, and what was done. */
export function answered(elapsed, task) {
  elapsedValue.textContent = milliseconds(elapsed);
  elapsedTask.textContent = task;
}

function cellOf(model, state) {
  const cell = document.querySelector(`[data-model="${model.name}"]`);
  cell.dataset.loading = state;
  return {
    progress: cell.querySelector('progress'),
    size: cell.querySelector('[data-part="size"]'),
    state: cell.querySelector('[data-part="state"]'),
  };
}

function distinct(words) {
  return [...new Set(words)].filter(Boolean);
}
