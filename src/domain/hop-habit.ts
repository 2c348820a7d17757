// Whether the engine should go on on another core when it has nothing to do, learnt from what came of it. Two VMs that poll on two cores
// leave the engine none: the one that is to answer may be the one whose core the engine has. Decision 6.

/** Where the engine is since the last work. */
const HERE = 0;
const THERE = 1;
const RESTING = 2;

/** A hop that came to nothing costs what three that paid have brought in. */
const FAILURE_COST = 3;
/** So many points make a habit of it; more than the most are not kept, so that it can be given up soon. */
const HABIT_POINTS = 4;
const POINTS_MAX = 8;
/** With the habit, one time in so many the engine waits where it is, to see whether work comes all the same. */
const WORKS_PER_PROBE = 16;
/** Without it, at most so many chances are passed over before the next trial. */
const PASSES_MAX = 15;

export class HopHabit {
  #place = HERE;
  #points = 0;
  #works = 0;
  #passesAfterFailure = 0;
  #passes = 0;

  /** A message was found, or part of one. */
  noteWork(): void {
    if (this.#place === THERE) this.#noteSuccess();
    else if (this.#place === HERE && this.#isProbe) this.#points = 0;
    this.#place = HERE;
    this.#works++;
  }

  /** Hops have paid lately: who is to answer needs the core that the engine has. */
  get pays(): boolean {
    return this.#points >= HABIT_POINTS;
  }

  /** True if the engine should hop as soon as there is nothing more to do. */
  get isEager(): boolean {
    return this.pays && this.#place === HERE && !this.#isProbe;
  }

  /** Waiting for a while came to nothing: whether to hop now. If not, the engine rests until there is work. */
  shouldHop(): boolean {
    if (this.#place === HERE && this.#passes === 0) return true;
    if (this.#place === HERE) this.#passes--;
    if (this.#place === THERE) this.#noteFailure();
    this.#place = RESTING;
    return false;
  }

  /** Who is to answer sleeps, and takes its time to wake up: the engine may rest where it is. */
  noteInterrupt(): void {
    this.#place = RESTING;
  }

  noteHop(): void {
    this.#place = THERE;
  }

  #noteSuccess(): void {
    if (this.#points < POINTS_MAX) this.#points++;
    if (this.#points >= HABIT_POINTS) this.#passesAfterFailure = 0;
  }

  #noteFailure(): void {
    this.#points = Math.max(0, this.#points - FAILURE_COST);
    this.#passesAfterFailure = Math.min(PASSES_MAX, 2 * this.#passesAfterFailure + 1);
    this.#passes = this.#passesAfterFailure;
  }

  get #isProbe(): boolean {
    return this.#works % WORKS_PER_PROBE === 0;
  }
}
