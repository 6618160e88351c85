// The demo page as a visitor meets it. Expected entities and rankings were made with ONNX Runtime 1.32 on the same model files.

import { expect, test, type BrowserContext, type Page } from '@playwright/test';

const LOAD_TIMEOUT = 120_000;
const ANSWER_TIMEOUT = 30_000;
const POLICY = ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "connect-src 'self'", "style-src 'self'"];

/** Everything that a well-behaved page leaves empty. */
interface Complaints {
  console: string[];
  policy: string[];
}

/** Collects console errors and warnings, uncaught errors and policy violations from now on. */
async function collectComplaints(page: Page): Promise<Complaints> {
  const complaints: Complaints = { console: [], policy: [] };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.console.push(message.text());
  });
  page.on('pageerror', (error) => complaints.console.push(String(error)));
  await page.exposeFunction('reportViolation', (violation: string) => complaints.policy.push(violation));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      (window as unknown as { reportViolation(words: string): void }).reportViolation(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });
  return complaints;
}

/** The address of every request of the page and its workers from now on. */
function recordRequests(context: BrowserContext): string[] {
  const addresses: string[] = [];
  context.on('request', (request) => addresses.push(request.url()));
  return addresses;
}

/** Opens the page and waits until both models are loaded and both example answers are there. */
async function openReady(page: Page): Promise<void> {
  await page.goto('/');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'ready', { timeout: LOAD_TIMEOUT });
  await expect(page.locator('#pii-redacted')).toContainText('[EMAIL]', { timeout: ANSWER_TIMEOUT });
  await expect(page.locator('#search-results li').first()).toBeVisible({ timeout: ANSWER_TIMEOUT });
}

async function expectRedacted(page: Page, expected: string): Promise<void> {
  await expect(page.locator('#pii-redacted')).toHaveText(expected, { timeout: ANSWER_TIMEOUT });
}

function resultTexts(page: Page) {
  return page.locator('#search-results li p');
}

test('marks the example letter and hides every detail in the copy', async ({ page }) => {
  const complaints = await collectComplaints(page);
  await openReady(page);
  await expect(page.locator('#pii-marked mark')).toHaveText([
    'Okafor surname',
    'Eleanor given name',
    'Marsh surname',
    '48 house number',
    'Larkspur Lane street',
    'Millbrook city',
    'Oregon state',
    '97304 postcode',
    'eleanor.marsh@example.com email',
    '(503) 555-0142 phone',
    '000123456789 bank account',
    '123456780 bank routing no.',
    'Eleanor given name',
    'Marsh surname',
  ]);
  await expectRedacted(
    page,
    'Dear Ms [SURNAME], ' +
      'I would like to cancel my membership. My name is [GIVEN_NAME] [SURNAME] and I live at [BUILDING_NUMBER] [STREET_NAME], ' +
      '[CITY], [STATE] [ZIP_CODE]. You can reach me at [EMAIL] or [PHONE]. ' +
      'Please refund the deposit to account [BANK_ACCOUNT], routing number [ROUTING_NUMBER]. ' +
      'Kind regards, [GIVEN_NAME] [SURNAME]',
  );
  await expect(page.locator('#pii-summary')).toContainText('14 personal details');
  await expect(page.locator('#elapsed')).toHaveText(/^(\d+|under 1) ms$/);
  await expect(page.locator('#device')).toHaveText(/Processor \(CPU\)|Graphics card \(WebGPU\)/);
  expect(complaints).toEqual({ console: [], policy: [] });
});

test('reads what is typed, the newest text only', async ({ page }) => {
  const complaints = await collectComplaints(page);
  await openReady(page);
  const input = page.locator('#pii-input');
  const cases = [
    { text: 'Maria Lopez lives in Austin.', redacted: '[GIVEN_NAME] [SURNAME] lives in [CITY].' },
    {
      text: 'Please call Tomasz Nowak on 020 7946 0958 or write to tomasz.nowak@example.com.',
      redacted: 'Please call [GIVEN_NAME] [SURNAME] on [PHONE] or write to [EMAIL].',
    },
    { text: 'Nothing private here.', redacted: 'Nothing private here.' },
    { text: '', redacted: '' },
  ];
  for (const { text, redacted } of cases) {
    await input.fill('');
    await input.pressSequentially(text, { delay: 15 });
    await expectRedacted(page, redacted);
  }
  await expect(page.locator('#pii-copy')).toBeDisabled();
  expect(complaints).toEqual({ console: [], policy: [] });
});

test('ranks notes by meaning, edited and new ones too', async ({ page }) => {
  const complaints = await collectComplaints(page);
  await openReady(page);
  const query = page.locator('#search-query');
  await expect(resultTexts(page)).toHaveText([/^Grandma’s soup/, /^Bread/, /^Idea for Dad/, /^Maya is allergic/, /^Boiler/]);
  await expect(page.locator('#search-results .similarity b').first()).toHaveText('0.44');

  await query.fill('birthday present for my father');
  await expect(resultTexts(page).first()).toHaveText(/^Idea for Dad’s seventieth/, { timeout: ANSWER_TIMEOUT });

  await page.locator('#note-add').click();
  await page.keyboard.type('Buy new strings for the guitar.');
  await query.fill('musical instrument repair');
  await expect(resultTexts(page).first()).toHaveText('Buy new strings for the guitar.', { timeout: ANSWER_TIMEOUT });
  await expect(page.locator('#search-summary')).toContainText('of 13 notes');

  await page.locator('#notes li').last().getByRole('button').click();
  await expect(resultTexts(page).first()).not.toHaveText('Buy new strings for the guitar.', { timeout: ANSWER_TIMEOUT });
  await expect(page.locator('#search-summary')).toContainText('of 12 notes');
  expect(complaints).toEqual({ console: [], policy: [] });
});

test('sends nothing once the models are loaded', async ({ page, context, baseURL }) => {
  const requests = recordRequests(context);
  await openReady(page);
  expect(requests.some((address) => address.includes('/models/rampart/onnx/'))).toBe(true);
  expect(requests.filter((address) => new URL(address).origin !== new URL(baseURL!).origin)).toEqual([]);

  const before = requests.length;
  await page.locator('#pii-input').fill('Maria Lopez lives in Austin.');
  await expectRedacted(page, '[GIVEN_NAME] [SURNAME] lives in [CITY].');
  await page.locator('#search-query').fill('when do I see the doctor?');
  await expect(resultTexts(page).first()).toHaveText(/^Dentist/, { timeout: ANSWER_TIMEOUT });
  expect(requests.slice(before)).toEqual([]);
  await expect(page.locator('#requests')).toHaveText('0');
});

test('works with the network cut', async ({ page, context }) => {
  await openReady(page);
  await context.setOffline(true);
  await page.locator('#pii-input').fill('Maria Lopez lives in Austin.');
  await expectRedacted(page, '[GIVEN_NAME] [SURNAME] lives in [CITY].');
  await page.locator('#search-query').fill('paperwork with a deadline');
  await expect(resultTexts(page).first()).toHaveText(/^Car insurance/, { timeout: ANSWER_TIMEOUT });
});

test('counts the requests that do occur, and cannot reach another server', async ({ page, context }) => {
  await openReady(page);
  await page.evaluate(() => fetch('./icon.svg?counted').then((response) => response.text()));
  await expect(page.locator('#requests')).toHaveText('1');

  const requests = recordRequests(context);
  const outcome = await page.evaluate(() => fetch('https://example.com/').then(() => 'reached', (error: Error) => error.name));
  expect(outcome).toBe('TypeError');
  expect(requests.filter((address) => address.includes('example.com'))).toEqual([]);
});

test('is served, and serves itself, under a strict policy', async ({ page }) => {
  const response = await page.goto('/');
  const ownPolicy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content');
  for (const directive of POLICY) {
    expect(response!.headers()['content-security-policy']).toContain(directive);
    expect(ownPolicy).toContain(directive);
  }
});

test('can be used with the keyboard alone', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await openReady(page);

  await page.keyboard.press('Tab');
  await expect(page.locator('.skip-link')).toBeFocused();
  await page.keyboard.press('Enter');
  const order = ['#pii-clear', '#pii-example', '#pii-input', '#pii-marked', '#pii-copy', '#pii-redacted', '#search-query'];
  for (const stop of order) {
    await page.keyboard.press('Tab');
    await expect(page.locator(stop)).toBeFocused();
  }

  await page.locator('#pii-input').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('Maria Lopez lives in Austin.');
  await expectRedacted(page, '[GIVEN_NAME] [SURNAME] lives in [CITY].');
  await page.locator('#pii-copy').focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('#pii-copy')).toHaveText('Copied');
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('[GIVEN_NAME] [SURNAME] lives in [CITY].');

  await page.locator('#notes li').last().getByRole('button', { name: 'Remove this note' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('#notes li')).toHaveCount(11);
  await expect(page.locator('#notes li').last().getByRole('textbox')).toBeFocused();
});

test('fits a phone 390 pixels wide', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openReady(page);
  await page.locator('#pii-input').fill(`Maria Lopez lives in Austin. ${'x'.repeat(200)}`);
  await page.locator('#notes textarea').first().fill('y'.repeat(200));
  await expect(page.locator('#pii-marked')).toContainText('xxxx', { timeout: ANSWER_TIMEOUT });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
});

test('says what went wrong, and recovers', async ({ page }) => {
  const searchModel = '**/models/all-MiniLM-L6-v2/**';
  await page.route(searchModel, (route) => route.fulfill({ status: 404, body: 'not here' }));
  await page.goto('/');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'error', { timeout: LOAD_TIMEOUT });
  const error = page.getByRole('alert');
  await expect(error).toContainText('A model could not be downloaded.');
  await expect(error).toContainText('NetworkError');
  await expect(page.locator('#error-remedy')).not.toBeEmpty();

  await page.locator('#pii-input').fill('Maria Lopez lives in Austin.');
  await expectRedacted(page, '[GIVEN_NAME] [SURNAME] lives in [CITY].');
  await expect(error).toBeVisible();

  await page.unroute(searchModel);
  await error.getByRole('button', { name: 'Try again' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-state', 'ready', { timeout: LOAD_TIMEOUT });
  await expect(error).toBeHidden();
  await expect(resultTexts(page).first()).toHaveText(/^Grandma’s soup/, { timeout: ANSWER_TIMEOUT });
});

test('loads again on the device that the visitor chooses', async ({ page }) => {
  await openReady(page);
  await page.locator('#device-choice').selectOption('cpu');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'loading');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'ready', { timeout: LOAD_TIMEOUT });
  await expect(page.locator('#device')).toHaveText('Processor (CPU)');
  await page.locator('#pii-input').fill('Maria Lopez lives in Austin.');
  await expectRedacted(page, '[GIVEN_NAME] [SURNAME] lives in [CITY].');
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`is readable in ${colorScheme} colours`, async ({ page }, testInfo) => {
    await page.emulateMedia({ colorScheme });
    await openReady(page);
    await testInfo.attach(`demo-${colorScheme}`, { body: await page.screenshot({ fullPage: true }), contentType: 'image/png' });
    const brightness = await page.evaluate(() => {
      const sum = (color: string) => color.match(/\d+/g)!.slice(0, 3).reduce((total, channel) => total + Number(channel), 0) / 765;
      const style = getComputedStyle(document.body);
      return { paper: sum(style.backgroundColor), ink: sum(style.color) };
    });
    const [dark, bright] = colorScheme === 'dark' ? [brightness.paper, brightness.ink] : [brightness.ink, brightness.paper];
    expect(dark).toBeLessThan(0.2);
    expect(bright).toBeGreaterThan(0.85);
  });
}

const pieces = [
  { name: 'parts of a word become the word', text: 'Hi Priya,', marked: [['GIVEN_NAME', 3, 6], ['GIVEN_NAME', 6, 8]], whole: ['GIVEN_NAME:Priya'] },
  { name: 'half a word hides the whole', text: 'Dear Whitfield!', marked: [['SURNAME', 5, 9]], whole: ['SURNAME:Whitfield'] },
  { name: 'a name inside an email is the email', text: 'to j.marsh@example.com.', marked: [['EMAIL', 3, 10], ['SURNAME', 11, 15], ['EMAIL', 19, 22]], whole: ['EMAIL:j.marsh@example.com'] },
  { name: 'neighbours of one kind are joined', text: '12 Main St', marked: [['STREET_NAME', 3, 7], ['STREET_NAME', 8, 10]], whole: ['STREET_NAME:Main St'] },
  { name: 'two kinds stay two', text: 'Ana Müller', marked: [['GIVEN_NAME', 0, 3], ['SURNAME', 4, 5]], whole: ['GIVEN_NAME:Ana', 'SURNAME:Müller'] },
  { name: 'a comma keeps a list apart', text: 'Ana, Bob', marked: [['GIVEN_NAME', 0, 3], ['GIVEN_NAME', 5, 8]], whole: ['GIVEN_NAME:Ana', 'GIVEN_NAME:Bob'] },
  { name: 'brackets stay outside an address', text: '(see https://example.com/u/x)', marked: [['URL', 13, 20]], whole: ['URL:https://example.com/u/x'] },
];

test('pieces grow to whole details', async ({ page }) => {
  await page.goto('/');
  for (const { name, text, marked, whole } of pieces) {
    const entities = marked.map(([kind, start, end]) => ({ entity_group: kind, start, end }));
    const found = await page.evaluate(
      `import('./entities.js').then(({ wholeDetails }) => wholeDetails(${JSON.stringify(text)}, ${JSON.stringify(entities)}))`,
    );
    const words = (found as { kind: string; start: number; end: number }[]).map(({ kind, start, end }) => `${kind}:${text.slice(start, end)}`);
    expect(words, name).toEqual(whole);
  }
});
