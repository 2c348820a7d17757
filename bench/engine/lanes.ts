// The engine and the C engine side by side, each with guests of its own on the same kind of link. One of them runs at a time.

import type { DataPath } from "../../src/transport/network.ts";
import { CEngine } from "./c-engine.ts";
import type { BenchContext } from "./context.ts";
import { Domain } from "./domain.ts";
import { bootGuests, type Guest, type GuestOptions } from "./guest.ts";
import { joinGuests, type Link } from "./link.ts";
import type { PageRegion } from "./page-region.ts";

const NAMES = ["n1", "n2"];

/** What a measurement adds to a link: regions for its messages, made before an engine is taken over. */
export interface Extras<T> {
  readonly value: T;
  readonly near: readonly PageRegion[];
  readonly far: readonly PageRegion[];
}

export interface LaneOptions<T> {
  readonly guests?: GuestOptions;
  /** Engine threads; 1 if left out. */
  readonly engines?: number;
  /** How messages go; "auto" if left out. */
  readonly dataPath?: DataPath;
  prepare(link: Link): Extras<T>;
}

/** One engine with a link. */
export interface Lane<T> {
  readonly link: Link;
  readonly extras: T;
  thaw(): void;
  freeze(): void;
}

export class Lanes<T> {
  readonly engine: Lane<T>;
  /** Undefined where there is no C compiler. */
  readonly c: Lane<T> | undefined;
  readonly #close: (() => Promise<void>)[];

  private constructor(engine: Lane<T>, c: Lane<T> | undefined, close: (() => Promise<void>)[]) {
    this.engine = engine;
    this.c = c;
    this.#close = close;
  }

  /** A single engine, or several threads of it, that the C engine is not compared with. */
  static async openEngine<T>({ show }: BenchContext, options: LaneOptions<T>): Promise<Lanes<T>> {
    const close: (() => Promise<void>)[] = [];
    show("starting the device domain");
    try {
      const engine = await openLane(options, close);
      engine.freeze();
      return new Lanes(engine, undefined, close);
    } catch (error) {
      await closeAll(close);
      throw error;
    }
  }

  /** @param isCFirst which of them is opened first, and so has its memory in other places of the machine's */
  static async open<T>(context: BenchContext, options: LaneOptions<T>, isCFirst = false): Promise<Lanes<T>> {
    const close: (() => Promise<void>)[] = [];
    try {
      const early = isCFirst ? await openC(context, options, close) : undefined;
      context.show("starting the device domain");
      const engine = await openLane(options, close);
      engine.freeze();
      return new Lanes<T>(engine, early ?? (await openC(context, options, close)), close);
    } catch (error) {
      await closeAll(close);
      throw error;
    }
  }

  /** Both, or the one there is. */
  get all(): Lane<T>[] {
    return this.c === undefined ? [this.engine] : [this.engine, this.c];
  }

  /** Runs a loop while the lane's engine is the only one that runs. */
  static run<T, R>(lane: Lane<T>, loop: (link: Link, extras: T) => R): R {
    lane.thaw();
    try {
      return loop(lane.link, lane.extras);
    } finally {
      lane.freeze();
    }
  }

  close(): Promise<void> {
    return closeAll(this.#close);
  }
}

async function openLane<T>(options: LaneOptions<T>, close: (() => Promise<void>)[]) {
  const domain = await Domain.start(NAMES, options.engines, options.dataPath);
  close.push(() => domain.stop());
  const guests = await bootGuests(domain, NAMES, options.guests);
  close.push(async () => {
    for (const guest of guests) guest.access.close();
  });
  const [left, right] = guests as [Guest, Guest];
  const link = joinGuests(left, right);
  const { value: extras, near, far } = options.prepare(link);
  return { domain, link, extras, regions: { near, far }, thaw: () => domain.thaw(), freeze: () => domain.freeze() };
}

/** The C engine's; undefined where there is no C compiler. */
async function openC<T>({ tools, show }: BenchContext, options: LaneOptions<T>, close: (() => Promise<void>)[]) {
  if (tools === undefined) return undefined;
  show("starting the C engine");
  const { domain, link, extras, regions } = await openLane(options, close);
  const c = await CEngine.takeOver(tools, domain, link, regions);
  close.push(() => c.stop());
  return { link, extras, thaw: () => c.thaw(), freeze: () => c.freeze() };
}

/** In the reverse order of opening. */
async function closeAll(close: (() => Promise<void>)[]): Promise<void> {
  for (const one of close.reverse()) await one();
}
