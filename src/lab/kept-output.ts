// What a program prints, kept for later, up to a bound.

/** Of one stream; what comes after is dropped. */
export const KEPT_OUTPUT_BYTES = 64 << 20;

export class KeptOutput {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #isCut = false;

  push(chunk: Buffer): void {
    const room = KEPT_OUTPUT_BYTES - this.#bytes;
    if (chunk.length > room) this.#isCut = true;
    if (room === 0) return;
    const kept = chunk.subarray(0, room);
    this.#chunks.push(kept);
    this.#bytes += kept.length;
  }

  /** Something was dropped. */
  get isCut(): boolean {
    return this.#isCut;
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}
