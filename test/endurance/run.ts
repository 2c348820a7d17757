// npm run endurance [-- programs|guests]: rough times for guests at full length, with progress and tables.
// ENDURANCE_ONLY=TEXT runs only the parts or programs whose name contains it.

process.env.ENDURANCE = "1";

const FILES: Record<string, string> = {
  programs: "./programs.test.ts",
  guests: "./guests.test.ts",
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => FILES[name] === undefined);
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${Object.keys(FILES).join(", ")}`);
  process.exit(2);
}
for (const [name, file] of Object.entries(FILES)) if (wanted.length === 0 || wanted.includes(name)) await import(file);
