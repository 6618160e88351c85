// From the pieces that the model marks to whole details that can be shown and hidden.

/** Every kind that the model knows: what people call it, and the group whose colour it takes. */
export const KINDS = {
  GIVEN_NAME: { label: 'given name', group: 'name' },
  SURNAME: { label: 'surname', group: 'name' },
  EMAIL: { label: 'email', group: 'contact' },
  PHONE: { label: 'phone', group: 'contact' },
  URL: { label: 'web address', group: 'contact' },
  BUILDING_NUMBER: { label: 'house number', group: 'address' },
  STREET_NAME: { label: 'street', group: 'address' },
  SECONDARY_ADDRESS: { label: 'flat or floor', group: 'address' },
  CITY: { label: 'city', group: 'address' },
  STATE: { label: 'state', group: 'address' },
  ZIP_CODE: { label: 'postcode', group: 'address' },
  BANK_ACCOUNT: { label: 'bank account', group: 'money' },
  ROUTING_NUMBER: { label: 'bank routing no.', group: 'money' },
  TAX_ID: { label: 'tax number', group: 'money' },
  GOVERNMENT_ID: { label: 'government ID', group: 'identity' },
  PASSPORT: { label: 'passport', group: 'identity' },
  DRIVERS_LICENSE: { label: 'driving licence', group: 'identity' },
};

/** The groups in the order in which the legend names them. */
export const GROUPS = {
  name: 'Names',
  contact: 'Email, phone, web',
  address: 'Address',
  money: 'Bank and tax',
  identity: 'Identity papers',
};

const WORD_CHARACTER = /[\p{L}\p{M}\p{N}]/u;
const NOT_SPACE = /\S/u;
const OUTER_PUNCTUATION = /[.,;:!?"'“”‘’«»()[\]{}<>]/u;
const JOINING_GAP = /^[ \u00a0-]?$/u;
const KINDS_WITHOUT_SPACES = new Set(['EMAIL', 'URL']);

/**
 * Whole details from the model's pieces. The model labels parts of words, so a piece grows to the whole word (an email
 * or web address: to the whole run without spaces), overlapping pieces become one of the longer piece's kind, and
 * neighbours of one kind are joined. No detail ever hides half a word and leaves the other half readable.
 *
 * @param {string} text
 * @param {{ entity_group: string, start: number, end: number }[]} entities offsets in UTF-16 units
 * @returns {{ kind: string, start: number, end: number }[]} in order, not overlapping
 */
export function wholeDetails(text, entities) {
  const pieces = entities.map((entity) => widen(text, entity)).sort((a, b) => a.start - b.start);
  const details = [];
  for (const piece of pieces) {
    const last = details.at(-1);
    if (last && piece.start < last.end) {
      if (length(piece) > length(last)) last.kind = piece.kind;
      last.end = Math.max(last.end, piece.end);
    } else if (last && last.kind === piece.kind && JOINING_GAP.test(text.slice(last.end, piece.start))) {
      last.end = piece.end;
    } else {
      details.push(piece);
    }
  }
  return details;
}

/**
 * The text cut at the details: plain parts without `kind`, and the details with theirs. Joined, the parts are the text.
 *
 * @returns {{ text: string, kind?: string }[]}
 */
export function partsOf(text, details) {
  const parts = [];
  let position = 0;
  for (const { kind, start, end } of details) {
    parts.push({ text: text.slice(position, start) }, { text: text.slice(start, end), kind });
    position = end;
  }
  parts.push({ text: text.slice(position) });
  return parts.filter((part) => part.text !== '');
}

/** What stands in the shared copy in place of a detail. */
export function placeholder(kind) {
  return `[${kind}]`;
}

function widen(text, { entity_group: kind, start, end }) {
  const belongs = KINDS_WITHOUT_SPACES.has(kind) ? NOT_SPACE : WORD_CHARACTER;
  while (start > 0 && belongs.test(text[start - 1])) start -= 1;
  while (end < text.length && belongs.test(text[end])) end += 1;
  while (start < end && OUTER_PUNCTUATION.test(text[start]) && belongs === NOT_SPACE) start += 1;
  while (start < end && OUTER_PUNCTUATION.test(text[end - 1]) && belongs === NOT_SPACE) end -= 1;
  return { kind, start, end };
}

function length({ start, end }) {
  return end - start;
}
