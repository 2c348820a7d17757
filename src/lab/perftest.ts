// What to know about perftest in guests whose clock is emulated.

/** What a program wrote. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * True if perftest (`ib_write_lat` and its kin) made no report because it could not measure the frequency of its processor: it holds
 * 200 short spins against the time of day, and gives up when they disagree (r² < 0.9), as they do in an emulated guest, or on a busy
 * machine. That says nothing about the HCA; the remedy is to run both sides again.
 */
export function hasLostItsClock(...outputs: readonly Output[]): boolean {
  return outputs.some(({ stdout, stderr }) => /Correlation coefficient r\^2/.test(stdout + stderr));
}

/** How often a pair of perftest programs is run until both have measured their clocks. */
export const CLOCK_TRIALS = 5;

/** The lines of perftest's table: every line that begins with a number and has at least four. */
export function perftestRows(output: string): number[][] {
  const rows = output.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  return rows.filter((cells) => cells.length >= ROW_CELLS_MIN && cells.every((cell) => Number.isFinite(cell)));
}

const ROW_CELLS_MIN = 4;
