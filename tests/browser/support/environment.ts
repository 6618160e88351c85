/** A variable that `cargo xtask test` and `cargo xtask agree` set. */
export function environment(name: 'CHROME_BIN' | 'SOTTOVOCE_CLI' | 'SOTTOVOCE_DEMO_URL' | 'SOTTOVOCE_ROOT_URL'): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run the tests with \`cargo xtask test --only browser\``);
  return value;
}
