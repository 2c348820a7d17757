// What `vhca bench paper` writes: one JSON document, checked when a run is resumed and when the page is drawn from it.

import { z } from "zod";

/** Who carried the data; the order is that of every legend. */
export const SIDES = ["native", "mapped", "trapped", "answered", "tcp", "rxe", "paper"] as const;
export type Side = (typeof SIDES)[number];

/** A side in words. */
export const SIDE_NAMES: Readonly<Record<Side, string>> = {
  native: "native process, no VMM",
  mapped: "VM, doorbells mapped",
  trapped: "VM, doorbells trapped",
  answered: "VM, doorbells trapped, each answered",
  tcp: "TCP over virtio-net",
  rxe: "soft-RoCE (rxe) over virtio-net",
  paper: "the paper, published 2006",
};

const point = z.object({
  /** Bytes, or the index of a category in `x.categories`. */
  x: z.number(),
  /** In the figure's unit: the median of `samples` runs. */
  y: z.number(),
  /** Least and greatest of the runs. */
  low: z.number().optional(),
  high: z.number().optional(),
  samples: z.int().optional(),
});

/** What an operation cost besides time, from the domain's counters, of all nodes together. */
const counts = z.object({
  operations: z.number(),
  /** Messages through the VMM (vfio-user), and interrupts, per operation. Those of the program's start and end were taken off. */
  messagesPerOperation: z.number(),
  interruptsPerOperation: z.number(),
});

const series = z.object({
  side: z.enum(SIDES),
  /** Told apart from other series of this side: "polling", "blocking"; the name of the side if left out. */
  label: z.string().optional(),
  points: z.array(point),
  counts: counts.optional(),
  /** What was run, as a user would type it. */
  command: z.string().optional(),
  note: z.string().optional(),
});

const axis = z.object({
  name: z.string(),
  unit: z.string(),
  scale: z.enum(["linear", "log"]),
  /** Names of the bars where x counts them. */
  categories: z.array(z.string()).optional(),
});

const figure = z.object({
  id: z.string(),
  /** 1 to 7, as issued by the plan (`plan.ts`). */
  experiment: z.int(),
  title: z.string(),
  /** Where the paper shows the same: "Figure 8". */
  paperFigure: z.string().optional(),
  kind: z.enum(["lines", "bars"]),
  x: axis,
  y: axis,
  isLowerBetter: z.boolean(),
  series: z.array(series),
  notes: z.array(z.string()),
  /** Sides that could not be measured, and why. */
  missing: z.array(z.object({ side: z.enum(SIDES), why: z.string() })),
  seconds: z.number(),
});

const claim = z.object({
  what: z.string(),
  /** "≥ 5 ×" */
  asked: z.string(),
  value: z.number(),
  unit: z.string(),
  isMet: z.boolean(),
});

export const reportSchema = z.object({
  schema: z.literal("vhca.paper/1"),
  mode: z.enum(["full", "quick", "tiny"]),
  /** The figures that were asked for, if not all. */
  only: z.array(z.string()).optional(),
  startedAt: z.iso.datetime(),
  /** Seconds of measuring; interruptions are not in them. */
  seconds: z.number(),
  isComplete: z.boolean(),
  machine: z.object({
    name: z.string(),
    cpu: z.string(),
    cores: z.int(),
    kernel: z.string(),
    accelerator: z.string(),
    qemu: z.string(),
    guestKernel: z.string(),
    node: z.string(),
    vhca: z.string(),
    commit: z.string(),
    /** Processes that wanted to run, at the start and at the end. */
    load: z.array(z.number()),
  }),
  figures: z.array(figure),
  claims: z.array(claim),
});

export type Report = z.infer<typeof reportSchema>;
export type Figure = Report["figures"][number];
export type Series = Figure["series"][number];
export type Point = Series["points"][number];
export type Counts = NonNullable<Series["counts"]>;
export type Claim = Report["claims"][number];
export type Machine = Report["machine"];
