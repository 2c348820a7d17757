// Turns chunks of bytes into whole lines, so that the output of several programs does not mix inside a line.

import { StringDecoder } from "node:string_decoder";

/** A line longer than this is passed on in pieces. */
const MAX_LINE = 64 * 1024;

export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    const lines = (this.#rest + this.#decoder.write(chunk)).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#onLine(line.replace(/\r$/, ""));
    if (this.#rest.length < MAX_LINE) return;
    this.#onLine(this.#rest);
    this.#rest = "";
  }

  /** Passes on what is left without a newline. */
  end(): void {
    const last = this.#rest + this.#decoder.end();
    this.#rest = "";
    if (last !== "") this.#onLine(last);
  }
}
