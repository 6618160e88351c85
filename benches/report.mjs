// Figures as text.

/** Rows, objects of text by column, as lines with aligned columns; a column that a row lacks is empty there. */
export function table(rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ''))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index].length)));
  return lines.map((line) => line.map((cell, index) => cell.padEnd(widths[index])).join('  ').trimEnd()).join('\n');
}

/** A median with its quartiles. */
export function spread({ median, low, high }, format) {
  return `${format(median)} [${format(low)} – ${format(high)}]`;
}

export const millis = (value) => value.toFixed(value < 100 ? 2 : 0);
export const ratio = (value) => value.toFixed(2);
export const percent = (value) => `${(100 * value).toFixed(1)} %`;
export const count = (value) => value.toLocaleString('en');
export const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);

/** A difference; null, which stands for one that is not finite, in words. */
export const scientific = (value) => (value === null ? 'not finite' : value.toExponential(1));
