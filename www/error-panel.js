// The panel that says in plain words what went wrong and offers to try again.

import { sentence } from './words.js';

const TITLES = {
  NetworkError: 'A model could not be downloaded.',
  IntegrityError: 'A downloaded model is damaged or is not the expected one.',
  InvalidModel: 'A model file cannot be read.',
  UnsupportedOp: 'A model needs something that this page cannot do.',
  InvalidInput: 'The model cannot work with this.',
  OutOfMemory: 'There is not enough free memory on this device.',
  DeviceLost: 'The models cannot run on this device as chosen.',
  InternalError: 'Something went wrong inside the page.',
};

const panel = document.getElementById('error');
const title = document.getElementById('error-title');
const code = document.getElementById('error-code');
const remedy = document.getElementById('error-remedy');
const technical = document.getElementById('error-technical');
const retryButton = document.getElementById('error-retry');

let retry = () => {};
retryButton.addEventListener('click', () => {
  hideError();
  retry();
});

/**
 * @param {Error & { code?: string, remedy?: string }} error
 * @param {() => void} onRetry what the button does
 */
export function showError(error, onRetry) {
  retry = onRetry;
  title.textContent = TITLES[error.code] ?? TITLES.InternalError;
  code.textContent = error.code ?? error.name;
  remedy.textContent = sentence(error.remedy ?? 'reload the page and try again');
  technical.textContent = error.message;
  panel.hidden = false;
}

export function hideError() {
  panel.hidden = true;
}
