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

  static async open<T>({ tools, show }: BenchContext, options: LaneOptions<T>): Promise<Lanes<T>> {
    const close: (() => Promise<void>)[] = [];
    try {
      show("starting the device domain");
      const engine = await openLane(options, close);
      engine.freeze();
      if (tools === undefined) return new Lanes(engine, undefined, close);
      show("starting the C engine");
      const stage = await openLane(options, close);
      const c = await CEngine.takeOver(tools, stage.domain, stage.link, stage.regions);
      close.push(() => c.stop());
      const lane = { link: stage.link, extras: stage.extras, thaw: () => c.thaw(), freeze: () => c.freeze() };
      return new Lanes<T>(engine, lane, close);
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

/** In the reverse order of opening. */
async function closeAll(close: (() => Promise<void>)[]): Promise<void> {
  for (const one of close.reverse()) await one();
}
