// How durations, sizes and sentences are written on this page.

/** A duration in whole milliseconds, in words when it is shorter. */
export function milliseconds(elapsed) {
  return elapsed < 1 ? 'under 1 ms' : `${Math.round(elapsed)} ms`;
}

/** A number of bytes in decimal megabytes. */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The words with a capital first letter and a full stop; nothing stays nothing. */
export function sentence(words) {
  if (words === '') return '';
  const capitalised = words[0].toUpperCase() + words.slice(1);
  return /[.!?]$/.test(capitalised) ? capitalised : `${capitalised}.`;
}
