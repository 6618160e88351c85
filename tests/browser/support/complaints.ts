import type { BrowserContext, Page } from '@playwright/test';

/** Everything that a well-behaved page leaves empty: console errors and warnings, uncaught errors, policy violations. */
export async function collectComplaints(page: Page): Promise<string[]> {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.exposeFunction('reportViolation', (violation: string) => complaints.push(violation));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      (window as unknown as { reportViolation(words: string): void }).reportViolation(`${violatedDirective}: ${blockedURI}`);
    });
  });
  return complaints;
}

/** The address of every request of the pages and their workers from now on. */
export function recordRequests(context: BrowserContext): string[] {
  const addresses: string[] = [];
  context.on('request', (request) => addresses.push(request.url()));
  return addresses;
}
