// The paper's claim in numbers: nothing goes through the VMM on the data path, and what that is worth against the alternatives.

import type { Claim, Figure, Point, Report, Series, Side } from "./report.ts";

const SMALL_BYTES = 8;
const LARGE_BYTES = 65536;

/** A ratio of two sides of a figure at a size that both have. */
interface RatioClaim {
  readonly what: string;
  readonly figure: string;
  readonly better: Side;
  readonly worse: Side;
  readonly bytes: number;
  readonly atLeast: number;
}

const ratio = (what: string, figure: string, worse: Side, bytes: number, atLeast: number): RatioClaim => ({
  ...{ what, figure, better: "mapped", worse, bytes, atLeast },
});

const RATIOS: readonly RatioClaim[] = [
  ratio("RDMA write latency, small: mapped against trapped doorbells", "latency-write", "trapped", SMALL_BYTES, 5),
  ratio("send latency, small: mapped against trapped doorbells", "latency-send", "trapped", SMALL_BYTES, 5),
  ratio("RDMA writes per second, small: mapped against trapped doorbells", "bandwidth-write", "trapped", SMALL_BYTES, 5),
  ratio("RDMA read latency, small: mapped against trapped doorbells", "latency-read", "trapped", SMALL_BYTES, 5),
  ratio("RDMA write latency, small: against doorbells that are waited for", "latency-write", "answered", SMALL_BYTES, 5),
  ratio("send latency, small: against doorbells that are waited for", "latency-send", "answered", SMALL_BYTES, 5),
  ratio("RDMA writes per second, small: against doorbells that are waited for", "bandwidth-write", "answered", SMALL_BYTES, 5),
  ratio("RDMA read latency, small: against doorbells that are waited for", "latency-read", "answered", SMALL_BYTES, 5),
  ratio("send latency, small: against rxe over virtio-net", "latency-send", "rxe", SMALL_BYTES, 20),
  ratio("RDMA write bandwidth, 64 KiB: against rxe over virtio-net", "bandwidth-write", "rxe", LARGE_BYTES, 500),
  ratio("send latency, small: against TCP over virtio-net", "latency-send", "tcp", SMALL_BYTES, 5),
  ratio("send bandwidth, 64 KiB: against TCP over virtio-net", "bandwidth-send", "tcp", LARGE_BYTES, 100),
  ratio("registering 64 KiB: mapped command register against trapped", "registration", "trapped", LARGE_BYTES, 1),
];

/** All claims whose figures have been measured. */
export function claimsOf(report: Report): Claim[] {
  const ratios = RATIOS.map((claim) => ratioOf(report.figures, claim));
  return [doorbellClaim(report.figures), ...ratios, ...bypassClaims(report.figures)].filter((claim) => claim !== undefined);
}

function ratioOf(figures: readonly Figure[], claim: RatioClaim): Claim | undefined {
  const figure = figures.find(({ id }) => id === claim.figure);
  const better = plain(figure, claim.better);
  const worse = plain(figure, claim.worse);
  if (figure === undefined || better === undefined || worse === undefined) return undefined;
  const places = nearest(better.points, worse.points, claim.bytes);
  if (places === undefined) return undefined;
  const [a, b] = places;
  const value = figure.isLowerBetter ? b.y / a.y : a.y / b.y;
  return {
    what: `${claim.what} (${a.x} B)`,
    asked: `≥ ${claim.atLeast} ×`,
    value: round(value),
    unit: "×",
    isMet: value >= claim.atLeast,
  };
}

/** The series of a side that has no label: the polled one, where there are several. */
const plain = (figure: Figure | undefined, side: Side): Series | undefined =>
  figure?.series.find((series) => series.side === side && (series.label === undefined || series.label === "polling"));

/** In powers of two: 16 bytes are near 8, 4 KiB are not near 64 KiB. */
const NEAR = 1;

/** The points of both at the size nearest to `bytes` that both have, if it is near. */
function nearest(a: readonly Point[], b: readonly Point[], bytes: number): [Point, Point] | undefined {
  const both = a.flatMap((point) => {
    const other = b.find(({ x }) => x === point.x);
    return other === undefined ? [] : [[point, other] as [Point, Point]];
  });
  const distance = (x: number): number => Math.abs(Math.log2(x / bytes));
  const [best] = both.sort(([p], [q]) => distance(p.x) - distance(q.x));
  return best !== undefined && distance(best[0].x) <= NEAR ? best : undefined;
}

/** How much more a doorbell costs when it leaves the VM. */
function doorbellClaim(figures: readonly Figure[]): Claim | undefined {
  const figure = figures.find(({ id }) => id === "doorbell");
  const [mapped, trapped] = [plain(figure, "mapped")?.points[0]?.y, plain(figure, "trapped")?.points[0]?.y];
  if (mapped === undefined || trapped === undefined) return undefined;
  const value = trapped / mapped;
  return {
    what: "a doorbell: mapped against trapped",
    asked: `≥ ${DOORBELL_RATIO} ×`,
    value: round(value),
    unit: "×",
    isMet: value >= DOORBELL_RATIO,
  };
}

const DOORBELL_RATIO = 5;

/** Less than this is none: a message of the subnet manager now and then belongs to no operation. */
const NONE = 0.01;

/** The data path bypasses the VMM: no message per operation. */
function bypassClaims(figures: readonly Figure[]): Claim[] {
  const claims: Claim[] = [];
  for (const figure of figures.filter(({ experiment }) => experiment <= 2)) {
    const counts = plain(figure, "mapped")?.counts;
    if (counts === undefined) continue;
    const value = counts.messagesPerOperation;
    const what = `${figure.title}, doorbells mapped: messages through the VMM per operation`;
    claims.push({ what, asked: "0", value, unit: "", isMet: value < NONE });
  }
  return claims;
}

const round = (value: number): number => Number(value.toPrecision(3));
